package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/blob/blobtest"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// joined opens a ledger that shares a store.
func joined(t testing.TB, dir, signer string, store blob.Store, more ...Option) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), dir, signer, quiet(t), append(more, Shared(store))...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// led makes a ledger lead until the returned function is called, which returns
// what Lead did.
func led(t testing.TB, l *Ledger) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Lead(ctx) }()
	leads(t, l)
	return sync.OnceValue(func() error { cancel(); return <-done })
}

// leads waits until a ledger leads.
func leads(t testing.TB, l *Ledger) {
	t.Helper()
	for n := 0; !l.Leading(); n++ {
		if err := pause(t.Context(), pollEvery); err != nil || n > 6000 {
			t.Fatalf("it never leads: %v, %v", err, l.Trouble())
		}
	}
}

// caught waits until a ledger has so many leaves and returns its checkpoint.
func caught(t testing.TB, l *Ledger, size uint64) Checkpoint {
	t.Helper()
	cp, err := l.pub.await(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func folderStore(t testing.TB) (blob.Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func TestSharedLedger(t *testing.T) {
	blobtest.Each(t, func(t *testing.T, store blob.Store) {
		signer, verifier := newKeys(t)
		dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
		var all []*Ledger
		for _, dir := range dirs {
			all = append(all, joined(t, dir, signer, store))
		}
		if _, err := all[1].Append(t.Context(), leafOf(t, 0)); fault.Of(err) != fault.Busy {
			t.Errorf("a follower took a leaf: %v", err)
		}
		written := 0
		for round := range 4 { // each leads in turn, the first one twice
			l := all[round%3]
			stop := led(t, l)
			fill(t, l, written, written+170)
			for _, other := range all {
				p, err := other.Await(t.Context(), leafOf(t, written+169))
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Verify(verifier); err != nil {
					t.Error(err)
				}
			}
			written += 170
			if i, err := all[(round+1)%3].Append(t.Context(), leafOf(t, 3)); err != nil || i > 169 {
				t.Errorf("a leaf that is there already, at a follower: %d, %v", i, err)
			}
			if err := stop(); err != nil {
				t.Errorf("lead: %v", err)
			}
		}
		for i, l := range all {
			cp := caught(t, l, uint64(written))
			if first := caught(t, all[0], uint64(written)); cp != first {
				t.Errorf("ledger %d has %+v, the first has %+v", i, cp, first)
			}
			leaves, err := l.Leaves(t.Context(), 0, written+1)
			if err != nil || len(leaves) != written {
				t.Errorf("ledger %d has %d leaves, %v", i, len(leaves), err)
			}
			closed(t, l)
			if r := verified(t, dirs[i], verifier); len(r.Differences)+len(r.Leftovers) > 0 || r.Checked.Leaves != uint64(written) {
				t.Errorf("ledger %d: %+v", i, r)
			}
		}
	})
}

// TestStaleLeaderIsFenced lets a second hub lead while the first still thinks
// that it does.
func TestStaleLeaderIsFenced(t *testing.T) {
	store, _ := folderStore(t)
	signer, _ := newKeys(t)
	first, second := joined(t, t.TempDir(), signer, store), joined(t, t.TempDir(), signer, store)
	ended := make(chan error, 1)
	go func() { ended <- first.Lead(t.Context()) }()
	leads(t, first)
	fill(t, first, 0, 30)
	stop := led(t, second)
	if _, err := first.Append(t.Context(), leafOf(t, 30)); fault.Of(err) != fault.Busy {
		t.Errorf("the stale leader took a leaf: %v", err)
	}
	if err := <-ended; fault.Of(err) != fault.Conflict || !errors.Is(err, errFenced) {
		t.Errorf("the stale leader ended with %v", err)
	}
	if i, err := second.Append(t.Context(), leafOf(t, 30)); err != nil || i != 30 {
		t.Errorf("the new leader: %d, %v", i, err)
	}
	if p, err := first.Await(t.Context(), leafOf(t, 30)); err != nil || p.Index != 30 {
		t.Errorf("the stale leader follows: %d, %v", p.Index, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if l := first; l.Leading() {
		t.Error("it still thinks that it leads")
	}
}

// TestRolledBackStore puts an older copy in the place of the store.
func TestRolledBackStore(t *testing.T) {
	store, dir := folderStore(t)
	signer, _ := newKeys(t)
	a, b := joined(t, t.TempDir(), signer, store), joined(t, t.TempDir(), signer, store)
	stop := led(t, a)
	fill(t, a, 0, 20)
	caught(t, b, 20)
	copyOf := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copyOf, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	fill(t, a, 20, 50)
	caught(t, b, 50)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	back, err := blob.OpenFolder(copyOf)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Ledger{a, b} {
		l.shared.work.Lock()
		l.shared.store = back
		l.shared.work.Unlock()
	}
	for n := 0; fault.Of(b.Trouble()) != fault.Conflict; n++ {
		if err := pause(t.Context(), pollEvery); err != nil || n > 6000 {
			t.Fatalf("nobody noticed: %v, %v", err, b.Trouble())
		}
	}
	if err := a.Lead(t.Context()); fault.Of(err) != fault.Conflict {
		t.Errorf("led on a rolled-back store: %v", err)
	}
	if cp := caught(t, b, 50); cp.Size != 50 {
		t.Errorf("the follower went back to %d", cp.Size)
	}
	if _, err := b.Prove(t.Context(), leafOf(t, 49)); err != nil {
		t.Errorf("what it has is not proved any more: %v", err)
	}
	fresh := joined(t, t.TempDir(), signer, back) // knows nothing better
	stopFresh := led(t, fresh)
	fill(t, fresh, 100, 140) // another history, longer by now
	if err := stopFresh(); err != nil {
		t.Error(err)
	}
	if err := a.Lead(t.Context()); fault.Of(err) != fault.Conflict {
		t.Errorf("followed another history: %v", err)
	}
}

// TestLoneLedgerIsShared brings the ledger of one hub into a store, and back.
func TestLoneLedgerIsShared(t *testing.T) {
	store, _ := folderStore(t)
	signer, verifier := newKeys(t)
	dir, other := t.TempDir(), t.TempDir()
	l := open(t, dir, signer)
	fill(t, l, 0, 700)
	if err := leadsAlone(t, l); err != nil {
		t.Errorf("a ledger that is not shared: %v", err)
	}
	closed(t, l)
	l = joined(t, dir, signer, store)
	stop := led(t, l)
	fill(t, l, 700, 720)
	f := joined(t, other, signer, store)
	caught(t, f, 720)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	closed(t, f)
	l = open(t, other, signer)
	if i, err := l.Append(t.Context(), leafOf(t, 5)); err != nil || i > 699 {
		t.Errorf("a known leaf: %d, %v", i, err)
	}
	fill(t, l, 720, 1100)
	closed(t, l)
	if r := verified(t, other, verifier); len(r.Differences)+len(r.Leftovers) > 0 || r.Checked.Leaves != 1100 {
		t.Errorf("alone again: %+v", r)
	}
	strange := open(t, t.TempDir(), signer) // a hub with a history of its own does not join
	fill(t, strange, 2000, 2010)
	closed(t, strange)
	s := joined(t, strange.dir, signer, store)
	if err := s.Lead(t.Context()); fault.Of(err) != fault.Conflict {
		t.Errorf("two histories in one store: %v", err)
	}
}

func leadsAlone(t *testing.T, l *Ledger) error {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if !l.Leading() || l.Trouble() != nil {
		t.Error("a ledger that is not shared does not lead")
	}
	return l.Lead(ctx)
}

// TestAwait waits for a leaf that comes later.
func TestAwait(t *testing.T) {
	signer, verifier := newKeys(t)
	l := open(t, t.TempDir(), signer)
	got := make(chan Proof, 1)
	go func() {
		p, err := l.Await(t.Context(), leafOf(t, 7))
		if err != nil {
			t.Error(err)
		}
		got <- p
	}()
	fill(t, l, 0, 8)
	if p := <-got; p.Verify(verifier) != nil || p.Leaf.Ref != leafOf(t, 7).Ref {
		t.Errorf("got %+v", p)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := l.Await(ctx, leaf.Leaf{Type: "entry", Ref: "none", Digest: leafOf(t, 9).Digest}); !errors.Is(err, context.Canceled) {
		t.Errorf("a leaf that never comes: %v", err)
	}
}

// TestDamagedStore changes every object: a new follower takes nothing that was
// not signed.
func TestDamagedStore(t *testing.T) {
	store, dir := folderStore(t)
	signer, _ := newKeys(t)
	l := joined(t, t.TempDir(), signer, store)
	stop := led(t, l)
	fill(t, l, 0, 300)
	fill(t, l, 300, 310) // now the head knows that the first bundle is in its place
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	h, _, err := l.shared.readHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{headName, h.Tail, "tile/entries/000"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(good); at += 1 + len(good)/23 {
			bad := append([]byte(nil), good...)
			bad[at] ^= 1
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			f := &Ledger{dir: t.TempDir(), log: quiet(t), verifier: l.verifier, signer: l.signer, pub: &publication{dir: t.TempDir(), verifier: l.verifier}}
			Shared(store)(f)
			f.shared.edge = emptyFrontier()
			err := f.shared.catchUp(t.Context())
			if err == nil && name == headName { // term and leader are not the log
				if want, err := l.pub.look(0); err != nil || !rooted(f.shared.edge, want.root()) {
					t.Errorf("%s, byte %d: another log was taken, %v", name, at, err)
				}
				continue
			}
			if left := filesOf(t, f.dir); err == nil || len(left) > 0 {
				t.Errorf("%s, byte %d: %v, left %v", name, at, err, left)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte(`{"schema":"sonae.ledger.head/1","term":1,"leader":"A","full":0,"tail":"","checkpoint":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHead(b)
		if err != nil {
			return
		}
		if again, err := h.bytes(); err != nil || string(again) != string(b) {
			t.Errorf("%q became %q, %v", b, again, err)
		}
	})
}
