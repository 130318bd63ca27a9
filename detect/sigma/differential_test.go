package sigma

import (
	"sort"
	"strings"
	"testing"

	"github.com/sonae/sonae/event"
)

// recordOf makes a record of an event, its fields in order of their names.
func recordOf(e Event) *event.Record {
	r := &event.Record{Product: e.Product, Service: e.Service, Categories: e.Categories, Raw: []byte(e.Raw)}
	for name, text := range e.Fields {
		r.Add([]byte(name), []byte(text), event.Plain)
	}
	sort.Slice(r.Pairs, func(i, j int) bool { return string(r.Pairs[i].Name) < string(r.Pairs[j].Name) })
	return r
}

// found returns the ids that match calls, sorted.
func found(match func(*event.Record, func(*Rule)), r *event.Record) string {
	var ids []string
	match(r, func(r *Rule) { ids = append(ids, r.ID) })
	sort.Strings(ids)
	return strings.Join(ids, " ")
}

func TestIndexedAndNaiveAgreeOnRealTelemetry(t *testing.T) {
	rules, _ := corpus(t)
	m, n := NewSet(rules).NewMatcher(), NewNaive(rules)
	events, hits := 0, 0
	telemetry(t, func(line int, e Event) {
		if line%(10*every) != 0 {
			return
		}
		r := recordOf(e)
		want := found(n.Match, r)
		events, hits = events+1, hits+len(strings.Fields(want))
		for _, pass := range []string{"first", "cached"} {
			if got := found(m.Match, r); got != want {
				t.Errorf("line %d, %s: indexed %q, naive %q", line, pass, got, want)
			}
		}
	})
	t.Logf("%d events, %d hits", events, hits)
}
