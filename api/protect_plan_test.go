package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/plan"
)

// A plan is taken from the model, kept, begun in an incident and forecast by
// those of its site; people of another site see nothing of it.
func TestAPlanIsKeptBegunAndForecast(t *testing.T) {
	b := newBench(t)
	b.host("hospital") // and its site
	keeps, stranger := b.person("sato", "hospital", auth.Responder), b.person("third", "callcentre", auth.Responder)
	var p plan.Plan
	b.call(keeps, "GET", "/protect/plan-model", nil).is(http.StatusOK, &p)
	n := PlanBody{Site: "hospital", Name: p.Name, About: p.About, Staff: p.Staff, Streams: p.Streams, Hub: p.Hub, Sources: p.Sources, Services: p.Services}
	b.call(stranger, "POST", "/protect/plans", n).problem(http.StatusForbidden, "denied.other-site")
	b.call(keeps, "POST", "/protect/plans", n).is(http.StatusCreated, &p)
	at := "/protect/plans/" + p.ID
	b.call(stranger, "GET", at, nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(stranger, "GET", at+"/forecast", nil).problem(http.StatusForbidden, "denied.other-site")

	n.Version, n.Services[0].After = 1, []string{"emr"}
	b.call(keeps, "PUT", at, n).problem(http.StatusBadRequest, "protect.plan.cycle")
	n.Services[0].After, n.Staff = nil, 6
	b.call(keeps, "PUT", at, n).is(http.StatusOK, &p)
	b.call(keeps, "PUT", at, n).problem(http.StatusConflict, "protect.plan.changed")
	var versions page[plan.Plan]
	b.call(keeps, "GET", at+"/versions", nil).is(http.StatusOK, &versions)
	if len(versions.Items) != 2 || versions.Items[1].Staff != 6 {
		t.Errorf("versions: %+v", versions)
	}

	b.call(keeps, "POST", at+"/restores", forecast.Restore{At: b.clock().Add(-time.Hour), Source: "hub", Bytes: 4e9, Files: 1000, Seconds: 50, Ref: "手作業"}).is(http.StatusCreated, nil)
	var terms forecast.Terms
	b.call(keeps, "GET", at+"/terms", nil).is(http.StatusOK, &terms)
	f := PricesBody{Prices: terms.Prices, Losses: terms.Losses, Targets: []forecast.Target{{Hours: 1}}}
	b.call(keeps, "PUT", at+"/terms", f).is(http.StatusOK, nil)
	var out forecast.Forecast
	b.call(keeps, "GET", at+"/forecast", nil).is(http.StatusOK, &out)
	if !out.Late || out.Back.P90 <= out.Back.P50 || out.Terms.Version != 1 || out.Services[1].Rate.Drills != 1 {
		t.Errorf("forecast: %+v", out)
	}

	var i incident.Incident
	b.call(keeps, "POST", "/incidents", NewIncident{Title: "暗号化", Severity: "critical", Sites: []string{"hospital"}}).is(http.StatusCreated, &i)
	b.call(keeps, "GET", at+"/forecast?incident="+i.ID, nil).problem(http.StatusNotFound, "protect.forecast.not-begun")
	b.call(stranger, "POST", at+"/begin", PlanBegin{Incident: i.ID}).problem(http.StatusForbidden, "denied.other-site")
	var run playbook.Run
	b.call(keeps, "POST", at+"/begin", PlanBegin{Incident: i.ID}).is(http.StatusCreated, &run)
	if run.Incident != i.ID || len(run.Visits) == 0 {
		t.Errorf("run: %+v", run)
	}
	b.call(keeps, "GET", at+"/forecast?incident="+i.ID, nil).is(http.StatusOK, &out)
	if out.Incident != i.ID || out.Services[0].State != "running" {
		t.Errorf("followed: %+v", out)
	}
}
