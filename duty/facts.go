package duty

import (
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

var factNames = [...]string{"personal", "sensitive", "property", "bad_intent", "public", "my_number", "public_system", "encrypted"}

// answer returns the answer to the fact that a rule names; an empty one is
// Unknown.
func (f Facts) answer(name string) Answer {
	a := map[string]Answer{
		"personal": f.Personal, "sensitive": f.Sensitive, "property": f.Property, "bad_intent": f.BadIntent,
		"public": f.Public, "my_number": f.MyNumber, "public_system": f.PublicSystem, "encrypted": f.Encrypted,
	}[name]
	if a == "" {
		return Unknown
	}
	return a
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
	for _, name := range factNames {
		if !slices.Contains([]Answer{Yes, No, Unknown}, f.answer(name)) {
			return fault.New(fault.Invalid, "duty.answer-unknown", name)
		}
	}
	for _, at := range []time.Time{f.KnownAt, f.NotifiedAt, f.ContractorKnownAt, f.PromptFiledAt, f.FinalFiledAt} {
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
	}
	return f.NotifiedAt
}
