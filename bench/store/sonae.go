package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/event"
)

// sonae runs the archive in a child, so that memory and processor time are its
// own.
type sonae struct {
	dir   string
	o     options
	child *childProcess

	starts int // so far
}

func newSonae(dir string, o options) (*sonae, error) { return &sonae{dir: dir, o: o}, nil }

func (s *sonae) start(context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"-sonae-child", "-n", strconv.Itoa(s.o.events), "-days", strconv.Itoa(s.o.days), "-dir", s.dir}
	s.starts++
	if s.o.profile != "" {
		args = append(args, "-cpuprofile", s.o.profile+"."+strconv.Itoa(s.starts))
	}
	s.child, err = startChild(exec.Command(self, args...))
	return err
}

func (s *sonae) feed(_ context.Context, from, to int) (cost, error) {
	r, err := s.child.call(request{Do: "feed", From: from, To: to})
	return cost{r.Wall, r.CPU}, err
}

func (s *sonae) finish(context.Context) (cost, error) {
	r, err := s.child.call(request{Do: "finish"})
	return cost{r.Wall, r.CPU}, err
}

func (s *sonae) ask(_ context.Context, id string) ([][]string, time.Duration, error) {
	r, err := s.child.call(request{Do: "ask", ID: id})
	return r.Rows, r.Wall, err
}

func (s *sonae) stop() error {
	c := s.child
	s.child = nil
	return c.stop()
}

func (s *sonae) folder() string { return s.dir }
func (s *sonae) root() int      { return s.child.pid() }
func (s *sonae) remark() string {
	return "the archive of this tree, in a process of its own that also makes the events (their cost is taken off); synced before acknowledged"
}

// serveChild is the child: it opens the archive, makes the batches that it is
// told to store, and answers on standard output.
func serveChild(ctx context.Context, o options) (err error) {
	stop, err := startProfile(o.profile)
	if err != nil {
		return err
	}
	defer stop()
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	a, err := archive.Open(ctx, filepath.Join(o.dir, "archive"), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), archive.WithClock(clock))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	h := newHaystack(o)
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(reply{Text: "ready"}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var q request
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		if q.Do == "finish" {
			ahead.Store(int64(settledAfter))
		}
		if err := out.Encode(serve(ctx, a, h, q)); err != nil {
			return err
		}
	}
	return nil
}

func serve(ctx context.Context, a *archive.Archive, h *haystack, q request) (r reply) {
	var batches []event.Batch
	for n := q.From; n < q.To; n++ {
		batches = append(batches, h.g.Batch(n))
	}
	began, used := time.Now(), ownTime()
	var err error
	switch q.Do {
	case "feed":
		_, err = a.Append(ctx, batches)
	case "finish":
		var idle time.Duration
		idle, err = settle(ctx, a)
		r.Wall, r.CPU = time.Since(began)-idle, ownTime()-used
		return r.failed(err)
	case "ask":
		r.Rows, err = askSonae(ctx, a, h, q.ID)
	default:
		err = fmt.Errorf("unknown request %q", q.Do)
	}
	r.Wall, r.CPU = time.Since(began), ownTime()-used
	return r.failed(err)
}

// settledAfter is how far the clock is set ahead before the background work, so
// that the days count as over and nothing is left for later.
const settledAfter = 48 * time.Hour

// quiet is how long the archive must do nothing to count as settled; it looks
// for work every ten seconds.
const quiet = 12 * time.Second

// settle lets the archive do its background work until it finds nothing more
// to do, and returns how long it did nothing at the end.
func settle(ctx context.Context, a *archive.Archive) (idle time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Maintain(ctx) }()
	defer func() { cancel(); err = errors.Join(err, <-ended) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	busy, used := time.Now(), ownTime()
	for time.Since(busy) < quiet {
		select {
		case err := <-ended:
			ended <- nil
			return 0, err
		case <-tick.C:
		}
		if now := ownTime(); now-used > 20*time.Millisecond {
			busy, used = time.Now(), now
		}
	}
	return time.Since(busy), nil
}
