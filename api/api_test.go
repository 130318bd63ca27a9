package api

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/ready/asset"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestDescription(t *testing.T) {
	h := New(Deps{})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", prefix+path, nil))
		return w
	}
	got := get("/openapi.json")
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got.Body.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.Body.String(), "\n")); diff != "" {
		t.Errorf("the API changed; whoever uses it must hear of it (-want +got):\n%s", diff)
	}
	if y := get("/openapi.yaml"); y.Code != http.StatusOK || !strings.Contains(y.Body.String(), "openapi: 3.1.0") {
		t.Errorf("YAML: %d", y.Code)
	}
	if d := get("/docs"); d.Code != http.StatusNotFound { // it would load its program from elsewhere
		t.Errorf("a page of documentation is served: %d", d.Code)
	}
}

type described struct {
	Paths map[string]map[string]describedOperation `json:"paths"`
}

type describedOperation struct {
	OperationID string `json:"operationId"`
	Verb        string `json:"x-sonae-verb"`
	Kind        string `json:"x-sonae-kind"`
	Security    []any  `json:"security"`
	Parameters  []struct {
		In string `json:"in"`
	} `json:"parameters"`
}

func (o describedOperation) pathParameters() int {
	n := 0
	for _, p := range o.Parameters {
		if p.In == "path" {
			n++
		}
	}
	return n
}

