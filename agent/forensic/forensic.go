// Package forensic collects evidence from this machine for a preserve order
// and streams it to the hub.
//
// In: the order (with the process of interest), the plan (agent/forensic/plan),
// the machine as it is. Out: items, in the order of the plan. Always true:
// nothing is written on the machine; what cannot be taken is sent as an item
// that says why; sizes are bounded per item and in total; files are read
// without changing their access time where the kernel allows it; a process that
// is frozen stays frozen.
package forensic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/forensic/plan"
	"github.com/sonae/sonae/agent/ring"
	"github.com/sonae/sonae/clock"
)

// Item announces one thing before its content.
type Item struct {
	Path      string // below data/ in the bag
	Title     string
	Method    string // file or command, exactly
	StartedAt time.Time
	Took      time.Duration // until its content began to be sent
	Err       string        // why it is missing (no content) or cut
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
	Version  string // of the agent
	Plan     plan.Plan
	Mistakes error // what of the site's plan could not be read; every bag says so
	MaxItem  int64 // bytes of one item; 0: 256 MiB
	MaxCore  int64 // bytes of the memory of one process; 0: 2 GiB
	MaxTotal int64 // bytes of all but the whole memory of the machine; 0: 8 GiB
	LogSpan  time.Duration
}

// Progress is how far a collection is. Total grows when patterns turn out to
// fit several files.
type Progress struct {
	Done, Total int
	Path        string // of the item that is being sent; empty between items
	Bytes       int64  // of it, so far
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

// New returns a Collector; without a plan it follows the one that is built in.
func New(cfg Config) *Collector {
	if cfg.MaxItem <= 0 {
		cfg.MaxItem = 256 << 20
	}
	if cfg.MaxCore <= 0 {
		cfg.MaxCore = 2 << 30
	}
	if cfg.MaxTotal <= 0 {
		cfg.MaxTotal = 8 << 30
	}
	if cfg.LogSpan <= 0 {
		cfg.LogSpan = 2 * time.Hour
	}
	if len(cfg.Plan.Stages) == 0 {
		p, err := plan.Default()
		cfg.Plan, cfg.Mistakes = p, errors.Join(cfg.Mistakes, err)
	}
	return &Collector{cfg: cfg}
}

// task is one item to be taken. open returns its content, and how it is cut or
// why it is missing; it is called again when sending has to be repeated, and
// must then return the same unless the content is a stream of a file.
type task struct {
	path, title, method string
	open                func(ctx context.Context, limit int64) (r io.ReadCloser, cut string, err error)
	max                 int64 // bytes; 0: Config.MaxItem
	beside              bool  // does not count for Config.MaxTotal
}

// stage is tasks that are made when their time has come.
type stage struct {
	items int // about how many
	tasks func(ctx context.Context) []task
}

// afterwards is content that knows only when it was read what is wrong with it.
type afterwards interface{ Cut() string }

// sendTries is how often one item is sent before the collection is given up;
// the hub may be restarting.
const sendTries = 6

// Collect takes everything for an order and sends it. progress, which may be
// nil, is told after each item, and twice a minute while a long one is sent. An
// error means that the hub does not have all items; the order can be carried
// out again.
func (c *Collector) Collect(ctx context.Context, o order.Order, send Send, progress func(Progress)) (Summary, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	g := gathering{Collector: c, send: send, tell: progress}
	stages := c.chosen(o)
	for i, st := range stages {
		tasks := st.tasks(ctx)
		g.at.Total = g.at.Done + len(tasks)
		for _, later := range stages[i+1:] {
			g.at.Total += later.items
		}
		for _, t := range tasks {
			if err := g.one(ctx, t); err != nil {
				return g.sum, fmt.Errorf("preserve %s: %w", t.path, err)
			}
			g.at = Progress{Done: g.at.Done + 1, Total: g.at.Total}
			progress(g.at)
		}
	}
	c.cfg.Log.Info("evidence collected", "action", o.Action, "items", g.sum.Items, "missing", g.sum.Missing, "bytes", g.sum.Bytes)
	return g.sum, nil
}

// gathering is one collection.
type gathering struct {
	*Collector
	send Send
	tell func(Progress)
	at   Progress
	sum  Summary
	free int64 // bytes that do not count for the total
}

func (g *gathering) one(ctx context.Context, t task) error {
	it := Item{Path: t.path, Title: plain(t.title), Method: plain(t.method), StartedAt: g.cfg.Now().UTC()}
	wait := 250 * time.Millisecond
	for try := 1; ; try++ {
		n, broke, err := g.try(ctx, t, it)
		if g.sum.Bytes += n; t.beside {
			g.free += n
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if broke != nil { // the source, not the hub: say so instead
			it.Err = plain(broke.Error())
			err = g.send(ctx, it, bytes.NewReader(nil))
		}
		if err == nil {
			g.sum.Items++
			if it.Err != "" {
				g.sum.Missing++
			}
			return nil
		}
		if try == sendTries || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		g.cfg.Log.Warn("evidence not taken by the hub", "path", t.path, "try", try, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// limit is how many bytes a task may have.
func (g *gathering) limit(t task) int64 {
	limit := t.max
	if limit == 0 {
		limit = g.cfg.MaxItem
	}
	if t.beside {
		return limit
	}
	return min(limit, g.cfg.MaxTotal-(g.sum.Bytes-g.free))
}

// try opens and sends once. broke is an error of the source, err one of the
// hub.
func (g *gathering) try(ctx context.Context, t task, it Item) (n int64, broke, err error) {
	limit := g.limit(t)
	if limit <= 0 {
		return 0, fmt.Errorf("not taken: the collection has reached %d bytes", g.cfg.MaxTotal), nil
	}
	r, cut, err := t.open(ctx, limit)
	if err != nil {
		return 0, err, nil
	}
	it.Err, it.Took = plain(cut), g.cfg.Now().Sub(it.StartedAt)
	w := &watched{r: io.LimitReader(r, limit), tick: g.ticker(it.Path)}
	err = g.send(ctx, it, w)
	more := false
	if err == nil && cut == "" && w.n == limit { // a stream whose length nobody knew
		k, _ := r.Read(make([]byte, 1))
		more = k > 0
	}
	late := ""
	if a, ok := r.(afterwards); ok && err == nil {
		late = a.Cut()
	}
	if e := r.Close(); w.err == nil && w.ended && !more { // e.g. the exit status of a command
		w.err = e
	}
	switch {
	case w.err != nil:
		return w.n, w.err, nil
	case more:
		late = cutAt(limit)
	}
	if late != "" {
		it.Path, it.Err = it.Path+".cut", plain(late)
		err = g.send(ctx, it, bytes.NewReader(nil))
	}
	return w.n, nil, err
}

// tellEvery is how often a long item is told of.
const tellEvery = 30 * time.Second

// ticker tells now and then how much of an item was sent.
func (g *gathering) ticker(path string) func(n int64) {
	last := time.Now()
	return func(n int64) {
		if time.Since(last) >= tellEvery {
			last = time.Now()
			g.tell(Progress{Done: g.at.Done, Total: g.at.Total, Path: path, Bytes: n})
		}
	}
}

// plain makes a text that fits into one line of an item.
func plain(s string) string {
	const most = 1500
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s), "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + " …"
	}
	return s
}

// watched remembers why reading ended.
type watched struct {
	r     io.Reader
	n     int64
	ended bool
	err   error
	tick  func(n int64)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	w.tick(w.n)
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
	return task{path: path, title: title, method: method, open: func(ctx context.Context, limit int64) (io.ReadCloser, string, error) {
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

// absent is an item that says why there is nothing.
func absent(path, title, why string) task {
	return small(path, title, "none", func(context.Context, int64) ([]byte, string, error) { return nil, "", errors.New(why) })
}
