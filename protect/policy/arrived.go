package policy

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
)

// Arrived tells which of the snapshots that a machine speaks of its repository
// has not received since a time. An error: nobody can say now. Where nobody at
// this hub can ever say, it names none.
type Arrived func(ctx context.Context, host string, since time.Time, ids []string) (missing []string, err error)

const (
	// askAgain is how long an answer is not taken because the repository cannot be
	// asked. The machine tells it again; what else it has to tell waits behind it,
	// so that it cannot be for ever.
	askAgain = 30 * time.Minute
	// hubsApart is how much the clocks of two hubs may differ: one orders, another
	// one receives.
	hubsApart = time.Minute
	// mostNamed bounds the snapshots that a run names as missing.
	mostNamed = 10
)

// unconfirmed is why a job came to nothing whatever its machine says of it: whoever
// owns the machine can have it say anything every night, and what the hub itself
// received is the only thing that it cannot make up. Empty: nothing speaks against
// it.
func (d *Desk) unconfirmed(ctx context.Context, r Run, told job.Result) (why, detail string, _ error) {
	bare, err := d.bareSources(ctx, r, told)
	if err != nil {
		return "", "", err
	}
	if len(bare) > 0 {
		return whyNothing, someOf(bare), nil
	}
	var ids []string
	for _, s := range told.Sources {
		for _, x := range s.Snapshots {
			ids = append(ids, x.ID)
		}
	}
	if len(ids) == 0 || d.deps.Arrived == nil {
		return "", "", nil
	}
	since := r.Ordered
	if since.IsZero() {
		since = r.Queued
	}
	missing, err := d.deps.Arrived(ctx, r.Host, since.Add(-hubsApart), ids)
	switch {
	case err != nil && (ctx.Err() != nil || !d.askedLong(r.ID)):
		return "", "", fault.New(fault.Busy, "protect.policy.not-asked").With(err)
	case err != nil:
		return whyNotAsked, err.Error(), nil
	}
	d.forget(r.ID)
	if len(missing) == 0 {
		return "", "", nil
	}
	for i, id := range missing {
		missing[i] = Short(id)
	}
	return whyNotReceived, someOf(missing), nil
}

// made says whether a state claims a snapshot. There is no kind of source that is
// done without one.
func made(s job.State) bool { return s == job.OK || s == job.Partial }

// bareSources are the names of those of a job that is said to be done which have no
// snapshot.
func (d *Desk) bareSources(ctx context.Context, r Run, told job.Result) (names []string, _ error) {
	has := map[string]bool{}
	for _, s := range told.Sources {
		if has[s.Name] = len(s.Snapshots) > 0; !has[s.Name] && made(s.State) {
			names = append(names, s.Name)
		}
	}
	if !made(told.State) {
		return names, nil
	}
	p, err := d.version(ctx, r.Policy, r.Wrote)
	if err != nil {
		return nil, err
	}
	for _, s := range p.Sources { // also those of which it does not speak
		if !has[s.Name] {
			names = append(names, s.Name)
		}
	}
	return sorted(names), nil
}

// someOf names the first of many; they come from the machine.
func someOf(all []string) string {
	text := strings.Join(all[:min(len(all), mostNamed)], ", ")
	if more := len(all) - mostNamed; more > 0 {
		text += " +" + strconv.Itoa(more)
	}
	clean(&text, maxText)
	return text
}

// askedLong notes that nobody could say what arrived of a run, and says whether
// that has been so for long.
func (d *Desk) askedLong(run string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, ok := d.unasked[run]
	if !ok {
		d.unasked[run] = d.moment()
		return false
	}
	if d.moment().Sub(first) < askAgain {
		return false
	}
	delete(d.unasked, run)
	return true
}

func (d *Desk) forget(run string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.unasked, run)
}

// unproved are the reasons for which nothing that a machine says makes a backup.
func unproved(why string) bool {
	return slices.Contains([]string{whyNotReceived, whyNothing, whyNotAsked}, why)
}
