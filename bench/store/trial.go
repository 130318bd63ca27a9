package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// engine is a store under test. Its methods are called one after the other.
type engine interface {
	// start opens the store; the first time it makes it.
	start(ctx context.Context) error
	// feed stores batches from ≤ n < to and returns the cost without that of making them.
	feed(ctx context.Context, from, to int) (cost, error)
	// finish does what the store does in the background: merge, index, vacuum.
	finish(ctx context.Context) (cost, error)
	// ask answers a question; errNotAsked when the store has no way to.
	ask(ctx context.Context, id string) (rows [][]string, took time.Duration, err error)
	stop() error
	folder() string // of the data
	root() int      // process id of the store while it runs
	remark() string
}

var errNotAsked = errors.New("the store cannot be asked this")

// cost is the time on the wall and of processors.
type cost struct{ Wall, CPU time.Duration }

func (c *cost) add(o cost) { c.Wall, c.CPU = c.Wall+o.Wall, c.CPU+o.CPU }

// result is what was measured of one store.
type result struct {
	Name, Absent, Remark string
	Intake, Background   cost
	Bytes                int64
	IntakePeak, AsksPeak int64 // bytes of memory
	Cold, Warm           map[string]time.Duration
	Work                 map[string]time.Duration // of processors, for one warm answer
	Wrong                map[string]string        // why there is no answer, by question
}

// Limits of one question.
const (
	patience = 5 * time.Minute
	slow     = 10 * time.Second // a question that takes longer is asked warm once only
	chunk    = 100              // batches handed over at once: 50,000 events
)

// trial measures one store from empty to gone.
func trial(ctx context.Context, e engine, h *haystack, o options) (r result) {
	r = result{Name: nameOf(e), Remark: e.remark(), Cold: map[string]time.Duration{}, Warm: map[string]time.Duration{}, Work: map[string]time.Duration{}, Wrong: map[string]string{}}
	defer func() { runtime.GC() }()
	fill := intake
	if o.asks {
		fill = func(context.Context, engine, *haystack, *result) error { return nil }
	}
	if err := fill(ctx, e, h, &r); err != nil {
		r.Absent = err.Error()
		say("%s: %v", r.Name, errors.Join(err, e.stop(), os.RemoveAll(e.folder())))
		return r
	}
	r.Bytes = sizeOf(e.folder())
	say("%s: %.0f events/s, %.0f events per CPU-second (with background %.0f), %.1f bytes per event, peak %d MB", r.Name,
		per(h.truth.Events, r.Intake.Wall), per(h.truth.Events, r.Intake.CPU), per(h.truth.Events, r.Intake.CPU+r.Background.CPU), float64(r.Bytes)/float64(h.truth.Events), r.IntakePeak>>20)
	for _, q := range questions() {
		if err := interview(ctx, e, h, q, o, &r); err != nil {
			r.Wrong[q.id] = err.Error()
			say("%s %s: %v", r.Name, q.id, err)
			continue
		}
		say("%s %s: cold %.3f s, warm %.3f s, processors %.3f s", r.Name, q.id, r.Cold[q.id].Seconds(), r.Warm[q.id].Seconds(), r.Work[q.id].Seconds())
	}
	if err := e.stop(); err != nil {
		say("%s: %v", r.Name, err)
	}
	if !o.keep {
		if err := os.RemoveAll(e.folder()); err != nil {
			say("%s: %v", r.Name, err)
		}
	}
	return r
}

func per(n int64, d time.Duration) float64 { return float64(n) / max(d.Seconds(), 1e-9) }

// intake fills the store and lets it settle. It leaves it stopped.
func intake(ctx context.Context, e engine, h *haystack, r *result) error {
	if err := e.start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	watch := watchMemory(e.root)
	defer watch.stop()
	for from := 0; from < h.g.Batches(); from += chunk {
		c, err := e.feed(ctx, from, min(from+chunk, h.g.Batches()))
		if err != nil {
			return fmt.Errorf("intake: %w", err)
		}
		r.Intake.add(c)
		if from/chunk%20 == 19 {
			say("%s: %d batches of %d, %.0f events/s", r.Name, from+chunk, h.g.Batches(), per(int64(from+chunk)*int64(h.g.Options().PerBatch), r.Intake.Wall))
		}
	}
	c, err := e.finish(ctx)
	if err != nil {
		return fmt.Errorf("background work: %w", err)
	}
	r.Background = c
	r.IntakePeak = watch.stop()
	return e.stop()
}

// interview asks one question of the freshly started store with nothing of it
// in the page cache, a few times, then of the last one started again and again.
func interview(ctx context.Context, e engine, h *haystack, q question, o options, r *result) error {
	var cold []time.Duration
	for len(cold) < max(1, o.cold) {
		took, err := afresh(ctx, e, h, q, r)
		if err != nil {
			return err
		}
		cold = append(cold, took)
		if took > slow {
			break
		}
	}
	r.Cold[q.id] = median(cold)
	return again(ctx, e, h, q, o.warm, r)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// afresh starts the store with nothing of it in the page cache and asks.
func afresh(ctx context.Context, e engine, h *haystack, q question, r *result) (time.Duration, error) {
	if err := e.stop(); err != nil {
		return 0, err
	}
	if err := forget(e.folder()); err != nil {
		return 0, err
	}
	if err := e.start(ctx); err != nil {
		return 0, err
	}
	watch := watchMemory(e.root)
	defer func() { r.AsksPeak = max(r.AsksPeak, watch.stop()) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return ask(ctx, e, h, q)
}

func ask(ctx context.Context, e engine, h *haystack, q question) (time.Duration, error) {
	rows, took, err := e.ask(ctx, q.id)
	if err != nil {
		return 0, err
	}
	return took, q.check(h, rows)
}

// again asks the running store.
func again(ctx context.Context, e engine, h *haystack, q question, warm int, r *result) error {
	watch := watchMemory(e.root)
	defer func() { r.AsksPeak = max(r.AsksPeak, watch.stop()) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if r.Cold[q.id] > slow {
		warm = 1
	}
	var all []time.Duration
	used := familyTime(e.root())
	for range warm {
		took, err := ask(ctx, e, h, q)
		if err != nil {
			return err
		}
		all = append(all, took)
	}
	r.Work[q.id] = (familyTime(e.root()) - used) / time.Duration(warm)
	r.Warm[q.id] = median(all)
	return nil
}

func nameOf(e engine) string {
	switch e.(type) {
	case *sonae:
		return "sonae"
	case *postgres:
		return "postgresql"
	case *clickHouse:
		return "clickhouse"
	}
	return "loki"
}
