package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	flog "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// openIndexed opens a ledger with an index beside it.
func openIndexed(t testing.TB, dir, signer string) (*Ledger, error) {
	t.Helper()
	l, err := Open(t.Context(), dir, signer, quiet(t), Indexed(dir+"-index"))
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return l, err
}

// indexed writes a closed ledger with an index over its first leaves and more
// leaves after it.
func indexed(t *testing.T) (dir, signer string) {
	t.Helper()
	src, signer, _ := fixture(t)
	dir = filepath.Join(t.TempDir(), "ledger")
	if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	l, err := openIndexed(t, dir, signer)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.renewIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, l, fixtureLeaves, fixtureLeaves+300)
	closed(t, l)
	return dir, signer
}

func TestIndexFindsEveryLeaf(t *testing.T) {
	dir, signer := indexed(t)
	for range 3 { // the second and third time with a table that was merged
		l, err := openIndexed(t, dir, signer)
		if err != nil {
			t.Fatal(err)
		}
		if l.index.tableNow() == nil {
			t.Fatal("the index was not used")
		}
		<-l.rest
		if err := l.Damage(); err != nil {
			t.Fatalf("an intact ledger: %v", err)
		}
		cp, err := l.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all, err := l.Leaves(t.Context(), 0, int(cp.Size))
		if err != nil {
			t.Fatal(err)
		}
		for i, lf := range all {
			if at, err := l.Append(t.Context(), lf); err != nil || at != uint64(i) {
				t.Fatalf("leaf %d offered again: %d, %v", i, at, err)
			}
		}
		fill(t, l, int(cp.Size), int(cp.Size)+200)
		if err := l.renewIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if covers := l.index.tableNow().covers(); covers != (cp.Size+200)/256*256 || l.index.waiting() != int(cp.Size+200-covers) {
			t.Errorf("the table covers %d of %d leaves, %d are in memory", covers, cp.Size+200, l.index.waiting())
		}
		if p, err := l.Prove(t.Context(), all[7]); err != nil || p.Index != 7 {
			t.Errorf("proof of an old leaf: %d, %v", p.Index, err)
		}
		closed(t, l)
	}
}

// TestQuickStartMissesNothing changes every file of a ledger: either the start
// refuses, or the check beside the work stops the ledger.
func TestQuickStartMissesNothing(t *testing.T) {
	dir, signer := indexed(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 3))
	refused, stopped := 0, 0
	for _, file := range filesOf(t, dir) {
		good := get(t, dir, file)
		if len(good) == 0 {
			continue
		}
		bad := bytes.Clone(good)
		bad[dice.IntN(len(bad))] ^= byte(1 + dice.IntN(255))
		other := filepath.Join(t.TempDir(), "ledger")
		for _, d := range []string{"", "-index"} {
			if err := os.CopyFS(other+d, os.DirFS(dir+d)); err != nil {
				t.Fatal(err)
			}
		}
		put(t, other, file, bad)
		l, err := openIndexed(t, other, signer)
		if err != nil {
			if fault.Of(err) != fault.Conflict {
				t.Errorf("%s: %v", file, err)
			}
			refused++
			continue
		}
		<-l.rest
		if _, err := l.Append(t.Context(), leafOf(t, 5000)); fault.Of(err) != fault.Conflict || fault.Of(l.Damage()) != fault.Conflict {
			t.Errorf("%s was changed, and the ledger takes leaves: %v", file, err)
		}
		if _, err := l.Prove(t.Context(), leafOf(t, 900)); err != nil {
			t.Errorf("%s: what is intact is not proved any more: %v", file, err)
		}
		stopped++
		closed(t, l)
	}
	t.Logf("%d starts refused, %d stopped", refused, stopped)
	if refused == 0 || stopped == 0 {
		t.Error("not both happened")
	}
}

