package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
)

// A site is cut as it was written down, by one person who asks and another who
// approves, and nobody of another site has a hand in it.
func TestASiteIsCutByTwoPersons(t *testing.T) {
	b := newBench(t)
	admin, asks, decides := b.person("second", "", auth.Administrator), b.person("sato", "", auth.Responder, auth.Approver), b.person("mori", "", auth.Approver)
	stranger := b.person("third", "callcentre", auth.Administrator, auth.Responder, auth.Approver)
	var d device.Device
	b.call(admin, "POST", "/devices", DeviceFields{Device: device.Device{Site: "hospital", Name: "UTM", Means: action.List}, Secrets: map[string]string{"secret": "token-of-the-list"}}).is(http.StatusCreated, &d)
	section := func(s action.Stage, name, target string) action.Section {
		return action.Section{Stage: s, Name: name, Stops: "止まるもの", Kind: action.Block, Via: d.ID, Targets: []string{target}}
	}
	plan := CutFields{Sections: []action.Section{section(action.Border, "3階", "10.0.3.9"), section(action.BackupPath, "控えの倉庫", "10.0.9.9")}}

	// written by administrators of the site, in whatever order
	b.call(asks, "PUT", "/sites/hospital/cut", plan).problem(http.StatusForbidden, "denied.role")
	b.call(stranger, "PUT", "/sites/hospital/cut", plan).problem(http.StatusForbidden, "denied.other-site")
	b.call(admin, "PUT", "/sites/callcentre/cut", plan).problem(http.StatusConflict, "cut.other-site")
	b.call(admin, "PUT", "/sites/hospital/cut", CutFields{Sections: []action.Section{section("first", "3階", "10.0.3.9")}}).problem(http.StatusBadRequest, "cut.stage")
	b.call(admin, "PUT", "/sites/hospital/cut", CutFields{Sections: []action.Section{section(action.Border, "3階", "line:eth1")}}).problem(http.StatusBadRequest, "action.block-target")
	b.call(admin, "PUT", "/sites/hospital/cut", plan).is(http.StatusNoContent, nil)
	var cut action.Cut
	b.call(asks, "GET", "/sites/hospital/cut", nil).is(http.StatusOK, &cut)
	if cut.Version != 1 || len(cut.Sections) != 2 || cut.Sections[0].Stage != action.BackupPath {
		t.Errorf("written: %+v", cut)
	}

	// shown, asked for, and approved by another person
	var i incident.Incident
	b.call(asks, "POST", "/incidents", NewIncident{Title: "暗号化", Severity: "critical", Sites: []string{"hospital"}}).is(http.StatusCreated, &i)
	ask := NewCutting{Site: "hospital", Incident: i.ID, Reason: "広がっている", LeaseSeconds: 600}
	var shown, q action.Cutting
	b.call(asks, "POST", "/cuttings/plan", ask).is(http.StatusOK, &shown)
	if shown.ID != "" || len(shown.Parts) != 2 || shown.Parts[0].ViaName != "UTM" || shown.Parts[0].Refused != "" {
		t.Errorf("shown: %+v", shown)
	}
	b.call(stranger, "POST", "/cuttings", ask).problem(http.StatusForbidden, "denied.other-site")
	b.call(asks, "POST", "/cuttings", ask).is(http.StatusCreated, &q)
	b.call(asks, "POST", "/cuttings", ask).problem(http.StatusConflict, "action.already-requested")
	at := "/cuttings/" + q.ID
	b.call(asks, "POST", at+"/approve", nil).problem(http.StatusForbidden, "denied.own-request")
	b.call(admin, "POST", at+"/approve", nil).problem(http.StatusForbidden, "denied.role")
	b.call(stranger, "POST", at+"/approve", nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(stranger, "GET", at, nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(asks, "POST", at+"/release", reasonOf("まだ")).problem(http.StatusConflict, "action.not-in-force")
	b.call(decides, "POST", at+"/approve", nil).is(http.StatusOK, &q)
	if q.State != action.CutBegun || q.Stage != action.BackupPath || q.Parts[0].Action == "" || q.Parts[1].Action != "" {
		t.Errorf("approved: %+v", q)
	}

	// hurried, undone, listed
	b.call(asks, "POST", at+"/go-on", reasonOf("線を抜いた")).is(http.StatusNoContent, nil)
	b.call(asks, "POST", at+"/release", reasonOf("誤報だった")).is(http.StatusNoContent, nil)
	b.call(decides, "POST", at+"/refuse", reasonOf("遅い")).problem(http.StatusConflict, "action.not-waiting")
	b.call(asks, "GET", at, nil).is(http.StatusOK, &q)
	if q.State != action.CutReleasing {
		t.Errorf("released: %+v", q)
	}
	if w := b.call(asks, "GET", "/cuttings?incident="+i.ID, nil); !strings.Contains(w.Body.String(), q.ID) {
		t.Errorf("list: %s", w.Body)
	}
	if w := b.call(stranger, "GET", "/cuttings", nil); strings.Contains(w.Body.String(), q.ID) {
		t.Errorf("another site's people see it: %s", w.Body)
	}
	b.call(asks, "GET", "/cuttings/cu-none", nil).problem(http.StatusNotFound, "action.unknown")
}

func reasonOf(text string) map[string]string { return map[string]string{"reason": text} }
