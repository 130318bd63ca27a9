package witness

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
)

// TestSharedLedgerStaysCosigned lets three hubs write one ledger in turn, each
// asking the same witness: it never sees two histories, and what it cosigned
// under one leader holds under the next.
func TestSharedLedgerStaysCosigned(t *testing.T) {
	signer, verifier, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w, err := Open(Config{Dir: t.TempDir(), Name: "w", Logs: []string{verifier}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	p, err := ParsePeer(server.URL, w.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	store, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	var hubs []*ledger.Ledger
	for range 3 {
		dir := t.TempDir()
		l, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger"), signer, log, ledger.Witnessed(filepath.Join(dir, "witness"), p.Key), ledger.Shared(store))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		hubs = append(hubs, l)
		asker := NewAsker(l, []Peer{p}, time.Now, log)
		asker.every = 10 * time.Millisecond
		all.Go(func() { _ = asker.Run(ctx) })
	}
	for round := range 6 {
		l := hubs[round%3]
		leading, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Lead(leading) }()
		await(t, "the hub to lead", l.Leading)
		lf, err := leaf.Of("entry", fmt.Sprintf("in-%d/1", round), time.Unix(int64(round), 0), round)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), lf); err != nil {
			t.Fatal(err)
		}
		for _, other := range hubs { // each has the leaf, and in the end the cosignature over it
			if _, err := other.Await(t.Context(), lf); err != nil {
				t.Fatal(err)
			}
			await(t, "a cosignature", func() bool { cp, _, ok := other.Cosigned(p.Key); return ok && cp.Size > uint64(round) })
			proof, err := other.Prove(t.Context(), lf)
			if err != nil {
				t.Fatal(err)
			}
			if err := proof.Verify(verifier); err != nil || len(proof.Witnesses) != 1 {
				t.Errorf("round %d: %d witnesses, %v", round, len(proof.Witnesses), err)
			}
		}
		end()
		if err := <-done; err != nil {
			t.Errorf("lead: %v", err)
		}
	}
}
