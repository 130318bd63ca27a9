package ui

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
)

func TestEveryRouteNamesItsRightAndOneAnswer(t *testing.T) {
	for _, r := range routes() {
		if r.open == (r.verb != "" || r.kind != "") || (!r.open && (r.verb == "" || r.kind == "")) {
			t.Errorf("%s must be open or name verb and kind", r.pattern)
		}
		n := 0
		for _, set := range []bool{r.page != nil, r.do != nil, r.raw != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s has %d answers, want 1", r.pattern, n)
		}
		if strings.HasPrefix(r.pattern, "POST") && r.page != nil {
			t.Errorf("%s: a form leads elsewhere", r.pattern)
		}
		if strings.HasPrefix(r.pattern, "GET") && r.do != nil {
			t.Errorf("%s: reading changes nothing", r.pattern)
		}
	}
}

func TestRights(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	for login, want := range map[string]map[string]int{
		"contractor": {"/": 200, "/alerts/al-1": 200, "/incidents/in-1": 200, "/actions": 403, "/evidence/bag-1": 403, "/hosts/ho-1": 200, "/hosts/ho-2": 403, "/settings": 403, "/audit": 403, "/incidents/in-1/isolate?host=ho-1": 403, "/incidents/in-1/documents/do-1": 403},
		"executive":  {"/": 200, "/actions/ac-1": 200, "/actions/ac-1/approve": 403, "/incidents/in-1/facts": 403, "/settings": 403, "/incidents/in-1/documents/do-1": 200},
		"responder":  {"/incidents/in-1/facts": 200, "/actions/ac-1/approve": 403, "/settings": 403},
		"approver":   {"/actions/ac-1/approve": 200, "/incidents/in-1/facts": 403},
		"admin":      {"/settings": 200, "/actions/ac-1/approve": 403, "/audit": 403},
		"auditor":    {"/audit": 200, "/actions": 200},
	} {
		b := v.as(login)
		for path, status := range want {
			if got := b.get(path).status; got != status {
				t.Errorf("%s at %s: %d, want %d", login, path, got, status)
			}
		}
	}
	if len(h.refusals) == 0 {
		t.Error("no refusal was recorded")
	}
}

func TestFormsAreRefusedWithoutTheRight(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	for login, paths := range map[string][]string{
		"executive":  {"/alerts/al-1/ack", "/alerts/al-1/incident", "/incidents", "/incidents/in-1/entries", "/incidents/in-1/isolations", "/actions/ac-1/approve", "/drill", "/people", "/tokens", "/hosts/ho-1", "/evidence/bag-1/zip"},
		"contractor": {"/alerts/al-1/ack", "/incidents/in-1/state", "/incidents/in-1/bags", "/actions/ac-1/release", "/sites"},
		"responder":  {"/actions/ac-1/approve", "/people/pe-admin/disable", "/hosts/ho-1/remove"},
	} {
		b := v.as(login)
		for _, path := range paths {
			if got := b.post(path, "text", "x", "reason", "x", "name", "x", "purpose", "x"); got.status != http.StatusForbidden {
				t.Errorf("%s posting %s: %d, want 403", login, path, got.status)
			}
		}
	}
	if h.acts[0].State != action.Requested || h.drills != 0 || len(h.purposes) != 0 {
		t.Error("something was done in spite of the refusal")
	}
	if c := v.as("contractor"); c.post("/incidents/in-1/entries", "text", "席を確認した", "certainty", "fact").status != http.StatusSeeOther {
		t.Error("a contractor may write into the chronology of its own site")
	}
}

func TestDeniedPageSaysTheReason(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	got := v.as("contractor").get("/hosts/ho-2").body
	if !strings.Contains(got, "ほかの拠点のもの") {
		t.Errorf("the page does not say why: %s", around(got, "notice"))
	}
}

