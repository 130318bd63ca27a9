package ledger

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/ledger/leaf"
)

// TestChildAppends is not a test of its own: TestKill runs it in another
// process and kills that.
func TestChildAppends(t *testing.T) {
	dir := os.Getenv("SONAE_LEDGER_CHILD")
	if dir == "" {
		t.Skip("runs as the child of TestKill")
	}
	from, err := strconv.Atoi(os.Getenv("SONAE_LEDGER_FROM"))
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, os.Getenv("SONAE_LEDGER_KEY"))
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for n := from + worker; ; n += 16 {
				i, err := l.Append(t.Context(), leafOf(t, n))
				if err != nil {
					t.Errorf("append %d: %v", n, err)
					return
				}
				fmt.Printf("ack %d %d\n", n, i) // one write: whole lines only
			}
		})
	}
	all.Wait()
}

func TestKill(t *testing.T) {
	t.Parallel()
	signer, verifier := newKeys(t)
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 2))
	acked := map[int]uint64{}
	for round := range 8 {
		killedChild(t, dir, signer, round*100_000, 1+dice.IntN(120), acked)
		r := verified(t, dir, verifier) // before anything repairs it
		if len(r.Differences) > 0 {
			t.Fatalf("round %d: killed ledger: %v", round, r.Differences)
		}
		checkAcked(t, dir, signer, acked)
		if r := verified(t, dir, verifier); len(r.Differences)+len(r.Leftovers) > 0 {
			t.Fatalf("round %d: reopened ledger: %+v", round, r)
		}
	}
	t.Logf("%d leaves were acknowledged", len(acked))
}

// killedChild lets a child append until it has acknowledged stop leaves, kills
// it, and notes all that it acknowledged.
func killedChild(t *testing.T, dir, signer string, from, stop int, acked map[int]uint64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildAppends$")
	cmd.Env = append(os.Environ(), "SONAE_LEDGER_CHILD="+dir, "SONAE_LEDGER_KEY="+signer, "SONAE_LEDGER_FROM="+strconv.Itoa(from))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n int
		var index uint64
		if c, _ := fmt.Sscanf(lines.Text(), "ack %d %d", &n, &index); c != 2 || !strings.HasPrefix(lines.Text(), "ack ") {
			continue
		}
		acked[n] = index
		if seen++; seen == stop {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || seen < stop {
		t.Fatalf("child ended by itself after %d leaves: %v", seen, err)
	}
}

// checkAcked reopens the ledger and looks for every acknowledged leaf.
func checkAcked(t *testing.T, dir, signer string, acked map[int]uint64) {
	t.Helper()
	l := open(t, dir, signer)
	all, err := l.Leaves(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	place := map[leaf.Leaf]int{}
	for i, lf := range all {
		if first, twice := place[lf]; twice {
			t.Errorf("leaf %s stands at %d and %d", lf.Ref, first, i)
		}
		place[lf] = i
	}
	for n, index := range acked {
		if i, there := place[leafOf(t, n)]; !there || uint64(i) != index {
			t.Errorf("acknowledged leaf %d at %d: found %v, %d", n, index, there, i)
		}
	}
	closed(t, l)
}
