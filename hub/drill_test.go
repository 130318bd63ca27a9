package hub_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/drill"
	"github.com/sonae/sonae/state/statetest"
)

// TestDrillGoesThroughTheWholeFlow plays the practice incident from the first
// packet to the printed report through the hub's doors.
func TestDrillGoesThroughTheWholeFlow(t *testing.T) {
	t.Parallel()
	playDrill(t, hubtest.Start(t))
}

// The same on PostgreSQL, where the folder then holds no rows.
func TestDrillOnPostgreSQL(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t, hubtest.State(statetest.Postgres(t)))
	playDrill(t, h)
	if _, err := os.Stat(filepath.Join(h.Dir, "state.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder has a SQLite file: %v", err)
	}
}

func playDrill(t *testing.T, h *hubtest.Hub) {
	t.Helper()
	one := h.FirstAdmin()
	two := h.Person("approver", "", auth.Approver)
	both := h.Person("both", "", auth.Approver, auth.Responder)

	a := h.Raised(one)
	if !a.Drill || a.Host != drill.Host || a.Site != drill.Site || a.Sent == 0 || len(a.Process) == 0 {
		t.Errorf("alert %+v: not marked as a drill, or it lacks what was seen", a)
	}
	in := one.Open(a)
	if !in.Drill || in.KnownAt.IsZero() || !slices.Contains(in.Scope.Sites, drill.Site) {
		t.Errorf("incident %+v: not the drill's", in)
	}

	iso := both.Isolate(in, a, 5)
	if iso.State != action.Requested || len(iso.Consequences) == 0 {
		t.Errorf("requested isolation is %s and says it stops %v", iso.State, iso.Consequences)
	}
	if key := both.Refused(http.StatusForbidden, "POST", "/actions/"+iso.ID+"/approve", nil); key != "denied.own-request" {
		t.Errorf("the requester's own approval: got %s", key)
	}
	if key := one.Refused(http.StatusForbidden, "POST", "/actions/"+iso.ID+"/approve", nil); key == "" {
		t.Error("an approval without the role was not refused with a reason")
	}
	two.Must("POST", "/actions/"+iso.ID+"/approve", nil, nil)
	iso = one.Reach(iso.ID, action.Verified)
	if len(iso.Checks) != 2 || iso.ExpiresAt.Sub(iso.AppliedAt) != iso.Lease || iso.DecidedBy != two.Person.ID {
		t.Errorf("verified isolation: %+v", iso)
	}
	one.Reach(iso.ID, action.Expired) // nobody did anything: the lease ended it

	again := one.Isolate(in, a, 600)
	two.Must("POST", "/actions/"+again.ID+"/approve", nil, nil)
	one.Reach(again.ID, action.Verified)
	one.Must("POST", "/actions/"+again.ID+"/release", map[string]string{"reason": "訓練を終える"}, nil)
	one.Reach(again.ID, action.Released)

	bag := hubtest.Get[evidence.Bag](one, "/evidence/"+one.Sealed(in.ID).ID)
	if bag.State != evidence.Sealed || len(bag.Items) < 5 || bag.Digest == "" {
		t.Errorf("bag %+v", bag)
	}
	var doc struct{ ID, Digest string }
	one.Must("POST", "/incidents/"+in.ID+"/reports", nil, &doc)
	one.Written(in.ID, "document.made")
	checkChronology(t, one.Chronology(in.ID), doc.Digest)
}

// checkChronology wants every step, in the order of what happened, without a
// line that a person typed.
func checkChronology(t *testing.T, entries []incident.Entry, digest string) {
	t.Helper()
	keys := map[string]int{}
	for i, e := range entries {
		keys[e.Key]++
		if e.No != i+1 || e.Text != "" || e.Key == "" {
			t.Errorf("entry %d is number %d, text %q, key %q", i+1, e.No, e.Text, e.Key)
		}
		if e.Key == "document.made" && e.Args["digest"] != digest {
			t.Errorf("the chronology names digest %s of the report, want %s", e.Args["digest"], digest)
		}
	}
	for key, want := range map[string]int{
		"incident.opened-drill": 1, "alert.linked": 1,
		"action.requested.preserve": 1, "action.verified.preserve": 1, "evidence.sealed": 1,
		"action.requested.isolate": 2, "action.applied.isolate": 2, "action.verified.isolate": 2,
		"action.expired.lease": 1, "action.releasing": 1, "action.released.order": 1, "document.made": 1,
	} {
		if keys[key] < want || want == 1 && key != "action.requested.preserve" && key != "action.verified.preserve" && keys[key] != want {
			t.Errorf("the chronology has %d of %s, want %d", keys[key], key, want)
		}
	}
	if t.Failed() {
		for _, e := range entries {
			t.Logf("%d %s %v", e.No, e.Key, e.Args)
		}
	}
}
