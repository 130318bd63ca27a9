package archivetest_test

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

func TestBatchesDependOnOptionsAndNumberOnly(t *testing.T) {
	first, second := archivetest.New(archivetest.Options{Seed: 5}), archivetest.New(archivetest.Options{Seed: 5})
	for _, n := range []int{0, 7, first.Batches() - 1, 7} {
		first.Batch(n + 1 - n%2) // others in between change nothing
		if diff := cmp.Diff(first.Batch(n), second.Batch(n)); diff != "" {
			t.Fatalf("batch %d differs: %s", n, diff)
		}
	}
	other := archivetest.New(archivetest.Options{Seed: 6})
	if cmp.Equal(first.Batch(3).Events, other.Batch(3).Events) {
		t.Error("another seed gives the same events")
	}
}

func TestShape(t *testing.T) {
	g := archivetest.New(archivetest.Options{Seed: 1, Events: 60_000, Span: 48 * time.Hour})
	o := g.Options()
	size, fields, shortest := 0, 0, math.MaxInt
	hosts, batches, ids, kinds := map[string]int{}, map[string]bool{}, map[string]bool{}, map[event.Kind]int{}
	for b := range g.All() {
		if len(b.Events) != 500 || b.ID == "" || batches[b.ID] {
			t.Fatalf("batch %q has %d events or is repeated", b.ID, len(b.Events))
		}
		batches[b.ID] = true
		hosts[b.Host] += len(b.Events)
		for i, e := range b.Events {
			if e.Host != b.Host || e.Site != b.Site || e.Time.Before(o.From) || !e.Time.Before(g.To()) || ids[e.ID] || (i > 0 && e.Time.Before(b.Events[i-1].Time)) {
				t.Fatalf("event %d of batch %s: %+v", i, b.ID, e)
			}
			ids[e.ID] = true
			kinds[e.Kind]++
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			size, fields = size+len(text), fields+len(e.Fields)+8
			shortest = min(shortest, len(text))
		}
	}
	if mean := size / o.Events; mean < 600 || mean > 660 {
		t.Errorf("an event is %d bytes of JSON, want 600 to 660", mean)
	}
	if mean := float64(fields) / float64(o.Events); mean < 20 || mean > 32 {
		t.Errorf("an event has %.1f fields, want 20 to 32", mean)
	}
	if shortest < 300 {
		t.Errorf("the shortest event is %d bytes", shortest)
	}
	if len(hosts) < 60 || slices.Max(values(hosts)) < 3*o.Events/len(hosts) {
		t.Errorf("%d hosts, the busiest with %d events: want many, unevenly", len(hosts), slices.Max(values(hosts)))
	}
	for _, k := range []event.Kind{event.KindFlow, event.KindProcess, event.KindLogin, event.KindLog} {
		if kinds[k] < o.Events/20 {
			t.Errorf("%d events of kind %s", kinds[k], k)
		}
	}
}

func values(m map[string]int) []int {
	var all []int
	for _, n := range m {
		all = append(all, n)
	}
	return all
}

// What is said to be planted is what a plain search finds.
func TestTruthIsWhatASearchFinds(t *testing.T) {
	for _, events := range []int{10_000, 123_456} {
		g := archivetest.New(archivetest.Options{Seed: 9, Events: events, Span: 7 * 24 * time.Hour})
		var found archivetest.Truth
		encoded, pattern, tally := int64(0), regexp.MustCompile(archivetest.EncodedPattern), g.Tally()
		for b := range g.All() {
			tally.Add(b)
			for _, e := range b.Events {
				search(&found, e)
				if pattern.MatchString(e.Fields[event.FieldCommand]) {
					encoded++
				}
				for _, absent := range []string{archivetest.AbsentHash, archivetest.AbsentText} {
					if strings.Contains(e.Raw, absent) || slices.Contains(fieldValues(e), absent) {
						t.Errorf("%s is there", absent)
					}
				}
			}
		}
		if diff := cmp.Diff(g.Truth(), found); diff != "" {
			t.Errorf("%d events: planted (-), found (+): %s", events, diff)
		}
		if tally.Events != found.Events || tally.Encoded != encoded || encoded == 0 {
			t.Errorf("tally has %d events and %d encoded commands, want %d and %d", tally.Events, tally.Encoded, found.Events, encoded)
		}
		if got := len(tally.Failures[archivetest.FailedUser]); got != archivetest.FailedSources {
			t.Errorf("%s failed from %d addresses, want %d", archivetest.FailedUser, got, archivetest.FailedSources)
		}
		if top := tally.TopSent(20); len(top) != 20 || top[0].Count < top[19].Count || len(tally.Newest) != 200 || tally.ProbeAll == 0 {
			t.Errorf("tally: %d destinations, %d newest, %d of the probe", len(top), len(tally.Newest), tally.ProbeAll)
		}
	}
}

// search looks for all that is planted, everywhere in an event.
func search(found *archivetest.Truth, e event.Event) {
	count := func(n *int64, hit bool) {
		if hit {
			*n++
		}
	}
	everywhere := e.Raw + "\n" + strings.Join(fieldValues(e), "\n")
	found.Events++
	count(&found.Exact, strings.Contains(everywhere, archivetest.Command))
	count(&found.AnyCase, strings.Contains(strings.ToLower(everywhere), strings.ToLower(archivetest.Command)))
	count(&found.Phrase, strings.Contains(e.Raw, archivetest.Phrase))
	count(&found.AddressColumn, e.Fields[event.FieldDstIP] == archivetest.RareAddress)
	count(&found.AddressText, strings.Contains(everywhere, archivetest.RareAddress) && e.Fields[event.FieldDstIP] != archivetest.RareAddress)
	count(&found.Hash, e.Fields["Hashes"] == archivetest.RareHash)
	count(&found.User, e.Fields[event.FieldUser] == archivetest.RareUser)
	count(&found.Failed, e.Fields[event.FieldUser] == archivetest.FailedUser && e.Fields["EventID"] == archivetest.FailedCode)
}

func fieldValues(e event.Event) []string {
	var all []string
	for _, v := range e.Fields {
		all = append(all, v)
	}
	return all
}

func BenchmarkBatch(b *testing.B) {
	g := archivetest.New(archivetest.Options{Events: 10_000_000, Span: 7 * 24 * time.Hour})
	n := 0
	for b.Loop() {
		n += len(g.Batch(n / 500 % g.Batches()).Events)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}
