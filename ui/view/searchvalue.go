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
	"github.com/sonae/sonae/search"
)

// askedFields are the fields that people ask about first, in order.
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

// pair is one field of an event.
type pair struct{ Name, Value string }

// narrows says whether it helps to search for a value of a field: a time that
// no other event has, or the bytes of a connection, do not.
func narrows(f string) bool { return !dull(f) || f == event.FieldFlowID }

// spoken is a value as reader programs say it; nobody listens to an id.
func spoken(p Page, f pair) string {
	if f.Name == event.FieldFlowID {
		return ""
	}
	return cut(valueWord(p, f.Name, f.Value), 60)
}

// behind are fields that few people need to understand an event.
func behind(f string) bool {
	return slices.Contains([]string{event.FieldFlowID, event.FieldPhase, event.FieldProof, event.FieldProofAt, event.FieldInitiated, event.FieldLocalIP,
		event.FieldLocalPort, event.FieldPackets, event.FieldFirst, event.FieldLast, "Ended", "product", "category", "service"}, f)
}

// eventPairs are all fields of an event, those that people look at first in
// front, and the others.
func eventPairs(e event.Event) (usual, others []pair) {
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
	for _, x := range out {
		switch {
		case x.Value == "":
		case behind(x.Name):
			others = append(others, x)
		default:
			usual = append(usual, x)
		}
	}
	return usual, others
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
