package well

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/state/statetest"
)

var noon = time.Date(2026, 7, 1, 3, 0, 0, 0, time.UTC)

// TestAlertsEndWhenTheValueIsWellAgain: with the real desks of thresholds and
// alerts; the disk of one machine comes back, that of another does not, and
// what belongs to an incident stays.
func TestAlertsEndWhenTheValueIsWellAgain(t *testing.T) {
	at := noon
	now := func() time.Time { return at }
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db := statetest.Open(t)
	alerts := alert.New(db, now, log)
	full := map[string]float64{"a": 0.97, "b": 0.97, "c": 0.97}
	limits := threshold.New(db, func(context.Context) (out []threshold.Machine, _ error) {
		for host, v := range full {
			out = append(out, threshold.Machine{Site: "hp", Host: host, Seen: at, Measures: []threshold.Measure{{Name: "disk", Object: "/", Value: v}}})
		}
		return out, nil
	}, now, log)
	rule := threshold.RulePrefix + "disk"
	w := New(Deps{Alerts: alerts, Rules: threshold.RuleIDs(), Lasts: limits.Lasts, Log: log})
	pass := func(d time.Duration) {
		t.Helper()
		for end := at.Add(d); at.Before(end); at = at.Add(15 * time.Second) {
			if err := limits.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := w.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	states := func() map[string]alert.Alert {
		t.Helper()
		list, _, err := alerts.List(t.Context(), alert.Filter{Rule: rule})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]alert.Alert{}
		for _, a := range list {
			out[a.Host] = a
		}
		return out
	}
	pass(20 * time.Minute)
	for host := range full { // what the flow does with a firing
		if err := alerts.Handle(t.Context(), detect.Finding{ID: host, Time: at, Site: "hp", Host: host, Rule: detect.Rule{ID: rule, Level: event.High, Title: detect.Text{"ja": "x", "en": "x"}},
			Events: []event.Event{{ID: host, Time: at, Site: "hp", Host: host}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := alerts.Ack(t.Context(), states()["a"].ID, auth.Person{ID: "pe-1"}); err != nil {
		t.Fatal(err)
	}
	if err := alerts.Link(t.Context(), states()["c"].ID, "in-1"); err != nil {
		t.Fatal(err)
	}
	pass(5 * time.Minute)
	for host, a := range states() {
		if a.State == alert.Closed {
			t.Fatalf("%s was closed while it lasts", host)
		}
	}
	full["a"], full["c"] = 0.2, 0.2
	pass(10 * time.Minute)
	got := states()
	if a := got["a"]; a.State != alert.Closed || a.ClosedBy != "sonae" || a.Reason != Again {
		t.Errorf("a: %s by %q: %s", a.State, a.ClosedBy, a.Reason)
	}
	if got["b"].State != alert.Open {
		t.Errorf("b is still full: %s", got["b"].State)
	}
	if got["c"].State == alert.Closed {
		t.Error("c belongs to an incident and was closed")
	}
}