func TestStrangersAreLedToTheLogIn(t *testing.T) {
	v, _ := newHouse().open(t)
	got := v.get("/alerts?state=open")
	if got.status != http.StatusSeeOther || got.header.Get("Location") != "/login?next=%2Falerts%3Fstate%3Dopen" {
		t.Fatalf("got %d %s", got.status, got.header.Get("Location"))
	}
	got = v.post("/login", "login", "responder", "password", "correct horse battery", "next", "/alerts?state=open")
	if got.header.Get("Location") != "/alerts?state=open" {
		t.Errorf("after the log-in: %s", got.header.Get("Location"))
	}
	for _, evil := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:alert(1)"} {
		got := v.post("/login", "login", "responder", "password", "correct horse battery", "next", evil)
		if to := got.header.Get("Location"); to != "/" {
			t.Errorf("next=%s leads to %s", evil, to)
		}
	}
}

func TestWrongPasswordIsNeverEchoed(t *testing.T) {
	v, _ := newHouse().open(t)
	got := v.post("/login", "login", "responder", "password", "not the secret one", "code", "654321")
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	}
	if strings.Contains(got.body, "not the secret one") || strings.Contains(got.body, "654321") {
		t.Error("the page repeats a secret")
	}
	if !strings.Contains(got.body, `value="responder"`) {
		t.Error("the log-in name was not kept")
	}
}

func TestSetUpAndFirstLogIn(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	page := v.get("/join/first").body
	for _, want := range []string{"初期設定", "JBSW Y3DP", "data:image/png;base64,"} {
		if !strings.Contains(page, want) {
			t.Errorf("the set-up page lacks %q", want)
		}
	}
	form := []string{"login", "newadmin", "name", "システム管理係", "password", "correct horse battery", "password2", "correct horse battery"}
	if got := v.post("/join/first", append(form, "code", "000000")...); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, `value="newadmin"`) {
		t.Errorf("a wrong code: %d, want 422 and the name kept", got.status)
	}
	if got := v.post("/join/first", "login", "newadmin", "name", "x", "password", "correct horse battery", "password2", "another", "code", "123456"); !strings.Contains(got.body, "二つのパスワードが違います") {
		t.Errorf("different passwords: %d %s", got.status, around(got.body, "notice"))
	}
	got := v.post("/join/first", append(form, "code", "123456")...)
	if got.status != http.StatusSeeOther || got.header.Get("Location") != "/login?done=joined&login=newadmin" {
		t.Fatalf("set-up: %d %s", got.status, got.header.Get("Location"))
	}
	if again := v.get("/join/first"); again.status != http.StatusNotFound {
		t.Errorf("the link works a second time: %d", again.status)
	}
	if page := v.get(got.header.Get("Location")).body; !strings.Contains(page, `value="newadmin"`) || !strings.Contains(page, "登録しました") {
		t.Error("the log-in page does not go on from the set-up")
	}
}

