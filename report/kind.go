package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
)

// Audience is who reads a kind of document.
type Audience string

// Audiences.
const (
	Authority Audience = "authority" // 個人情報保護委員会, 厚生労働省, 警察 …
	Principal Audience = "principal" // 委託元
	Persons   Audience = "persons"   // 本人
	Public    Audience = "public"    // 報道, ウェブサイト, 来院者
	Inside    Audience = "inside"    // 組織内
)

// Outward says whether the reader is not used to forms: then the page for
// checking is a sheet of its own, which is kept and not sent.
func (a Audience) Outward() bool { return a == Persons || a == Public }

// Formats of files besides the page (HTML) and the data (JSON).
const (
	Docx = "docx"
	Xlsx = "xlsx"
	PDF  = "pdf"
	Txt  = "txt"
	STIX = "stix.json"
	MISP = "misp.json"
	JSON = "json"
)

// Serve names the clocks that a document meets: by regime (a prefix; empty:
// all) and kind.
type Serve struct{ Regime, Kind string }

// Why a document is needed that meets no clock.
const (
	whenSuspected = "suspected" // a duty applies or may apply
	whenSure      = "sure"      // a duty applies
	whenEnding    = "ending"    // the incident is over
	whenRunning   = "running"   // the incident is not over
	whenUseful    = ""          // people decide
)

// Kind is a sort of document. Its name and when it is needed are catalogue
// keys report.kind.<ID> and report.need.<ID>.
type Kind struct {
	ID       string   `json:"id"`
	Template string   `json:"template"` // of its page, see report/html
	Audience Audience `json:"audience"`
	TLP      string   `json:"tlp"` // TLP 2.0 label
	Serves   []Serve  `json:"-"`
	When     string   `json:"-"`
	Groups   bool     `json:"groups"` // one for each group of persons
	Formats  []string `json:"formats"`
}

// Kinds are all kinds in the order in which an incident needs them.
func Kinds() []Kind {
	paper := []string{Docx, PDF}
	form := []string{Docx, Xlsx, PDF}
	letter := []string{Docx, PDF, Txt}
	const amber, strict, clear = "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:CLEAR"
	return []Kind{
		{ID: "situation", Template: "situation", Audience: Inside, TLP: strict, When: whenRunning, Formats: form},
		{ID: "principal", Template: "principal", Audience: Principal, TLP: amber, Serves: []Serve{{"contractor", "contractor"}}, Formats: form},
		{ID: "first-call", Template: "first-call", Audience: Authority, TLP: amber, When: whenSuspected, Formats: paper},
		{ID: "police", Template: "police", Audience: Authority, TLP: amber, When: whenSuspected, Formats: form},
		{ID: "prompt", Template: "nine", Audience: Authority, TLP: amber, Serves: []Serve{{"appi", duty.KindPrompt}}, Formats: form},
		{ID: "final", Template: "nine", Audience: Authority, TLP: amber, Serves: []Serve{{"appi", duty.KindFinal}, {"appi", duty.KindFinalOther}}, Formats: form},
		{ID: "mynumber-prompt", Template: "nine", Audience: Authority, TLP: amber, Serves: []Serve{{"mynumber", duty.KindPrompt}}, Formats: form},
		{ID: "mynumber-final", Template: "nine", Audience: Authority, TLP: amber, Serves: []Serve{{"mynumber", duty.KindFinal}, {"mynumber", duty.KindFinalOther}}, Formats: form},
		{ID: "person-letter", Template: "person-letter", Audience: Persons, TLP: amber, When: whenSure, Groups: true, Formats: letter},
		{ID: "person-mail", Template: "person-mail", Audience: Persons, TLP: amber, When: whenSure, Groups: true, Formats: letter},
		{ID: "press", Template: "press", Audience: Public, TLP: clear, When: whenSure, Formats: letter},
		{ID: "website", Template: "website", Audience: Public, TLP: clear, When: whenSure, Formats: letter},
		{ID: "apology", Template: "apology", Audience: Persons, TLP: clear, Formats: letter},
		{ID: "door", Template: "door", Audience: Public, TLP: clear, Formats: paper},
		{ID: "faq", Template: "faq", Audience: Inside, TLP: amber, When: whenSure, Formats: form},
		{ID: "indicators", Template: "indicators", Audience: Authority, TLP: amber, Formats: []string{Xlsx, PDF, STIX, MISP}},
		{ID: "closing", Template: "closing", Audience: Inside, TLP: strict, When: whenEnding, Formats: form},
	}
}

// KindOf finds a kind by its id.
func KindOf(id string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.ID == id {
			return k, true
		}
	}
	return Kind{}, false
}

// Has says whether documents of the kind come in a format.
func (k Kind) Has(format string) bool { return format == JSON || slices.Contains(k.Formats, format) }

// Need is a kind of document and how it stands in an incident.
type Need struct {
	Kind   Kind        `json:"kind"`
	Needed bool        `json:"needed"`
	Clock  *duty.Clock `json:"clock,omitempty"` // the first open one that it meets
	Made   []Document  `json:"made"`            // newest first
}

// Needs says which documents an incident needs now, and which are made. It is
// in the order of Kinds, those with a clock first, the nearest first.
func Needs(a duty.Assessment, state incident.State, docs []Document) []Need {
	var all []Need
	for _, k := range Kinds() {
		n := Need{Kind: k, Made: []Document{}, Clock: k.clock(a.Clocks)}
		for _, d := range docs {
			if d.Kind == k.ID {
				n.Made = append(n.Made, d)
			}
		}
		n.Needed = n.Clock != nil || k.needed(a.Triggers, state)
		all = append(all, n)
	}
	slices.SortStableFunc(all, func(x, y Need) int {
		if x.Clock != nil && y.Clock != nil {
			return x.Clock.Due.Compare(y.Clock.Due)
		}
		return cmp.Compare(rank(x), rank(y))
	})
	return all
}

func rank(n Need) int {
	switch {
	case n.Clock != nil:
		return 0
	case n.Needed:
		return 1
	}
	return 2
}

// clock is the open clock that is due first.
func (k Kind) clock(clocks []duty.Clock) *duty.Clock {
	var first *duty.Clock
	for _, c := range clocks {
		serves := slices.ContainsFunc(k.Serves, func(s Serve) bool { return s.Kind == c.Kind && strings.HasPrefix(c.Regime, s.Regime) })
		if serves && c.DoneAt.IsZero() && (first == nil || c.Due.Before(first.Due)) {
			first = &c
		}
	}
	return first
}

func (k Kind) needed(triggers []duty.Trigger, state incident.State) bool {
	some := func(answers ...duty.Answer) bool {
		return slices.ContainsFunc(triggers, func(t duty.Trigger) bool { return slices.Contains(answers, t.Applies) })
	}
	switch k.When {
	case whenSuspected:
		return some(duty.Yes, duty.Unknown)
	case whenSure:
		return some(duty.Yes)
	case whenRunning:
		return state != incident.Ended
	case whenEnding:
		return state == incident.Ended
	}
	return false
}
