package policy

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// Hosts is the register.
type Hosts interface {
	Host(ctx context.Context, id string) (asset.Host, error)
	Hosts(ctx context.Context, f asset.Filter) ([]asset.Host, int, error)
	Site(ctx context.Context, id string) (asset.Site, error)
}

// People tells who there is.
type People interface {
	Person(ctx context.Context, id string) (auth.Person, error)
}

// Alerts raises alerts and ends them.
type Alerts interface {
	Handle(ctx context.Context, f detect.Finding) error
	List(ctx context.Context, f alert.Filter) ([]alert.Alert, int, error)
	Close(ctx context.Context, id, reason string, by auth.Person) error
}

// Orders tells agents what to do. Begin of a job that was begun does nothing:
// after a crash it is asked again.
type Orders interface {
	Begin(ctx context.Context, j job.Job) error
	Stop(ctx context.Context, host, job string) error
}

// Deps is what a Desk works with. Orders, Copies, Drills, Forecast, Cut and Arrived
// may be nil: then no run can begin, no copy, no proof and no time is known, no path
// is cut, and what agents say of their backups is all that is known of them.
type Deps struct {
	Hosts    Hosts
	People   People
	Alerts   Alerts
	Orders   Orders
	Copies   Copies
	Drills   Drills
	Forecast Forecast
	Cut      func(ctx context.Context, site string) (bool, error) // whether the path to its repositories is cut now
	Arrived  Arrived
	PerSite  int // runs at once on one site; 0: PerSite
	Now      clock.Now
	Log      *slog.Logger
}

// PerSite is how many runs go on at once on one site when nothing else is
// configured: lines of a hospital are narrow, and its disks serve the wards too.
const PerSite = 2

// Desk keeps classes, policies and runs. It is safe for concurrent use.
type Desk struct {
	db   *state.DB
	deps Deps
	log  *slog.Logger

	mu      sync.Mutex
	unasked map[string]time.Time // since when nobody can say what arrived, by run
}

// New makes a Desk on an open state.
func New(db *state.DB, deps Deps) *Desk {
	if deps.PerSite <= 0 {
		deps.PerSite = PerSite
	}
	return &Desk{db: db, deps: deps, log: deps.Log.With("part", "policy"), unasked: map[string]time.Time{}}
}

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.deps.Now())) }

