// Package lease counts how long a containment on this machine still lasts.
//
// In: a duration and the wall clock. Out: what is left of it. Always true: it
// never gets longer than it was given (in the kernel: than a tick more), whatever
// is done to the wall clock, and it goes on counting over a reboot.
package lease

import "time"

// Lease is a time that runs out. The zero value has run out.
type Lease struct {
	AppliedAt time.Time     `json:"applied_at"`
	EndsAt    time.Time     `json:"ends_at"` // by the wall clock, for people and across a reboot
	Boot      string        `json:"boot"`    // boot id in which EndsUp counts
	EndsUp    time.Duration `json:"ends_up"` // by the clock since boot, which nobody can set
}

// New begins a lease now.
func New(d time.Duration, now time.Time) Lease {
	return Lease{AppliedAt: now.UTC(), EndsAt: now.Add(d).UTC(), Boot: bootID(), EndsUp: uptime() + d}
}

// tick is the longest tick of a Linux kernel: 100 in a second.
const tick = 10 * time.Millisecond

// InKernel is the timeout that the kernel is given for what is left of a lease,
// never none. The kernel counts from the tick that has begun, so that without
// one tick more a lease would end up to a tick early; ended late it harms nobody.
func InKernel(left time.Duration) time.Duration { return max(left, time.Millisecond) + tick }

// Left is how long the lease still runs; not above zero means it is over.
func (l Lease) Left(now time.Time) time.Duration {
	if id := bootID(); id != "" && id == l.Boot {
		return l.EndsUp - uptime()
	}
	return min(l.EndsAt.Sub(now), l.EndsAt.Sub(l.AppliedAt))
}

// Rebase makes the lease count by the clock since boot again after a reboot.
// The wall clock of a machine without a working battery may have lost years:
// the lease never gets longer than it was, and runs out whatever that clock
// says.
func (l *Lease) Rebase(now time.Time) {
	id := bootID()
	if id == "" || id == l.Boot {
		return
	}
	left := min(l.EndsAt.Sub(now), l.EndsAt.Sub(l.AppliedAt))
	l.Boot, l.EndsUp = id, uptime()+left
}
