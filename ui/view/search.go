package view

import (
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/search"
)

// OwnSpan is the span of a search whose limits a person set.
const OwnSpan = "own"

// SecondsInput is the form of a moment to the second in a datetime-local field.
const SecondsInput = "2006-01-02T15:04:05"

// Spans are the ranges of time that one press chooses.
func Spans() []string { return []string{"15m", "1h", "24h", "7d", "30d"} }

// SpanLength is how long a span is; zero when it is not one of Spans.
func SpanLength(span string) time.Duration {
	switch span {
	case "15m":
		return 15 * time.Minute
	case "1h":
		return time.Hour
	case "24h":
		return 24 * time.Hour
	case "7d":
		return 7 * 24 * time.Hour
	case "30d":
		return 30 * 24 * time.Hour
	}
	return 0
}

// Look is one search as it stands in an address.
type Look struct {
	Query    string
	Span     string    // one of Spans, or OwnSpan
	From, To time.Time // what is looked through; in the address only of OwnSpan
	After    string    // cursor of an older part
}

func (l Look) values() url.Values {
	q := url.Values{"q": {l.Query}, "range": {l.Span}}
	if l.Span == OwnSpan {
		q.Set("from", l.From.In(clock.Tokyo()).Format(SecondsInput))
		q.Set("to", l.To.In(clock.Tokyo()).Format(SecondsInput))
	}
	if l.After != "" {
		q.Set("after", l.After)
	}
	return q
}

// At returns the address of a page about this search; pairs are more
// parameters.
func (l Look) At(path string, pairs ...string) templ.SafeURL {
	q := l.values()
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return templ.SafeURL(path + "?" + q.Encode())
}

// URL returns the address of the search itself.
func (l Look) URL() templ.SafeURL { return l.At("/search") }

// For returns the search with another query, from its newest event on.
func (l Look) For(query string) Look {
	l.Query, l.After = query, ""
	return l
}

// Within returns the search for a range of time.
func (l Look) Within(from, to time.Time) Look {
	l.Span, l.From, l.To, l.After = OwnSpan, from, to, ""
	return l
}

// Narrow returns the search for those events whose field has this value, or,
// without, for all others.
func (l Look) Narrow(field, value string, without bool) Look {
	return l.For(search.With(l.Query, search.Term(field, value, without), false))
}

// Kept is the span as it is kept with a saved search.
func (l Look) Kept() string {
	if l.Span != OwnSpan {
		return l.Span
	}
	return l.From.UTC().Format(time.RFC3339) + "/" + l.To.UTC().Format(time.RFC3339)
}

// LookOf is the search that was kept with a query and a span.
func LookOf(query, span string) Look {
	from, to, own := strings.Cut(span, "/")
	if !own && SpanLength(span) > 0 {
		return Look{Query: query, Span: span}
	}
	f, err := time.Parse(time.RFC3339, from)
	t, err2 := time.Parse(time.RFC3339, to)
	if err != nil || err2 != nil {
		return Look{Query: query, Span: "24h"}
	}
	return Look{Query: query, Span: OwnSpan, From: f, To: t}
}

// SearchData is the search page.
type SearchData struct {
	Look     Look
	Asked    bool        // something was asked: there are results or an error
	Wrong    *WrongQuery // nil: the query can be read
	Results  Results
	Over     Overview
	Stream   string // address that goes on with an unfinished search; empty: finished
	Saved    []search.Saved
	Past     []search.Past
	Hints    []Hint
	Active   []incident.Incident // that events may be added to
	Rules    bool                // a rule can be made of a search
	Detail   *EventData          // opened in the same page
	MayTake  bool                // may add to incidents and export
	MaxBatch int                 // events that can be added at once
}

// WrongQuery is a query that cannot be read, with the place where it stops
// making sense.
type WrongQuery struct{ Before, At, After, Message string }

// Hint is a name that can stand in a query.
type Hint struct{ Value, Label string }

