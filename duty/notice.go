package duty

import (
	"time"

	"github.com/sonae/sonae/clock"
)

// KindNotice is the clock of the next decision about the notice to the persons
// concerned: the law has no day for the notice itself, so that what is due is
// to decide, and to write down why not yet.
const KindNotice = "person_notice"

// noticeClock runs from the last decision, or from the beginning. A decision
// that ends the matter meets it.
func (r Rules) noticeClock(decided []Decision, applies Answer, start time.Time, fact string) Clock {
	n := r.PersonNotice
	c := Clock{ID: "person.notice", Regime: "person_notice", Kind: KindNotice, Days: n.ReviewHours / 24, From: start.In(clock.Tokyo()), Applies: applies, Guide: true, Fact: fact,
		Basis: n.Source + " [" + n.Confidence + "]"}
	for _, d := range decided {
		if d.Kind != KindNotify {
			continue
		}
		c.From, c.Fact, c.DoneAt = d.At.In(clock.Tokyo()), "duty.fact.decided", time.Time{}
		if d.Choice == Notified || d.Choice == NotNeeded {
			c.DoneAt = d.At
		}
	}
	c.Due = c.From.Add(time.Duration(n.ReviewHours) * time.Hour)
	c.Raw = c.Due
	return c
}
