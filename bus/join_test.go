package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func openWith(t *testing.T, cfg Config) *Bus {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Streams == nil {
		cfg.Streams = []string{"event", "alert"}
	}
	b, err := Open(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: waited in vain", what)
		}
	}
}

// record is what handlers noted, in order.
type record struct {
	mu   sync.Mutex
	list []string
}

func (r *record) add(s string) { r.mu.Lock(); defer r.mu.Unlock(); r.list = append(r.list, s) }
func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

func (r *record) handle(_ context.Context, body []byte) error { r.add(string(body)); return nil }

func send(t *testing.T, b *Bus, subject, id string) {
	t.Helper()
	if err := b.Publish(t.Context(), subject, id, []byte(id)); err != nil {
		t.Fatal(err)
	}
}

// A message must be read long before its window closes, and also while the
// handler still works on the window before.
func TestMessagesAreReadBeforeTheWindowClosesAndWhileTheHandlerWorks(t *testing.T) {
	b := openWith(t, Config{})
	early := make(chan string, 99)
	began, release := make(chan []string, 9), make(chan struct{})
	j := OnArrival("event.>", "archive", 4, 30*time.Second, fetchBytes, func(_ context.Context, body []byte) (string, int) {
		early <- string(body)
		return "read " + string(body), 1
	}, func(_ context.Context, all []Arrived[string]) error {
		var got []string
		for _, m := range all {
			if m.Value != "read "+string(m.Body) {
				t.Errorf("%q was read as %q", m.Body, m.Value)
			}
			got = append(got, string(m.Body))
		}
		began <- got
		<-release
		return nil
	})
	if err := b.Join(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		send(t, b, "event.s.h", id)
		await(t, early, id)
	}
	if len(began) != 0 {
		t.Fatal("the window closed although it was not full")
	}
	send(t, b, "event.s.h", "d")
	if got, want := <-began, []string{"a", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Fatalf("window %q, want %q", got, want)
	}
	await(t, early, "d")
	send(t, b, "event.s.h", "e") // the handler holds the first window
	await(t, early, "e")
	close(release)
}

// What is read counts, not what came: a few bytes may become much.
func TestWindowEndsWithTheSizeOfWhatWasRead(t *testing.T) {
	b := openWith(t, Config{})
	windows := make(chan int, 9)
	j := OnArrival("event.>", "archive", 1000, 30*time.Second, 100, func(_ context.Context, body []byte) (int, int) { return len(body), 10 },
		func(_ context.Context, all []Arrived[int]) error { windows <- len(all); return nil })
	if _, err := b.pumpsOf(t.Context(), j); err != nil { // the consumer alone, so that the stream keeps what follows
		t.Fatal(err)
	}
	for n := range 2 * fetchStep {
		send(t, b, "event.s.h", "again "+strconv.Itoa(n))
	}
	if err := b.Join(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n := <-windows; n != fetchStep {
			t.Errorf("window of %d messages, want %d", n, fetchStep)
		}
	}
}

