package archive

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/sonae/sonae/ledger/leaf"
)

// TestChildAppends is not a test of its own: TestKill runs it in another
// process and kills that.
func TestChildAppends(t *testing.T) {
	dir := os.Getenv("SONAE_ARCHIVE_CHILD")
	if dir == "" {
		t.Skip("runs as the child of TestKill")
	}
	n, err := strconv.Atoi(os.Getenv("SONAE_ARCHIVE_FROM"))
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, dir)
	for ; ; n += 2 {
		appended(t, a, batchOf(n, 30), batchOf(n+1, 30))
		fmt.Printf("ack %d\n", n)
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 4))
	last := -2
	for round := range 6 {
		// The child starts with what was acknowledged last, as a bus that did
		// not hear the acknowledgement would.
		last = killedChild(t, dir, max(0, last), 2+dice.IntN(40), time.Duration(dice.IntN(4000))*time.Microsecond)
		a := open(t, dir)
		s := a.Stats()
		if want := int64(last+2) * 30; s.Events != want && s.Events != want+60 { // one more may be whole and not yet acknowledged
			t.Fatalf("round %d: %d events, %d were acknowledged", round, s.Events, want)
		}
		var leaves []leaf.Leaf
		for n := 0; n <= last; n += 2 {
			leaves = append(leaves, appended(t, a, batchOf(n, 30), batchOf(n+1, 30))...)
		}
		if again := a.Stats(); again != s {
			t.Fatalf("round %d: acknowledged batches were stored again: %+v, %+v", round, s, again)
		}
		if r := checked(t, dir, leaves); len(r.Differences) > 0 {
			t.Fatalf("round %d: %+v", round, r)
		}
		newest := query(t, a, Query{IDs: []string{batchOf(last, 1).Events[0].ID, batchOf(last+1, 30).Events[29].ID}})
		if len(newest) != 2 {
			t.Fatalf("round %d: newest acknowledged events: %+v", round, newest)
		}
		closed(t, a)
	}
	t.Logf("%d batches were acknowledged", last+2)
}

// killedChild lets a child append until it has acknowledged count times, waits
// a moment so that the kill hits any step of the next write, kills it and
// returns what it acknowledged last.
func killedChild(t *testing.T, dir string, from, count int, moment time.Duration) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildAppends$")
	cmd.Env = append(os.Environ(), "SONAE_ARCHIVE_CHILD="+dir, "SONAE_ARCHIVE_FROM="+strconv.Itoa(from))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last, seen := -1, 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n int
		if c, _ := fmt.Sscanf(lines.Text(), "ack %d", &n); c != 1 {
			continue
		}
		last = n
		if seen++; seen == count {
			time.AfterFunc(moment, func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || seen < count {
		t.Fatalf("child ended by itself after %d: %v", seen, err)
	}
	return last
}
