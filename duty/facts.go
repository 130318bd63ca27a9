package duty

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/fault"
)

// Names of facts as the rules use them.
const (
	personCount = "person_count"
	tryToReport = "try_to_report"
)

// factNames are the facts that every statement answers.
var factNames = [...]string{"personal", "sensitive", "property", "bad_intent", "public", "my_number", "public_system", "encrypted"}

// laterNames are those that came later: unknown ones are not stored.
var laterNames = [...]string{"misuse", "local_sensitive", "ransomware", "identical_copy", "p2p", "shared", "for_gain", "ddos", "no_indicator"}

// Names of answers that follow from others.
const anyIndicator = "any_indicator"

// FactNames are the names of all questions that are answered yes, no or
// unknown, in the order in which they are asked.
func FactNames() []string {
	return []string{"personal", "sensitive", "my_number", "bad_intent", "property", "public", "public_system", "misuse", "local_sensitive",
		"ransomware", "identical_copy", "p2p", "shared", "for_gain", "ddos", "no_indicator", "encrypted"}
}

func known(name string) bool {
	return slices.Contains(factNames[:], name) || slices.Contains(laterNames[:], name) || name == anyIndicator
}

// Answer returns the answer to a question by its name.
func (f Facts) Answer(name string) Answer { return f.answer(name) }

// Set gives the answer to a question by its name. An unknown name is ignored.
func (f *Facts) Set(name string, a Answer) {
	if p := f.at(name); p != nil {
		*p = a
	}
}

// answer returns the answer to the fact that a rule names; an empty one is
// Unknown.
func (f Facts) answer(name string) Answer {
	if name == anyIndicator {
		switch {
		case len(f.Indicators) > 0:
			return Yes
		case f.NoIndicator == Yes:
			return No
		}
		return Unknown
	}
	if p := f.at(name); p != nil && *p != "" {
		return *p
	}
	return Unknown
}

func (f *Facts) at(name string) *Answer {
	return map[string]*Answer{
		"personal": &f.Personal, "sensitive": &f.Sensitive, "property": &f.Property, "bad_intent": &f.BadIntent,
		"public": &f.Public, "my_number": &f.MyNumber, "public_system": &f.PublicSystem, "encrypted": &f.Encrypted,
		"misuse": &f.Misuse, "local_sensitive": &f.LocalSensitive, "ransomware": &f.Ransomware, "identical_copy": &f.IdenticalCopy,
		"p2p": &f.P2P, "shared": &f.Shared, "for_gain": &f.ForGain, "ddos": &f.DDoS, "no_indicator": &f.NoIndicator,
	}[name]
}

// atLeast answers whether n persons or more are concerned. When the number is
// not known, the largest possible one counts (guideline 3-5-3-1).
func (f Facts) atLeast(n int) Answer {
	switch {
	case f.Confirmed >= n, f.Maximum >= n:
		return Yes
	case f.Maximum > 0:
		return No
	case n == 1: // whether there is data of a person at all is the question of the gate
		return Yes
	}
	return Unknown
}

// both is Yes when a and b are, No when one of them is.
func both(a, b Answer) Answer {
	switch {
	case a == No || b == No:
		return No
	case a == Yes && b == Yes:
		return Yes
	}
	return Unknown
}

// either is Yes when a or b is, No when both are.
func either(a, b Answer) Answer {
	switch {
	case a == Yes || b == Yes:
		return Yes
	case a == No && b == No:
		return No
	}
	return Unknown
}

// FieldPersons is the report field that follows from the two counts.
const FieldPersons = "persons"

// Field returns the text of one report field by its id (the JSON name).
func (i Items) Field(id string) (text string, ok bool) {
	p := i.field(id)
	if p == nil {
		return "", false
	}
	return *p, true
}

// Fields returns the ids of all text fields in the order of the report.
func (Items) Fields() []string {
	return []string{"occurred", "found", "event", "finder", "medium", "data_kind", "data_items", "cause", "cause_party",
		"secondary", "person_care", "publication", "done", "planned", "other"}
}

func (i *Items) field(id string) *string {
	return map[string]*string{
		"occurred": &i.Occurred, "found": &i.Found, "event": &i.Event, "finder": &i.Finder, "medium": &i.Medium,
		"data_kind": &i.DataKind, "data_items": &i.DataItems, "cause": &i.Cause, "cause_party": &i.CauseParty,
		"secondary": &i.Secondary, "person_care": &i.PersonCare, "publication": &i.Publication, "done": &i.Done,
		"planned": &i.Planned, "other": &i.Other,
	}[id]
}

// Missing returns the ids of the report fields that are still empty, in the
// order of the report.
func (r Rules) Missing(f Facts) []string {
	missing := []string{}
	for _, it := range r.Items {
		for _, id := range it.Fields {
			if id == FieldPersons {
				if f.Confirmed == 0 && f.Maximum == 0 {
					missing = append(missing, id)
				}
				continue
			}
			if text, _ := f.Items.Field(id); text == "" {
				missing = append(missing, id)
			}
		}
	}
	return missing
}

// skew is how far ahead of the hub the clock of whoever states a fact may be.
const skew = 2 * time.Minute

// longest is how many characters one report field may have.
const longest = 4000

