package view

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
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

// asked are the fields that people ask about first, in order.
func askedFields() []string {
	return []string{"host", event.FieldUser, event.FieldRemoteIP, event.FieldSrcIP, event.FieldDstIP, event.FieldApp, event.FieldImage, "ParentImage",
		event.FieldDstPort, "Action", "EventID", "TargetFilename", "Hashes", event.FieldSent, event.FieldReceived, "kind"}
}

// fieldsOf are the fields of the events shown: those that people ask about
// first, then the others, the most frequent first.
func fieldsOf(events []event.Event) (usual, others []string) {
	n := map[string]int{"host": len(events), "kind": len(events)}
	for _, e := range events {
		for f, v := range e.Fields {
			if v != "" && !dull(f) {
				n[f]++
			}
		}
	}
	for _, f := range askedFields() {
		if n[f] > 0 {
			usual = append(usual, f)
			delete(n, f)
		}
	}
	for f := range n {
		others = append(others, f)
	}
	slices.SortFunc(others, func(a, b string) int { return cmp.Or(n[b]-n[a], strings.Compare(a, b)) })
	return usual, others[:min(len(others), 30)]
}

// dull are fields of which every event has another value.
func dull(f string) bool {
	return slices.Contains([]string{event.FieldFlowID, event.FieldProof, event.FieldProofAt, event.FieldFirst, event.FieldLast, "Message", "message"}, f)
}

// fieldName is what people call a field.
func fieldName(p Page, f string) string {
	known := lang.Resolve(f)
	if known.Known() {
		return p.Known("event.field."+f, p.Known(known.Words, f))
	}
	return p.Known("event.field."+f, f)
}

// kindName is what people call a kind of event.
func kindName(p Page, k event.Kind) string { return p.Known("event.kind."+string(k), string(k)) }

// valueWord is a value in words where there are some.
func valueWord(p Page, field, value string) string {
	switch field {
	case "host":
		return p.Host(value)
	case "site":
		return p.Site(value)
	case "kind":
		return kindName(p, event.Kind(value))
	case "":
		return value
	}
	if w := fieldWord(p, field, value); w != "" {
		return w
	}
	return value
}

// cell is a value of a table in words.
func cell(p Page, c archive.Column, value string) string {
	if c.Kind == "time" {
		if t, ok := cellTime(value); ok {
			return p.Seconds(t)
		}
	}
	if c.Kind == "number" && !strings.HasSuffix(c.Name, "port") {
		if _, field := aggregate(c.Name); strings.HasPrefix(field, "bytes_") && !strings.HasPrefix(c.Name, "distinct") {
			if n, err := strconv.ParseFloat(value, 64); err == nil {
				return i18n.Bytes(int64(n))
			}
		}
		return number(value)
	}
	return valueWord(p, c.Name, value)
}

func cellTime(value string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, value)
	return t, err == nil
}

// number groups the digits of a whole number; another one stays as it is.
func number(value string) string {
	whole, fraction, _ := strings.Cut(value, ".")
	n := int64(0)
	for i, r := range whole {
		if r == '-' && i == 0 {
			continue
		}
		if r < '0' || r > '9' || len(whole) > 18 {
			return value
		}
		n = n*10 + int64(r-'0')
	}
	if strings.HasPrefix(whole, "-") {
		n = -n
	}
	if whole == "" {
		return value
	}
	if fraction = strings.TrimRight(fraction, "0"); fraction != "" {
		return i18n.Count(n) + "." + fraction[:min(2, len(fraction))]
	}
	return i18n.Count(n)
}

// keyColumn says whether a column of a table is a value that one can narrow
// to: those before the computed ones, whose names are those of functions.
func keyColumn(c archive.Column) bool {
	name, _, _ := strings.Cut(c.Name, "(")
	return c.Kind != "time" && !slices.Contains([]string{"count", "distinct", "sum", "avg", "min", "max"}, name) && !percentile(name)
}

func percentile(name string) bool {
	return len(name) > 1 && name[0] == 'p' && strings.Trim(name[1:], "0123456789") == ""
}

// columnName is the head of a column.
func columnName(p Page, c archive.Column) string {
	if c.Kind == "time" && c.Name == "time" {
		return p.T("col.when")
	}
	f, field := aggregate(c.Name)
	switch {
	case c.Name == "count":
		return p.T("search.col.count")
	case f == "":
		return fieldName(p, c.Name)
	case percentile(f):
		return p.T("search.agg.p", "field", fieldName(p, field), "percent", f[1:])
	}
	return p.Known("search.agg."+f, c.Name, "field", fieldName(p, field))
}

