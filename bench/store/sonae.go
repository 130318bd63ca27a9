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
}

func newSonae(dir string, o options) (*sonae, error) { return &sonae{dir: dir, o: o}, nil }

func (s *sonae) start(context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"-sonae-child", "-n", strconv.Itoa(s.o.events), "-days", strconv.Itoa(s.o.days), "-dir", s.dir}
	if s.o.profile != "" {
		args = append(args, "-cpuprofile", s.o.profile)
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
	a, err := archive.Open(ctx, filepath.Join(o.dir, "archive"), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
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
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began, used := time.Now(), ownTime()
	var err error
	switch q.Do {
	case "feed":
		_, err = a.Append(ctx, batches)
	case "finish":
		err = settle(ctx, a)
	case "ask":
		r.Rows, err = askSonae(ctx, a, h, q.ID)
	default:
		err = fmt.Errorf("unknown request %q", q.Do)
	}
	r.Wall, r.CPU = time.Since(began), ownTime()-used
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// settle does the background work that is due.
func settle(context.Context, *archive.Archive) error { return nil }

func askSonae(ctx context.Context, a *archive.Archive, h *haystack, id string) (rows [][]string, err error) {
	from, to := h.day()
	q := archive.Query{}
	switch id {
	case "q7":
		q = archive.Query{Host: h.tally.Probe, From: from, To: to, Limit: 200}
	case "q10":
		q = archive.Query{Limit: 100}
	case "q3b":
		q = archive.Query{Text: "Invoke-Mimikatz", Limit: 1000}
	default:
		return nil, errNotAsked
	}
	events, err := a.Query(ctx, q)
	if id == "q3b" {
		return [][]string{{text(int64(len(events)))}}, err
	}
	for _, e := range events {
		rows = append(rows, []string{text(e.Time.UnixMicro())})
	}
	return rows, err
}
