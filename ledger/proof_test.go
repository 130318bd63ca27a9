package ledger

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/fault"
)

func TestProofStandsAlone(t *testing.T) {
	signer, verifier := newKeys(t)
	l := open(t, t.TempDir(), signer)
	fill(t, l, 0, 270)
	for _, n := range []int{0, 1, 255, 256, 269} {
		asked := leafOf(t, n)
		asked.At = asked.At.Add(time.Minute) // the time is not part of the question
		p, err := l.Prove(t.Context(), asked)
		if err != nil {
			t.Fatalf("leaf %d: %v", n, err)
		}
		if diff := cmp.Diff(leafOf(t, n), p.Leaf); diff != "" {
			t.Errorf("leaf %d:\n%s", n, diff)
		}
		b, err := p.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseProof(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Verify(verifier); err != nil {
			t.Errorf("leaf %d: %v", n, err)
		}
	}
	if _, err := l.Prove(t.Context(), leafOf(t, 1000)); fault.Of(err) != fault.Missing {
		t.Errorf("unknown leaf: %v", err)
	}
}

func TestEveryByteOfAProofCounts(t *testing.T) {
	signer, verifier := newKeys(t)
	l := open(t, t.TempDir(), signer)
	fill(t, l, 0, 5)
	p, err := l.Prove(t.Context(), leafOf(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	good, err := p.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sound := func(b []byte) bool {
		p, err := ParseProof(b)
		return err == nil && p.Verify(verifier) == nil
	}
	if !sound(good) {
		t.Fatal("the untouched proof is refused")
	}
	for at := range good {
		for _, x := range []byte{1, 2, 4, 0x20, 0x80} {
			bad := append([]byte(nil), good...)
			bad[at] ^= x
			if sound(bad) {
				t.Errorf("byte %d changed by %#x goes unnoticed: …%s…", at, x, bad[max(0, at-10):min(len(bad), at+10)])
			}
		}
	}
	if _, other := newKeys(t); p.Verify(other) == nil {
		t.Error("another key accepts the proof")
	}
	for name, b := range map[string][]byte{
		"space":       append([]byte(" "), good...),
		"new line":    append(good[:len(good):len(good)], '\n'),
		"cut":         good[:len(good)-1],
		"too long":    []byte(strings.Repeat(" ", maxProof+1)),
		"nothing":     nil,
		"other field": []byte(strings.Replace(string(good), `{"leaf"`, `{"x":1,"leaf"`, 1)),
	} {
		if _, err := ParseProof(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	f.Add([]byte(`{"leaf":{"type":"entry","ref":"in-1/1","digest":"","at":"2026-11-22T05:02:00Z"},"index":1,"hashes":["00"],"checkpoint":"sonae\n1\nAA==\n\n— sonae AAAA\n"}`))
	f.Add([]byte(`{"hashes":null}`))
	_, verifier := newKeys(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		if again, err := p.Bytes(); err != nil || string(again) != string(b) {
			t.Errorf("accepted %q, writes %q, %v", b, again, err)
		}
		if p.Verify(verifier) == nil {
			t.Error("a proof that nobody signed is accepted")
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("\x00\x03abc\x00\x00"))
	f.Add([]byte("\xff\xffa"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, offsets, err := split(raw)
		if len(offsets) != len(entries)+1 {
			t.Fatalf("%d offsets for %d entries", len(offsets), len(entries))
		}
		n := 0
		for i, e := range entries {
			if offsets[i] != n {
				t.Fatalf("entry %d at %d, want %d", i, offsets[i], n)
			}
			n += 2 + len(e)
		}
		if err == nil && n != len(raw) || offsets[len(entries)] != n {
			t.Errorf("%d of %d bytes, %v", n, len(raw), err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	signer, verifier := newKeys(f)
	l := open(f, f.TempDir(), signer)
	cp, err := l.Checkpoint(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cp.Text)
	f.Add(strings.Replace(cp.Text, "0", "1", 1))
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := ParseCheckpoint(text, verifier); err == nil && got.Bare() != cp {
			t.Errorf("accepted what was not signed: %+v", got)
		}
	})
}
