// Package forensic collects evidence from this machine for a preserve order
// and streams it to the hub.
//
// In: the order (with the process of interest), the machine as it is. Out:
// items, in the order of volatility (RFC 3227 §2.1): clocks, the process of
// interest, connections, packets, kernel, logs. Always true: nothing is
// written on the machine; what cannot be taken is sent as an item that says
// why; sizes are bounded per item and in total; files are read without
// changing their access time where the kernel allows it.
package forensic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/ring"
	"github.com/sonae/sonae/clock"
)

// Item announces one thing before its content.
type Item struct {
	Path      string // below data/ in the bag
	Title     string
	Method    string // file or command, exactly
	StartedAt time.Time
	Err       string // why it is missing (no content) or cut
}

// Send hands one item to the hub. It returns nil when the hub has stored it.
type Send func(ctx context.Context, it Item, body io.Reader) error

// Ring holds the last packets (agent/sensor).
type Ring interface {
	WriteRing(ctx context.Context, w io.Writer) (packets int, err error)
}

// Disk holds packets for longer (agent/ring).
type Disk interface {
	Cut(ctx context.Context, q ring.Query, w io.Writer) (packets int, err error)
}

// Config is what a Collector needs.
type Config struct {
	Ring     Ring // packets in memory; nil: packets are not being seen
	Disk     Disk // packets on disk, which are taken instead; nil: none are kept there
	Now      clock.Now
	Log      *slog.Logger
	MaxItem  int64 // bytes of one item; 0: 256 MiB
	MaxTotal int64 // bytes of all; 0: 2 GiB
	LogSpan  time.Duration
}

// Summary is what a collection came to.
type Summary struct {
	Items   int   // sent, the missing ones included
	Missing int   // sent with the reason only
	Bytes   int64 // read; a little more than sent when something was sent twice
}

// Collector collects. Use one per agent; Collect may run for several orders at
// the same time.
type Collector struct{ cfg Config }

// New returns a Collector.
func New(cfg Config) *Collector {
	if cfg.MaxItem <= 0 {
		cfg.MaxItem = 256 << 20
	}
	if cfg.MaxTotal <= 0 {
		cfg.MaxTotal = 2 << 30
	}
	if cfg.LogSpan <= 0 {
		cfg.LogSpan = 2 * time.Hour
	}
	return &Collector{cfg: cfg}
}

// task is one item to be taken. open returns its content, and how it is cut or
// why it is missing; it is called again when sending has to be repeated, and
// must then return the same unless the content is a stream of a file.
type task struct {
	path, title, method string
	open                func(ctx context.Context, limit int64) (r io.ReadCloser, cut string, err error)
}

// sendTries is how often one item is sent before the collection is given up;
// the hub may be restarting.
const sendTries = 6

// Collect takes everything for an order and sends it. progress, which may be
// nil, is told after each item. An error means that the hub does not have all
// items; the order can be carried out again.
func (c *Collector) Collect(ctx context.Context, o order.Order, send Send, progress func(done, total int)) (Summary, error) {
	var sum Summary
	tasks := c.chosen(o)
	for i, t := range tasks {
		if err := c.one(ctx, t, send, &sum); err != nil {
			return sum, fmt.Errorf("preserve %s: %w", t.path, err)
		}
		if progress != nil {
			progress(i+1, len(tasks))
		}
	}
	c.cfg.Log.Info("evidence collected", "action", o.Action, "items", sum.Items, "missing", sum.Missing, "bytes", sum.Bytes)
	return sum, nil
}

func (c *Collector) one(ctx context.Context, t task, send Send, sum *Summary) error {
	it := Item{Path: t.path, Title: t.title, Method: t.method, StartedAt: c.cfg.Now().UTC()}
	wait := 250 * time.Millisecond
	for try := 1; ; try++ {
		n, broke, err := c.try(ctx, t, it, send, c.cfg.MaxTotal-sum.Bytes)
		sum.Bytes += n
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if broke != nil { // the source, not the hub: say so instead
			it.Err = broke.Error()
			err = send(ctx, it, bytes.NewReader(nil))
		}
		if err == nil {
			sum.Items++
			if it.Err != "" {
				sum.Missing++
			}
			return nil
		}
		if try == sendTries || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		c.cfg.Log.Warn("evidence not taken by the hub", "path", t.path, "try", try, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// try opens and sends once. broke is an error of the source, err one of the
// hub.
func (c *Collector) try(ctx context.Context, t task, it Item, send Send, left int64) (n int64, broke, err error) {
	limit := min(c.cfg.MaxItem, left)
	if limit <= 0 {
		return 0, fmt.Errorf("not taken: the collection has reached %d bytes", c.cfg.MaxTotal), nil
	}
	r, cut, err := t.open(ctx, limit)
	if err != nil {
		return 0, err, nil
	}
	it.Err = cut
	w := &watched{r: io.LimitReader(r, limit)}
	err = send(ctx, it, w)
	more := false
	if err == nil && cut == "" && w.n == limit { // a stream whose length nobody knew
		k, _ := r.Read(make([]byte, 1))
		more = k > 0
	}
	if e := r.Close(); w.err == nil && w.ended && !more { // e.g. the exit status of a command
		w.err = e
	}
	switch {
	case w.err != nil:
		return w.n, w.err, nil
	case more:
		it.Path, it.Err = it.Path+".cut", cutAt(limit)
		err = send(ctx, it, bytes.NewReader(nil))
	}
	return w.n, nil, err
}

// watched remembers why reading ended.
type watched struct {
	r     io.Reader
	n     int64
	ended bool
	err   error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	if errors.Is(err, io.EOF) {
		w.ended = true
	} else if err != nil {
		w.err = err
	}
	return n, err
}

// small is a task whose content is made once and kept in memory, so that a
// repeated sending sends the same.
func small(path, title, method string, make func(ctx context.Context, limit int64) (b []byte, cut string, err error)) task {
	var b []byte
	var cut string
	made := false
	return task{path, title, method, func(ctx context.Context, limit int64) (io.ReadCloser, string, error) {
		if !made {
			var err error
			if b, cut, err = make(ctx, min(limit, maxSmall)); err != nil {
				return nil, "", err
			}
			made = true
		}
		return io.NopCloser(bytes.NewReader(b)), cut, nil
	}}
}

// maxSmall bounds what is held in memory for one item.
const maxSmall = 16 << 20

func cutAt(n int64) string { return fmt.Sprintf("cut at %d bytes", n) }
