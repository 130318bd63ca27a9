package backup

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
)

// tellEvery is how often the hub is told of a running job. Progress that cannot
// be delivered is dropped: the next one says more.
const tellEvery = 2 * time.Second

// teller tells the hub how far a job is.
type teller struct {
	cfg  Config
	o    order.Order
	door *door
	stop context.CancelFunc
	over sync.WaitGroup

	stepped chan struct{} // there is a new step to tell of at once

	mu      sync.Mutex // guards what follows
	now     job.Progress
	began   time.Time // of the step
	files   int64     // that are expected, where it is known beforehand
	bytes   int64
	changed bool
}

// newTeller begins to tell.
func newTeller(ctx context.Context, cfg Config, o order.Order, d *door) *teller {
	ctx, stop := context.WithCancel(ctx)
	t := &teller{cfg: cfg, o: o, door: d, stop: stop, stepped: make(chan struct{}, 1), now: job.Progress{Job: o.Action}}
	t.over.Go(func() { t.run(ctx) })
	return t
}

// end ends telling.
func (t *teller) end() {
	t.stop()
	t.over.Wait()
}

// step notes what is being done of which source. Counts begin anew.
func (t *teller) step(step, source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = job.Progress{Job: t.now.Job, Step: step, Source: source, TotalFiles: t.files, TotalBytes: t.bytes}
	t.began = t.cfg.Now()
	t.changed = true
	select {
	case t.stepped <- struct{}{}:
	default: // it is about to be told anyway, or nobody tells
	}
}

// expect notes how much is to be done in the next steps.
func (t *teller) expect(files, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files, t.bytes = files, bytes
}

// status notes how far restic is.
func (t *teller) status(s engine.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Files, t.now.Bytes, t.now.Errors = s.Files, s.Bytes, s.Errors
	t.now.TotalFiles, t.now.TotalBytes = cmp.Or(t.files, s.TotalFiles), cmp.Or(t.bytes, s.TotalBytes)
	t.changed = true
}

func (t *teller) run(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		t.say(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.stepped:
		case <-tick.C:
		}
	}
}

// say tells the hub what is known, where it changed.
func (t *teller) say(ctx context.Context) {
	t.mu.Lock()
	p := t.now
	p.At, p.Sent = t.cfg.Now().UTC(), t.door.passed.Load()
	p.Seconds = t.cfg.Now().Sub(t.began).Seconds()
	changed := t.changed || p.Sent != t.now.Sent // an old restic says nothing while it restores
	t.changed, t.now.Sent = false, p.Sent
	t.mu.Unlock()
	if !changed || p.Step == "" {
		return
	}
	r := order.Result{Order: t.o.ID, Action: t.o.Action, Kind: t.o.Kind, Phase: order.Progress, At: p.At, Report: pack(job.Report{Progress: &p})}
	if err := t.cfg.Link.Result(ctx, r); err != nil && ctx.Err() == nil {
		t.cfg.Log.Debug("progress not told", "job", p.Job, "err", err)
	}
}
