package archive

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/ledger/leaf"
)

// TestChildAppends is not a test of its own: TestKill runs it in another
// process and kills that. It previews, seals, merges and compacts as fast as it
// can, and prints every leaf before what it acknowledges.
func TestChildAppends(t *testing.T) {
	dir := os.Getenv("SONAE_ARCHIVE_CHILD")
	if dir == "" {
		t.Skip("runs as the child of TestKill")
	}
	n, err := strconv.Atoi(os.Getenv("SONAE_ARCHIVE_FROM"))
	if err != nil {
		t.Fatal(err)
	}
	say := func(_ context.Context, l leaf.Leaf) error {
		b, err := json.Marshal(l)
		fmt.Printf("leaf %s\n", b)
		return err
	}
	a := openEager(t, dir, &books{}, WithLedger(say))
	go a.Maintain(t.Context())
	for ; ; n += 2 {
		both := []event.Batch{batchOf(n, 30), batchOf(n+1, 30)}
		a.Preview(t.Context(), both[:1])
		for _, l := range appended(t, a, both...) {
			say(t.Context(), l)
		}
		fmt.Printf("ack %d\n", n)
	}
}

func TestKill(t *testing.T) {
	dir, b := t.TempDir(), &books{}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 4))
	last := -2
	for round := range 12 {
		// The child starts with what was acknowledged last, as a bus that did
		// not hear the acknowledgement would.
		last = killedChild(t, dir, b, max(0, last), 2+dice.IntN(12), time.Duration(dice.IntN(60_000))*time.Microsecond)
		a := openEager(t, dir, b)
		s := a.Stats()
		if want := int64(last+2) * 30; s.Events != want && s.Events != want+60 { // one more may be whole and not yet acknowledged
			t.Fatalf("round %d: %d events, %d were acknowledged", round, s.Events, want)
		}
		if r := checked(t, dir, b.leaves); len(r.Differences) > 0 {
			t.Fatalf("round %d: %+v", round, r)
		}
		offered := last
		if s.Events > int64(last+2)*30 { // whole and not acknowledged: the bus offers it again, which tells its leaf
			offered += 2
		}
		for n := 0; n <= offered; n += 2 {
			b.add(appended(t, a, batchOf(n, 30), batchOf(n+1, 30)))
		}
		if again := a.Stats(); again.Events != s.Events || again.Damaged > 0 {
			t.Fatalf("round %d: acknowledged batches were stored again: %+v, %+v", round, s, again)
		}
		if n, twice, err := countRows(t.Context(), a); err != nil || int64(n) != s.Events || twice > 0 {
			t.Fatalf("round %d: %d events are seen of %d, %d twice, %v", round, n, s.Events, twice, err)
		}
		newest := query(t, a, Query{IDs: []string{batchOf(last, 1).Events[0].ID, batchOf(last+1, 30).Events[29].ID}})
		if len(newest) != 2 {
			t.Fatalf("round %d: newest acknowledged events: %+v", round, newest)
		}
		if round%4 == 3 {
			maintained(t, a)
			sound(t, dir, b)
		}
		closed(t, a)
	}
	t.Logf("%d batches were acknowledged, %d leaves", last+2, len(b.leaves))
}

// killedChild lets a child append until it has acknowledged count times, waits
// a moment so that the kill hits any step of what it does next, kills it and
// returns what it acknowledged last. The leaves that it could say are in b.
func killedChild(t *testing.T, dir string, b *books, from, count int, moment time.Duration) int {
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
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "leaf "); ok {
			var l leaf.Leaf
			if json.Unmarshal([]byte(text), &l) == nil { // else the kill cut it off
				b.add([]leaf.Leaf{l})
			}
			continue
		}
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
