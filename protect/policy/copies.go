package policy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/state"
)

// Made is one run that counts: the hub received what it made after From, and had
// it at At.
type Made struct{ From, At time.Time }

// mostMade bounds the runs of one policy on one machine that are looked at: of
// nightly ones five years, of those of every quarter of an hour three weeks.
const mostMade = 2000

// Made lists the runs that count of policies on a machine, each the oldest first.
// A machine does one at a time, so that none began before the one before it ended.
func (d *Desk) Made(ctx context.Context, host string, policies []Policy) (map[string][]Made, error) {
	out, ends := map[string][]Made{}, []time.Time{}
	for _, p := range policies {
		all, err := d.made(ctx, host, p.ID)
		if err != nil {
			return nil, fmt.Errorf("backups of policy %s on %s: %w", p.ID, host, err)
		}
		out[p.ID] = all
		for _, m := range all {
			ends = append(ends, m.At)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	for _, all := range out {
		for i, m := range all {
			n, _ := slices.BinarySearchFunc(ends, m.At, time.Time.Compare)
			if n > 0 && ends[n-1].After(m.From) {
				all[i].From = ends[n-1]
			}
		}
	}
	return out, nil
}

func (d *Desk) made(ctx context.Context, host, policy string) (all []Made, _ error) {
	found, err := d.db.Query(ctx, `SELECT queued, counts FROM protect_run WHERE policy = $1 AND host = $2 AND counts > 0 ORDER BY counts DESC LIMIT $3`, policy, host, mostMade)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var queued, counts int64
		if err := found.Scan(&queued, &counts); err != nil {
			return nil, err
		}
		all = append(all, Made{state.Time(queued), state.Time(counts)})
	}
	slices.Reverse(all)
	return all, found.Err()
}

// apart is how far two backups lie from each other that are two generations. What
// is saved every quarter of an hour is all encrypted in the night in which somebody
// encrypts it.
const apart = 6 * time.Hour

// Holding is the copy as one of a policy: of the runs in order of time, the oldest
// first, it has those that has says.
func (c Copy) Holding(policy string, all []Made, has func(Made) bool) Copy {
	c.Policy, c.Generations, c.Oldest, c.Newest = policy, 0, time.Time{}, time.Time{}
	var last time.Time
	for _, m := range all {
		if !has(m) {
			continue
		}
		if c.Oldest.IsZero() {
			c.Oldest = m.At
		}
		if c.Generations == 0 || m.At.Sub(last) >= apart {
			c.Generations, last = c.Generations+1, m.At
		}
		c.Newest = m.At
	}
	return c
}

// How old the newest backup in a copy may be. The ministry's rule names no age;
// its template of a continuity plan writes to tapes and disks every 7 days
// (reference/legal.md §3.4), of which a month allows for one that is forgotten.
const (
	takenAge  = 31 * day
	leastAge  = 3 * day // of a copy that is made of the hub's, in its own time
	intervals = 3       // of the schedule
)

// CopyAge is how old the newest backup in a copy may be until the copy counts no
// more.
func (p Policy) CopyAge(m Medium) time.Duration {
	age := max(intervals*p.Schedule.longest(), p.Allowed())
	switch m {
	case Taken:
		return max(age, takenAge)
	case AtHub:
		return age
	}
	return max(age, leastAge)
}
