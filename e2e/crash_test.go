//go:build e2e

package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/incident"
)

// TestKilledInEveryStage kills the hub, the agent or both with kill -9 right
// after each step that somebody was told has happened, and looks for it after
// the restart.
func TestKilledInEveryStage(t *testing.T) {
	t.Parallel()
	s := newStory(t, "ks")

	// detection: the hub is dead when the clients start, the agent dies too
	s.hub.process.Kill9()
	s.swarm.transmission(t, s.pc.host)
	s.swarm.aria2(t, s.pc.host)
	time.Sleep(2 * time.Second) // both clients talk to their peers while nobody can be told
	s.pc.kill9(t)
	s.hub.start(t)
	s.hub.awaitReady(t)
	a := s.alert(t, "bittorrent-certain")
	await(t, 60*time.Second, "both clients in the alert", func() bool {
		s.admin.do(t, http.MethodGet, "/alerts/"+a.ID, nil, &a, 0)
		return named(a, "transmission") && named(a, "aria2")
	})

	// acknowledged
	s.admin.do(t, http.MethodPost, "/alerts/"+a.ID+"/ack", nil, nil, 0)
	s.hub.kill9(t, nil)
	s.admin.do(t, http.MethodGet, "/alerts/"+a.ID, nil, &a, 0)
	if a.State != alert.Acked || a.AckedBy != s.admin.ID {
		t.Errorf("after the crash the alert is %s by %q", a.State, a.AckedBy)
	}

	// incident opened: what follows from it happens after the restart
	in := s.open(t, a)
	s.hub.kill9(t, nil)
	s.pc.kill9(t)
	bag := s.evidence(t, in)

	iso := s.isolateThroughCrashes(t, in)
	s.releaseThroughCrash(t, iso)
	s.reportThroughCrash(t, in)

	var bags list[evidence.Bag]
	s.admin.do(t, http.MethodGet, "/evidence?incident="+in.ID, nil, &bags, 0)
	if len(bags.Items) != 1 {
		t.Errorf("%d bags, want 1", len(bags.Items))
	}
	s.chronologyIsComplete(t, in)
	s.oneAlert(t)
	s.provable(t, bag)
	s.nothingAcknowledgedIsMissing(t)
}

func named(a alert.Alert, program string) bool {
	return slices.ContainsFunc(a.Process, func(p alert.Process) bool { return strings.Contains(p.Image, program) })
}

// isolateThroughCrashes kills the hub after the request and both right after
// the approval: the order reaches the agent all the same.
func (s *story) isolateThroughCrashes(t *testing.T, in incident.Incident) (iso action.Action) {
	t.Helper()
	s.admin.do(t, http.MethodPost, "/actions", map[string]any{"kind": "isolate", "incident": in.ID, "host": s.pc.ID,
		"reason": "ファイル共有を止めるため", "forbidden": "203.0.113.7:51414", "lease_seconds": 600}, &iso, http.StatusCreated)
	s.hub.kill9(t, nil)
	s.second.do(t, http.MethodPost, "/actions/"+iso.ID+"/approve", nil, nil, 0)
	s.hub.process.Kill9()
	s.pc.kill9(t)
	s.hub.start(t)
	s.hub.awaitReady(t)
	await(t, 60*time.Second, "the isolation being verified", func() bool {
		s.admin.do(t, http.MethodGet, "/actions/"+iso.ID, nil, &iso, 0)
		return iso.State == action.Verified
	})
	s.silent(t, "after the crashes", 2*time.Second)
	return iso
}

// releaseThroughCrash kills the hub right after it took the release.
func (s *story) releaseThroughCrash(t *testing.T, iso action.Action) {
	t.Helper()
	before := s.leaving(t)
	s.admin.do(t, http.MethodPost, "/actions/"+iso.ID+"/release", map[string]string{"reason": "止まったことを確かめたため"}, nil, 0)
	s.hub.kill9(t, nil)
	await(t, 60*time.Second, "the action being released", func() bool {
		s.admin.do(t, http.MethodGet, "/actions/"+iso.ID, nil, &iso, 0)
		return iso.State == action.Released
	})
	await(t, 60*time.Second, "packets leaving after the release", func() bool { return s.leaving(t) > before })
}

// reportThroughCrash kills the hub after facts and report were taken.
func (s *story) reportThroughCrash(t *testing.T, in incident.Incident) {
	t.Helper()
	var as duty.Assessment
	s.admin.do(t, http.MethodGet, "/incidents/"+in.ID+"/duties", nil, &as, 0)
	facts := as.Facts
	facts.Personal, facts.Maximum = duty.Yes, 1200
	s.admin.do(t, http.MethodPut, "/incidents/"+in.ID+"/facts", facts, nil, 0)
	s.hub.kill9(t, nil)
	s.admin.do(t, http.MethodGet, "/incidents/"+in.ID+"/duties", nil, &as, 0)
	if as.Facts.Maximum != 1200 {
		t.Errorf("the facts are lost: %+v", as.Facts)
	}
	var doc struct{ ID string }
	s.admin.do(t, http.MethodPost, "/incidents/"+in.ID+"/reports", nil, &doc, http.StatusCreated)
	s.hub.kill9(t, nil)
	status, page := s.admin.call(t, http.MethodGet, "/incidents/"+in.ID+"/reports/"+doc.ID+"/html?lang=ja", nil)
	if status != http.StatusOK {
		t.Errorf("the report is lost: %d %s", status, page)
	}
}
