package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/ledger/witness"
)

// TestOperatorIsCaught plays the operator of a hub, who has its ledger key and
// writes another history with it, in every way there is. Without the witness
// each passes; the witness does not cosign it, and what the witness shows
// names it.
func TestOperatorIsCaught(t *testing.T) {
	t.Parallel()
	signer, key, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.Open(witness.Config{Dir: t.TempDir(), Name: "w", Logs: []string{key}, Log: hubtest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	p, err := witness.ParsePeer(server.URL, w.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	// kept opens a ledger that says words[n] in leaf n, and asks the witness.
	kept := func(words ...string) (dir string, cosigned bool) {
		t.Helper()
		dir = filepath.Join(t.TempDir(), "ledger")
		l, err := ledger.Open(t.Context(), dir, signer, hubtest.Log(t), ledger.Witnessed(filepath.Join(filepath.Dir(dir), cosignedDir), p.Key))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for n, word := range words {
			lf, err := leaf.Of("entry", fmt.Sprintf("in-1/%d", n), time.Unix(int64(n), 0), word)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(t.Context(), lf); err != nil {
				t.Fatal(err)
			}
		}
		_, cosigned = asked(l, []witness.Peer{p}, uint64(len(words)))
		return dir, cosigned
	}
	honest, cosigned := kept("a", "b", "c", "d", "e")
	if !cosigned {
		t.Fatal("the witness does not cosign an honest ledger")
	}
	text, _ := w.Checkpoint("sonae")
	shown := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(shown, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cp, err := ledger.ParseCheckpoint(text, key)
	if err != nil {
		t.Fatal(err)
	}
	if code, said := verified("--key", key, "--witness-key", p.Key.String(), "--against", shown, "--words", cp.Words().String(), honest); code != intact {
		t.Fatalf("an honest ledger: exit %d\n%s", code, said)
	}
	for name, tt := range map[string]struct {
		words []string
		says  string
	}{
		"one entry rewritten":             {[]string{"a", "b", "x", "d", "e"}, "rewritten"},
		"the first rewritten, and longer": {[]string{"x", "b", "c", "d", "e", "f", "g"}, "rewritten"},
		"one entry taken out":             {[]string{"a", "b", "d", "e", "f"}, "rewritten"},
		"the end cut off":                 {[]string{"a", "b", "c"}, "the ledger has 3"},
		"cut off and continued otherwise": {[]string{"a", "b", "c", "x", "y", "z"}, "rewritten"},
		"a forked view for somebody else": {[]string{"a", "b", "c", "d", "x"}, "rewritten"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, cosigned := kept(tt.words...)
			if cosigned {
				t.Error("the witness cosigned it")
			}
			if code, said := verified("--key", key, dir); code != intact { // else it is not what this test is about
				t.Errorf("not even a good forgery: exit %d\n%s", code, said)
			}
			if code, said := verified("--key", key, "--witness-key", p.Key.String(), dir); code != differs || !strings.Contains(said, "no checkpoint that it cosigned") {
				t.Errorf("with the witness's key: exit %d\n%s", code, said)
			}
			if code, said := verified("--key", key, "--against", shown, dir); code != differs || !strings.Contains(said, tt.says) {
				t.Errorf("against what the witness shows: exit %d, want %q\n%s", code, tt.says, said)
			}
			if code, said := verified("--key", key, "--words", cp.Words().String(), dir); code != differs || !strings.Contains(said, "DIFFERS words") {
				t.Errorf("against words on paper: exit %d\n%s", code, said)
			}
		})
	}
	if again, _ := w.Checkpoint("sonae"); again != text {
		t.Error("the witness let itself be led astray")
	}
}