// checkFacts says what a person stated that cannot be right.
func (r Rules) checkFacts(f Facts, now time.Time) error {
	for _, name := range FactNames() {
		if !f.answer(name).valid() {
			return fault.New(fault.Invalid, "duty.answer-unknown", name)
		}
	}
	if err := r.checkStated(f); err != nil {
		return err
	}
	for _, at := range f.times() {
		if at.After(now.Add(skew)) {
			return fault.New(fault.Invalid, "duty.future")
		}
	}
	for _, id := range f.Items.Fields() {
		if text, _ := f.Items.Field(id); utf8.RuneCountInString(text) > longest {
			return fault.New(fault.Invalid, "duty.too-long", id, longest)
		}
	}
	switch {
	case f.KnownAt.IsZero():
		return fault.New(fault.Invalid, "duty.known-missing")
	case f.filedBeforeKnown():
		return fault.New(fault.Invalid, "duty.filed-early")
	case f.LegalClass != "" && !slices.Contains(r.LegalClasses.Known, f.LegalClass):
		return fault.New(fault.Invalid, "duty.class-unknown", f.LegalClass)
	case f.Confirmed < 0 || f.Maximum < 0 || f.Maximum > 0 && f.Confirmed > f.Maximum:
		return fault.New(fault.Invalid, "duty.count")
	case f.Contractor == "" && !f.NotifiedAt.IsZero():
		return fault.New(fault.Invalid, "duty.no-contractor")
	}
	return nil
}

func (a Answer) valid() bool { return a == Yes || a == No || a == Unknown }

// checkStated looks at what people write beside answers.
func (r Rules) checkStated(f Facts) error {
	for name, a := range f.Exemption.answers() {
		if *a != "" && !a.valid() {
			return fault.New(fault.Invalid, "duty.answer-unknown", name)
		}
	}
	if f.Common.NCO != "" && !f.Common.NCO.valid() {
		return fault.New(fault.Invalid, "duty.answer-unknown", "nco_sharing")
	}
	for _, id := range f.Indicators {
		if !slices.ContainsFunc(r.Indicators, func(i Indicator) bool { return i.ID == id }) {
			return fault.New(fault.Invalid, "duty.indicator-unknown", id)
		}
	}
	if len(f.Indicators) > 0 && f.NoIndicator == Yes {
		return fault.New(fault.Invalid, "duty.indicator-none")
	}
	if len(f.Knowledge) > maxKnowledge {
		return fault.New(fault.Invalid, "duty.knowledge-many", maxKnowledge)
	}
	for _, k := range f.Knowledge {
		switch {
		case k.Who == "" || k.At.IsZero() || k.Side != OwnSide && k.Side != ContractorSide:
			return fault.New(fault.Invalid, "duty.knowledge")
		case k.Side == ContractorSide && f.Contractor == "":
			return fault.New(fault.Invalid, "duty.no-contractor")
		}
	}
	for id, text := range f.texts() {
		if utf8.RuneCountInString(*text) > longest {
			return fault.New(fault.Invalid, "duty.too-long", id, longest)
		}
	}
	return nil
}

// maxKnowledge is how many departments and persons one statement names.
const maxKnowledge = 50

func (f Facts) times() []time.Time {
	all := []time.Time{f.KnownAt, f.NotifiedAt, f.ContractorKnownAt, f.PromptFiledAt, f.FinalFiledAt}
	for _, k := range f.Knowledge {
		all = append(all, k.At)
	}
	return all
}

// texts are what people write beside the report items, by the name of its field.
func (f *Facts) texts() map[string]*string {
	all := map[string]*string{"algorithm": &f.Exemption.Algorithm, "evidence": &f.Exemption.Evidence}
	for id, p := range f.Common.fields() {
		all[id] = p
	}
	for i := range f.Knowledge {
		all[fmt.Sprintf("knowledge.%d.who", i+1)], all[fmt.Sprintf("knowledge.%d.what", i+1)] = &f.Knowledge[i].Who, &f.Knowledge[i].What
	}
	return all
}

func (c *Common) fields() map[string]*string {
	return map[string]*string{"ransom_note": &c.Note, "extension": &c.Extension, "family": &c.Family, "entry_method": &c.Entry, "indicators": &c.Indicators,
		"gbps": &c.Gbps, "pps": &c.PPS, "duration": &c.Duration, "attack_type": &c.AttackType}
}

// Field returns one field of the common forms by its JSON name.
func (c Common) Field(id string) (string, bool) {
	p := c.fields()[id]
	if p == nil {
		return "", false
	}
	return *p, true
}

// Set writes one field of the common forms. An unknown name is ignored.
func (c *Common) Set(id, text string) {
	if p := c.fields()[id]; p != nil {
		*p = text
	}
}

func (p *Proof) answers() map[string]*Answer {
	return map[string]*Answer{"listed": &p.Listed, "unreadable": &p.Unreadable, "key_apart": &p.KeyApart, "key_safe": &p.KeySafe, "wiped": &p.Wiped,
		"key_unusable": &p.KeyUnusable, "by_attacker": &p.ByAttacker}
}

// Answer returns one answer of the proof by its JSON name.
func (p Proof) Answer(name string) Answer {
	if a := p.answers()[name]; a != nil && *a != "" {
		return *a
	}
	return Unknown
}

// Set gives one answer of the proof. An unknown name is ignored.
func (p *Proof) Set(name string, a Answer) {
	if at := p.answers()[name]; at != nil {
		*at = a
	}
}

// filedBeforeKnown says whether a report is said to be older than what it
// reports. The form has minutes: the minute of the knowledge itself may be.
func (f Facts) filedBeforeKnown() bool {
	for _, at := range []time.Time{f.PromptFiledAt, f.FinalFiledAt} {
		if !at.IsZero() && at.Before(f.KnownAt.Truncate(time.Minute)) {
			return true
		}
	}
	return false
}

// doneAt is when the deadline of a kind of clock was met, as far as stated.
func (f Facts) doneAt(kind string) time.Time {
	switch kind {
	case KindPrompt:
		return f.PromptFiledAt
	case KindFinal, KindFinalOther:
		return f.FinalFiledAt
	case KindNotice: // its decisions say so
		return time.Time{}
	}
	return f.NotifiedAt
}
