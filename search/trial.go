package search

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
)

// Bounds of trials: they read the archive, which others do too.
const (
	trialFor    = 15 * time.Minute
	maxWaiting  = 8  // trials that wait for their turn
	maxFinished = 50 // trials whose result is remembered
)

// Trial is a back-test that goes on while people look at other things.
type Trial struct {
	Rule    string // id
	By      string // person id
	Test    BackTest
	Running bool
	Failed  bool // by an error of ours, which the log has
	Stopped bool // somebody stopped it
	AskedAt time.Time
}

// Share is how much of the time was looked at, 0 to 1.
func (t Trial) Share() float64 {
	all := t.Test.To.Sub(t.Test.From)
	if all <= 0 {
		return 0
	}
	return float64(t.Test.Until.Sub(t.Test.From)) / float64(all)
}

// trials are those of all people: one of a person and rule each.
type trials struct {
	mu      sync.Mutex
	list    []*running // oldest first
	queue   chan *running
	changed func()
}

type running struct {
	Trial
	text  string
	sites []string
	stop  context.CancelFunc
	ctx   context.Context
}

func newTrials() *trials {
	return &trials{queue: make(chan *running, maxWaiting), changed: func() {}}
}

// OnTrial sets what is called when a trial comes further. It is set before Run.
func (b *Rulebook) OnTrial(f func()) { b.trials.changed = f }

// Try tests a rule in force on the past that a person may see; Trial tells how
// far it is. Busy when too many wait; a trial of the same rule and person is
// replaced.
func (b *Rulebook) Try(_ context.Context, rule string, from, to time.Time, by auth.Person) error {
	text, err := b.textOf(rule)
	if err != nil {
		return err
	}
	if _, err := b.readRule(text); err != nil {
		return err
	}
	r := &running{text: text, sites: Sites(by), Trial: Trial{Rule: rule, By: by.ID, Running: true, AskedAt: b.moment(),
		Test: BackTest{From: from, To: to, Until: from}}}
	r.ctx, r.stop = context.WithTimeout(context.Background(), trialFor)
	t := b.trials
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case t.queue <- r:
	default:
		r.stop()
		return fault.New(fault.Busy, "rule.trials-many")
	}
	t.drop(func(o *running) bool { return o.Rule == rule && o.By == by.ID })
	for n := len(t.list) - maxFinished + 1; n > 0; n-- {
		t.drop(func(o *running) bool { return o == t.list[0] })
	}
	t.list = append(t.list, r)
	return nil
}

// drop forgets trials and stops those that run.
func (t *trials) drop(which func(*running) bool) {
	kept := t.list[:0:0]
	for _, r := range t.list {
		if which(r) {
			r.stop()
			continue
		}
		kept = append(kept, r)
	}
	t.list = kept
}

// Trial returns the trial of a rule that a person asked for, nil for none.
func (b *Rulebook) Trial(rule string, by auth.Person) *Trial {
	t := b.trials
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.list {
		if r.Rule == rule && r.By == by.ID {
			out := r.Trial
			return &out
		}
	}
	return nil
}

// StopTrial ends a trial of one's own; what it found by then stays.
func (b *Rulebook) StopTrial(rule string, by auth.Person) {
	t := b.trials
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.list {
		if r.Rule == rule && r.By == by.ID && r.Running {
			r.Stopped = true
			r.stop()
		}
	}
}

// run works on trials, one at a time, until ctx ends.
func (t *trials) run(ctx context.Context, b *Rulebook) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case r := <-t.queue:
				end := context.AfterFunc(ctx, r.stop)
				t.one(b, r)
				end()
			}
		}
	}()
	return done
}

func (t *trials) one(b *Rulebook, r *running) {
	defer r.stop()
	test, err := b.backTest(r.ctx, r.text, r.Test.From, r.Test.To, r.sites, func(test BackTest) {
		t.mu.Lock()
		r.Test = test.clone()
		t.mu.Unlock()
		t.changed()
	})
	if err != nil && !errors.Is(err, context.Canceled) && r.ctx.Err() == nil {
		b.log.Error("a rule could not be tried on the past", "rule", r.Rule, "err", err)
	}
	t.mu.Lock()
	if r.Running = false; err == nil {
		r.Test = test
	} else {
		r.Failed = r.ctx.Err() == nil
	}
	t.mu.Unlock()
	t.changed()
}
