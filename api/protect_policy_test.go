package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
)

// A class of data gets a policy, which is looked at, kept, run, changed and
// ended; people of another site and contractors have no hand in it.
func TestABackupPolicyFromItsClassToItsEnd(t *testing.T) {
	b := newBench(t)
	h := b.host("hospital")
	asks, reads := b.person("sato", "", auth.Responder), b.person("mori", "hospital", auth.Executive)
	stranger, contractor := b.person("third", "callcentre", auth.Responder), b.person("fourth", "callcentre", auth.Contractor)

	fields := DataClassFields{Site: "hospital", Name: "電子カルテ", Owner: b.whose(asks), Data: []string{"sensitive"}, Medical: true, MaxLoss: 24}
	b.call(stranger, "POST", "/protect/classes", fields).problem(http.StatusForbidden, "denied.other-site")
	b.call(reads, "POST", "/protect/classes", fields).problem(http.StatusForbidden, "denied.role")
	var class policy.Class
	b.call(asks, "POST", "/protect/classes", fields).is(http.StatusCreated, &class)

	p := BackupPolicyFields{Site: "hospital", Class: class.ID, Name: "毎晩", Owner: b.whose(asks), Hosts: []string{h.ID}, Sources: []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{"/srv"}}},
		Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}
	var preview BackupPreview
	b.call(asks, "POST", "/protect/policies/preview", p).is(http.StatusOK, &preview)
	if len(preview.Next) != 7 || preview.Generations != 7 || preview.Allowed != 28*time.Hour {
		t.Errorf("%+v", preview)
	}
	b.call(stranger, "POST", "/protect/policies", p).problem(http.StatusForbidden, "denied.other-site")
	var made policy.Policy
	b.call(asks, "POST", "/protect/policies", p).is(http.StatusCreated, &made)
	at := "/protect/policies/" + made.ID
	b.call(stranger, "GET", at, nil).problem(http.StatusForbidden, "denied.other-site")
	p.Version, p.Why, p.Keep = 1, "長く残す", policy.Keep{Daily: 14}
	b.call(asks, "PUT", at, p).is(http.StatusOK, &made)
	b.call(asks, "PUT", at, p).problem(http.StatusConflict, "protect.policy.changed")
	var versions page[policy.Policy]
	b.call(reads, "GET", at, nil).is(http.StatusOK, &versions)
	if versions.Total != 2 || versions.Items[0].Keep.Daily != 14 {
		t.Errorf("%+v", versions)
	}

	var runs page[BackupRunOut]
	b.call(reads, "POST", at+"/run", RunBackup{}).problem(http.StatusForbidden, "denied.role")
	b.call(asks, "POST", at+"/run", RunBackup{Host: h.ID}).is(http.StatusAccepted, &runs)
	var listed page[BackupRunOut]
	b.call(reads, "GET", "/protect/runs?going=true", nil).is(http.StatusOK, &listed)
	if listed.Total != 1 || listed.Items[0].ID != runs.Items[0].ID {
		t.Fatalf("%+v", listed)
	}
	run := "/protect/runs/" + runs.Items[0].ID
	b.call(stranger, "POST", run+"/cancel", nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(asks, "POST", run+"/cancel", nil).is(http.StatusNoContent, nil)
	b.call(asks, "POST", run+"/trust", Reason{Reason: "x"}).problem(http.StatusConflict, "protect.policy.no-doubt")
	b.call(reads, "GET", run, nil).is(http.StatusOK, &runs)
	if runs.Total != 2 || runs.Items[1].State != policy.Cancelled {
		t.Errorf("%+v", runs)
	}

	var o policy.Overview
	b.call(reads, "GET", "/protect", nil).is(http.StatusOK, &o)
	if len(o.Covers) != 1 || o.Line.Proof != policy.Never || o.Known {
		t.Errorf("%+v", o)
	}
	var past page[BackupHistoryLine]
	b.call(reads, "GET", "/protect/history?lang=en", nil).is(http.StatusOK, &past)
	if past.Total != 3 || past.Items[0].Key != "backup.cancelled" || !strings.Contains(past.Items[0].Text, "毎晩") || strings.Contains(past.Items[0].Text, h.ID) {
		t.Errorf("%+v", past)
	}
	b.call(reads, "GET", "/protect/history?kind=missed", nil).is(http.StatusOK, &past)
	if past.Total != 0 {
		t.Errorf("%+v", past)
	}
	b.call(reads, "GET", "/protect/history?from=2020-01-01T00:00:00Z", nil).problem(http.StatusBadRequest, "protect.history.span")
	b.call(stranger, "GET", "/protect/history?site=hospital", nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(contractor, "GET", "/protect/history.csv", nil).problem(http.StatusForbidden, "denied.role")
	b.call(contractor, "GET", "/protect", nil).problem(http.StatusForbidden, "denied.role")
	b.call(asks, "POST", "/protect/classes/"+class.ID+"/end", nil).problem(http.StatusConflict, "protect.policy.class-used")
	b.call(asks, "POST", at+"/end", Reason{Reason: "廃止"}).is(http.StatusNoContent, nil)
	b.call(asks, "POST", "/protect/classes/"+class.ID+"/end", nil).is(http.StatusNoContent, nil)
}