// aggregate splits the name of a computed column, "sum(bytes_out)".
func aggregate(name string) (function, field string) {
	f, rest, ok := strings.Cut(name, "(")
	field, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed {
		return "", name
	}
	return f, field
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

// pair is one field of an event.
type pair struct{ Name, Value string }

// eventPairs are all fields of an event, those that people look at first in
// front.
func eventPairs(e event.Event) []pair {
	var out []pair
	seen := map[string]bool{}
	for _, f := range shownFields(e) {
		out, seen[f] = append(out, pair{f, e.Fields[f]}), true
	}
	for _, f := range sortedKeys(e.Fields) {
		if !seen[f] {
			out = append(out, pair{f, e.Fields[f]})
		}
	}
	out = append(out, pair{"host", e.Host}, pair{"site", e.Site}, pair{"kind", string(e.Kind)}, pair{"product", e.Product}, pair{"category", e.Category}, pair{"service", e.Service})
	kept := out[:0]
	for _, x := range out {
		if x.Value != "" {
			kept = append(kept, x)
		}
	}
	return kept
}

func secondsInput(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(clock.Tokyo()).Format(SecondsInput)
}

func machineNanos(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// entityURL is the page about a host, user, address …
func entityURL(k search.Kind, value string) templ.SafeURL {
	return templ.SafeURL("/entity?" + url.Values{"kind": {string(k)}, "value": {value}}.Encode())
}

// around is everything that the host of an event recorded about that time.
func around(d EventData, by time.Duration) Look {
	return Look{Query: search.Host.Find(d.Event.Host)}.Within(d.Event.Time.Add(-by), d.Event.Time.Add(by))
}

// olderThan goes on where an unfinished search of events stands.
func olderThan(_ Page, r Results) Look {
	return r.Look.Within(r.Look.From, r.Progress.Back)
}

// filterOf is a query without its stages.
func filterOf(query string) string {
	filter, _ := search.Split(query)
	return filter
}

// tableBuckets are the columns of a timeline with one number; nil for any
// other table.
func tableBuckets(t *archive.Table) []archive.Bucket {
	if len(t.Columns) != 2 || t.Columns[0].Kind != "time" || t.Columns[1].Kind != "number" || len(t.Rows) < 2 || len(t.Rows) > 200 {
		return nil
	}
	var out []archive.Bucket
	for _, r := range t.Rows {
		at, ok := cellTime(r[0])
		n, err := strconv.ParseFloat(r[1], 64)
		if !ok || err != nil {
			return nil
		}
		out = append(out, archive.Bucket{From: at, Count: int64(n)})
	}
	slices.SortFunc(out, func(a, b archive.Bucket) int { return a.From.Compare(b.From) })
	width := out[1].From.Sub(out[0].From)
	for i := range out {
		out[i].Width = width
	}
	return out
}

// barColumn is the column whose numbers are drawn: the first computed one of a
// table without times; -1 for none.
func barColumn(t *archive.Table) int {
	at := -1
	for i, c := range t.Columns {
		switch {
		case c.Kind == "time":
			return -1
		case at < 0 && c.Kind == "number" && !keyColumn(c):
			at = i
		}
	}
	if len(t.Rows) < 2 {
		return -1
	}
	return at
}

func axisTime(p Page, list []archive.Bucket, i int) string {
	if i >= len(list) {
		return ""
	}
	return p.Time(list[i].From)
}

func axisEnd(p Page, list []archive.Bucket) string {
	if len(list) == 0 {
		return ""
	}
	last := list[len(list)-1]
	return p.Time(last.From.Add(last.Width))
}

// newDay says whether the event at i begins another day in the list.
func newDay(events []event.Event, i int) bool {
	return i == 0 || day(events[i].Time) != day(events[i-1].Time)
}

func day(t time.Time) string { return t.In(clock.Tokyo()).Format(time.DateOnly) }

// secondsOf is the time of day to the second, in Japan.
func secondsOf(t time.Time) string { return t.In(clock.Tokyo()).Format(time.TimeOnly) }

// severalSites says whether the events are of more than one site, so that each
// must name its own.
func severalSites(events []event.Event) bool {
	return slices.ContainsFunc(events, func(e event.Event) bool { return e.Site != events[0].Site })
}

// alertLook is everything that the host of an alert recorded about its time.
func alertLook(a alert.Alert) Look {
	const by = 5 * time.Minute
	return Look{Query: search.Host.Find(a.Host)}.Within(a.First.Add(-by), a.Last.Add(by))
}
