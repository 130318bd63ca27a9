package forecast

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restore"
)

// Drills is what Records asks of restore drills.
type Drills interface {
	Lines(ctx context.Context, site string) ([]drill.Line, error)
	Measurements(ctx context.Context, of drill.Of, limit int) ([]drill.Measurement, error)
}

// Backups is what Records asks of policies.
type Backups interface {
	Policies(ctx context.Context, site string) ([]policy.Policy, error)
	Freshness(ctx context.Context, policies []policy.Policy) ([]policy.Fresh, error)
}

// Orders is what Records asks of restores that people ordered.
type Orders interface {
	Requests(ctx context.Context) ([]restore.Request, error)
	Far(ctx context.Context, id string) (job.Progress, error)
}

// Records is a Measured of what drills, backups and restores left on record at
// this hub. A service of a plan is recognised by the name that a drill gives it,
// else by its classes of data, else by its machines.
type Records struct {
	Drills  Drills
	Backups Backups
	Orders  Orders
}

// perDrill is how many runs of each drill count: the rates of today, not those
// of years ago.
const perDrill = 20

// Restores are the drills of the plan's site that restored something, and the
// restores that people ordered there and that were compared file by file. All
// came out of the hub's own repository, whatever service they were of.
func (r Records) Restores(ctx context.Context, p plan.Plan) ([]Restore, error) {
	x, err := r.index(ctx, p)
	if err != nil {
		return nil, err
	}
	drilled, err := r.Drills.Measurements(ctx, drill.Of{Site: p.Site}, perDrill)
	if err != nil {
		return nil, fmt.Errorf("drills: %w", err)
	}
	var out []Restore
	for _, m := range drilled {
		out = append(out, Restore{At: m.At, Source: plan.AtHub, Service: x.service(m.Service, m.Class, m.Host), Bytes: m.Bytes, Files: m.Files, Streams: m.Streams, Seconds: m.Seconds, Ref: m.Run})
	}
	ordered, err := r.Orders.Requests(ctx)
	if err != nil {
		return nil, fmt.Errorf("ordered restores: %w", err)
	}
	for _, q := range ordered {
		if back := q.Result.Restore; q.Site == p.Site && (q.State == restore.Restored || q.State == restore.Released) && back != nil {
			out = append(out, Restore{At: q.Result.End, Source: plan.AtHub, Service: x.service("", "", q.From.Agent), Bytes: back.Bytes, Files: back.Files, Streams: 1,
				Seconds: q.Result.End.Sub(q.Result.Start).Seconds(), Ref: q.ID})
		}
	}
	return out, nil
}

// Points are, of each service whose machines are known, its newest backup and
// its last proof: those of the machine that is worst off.
func (r Records) Points(ctx context.Context, p plan.Plan) ([]Point, error) {
	x, err := r.index(ctx, p)
	if err != nil {
		return nil, err
	}
	var out []Point
	for i := range p.Services {
		if s := &p.Services[i]; s.HasData() && len(x.machines[s.Key]) > 0 {
			out = append(out, Point{Service: s.Key, Newest: x.newest(s), Proven: x.proven(s)})
		}
	}
	return out, nil
}

