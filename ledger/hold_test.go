package ledger

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestHeldLedgerStaysAsItIs while leaves are offered all the time.
func TestHeldLedgerStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	signer, _ := newKeys(t)
	l := open(t, dir, signer)
	checkpoint := func() string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	fill(t, l, 0, 10)
	release := l.Hold()
	before := checkpoint()
	var wg sync.WaitGroup
	for i := 10; i < 20; i++ {
		wg.Go(func() {
			if _, err := l.Append(t.Context(), leafOf(t, i)); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := l.Checkpoint(t.Context()); err != nil { // reading goes on
		t.Error(err)
	}
	if checkpoint() != before {
		t.Error("it grew while it was held")
	}
	release()
	wg.Wait()
	if checkpoint() == before {
		t.Error("it does not grow after the release")
	}
}
