package api

import (
	"archive/zip"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/report"
)

func TestTwoPeopleStandBehindAnIsolation(t *testing.T) {
	b := newBench(t)
	h := b.host("callcentre")
	a := b.raise(h)
	one := b.person("sato", "", auth.Responder, auth.Approver)
	two := b.person("mori", "", auth.Approver)
	local := b.person("ito", "hospital", auth.Responder, auth.Approver)
	var c incident.Incident
	b.call(one, "POST", "/incidents", NewIncident{Title: "不審な通信", Severity: "critical", Alerts: []string{a.ID}}).is(http.StatusCreated, &c)
	ask := NewAction{Kind: "isolate", Incident: c.ID, Host: h.ID, Reason: "拡大を止める", Forbidden: "198.51.100.7:6881", LeaseSeconds: 3600}

	b.call(two, "POST", "/actions", ask).problem(http.StatusForbidden, "denied.role")
	b.call(local, "POST", "/actions", ask).problem(http.StatusForbidden, "denied.other-site")
	var plan, got action.Action
	b.call(one, "POST", "/actions/plan", ask).is(http.StatusOK, &plan)
	var none page[action.Action]
	b.call(one, "GET", "/actions", nil).is(http.StatusOK, &none)
	if none.Total != 0 {
		t.Error("planning stored something")
	}
	b.call(one, "POST", "/actions", ask).is(http.StatusCreated, &got)
	if got.State != action.Requested || got.Site != "callcentre" {
		t.Fatalf("%+v", got)
	}
	b.call(one, "POST", "/actions/"+got.ID+"/approve", nil).problem(http.StatusForbidden, "denied.own-request")
	b.call(local, "POST", "/actions/"+got.ID+"/approve", nil).problem(http.StatusForbidden, "denied.other-site")
	var list page[action.Action]
	b.call(local, "GET", "/actions", nil).is(http.StatusOK, &list)
	if len(list.Items) != 0 {
		t.Errorf("people of another site see %+v", list)
	}
	b.call(two, "POST", "/actions/"+got.ID+"/approve", nil).is(http.StatusOK, &got)
	if got.State != action.Approved {
		t.Errorf("state %s", got.State)
	}
	b.call(two, "POST", "/actions/"+got.ID+"/approve", nil).is(http.StatusConflict, nil)

	// whoever asked may take it back, though not approve it
	b.call(one, "POST", "/actions", NewAction{Kind: "isolate", Incident: c.ID, Host: b.host("hospital").ID, Reason: "念のため", Forbidden: "198.51.100.7:6881"}).is(http.StatusCreated, &got)
	b.call(one, "POST", "/actions/"+got.ID+"/refuse", Reason{"間違えた"}).is(http.StatusNoContent, nil)
}

