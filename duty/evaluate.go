package duty

import (
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/clock"
)

// Kinds of clocks.
const (
	KindPrompt     = "prompt"            // 速報
	KindFinal      = "final"             // 確報
	KindFinalOther = "final_alternative" // 確報 if it turns out otherwise
	KindContractor = "contractor"        // 委託先 → 委託元
)

// Evaluate says what the law asks for, given the facts. It is pure: equal
// arguments give equal results. What is not known is taken as possible, and
// its clocks run as a precaution (Clock.Applies Unknown).
func Evaluate(r Rules, f Facts, now time.Time) Assessment {
	a := Assessment{Facts: f, Triggers: []Trigger{}, Clocks: []Clock{}, Missing: r.Missing(f), MadeAt: now, Rules: r.Name(), Notes: []string{}}
	start, fact := begin(f, now)
	anyDuty := No
	for _, regime := range r.Regimes {
		if start.Before(regime.From.Time) || !regime.Until.IsZero() && !start.Before(regime.Until.Time) {
			continue
		}
		triggers := triggersOf(regime, f)
		if triggers == nil { // a body that this regime is not about
			continue
		}
		a.Triggers = append(a.Triggers, triggers...)
		applies := No
		for _, t := range triggers {
			applies = either(applies, t.Applies)
		}
		gate, _ := regime.gate(f)
		if regime.Below == tryToReport && applies == No && gate == Yes && f.answer(regime.ExemptIf) != Yes {
			a.Notes = append(a.Notes, "duty.note.try-to-report")
		}
		anyDuty = either(anyDuty, applies)
		if applies != No {
			a.Clocks = append(a.Clocks, r.clocks(regime, triggers, applies, start, fact, f)...)
		}
	}
	if f.Contractor != "" && anyDuty != No {
		a.Clocks = append(a.Clocks, r.contractorClock(f, anyDuty, start))
		if f.NotifiedAt.IsZero() {
			a.Notes = append(a.Notes, "duty.note.contractor-reports-itself")
		}
	}
	slices.SortStableFunc(a.Clocks, func(x, y Clock) int { return x.Due.Compare(y.Due) })
	a.Notes = append(a.Notes, r.notes(a, anyDuty)...)
	return a
}

// begin is when day 1 of the one who reports began, and the fact that says so:
// the own knowledge, and at the latest what the contractor told.
func begin(f Facts, now time.Time) (time.Time, string) {
	switch {
	case f.KnownAt.IsZero() && f.NotifiedAt.IsZero():
		return now, "duty.fact.unknown"
	case f.KnownAt.IsZero(), !f.NotifiedAt.IsZero() && f.NotifiedAt.Before(f.KnownAt):
		return f.NotifiedAt, "duty.fact.notified"
	}
	return f.KnownAt, "duty.fact.known"
}

// gate answers whether the regime is about this incident at all, and why.
func (r Regime) gate(f Facts) (Answer, string) {
	own := f.answer(r.Gate)
	if own == Unknown && f.answer("personal") == No { // no personal data at all, so none of the special kind
		own = No
	}
	class := Unknown
	switch {
	case slices.Contains(r.LegalClasses, f.LegalClass):
		class = Yes
	case f.LegalClass != "":
		class = No
	}
	switch {
	case class == No:
		return No, "duty.because.class-no"
	case own == No:
		return No, "duty.because." + r.Gate + "-no"
	case f.answer(r.ExemptIf) == Yes:
		return No, "duty.because." + r.ExemptIf + "-yes"
	case own == Unknown:
		return Unknown, "duty.because." + r.Gate + "-unknown"
	case class == Unknown:
		return Unknown, "duty.because.class-unknown"
	}
	return Yes, ""
}

// triggersOf answers each trigger of a regime; nil when the regime is not for
// this kind of body.
func triggersOf(r Regime, f Facts) []Trigger {
	gate, why := r.gate(f)
	if why == "duty.because.class-no" {
		return nil
	}
	var all []Trigger
	for _, rule := range r.Triggers {
		own := f.atLeast(rule.MinPersons)
		if rule.When != personCount {
			own = both(f.answer(rule.When), own)
		}
		t := Trigger{Regime: r.ID, ID: rule.ID, Applies: both(gate, own), Because: why}
		if gate == Yes || own == No && gate != No { // the trigger's own fact decides
			t.Because = fmt.Sprintf("duty.because.%s-%s", rule.When, own)
		}
		all = append(all, t)
	}
	return all
}

