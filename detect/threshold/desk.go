package threshold

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Machines lists what the machines say of themselves.
type Machines func(ctx context.Context) ([]Machine, error)

// Desk compares measures with limits. It is safe for concurrent use; Run on one
// hub of all only.
type Desk struct {
	db       *state.DB
	machines Machines
	now      clock.Now
	log      *slog.Logger

	mu     sync.Mutex // tracks
	tracks map[key]*track
}

type key struct{ host, name, object string }

// New makes a Desk.
func New(db *state.DB, machines Machines, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, machines: machines, now: now, log: log, tracks: map[key]*track{}}
}

const (
	lookEvery = 15 * time.Second
	// fresh is how old a heartbeat may be: an older one says nothing about now.
	// That a machine is silent is another alarm.
	fresh = 2 * time.Minute
	// goneFor is how long a measure must be missing before it counts as well
	// again: a volume that was unmounted, a service that is watched no longer.
	goneFor = 15 * time.Minute
	// keepFor is how long firings are remembered.
	keepFor = 400 * 24 * time.Hour
)

// Run compares until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	d.mu.Lock()
	clear(d.tracks) // another hub may have gone on meanwhile
	d.mu.Unlock()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var forgot time.Time
	for {
		if now := d.now(); now.Sub(forgot).Abs() > 24*time.Hour {
			forgot = now
			if _, err := d.Forget(ctx); err != nil && ctx.Err() == nil {
				d.log.Error("old firings not forgotten", "err", err)
			}
		}
		if err := d.Look(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("thresholds not compared", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Look compares the newest measures of all machines once.
func (d *Desk) Look(ctx context.Context) error {
	machines, err := d.machines(ctx)
	if err != nil {
		return err
	}
	limits, err := d.limits(ctx)
	if err != nil {
		return err
	}
	windows, err := d.Windows(ctx, "")
	if err != nil {
		return err
	}
	open, err := d.firings(ctx, `WHERE cleared_at = 0`)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resume(open)
	r := round{d: d, now: d.now().UTC(), limits: limits, windows: windows, open: map[string]Firing{}}
	for _, f := range open {
		r.open[f.ID] = f
	}
	silent := map[string]bool{}
	for _, m := range machines {
		silent[m.Host] = r.now.Sub(m.Seen) > fresh
		r.machine(m)
	}
	r.sweep(silent)
	r.overdue()
	return d.keep(ctx, r)
}

// resume makes tracks of firings that are open, after a restart.
func (d *Desk) resume(open []Firing) {
	for _, f := range open {
		k := key{f.Host, f.Name, f.Object}
		if t := d.tracks[k]; t == nil {
			d.tracks[k] = &track{firing: f.ID, seen: d.now()}
		} else {
			t.firing = f.ID
		}
	}
}

// round is one comparison of all.
type round struct {
	d       *Desk
	now     time.Time
	limits  []Limit
	windows []Window
	open    map[string]Firing
	changed []Firing
	told    []detect.Finding
	after   []func() // what holds once all of it is stored
}

func (r *round) machine(m Machine) {
	if r.now.Sub(m.Seen) > fresh {
		return
	}
	seen := map[key]bool{}
	for _, x := range m.Measures {
		k := key{m.Host, x.Name, x.Object}
		l, ok := limitOf(r.limits, x.Name, m.Site, m.Host)
		if !ok || seen[k] {
			continue
		}
		seen[k] = true
		t := r.d.tracks[k]
		if t == nil {
			t = &track{}
			r.d.tracks[k] = t
		}
		r.value(m, x, l, t)
	}
}

// value takes one value of a machine. The track is changed once what follows is
// stored, or the next round would not try again.
func (r *round) value(m Machine, x Measure, l Limit, t *track) {
	t.seen = r.now
	before := *t
	what := t.step(l, x.Value, r.now)
	turned := *t
	switch what {
	case fires:
		f := Firing{ID: clock.ID("fi", r.now), Name: x.Name, Site: m.Site, Host: m.Host, Object: x.Object, Value: x.Value, Worst: x.Value, Detail: x.Detail, FiredAt: r.now, Limit: l}
		r.tell(&f)
		r.changed = append(r.changed, f)
		*t = before
		r.after = append(r.after, func() { *t = turned; t.firing = f.ID })
	case clears:
		f := r.open[t.firing]
		f.ClearedAt = r.now
		delete(r.open, f.ID)
		r.changed = append(r.changed, f)
		*t = before
		r.after = append(r.after, func() { *t = turned; t.firing = "" })
	case stays:
		r.lasts(t, x, l)
	}
}

// lasts notes a worse value of what is firing, when it is much worse.
func (r *round) lasts(t *track, x Measure, l Limit) {
	f, ok := r.open[t.firing]
	if !ok || (l.Below && x.Value >= f.Worst-worse(f.Worst)) || (!l.Below && x.Value <= f.Worst+worse(f.Worst)) {
		return
	}
	f.Worst, f.Detail = x.Value, x.Detail
	r.open[f.ID] = f
	r.changed = append(r.changed, f)
}

// worse is how much a value must change to be written down again: each round
// of each machine would cost the disk a sync.
func worse(v float64) float64 { return max(0.02, 0.02*max(v, -v)) }

// sweep ends what machines that speak say nothing of any more, and what
// machines said that are removed.
func (r *round) sweep(silent map[string]bool) {
	for k, t := range r.d.tracks {
		if !silent[k.host] && r.now.Sub(t.seen) > goneFor {
			r.gone(k, t)
		}
	}
}

func (r *round) gone(k key, t *track) {
	f, ok := r.open[t.firing]
	if ok {
		f.ClearedAt = r.now
		delete(r.open, f.ID)
		r.changed = append(r.changed, f)
	}
	r.after = append(r.after, func() { delete(r.d.tracks, k) })
}

// tell makes a finding of a firing, unless planned work explains it or nobody
// wants to be told.
func (r *round) tell(f *Firing) {
	for _, w := range r.windows {
		if w.covers(f.Site, f.Host, r.now) {
			f.Planned = w.ID
			return
		}
	}
	if !f.Limit.Quiet {
		f.Told = true
		r.told = append(r.told, finding(*f, r.now))
	}
}

// overdue tells of what a window kept quiet and still lasts after it.
func (r *round) overdue() {
	for _, f := range r.open {
		if f.Planned == "" || f.Told {
			continue
		}
		if r.tell(&f); f.Told {
			r.changed = append(r.changed, f)
		}
	}
}

// keep stores what changed and emits what is told, in one transaction.
func (d *Desk) keep(ctx context.Context, r round) error {
	if len(r.changed) > 0 {
		err := d.db.Tx(ctx, func(tx *state.Tx) error {
			for _, f := range r.changed {
				if err := put(ctx, tx, f); err != nil {
					return err
				}
			}
			for _, f := range r.told {
				if err := tx.Emit(ctx, "finding."+f.Host, "threshold:"+f.ID, []detect.Finding{f}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("store firings: %w", err)
		}
	}
	for _, f := range r.after {
		f()
	}
	return nil
}

// limitOf is the limit of a measure on a machine: its own, else its site's,
// else everybody's, else the default.
func limitOf(all []Limit, name, site, host string) (Limit, bool) {
	best, known := Default(name)
	if !known {
		return best, false
	}
	rank := -1
	for _, l := range all {
		at := -1
		switch {
		case l.Name != name:
		case l.Host != "" && l.Host == host:
			at = 2
		case l.Host == "" && l.Site != "" && l.Site == site:
			at = 1
		case l.Host == "" && l.Site == "":
			at = 0
		}
		if at > rank {
			best, rank = l, at
		}
	}
	return best, true
}

// Limits lists the limits that people set, and the defaults for the rest.
func (d *Desk) Limits(ctx context.Context) ([]Limit, error) {
	set, err := d.limits(ctx)
	if err != nil {
		return nil, err
	}
	for _, def := range defaults {
		if !slices.ContainsFunc(set, func(l Limit) bool { return l.Name == def.Name && l.Site == "" && l.Host == "" }) {
			set = append(set, def)
		}
	}
	at := func(l Limit) int { return slices.Index(Names(), l.Name) }
	slices.SortFunc(set, func(a, b Limit) int {
		return cmp.Or(cmp.Compare(at(a), at(b)), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Host, b.Host))
	})
	return set, nil
}

// Limit is what holds for a measure at a site or machine.
func (d *Desk) Limit(ctx context.Context, name, site, host string) (Limit, error) {
	all, err := d.limits(ctx)
	if err != nil {
		return Limit{}, err
	}
	l, ok := limitOf(all, name, site, host)
	if !ok {
		return l, fault.New(fault.Missing, "threshold.unknown")
	}
	return l, nil
}

// SetLimit sets a limit for everybody, a site or a machine.
func (d *Desk) SetLimit(ctx context.Context, l Limit, by auth.Person) error {
	if def, ok := Default(l.Name); ok {
		l.Below = def.Below
	}
	if err := l.check(); err != nil {
		return err
	}
	l.SetBy = by.ID
	return d.change(ctx, l, false, by)
}

// DropLimit takes a limit back: what is set for more, or the default, holds again.
func (d *Desk) DropLimit(ctx context.Context, name, site, host string, by auth.Person) error {
	if _, ok := Default(name); !ok {
		return fault.New(fault.Missing, "threshold.unknown")
	}
	return d.change(ctx, Limit{Name: name, Site: site, Host: host, SetBy: by.ID}, true, by)
}

// stored is a limit with whether it was taken back.
type stored struct {
	Limit
	Dropped bool `json:"dropped,omitempty"`
}

func (d *Desk) change(ctx context.Context, l Limit, dropped bool, by auth.Person) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		var version int
		row := tx.QueryRowContext(ctx, `INSERT INTO threshold_limit (name, site, host, version, body) VALUES ($1, $2, $3, 1, $4)
			ON CONFLICT (name, site, host) DO UPDATE SET version = threshold_limit.version + 1, body = excluded.body RETURNING version`,
			l.Name, l.Site, l.Host, state.JSON(stored{l, dropped}))
		if err := row.Scan(&version); err != nil {
			return fmt.Errorf("set threshold %s: %w", l.Name, err)
		}
		return d.record(ctx, tx, "limit", fmt.Sprintf("%s/%s/%s/%d", l.Name, l.Site, l.Host, version), stored{l, dropped}, by)
	})
}

// record puts what people decided into the ledger.
func (d *Desk) record(ctx context.Context, tx *state.Tx, what, ref string, v any, by auth.Person) error {
	l, err := leaf.Of("threshold", what+"/"+ref, d.now(), struct {
		What string `json:"what"`
		Body any    `json:"body"`
		By   string `json:"by"`
		Salt string `json:"salt"`
	}{what, v, by.ID, leaf.Salt()})
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record.threshold", "threshold:"+l.Ref, l)
}
