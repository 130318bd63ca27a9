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

// Evaluate says what the law asks for, given the facts alone: nobody decided
// or signed anything.
func Evaluate(r Rules, f Facts, now time.Time) Assessment { return r.judge(f, nil, now) }

// judge says what the law asks for, given facts and decisions. It is pure:
// equal arguments give equal results. What is not known is taken as possible,
// and its clocks run as a precaution (Clock.Applies Unknown).
func (r Rules) judge(stated Facts, decided []Decision, now time.Time) Assessment {
	start, fact := begin(stated, now)
	f, derived, reviews := r.derive(stated, decided, start)
	c := &judgement{rules: r, facts: f, derived: derived, start: start, fact: fact, anyDuty: No, Assessment: Assessment{Facts: stated, Triggers: []Trigger{}, Clocks: []Clock{}, Missing: r.Missing(stated),
		MadeAt: now, Rules: r.Name(), Notes: []string{}, Derived: derived, Reviews: reviews, MissingForm: missingForm(stated), Exempt: r.exempt(stated, lastSign(decided)), Counted: counted(stated)}}
	for _, regime := range r.Regimes {
		if regime.holds(c.start) {
			c.regime(regime)
		}
	}
	if f.Contractor != "" && c.anyDuty != No {
		c.Clocks = append(c.Clocks, r.contractorClock(f, c.anyDuty, c.start))
		if f.NotifiedAt.IsZero() {
			c.note("duty.note.contractor-reports-itself")
		}
	}
	if c.anyDuty != No {
		c.Clocks = append(c.Clocks, r.noticeClock(decided, c.anyDuty, c.start, c.fact))
	}
	slices.SortStableFunc(c.Clocks, func(x, y Clock) int { return x.Due.Compare(y.Due) })
	c.Ask = r.ask(f, c.Triggers)
	c.Notes = append(c.Notes, r.notes(c.Assessment, c.anyDuty, start)...)
	return c.Assessment
}

// judgement is an assessment while it is made. facts are with what follows from
// the tables; Assessment.Facts is what people said.
type judgement struct {
	Assessment
	rules   Rules
	facts   Facts
	derived []Derived
	start   time.Time
	fact    string
	anyDuty Answer
}

func (c *judgement) note(key string) { c.Notes = append(c.Notes, key) }

func (c *judgement) regime(regime Regime) {
	triggers := triggersOf(regime, c.facts, c.Exempt.Holds, c.derived)
	if triggers == nil { // a body that this regime is not about
		return
	}
	c.Triggers = append(c.Triggers, triggers...)
	applies := No
	for _, t := range triggers {
		applies = either(applies, t.Applies)
	}
	gate, _ := regime.gate(c.facts, c.Exempt.Holds)
	if regime.Below == tryToReport && applies == No && gate == Yes {
		c.note("duty.note.try-to-report")
	}
	c.anyDuty = either(c.anyDuty, applies)
	if applies != No {
		c.Clocks = append(c.Clocks, c.rules.clocks(regime, triggers, applies, c.start, c.fact, c.facts)...)
	}
}

func lastSign(decided []Decision) *Decision {
	for _, d := range slices.Backward(decided) {
		if d.Kind == KindExemption {
			return &d
		}
	}
	return nil
}

// counted is whose knowledge the own day 1 follows from.
func counted(f Facts) *Knowledge {
	for _, k := range f.Knowledge { // sorted by time
		if k.Side == OwnSide && k.At.Equal(f.KnownAt) {
			return &k
		}
	}
	return nil
}

// missingForm are the fields of the common form that are still empty.
func missingForm(f Facts) []string {
	missing := []string{}
	add := func(a Answer, ids []string) {
		for _, id := range ids {
			if text, _ := f.Common.Field(id); a == Yes && text == "" {
				missing = append(missing, id)
			}
		}
	}
	add(f.answer("ransomware"), RansomFields())
	add(f.answer("ddos"), DDoSFields())
	return missing
}

