package alert

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
)

// TestAListTellsWhatEachAlertTells: many alerts are read in a few queries;
// each must have its own peers and programs, in the same order and number.
func TestAListTellsWhatEachAlertTells(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		f := flowFinding(i, i%9+1, time.Duration(i)*time.Second, int64(i+1), int64(2*i))
		f.Host = fmt.Sprint("pc", i%3)
		f.Events[0].Host = f.Host
		f.Events[0].Fields["pid"] = fmt.Sprint(100 + i)
		if i%5 == 0 {
			f.Rule.ID, f.Events[0].Kind = "other", "process" // no peers
		}
		handle(t, w, f)
	}
	list, n, err := w.List(t.Context(), Filter{})
	if err != nil || n != 6 || len(list) != 6 {
		t.Fatalf("got %d of %d alerts: %v", len(list), n, err)
	}
	for _, a := range list {
		one, err := w.Get(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(one, a); diff != "" {
			t.Errorf("alone and in the list (-alone +list):\n%s", diff)
		}
		if a.Peers == nil || a.Process == nil || (a.Rule.ID == "other") != (len(a.Peers) == 0) || len(a.Process) == 0 {
			t.Errorf("%s on %s has peers %v and programs %v", a.Rule.ID, a.Host, a.Peers, a.Process)
		}
	}
}

func TestLooseAlertsOfHostsAndRulesOfAnIncident(t *testing.T) {
	w := newWorld(t)
	on := func(host, rule string) string {
		f := flowFinding(len(host)*10+len(rule), 1, 0, 1, 1)
		f.ID, f.Host, f.Rule.ID = host+rule, host, rule
		a, err := w.Of(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	loose, linked, closed := on("pc1", "a"), on("pc1", "bb"), on("pc2", "a")
	on("pc3", "a") // of a host that nobody asks for
	if err := w.Link(t.Context(), linked, "in-1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context(), closed, "done", auth.Person{ID: "pe-1"}); err != nil {
		t.Fatal(err)
	}
	list, n, err := w.List(t.Context(), Filter{Hosts: []string{"pc1", "pc2"}, Loose: true})
	if err != nil || n != 1 || list[0].ID != loose {
		t.Errorf("loose are %d: %+v, %v; want %s", n, list, err, loose)
	}
	if err := w.Link(t.Context(), loose, "in-1"); err != nil {
		t.Fatal(err)
	}
	var ids []string
	rules, err := w.Rules(t.Context(), Filter{Incident: "in-1"})
	for _, r := range rules {
		ids = append(ids, r.ID)
	}
	if diff := cmp.Diff([]string{"a", "bb"}, ids); diff != "" || err != nil {
		t.Errorf("rules of the incident: %v (-want +got):\n%s", err, diff)
	}
	var none []detect.Rule
	if got, err := w.Rules(t.Context(), Filter{Incident: "in-2"}); err != nil || cmp.Diff(none, got) != "" {
		t.Errorf("of another one: %v, %v", got, err)
	}
}
