// Package contain carries out orders that contain one thing of a machine: a
// process, a peer, a service, an account. Each Means knows one of them; this
// package is what they have in common.
//
// In: orders that were opened (signature, address, time) before, release codes
// typed on the console. Out: order.Result. Always true: what was before is on
// the disk before anything is changed; a run that was killed in the middle is
// finished or undone by the next one; an order is carried out at most once, and
// asking again gives the same answer; the end of the lease undoes the action,
// also when it passed while this program was not there, and whatever is done to
// the clock; an undoing that does not work is tried again until it does.
//
// Each Means has a file and a lock of its own: a service that takes a minute to
// stop does not delay a process that must be frozen.
package contain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/lease"
	"github.com/sonae/sonae/agent/act/store"
	"github.com/sonae/sonae/clock"
)

// State is how things stand with an action that was applied.
type State int

// States of a row.
const (
	Holds State = iota // as it was applied
	Lost               // a reboot or somebody undid it: it is applied again
	Void               // there is nothing left that could be contained
)

// Means is one way of containing. Its methods are called one at a time.
type Means interface {
	// Kinds are the order that applies it and the one that undoes it, "" where
	// nothing can.
	Kinds() (apply, undo order.Kind)
	// Subject names what an order is about: a second action on the same subject
	// takes the place of the first.
	Subject(o order.Order) string
	// Precheck changes nothing. It refuses what cannot or must not be done, with
	// an error that begins with a stable word, and returns what Undo must know of
	// the state before.
	Precheck(ctx context.Context, o order.Order) (prior any, err error)
	// Apply brings it about for at most left, also where a part of it is there.
	Apply(ctx context.Context, r Row, left time.Duration) error
	// Verify observes whether it works.
	Verify(ctx context.Context, r Row) []order.Check
	// Undo brings back what was before, also after half an Apply; having nothing
	// to undo is a success.
	Undo(ctx context.Context, r Row) error
	// Undone observes whether it is as before.
	Undone(ctx context.Context, r Row) []order.Check
	// State looks whether it is still in force.
	State(ctx context.Context, r Row) (State, error)
}

// MayCutHub is a Means that could cut the way to the hub: the hub is asked for
// a heartbeat afterwards, and without one the action is undone.
type MayCutHub interface{ MayCutHub() }

// Loose is a Means that can undo what it finds without an action of its own,
// as a process that the guard of this machine froze.
type Loose interface {
	// UndoLoose says whether there was something to undo.
	UndoLoose(ctx context.Context, o order.Order) (found bool, err error)
}

// Divided is a Means that shares its kinds of orders with others.
type Divided interface {
	// Name keeps its state apart.
	Name() string
	// Takes says whether an order is for this Means; the others get the rest.
	Takes(o order.Order) bool
}

// Row is one action, on disk from before it is applied until it is undone.
type Row struct {
	Order order.Order     `json:"order"`
	Prior json.RawMessage `json:"prior,omitempty"`
	Step  step            `json:"step"`
	Cause string          `json:"cause,omitempty"` // of undoing
	lease.Lease
	Checks []order.Check `json:"checks,omitempty"`
}

// step is how far a row is.
type step string

const (
	applying step = "applying"
	applied  step = "applied"
	undoing  step = "undoing"
)

// Read gives what Precheck returned.
func (r Row) Read(prior any) error { return json.Unmarshal(r.Prior, prior) }

// Object names what is contained, for people.
func (r Row) Object() string {
	switch o := r.Order; {
	case o.Process != nil && o.Process.Image != "":
		return fmt.Sprintf("%d (%s)", o.Process.PID, o.Process.Image)
	case o.Process != nil:
		return strconv.Itoa(o.Process.PID)
	case len(o.Targets) > 0:
		return strings.Join(o.Targets, " ")
	}
	return r.Order.Object
}