func (r Rules) clocks(regime Regime, triggers []Trigger, applies Answer, start time.Time, fact string, f Facts) []Clock {
	prompt := r.clock(r.Counting.Prompt, start, r.Counting.Prompt.LastDay)
	prompt.Kind, prompt.Applies = KindPrompt, applies
	all := []Clock{prompt}

	usual, intent := span{answer: No}, span{answer: No} // 30 days and 60 days
	for i, rule := range regime.Triggers {
		s := &usual
		if rule.BadIntent {
			s = &intent
		}
		s.days = max(s.days, rule.FinalDays)
		s.answer = either(s.answer, triggers[i].Applies)
	}
	for _, s := range finals(usual, intent) {
		c := r.clock(r.Counting.Final, start, s.days)
		c.Kind, c.Applies = s.kind, s.answer
		all = append(all, c)
	}
	for i := range all {
		all[i].ID, all[i].Regime, all[i].Fact = regime.ID+"."+all[i].Kind, regime.ID, fact
		all[i].DoneAt = f.doneAt(all[i].Kind)
		all[i].Basis = regime.Law + " / " + regime.Rule + " / " + all[i].Basis + " [" + regime.Confidence + "]"
	}
	return all
}

// span is one possible length of the final report's time.
type span struct {
	kind   string
	days   int
	answer Answer
}

// finals chooses which final clock counts and which is shown beside it. With
// bad intent the longer time holds, and the shorter one is shown because a
// later finding may take the intent away; while the intent is unknown the
// shorter one counts.
func finals(usual, intent span) []span {
	switch {
	case intent.answer == Yes && usual.days > 0:
		return []span{{KindFinal, intent.days, Yes}, {KindFinalOther, usual.days, Unknown}}
	case usual.answer == No || usual.days == 0:
		return []span{{KindFinal, intent.days, intent.answer}}
	case intent.answer == Unknown:
		return []span{{KindFinal, usual.days, usual.answer}, {KindFinalOther, intent.days, Unknown}}
	}
	return []span{{KindFinal, usual.days, usual.answer}}
}

// clock counts one deadline. The target is never later than the last moment,
// which happens when that was moved forward.
func (r Rules) clock(c Count, start time.Time, days int) Clock {
	raw := nth(start, days)
	due := r.slide(c.Closed, start, raw)
	out := Clock{From: start.In(clock.Tokyo()), Raw: endOf(raw), Due: endOf(due), Days: days, Slid: !due.Equal(raw), Guide: c.Guide, Basis: c.Source}
	switch {
	case c.TargetHours > 0:
		out.Target = out.From.Add(time.Duration(c.TargetHours) * time.Hour)
	case c.TargetDay > 0:
		out.Target = endOf(nth(start, c.TargetDay))
	}
	if out.Target.After(out.Due) {
		out.Target = out.Due
	}
	return out
}

func (r Rules) contractorClock(f Facts, applies Answer, start time.Time) Clock {
	fact := "duty.fact.contractor-known"
	known := f.ContractorKnownAt
	if known.IsZero() {
		known, fact = start, "duty.fact.known"
	}
	c := r.clock(r.Counting.Contractor, known, r.Counting.Contractor.LastDay)
	c.ID, c.Regime, c.Kind, c.Applies, c.Fact, c.DoneAt = "contractor.notice", "contractor", KindContractor, applies, fact, f.doneAt(KindContractor)
	c.Basis += " [" + r.Counting.Contractor.Confidence + "]"
	return c
}

// notes are what a person should know beside the clocks, as catalogue keys.
func (r Rules) notes(a Assessment, anyDuty Answer) []string {
	var notes []string
	if a.Facts.answer("encrypted") == Yes {
		notes = append(notes, "duty.note.encryption")
	}
	if anyDuty == No {
		return notes
	}
	notes = append(notes, "duty.note.person-notice", "duty.note.incomplete")
	missing, assumed := false, false
	for _, c := range a.Clocks {
		for _, t := range []time.Time{c.From, c.Raw, c.Due} {
			known, announced := r.Holidays.Covers(t.In(clock.Tokyo()).Year())
			missing, assumed = missing || !known, assumed || known && !announced
		}
	}
	if missing {
		notes = append(notes, "duty.note.holidays-missing")
	}
	if assumed {
		notes = append(notes, "duty.note.holidays-assumed")
	}
	return notes
}