// Machines are those of the plan's services.
func (r Records) Machines(ctx context.Context, p plan.Plan) ([]string, error) {
	x, err := r.index(ctx, p)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, hosts := range x.machines {
		all = append(all, hosts...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Going are the restores of an incident that run or came to an end.
func (r Records) Going(ctx context.Context, p plan.Plan, incident string) ([]Going, error) {
	x, err := r.index(ctx, p)
	if err != nil {
		return nil, err
	}
	all, err := r.Orders.Requests(ctx)
	if err != nil {
		return nil, fmt.Errorf("ordered restores: %w", err)
	}
	var out []Going
	for _, q := range all {
		g := Going{Service: x.service("", "", q.From.Agent), Ref: q.ID, Began: q.OrderedAt, At: q.At}
		if q.Incident != incident || g.Service == "" {
			continue
		}
		switch q.State {
		case restore.Running:
			far, err := r.Orders.Far(ctx, q.ID)
			if err != nil {
				return nil, fmt.Errorf("progress of %s: %w", q.ID, err)
			}
			g.hear(far, q.Scan.Bytes)
		case restore.Restored, restore.Released:
			if q.Result.Restore == nil {
				continue
			}
			g.Began, g.At, g.Over = q.Result.Start, q.Result.End, true
			g.Bytes = q.Result.Restore.Bytes
			g.Total = g.Bytes
		default:
			continue
		}
		out = append(out, g)
	}
	return out, nil
}

// hear takes what the machine said last. Reading again what was written is the
// last part of it.
func (g *Going) hear(far job.Progress, scanned int64) {
	if far.At.After(g.At) {
		g.At = far.At
	}
	g.Total = max(far.TotalBytes, scanned)
	g.Bytes = min(far.Bytes, g.Total)
	if far.Step == "verify" {
		g.Bytes = g.Total
	}
}

// index says what belongs to the services of a plan.
type index struct {
	plan     plan.Plan
	machines map[string][]string // by service
	backups  []backedUp
	drills   []drill.Line
}

// backedUp is how new the backup of a machine is that a policy orders.
type backedUp struct {
	policy.Fresh
	class string
}

func (r Records) index(ctx context.Context, p plan.Plan) (index, error) {
	x := index{plan: p, machines: map[string][]string{}}
	policies, err := r.Backups.Policies(ctx, p.Site)
	if err != nil {
		return x, fmt.Errorf("policies: %w", err)
	}
	fresh, err := r.Backups.Freshness(ctx, policies)
	if err != nil {
		return x, fmt.Errorf("newest backups: %w", err)
	}
	class := map[string]string{}
	for _, of := range policies {
		class[of.ID] = of.Class
	}
	for _, f := range fresh {
		x.backups = append(x.backups, backedUp{f, class[f.Policy]})
	}
	if x.drills, err = r.Drills.Lines(ctx, p.Site); err != nil {
		return x, fmt.Errorf("drills: %w", err)
	}
	x.drills = slices.DeleteFunc(x.drills, func(l drill.Line) bool { return l.Retired != "" })
	for i := range p.Services {
		x.machines[p.Services[i].Key] = x.hosts(&p.Services[i])
	}
	return x, nil
}

// hosts are the machines of a service: those that are named, those that hold its
// classes of data; where it names neither, those of the drills that name it.
func (x index) hosts(s *plan.Service) []string {
	all := slices.Clone(s.Hosts)
	for _, b := range x.backups {
		if slices.Contains(s.Classes, b.class) {
			all = append(all, b.Host)
		}
	}
	if len(s.Hosts)+len(s.Classes) == 0 {
		for _, l := range x.drills {
			if l.Host != "" && s.Called(l.Service) {
				all = append(all, l.Host)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// service is the key of the one that something is about, empty when it is of
// none or could be of several.
func (x index) service(name, class, host string) string {
	for _, is := range []func(*plan.Service) bool{
		func(s *plan.Service) bool { return s.Called(name) },
		func(s *plan.Service) bool { return slices.Contains(s.Classes, class) },
		func(s *plan.Service) bool { return slices.Contains(x.machines[s.Key], host) },
	} {
		var found []string
		for i := range x.plan.Services {
			if s := &x.plan.Services[i]; is(s) {
				found = append(found, s.Key)
			}
		}
		if len(found) == 1 {
			return found[0]
		}
	}
	return ""
}

// newest is the newest backup of the machine whose newest is oldest; zero when
// one has none.
func (x index) newest(s *plan.Service) time.Time {
	return worst(x.machines[s.Key], func(host string) (newest time.Time) {
		for _, b := range x.backups {
			if b.Host == host && (len(s.Classes) == 0 || slices.Contains(s.Classes, b.class) || slices.Contains(s.Hosts, host)) {
				newest = later(newest, b.Newest)
			}
		}
		return newest
	})
}

// proven is when the service was proven last, by the drill of those that name it
// which proved it longest ago; where none does, by the drills of its machines. Zero:
// something was never proven, or was found wrong since. Reading a repository again
// proves nothing.
func (x index) proven(s *plan.Service) time.Time {
	named := func(l drill.Line) bool { return s.Called(l.Service) }
	if slices.ContainsFunc(x.drills, func(l drill.Line) bool { return named(l) && l.Level != drill.Bytes }) {
		return oldest(x.drills, named)
	}
	return worst(x.machines[s.Key], func(host string) time.Time {
		return oldest(x.drills, func(l drill.Line) bool {
			return l.Host == host && (len(s.Classes) == 0 || l.Class == "" || slices.Contains(s.Classes, l.Class))
		})
	})
}

// oldest is the oldest of the last proofs of some drills; zero when one has none, or
// there is no such drill.
func oldest(drills []drill.Line, of func(drill.Line) bool) (at time.Time) {
	first := true
	for _, l := range drills {
		if !l.Counts() || !of(l) {
			continue
		}
		if t := proof(l); first || t.Before(at) {
			at, first = t, false
		}
	}
	return at
}

func proof(l drill.Line) time.Time {
	if l.Standing == drill.NotProven {
		return time.Time{}
	}
	return l.Proved
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// worst is the earliest time of all machines; zero when one has none.
func worst(hosts []string, of func(host string) time.Time) (at time.Time) {
	for i, host := range hosts {
		if t := of(host); i == 0 || t.Before(at) {
			at = t
		}
	}
	return at
}