// TestIndexThatCannotBeUsed damages the index: the ledger opens all the same.
func TestIndexThatCannotBeUsed(t *testing.T) {
	dir, signer := indexed(t)
	file := filepath.Join(dir+"-index", tableFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 1 + len(good)/97 {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if tab, err := openTable(dir + "-index"); err == nil {
			t.Errorf("byte %d: the index was taken: %d leaves", at, tab.size)
		}
	}
	if err := os.WriteFile(file, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openIndexed(t, dir, signer)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := l.Append(t.Context(), leafOf(t, 3)); err != nil || i > fixtureLeaves {
		t.Errorf("a known leaf: %d, %v", i, err)
	}
	closed(t, l)

	// An index that somebody made, with a good digest and without one leaf.
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	tab, err := openTable(dir + "-index")
	if err != nil {
		t.Fatal(err)
	}
	forged := slices.Clone(good[:tab.keys])
	binary.BigEndian.PutUint64(forged[16:], tab.count-1)
	forged = append(forged, good[tab.keys+tableRow:len(good)-sha256.Size]...)
	sum := sha256.Sum256(forged)
	if err := os.WriteFile(file, append(forged, sum[:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = openIndexed(t, dir, signer); err != nil {
		t.Fatal(err)
	}
	<-l.rest
	if fault.Of(l.Damage()) != fault.Conflict {
		t.Errorf("a forged index: %v", l.Damage())
	}
}

func TestInterruptedWriteIsCleanedUpQuickly(t *testing.T) {
	dir, signer := indexed(t)
	last := fmt.Sprintf("tile/entries/003.p/%d", (fixtureLeaves+300)%256)
	put(t, dir, fmt.Sprintf("tile/entries/003.p/%d", (fixtureLeaves+300)%256+1), append(get(t, dir, last), "\x00\x03abc"...))
	put(t, dir, "checkpoint77123", []byte("sonae"))
	l, err := openIndexed(t, dir, signer)
	if err != nil {
		t.Fatal(err)
	}
	if l.index.tableNow() == nil {
		t.Error("an interrupted write made the start slow")
	}
	<-l.rest
	fill(t, l, 5000, 5010)
	closed(t, l)
	if _, verifier, err := keyPair(signer); err != nil {
		t.Fatal(err)
	} else if r := verified(t, dir, verifier); len(r.Leftovers)+len(r.Differences) > 0 {
		t.Errorf("afterwards: %+v", r)
	}
}

// bulk writes a ledger of n leaves without an engine, quickly.
func bulk(t testing.TB, dir, signerKey string, n int) {
	t.Helper()
	signer, err := note.NewSigner(signerKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file string, content []byte) error {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, content, 0o644)
	}
	f := emptyFrontier()
	at := time.Date(2026, 11, 22, 14, 2, 0, 0, time.UTC)
	for i := range n {
		b, err := encode(leaf.Leaf{Type: "entry", Ref: fmt.Sprintf("in-%012d/1", i), Digest: fmt.Sprintf("%064x", i), At: at})
		if err == nil {
			err = f.append(b, write)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := f.root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := note.Sign(&note.Note{Text: string(flog.Checkpoint{Origin: signer.Name(), Size: f.size, Hash: root}.Marshal())}, signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{f.partials(0, write), writeTreeState(dir, f), write("checkpoint", text)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkLedgerOpen measures a start with a million leaves, without and with
// the index, and the check beside the work.
func BenchmarkLedgerOpen(b *testing.B) {
	const leaves = 1_000_000
	signer, _ := newKeys(b)
	dir := filepath.Join(b.TempDir(), "ledger")
	bulk(b, dir, signer, leaves)
	again := func(b *testing.B, wait bool, options ...Option) {
		for b.Loop() {
			l, err := Open(b.Context(), dir, signer, quiet(b), options...)
			if err != nil {
				b.Fatal(err)
			}
			if wait {
				<-l.rest
			}
			if err := errors.Join(l.Damage(), l.Close()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("without", func(b *testing.B) { again(b, false) })
	l, err := Open(b.Context(), dir, signer, quiet(b), Indexed(dir+"-index"))
	if err == nil {
		err = l.renewIndex(b.Context())
	}
	if err := errors.Join(err, l.Close()); err != nil {
		b.Fatal(err)
	}
	b.Run("with", func(b *testing.B) { again(b, false, Indexed(dir+"-index")) })
	b.Run("with, all checked", func(b *testing.B) { again(b, true, Indexed(dir+"-index")) })
}
