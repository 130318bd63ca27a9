package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
)

// grown opens a ledger and appends the leaves from..to-1.
func grown(t *testing.T, dir, signer string, from, to int) (*ledger.Ledger, []leaf.Leaf) {
	t.Helper()
	l, err := ledger.Open(t.Context(), dir, signer, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var leaves []leaf.Leaf
	for n := from; n < to; n++ {
		lf, err := leaf.Of("entry", fmt.Sprintf("in-%06d/1", n), time.Unix(int64(n), 0), n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), lf); err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, lf)
	}
	return l, leaves
}

// TestVerifyWhatWasExported checks proofs, checkpoints and words with nothing
// but the public key, as somebody does who never had the ledger.
func TestVerifyWhatWasExported(t *testing.T) {
	t.Parallel()
	signer, key, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ledger")
	l, _ := grown(t, dir, signer, 0, 7)
	out := t.TempDir()
	file := func(name string, b []byte, err error) string {
		t.Helper()
		path := filepath.Join(out, name)
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, err := l.Checkpoint(t.Context())
	early := file("early", []byte(first.Text), err)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, leaves := grown(t, dir, signer, 7, 12)
	last, err := l.Checkpoint(t.Context())
	late := file("late", []byte(last.Text), err)
	c, err := l.ProveConsistency(t.Context(), 7, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Bytes()
	consistency := file("consistency.json", b, err)
	p, err := l.Prove(t.Context(), leaves[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err = p.Bytes()
	proof := file("proof.json", b, err)
	other, _ := grown(t, filepath.Join(t.TempDir(), "ledger"), signer, 50, 57)
	forked, err := other.Checkpoint(t.Context())
	fork := file("fork", []byte(forked.Text), err)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a proof":                         {[]string{proof}, intact, "proof: entry in-000007/1, recorded 1970-01-01T00:00:07Z, is leaf 8 of 12"},
		"a checkpoint":                    {[]string{early}, intact, "checkpoint: 7 leaves, " + first.Words().String()},
		"a consistency proof":             {[]string{consistency}, intact, "the ledger of 7 leaves is the beginning of the one of 12"},
		"between two checkpoints":         {[]string{"--against", early, "--against", late, consistency}, intact, "beginning"},
		"words of the earlier one":        {[]string{"--words", first.Words().String(), consistency}, intact, "words: they are those of"},
		"words of a checkpoint, in Latin": {[]string{"--words", "12 " + last.Words().Latin(), late}, intact, "words: they are those of"},
		"words of the ledger":             {[]string{"--words", first.Words().String(), dir}, intact, "of this ledger over its first 7 of 12 leaves"},
		"words of another history":        {[]string{"--words", forked.Words().String(), dir}, differs, "the words are not those of this ledger over its first 7 leaves, which are: " + first.Words().Kana()},
		"words of another, offline":       {[]string{"--words", forked.Words().String(), consistency}, differs, "which are: " + first.Words().String()},
		"words of a longer ledger":        {[]string{"--words", ledger.Words{Size: 12}.String(), consistency}, differs, "not those of"},
		"misread words":                   {[]string{"--words", "8 " + first.Words().Kana(), dir}, notVerified, "the last word does not fit"},
		"words of another size":           {[]string{"--words", first.Words().String(), late}, notVerified, "says nothing about the first 7 leaves"},
		"a forked checkpoint":             {[]string{"--against", fork, consistency}, differs, "rewritten"},
		"a forked checkpoint, alone":      {[]string{"--against", fork, early}, differs, "rewritten"},
		"a checkpoint of another size":    {[]string{"--against", early, late}, notVerified, "give the ledger, or a consistency proof"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, said := verified(append([]string{"--key", key}, tt.args...)...); code != tt.code || !strings.Contains(said, tt.says) {
				t.Errorf("exit %d, want %d and %q:\n%s", code, tt.code, tt.says, said)
			}
		})
	}
	if code, said := verified(proof); code != notVerified || !strings.Contains(said, "no public key") {
		t.Errorf("without a key: exit %d\n%s", code, said)
	}
	file(keyFile, []byte(key+"\n"), nil)
	if code, said := verified(proof); code != intact || !strings.Contains(said, "compare it with the printed one") {
		t.Errorf("with the key beside it: exit %d\n%s", code, said)
	}
	_, otherKey, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{proof, consistency, early} {
		if code, said := verified("--key", otherKey, path); code != differs {
			t.Errorf("%s with another key: exit %d\n%s", path, code, said)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	tamperExported(t, []string{proof, consistency, early}, 300, rand.New(rand.NewPCG(seed, 0)))
}

// tamperExported changes one byte n times in files that prove themselves: each
// check must name the file.
func tamperExported(t *testing.T, files []string, n int, random *rand.Rand) {
	t.Helper()
	for i := range n {
		path := files[i%len(files)]
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		after, at := bytes.Clone(before), random.IntN(len(before))
		after[at] ^= byte(1 + random.IntN(255))
		overwrite(t, path, after)
		code, said := verified(path)
		overwrite(t, path, before)
		if code != differs || !strings.Contains(said, "DIFFERS "+path) {
			t.Errorf("%s, byte %d, %q became %q: exit %d, want %d and the file named:\n%.1000s", path, at, before[at], after[at], code, differs, said)
		}
	}
}
