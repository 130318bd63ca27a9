package contain

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/store"
	"github.com/sonae/sonae/clock"
)

// Errors of Release.
var (
	ErrNothing   = errors.New("contain: no action is in force")
	ErrWrongCode = errors.New("contain: this is not the release code")
	ErrTooMany   = errors.New("contain: too many wrong codes; wait ten minutes")
)

// Wrong codes on the console.
const (
	wrongAllowed = 5
	wrongWindow  = 10 * time.Minute
)

// Group is all the means of a machine, each with its Engine. It is safe for
// concurrent use.
type Group struct {
	engines []*Engine
	wrong   store.File[[]time.Time]
	now     clock.Now
	log     *slog.Logger
}

// NewGroup makes an Engine for each of the means.
func NewGroup(cfg Config, means ...Means) *Group {
	g := &Group{now: cfg.Now, log: cfg.Log, wrong: store.File[[]time.Time]{Dir: cfg.Dir, Name: "codes.json", Sync: true, Log: cfg.Log}}
	for _, m := range means {
		g.engines = append(g.engines, New(cfg, m))
	}
	return g
}

// Can says whether orders of this kind are for this machine.
func (g *Group) Can(k order.Kind) bool {
	return slices.ContainsFunc(g.engines, func(e *Engine) bool { return e.does(k) })
}

func (e *Engine) does(k order.Kind) bool { return k != "" && (e.apply == k || e.undo == k) }

// engine is the one for an order: the one that holds its action, else the
// first that takes it.
func (g *Group) engine(o order.Order) *Engine {
	var first *Engine
	for _, e := range g.engines {
		if !e.does(o.Kind) {
			continue
		}
		if o.Kind == e.undo && slices.ContainsFunc(e.InForce(), func(r Row) bool { return r.Order.Action == o.Action }) {
			return e
		}
		if d, ok := e.means.(Divided); first == nil && (!ok || d.Takes(o)) {
			first = e
		}
	}
	return first
}

// Do carries out an order for which Can is true.
func (g *Group) Do(ctx context.Context, o order.Order) order.Result {
	e := g.engine(o)
	if e == nil {
		return order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Host: o.Host, Phase: order.Rejected,
			Detail: wrongKind + ": " + string(o.Kind), At: g.now().UTC()}
	}
	return e.Do(ctx, o)
}

// Resume takes up all that was in force.
func (g *Group) Resume(ctx context.Context) []order.Result {
	var out []order.Result
	for _, e := range g.engines {
		out = append(out, e.Resume(ctx)...)
	}
	return out
}

// Run watches all leases until ctx ends. report is called by one goroutine at
// a time.
func (g *Group) Run(ctx context.Context, report func(order.Result)) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, e := range g.engines {
		all.Go(func() {
			e.Run(ctx, func(r order.Result) {
				mu.Lock()
				defer mu.Unlock()
				report(r)
			})
		})
	}
	all.Wait()
}

// InForce lists the actions that were not undone yet.
func (g *Group) InForce() []Row {
	var out []Row
	for _, e := range g.engines {
		out = append(out, e.InForce()...)
	}
	return out
}

// Release undoes the action to which a code from paper belongs. Run reports
// it, in whatever process that runs. Wrong codes are limited.
func (g *Group) Release(ctx context.Context, code string) (order.Result, error) {
	if len(g.InForce()) == 0 {
		return order.Result{}, ErrNothing
	}
	given := order.CodeHash(code)
	var r order.Result
	var refused error
	err := g.wrong.With(func(wrong *[]time.Time, _ func() error) error {
		now := g.now()
		*wrong = slices.DeleteFunc(*wrong, func(t time.Time) bool { return now.Sub(t) > wrongWindow || t.After(now) })
		if len(*wrong) >= wrongAllowed {
			refused = ErrTooMany
			return nil
		}
		for _, e := range g.engines {
			var found bool
			if found, r, refused = e.releaseCode(ctx, given); found {
				return nil
			}
		}
		*wrong, refused = append(*wrong, now), ErrWrongCode
		g.log.Warn("wrong release code on the console")
		return nil
	})
	return r, errors.Join(err, refused)
}

// releaseCode undoes the action whose code has this hash.
func (e *Engine) releaseCode(ctx context.Context, given string) (found bool, r order.Result, err error) {
	is := func(row Row) bool {
		return row.Order.CodeHash != "" && subtle.ConstantTimeCompare([]byte(row.Order.CodeHash), []byte(given)) == 1
	}
	if !slices.ContainsFunc(e.InForce(), is) {
		return false, r, nil
	}
	failed := e.change(func(m *memory, save func() error) error {
		i := slices.IndexFunc(m.Rows, is)
		if i < 0 { // somebody else released it in this moment
			return nil
		}
		found = true
		if r, err = e.end(ctx, m, save, &m.Rows[i], "code"); err == nil {
			m.Outbox = append(m.Outbox, r)
		}
		return nil
	})
	return found, r, errors.Join(failed, err)
}
