package search

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// withArchive fills a real archive: one machine of each site talks to an
// address, the second also logs somebody in.
func (r *rig) withArchive() *rig {
	r.t.Helper()
	a, err := archive.Open(r.t.Context(), r.t.TempDir(), r.log, archive.WithClock(r.moment))
	r.must(err)
	r.t.Cleanup(func() { _ = a.Close() })
	var batches []event.Batch
	for i, site := range []string{"hospital", "callcentre"} {
		b := event.Batch{ID: "ba-" + site, Site: site, Host: "ho-" + site}
		for n := range 10 {
			b.Events = append(b.Events, event.Event{ID: fmt.Sprintf("%s-%d", b.ID, n), Time: r.now.Add(-time.Duration(n*5+i+1) * time.Hour), Site: site, Host: b.Host, Kind: event.KindFlow,
				Fields: map[string]string{event.FieldSrcIP: fmt.Sprintf("192.0.2.%d", i+1), event.FieldDstIP: "203.0.113.7", event.FieldImage: `C:\Program Files\a "b".exe`, event.FieldUser: "tanaka"}})
		}
		batches = append(batches, b)
	}
	_, err = a.Append(r.t.Context(), batches)
	r.must(err)
	r.Desk = New(r.db, a, r.clock, r.log)
	return r
}

func (r *rig) clock() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now }

func TestEntityIsWhatTheArchiveHolds(t *testing.T) {
	r := newRig(t).withArchive()
	from, to := r.now.Add(-7*24*time.Hour), r.now
	e, err := r.Entity(t.Context(), Address, " 203.0.113.7 ", from, to, responder)
	r.must(err)
	if e.Count != 20 || !e.Last.Equal(r.now.Add(-time.Hour)) || !e.First.Equal(r.now.Add(-47*time.Hour)) || len(e.Days) != 7 {
		t.Errorf("entity %+v", e)
	}
	var sum int64
	for _, d := range e.Days {
		sum += d.Count
	}
	if sum != 20 {
		t.Errorf("the days hold %d", sum)
	}
	related := map[string][]archive.Value{}
	for _, x := range e.Related {
		related[x.Field] = x.Top
	}
	want := map[string][]archive.Value{
		"host": {{Text: "ho-callcentre", Count: 10}, {Text: "ho-hospital", Count: 10}}, "User": {{Text: "tanaka", Count: 20}},
		"SourceIp": {{Text: "192.0.2.1", Count: 10}, {Text: "192.0.2.2", Count: 10}}, "Image": {{Text: `C:\Program Files\a "b".exe`, Count: 20}},
	}
	if diff := cmp.Diff(want, related); diff != "" {
		t.Errorf("related -want +got:\n%s", diff)
	}
	if n := e.Nodes(); len(n) != 6 || n[0].Kind != Host || n[len(n)-1].Kind != Process {
		t.Errorf("nodes %+v", n)
	}
}

func TestEveryKindOfEntityIsFound(t *testing.T) {
	r := newRig(t).withArchive()
	for kind, value := range map[Kind]string{Host: "ho-hospital", User: "tanaka", Address: "192.0.2.1", Process: `C:\Program Files\a "b".exe`} {
		e, err := r.Entity(t.Context(), kind, value, r.now.Add(-72*time.Hour), r.now, responder)
		r.must(err)
		if e.Count < 10 {
			t.Errorf("%s %s: %d events with %s", kind, value, e.Count, e.Query)
		}
	}
	e, err := r.Entity(t.Context(), Hash, "none", r.now.Add(-12*time.Hour), r.now, responder)
	r.must(err)
	if e.Count != 0 || !e.First.IsZero() || len(e.Days) != 12 {
		t.Errorf("nothing is %+v", e)
	}
}

func TestEntityOfAnotherSiteIsNotThere(t *testing.T) {
	r := newRig(t).withArchive()
	e, err := r.Entity(t.Context(), User, "tanaka", r.now.Add(-72*time.Hour), r.now, contractor)
	r.must(err)
	if e.Count != 10 || len(e.Related[0].Top) != 1 || e.Related[0].Top[0].Text != "ho-callcentre" {
		t.Errorf("a contractor sees %+v", e)
	}
	for name, tt := range map[string]struct {
		kind  Kind
		value string
	}{"no kind": {"planet", "x"}, "no value": {User, " "}, "no address": {Address, "tanaka"}, "no text": {User, "\xff"}} {
		if _, err := r.Entity(t.Context(), tt.kind, tt.value, r.now, r.now, responder); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