// Results is what was found so far.
type Results struct {
	Look     Look
	Events   []event.Event
	Table    *archive.Table
	Progress archive.Progress
	Next     string // cursor of what is older
	Done     bool
	Stopped  bool   // the time for one page is over; what is missing can be asked for
	Fault    *Fault // the search was ended, what was found stands
	MayTake  bool
	Picked   []string // events that were chosen in a form that came back
}

// Share is how much has been looked through, 0 to 1.
func (r Results) Share() float64 {
	switch {
	case r.Done:
		return 1
	case r.Progress.Rows > 0:
		return min(1, float64(r.Progress.RowsDone)/float64(r.Progress.Rows))
	case r.Progress.Segments > 0:
		return min(1, float64(r.Progress.SegmentsDone)/float64(r.Progress.Segments))
	}
	return 0
}

// Overview is the histogram over the range.
type Overview struct {
	Look    Look
	Buckets []archive.Bucket
	Ready   bool
}

// Total is how many events match in the range.
func (o Overview) Total() int64 {
	var n int64
	for _, b := range o.Buckets {
		n += b.Count
	}
	return n
}

// EventData is one event in detail.
type EventData struct {
	Event   event.Event
	Look    Look // the search it was found with
	Active  []incident.Incident
	MayTake bool
	Part    bool // shown beside the results
}

// Pick is how an event is named in a form: its time finds it quickly.
func Pick(e event.Event) string { return e.Time.UTC().Format(time.RFC3339Nano) + "~" + e.ID }

// Picked reads what Pick wrote.
func Picked(s string) (id string, at time.Time, ok bool) {
	t, id, ok := strings.Cut(s, "~")
	if !ok || id == "" || len(id) > 200 {
		return "", time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, t)
	return id, at, err == nil
}

// FieldData is the statistics of one field.
type FieldData struct {
	Look  Look
	Stats archive.FieldStats
	Part  bool
}

// spanWord is a range of time in words.
func spanWord(p Page, l Look) string {
	if l.Span != OwnSpan {
		return p.T("search.span." + l.Span)
	}
	return p.Time(l.From) + " – " + p.Time(l.To)
}

// queryWord is a query in a list; an empty one asks for everything.
func queryWord(p Page, q string) string {
	if q == "" {
		return p.T("search.everything")
	}
	return q
}

// examples are searches that a hospital needs, as keys of the catalogue.
func examples() []string {
	return []string{"night-login", "pc-talks", "bittorrent", "hash", "failed", "senders", "usb", "timeline"}
}

// exampleQuery is the search of an example.
func exampleQuery(key string) Look {
	l := map[string]Look{
		"night-login": {Query: "kind:login Action:login", Span: OwnSpan},
		"pc-talks":    {Query: `host:* kind:flow | top 20 destination_ip by sum(bytes_out)`, Span: "24h"},
		"bittorrent":  {Query: "Application:bittorrent", Span: "7d"},
		"hash":        {Query: "hash:*275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f*", Span: "30d"},
		"failed":      {Query: "Action:failure | count by user_name, source_ip", Span: "24h"},
		"senders":     {Query: "kind:flow | stats sum(bytes_out), distinct(destination_ip) by host | limit 20", Span: "24h"},
		"usb":         {Query: `"USB Mass Storage"`, Span: "7d"},
		"timeline":    {Query: "| timeline 1h by kind", Span: "24h"},
	}[key]
	return l
}

// example is an example as it is offered now: at night means from 22 o'clock
// yesterday to 6 o'clock today.
func example(p Page, key string) Look {
	l := exampleQuery(key)
	if l.Span == OwnSpan {
		n := p.Now.In(clock.Tokyo())
		morning := time.Date(n.Year(), n.Month(), n.Day(), 6, 0, 0, 0, clock.Tokyo())
		l.From, l.To = morning.Add(-8*time.Hour), morning
	}
	return l
}
