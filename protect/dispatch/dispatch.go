// Package dispatch is the hub's end of jobs: it turns a job into a signed order,
// gives its agent what it needs, and hands on what the agent answers.
//
// In: jobs that a policy or a person wants done, answers of agents. Out: orders
// that wait for their machine, grants, progress and results. Always true: an
// agent is granted only a job that was ordered of it and has not ended; a
// password is asked for when it is granted and kept nowhere; the same job gives
// the same order, so that beginning it again, after a crash too, does it once.
// What waits is in memory: who wants a job done keeps it, and begins it again.
package dispatch

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
)

// Deps is what a Desk works with.
type Deps struct {
	Key ed25519.PrivateKey // signs orders
	// Password is that of a machine's repository, which must be there from then on.
	Password func(ctx context.Context, host string) (string, error)
	// Taker takes what agents say of jobs of a kind.
	Taker func(job.Kind) Taker
	Wake  func(host string) // an order waits
	// Tools are those that machines may fetch. Nil: none.
	Tools func(ctx context.Context) ([]job.Tool, error)
	Now   clock.Now
	Log   *slog.Logger
}

// Taker wanted jobs done. host is the machine that says it; jobs that are none of
// the Taker's are passed over.
type Taker interface {
	Heard(ctx context.Context, host string, p job.Progress) error
	Ended(ctx context.Context, host string, r job.Result) error
}

// Reading lets a restore read a repository: the token of a pass (protect/vault)
// and, where it is not the machine's own as it is now, which.
type Reading struct {
	Path  string // "/restic/HOST/" or "/restic/HOST/asof/TIME/"; empty: the machine's own
	Token string
	Of    string // host id whose password opens it; empty: the machine's own
}

// Desk keeps the orders that wait. It is safe for concurrent use.
type Desk struct {
	d    Deps
	log  *slog.Logger
	mu   sync.Mutex
	open map[string]*waiting // by order id
}

// waiting is an order that has no answer yet.
type waiting struct {
	order   order.Order
	signed  order.Signed
	body    []byte // of the job
	reading Reading
}

// New returns a Desk. Every field of Deps but Tools is needed.
func New(d Deps) *Desk {
	return &Desk{d: d, log: d.Log.With("part", "dispatch"), open: map[string]*waiting{}}
}

const (
	prefix  = "jo-"          // begins the ids of the orders
	stop    = "-stop"        // ends those of orders that stop a job
	usual   = 24 * time.Hour // how long an order holds whose job has no window
	granted = time.Hour      // what a grant says about its secret
)

// Ours says whether an answer is to an order of this package.
func Ours(r order.Result) bool { return strings.HasPrefix(r.Order, prefix) }

// Begin orders a job. One that was begun and has not ended is left as it is; where
// its order has expired unanswered it is ordered anew.
func (d *Desk) Begin(ctx context.Context, j job.Job) error { return d.BeginReading(ctx, j, Reading{}) }

// BeginReading orders a job that reads a repository with a pass.
func (d *Desk) BeginReading(ctx context.Context, j job.Job, reading Reading) error {
	if d.d.Tools != nil {
		var err error
		if j.Tools, err = d.d.Tools(ctx); err != nil {
			return err
		}
	}
	if err := j.Check(); err != nil {
		return fault.New(fault.Invalid, "protect.job").With(err)
	}
	body, digest, err := job.Pack(j)
	if err != nil {
		return err
	}
	now := d.d.Now().UTC()
	until := j.Until
	if until.IsZero() {
		until = now.Add(usual)
	}
	return d.put(order.Order{ID: prefix + j.ID, Kind: order.Kind(j.Kind), Host: j.Host, Action: j.ID, IssuedAt: now, ExpiresAt: until.UTC(), Digest: digest}, body, reading)
}

// Stop orders that a job ends; a machine that has not asked for it yet does not
// get it any more. How it ended is told by its own answer.
func (d *Desk) Stop(_ context.Context, host, id string) error {
	now := d.d.Now().UTC()
	d.mu.Lock()
	delete(d.open, prefix+id)
	d.mu.Unlock()
	return d.put(order.Order{ID: prefix + id + stop, Kind: order.Cancel, Host: host, Action: id, IssuedAt: now, ExpiresAt: now.Add(usual)}, nil, Reading{})
}

