package main

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
)

// TestKilledHubLosesNothing kills the hub with SIGKILL again and again in the
// middle of a practice incident and of an isolation. Afterwards nothing is
// there twice, nothing is missing, and all of it verifies.
func TestKilledHubLosesNothing(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := hubtest.Folder(t)

	h := served(t, dir)
	one, two := h.FirstAdmin(), h.Person("approver", "", auth.Approver)
	killed := func() { // soon, at an unlucky moment
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		h.Kill()
		h = served(t, dir)
		one, two = h.Again(one), h.Again(two)
	}

	a := h.Raised(one) // while it plays
	killed()
	in := one.Open(h.Alert(one, a.Rule.ID))
	killed()
	iso := one.Isolate(in, a, 5)
	killed()
	two.Must(http.MethodPost, "/actions/"+iso.ID+"/approve", nil, nil)
	killed()
	end := one.Reach(iso.ID, action.Expired) // by its lease, whoever lives to see it
	if end.Failure != "" && end.VerifiedAt.IsZero() {
		t.Errorf("the isolation ended as %q", end.Failure)
	}
	one.Sealed(in.ID)
	killed()
	var made struct{ ID string }
	one.Must(http.MethodPost, "/incidents/"+in.ID+"/reports", nil, &made)
	killed()
	for _, key := range []string{"alert.linked", "action.expired.lease", "evidence.sealed", "document.made"} {
		one.Written(in.ID, key)
	}
	checkOnce(t, one, in)
	h.Idle()
	alerts := hubtest.List[alert.Alert](one, "/alerts")
	one.Must(http.MethodPost, "/incidents/"+in.ID+"/entries", map[string]string{"text": "電源が落ちる直前の記録"}, nil)
	h.Kill() // what was acknowledged a moment ago is on its way to the ledger; that is no difference

	var out, errs bytes.Buffer
	if code := run([]string{"verify", dir}, &out, &errs); code != 0 {
		t.Errorf("verify: exit %d\n%s%s", code, &out, &errs)
	}
	checkAlerts(t, dir, alerts)
}

// checkOnce wants a chronology without gaps and without repeats, one action of
// each kind and one bag.
func checkOnce(t *testing.T, c *hubtest.Client, in incident.Incident) {
	t.Helper()
	seen := map[string]bool{}
	entries := c.Chronology(in.ID)
	for i, e := range entries {
		if e.No != i+1 {
			t.Errorf("entry %d follows entry %d", e.No, i)
		}
		if e.Unique != "" && seen[e.Unique] {
			t.Errorf("entry %d repeats %s", e.No, e.Unique)
		}
		seen[e.Unique] = true
	}
	for key, want := range map[string]int{"alert.linked": 1, "action.requested.isolate": 1, "action.verified.isolate": 1, "action.expired.lease": 1, "evidence.sealed": 1, "document.made": 1} {
		n := len(slices.DeleteFunc(slices.Clone(entries), func(e incident.Entry) bool { return e.Key != key }))
		if n != want {
			t.Errorf("the chronology has %d of %s, want %d", n, key, want)
		}
	}
	kinds := map[action.Kind]int{}
	for _, a := range hubtest.List[action.Action](c, "/actions?incident="+in.ID) {
		kinds[a.Kind]++
	}
	if bags := hubtest.List[evidence.Bag](c, "/evidence?incident="+in.ID); len(bags) != 1 || kinds[action.Isolate] != 1 || kinds[action.Preserve] != 1 {
		t.Errorf("got %d bags and actions %v, want one of each", len(bags), kinds)
	}
}

// checkAlerts runs the rules over everything in the archive: each alert must
// have counted exactly the findings that the archive shows.
func checkAlerts(t *testing.T, dir string, alerts []alert.Alert) {
	t.Helper()
	store, err := archive.Open(t.Context(), dir+"/archive", hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	events, err := store.Query(t.Context(), archive.Query{Limit: 100000})
	if err != nil {
		t.Fatal(err)
	}
	engine, _, err := detect.Load(rules.FS)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	ids := map[string]bool{}
	for _, e := range events {
		if ids[e.ID] {
			t.Errorf("event %s stands in the archive twice", e.ID)
		}
		ids[e.ID] = true
		for _, f := range engine.Match(event.Batch{Site: e.Site, Host: e.Host, Events: []event.Event{e}}) {
			found[f.Rule.ID]++
		}
	}
	seen := map[string]bool{}
	for _, a := range alerts {
		if seen[a.Rule.ID] {
			t.Errorf("there are two alerts of %s", a.Rule.ID)
		}
		seen[a.Rule.ID] = true
	}
	for _, id := range []string{"bittorrent-certain", "p2p-process"} { // those that count nothing themselves
		i := slices.IndexFunc(alerts, func(a alert.Alert) bool { return a.Rule.ID == id })
		if i < 0 || alerts[i].Count != found[id] || found[id] == 0 {
			t.Errorf("rule %s: the archive shows %d findings, the alerts are %+v", id, found[id], alerts)
		}
	}
}