func TestEveryOperationNeedsASessionAndARight(t *testing.T) {
	b := newBench(t)
	w := b.send(httptest.NewRequest("GET", prefix+"/openapi.json", nil))
	var doc described
	w.is(http.StatusOK, &doc)
	n := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.OperationID == "log-in" {
				continue
			}
			n++
			if strings.Count(path, "{") != op.pathParameters() {
				t.Errorf("%s does not read its path", op.OperationID)
			}
			if op.Verb == "" || op.Kind == "" || len(op.Security) == 0 {
				t.Errorf("%s says not which right it needs", op.OperationID)
			}
			url := strings.NewReplacer("{id}", "x", "{document}", "x", "{field}", "host").Replace(path)
			for name, token := range map[string]string{"no": "", "a wrong": strings.Repeat("A", 43)} {
				a := b.call(token, strings.ToUpper(method), url, map[string]string{})
				if p := a.problem(http.StatusUnauthorized, "auth.session-ended"); p.Status != 401 {
					t.Errorf("%s with %s token", op.OperationID, name)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d operations were tried", n)
	}
}

func TestContractorStaysAtTheOwnSite(t *testing.T) {
	b := newBench(t)
	hospital, centre := b.host("hospital"), b.host("callcentre")
	theirs, ours := b.raise(hospital), b.raise(centre)
	contractor := b.person("suzuki", "callcentre", auth.Contractor)
	responder := b.person("sato", "", auth.Responder)

	// what is theirs to see
	var alerts page[alert.Alert]
	b.call(contractor, "GET", "/alerts", nil).is(http.StatusOK, &alerts)
	if len(alerts.Items) != 1 || alerts.Total != 1 || alerts.Items[0].ID != ours.ID {
		t.Errorf("the list holds %+v", alerts)
	}
	var hosts page[asset.Host]
	b.call(contractor, "GET", "/hosts", nil).is(http.StatusOK, &hosts)
	if len(hosts.Items) != 1 || hosts.Items[0].ID != centre.ID {
		t.Errorf("the list holds %+v", hosts)
	}
	var sites page[asset.Site]
	b.call(contractor, "GET", "/sites", nil).is(http.StatusOK, &sites)
	if len(sites.Items) != 1 || sites.Items[0].ID != "callcentre" {
		t.Errorf("the list holds %+v", sites)
	}
	b.call(contractor, "GET", "/alerts/"+ours.ID, nil).is(http.StatusOK, nil)

	// an incident that touches both sites, and one that does not
	var both, other incident.Incident
	b.call(responder, "POST", "/incidents", NewIncident{Title: "両方", Severity: "high", Alerts: []string{ours.ID}, Hosts: []string{hospital.ID}}).is(http.StatusCreated, &both)
	b.call(responder, "POST", "/incidents", NewIncident{Title: "病院", Severity: "high", Alerts: []string{theirs.ID}}).is(http.StatusCreated, &other)
	if diff := cmp.Diff([]string{"callcentre", "hospital"}, both.Scope.Sites); diff != "" {
		t.Error(diff)
	}
	b.call(contractor, "GET", "/incidents/"+both.ID, nil).is(http.StatusOK, nil)
	b.call(contractor, "POST", "/incidents/"+both.ID+"/entries", NewEntry{Text: "PCの電源は切っていません。", Certainty: "fact"}).is(http.StatusCreated, nil)
	var entries page[incident.Entry]
	b.call(contractor, "GET", "/incidents/"+both.ID+"/entries", nil).is(http.StatusOK, &entries)
	if n := len(entries.Items); n == 0 || entries.Items[n-1].Text != "PCの電源は切っていません。" {
		t.Errorf("the chronology holds %+v", entries)
	}

	before := b.refusals()
	tries := []struct {
		method, path string
		in           any
		key          string
	}{
		{"GET", "/alerts/" + theirs.ID, nil, "denied.other-site"},
		{"GET", "/alerts?site=hospital", nil, "denied.other-site"},
		{"GET", "/hosts/" + hospital.ID, nil, "denied.other-site"},
		{"GET", "/hosts?site=hospital", nil, "denied.other-site"},
		{"GET", "/sites/hospital", nil, "denied.other-site"},
		{"GET", "/incidents/" + other.ID, nil, "denied.other-site"},
		{"GET", "/incidents/" + other.ID + "/entries", nil, "denied.other-site"},
		{"POST", "/incidents/" + other.ID + "/entries", NewEntry{Text: "x"}, "denied.other-site"},
		{"POST", "/alerts/" + ours.ID + "/ack", nil, "denied.role"},
		{"POST", "/incidents/" + both.ID + "/move", Move{To: "ended", Reason: "x"}, "denied.role"},
		{"POST", "/incidents", NewIncident{Title: "x", Severity: "low", Alerts: []string{ours.ID}}, "denied.role"},
		{"GET", "/incidents/" + both.ID + "/duties", nil, "denied.role"},
		{"GET", "/incidents/" + both.ID + "/reports", nil, "denied.role"},
		{"GET", "/evidence", nil, "denied.role"},
		{"GET", "/actions", nil, "denied.role"},
		{"GET", "/people", nil, "denied.role"},
		{"GET", "/records", nil, "denied.role"},
		{"GET", "/ledger/checkpoint", nil, "denied.role"},
		{"POST", "/tokens", NewToken{Site: "callcentre"}, "denied.role"},
	}
	for _, try := range tries {
		b.call(contractor, try.method, try.path, try.in).problem(http.StatusForbidden, try.key)
	}
	// each is recorded; duties and reports of an incident are one right, and the
	// same refusal is recorded once a minute
	if got, want := b.refusals()-before, len(tries)-1; got != want {
		t.Errorf("%d refusals recorded, want %d", got, want)
	}
	after := b.refusals()
	b.call(contractor, "GET", "/alerts/"+theirs.ID, nil).problem(http.StatusForbidden, "denied.other-site")
	if got := b.refusals(); got != after {
		t.Errorf("the same refusal was recorded again within a minute")
	}
}

func TestAlertBecomesIncident(t *testing.T) {
	b := newBench(t)
	a := b.raise(b.host("callcentre"))
	responder := b.person("sato", "", auth.Responder)
	b.call(responder, "POST", "/alerts/"+a.ID+"/ack", nil).is(http.StatusNoContent, nil)
	b.call(b.person("mori", "", auth.Responder), "POST", "/alerts/"+a.ID+"/ack", nil).problem(http.StatusConflict, "alert.already-acked")
	var c incident.Incident
	b.call(responder, "POST", "/incidents", NewIncident{Title: "不審な通信", Severity: "critical", Alerts: []string{a.ID}}).is(http.StatusCreated, &c)
	if c.Scope.Sites[0] != "callcentre" || c.Scope.Hosts[0] != a.Host {
		t.Errorf("scope %+v", c.Scope)
	}
	b.call(responder, "POST", "/incidents", NewIncident{Title: "もう一度", Severity: "low", Alerts: []string{a.ID}}).problem(http.StatusConflict, "incident.already-open")
	b.call(responder, "POST", "/incidents/"+c.ID+"/move", Move{To: "responding", Reason: "電話で確認した"}).is(http.StatusNoContent, nil)
	b.call(responder, "POST", "/incidents/"+c.ID+"/severity", Severity{"high", "一台だけ"}).is(http.StatusNoContent, nil)
	b.call(responder, "POST", "/incidents/"+c.ID+"/command", Commander{"pe-nobody"}).problem(http.StatusNotFound, "auth.no-person")
	b.call(responder, "GET", "/incidents/"+c.ID, nil).is(http.StatusOK, &c)
	if c.State != incident.Responding || c.Severity.String() != "high" {
		t.Errorf("%+v", c)
	}
	b.call(responder, "GET", "/incidents/in-none", nil).problem(http.StatusNotFound, "incident.missing")
}

func TestHostsTokensAndPeople(t *testing.T) {
	b := newBench(t)
	admin := b.person("second", "", auth.Administrator)
	h := b.host("callcentre")
	b.call(admin, "PUT", "/hosts/"+h.ID, HostFields{Name: "受付PC", Class: "pc", Services: []asset.Service{{Name: "電話受付", Effect: "予約の電話を受けられない"}}}).is(http.StatusNoContent, nil)
	b.call(admin, "GET", "/hosts/"+h.ID, nil).is(http.StatusOK, &h)
	if h.Name != "受付PC" || h.Site != "callcentre" || len(h.Services) != 1 {
		t.Errorf("%+v", h)
	}
	gone := b.host("callcentre")
	b.call(b.person("sato", "", auth.Responder), "DELETE", "/hosts/"+gone.ID, nil).problem(http.StatusForbidden, "denied.role")
	b.call(admin, "DELETE", "/hosts/"+gone.ID, nil).is(http.StatusNoContent, nil)
	b.call(admin, "GET", "/hosts/"+gone.ID, nil).is(http.StatusOK, &gone)
	if gone.RemovedAt.IsZero() {
		t.Errorf("still trusted: %+v", gone)
	}
	b.call(admin, "DELETE", "/hosts/"+gone.ID, nil).problem(http.StatusNotFound, "asset.host-unknown")
	b.call(admin, "PUT", "/sites/branch", SiteFields{Name: "分院", Kind: "office"}).is(http.StatusNoContent, nil)
	var token Token
	b.call(admin, "POST", "/tokens", NewToken{Site: "branch"}).is(http.StatusCreated, &token)
	if token.Secret == "" || token.Site != "branch" {
		t.Errorf("%+v", token)
	}
	if list := b.call(admin, "GET", "/tokens", nil); list.Code != http.StatusOK || strings.Contains(list.Body.String(), token.Secret) {
		t.Errorf("%d: the list shows the secret", list.Code)
	}
	var invited Invited
	b.call(admin, "POST", "/people", Invite{Login: "mori", Name: "森", Roles: []auth.Role{auth.Executive}}).is(http.StatusCreated, &invited)
	if _, err := b.keeper.Accept(t.Context(), invited.Token, auth.Acceptance{Password: password}); err != nil {
		t.Error(err)
	}
	_, err := b.keeper.Accept(t.Context(), invited.Token, auth.Acceptance{Password: password})
	if err == nil {
		t.Error("a replayed invitation was accepted")
	}
	b.call(admin, "POST", "/people", Invite{Login: "x1", Name: "x", Roles: []auth.Role{auth.Contractor}, Site: "nowhere"}).problem(http.StatusNotFound, "asset.site-unknown")
	auditor := b.person("kansa", "", auth.Auditor)
	var records page[auth.Record]
	b.call(auditor, "GET", "/records?kind=login", nil).is(http.StatusOK, &records)
	if !strings.Contains(b.call(auditor, "GET", "/records", nil).Body.String(), "invitation-replayed") {
		t.Error("the replay is not recorded")
	}
	var c Checkpoint
	b.call(auditor, "GET", "/ledger/checkpoint", nil).is(http.StatusOK, &c)
	b.call(auditor, "POST", "/ledger/proof", leaf.Leaf{Type: "login", Ref: "none", Digest: strings.Repeat("0", 64), At: b.clock()}).is(http.StatusNotFound, nil)
}

func TestLogInOut(t *testing.T) {
	b := newBench(t)
	token := b.person("sato", "", auth.Responder)
	var who auth.Person
	b.call(token, "GET", "/session", nil).is(http.StatusOK, &who)
	if who.Login != "sato" {
		t.Errorf("%+v", who)
	}
	b.call(token, "DELETE", "/session", nil).is(http.StatusNoContent, nil)
	b.call(token, "GET", "/session", nil).problem(http.StatusUnauthorized, "auth.session-ended")

	token = b.person("mori", "", auth.Responder)
	b.pass(31 * time.Minute)
	b.call(token, "GET", "/session", nil).problem(http.StatusUnauthorized, "auth.session-ended")

	for range 5 {
		b.call("", "POST", "/session", LogIn{Login: "admin", Password: "wrong wrong wrong"}).problem(http.StatusUnauthorized, "auth.refused")
	}
	locked := b.call("", "POST", "/session", LogIn{Login: "admin", Password: password})
	locked.problem(http.StatusTooManyRequests, "auth.locked")
	if locked.Header().Get("Retry-After") == "" {
		t.Error("nobody is told to wait")
	}
}

func TestOtherOriginsCannotWrite(t *testing.T) {
	b := newBench(t)
	a := b.raise(b.host("callcentre"))
	token := b.person("sato", "", auth.Responder)
	send := func(headers map[string]string) answer {
		r := httptest.NewRequest("POST", "http://hub.example"+prefix+"/alerts/"+a.ID+"/ack", nil)
		r.AddCookie(&http.Cookie{Name: cookiePlain, Value: token})
		for k, v := range headers {
			r.Header.Set(k, v)
		}
		return b.send(r)
	}
	send(map[string]string{"Sec-Fetch-Site": "cross-site"}).problem(http.StatusForbidden, "api.cross-origin")
	send(map[string]string{"Sec-Fetch-Site": "same-site"}).problem(http.StatusForbidden, "api.cross-origin")
	send(map[string]string{"Origin": "https://evil.example"}).problem(http.StatusForbidden, "api.cross-origin")
	got, err := b.alerts.Get(t.Context(), a.ID)
	if err != nil || got.State != alert.Open {
		t.Fatalf("a refused write was done: %v, %v", got.State, err)
	}
	send(map[string]string{"Sec-Fetch-Site": "same-origin"}).is(http.StatusNoContent, nil)

	// somebody else's page must not log a browser in either
	r := httptest.NewRequest("POST", "http://hub.example"+prefix+"/session", strings.NewReader(`{"login":"a","password":"b"}`))
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	b.send(r).problem(http.StatusForbidden, "api.cross-origin")
}

func TestCookieNameFollowsTheConnection(t *testing.T) {
	b := newBench(t)
	token := b.person("sato", "", auth.Responder)
	for name, tt := range map[string]struct {
		cookie string
		tls    bool
		want   int
	}{
		"loopback":                         {cookiePlain, false, 200},
		"TLS":                              {cookieTLS, true, 200},
		"a plain cookie does not do there": {cookiePlain, true, 401},
	} {
		r := httptest.NewRequest("GET", prefix+"/session", nil)
		r.AddCookie(&http.Cookie{Name: tt.cookie, Value: token})
		if tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if a := b.send(r); a.Code != tt.want {
			t.Errorf("%s: %d, want %d", name, a.Code, tt.want)
		}
	}
}

func TestBadRequests(t *testing.T) {
	b := newBench(t)
	token := b.person("sato", "", auth.Responder)
	raw := func(kind, text string) answer {
		r := httptest.NewRequest("POST", prefix+"/incidents", strings.NewReader(text))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", kind)
		return b.send(r)
	}
	const json = "application/json"
	raw(json, `{"title":"`+strings.Repeat("あ", 1<<20)+`"}`).problem(http.StatusRequestEntityTooLarge, "api.too-large")
	raw(json, `{"title":`).problem(http.StatusBadRequest, "api.invalid")
	raw(json, strings.Repeat("[", 200000)).problem(http.StatusBadRequest, "api.invalid")
	raw("text/plain", `{}`).problem(http.StatusUnsupportedMediaType, "api.not-json")
	p := raw(json, `{"title":"x","severity":"extreme","surprise":1}`).problem(http.StatusUnprocessableEntity, "api.invalid")
	if got := strings.Join(p.Errors, "\n"); !strings.Contains(got, "body.severity") || !strings.Contains(got, "body.surprise") {
		t.Errorf("the errors do not name the parts: %s", got)
	}
	b.call(token, "GET", "/alerts?limit=100000", nil).problem(http.StatusUnprocessableEntity, "api.invalid")
	b.call(token, "GET", "/nothing/here", nil).problem(http.StatusNotFound, "api.no-operation")
}

func TestLanguageOfProblems(t *testing.T) {
	b := newBench(t)
	for header, want := range map[string]string{
		"":                           "ログインが切れています",
		"en-GB,en;q=0.9":             "You are not logged in",
		"fr,en;q=0.5,ja;q=0.4":       "You are not logged in",
		"ja,en;q=0.9":                "ログインが切れています",
		"en;q=0, ja;q=0.1":           "ログインが切れています",
		"en;q=nonsense, *;;,,;q=1,日": "ログインが切れています",
	} {
		r := httptest.NewRequest("GET", prefix+"/session", nil)
		r.Header.Set("Accept-Language", header)
		if p := b.send(r).problem(http.StatusUnauthorized, "auth.session-ended"); !strings.HasPrefix(p.Detail, want) {
			t.Errorf("%q: %s", header, p.Detail)
		}
	}
}

// A broken machine is logged, not shown.
func TestOwnErrorsAreNotShown(t *testing.T) {
	b := newBench(t)
	token := b.person("sato", "", auth.Responder)
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	a := b.call(token, "GET", "/session", nil)
	a.problem(http.StatusInternalServerError, "api.own")
	if bytes.Contains(a.Body.Bytes(), []byte("sql")) {
		t.Errorf("the cause is shown: %s", a.Body)
	}
	if !json.Valid(a.Body.Bytes()) {
		t.Error("not JSON")
	}
}
