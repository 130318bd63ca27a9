package view

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
)

// DutiesData is the page of duties: what is missing, what is due, what was
// decided, and how all this came about.
type DutiesData struct {
	Incident   incident.Incident
	Duty       duty.Assessment
	At         time.Time      // zero: now
	As         duty.Statement // the newest statement at that time
	Statements []duty.Statement
	Decisions  []duty.Decision
	Rules      duty.Rules
}

// AuthoritiesData is the page of whom to tell outside, and of the data that
// deadlines are counted with.
type AuthoritiesData struct {
	Contacts []duty.Authority
	Holidays duty.Holidays
	Updates  []duty.HolidayUpdate
	Rules    duty.Rules
}

func dutyResource(p Page, i incident.Incident) auth.Resource {
	return auth.Resource{Kind: "report", ID: i.ID, Site: auth.Among(p.Viewer, i.Scope.Sites)}
}

func dutiesPath(id string) templ.SafeURL { return templ.SafeURL("/incidents/" + id + "/duties") }

// questionPath leads to one question of the form.
func questionPath(id, name string) templ.SafeURL {
	at := "#q-" + name
	if name == duty.FieldPersons {
		at = "#f-maximum"
	}
	if id == "" {
		return templ.SafeURL(at)
	}
	return templ.SafeURL("/incidents/" + id + "/facts" + at)
}

// FirstKnown is who knew first, as far as somebody wrote it.
func FirstKnown(f duty.Facts) duty.Knowledge {
	for _, k := range f.Knowledge {
		if k.Side == duty.OwnSide && k.At.Equal(f.KnownAt) {
			return k
		}
	}
	return duty.Knowledge{Side: duty.OwnSide, At: f.KnownAt}
}

// KnownRow is one more line of who knew what, when; its fields begin with Name.
type KnownRow struct {
	Name string
	duty.Knowledge
}

// blankRows is how many empty lines the form offers.
const blankRows = 3

// KnownRows are all but the first, and empty lines for more.
func KnownRows(f duty.Facts) []KnownRow {
	first := FirstKnown(f)
	rest := slices.DeleteFunc(slices.Clone(f.Knowledge), func(k duty.Knowledge) bool { return k == first })
	named := slices.ContainsFunc(rest, func(k duty.Knowledge) bool { return k.Side == duty.ContractorSide && k.At.Equal(f.ContractorKnownAt) })
	if !f.ContractorKnownAt.IsZero() && !named {
		rest = append(rest, duty.Knowledge{Side: duty.ContractorSide, At: f.ContractorKnownAt})
	}
	for range blankRows {
		rest = append(rest, duty.Knowledge{Side: duty.OwnSide})
	}
	rows := make([]KnownRow, 0, len(rest))
	for i, k := range rest {
		rows = append(rows, KnownRow{"k" + strconv.Itoa(i+1), k})
	}
	return rows
}

// reviews lists the rows of tables that wait for a decision, or had one.
func (d DutiesData) reviews() []string {
	all := slices.Clone(d.Duty.Reviews)
	for _, x := range d.Decisions {
		if x.Kind == duty.KindReview && !slices.Contains(all, x.About) && slices.ContainsFunc(d.Duty.Derived, func(v duty.Derived) bool { return v.Row == x.About }) {
			all = append(all, x.About)
		}
	}
	return all
}

// notice is the clock of the next decision about the notice to persons.
func (d DutiesData) notice() *duty.Clock {
	i := slices.IndexFunc(d.Duty.Clocks, func(c duty.Clock) bool { return c.Kind == duty.KindNotice })
	if i < 0 {
		return nil
	}
	return &d.Duty.Clocks[i]
}

// newest returns the statements newest first, each with the one before it.
func (d DutiesData) newest() []statedAnew {
	var all []statedAnew
	for i, s := range slices.Backward(d.Statements) {
		x := statedAnew{Statement: s}
		if i > 0 {
			x.Changes = duty.Changes(d.Statements[i-1].Facts, s.Facts)
		}
		all = append(all, x)
	}
	return all
}

type statedAnew struct {
	duty.Statement
	Changes []duty.Change
}

// changeName is what people call the field of a change.
func changeName(p Page, c duty.Change) string {
	for _, prefix := range []string{"duty.short.", "field.", "duty.item.", "duty.question.", "duty.proof.", "duty."} {
		if s := p.Known(prefix+c.Field, ""); s != "" {
			return s
		}
	}
	return c.Field
}

// changeValue writes one side of a change.
func changeValue(p Page, c duty.Change, v string) string {
	switch c.Kind {
	case "answer":
		return p.Known("duty.answer."+v, p.T("duty.answer.unknown"))
	case "time":
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return p.Time(t)
		}
	}
	switch {
	case v == "" || v == "0" && c.Kind == "count":
		return p.T("duty.empty")
	case c.Field == "legal_class":
		return p.Known("duty.class."+v, v)
	case c.Field == "contractor":
		return p.Site(v)
	case c.Field == "indicators":
		return list(p, strings.Split(v, ", "), func(id string) string { return p.Known("duty.indicator."+id, id) })
	}
	return v
}

// moveSide is one side of a move: the date, and whether it was sure.
func moveSide(p Page, at time.Time, a duty.Answer, done bool) string {
	switch {
	case a == duty.No || at.IsZero():
		return p.T("duty.move.none")
	case done:
		return p.T("duty.move.done")
	case a == duty.Unknown:
		return p.T("duty.move.perhaps", "time", p.Time(at))
	}
	return p.Time(at)
}

// aSecond is added to a statement's time to see what was known after it: the
// address has whole seconds.
const aSecond = time.Second

// CommonText is one field of the common forms.
func CommonText(c duty.Common, id string) string {
	text, _ := c.Field(id)
	return text
}

// onDay writes a day of the calendar.
func onDay(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.In(clock.Tokyo()).Format(time.DateOnly)
}

func authorityName(p Page, a duty.Authority) string {
	if a.Own {
		return a.Name
	}
	return p.Known("duty.contact."+a.ID, a.ID)
}
