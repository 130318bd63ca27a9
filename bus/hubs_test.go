package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// testHub is a hub in a process of its own.
type testHub struct {
	Name, Dir string
	External  External
}

func (h testHub) note(file, line string) {
	f, err := os.OpenFile(filepath.Join(h.Dir, file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	die(err)
	_, err = f.WriteString(line + "\n")
	die(err)
	die(f.Close())
}

// work notes what it gets to handle.
func (h testHub) work(ctx context.Context, b *Bus) error {
	return b.Join(ctx,
		OnBytes("event.>", "detect", func(_ context.Context, body []byte) error {
			h.note("detect", h.Name+" "+string(body))
			return nil
		}).Partitioned(),
		OnBytes("alert.>", "live", func(_ context.Context, body []byte) error {
			h.note("live", h.Name+" "+string(body))
			return nil
		}).Each())
}

func serveHub(text string) {
	var h testHub
	die(json.Unmarshal([]byte(text), &h))
	ctx := context.Background()
	b, err := Open(ctx, Config{Hub: h.Name, Streams: []string{"event", "alert"}, Partitioned: []string{"event.*.*"}, External: &h.External}, slog.New(slog.DiscardHandler))
	die(err)
	die(h.work(ctx, b))
	fmt.Println("up")
	term := 0
	die(b.Lead(ctx, "job", func(ctx context.Context) error {
		for term++; ctx.Err() == nil; sleep(ctx, 5*time.Millisecond) {
			h.note("lead", fmt.Sprintf("%s %d-%d", h.Name, os.Getpid(), term))
		}
		return ctx.Err()
	}))
	os.Exit(0)
}

// A hub that closes leaves nothing to wait for: the next one has at once what
// was under way, in order.
func TestClosingHubGivesBackWhatItDidNotFinish(t *testing.T) {
	c := newCluster(t, 1, nil)
	cfg := Config{Hub: "a", Partitioned: []string{"event.*.*"}}
	stuck := OnBytes("event.>", "detect", func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() }).Partitioned()
	batch := func(early *record) Join {
		return OnArrival("event.>", "archive", 100, 2*time.Second, fetchBytes, func(_ context.Context, body []byte) (any, int) {
			early.add(string(body))
			return nil, len(body)
		}, func(ctx context.Context, _ []Arrived[any]) error { <-ctx.Done(); return ctx.Err() })
	}
	first := c.open(t, cfg)
	var early, again, got record
	for _, j := range []Join{stuck, batch(&early)} { // the consumers alone: one window shall have all
		if _, err := first.pumpsOf(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		send(t, first, "event.s.h0", fmt.Sprintf("h0 %d", i))
	}
	if err := first.Join(t.Context(), stuck, batch(&early)); err != nil {
		t.Fatal(err)
	}
	until(t, "all under way", func() bool { return len(early.all()) == 10 })
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Hub = "b"
	second := c.open(t, cfg)
	if err := second.Join(t.Context(), OnBytes("event.>", "detect", got.handle).Partitioned(), batch(&again)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until(t, "all again", func() bool { return len(got.all()) == 10 && len(again.all()) == 10 })
	if took := time.Since(began); took >= batchAckWait {
		t.Errorf("the server was waited for: %v", took)
	}
	inOrder(t, got.all(), 1, 10)
}

func lines(t *testing.T, dir, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	text = text[:strings.LastIndexByte(string(text), '\n')+1]
	return strings.Fields(strings.ReplaceAll(string(text), " ", "/"))
}

// TestHubsShareTheWorkAndOneLeads starts three hubs and kills the one that
// leads, again and again, while messages come in.
func TestHubsShareTheWorkAndOneLeads(t *testing.T) {
	c := newCluster(t, 1, nil)
	dir := t.TempDir()
	hubs := map[string]*exec.Cmd{}
	start := func(name string) {
		text, err := json.Marshal(testHub{name, dir, c.ext})
		if err != nil {
			t.Fatal(err)
		}
		hubs[name] = child(t, "SONAE_TEST_HUB="+string(text))
	}
	t.Cleanup(func() {
		for _, h := range hubs {
			_ = h.Process.Kill()
			_ = h.Wait() // killed
		}
	})
	for _, name := range []string{"a", "b", "c"} {
		start(name)
	}
	b := c.open(t, Config{Hub: "d", Partitioned: []string{"event.*.*"}}) // works too, and is never killed
	if err := (testHub{Name: "d", Dir: dir}).work(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	const hosts = 24
	sent, done := 0, make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		for ; ctx.Err() == nil; sent++ {
			for h := range hosts {
				id := fmt.Sprintf("h%d/%d", h, sent)
				for b.Publish(t.Context(), fmt.Sprintf("event.s.h%d", h), id, []byte(id)) != nil {
				}
			}
			sleep(ctx, 20*time.Millisecond)
		}
	}()
	leader := func() string {
		l := lines(t, dir, "lead")
		if len(l) == 0 {
			return ""
		}
		return l[len(l)-1]
	}
	until(t, "a leader", func() bool { return leader() != "" })
	var away time.Duration
	for range 3 {
		was := leader()
		name, _, _ := strings.Cut(was, "/")
		_ = hubs[name].Process.Kill()
		_ = hubs[name].Wait() // killed
		began := time.Now()
		until(t, "the next leader", func() bool { return leader() != was })
		away = max(away, time.Since(began))
		start(name)
	}
	t.Logf("longest time without a leader: %v", away)
	until(t, "work on all hubs", func() bool {
		worked := map[string]bool{}
		for _, l := range lines(t, dir, "detect")[max(0, len(lines(t, dir, "detect"))-600):] {
			worked[l[:1]] = true
		}
		return len(worked) == 4
	})
	stop()
	<-done
	checkTerms(t, lines(t, dir, "lead"))
	next := map[string]int{}
	until(t, "all messages", func() bool { next = perHost(t, lines(t, dir, "detect")); return complete(next, hosts, sent) })
	checkEach(t, b, dir)
}

// checkTerms checks that no two led at once: what was written in one term
// stands together.
func checkTerms(t *testing.T, l []string) {
	t.Helper()
	l = slices.Compact(l)
	t.Logf("terms: %v", l)
	slices.Sort(l)
	if len(slices.Compact(slices.Clone(l))) != len(l) {
		t.Errorf("two hubs led at once: %v", l)
	}
}

// perHost checks the order of each host's messages: the next one, or what was
// under way when a hub was killed once more.
func perHost(t *testing.T, l []string) map[string]int {
	t.Helper()
	next := map[string]int{}
	for _, line := range l {
		p := strings.Split(line, "/")
		n, err := strconv.Atoi(p[2])
		if err != nil || n > next[p[1]] || n < next[p[1]]-1 {
			t.Fatalf("%s came when %d was due", line, next[p[1]])
		}
		next[p[1]] = n + 1
	}
	return next
}

func complete(next map[string]int, hosts, sent int) bool {
	for h := range hosts {
		if next["h"+strconv.Itoa(h)] != sent {
			return false
		}
	}
	return true
}

// checkEach checks that every hub that lives sees what is shown to all.
func checkEach(t *testing.T, b *Bus, dir string) {
	t.Helper()
	send(t, b, "alert.raised", "seen")
	until(t, "all hubs to see it", func() bool {
		l := lines(t, dir, "live")
		return slices.Contains(l, "a/seen") && slices.Contains(l, "b/seen") && slices.Contains(l, "c/seen") && slices.Contains(l, "d/seen")
	})
}
