package hub

import (
	"context"
	"slices"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	restoredrill "github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/vault"
)

// needs is what policies, drills, scores and incidents say about snapshots before
// the keeper lets any go.
type needs struct{ *Hub }

// Rules are the generations of the policies of a machine.
func (n needs) Rules(ctx context.Context, agent string) (map[string]vault.Generations, error) {
	all, err := n.backups.Policies(ctx, "")
	out := map[string]vault.Generations{}
	for _, p := range all {
		if slices.Contains(p.Hosts, agent) && !p.Ended() {
			out[p.ID] = vault.Generations(p.Keep)
		}
	}
	return out, err
}

// Kept are the last clean points and what drills proved last.
func (n needs) Kept(ctx context.Context, agent string) (map[string]string, error) {
	out := map[string]string{}
	series, err := n.anomalies.List(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, s := range series {
		if s.Repository != agent {
			continue
		}
		p, err := n.anomalies.Propose(ctx, s.ID, time.Time{}, 0)
		if err != nil && fault.Of(err) != fault.Missing {
			return nil, err
		}
		for _, id := range []string{p.Choice, p.Newest} {
			out[id] = vault.StayClean
		}
		confirmed, err := n.anomalies.CleanPoints(ctx, s.ID)
		if err != nil {
			return nil, err
		}
		for _, c := range confirmed {
			out[c.Snapshot] = vault.StayClean
		}
	}
	defined, err := n.drills.Definitions(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, d := range defined {
		if d.Host != agent {
			continue
		}
		runs, err := n.drills.Runs(ctx, d.ID, 200, 0) // the newest first
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(runs, func(r restoredrill.Run) bool { return r.State == restoredrill.Passed && r.Snapshot != nil })
		if i >= 0 {
			out[runs[i].Snapshot.ID.String()] = vault.StayProven
		}
	}
	return out, nil
}

// Open is an incident that names a machine, or its site and no machine.
func (n needs) Open(ctx context.Context, agent, site string) (string, error) {
	all, _, err := n.incidents.List(ctx, incident.Filter{Active: true, Site: site, Limit: 200})
	for _, in := range all {
		if !in.Drill && (len(in.Scope.Hosts) == 0 || slices.Contains(in.Scope.Hosts, agent)) {
			return in.ID, err
		}
	}
	return "", err
}