func TestEvidenceLeavesWithAReason(t *testing.T) {
	b := newBench(t)
	h := b.host("callcentre")
	one := b.person("sato", "", auth.Responder)
	var c incident.Incident
	b.call(one, "POST", "/incidents", NewIncident{Title: "不審な通信", Severity: "critical", Hosts: []string{h.ID}}).is(http.StatusCreated, &c)
	var a action.Action
	b.call(one, "POST", "/actions", NewAction{Kind: "preserve", Incident: c.ID, Host: h.ID, Reason: "証拠を残す"}).is(http.StatusCreated, &a)
	if err := b.vault.OpenBag(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := b.vault.Seal(t.Context(), a.Bag, false); err != nil {
		t.Fatal(err)
	}
	var bags page[evidence.Bag]
	b.call(one, "GET", "/evidence?incident="+c.ID, nil).is(http.StatusOK, &bags)
	if len(bags.Items) != 1 || bags.Items[0].ID != a.Bag {
		t.Fatalf("%+v", bags)
	}
	b.call(one, "POST", "/evidence/"+a.Bag+"/zip", map[string]string{}).problem(http.StatusUnprocessableEntity, "api.invalid")
	w := b.call(one, "POST", "/evidence/"+a.Bag+"/zip", Export{"警察に渡す"})
	w.is(http.StatusOK, nil)
	z, err := zip.NewReader(bytes.NewReader(w.Body.Bytes()), int64(w.Body.Len()))
	if err != nil || len(z.File) == 0 || w.Header().Get("Content-Type") != "application/zip" {
		t.Fatal(err, w.Header())
	}
	if got := b.call(one, "GET", "/evidence/"+a.Bag+"/custody", nil); !strings.Contains(got.Body.String(), "警察に渡す") {
		t.Errorf("the custody record says nothing: %s", got.Body)
	}
	b.call(one, "POST", "/evidence/nothing/zip", Export{"x"}).is(http.StatusNotFound, nil)
	// people of one site get the list of that site only, whatever they ask for
	local := b.person("ito", "hospital", auth.Responder)
	for _, ask := range []string{"", "?host=" + h.ID, "?incident=" + c.ID} {
		var none page[evidence.Bag]
		b.call(local, "GET", "/evidence"+ask, nil).is(http.StatusOK, &none)
		if none.Total != 0 || len(none.Items) != 0 {
			t.Errorf("%q shows %d bags of another site", ask, none.Total)
		}
	}
	b.call(local, "GET", "/evidence?site=callcentre", nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(local, "POST", "/evidence/"+a.Bag+"/zip", Export{"x"}).problem(http.StatusForbidden, "denied.other-site")
}

func TestDutiesFollowFacts(t *testing.T) {
	b := newBench(t)
	one := b.person("sato", "", auth.Responder)
	reader := b.person("incho", "", auth.Executive)
	var c incident.Incident
	b.call(one, "POST", "/incidents", NewIncident{Title: "不審な通信", Severity: "critical", Sites: []string{"hospital"}}).is(http.StatusCreated, &c)
	if err := b.duties.Start(t.Context(), c, ""); err != nil {
		t.Fatal(err)
	}
	var before, after duty.Assessment
	b.call(reader, "GET", "/incidents/"+c.ID+"/duties", nil).is(http.StatusOK, &before)
	facts := before.Facts
	facts.Personal, facts.Sensitive = duty.Yes, duty.Yes
	b.call(reader, "PUT", "/incidents/"+c.ID+"/facts", facts).problem(http.StatusForbidden, "denied.role")
	b.call(one, "PUT", "/incidents/"+c.ID+"/facts", facts).is(http.StatusNoContent, nil)
	b.call(reader, "GET", "/incidents/"+c.ID+"/duties", nil).is(http.StatusOK, &after)
	if len(after.Clocks) == 0 || after.Facts.Sensitive != duty.Yes {
		t.Errorf("%+v", after)
	}
}

func TestReportsBelongToTheirIncident(t *testing.T) {
	b := newBench(t)
	one := b.person("sato", "", auth.Responder)
	reader := b.person("incho", "", auth.Executive)
	local := b.person("ito", "callcentre", auth.Responder)
	open := func(title string, sites ...string) incident.Incident {
		var c incident.Incident
		b.call(one, "POST", "/incidents", NewIncident{Title: title, Severity: "critical", Sites: sites}).is(http.StatusCreated, &c)
		if err := b.duties.Start(t.Context(), c, ""); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, other := open("病院の事案", "hospital"), open("委託先の事案", "callcentre")
	b.call(reader, "GET", "/incidents/"+c.ID+"/draft", nil).is(http.StatusOK, nil)
	b.call(reader, "POST", "/incidents/"+c.ID+"/reports", nil).problem(http.StatusForbidden, "denied.role")
	var made Document
	b.call(one, "POST", "/incidents/"+c.ID+"/reports", nil).is(http.StatusCreated, &made)
	var list page[Document]
	b.call(reader, "GET", "/incidents/"+c.ID+"/reports", nil).is(http.StatusOK, &list)
	if len(list.Items) != 1 || list.Items[0].ID != made.ID || made.No != 1 || len(made.Digest) != 64 {
		t.Fatalf("made %+v, listed %+v", made, list)
	}
	doc := "/reports/" + made.ID
	b.call(reader, "GET", "/incidents/"+c.ID+doc, nil).is(http.StatusOK, nil)
	page := b.call(reader, "GET", "/incidents/"+c.ID+doc+"/html?lang=ja", nil)
	page.is(http.StatusOK, nil)
	if !strings.Contains(page.Body.String(), "病院の事案") || !strings.HasPrefix(page.Header().Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%v: %.300s", page.Header(), page.Body)
	}
	views, n, err := b.keeper.Records(t.Context(), auth.RecordFilter{Kind: auth.RecordView})
	if err != nil || n != 2 { // the draft, and the document once in the same minute
		t.Errorf("recorded views: %+v, %v", views, err)
	}
	// by way of an incident that one may see, nobody reads another one's document
	b.call(local, "GET", "/incidents/"+c.ID+doc, nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(local, "GET", "/incidents/"+other.ID+doc, nil).problem(http.StatusNotFound, "api.no-document")
	b.call(local, "GET", "/incidents/"+other.ID+doc+"/html", nil).problem(http.StatusNotFound, "api.no-document")
}

// A slip in a site's name and alerts of a drill beside real ones are refused
// at the door.
func TestIncidentOfUnknownSitesOrMixedAlertsIsRefused(t *testing.T) {
	b := newBench(t)
	one := b.person("sato", "", auth.Responder)
	b.call(one, "POST", "/incidents", NewIncident{Title: "x", Severity: "high", Sites: []string{"hospitall"}}).is(http.StatusNotFound, nil)
	real, practice := b.raise(b.host("callcentre")), ""
	f := detect.Finding{ID: "f-drill", Time: b.clock(), Site: "callcentre", Host: "drill-pc", Drill: true, Rule: detect.Rule{ID: "p2p", Level: event.High},
		Events: []event.Event{{ID: "b-d", Time: b.clock(), Site: "callcentre", Host: "drill-pc", Kind: event.KindFlow, Drill: true}}}
	if err := b.alerts.Handle(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	list, _, err := b.alerts.List(t.Context(), alert.Filter{Host: "drill-pc"})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	practice = list[0].ID
	for _, ids := range [][]string{{real.ID, practice}, {practice, real.ID}} {
		b.call(one, "POST", "/incidents", NewIncident{Title: "x", Severity: "high", Alerts: ids}).problem(http.StatusConflict, "api.drill-mixed")
	}
}

func TestReporterIsStatedByAdministrators(t *testing.T) {
	b := newBench(t)
	admin, responder := b.person("second", "", auth.Administrator), b.person("sato", "", auth.Responder)
	want := report.Reporter{Organisation: "市立病院", Person: "安西 花"}
	b.call(responder, "PUT", "/reporter", want).problem(http.StatusForbidden, "denied.role")
	b.call(admin, "PUT", "/reporter", want).is(http.StatusNoContent, nil)
	var got report.Reporter
	b.call(responder, "GET", "/reporter", nil).is(http.StatusOK, &got)
	if got != want {
		t.Errorf("reporter %+v", got)
	}
}