// The whole story with plain forms: no script, every step leads on with 303.
func TestStoryWithoutScript(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	r := v.as("responder")
	step := func(who visitor, to, path string, pairs ...string) {
		t.Helper()
		got := who.post(path, pairs...)
		if got.status != http.StatusSeeOther || !strings.HasPrefix(got.header.Get("Location"), to) {
			t.Fatalf("%s: %d %s, want 303 to %s\n%s", path, got.status, got.header.Get("Location"), to, around(got.body, "notice-head"))
		}
		if page := who.get(got.header.Get("Location")); page.status != http.StatusOK {
			t.Fatalf("%s leads to %s: %d", path, got.header.Get("Location"), page.status)
		}
	}
	step(r, "/alerts/al-1", "/alerts/al-1/ack")
	if h.alertList[0].AckedBy != "pe-responder" {
		t.Errorf("acked by %q", h.alertList[0].AckedBy)
	}
	step(r, "/incidents/in-1", "/alerts/al-1/incident")
	if i := h.cases[0]; i.Scope.Hosts[0] != "ho-1" || i.Severity != h.alertList[0].Severity || !i.KnownAt.Equal(h.alertList[0].RaisedAt) {
		t.Errorf("incident %+v", i)
	}
	step(r, "/incidents/in-1", "/incidents/in-1/entries", "text", "委託先へ電話した", "certainty", "fact", "source", "phone", "occurred_at", "2026-11-22T13:50")
	if e := h.chron["in-1"][0]; e.OccurredAt.UTC().Format("15:04") != "04:50" || e.Certainty != incident.Fact {
		t.Errorf("entry %+v", e)
	}
	step(r, "/incidents/in-1", "/incidents/in-1/bags", "host", "ho-1")
	if a := h.acts[0]; a.Kind != action.Preserve {
		t.Errorf("action %+v", a)
	}
	plan := r.get("/incidents/in-1/isolate?host=ho-1").body
	for _, want := range []string{"この席で予約の電話を受けられなくなる", "203.0.113.7:6881", "192.0.2.1:8443"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan does not show %q", want)
		}
	}
	step(r, "/actions/ac-2", "/incidents/in-1/isolations", "host", "ho-1", "reason", "送信を止める", "forbidden", "203.0.113.7:6881", "lease", "1h0m0s")
	a := v.as("approver")
	if now := a.get("/").body; !strings.Contains(now, "/actions/ac-2/approve") {
		t.Error("the approver is not told on the Now page")
	}
	step(a, "/actions/ac-2", "/actions/ac-2/approve")
	if x := h.acts[1]; x.State != action.Approved || x.DecidedBy != "pe-approver" {
		t.Errorf("action %+v", x)
	}
	step(r, "/incidents/in-1", "/incidents/in-1/facts", "known_at", "2026-11-22T12:41", "personal", "yes", "bad_intent", "nonsense", "maximum", "1200", "cause", "調査中")
	if f := h.duties["in-1"].Facts; f.Personal != duty.Yes || f.BadIntent != duty.Unknown || f.Maximum != 1200 || f.Items.Cause != "調査中" {
		t.Errorf("facts %+v", f)
	}
	step(r, "/incidents/in-1", "/incidents/in-1/documents")
	step(r, "/incidents/in-1", "/incidents/in-1/state", "state", "contained", "reason", "隔離した")
	step(r, "/alerts/al-1", "/alerts/al-1/close", "reason", "事案で扱う")
	if h.alertList[0].State != alert.Closed {
		t.Error("the alert is not closed")
	}
	step(r, "/", "/drill")
	if h.drills != 1 {
		t.Errorf("%d drills", h.drills)
	}
	step(r, "/login", "/logout")
	if got := r.get("/"); got.status != http.StatusSeeOther {
		t.Errorf("after the log-out: %d", got.status)
	}
}

func TestRefusedFormKeepsWhatWasTyped(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	r, admin := v.as("responder"), v.as("admin")
	for name, tt := range map[string]struct {
		who    visitor
		path   string
		form   []string
		status int
		want   []string
	}{
		"time in the future": {r, "/incidents/in-1/entries", []string{"text", "消えては困る <文>", "occurred_at", "2027-01-01T00:00", "certainty", "estimate"}, 422, []string{"消えては困る &lt;文&gt;", "起きた時刻が未来", `value="estimate" selected`}},
		"unreadable time":    {r, "/incidents/in-1/entries", []string{"text", "消えては困る", "occurred_at", "昨日"}, 422, []string{"消えては困る", "日時が読み取れません", `value="昨日"`}},
		"no probe address":   {r, "/incidents/in-1/isolations", []string{"host", "ho-1", "reason", "止める理由", "lease", "4h0m0s"}, 422, []string{"止める理由", `value="4h0m0s" selected`, "宛先を1つ入力"}},
		"counts":             {r, "/incidents/in-1/facts", []string{"known_at", "2026-11-22T12:41", "confirmed", "10", "maximum", "5", "sensitive", "yes", "cause", "調査中の原因"}, 422, []string{"調査中の原因", `value="10"`, `name="sensitive" value="yes" checked`}},
		"not a number":       {r, "/incidents/in-1/facts", []string{"known_at", "2026-11-22T12:41", "confirmed", "many"}, 422, []string{"0以上の整数"}},
		"site identifier":    {admin, "/sites", []string{"id", "Bad Id", "name", "新しい拠点", "kind", "office"}, 422, []string{"新しい拠点", "半角の小文字"}},
		"no role":            {admin, "/people", []string{"login", "newone", "name", "新任"}, 422, []string{`value="newone"`, "役割を一つ以上"}},
		"no purpose":         {r, "/evidence/bag-1/zip", nil, 422, []string{"渡す相手と目的を書いて"}},
		"already decided":    {v.as("approver"), "/actions/ac-1/refuse", []string{"reason", ""}, 422, []string{"理由を入力"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.who.post(tt.path, tt.form...)
			if got.status != tt.status {
				t.Errorf("status %d, want %d", got.status, tt.status)
			}
			for _, want := range tt.want {
				if !strings.Contains(got.body, want) {
					t.Errorf("the page lacks %q; it says %s", want, around(got.body, "notice-head"))
				}
			}
			if strings.Contains(got.body, "⟦") {
				t.Errorf("unknown words: %s", around(got.body, "⟦"))
			}
		})
	}
}

