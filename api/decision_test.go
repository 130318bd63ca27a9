package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/ready/asset"
)

func whole(n int) *int { return &n }

// A service is evaluated, decided about by one person and approved after the
// fact by another; people of another site have no hand in it.
func TestADecisionIsRecordedAndApprovedAfterTheFact(t *testing.T) {
	b := newBench(t)
	h := b.host("hospital")
	admin, asks, decides := b.person("second", "", auth.Administrator), b.person("sato", "", auth.Responder, auth.Approver), b.person("mori", "", auth.Approver)
	stranger := b.person("third", "callcentre", auth.Administrator, auth.Responder, auth.Approver)
	service := asset.Service{ID: "ehr", Name: "電子カルテ", Wards: []string{"3東"}, Clinics: []string{}, Yen: whole(120_000), Persons: whole(85_000), Data: []string{"sensitive"}}
	fields := HostFields{Name: "カルテ", Class: "server", Services: []asset.Service{service}}
	b.call(admin, "PUT", "/hosts/"+h.ID, fields).is(http.StatusNoContent, nil)
	fields.Services[0].Data = []string{"gossip"}
	b.call(admin, "PUT", "/hosts/"+h.ID, fields).problem(http.StatusBadRequest, "asset.service-data")

	var i incident.Incident
	b.call(asks, "POST", "/incidents", NewIncident{Title: "暗号化", Severity: "critical", Sites: []string{"hospital"}, Hosts: []string{h.ID}}).is(http.StatusCreated, &i)
	at := "/incidents/" + i.ID
	var seen page[decision.Evaluation]
	b.call(asks, "GET", at+"/evaluation", nil).is(http.StatusOK, &seen)
	if len(seen.Items) != 1 || seen.Items[0].Verdict != decision.Stop || seen.Items[0].Service.Name != "電子カルテ" || *seen.Items[0].Stop.Yen != 120_000 || seen.Items[0].Stop.Clinics == nil {
		t.Fatalf("evaluation: %+v", seen)
	}
	b.call(stranger, "GET", at+"/evaluation", nil).problem(http.StatusForbidden, "denied.other-site")

	n := NewDecision{Service: seen.Items[0].Service.Key, Verdict: "pause", Reason: "確かめるまで", ReviewAt: b.now.Add(time.Hour), ProxyFor: "院長", ProxyRule: "規程 第4条", After: whole(0)}
	b.call(decides, "POST", at+"/decisions", n).problem(http.StatusForbidden, "denied.role")
	b.call(stranger, "POST", at+"/decisions", n).problem(http.StatusForbidden, "denied.other-site")
	var v decision.Decision
	b.call(asks, "POST", at+"/decisions", n).is(http.StatusCreated, &v)
	if v.Version != 1 || v.Approval.State != decision.Waiting || v.Seen.Verdict != decision.Stop {
		t.Errorf("decided: %+v", v)
	}
	b.call(asks, "POST", at+"/decisions", n).problem(http.StatusConflict, "decision.overtaken")
	one := at + "/decisions/" + v.ID
	b.call(asks, "POST", one+"/dissent", NewDissent{Who: "看護部長", Why: "病棟が困る"}).is(http.StatusCreated, &v)
	b.call(asks, "POST", one+"/approve", LateApproval{Given: true}).problem(http.StatusForbidden, "denied.own-request")
	b.call(stranger, "POST", one+"/approve", LateApproval{Given: true}).problem(http.StatusForbidden, "denied.other-site")
	b.call(decides, "POST", "/incidents/in-other/decisions/"+v.ID+"/approve", LateApproval{Given: true}).problem(http.StatusNotFound, "decision.missing")
	b.call(decides, "POST", one+"/approve", LateApproval{Given: false}).problem(http.StatusBadRequest, "decision.reason-missing")
	b.call(decides, "POST", one+"/approve", LateApproval{Given: true, Why: "妥当"}).is(http.StatusOK, &v)
	if v.Version != 3 || v.Approval.State != decision.Given || len(v.Dissents) != 1 {
		t.Errorf("approved: %+v", v)
	}
	var versions page[decision.Decision]
	b.call(asks, "GET", one, nil).is(http.StatusOK, &versions)
	if len(versions.Items) != 3 {
		t.Errorf("versions: %+v", versions)
	}
	if w := b.call(asks, "GET", at+"/decisions", nil); !strings.Contains(w.Body.String(), v.ID) {
		t.Errorf("list: %s", w.Body)
	}
}

func TestCriteriaAreWrittenByWhoAdministersTheSite(t *testing.T) {
	b := newBench(t)
	admin, responder, theirs := b.person("second", "", auth.Administrator), b.person("sato", "", auth.Responder), b.person("third", "callcentre", auth.Administrator)
	c := CriteriaFields{Why: "院長の指示", Criteria: []CriterionLine{{Measure: "hosts", AtLeast: 2, Verdict: "stop", Source: map[string]string{"ja": "院長"}}}}
	b.call(responder, "PUT", "/decision-criteria", c).problem(http.StatusForbidden, "denied.role")
	b.call(theirs, "PUT", "/decision-criteria", c).problem(http.StatusForbidden, "denied.other-site")
	b.call(theirs, "PUT", "/decision-criteria?service=hospital%2Fehr", c).problem(http.StatusForbidden, "denied.other-site")
	b.call(theirs, "PUT", "/decision-criteria?service=callcentre%2Fphone", c).is(http.StatusOK, nil)
	b.call(admin, "PUT", "/decision-criteria", c).is(http.StatusOK, nil)
	b.call(admin, "PUT", "/decision-criteria", c).problem(http.StatusConflict, "decision.sheet-changed")
	var out CriteriaOut
	b.call(responder, "GET", "/decision-criteria?service=hospital%2Fehr", nil).is(http.StatusOK, &out)
	if out.Holds.From != decision.AllService || out.Criteria[0].AtLeast != 2 || len(out.Versions) != 0 {
		t.Errorf("criteria: %+v", out)
	}
}
