package history

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/vault"
)

// before is how long before it was opened an incident is told what happened to
// the backups of its machines: a night's backups that failed, or that an
// intruder's work is in.
const before = 24 * time.Hour

// Follow writes into an incident what happened to the backups of the machines in
// its scope since shortly before it was opened: what somebody must look at, paths
// that were cut and released, what was called suspect or not any more, clean
// points. What its chronology tells already is not told again.
func (d *Desk) Follow(ctx context.Context, in incident.Incident) error {
	return d.tell(ctx, in, "", in.OpenedAt.Add(-before))
}

// Run tells the open incidents of a site what became of a run: it did not end
// well, or it is in doubt, or is not any more. Each step is asked for, because a
// run may be doubted while it waits, and trusted once it is over.
func (d *Desk) Run(ctx context.Context, c policy.Changed) error {
	if c.State == "" { // a class or a policy
		return nil
	}
	return d.happened(ctx, c.Site, c.At)
}

// Path tells the open incidents of a site of a path that was cut or released.
func (d *Desk) Path(ctx context.Context, c vault.Changed) error {
	if c.Kind != vault.KindCut {
		return nil
	}
	return d.happened(ctx, c.Site, c.At)
}

// Said tells the open incidents of a clean point that a person confirmed, and of
// what people answered about snapshots.
func (d *Desk) Said(ctx context.Context, v record.Version) error {
	if v.Kind != anomaly.KindClean && v.Kind != anomaly.KindAnswer {
		return nil
	}
	return d.happened(ctx, "", v.At)
}

// Bounds of following.
const (
	pageOf = 200       // incidents in one read
	again  = time.Hour // what happened so long before a message is looked at again
)

// happened writes into the open incidents of a site, of all where it is empty,
// what happened to backups since shortly before a moment.
func (d *Desk) happened(ctx context.Context, site string, at time.Time) error {
	for offset := 0; ; offset += pageOf {
		all, total, err := d.Room.List(ctx, incident.Filter{Active: true, Limit: pageOf, Offset: offset})
		if err != nil {
			return err
		}
		for _, in := range all {
			if err := d.tell(ctx, in, site, at.Add(-again)); err != nil {
				return err
			}
		}
		if len(all) == 0 || offset+len(all) >= total {
			return nil
		}
	}
}

// tell notes in an incident the lines about its machines from a time on, and
// nothing that happened long before it was opened; only those of a site where
// one is named.
func (d *Desk) tell(ctx context.Context, in incident.Incident, only string, from time.Time) error {
	if in.Drill || in.State == incident.Ended {
		return nil
	}
	sites, err := d.sites(ctx, in.Scope)
	if err != nil {
		return err
	}
	now := d.Now()
	for _, at := range []time.Time{in.OpenedAt.Add(-before), now.Add(-MaxSpan)} {
		if from.Before(at) {
			from = at
		}
	}
	for _, site := range sites {
		if only != "" && site != only {
			continue
		}
		f := Filter{Site: site, From: from}
		if err := f.bounds(now); err != nil {
			return err
		}
		all, err := d.lines(ctx, f, tellMargin)
		if err != nil {
			return err
		}
		for _, l := range slices.Backward(all) {
			if err := d.note(ctx, in, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// sites are those of a scope, and those of its machines.
func (d *Desk) sites(ctx context.Context, s incident.Scope) ([]string, error) {
	all := slices.Clone(s.Sites)
	r := reading{Desk: d, sites: map[string]string{}}
	for _, h := range s.Hosts {
		site, err := r.siteOf(ctx, h)
		if err != nil {
			return nil, err
		}
		if site != "" {
			all = append(all, site)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// note writes a line into an incident that it belongs to.
func (d *Desk) note(ctx context.Context, in incident.Incident, l Line) error {
	if l.Incident == in.ID || l.pending || !l.tells() || !l.within(in.Scope) {
		return nil
	}
	err := d.Room.Note(ctx, in.ID, incident.Note{Key: l.Key, Args: l.Args, OccurredAt: l.At, Source: "protect", Ref: l.Ref,
		Unique: "history/" + l.Ref + "/" + l.Key + "/" + strconv.FormatInt(l.At.UnixMilli(), 10)})
	if err != nil {
		return fmt.Errorf("note what happened to backups: %w", err)
	}
	return nil
}

// tells says whether an incident is told of a line. Restores, drills and who may
// read stand there when they are asked for in it.
func (l Line) tells() bool {
	switch l.Kind {
	case Cut, Doubt, Clean:
		return true
	case Backup, Missed, Copy, Repository:
		return l.Mark == Bad
	}
	return false
}

// within says whether a line is about a scope: its machines, or where it names
// none all of its sites.
func (l Line) within(s incident.Scope) bool {
	if len(s.Hosts) == 0 {
		return slices.Contains(s.Sites, l.Site)
	}
	return slices.ContainsFunc(s.Hosts, l.concerns)
}