func TestConflictIsExplained(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	a := v.as("approver")
	a.post("/actions/ac-1/approve")
	got := a.post("/actions/ac-1/approve")
	if got.status != http.StatusConflict || !strings.Contains(got.body, "もう承認待ちではありません") {
		t.Errorf("%d %s", got.status, around(got.body, "notice-head"))
	}
}

func TestScriptGetsTheReasonOnly(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	r := v.as("responder")
	send := func(text string) answer {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.base+"/incidents/in-1/entries", strings.NewReader(url.Values{"text": {text}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("HX-Request", "true")
		return r.send(req)
	}
	if got := send("一行"); got.status != http.StatusNoContent || got.body != "" {
		t.Errorf("written: %d %q", got.status, got.body)
	}
	if got := send(""); got.status != http.StatusUnprocessableEntity || strings.Contains(got.body, "<html") || !strings.Contains(got.body, "記録の内容") {
		t.Errorf("refused: %d %q", got.status, got.body)
	}
}

func TestLanguage(t *testing.T) {
	v, _ := newHouse().open(t)
	ask := func(header, path string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Language", header)
		return v.send(req).header.Get("Content-Language")
	}
	for _, tt := range []struct{ header, path, want string }{
		{"", "/login", "ja"}, {"en-GB,en;q=0.9,ja;q=0.8", "/login", "en"}, {"fr,de;q=0.5", "/login", "ja"}, {"en", "/login?lang=ja", "ja"}, {"ja", "/login?lang=xx", "ja"},
	} {
		if got := ask(tt.header, tt.path); got != tt.want {
			t.Errorf("%q %s: %s, want %s", tt.header, tt.path, got, tt.want)
		}
	}
	r := v.as("responder")
	got := r.post("/language", "lang", "en", "path", "/alerts?state=open&lang=ja")
	if got.status != http.StatusSeeOther || got.header.Get("Location") != "/alerts?state=open" {
		t.Fatalf("switch: %d %s", got.status, got.header.Get("Location"))
	}
	if l := r.get("/alerts").header.Get("Content-Language"); l != "en" {
		t.Errorf("after the switch: %s", l)
	}
	if to := r.post("/language", "lang", "en", "path", "//evil.example").header.Get("Location"); to != "/" {
		t.Errorf("the switch leads to %s", to)
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	r := v.as("responder")
	for name, header := range map[string][2]string{"fetch metadata": {"Sec-Fetch-Site", "cross-site"}, "origin": {"Origin", "https://evil.example"}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.base+"/alerts/al-1/ack", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(header[0], header[1])
		if got := r.send(req); got.status != http.StatusForbidden || !strings.Contains(got.body, "ほかのサイトから") {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	if h.alertList[0].State != alert.Open {
		t.Error("the alert was acknowledged all the same")
	}
}

func TestBodyIsBounded(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	got := v.as("responder").post("/incidents/in-1/entries", "text", strings.Repeat("長", maxBody/3+1))
	if got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "大きすぎます") {
		t.Errorf("%d %s", got.status, around(got.body, "notice-head"))
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	r := v.as("responder")
	for _, path := range []string{"/", "/login", "/nowhere", "/alerts/none", "/icon.svg", "/assets/x/app.js"} {
		h := r.get(path).header
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'") {
			t.Errorf("%s: policy %q", path, h.Get("Content-Security-Policy"))
		}
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s lacks nosniff", path)
		}
	}
	if c := r.get("/incidents/in-1").header.Get("Cache-Control"); c != "no-store" {
		t.Errorf("an incident may be cached: %q", c)
	}
	doc := r.get("/incidents/in-1/documents/do-1?lang=en")
	if p := doc.header.Get("Content-Security-Policy"); doc.status != 200 || strings.Contains(p, "script-src") || !strings.Contains(p, "sandbox") {
		t.Errorf("document: %d %q", doc.status, p)
	}
	if other := r.get("/incidents/in-1/documents/do-99"); other.status != http.StatusNotFound {
		t.Errorf("a document of no incident: %d", other.status)
	}
}

func TestSessionCookieIsBoundToTheHost(t *testing.T) {
	h := newHouse()
	live := NewLive()
	a, err := readAssets(fstest.MapFS{}, ".")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(handler(h.deps(live, slog.New(slog.DiscardHandler)), a))
	defer s.Close()
	v := visit(t, s.URL, s.Client())
	got := v.post("/login", "login", "responder", "password", "correct horse battery").header.Get("Set-Cookie")
	for _, want := range []string{"__Host-sonae_session=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"} {
		if !strings.Contains(got, want) {
			t.Errorf("cookie %q lacks %s", got, want)
		}
	}
	if got := v.get("/"); got.status != http.StatusOK {
		t.Errorf("with the cookie: %d", got.status)
	}
}

func TestPolicyReportsAreCounted(t *testing.T) {
	v, _ := newHouse().open(t)
	if got := v.post("/csp", "x", "y"); got.status != http.StatusNoContent {
		t.Fatalf("status %d", got.status)
	}
	if page := v.as("auditor").get("/audit").body; !strings.Contains(page, "拒んだ内容の報告 1件") {
		t.Errorf("the audit page does not count it: %s", around(page, "ブラウザー"))
	}
}

func TestZipCarriesItsPurpose(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	got := v.as("responder").post("/evidence/bag-1/zip", "purpose", "警察へ提出")
	if got.status != 200 || got.body != "zip of bag-1" || got.header.Get("Content-Disposition") != `attachment; filename="bag-1.zip"` {
		t.Errorf("%d %q %q", got.status, got.body, got.header.Get("Content-Disposition"))
	}
	if len(h.purposes) != 1 || h.purposes[0] != "警察へ提出" {
		t.Errorf("purposes %q", h.purposes)
	}
}

func TestSecretsAreShownOnceAndNotRedirected(t *testing.T) {
	v, _ := newHouse().open(t)
	admin := v.as("admin")
	if got := admin.post("/tokens", "site", "callcentre", "note", "7番席"); got.status != 200 || !strings.Contains(got.body, "sonae-agent enroll --hub https://hub.example:8444 --token token-secret-of-callcentre") {
		t.Errorf("token: %d", got.status)
	}
	if got := admin.post("/people", "login", "newone", "name", "新任", "roles", "responder"); got.status != 200 || !strings.Contains(got.body, "https://hub.example:8443/join/token-of-newone") {
		t.Errorf("invitation: %d", got.status)
	}
}

func TestAssetsMayBeKeptForEver(t *testing.T) {
	a, err := readAssets(fstest.MapFS{"d/app.js": {Data: []byte("1")}, "d/app.css": {Data: []byte("2")}, "d/.keep": {}, "d/fonts/a.woff2": {Data: []byte("3")}, "d/fonts.css": {Data: []byte("4")}}, "d")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		status int
		kind   string
	}{
		a.present.Script: {200, "text/javascript; charset=utf-8"}, a.present.Style: {200, "text/css; charset=utf-8"}, a.present.Fonts: {200, "text/css; charset=utf-8"}, a.prefix + "fonts/a.woff2": {200, "font/woff2"},
		"/assets/0000000000000000/app.js": {404, ""}, a.prefix + ".keep": {404, ""}, a.prefix + "../ui.go": {404, ""}, a.prefix: {404, ""},
	} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
		if w.Code != want.status || (want.kind != "" && (w.Header().Get("Content-Type") != want.kind || !strings.Contains(w.Header().Get("Cache-Control"), "immutable"))) {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	b, err := readAssets(fstest.MapFS{"d/app.js": {Data: []byte("other")}}, "d")
	if err != nil {
		t.Fatal(err)
	}
	if a.prefix == b.prefix {
		t.Error("another build has the same address")
	}
}

func TestOwnFaultIsLoggedAndNotShown(t *testing.T) {
	var log bytes.Buffer
	h := newHouse().inCourse()
	d := h.deps(NewLive(), slog.New(slog.NewTextHandler(&log, nil)))
	d.Duties = broken{}
	a, err := readAssets(fstest.MapFS{}, ".")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler(d, a))
	defer s.Close()
	got := visit(t, s.URL, s.Client()).as("responder").get("/incidents/in-1")
	if got.status != 500 || strings.Contains(got.body, "no such table") || !strings.Contains(got.body, "ハブの中で問題") {
		t.Errorf("%d %s", got.status, around(got.body, "notice"))
	}
	if !strings.Contains(log.String(), "no such table") {
		t.Errorf("log: %s", log.String())
	}
}

func TestRoomOffersAlertsOfTheSameHost(t *testing.T) {
	h := newHouse().inCourse()
	loose := story(start)
	loose.ID = "al-2"
	h.alertList = append(h.alertList, loose)
	v, _ := h.open(t)
	r := v.as("responder")
	if page := r.get("/incidents/in-1").body; !strings.Contains(page, "まだ事案に入っていない警報 1件") {
		t.Fatal("the room does not offer the alert")
	}
	if got := r.post("/alerts/al-2/incident", "incident", "in-1"); got.status != http.StatusSeeOther || h.alertList[1].Incident != "in-1" {
		t.Errorf("%d, incident %q", got.status, h.alertList[1].Incident)
	}
	if page := r.get("/incidents/in-1").body; strings.Contains(page, "まだ事案に入っていない警報") {
		t.Error("the room offers it again")
	}
	if page := v.as("contractor").get("/incidents/in-1").body; strings.Contains(page, "この事案に加える") {
		t.Error("a contractor is offered what it may not do")
	}
}

// TestWitnessAndCancel: the forms on the pages of a bag and of a collection.
func TestWitnessAndCancel(t *testing.T) {
	h := newHouse()
	h.inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	if page := r.get("/evidence/bag-1").body; !strings.Contains(page, "/evidence/bag-1/witness") || !strings.Contains(page, "Sonae.Test") || !strings.Contains(page, "所要 1.2秒") {
		t.Error("the page of the bag lacks the form, the virus or the time")
	}
	if got := r.post("/evidence/bag-1/witness", "witness", "鈴木 花子", "approver", "院長"); got.status != http.StatusSeeOther || h.purposes[len(h.purposes)-1] != "bag-1 鈴木 花子 院長" {
		t.Errorf("witness: %d, %v", got.status, h.purposes)
	}
	if got := v.as("contractor").post("/evidence/bag-1/witness", "witness", "x"); got.status == http.StatusSeeOther {
		t.Error("somebody without the right wrote into the custody record")
	}
	id := ""
	for i, a := range h.acts {
		if a.Kind == action.Preserve {
			h.acts[i].State, id = action.Applied, a.ID
		}
	}
	if page := r.get("/actions/" + id).body; !strings.Contains(page, "/actions/"+id+"/cancel") {
		t.Error("a collection that runs cannot be cancelled")
	}
	if got := r.post("/actions/"+id+"/cancel", "reason", "業務"); got.status != http.StatusSeeOther {
		t.Errorf("cancel: %d", got.status)
	}
	if page := r.get("/actions/" + id).body; strings.Contains(page, "/actions/"+id+"/cancel") || !strings.Contains(page, "担当者が中止しました") {
		t.Error("the page does not say that it was cancelled")
	}
}