// result is an answer about the order that applied the action.
func (r Row) result(p order.Phase, at time.Time) order.Result {
	return order.Result{Order: r.Order.ID, Action: r.Order.Action, Kind: r.Order.Kind, Host: r.Order.Host, Phase: p, At: at.UTC()}
}

// memory is the whole file of a Means.
type memory struct {
	Rows   []Row          `json:"rows"`
	Done   []order.Result `json:"done"`   // answers given, the oldest first
	Outbox []order.Result `json:"outbox"` // of the console, to be reported by Run or Resume
}

func (m *memory) row(action string) *Row {
	i := slices.IndexFunc(m.Rows, func(r Row) bool { return r.Order.Action == action })
	if i < 0 {
		return nil
	}
	return &m.Rows[i]
}

func (m *memory) drop(action string) {
	m.Rows = slices.DeleteFunc(m.Rows, func(r Row) bool { return r.Order.Action == action })
}

func (m *memory) answered(id string) (order.Result, bool) {
	i := slices.IndexFunc(m.Done, func(r order.Result) bool { return r.Order == id })
	if i < 0 {
		return order.Result{}, false
	}
	return m.Done[i], true
}

// remember keeps an answer, or changes the one given before.
func (m *memory) remember(r order.Result) {
	if i := slices.IndexFunc(m.Done, func(d order.Result) bool { return d.Order == r.Order }); i >= 0 {
		m.Done[i] = r
		return
	}
	m.Done = append(m.Done, r)
	m.Done = slices.Delete(m.Done, 0, max(0, len(m.Done)-maxDone))
}

// Limits.
const (
	maxLease   = 7 * 24 * time.Hour
	maxRows    = 64  // in force at once
	maxDone    = 256 // answers remembered
	watchEvery = 500 * time.Millisecond
	lookEvery  = 5 * time.Second // at the machine; some looks start a program
	probeTime  = 2 * time.Second
)

// Reasons in Result.Detail: a stable word, then ": " and the particulars.
const (
	badLease      = "lease-invalid"
	expired       = "expired"
	tooMany       = "too-many-actions"
	notApplied    = "not-applied"
	notUndone     = "not-undone"
	notRemembered = "state-not-written"
	wrongKind     = "kind-unknown"
	hubLost       = "hub-lost"
	putBack       = "put-back"
	resumed       = "resumed"
	nothing       = "nothing of this action was in force"
)

// Config is what an Engine needs.
type Config struct {
	Dir   string                      // where the state is kept, 0700
	Probe func(context.Context) error // one real heartbeat; nil where no hub is
	Now   clock.Now
	Log   *slog.Logger
}

// Engine carries out the orders of one Means. It is safe for concurrent use,
// also by several processes on the same directory.
type Engine struct {
	cfg         Config
	means       Means
	apply, undo order.Kind
	mu          sync.Mutex
	file        store.File[memory]
}

// New returns the Engine of a Means. Call Resume before Run.
func New(cfg Config, means Means) *Engine {
	e := &Engine{cfg: cfg, means: means}
	e.apply, e.undo = means.Kinds()
	name := string(e.apply)
	if d, ok := means.(Divided); ok {
		name += "-" + d.Name()
	}
	e.file = store.File[memory]{Dir: cfg.Dir, Name: name + ".json", Sync: true, Log: cfg.Log}
	return e
}

// change hands the memory to f, alone on this machine.
func (e *Engine) change(f func(m *memory, save func() error) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.file.With(f)
}

// InForce lists the actions that were not undone yet; it waits for nothing.
func (e *Engine) InForce() []Row {
	m, err := e.file.Load()
	if err != nil {
		e.cfg.Log.Error("state of actions", "kind", e.apply, "err", err)
	}
	return m.Rows
}

// failing is the first check that did not succeed.
func failing(checks []order.Check) error {
	for _, c := range checks {
		if !c.OK {
			return errors.New(c.Name + ": " + c.Detail)
		}
	}
	return nil
}