// TestBatchUnderWayComesBackAfterAKill kills a hub that holds many messages of
// a long window, some of them already in its handler, and starts it again:
// everything must be there at once, not after the time that the server waits.
func TestBatchUnderWayComesBackAfterAKill(t *testing.T) {
	const messages = 600
	if dir := os.Getenv("SONAE_TEST_BATCH"); dir != "" {
		holdForever(dir, messages)
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBatchUnderWayComesBackAfterAKill$")
	cmd.Env = append(os.Environ(), "SONAE_TEST_BATCH="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatal("the hub ended by itself")
		}
		if lines.Text() == "holding" {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed: that is its exit status
	b := openWith(t, Config{Dir: dir, Streams: []string{"event"}})
	var again record
	j := OnBatch("event.>", "archive", 100, time.Second, func(_ context.Context, bodies [][]byte) error {
		for _, b := range bodies {
			again.add(string(b))
		}
		return nil
	})
	began := time.Now()
	if err := b.Join(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	distinct := func() int { l := again.all(); slices.Sort(l); return len(slices.Compact(l)) }
	until(t, "all that was published", func() bool { return distinct() == messages })
	if took := time.Since(began); took > aloneAckWait/2 {
		t.Errorf("the server was waited for: %v", took)
	}
}

func holdForever(dir string, messages int) {
	ctx := context.Background()
	b, err := Open(ctx, Config{Dir: dir, Streams: []string{"event"}}, slog.New(slog.DiscardHandler))
	die(err)
	var early record
	stuck := OnArrival("event.>", "archive", 100, 20*time.Second, fetchBytes, func(_ context.Context, body []byte) (any, int) {
		early.add(string(body))
		return nil, len(body)
	}, func(ctx context.Context, _ []Arrived[any]) error {
		<-ctx.Done()
		return ctx.Err()
	})
	_, err = b.pumpsOf(ctx, stuck) // the consumer alone: the messages are there before the first window begins
	die(err)
	for i := range messages {
		die(b.Publish(ctx, "event.s.h", strconv.Itoa(i), []byte(strconv.Itoa(i))))
	}
	die(b.Join(ctx, stuck))
	for len(early.all()) < 200 { // a hundred in the handler, a hundred in the window behind it
		time.Sleep(time.Millisecond)
	}
	fmt.Println("holding")
	select {}
}

func TestEachForgetsItsSharedPast(t *testing.T) {
	dir := t.TempDir()
	b := openWith(t, Config{Dir: dir})
	var before, after record
	if err := b.Join(t.Context(), OnBytes("alert.>", "live", before.handle)); err != nil {
		t.Fatal(err)
	}
	send(t, b, "alert.raised", "1")
	until(t, "the first", func() bool { return len(before.all()) == 1 })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openWith(t, Config{Dir: dir, Hub: "a.b c"})
	fails := OnBytes("alert.>", "live", func(ctx context.Context, body []byte) error {
		after.add(string(body))
		return errors.New("never")
	}).Each()
	if err := b.Join(t.Context(), fails); err != nil {
		t.Fatal(err)
	}
	send(t, b, "alert.raised", "2")
	send(t, b, "alert.raised", "3")
	until(t, "all tries", func() bool { return len(after.all()) == 2*eachTries })
	want := append(slices.Repeat([]string{"2"}, eachTries), slices.Repeat([]string{"3"}, eachTries)...)
	if got := after.all(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	until(t, "nothing is kept", func() bool { return stored(t, b, "ALERT") == 0 })
}

func stored(t *testing.T, b *Bus, stream string) uint64 {
	t.Helper()
	s, err := b.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func TestPartitionedKeepsTheOrderOfEachHostAndWorksBesideThem(t *testing.T) {
	b := openWith(t, Config{Partitioned: []string{"event.*.*"}})
	const hosts, each = 20, 30
	var got record
	both := make(chan struct{}) // two handlers must be at work at once, else nobody comes through
	var meet sync.Once
	waiting := make(chan struct{}, 1)
	handle := func(ctx context.Context, body []byte) error {
		meet2 := func() {
			select {
			case waiting <- struct{}{}: // the first one waits for the second
				select {
				case <-both:
				case <-ctx.Done():
				}
			default:
				meet.Do(func() { close(both) })
			}
		}
		meet2()
		got.add(string(body))
		return nil
	}
	if err := b.Join(t.Context(), OnBytes("event.>", "detect", handle).Partitioned()); err != nil {
		t.Fatal(err)
	}
	for i := range each {
		for h := range hosts {
			send(t, b, fmt.Sprintf("event.site.h%d", h), fmt.Sprintf("h%d %d", h, i))
		}
	}
	until(t, "all", func() bool { return len(got.all()) >= hosts*each })
	inOrder(t, got.all(), hosts, each)
}

// inOrder checks that every host's numbers came once and in order.
func inOrder(t *testing.T, list []string, hosts, each int) {
	t.Helper()
	next := map[string]int{}
	for _, s := range list {
		host, number, _ := strings.Cut(s, " ")
		if n, err := strconv.Atoi(number); err != nil || n != next[host] {
			t.Fatalf("%s came when %d was due", s, next[host])
		}
		next[host]++
	}
	for h := range hosts {
		if n := next["h"+strconv.Itoa(h)]; n != each {
			t.Errorf("host %d: %d of %d", h, n, each)
		}
	}
}

// A bus from before there were partitions is opened with partitions: what it
// still has is handled first, then what is new, and nothing waits for a reader
// that does not exist any more.
func TestLagCountsAllPartitionsOfAJoin(t *testing.T) {
	b := openWith(t, Config{Partitioned: []string{"event.*.*"}})
	stuck := func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() }
	if err := b.Join(t.Context(), OnBytes("event.>", "detect", stuck).Partitioned(), OnBytes("event.>", "archive", stuck)); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		send(t, b, fmt.Sprintf("event.s.h%d", i), strconv.Itoa(i))
	}
	until(t, "all counted once for each join", func() bool {
		lags, err := b.Lags(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]uint64{}
		for _, l := range lags {
			all[l.Join] += l.Waiting + uint64(l.Pending)
		}
		return len(lags) == 3 && all["detect"] == 40 && all["archive"] == 40
	})
}

func TestMessagesFromBeforePartitionsAreHandledFirst(t *testing.T) {
	dir := t.TempDir()
	b := openWith(t, Config{Dir: dir})
	stuck := OnBytes("event.>", "detect", func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() })
	if err := b.Join(t.Context(), stuck); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		send(t, b, fmt.Sprintf("event.site.h%d", i%3), fmt.Sprintf("h%d %d", i%3, i/3))
	}
	until(t, "one under way", func() bool {
		lags, err := b.Lags(t.Context())
		return err == nil && len(lags) > 1 && lags[len(lags)-1].Pending == 1
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openWith(t, Config{Dir: dir, Partitioned: []string{"event.*.*"}})
	for i := 20; i < 60; i++ { // also before the join
		send(t, b, fmt.Sprintf("event.site.h%d", i%3), fmt.Sprintf("h%d %d", i%3, i/3))
	}
	var got record
	if err := b.Join(t.Context(), OnBytes("event.>", "detect", got.handle).Partitioned()); err != nil {
		t.Fatal(err)
	}
	until(t, "all", func() bool { return len(got.all()) >= 60 })
	inOrder(t, got.all(), 3, 20)
	until(t, "nothing is kept", func() bool { return stored(t, b, "EVENT") == 0 })
}

func TestJoinThatCannotBePartitionedIsRefused(t *testing.T) {
	b := openWith(t, Config{Partitioned: []string{"event.*.*"}})
	nothing := func(context.Context, [][]byte) error { return nil }
	for name, j := range map[string]Join{
		"stream that is not cut": OnBatch("alert.>", "x", 1, time.Second, nothing),
		"part of a stream":       OnBatch("event.a.*", "x", 1, time.Second, nothing),
		"many at a time":         OnBatch("event.>", "x", 2, time.Second, nothing),
	} {
		if err := b.Join(t.Context(), j.Partitioned()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, s := range []string{"event", "event.>", "event.site.*", ".*"} {
		if _, err := newPartitions([]string{s}); err == nil {
			t.Errorf("partitioned subject %q: accepted", s)
		}
	}
}

func TestLeadRunsAtOnceWhereTheHubIsAloneAndOneAtATime(t *testing.T) {
	b := openWith(t, Config{})
	var got record
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			_ = b.Lead(t.Context(), "job", func(context.Context) error { got.add("in"); got.add("out"); return nil })
		})
	}
	all.Wait()
	if want := slices.Repeat([]string{"in", "out"}, 5); !slices.Equal(got.all(), want) {
		t.Errorf("got %q", got.all())
	}
	broken := errors.New("broken")
	if err := b.Lead(t.Context(), "job", func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want f's own error", err)
	}
	done := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		done <- b.Lead(t.Context(), "job", func(ctx context.Context) error { close(began); <-ctx.Done(); return ctx.Err() })
	}()
	<-began
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the bus closed: got %v, want nil", err)
	}
}