// ask lists the questions whose answer would settle something: gates and
// triggers that are open, and the first question of the tables.
func (r Rules) ask(f Facts, triggers []Trigger) []string {
	open := map[string]bool{}
	for _, regime := range r.Regimes {
		for _, rule := range regime.Triggers {
			i := slices.IndexFunc(triggers, func(t Trigger) bool { return t.Regime == regime.ID && t.ID == rule.ID })
			if i >= 0 && triggers[i].Applies == Unknown {
				open[regime.Gate], open[rule.When] = true, true
			}
		}
	}
	for _, t := range r.Tables {
		for _, row := range t.Rows {
			for name := range row.If {
				if row.askFor(f, name) {
					open[name] = true
				}
			}
		}
	}
	ask := []string{}
	for _, name := range FactNames() {
		if open[name] && f.answer(name) == Unknown {
			ask = append(ask, name)
		}
	}
	if open[anyIndicator] && f.answer(anyIndicator) == Unknown && !slices.Contains(ask, "no_indicator") {
		ask = append(ask, "no_indicator")
	}
	if f.Confirmed == 0 && f.Maximum == 0 && open[personCount] {
		ask = append(ask, FieldPersons)
	}
	return ask
}

// askFor says whether only this answer is missing for the row, and that the
// row is about something that happened.
func (row Row) askFor(f Facts, name string) bool {
	if len(row.If) == 1 || f.answer(name) != Unknown {
		return false
	}
	for other, want := range row.If {
		if other != name && f.answer(other) != want {
			return false
		}
	}
	return true
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
func (r Regime) gate(f Facts, exempt bool) (Answer, string) {
	own := f.answer(r.Gate)
	if own == Unknown && f.answer("personal") == No && f.answer("misuse") != Yes { // no personal data at all, so none of the special kind
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
	case exempt:
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
func triggersOf(r Regime, f Facts, exempt bool, derived []Derived) []Trigger {
	gate, why := r.gate(f, exempt)
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
			t.Because = because(rule.When, own, derived)
		}
		all = append(all, t)
	}
	return all
}

// because says why a trigger is answered as it is: what people said, or the
// row of a table that it follows from.
func because(fact string, a Answer, derived []Derived) string {
	for _, d := range derived {
		if d.Fact == fact && d.Stated == Unknown && d.Answer == a {
			return "duty.row." + d.Row
		}
	}
	return fmt.Sprintf("duty.because.%s-%s", fact, a)
}

func (r Rules) clocks(regime Regime, triggers []Trigger, applies Answer, start time.Time, fact string, f Facts) []Clock {
	first := r.Counting.Prompt.on(start)
	prompt := r.clock(first, start, first.LastDay)
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
		c := r.clock(r.Counting.Final.on(start), start, s.days)
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
	count := r.Counting.Contractor.on(known)
	c := r.clock(count, known, count.LastDay)
	c.ID, c.Regime, c.Kind, c.Applies, c.Fact, c.DoneAt = "contractor.notice", "contractor", KindContractor, applies, fact, f.doneAt(KindContractor)
	c.Basis += " [" + count.Confidence + "]"
	return c
}

// notes are what a person should know beside the clocks, as catalogue keys.
func (r Rules) notes(a Assessment, anyDuty Answer, start time.Time) []string {
	var notes []string
	switch {
	case a.Exempt.Holds:
		notes = append(notes, "duty.note.encryption")
	case a.Exempt.Claimed:
		notes = append(notes, "duty.note.encryption-open")
	}
	if len(a.Reviews) > 0 {
		notes = append(notes, "duty.note.review")
	}
	if slices.ContainsFunc(a.Derived, func(d Derived) bool { return d.Stated != Unknown }) {
		notes = append(notes, "duty.note.contradiction")
	}
	if len(a.Triggers) == 0 && !slices.ContainsFunc(r.Regimes, func(g Regime) bool { return g.holds(start) }) {
		notes = append(notes, "duty.note.no-rules")
	}
	if a.Facts.P2P == Yes && a.Facts.Shared == No {
		notes = append(notes, "duty.note.p2p-policy")
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
