// Package well ends the alerts about values that are well again.
//
// In: the open alerts of thresholds, and whether the value of one is still
// beyond its limit. Out: their end. Always true: an alert ends by itself only
// when every value that it is about, on its machine, has come back as far as
// its limit asks; one that people took into an incident stays for them to
// close; why it ended is written down.
package well

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
)

// Again is the reason with which an alert ends by itself.
const Again = "値がしきい値の内側に戻った (the value is well again)"

const (
	every = 30 * time.Second
	page  = 200
)

// Alerts lists alerts and ends them.
type Alerts interface {
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
	Close(ctx context.Context, id, reason string, by auth.Person) error
}

// Deps is what a Watch needs.
type Deps struct {
	Alerts Alerts
	Rules  []string // ids of the rules of thresholds
	// Lasts says whether a value that a rule is about is still beyond its limit
	// on a machine.
	Lasts func(ctx context.Context, rule, host string) (bool, error)
	Log   *slog.Logger
}

// Watch looks at the open alerts. Run it on one hub of all.
type Watch struct{ Deps }

// New makes a Watch.
func New(d Deps) *Watch { return &Watch{d} }

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.Log.Error("alerts of values that are well again stay open", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Look ends what is over, once.
func (w *Watch) Look(ctx context.Context) error {
	for _, rule := range w.Rules {
		for _, state := range []alert.State{alert.Open, alert.Acked} {
			open, err := w.open(ctx, rule, state)
			if err != nil {
				return err
			}
			for _, a := range open {
				if err := w.end(ctx, a); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// open lists all before any is closed, which would move the pages.
func (w *Watch) open(ctx context.Context, rule string, state alert.State) (out []alert.Alert, _ error) {
	for {
		list, total, err := w.Alerts.List(ctx, alert.Filter{State: state, Rule: rule, Limit: page, Offset: len(out)})
		if err != nil {
			return nil, fmt.Errorf("alerts of thresholds: %w", err)
		}
		if out = append(out, list...); len(list) == 0 || len(out) >= total {
			return out, nil
		}
	}
}

func (w *Watch) end(ctx context.Context, a alert.Alert) error {
	if a.Incident != "" || a.Drill {
		return nil
	}
	lasts, err := w.Lasts(ctx, a.Rule.ID, a.Host)
	if err != nil || lasts {
		return err
	}
	if err := w.Alerts.Close(ctx, a.ID, Again, auth.Person{ID: "sonae"}); err != nil && fault.Of(err) != fault.Conflict { // else a person was faster
		return err
	}
	return nil
}