// TestLedJoinWaits hands messages only to whoever calls Handle, and goes on
// where the last one stopped.
func TestLedJoinWaits(t *testing.T) {
	b := open(t, t.TempDir(), 0)
	got := make(chan int, 10)
	join := On("event.>", "led", func(_ context.Context, n int) error { got <- n; return nil }).Led()
	if err := b.Join(t.Context(), join); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := b.Publish(t.Context(), "event.a", fmt.Sprint(i), []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		select {
		case n := <-got:
			t.Fatalf("message %d was handled although nobody leads", n)
		case <-time.After(50 * time.Millisecond):
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Handle(ctx, "led") }()
		if n := <-got; n != i {
			t.Errorf("got %d, want %d", n, i)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := b.Handle(t.Context(), "nobody"); err == nil {
		t.Error("a join that does not exist was handled")
	}
}

// TestOnceIsNotRepeated hands a message over once, although the handler fails
// and the bus is opened again.
func TestOnceIsNotRepeated(t *testing.T) {
	dir := t.TempDir()
	called := make(chan int, 10)
	join := On("event.>", "once", func(_ context.Context, n int) error { called <- n; return errors.New("cannot") }).Once()
	b := open(t, dir, 0)
	if err := b.Join(t.Context(), join); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), "event.a", "1", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if n := <-called; n != 1 {
		t.Errorf("got %d, want 1", n)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir, 0)
	seen := make(chan int, 1)
	if err := b.Join(t.Context(), join, On("event.>", "after", func(_ context.Context, n int) error { seen <- n; return nil })); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), "event.a", "2", []byte("2")); err != nil {
		t.Fatal(err)
	}
	if n, m := <-called, <-seen; n != 2 || m != 2 {
		t.Errorf("got %d and %d, want 2: what failed was not handled again", n, m)
	}
}