func (d *Desk) put(o order.Order, body []byte, reading Reading) error {
	s, err := order.Sign(d.d.Key, o)
	if err != nil {
		return err
	}
	d.mu.Lock()
	w := d.open[o.ID]
	there := w != nil && d.d.Now().Before(w.order.ExpiresAt)
	if !there {
		d.open[o.ID] = &waiting{o, s, body, reading}
	}
	d.mu.Unlock()
	if !there {
		d.d.Wake(o.Host)
	}
	return nil
}

// Pending lists the orders that wait for a machine, the oldest first. One that
// has expired waits no more; whoever wanted it sees that nothing came.
func (d *Desk) Pending(_ context.Context, host string) ([]order.Signed, error) {
	now := d.d.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*waiting
	for _, w := range d.open {
		if w.order.Host == host && now.Before(w.order.ExpiresAt) {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b *waiting) int {
		return cmp.Or(a.order.IssuedAt.Compare(b.order.IssuedAt), cmp.Compare(a.order.ID, b.order.ID))
	})
	var out []order.Signed
	for _, w := range list {
		out = append(out, w.signed)
	}
	return out, nil
}

// Grant gives a machine the job that it was ordered to do: fault.Missing where
// there is none that has not ended.
func (d *Desk) Grant(ctx context.Context, host, id string) (job.Grant, error) {
	d.mu.Lock()
	w := d.open[prefix+id]
	d.mu.Unlock()
	if w == nil || w.order.Host != host {
		return job.Grant{}, fault.New(fault.Missing, "agentlink.job")
	}
	of := cmp.Or(w.reading.Of, host)
	password, err := d.d.Password(ctx, of)
	if err != nil {
		return job.Grant{}, fmt.Errorf("grant job %s: %w", id, err)
	}
	s := job.Secret{Password: password, Path: cmp.Or(w.reading.Path, "/restic/"+of+"/"), Token: w.reading.Token, Expires: d.d.Now().UTC().Add(granted)}
	if s.Token != "" {
		s.User = "restore"
	}
	return job.Grant{Job: w.body, Secret: s}, nil
}

// Result takes an agent's answer; r.Host is that of its certificate. Answers come
// at least once and in any order. One that could not be handed on is an error,
// and the agent tells it again.
func (d *Desk) Result(ctx context.Context, r order.Result) error {
	if r.Kind == order.Cancel {
		d.drop(r)
		return nil
	}
	report, err := read(r)
	if err != nil {
		return err
	}
	if p := report.Progress; p != nil {
		return d.d.Taker(job.Kind(r.Kind)).Heard(ctx, r.Host, *p)
	}
	if err := d.d.Taker(job.Kind(r.Kind)).Ended(ctx, r.Host, *report.Result); err != nil {
		return err
	}
	d.log.Info("job ended", "host", r.Host, "job", r.Action, "state", report.Result.State)
	d.drop(r)
	return nil
}

// read checks a report. An agent that did not even begin says why in one word.
func read(r order.Result) (out job.Report, err error) {
	wrong := fault.New(fault.Invalid, "agentlink.body")
	if r.Order != prefix+r.Action {
		return out, wrong
	}
	if len(r.Report) == 0 && r.Phase != order.Progress {
		return job.Report{Result: &job.Result{Job: r.Action, Host: r.Host, Kind: job.Kind(r.Kind), State: job.CouldNotRun, Error: r.Detail, Start: r.At, End: r.At}}, nil
	}
	if err := json.Unmarshal(r.Report, &out); err != nil {
		return out, wrong.With(err)
	}
	switch {
	case r.Phase == order.Progress && out.Progress != nil && out.Progress.Job == r.Action:
		return job.Report{Progress: out.Progress}, nil
	case r.Phase != order.Progress && out.Result != nil && out.Result.Job == r.Action && out.Result.State.Ended():
		out.Result.Host = r.Host
		return job.Report{Result: out.Result}, nil
	}
	return out, wrong
}

// drop ends the wait for an answer.
func (d *Desk) drop(r order.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.open[r.Order]; w != nil && w.order.Host == r.Host {
		delete(d.open, r.Order)
	}
}
