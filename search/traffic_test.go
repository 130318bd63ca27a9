package search

import (
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state/statetest"
)

// wire is a Desk over a real archive with the connections of two machines.
func wire(t *testing.T) *Desk {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	now := func() time.Time { return noon }
	a, err := archive.Open(t.Context(), t.TempDir(), log, archive.WithClock(now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	var events []event.Event
	add := func(at time.Time, phase, site, src, dst, port, app, name string, out, in int) {
		f := map[string]string{event.FieldFlowID: "fl-" + src + dst + strconv.FormatInt(at.Unix(), 10), event.FieldPhase: phase, event.FieldProtocol: "tcp", event.FieldSrcIP: src, event.FieldSrcPort: "50000",
			event.FieldDstIP: dst, event.FieldDstPort: port, event.FieldSent: strconv.Itoa(out), event.FieldReceived: strconv.Itoa(in)}
		if app != "" {
			f[event.FieldApp], f[event.FieldConfidence], f[event.FieldVerdict] = app, "certain", app
		}
		if name != "" {
			f["DestinationHostname"] = name
		}
		events = append(events, event.Event{ID: fmt.Sprintf("e-%d", len(events)), Time: at, Site: site, Host: "ho-" + site, Kind: event.KindFlow, Product: "sonae", Category: "network_connection", Service: "flow", Fields: f})
	}
	for n := range 6 {
		at := noon.Add(-time.Duration(n)*time.Hour - time.Minute)
		for _, phase := range []string{"identified", "end"} {
			add(at, phase, "callcentre", "10.0.0.5", "203.0.113."+strconv.Itoa(n%2+1), "443", "tls", "cdn.example", 100, 1000)
			add(at, phase, "callcentre", "10.0.0.5", "203.0.113.9", "6881", "bittorrent", "", 5000, 70)
			add(at, phase, "hospital", "10.0.1.7", "10.0.0.5", "3389", "", "", 10, 20)
		}
	}
	if _, err := a.Append(t.Context(), []event.Batch{{ID: "ba-1", Site: "callcentre", Host: "ho-1", SentAt: noon, Events: events}}); err != nil {
		t.Fatal(err)
	}
	return New(statetest.Open(t), a, now, log)
}

func TestTrafficSumsWhatEnded(t *testing.T) {
	d := wire(t)
	got, err := d.Traffic(t.Context(), Wanted{}, noon.Add(-24*time.Hour), noon, responder)
	if err != nil {
		t.Fatal(err)
	}
	last := noon.Add(-time.Minute)
	want := []Talk{
		{"10.0.0.5", "203.0.113.9", "bittorrent", 6, 30000, 420, last},
		{"10.0.0.5", "203.0.113.1", "tls", 3, 300, 3000, last},
		{"10.0.0.5", "203.0.113.2", "tls", 3, 300, 3000, last.Add(-time.Hour)},
		{"10.0.1.7", "10.0.0.5", "", 6, 60, 120, last},
	}
	if diff := cmp.Diff(want, got.Talks); diff != "" {
		t.Errorf("talks (-want +got):\n%s", diff)
	}
	if got.Connections != 18 || got.Out != 30660 || len(got.Now) != 18 || got.More {
		t.Errorf("connections %d, out %d, identified %d, more %v", got.Connections, got.Out, len(got.Now), got.More)
	}
	own, err := d.Traffic(t.Context(), Wanted{}, noon.Add(-24*time.Hour), noon, neighbour)
	if err != nil || len(own.Talks) != 1 || own.Talks[0].Src != "10.0.1.7" {
		t.Errorf("a person of one site sees %v, %v", own.Talks, err)
	}
}

func TestTrafficIsNarrowed(t *testing.T) {
	d := wire(t)
	for _, c := range []struct {
		w    Wanted
		want int
	}{
		{Wanted{Address: "203.0.113.9"}, 1}, {Wanted{Address: "203.0.113.0/24"}, 3}, {Wanted{Label: "tls"}, 2}, {Wanted{Label: "-"}, 1},
		{Wanted{Port: "3389"}, 1}, {Wanted{Name: "CDN.ex"}, 2}, {Wanted{Name: "cdn/ex"}, 0}, {Wanted{Host: "ho-hospital"}, 1}, {Wanted{Confidence: "certain"}, 3},
	} {
		got, err := d.Traffic(t.Context(), c.w, noon.Add(-24*time.Hour), noon, responder)
		if err != nil || len(got.Talks) != c.want {
			t.Errorf("%+v: %d talks, want %d (%v)", c.w, len(got.Talks), c.want, err)
		}
	}
	if _, err := d.Traffic(t.Context(), Wanted{Address: `x" OR "y`}, noon.Add(-time.Hour), noon, responder); fault.Of(err) != fault.Invalid {
		t.Errorf("no address gives %v", err)
	}
}

func TestAPartyIsShownWithItsWeek(t *testing.T) {
	d := wire(t)
	p, err := d.Party(t.Context(), "10.0.0.5", noon.Add(-24*time.Hour), noon, responder)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Talks) != 3 || len(p.Verdicts) != 12 {
		t.Errorf("%d talks, %d verdicts", len(p.Talks), len(p.Verdicts))
	}
	if diff := cmp.Diff([]Port{{"3389", "", 6, 1}}, p.Serves); diff != "" {
		t.Errorf("serves (-want +got):\n%s", diff)
	}
	// noon is Saturday 28 November 2026, 12:00 in Japan; a minute before is 11
	if p.Week[5][11] != 3 || p.Week[5][6] != 3 || p.Week.Most() != 3 {
		t.Errorf("week %v", p.Week)
	}
	if _, err := d.Party(t.Context(), "nobody", noon, noon, responder); fault.Of(err) != fault.Invalid {
		t.Errorf("no address gives %v", err)
	}
}

func TestConnections(t *testing.T) {
	d := wire(t)
	c, err := d.Connections(t.Context(), Wanted{Label: "bittorrent"}, noon.Add(-24*time.Hour), noon, "", 4, responder)
	if err != nil || len(c.Events) != 4 || c.Next == "" {
		t.Fatalf("%d events, next %q, %v", len(c.Events), c.Next, err)
	}
	rest, err := d.Connections(t.Context(), Wanted{Label: "bittorrent"}, noon.Add(-24*time.Hour), noon, c.Next, 4, responder)
	if err != nil || len(rest.Events) != 2 || rest.Next != "" {
		t.Fatalf("%d more events, next %q, %v", len(rest.Events), rest.Next, err)
	}
	e := c.Events[0]
	phases, err := d.Connection(t.Context(), e.Fields[event.FieldFlowID], e.Time, responder)
	if err != nil || len(phases) != 2 || phases[0].Fields[event.FieldPhase] != "identified" {
		t.Fatalf("%d phases, %v", len(phases), err)
	}
	if _, err := d.Connection(t.Context(), "fl-none", e.Time, responder); fault.Of(err) != fault.Missing {
		t.Errorf("an unknown connection gives %v", err)
	}
	if _, err := d.Connection(t.Context(), e.Fields[event.FieldFlowID], e.Time, neighbour); fault.Of(err) != fault.Missing {
		t.Errorf("a connection of another site gives %v", err)
	}
}
