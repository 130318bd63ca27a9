package threshold

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

func peer(n int, at time.Duration, value string) event.Event {
	return event.Event{ID: fmt.Sprintf("e%03d", n), Time: noon.Add(at), Site: "s", Host: "h", Fields: map[string]string{"V": value, "U": "u"}}
}

func feed(c *Counter, events ...event.Event) []string {
	var out []string
	for _, e := range events {
		for _, h := range c.Add(e) {
			out = append(out, h.Start.Format("15:04"))
		}
	}
	return out
}

func TestCounting(t *testing.T) {
	m := time.Minute
	for name, tt := range map[string]struct {
		distinct string
		events   []event.Event
		want     []string
	}{
		"two are too few":                {"", []event.Event{peer(1, 0, "a"), peer(2, m, "b")}, nil},
		"three within the window":        {"", []event.Event{peer(1, 0, "a"), peer(2, m, "a"), peer(3, 2*m, "a")}, []string{"12:00"}},
		"three across the slots":         {"", []event.Event{peer(1, 4*m, "a"), peer(2, 5*m, "a"), peer(3, 6*m, "a")}, []string{"12:00"}},
		"three in more than the window":  {"", []event.Event{peer(1, 0, "a"), peer(2, m, "a"), peer(3, 5*m, "a")}, nil},
		"the same event counts once":     {"", []event.Event{peer(1, 0, "a"), peer(1, 0, "a"), peer(1, 0, "a"), peer(2, m, "a")}, nil},
		"different values":               {"V", []event.Event{peer(1, 0, "a"), peer(2, 0, "b"), peer(3, m, "c")}, []string{"12:00"}},
		"equal values":                   {"V", []event.Event{peer(1, 0, "a"), peer(2, 0, "b"), peer(3, m, "b")}, nil},
		"a value counts where it is new": {"V", []event.Event{peer(1, 0, "a"), peer(2, 4*m, "b"), peer(3, 6*m, "c"), peer(4, 4*m, "a")}, []string{"12:00"}},
		"one hit per slot":               {"", []event.Event{peer(1, 0, "a"), peer(2, 0, "a"), peer(3, 0, "a"), peer(4, m, "a"), peer(5, m, "a")}, []string{"12:00"}},
		"going on hits in the next slot": {"", []event.Event{peer(1, 0, "a"), peer(2, 0, "a"), peer(3, 0, "a"), peer(4, 5*m, "a"), peer(5, 5*m, "a"), peer(6, 6*m, "a")}, []string{"12:00", "12:05"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := feed(New(Config{Count: 3, Window: 5 * m, Distinct: tt.distinct}), tt.events...)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestGroupsAreApart(t *testing.T) {
	c := New(Config{Count: 2, Window: time.Minute, By: []string{"U"}})
	one, otherHost, otherSite, otherUser, drill, without := peer(1, 0, "a"), peer(2, 0, "a"), peer(3, 0, "a"), peer(4, 0, "a"), peer(5, 0, "a"), peer(6, 0, "a")
	otherHost.Host, otherSite.Site, drill.Drill = "x", "x", true
	otherUser.Fields = map[string]string{"U": "x"}
	without.Fields = nil
	if got := feed(c, one, otherHost, otherSite, otherUser, drill, without); got != nil {
		t.Errorf("got hits %v from events of six groups", got)
	}
	if got := feed(c, peer(7, 0, "a")); len(got) != 1 {
		t.Errorf("got %v, want the second of one group to hit", got)
	}
}

// obvious is the definition: a slot hits when some event in it begins a window
// that holds enough values.
func obvious(events []event.Event, c Config) []string {
	var out []string
	done := map[time.Time]bool{}
	for _, from := range events {
		values := map[string]bool{}
		for _, e := range events {
			if !e.Time.Before(from.Time) && e.Time.Before(from.Time.Add(c.Window)) {
				values[e.Fields["V"]] = true
			}
		}
		if s := from.Time.Truncate(c.Window); len(values) >= c.Count && !done[s] {
			done[s] = true
			out = append(out, s.Format("15:04"))
		}
	}
	sort.Strings(out)
	return out
}

func TestHitsDependOnTheSetOfEventsOnly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	conf := Config{Count: 4, Window: 5 * time.Minute, Distinct: "V"}
	hits := 0
	for round := range 3000 {
		var events []event.Event
		for i := range 3 + random.IntN(14) {
			events = append(events, peer(i, time.Duration(random.IntN(19*60))*time.Second, fmt.Sprint(random.IntN(7))))
		}
		want := obvious(events, conf)
		hits += len(want)
		again := slices.Concat(events, events[:random.IntN(len(events))])
		random.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		got := feed(New(conf), again...)
		sort.Strings(got)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: got %v, want %v", round, got, want)
		}
		// a counter that forgot (a restart) may miss, but not add
		for _, h := range feed(New(conf), again[random.IntN(len(again)):]...) {
			if !slices.Contains(want, h) {
				t.Fatalf("round %d: a part of the events gave %s, all of them %v", round, h, want)
			}
		}
	}
	if hits < 1000 {
		t.Fatalf("only %d hits: the rounds test nothing", hits)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	c := New(Config{Count: 10, Window: time.Minute, By: []string{"V"}, MaxKept: 100})
	for i := range 20000 {
		c.Add(peer(i, time.Duration(i)*time.Millisecond, fmt.Sprint(i)))
	}
	if len(c.groups) > 100 || c.kept > 100 || c.quiet.Len() != len(c.groups) {
		t.Errorf("%d groups, %d events kept; want at most 100", len(c.groups), c.kept)
	}
	if got := c.Evicted(); got < 19900 {
		t.Errorf("%d groups counted as forgotten, want 19,900 or more", got)
	}
	one := New(Config{Count: 10, Window: time.Minute})
	for i := range 20000 { // one group, a clock that jumps about
		one.Add(peer(i, time.Duration(i%977)*time.Hour, "a"))
	}
	if one.kept > maxSlots*10 {
		t.Errorf("%d events of one group kept, want at most %d", one.kept, maxSlots*10)
	}
}
