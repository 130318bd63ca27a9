package notify

import (
	"slices"
	"strings"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Chain says who is told of what, in which order.
type Chain struct {
	ID     string         `json:"id"`
	Name   string         `json:"name"`   // also what @tell of a standing policy may name
	Site   string         `json:"site"`   // "": all sites
	Least  event.Severity `json:"least"`  // of this severity or higher
	Rules  []string       `json:"rules"`  // ids of alert rules; none: all
	Drills bool           `json:"drills"` // drills are told too
	Steps  []Step         `json:"steps"`
	Repeat int            `json:"repeat"` // how often it begins anew when nobody answered
	SetBy  string         `json:"set_by,omitempty"`
}

// Step is one stage of a chain.
type Step struct {
	OnCall   int      `json:"on_call"`      // so many of those on call, in their order
	People   []string `json:"people"`       // and these, by id
	Channels []string `json:"channels"`     // ids; rooms are told themselves
	Wait     int      `json:"wait_minutes"` // until the next step
}

// Bounds of a chain.
const (
	maxSteps  = 10
	maxRepeat = 20
	maxPeople = 50
	maxWait   = 24 * 60 // minutes
)

func (c Chain) check() error {
	switch {
	case c.Name == "" || !plain(c.Name, maxName):
		return fault.New(fault.Invalid, "notify.name")
	case c.Least < event.Info || c.Least > event.Critical:
		return fault.New(fault.Invalid, "notify.level")
	case len(c.Rules) > 50 || slices.ContainsFunc(c.Rules, func(r string) bool { return r == "" || !plain(r, 200) }):
		return fault.New(fault.Invalid, "notify.rules")
	case len(c.Steps) == 0 || len(c.Steps) > maxSteps:
		return fault.New(fault.Invalid, "notify.steps", maxSteps)
	case c.Repeat < 0 || c.Repeat > maxRepeat:
		return fault.New(fault.Invalid, "notify.repeat", maxRepeat)
	}
	for i, s := range c.Steps {
		if err := s.check(i + 1); err != nil {
			return err
		}
	}
	return nil
}

func (s Step) check(no int) error {
	switch {
	case len(s.Channels) == 0 || len(s.Channels) > maxPeople:
		return fault.New(fault.Invalid, "notify.step-channels", no)
	case s.OnCall < 0 || s.OnCall > maxOrder || len(s.People) > maxPeople:
		return fault.New(fault.Invalid, "notify.step-people", no)
	case s.Wait < 1 || s.Wait > maxWait:
		return fault.New(fault.Invalid, "notify.step-wait", no)
	}
	return nil
}

// takes says whether the chain is for a cause.
func (c Chain) takes(x Cause) bool {
	return (c.Site == "" || c.Site == x.Site) && x.Severity >= c.Least && (!x.Drill || c.Drills) &&
		(len(c.Rules) == 0 || slices.Contains(c.Rules, x.Rule))
}

// rank orders chains that take the same cause: one for the rule before one for
// the site before one for higher severities only.
func (c Chain) rank() int {
	r := int(c.Least)
	if c.Site != "" {
		r += 100
	}
	if len(c.Rules) > 0 {
		r += 200
	}
	return r
}

// choose returns the chain for a cause: the one that was asked for, else the one
// that a standing policy names, else the most special one that takes it. Chains
// of equal rank are taken by their id, the oldest first.
func choose(all []Chain, x Cause) (Chain, bool) {
	if x.Chain != "" {
		return pick(all, func(c Chain) bool { return c.ID == x.Chain })
	}
	if x.Tell != "" {
		if c, ok := pick(all, func(c Chain) bool { return (c.Site == "" || c.Site == x.Site) && strings.Contains(x.Tell, c.Name) }); ok {
			return c, true
		}
	}
	return pick(all, func(c Chain) bool { return c.takes(x) })
}

func pick(all []Chain, want func(Chain) bool) (best Chain, ok bool) {
	for _, c := range all {
		if want(c) && (!ok || c.rank() > best.rank() || c.rank() == best.rank() && c.ID < best.ID) {
			best, ok = c, true
		}
	}
	return best, ok
}
