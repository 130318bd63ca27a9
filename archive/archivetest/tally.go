package archivetest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// Tally answers questions about the events it was shown, by counting one after
// the other. Not for use by several goroutines.
type Tally struct {
	Probe    string    // host whose newest events are kept
	From, To time.Time // the hour whose event codes are counted, and the probe's day starts with it

	Events   int64
	Hours    map[string]map[int64]int64  // product → hour (Unix seconds) → events
	Codes    map[string]int64            // EventID → events, From ≤ time < To; "" where there is none
	Sent     map[string]int64            // destination address → bytes that flows sent
	Failures map[string]map[string]int64 // user → source address → failed Windows log-ons
	Encoded  int64                       // command lines with an encoded PowerShell command: EncodedPattern
	Newest   []time.Time                 // of all, the newest first; at most 200
	ProbeDay []time.Time                 // of the probe in the day that starts at From, the newest first; at most 200
	ProbeAll int64                       // events of the probe in that day
}

// EncodedPattern is a regular expression for command lines that carry an
// encoded PowerShell command, in the syntax that RE2, PostgreSQL and Go share.
const EncodedPattern = `-[Ee]nc[A-Za-z]*\s+[A-Za-z0-9+/=]{40,}`

// kept is how many of the newest events a tally keeps.
const kept = 200

// Tally returns an empty tally for questions about the events of g: the hour
// and the day of the probe begin in the middle of the span, on a whole hour.
func (g *Generator) Tally() *Tally {
	from := g.o.From.Add(g.o.Span / 2).Truncate(time.Hour)
	return &Tally{
		Probe: g.ProbeHost(), From: from, To: from.Add(time.Hour),
		Hours: map[string]map[int64]int64{}, Codes: map[string]int64{}, Sent: map[string]int64{}, Failures: map[string]map[string]int64{},
	}
}

// Add counts the events of a batch.
func (t *Tally) Add(b event.Batch) {
	for i := range b.Events {
		t.add(&b.Events[i])
	}
	day := t.From.Add(24 * time.Hour)
	for i := range b.Events {
		at := b.Events[i].Time
		if b.Host == t.Probe && !at.Before(t.From) && at.Before(day) {
			t.ProbeAll++
			t.ProbeDay = append(t.ProbeDay, at)
		}
		if len(t.Newest) < kept || at.After(t.Newest[kept-1]) {
			t.Newest = append(t.Newest, at)
		}
	}
	t.Newest, t.ProbeDay = newest(t.Newest), newest(t.ProbeDay)
}

func newest(times []time.Time) []time.Time {
	slices.SortFunc(times, func(x, y time.Time) int { return y.Compare(x) })
	return times[:min(len(times), kept)]
}

func (t *Tally) add(e *event.Event) {
	t.Events++
	hours := t.Hours[e.Product]
	if hours == nil {
		hours = map[int64]int64{}
		t.Hours[e.Product] = hours
	}
	hours[e.Time.Unix()/3600*3600]++
	code := e.Fields["EventID"]
	if !e.Time.Before(t.From) && e.Time.Before(t.To) {
		t.Codes[code]++
	}
	switch {
	case e.Kind == event.KindFlow:
		t.Sent[e.Fields[event.FieldDstIP]] += number(e.Fields[event.FieldSent])
	case code == FailedCode:
		user := e.Fields[event.FieldUser]
		if t.Failures[user] == nil {
			t.Failures[user] = map[string]int64{}
		}
		t.Failures[user][e.Fields[event.FieldSrcIP]]++
	case e.Kind == event.KindProcess && strings.Contains(strings.ToLower(e.Fields[event.FieldCommand]), " -enc"):
		t.Encoded++
	}
}

func number(text string) (n int64) {
	for i := range len(text) {
		n = n*10 + int64(text[i]-'0')
	}
	return n
}

// Count is how often a text was counted.
type Count struct {
	Text            string
	Count, Distinct int64
}

// TopSent returns the n destinations to which flows sent most bytes.
func (t *Tally) TopSent(n int) []Count {
	var top []Count
	for address, bytes := range maps.All(t.Sent) {
		top = append(top, Count{Text: address, Count: bytes})
	}
	return first(top, n)
}

// TopFailures returns the n users with most failed Windows log-ons; Distinct
// is the number of source addresses.
func (t *Tally) TopFailures(n int) []Count {
	var top []Count
	for user, sources := range t.Failures {
		c := Count{Text: user, Distinct: int64(len(sources))}
		for _, n := range sources {
			c.Count += n
		}
		top = append(top, c)
	}
	return first(top, n)
}

func first(top []Count, n int) []Count {
	slices.SortFunc(top, func(x, y Count) int { return cmp.Or(cmp.Compare(y.Count, x.Count), strings.Compare(x.Text, y.Text)) })
	return top[:min(n, len(top))]
}