// Classes lists the classes of a site, or of all when it is empty, in the order
// in which people want to see them; ended ones are left out.
func (d *Desk) Classes(ctx context.Context, site string) ([]Class, error) {
	all, err := newest[Class](ctx, d.db, "protect_class", site)
	if err != nil {
		return nil, fmt.Errorf("list classes: %w", err)
	}
	all = slices.DeleteFunc(all, func(c Class) bool { return !c.EndedAt.IsZero() })
	slices.SortStableFunc(all, func(a, b Class) int {
		if a.Order != b.Order {
			return a.Order - b.Order
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, nil
}

// SaveClass makes a class, or the next version of one: c.Version is the one that
// was changed.
//
// Errors: Invalid for what cannot be right, Missing for an unknown class, site or
// person, Conflict when somebody changed it meanwhile.
func (d *Desk) SaveClass(ctx context.Context, c Class, by auth.Person) (Class, error) {
	if err := c.tidy(); err != nil {
		return c, err
	}
	if err := d.known(ctx, c.Site, c.Owner); err != nil {
		return c, err
	}
	c.At, c.By, c.EndedAt = d.moment(), by.ID, time.Time{}
	if err := d.succeeds(ctx, &c); err != nil {
		return c, err
	}
	if err := d.db.Tx(ctx, func(tx *state.Tx) error { return keepClass(ctx, tx, &c) }); err != nil {
		return c, fmt.Errorf("save class: %w", err)
	}
	return c, nil
}

// succeeds gives a new class its id, and holds another one against what is kept.
func (d *Desk) succeeds(ctx context.Context, c *Class) error {
	if c.ID == "" {
		c.ID, c.Version = clock.ID("cl", c.At), 0
		return nil
	}
	old, err := d.Class(ctx, c.ID)
	switch {
	case err != nil:
		return err
	case old.Version != c.Version || !old.EndedAt.IsZero():
		return fault.New(fault.Conflict, "protect.policy.changed")
	case old.Site != c.Site:
		return fault.New(fault.Invalid, "protect.policy.site")
	}
	return nil
}

// EndClass says that a class is no longer kept apart. Conflict while policies
// are for it.
func (d *Desk) EndClass(ctx context.Context, id string, by auth.Person) error {
	c, err := d.Class(ctx, id)
	if err != nil || !c.EndedAt.IsZero() {
		return err
	}
	policies, err := d.Policies(ctx, c.Site)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(policies, func(p Policy) bool { return p.Class == id }) {
		return fault.New(fault.Conflict, "protect.policy.class-used")
	}
	c.At, c.By = d.moment(), by.ID
	c.EndedAt = c.At
	if err := d.db.Tx(ctx, func(tx *state.Tx) error { return keepClass(ctx, tx, &c) }); err != nil {
		return fmt.Errorf("end class %s: %w", id, err)
	}
	return nil
}

// Policies lists the policies of a site, or of all when it is empty, that were
// not ended.
func (d *Desk) Policies(ctx context.Context, site string) ([]Policy, error) {
	all, err := newest[Policy](ctx, d.db, "protect_policy", site)
	if err != nil {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	return slices.DeleteFunc(all, Policy.Ended), nil
}

// Draft checks a policy as SavePolicy does, and returns it as it would be kept,
// for looking at what it would do. It writes nothing.
func (d *Desk) Draft(ctx context.Context, p Policy) (Policy, error) {
	if err := p.tidy(); err != nil {
		return p, err
	}
	if err := d.known(ctx, p.Site, p.Owner); err != nil {
		return p, err
	}
	c, err := d.Class(ctx, p.Class)
	if err != nil {
		return p, err
	}
	if c.Site != p.Site || !c.EndedAt.IsZero() {
		return p, fault.New(fault.Invalid, "protect.policy.class-site")
	}
	for _, id := range p.Hosts {
		h, err := d.deps.Hosts.Host(ctx, id)
		if err != nil {
			return p, err
		}
		if h.Site != p.Site || h.Drill || !h.RemovedAt.IsZero() {
			return p, fault.New(fault.Invalid, "protect.policy.host-site", h.Name)
		}
	}
	return p, nil
}

// SavePolicy makes a policy, or the next version of one: p.Version is the one
// that was changed. Runs that wait do what the newest version says.
//
// Errors: Invalid for what cannot be right, Missing for an unknown policy, class,
// machine or person, Conflict when somebody changed it meanwhile.
func (d *Desk) SavePolicy(ctx context.Context, p Policy, by auth.Person) (Policy, error) {
	p, err := d.Draft(ctx, p)
	if err != nil {
		return p, err
	}
	p.At, p.By, p.EndedAt = d.moment(), by.ID, time.Time{}
	var old Policy
	if p.ID == "" {
		p.ID, p.Version = clock.ID("bp", p.At), 0
	} else if old, err = d.Policy(ctx, p.ID); err != nil {
		return p, err
	}
	if old.Version != p.Version || old.Ended() {
		return p, fault.New(fault.Conflict, "protect.policy.changed")
	}
	if old.Version > 0 && old.Site != p.Site {
		return p, fault.New(fault.Invalid, "protect.policy.site")
	}
	p.Since = map[string]time.Time{}
	for _, h := range p.Hosts {
		p.Since[h] = p.At
		if at, ok := old.Since[h]; ok {
			p.Since[h] = at
		}
	}
	if err := d.db.Tx(ctx, func(tx *state.Tx) error { return keepPolicy(ctx, tx, &p) }); err != nil {
		return p, fmt.Errorf("save policy: %w", err)
	}
	d.log.Info("policy changed", "policy", p.ID, "version", p.Version)
	return p, nil
}

// EndPolicy ends a policy: nothing begins any more, and nobody is told of old
// backups. The backups stay.
func (d *Desk) EndPolicy(ctx context.Context, id, why string, by auth.Person) error {
	if !clean(&why, maxText) || why == "" {
		return fault.New(fault.Invalid, "protect.policy.why")
	}
	p, err := d.Policy(ctx, id)
	if err != nil || p.Ended() {
		return err
	}
	p.At, p.By, p.Why = d.moment(), by.ID, why
	p.EndedAt = p.At
	if err := d.db.Tx(ctx, func(tx *state.Tx) error { return keepPolicy(ctx, tx, &p) }); err != nil {
		return fmt.Errorf("end policy %s: %w", id, err)
	}
	return nil
}

// known checks a site, and a person where one is named.
func (d *Desk) known(ctx context.Context, site, person string) error {
	if _, err := d.deps.Hosts.Site(ctx, site); err != nil {
		return err
	}
	if person == "" {
		return fault.New(fault.Invalid, "protect.policy.owner")
	}
	_, err := d.deps.People.Person(ctx, person)
	return err
}
