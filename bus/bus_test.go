package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
)

func open(t *testing.T, dir string, maxBytes int64) *Bus {
	t.Helper()
	b, err := Open(t.Context(), Config{Dir: dir, Streams: []string{"event", "alert"}, MaxBytes: maxBytes},
		slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func publish(t *testing.T, b *Bus, subject, id string, v any) {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), subject, id, body); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, got <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case g := <-got:
			if g != w {
				t.Fatalf("got %q, want %q", g, w)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q did not arrive", w)
		}
	}
}

func TestEveryJoinGetsEveryMessageOnceAndInOrder(t *testing.T) {
	b := open(t, t.TempDir(), 0)
	first, second := make(chan string, 9), make(chan string, 9)
	into := func(c chan string) func(context.Context, string) error {
		return func(_ context.Context, s string) error { c <- s; return nil }
	}
	if err := b.Join(t.Context(), On("event.>", "first", into(first)), On("event.>", "second", into(second))); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"a", "b", "b", "c"} { // the second b is a repeat
		publish(t, b, "event.site.host", v, v)
	}
	await(t, first, "a", "b", "c")
	await(t, second, "a", "b", "c")
}

func TestFailedHandlerIsRetriedAndUnusableMessageIsBuried(t *testing.T) {
	b := open(t, t.TempDir(), 0)
	got := make(chan string, 9)
	failures := 2
	err := b.Join(t.Context(), On("alert.>", "flaky", func(_ context.Context, s string) error {
		if s == "later" && failures > 0 {
			failures--
			return errors.New("not now")
		}
		if s == "never" {
			return fault.New(fault.Invalid, "test.never")
		}
		got <- s
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"later", "never", "last"} {
		publish(t, b, "alert.raised", v, v)
	}
	await(t, got, "later", "last")
	lags, err := b.Lags(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lags {
		if l.Join == "dead" && l.Waiting == 1 {
			return
		}
	}
	t.Fatalf("no dead letter in %+v", lags)
}

func TestFullBusRefuses(t *testing.T) {
	b := open(t, t.TempDir(), 1<<20)
	stuck := make(chan struct{})
	defer close(stuck)
	if err := b.Join(t.Context(), On("event.>", "stuck", func(ctx context.Context, _ string) error {
		select {
		case <-stuck:
		case <-ctx.Done():
		}
		return ctx.Err()
	})); err != nil {
		t.Fatal(err)
	}
	body := []byte(`"` + strings.Repeat("x", 100<<10) + `"`)
	for i := range 20 {
		if err := b.Publish(t.Context(), "event.a.b", strconv.Itoa(i), body); err != nil {
			if fault.Of(err) != fault.Busy {
				t.Fatalf("got %v, want kind busy", err)
			}
			return
		}
	}
	t.Fatal("a full stream took everything")
}

func TestBusStartsWhereTheDiskIsSmallerThanItsBounds(t *testing.T) {
	b := open(t, t.TempDir(), 1<<50)
	publish(t, b, "event.a.b", "1", "1")
}

func TestNearlyFullDiskRefusesWhatComesFromOutside(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Streams: []string{"event"}, MinFree: 1 << 62}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	if err := b.Offer(t.Context(), "event.a.b", "1", nil); fault.Of(err) != fault.Busy {
		t.Errorf("offered: got %v, want kind busy", err)
	}
	if err := b.Publish(t.Context(), "event.a.b", "1", nil); err != nil {
		t.Errorf("published by a stage: %v", err)
	}
}

// TestKilledPublisherLosesNothing kills a process in the middle of publishing
// and checks that every acknowledged message is delivered afterwards.
func TestKilledPublisherLosesNothing(t *testing.T) {
	if dir := os.Getenv("SONAE_TEST_BUS"); dir != "" {
		publishForever(dir)
	}
	dir := t.TempDir()
	acknowledged := 0
	for range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledPublisherLosesNothing$")
		cmd.Env = append(os.Environ(), "SONAE_TEST_BUS="+dir, "SONAE_TEST_FROM="+strconv.Itoa(acknowledged))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for until := acknowledged + 25; acknowledged < until; {
			var n int
			if _, err := fmt.Fscanln(out, &n); err != nil {
				t.Fatalf("publisher ended: %v", err)
			}
			acknowledged = n + 1
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed: that is its exit status
	}
	b := open(t, dir, 0)
	got := map[string]bool{}
	done := make(chan struct{})
	err := b.Join(t.Context(), On("event.>", "keeper", func(_ context.Context, s string) error {
		got[s] = true
		if s == strconv.Itoa(acknowledged-1) {
			close(done)
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
	}
	for i := range acknowledged {
		if !got[strconv.Itoa(i)] {
			t.Errorf("message %d was acknowledged and is lost", i)
		}
	}
}

// publishForever is the process that gets killed. It first makes the durable
// join, because messages without one are not kept.
func publishForever(dir string) {
	ctx := context.Background()
	b, err := Open(ctx, Config{Dir: dir, Streams: []string{"event"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if _, err := b.pumpsOf(ctx, On("event.>", "keeper", func(context.Context, string) error { return nil })); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	from, _ := strconv.Atoi(os.Getenv("SONAE_TEST_FROM"))
	for i := from; ; i++ {
		body, _ := json.Marshal(strconv.Itoa(i))
		if err := b.Publish(ctx, "event.a.b", strconv.Itoa(i), body); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func TestMessageTooLargeForTheBusIsRefusedForGood(t *testing.T) {
	b := open(t, t.TempDir(), 0)
	err := b.Publish(t.Context(), "alert.raised", "huge", make([]byte, maxPayload+1))
	if fault.Of(err) != fault.Invalid {
		t.Fatalf("got %v, want fault.Invalid: trying again cannot help", err)
	}
}

// A batch of large messages must not fill the memory: it ends with its bytes.
func TestBatchIsBoundedInBytes(t *testing.T) {
	b := open(t, t.TempDir(), 0)
	sizes := make(chan int, 99)
	join := OnBatch("event.>", "big", 256, time.Second, func(_ context.Context, bodies [][]byte) error {
		n := 0
		for _, body := range bodies {
			n += len(body)
		}
		sizes <- n
		return nil
	})
	if err := b.Join(t.Context(), join); err != nil {
		t.Fatal(err)
	}
	const messages, size = 40, 2 << 20
	body := make([]byte, size)
	for i := range messages {
		if err := b.Publish(t.Context(), "event.a", strconv.Itoa(i), body); err != nil {
			t.Fatal(err)
		}
	}
	for all := 0; all < messages*size; {
		select {
		case n := <-sizes:
			if n > fetchBytes+fetchStep*size {
				t.Errorf("a batch of %d MiB", n>>20)
			}
			all += n
		case <-time.After(30 * time.Second):
			t.Fatalf("only %d bytes arrived", all)
		}
	}
}
