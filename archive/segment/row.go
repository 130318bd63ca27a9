package segment

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
)

// Row is one event in a segment. A field that is present but empty, a number
// that is zero or in another spelling, stays in Fields, so that every event is
// read back exactly as it came. Empty text and zero mean absent.
type Row struct {
	Time     int64 // nanoseconds since 1970, by the clock of the host
	Ingested int64 // nanoseconds since 1970, when the hub wrote it first
	Origin   int64 // number of the segment it was first sealed in
	Batch    string
	Row      int32  // index in the batch
	ID       string // only where it is not batch + "-" + row
	Site     string
	Host     string
	Kind     string
	Product  string
	Category string
	Service  string

	// Hot fields, see Hot.
	Code, User, Process, Parent, Command, File string
	SrcIP, DstIP, Transport, Application, Hash string
	SrcPort, DstPort                           int32
	BytesOut, BytesIn                          int64

	Fields []Field // the rest: by name, each name once
	Raw    string
	Drill  bool
}

// Field is one field that has no column of its own.
type Field struct{ Name, Value string }

// Rows turns the events of a batch into rows in the order of the batch. at is
// when the hub writes them. Text that is not UTF-8 cannot be stored in a text
// column: its broken bytes become U+FFFD, as they do in JSON.
func Rows(b event.Batch, at time.Time) []Row {
	batch, site, host, ingested := clean(b.ID), clean(b.Site), clean(b.Host), at.UnixNano()
	n := 0
	for i := range b.Events {
		n += len(b.Events[i].Fields)
	}
	rows, fields := make([]Row, len(b.Events)), make([]Field, 0, n)
	for i := range b.Events {
		e := &b.Events[i]
		r := &rows[i]
		*r = Row{
			Time: Nanos(e.Time), Ingested: ingested, Batch: batch, Row: int32(i),
			Site: site, Host: host, Kind: clean(string(e.Kind)),
			Product: clean(e.Product), Category: clean(e.Category), Service: clean(e.Service), Raw: clean(e.Raw), Drill: e.Drill,
		}
		if e.Site != "" {
			r.Site = clean(e.Site)
		}
		if e.Host != "" {
			r.Host = clean(e.Host)
		}
		if !isIDOf(e.ID, b.ID, i) {
			r.ID = clean(e.ID)
		}
		fields = r.take(e.Fields, fields)
	}
	return rows
}

// take stores the fields of an event; those without a column of their own are
// appended to arena.
func (r *Row) take(from map[string]string, arena []Field) []Field {
	start := len(arena)
	for name, value := range from {
		if h := hotOf(name); h != nil && h.store(r, value) {
			continue
		}
		arena = append(arena, Field{clean(name), clean(value)})
	}
	if start == len(arena) {
		return arena
	}
	rest := arena[start:len(arena):len(arena)]
	slices.SortFunc(rest, func(x, y Field) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Value, y.Value))
	})
	// Two broken names can become the same one, and a map has a name once.
	r.Fields = slices.CompactFunc(rest, func(x, y Field) bool { return x.Name == y.Name })
	return arena
}

// Event returns the event that the row was made of. Its strings are those of
// the row.
func (r *Row) Event() event.Event {
	e := event.Event{
		ID: r.ID, Time: time.Unix(0, r.Time).UTC(), Site: r.Site, Host: r.Host, Kind: event.Kind(r.Kind),
		Product: r.Product, Category: r.Category, Service: r.Service, Raw: r.Raw, Drill: r.Drill,
	}
	if e.ID == "" {
		e.ID = idOf(r.Batch, r.Row)
	}
	r.eachField(func(name, value string) {
		if e.Fields == nil {
			e.Fields = make(map[string]string, len(r.Fields)+len(hot))
		}
		e.Fields[name] = value
	})
	return e
}

// eachField calls f for all fields of the event, hot or not, by name.
func (r *Row) eachField(f func(name, value string)) {
	rest := r.Fields
	var digits [20]byte
	for i := range hot {
		h := &hot[i]
		value := ""
		if h.Text != nil {
			value = *h.Text(r)
		} else if n := h.number(r); n != 0 {
			value = string(strconv.AppendInt(digits[:0], n, 10))
		}
		if value == "" {
			continue
		}
		for len(rest) > 0 && rest[0].Name < h.Field {
			f(rest[0].Name, rest[0].Value)
			rest = rest[1:]
		}
		f(h.Field, value)
	}
	for _, x := range rest {
		f(x.Name, x.Value)
	}
}

func idOf(batch string, row int32) string { return batch + "-" + strconv.Itoa(int(row)) }

// isIDOf is id == idOf(batch, row) without making it.
func isIDOf(id, batch string, row int) bool {
	rest, ok := strings.CutPrefix(id, batch)
	if !ok || len(rest) < 2 || rest[0] != '-' {
		return false
	}
	n, err := strconv.Atoi(rest[1:])
	return err == nil && n == row && (rest[1] != '0' || len(rest) == 2) && rest[1] != '+'
}

func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Clean returns text as a segment stores it: broken UTF-8 becomes U+FFFD.
func Clean(s string) string { return clean(s) }

// Nanos returns t in nanoseconds since 1970. A time that a segment cannot hold
// (a broken clock: before 1678 or after 2262) is stored as the nearest it can.
func Nanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64+2)): // MinInt64+1 and MaxInt64 mean infinity to DuckDB, MinInt64 nothing
		return math.MinInt64 + 2
	case t.After(time.Unix(0, math.MaxInt64-1)):
		return math.MaxInt64 - 1
	}
	return t.UnixNano()
}

// Holds says whether test holds for the text in a column, or with AnyField for
// the value of some field that has no column.
func (r *Row) Holds(name string, test func(string) bool) bool {
	if name == AnyField {
		return slices.ContainsFunc(r.Fields, func(f Field) bool { return test(f.Value) })
	}
	c := columnOf(name)
	return c != nil && c.text != nil && test(*c.text(r))
}
