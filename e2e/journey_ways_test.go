//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/e2e/browser"
	"github.com/sonae/sonae/hub/hubtest"
)

// TestOtherWays goes the same way without script, without a mouse, without
// the rights for it, and without the hub.
func TestOtherWays(t *testing.T) {
	t.Parallel()
	programs := build(t)
	j := newJourney(t, programs.hub, japanese)
	j.hub.Site("callcentre", "contractor")
	admin := j.hub.FirstAdmin()
	second := j.hub.Person("ono", "", auth.Approver)
	guest := j.hub.Person("guest", "callcentre", auth.Contractor)
	auditor := j.hub.Person("auditor", "", auth.Auditor)
	j.hub.Raised(admin)

	t.Run("keyboard", func(t *testing.T) { j.within(t).keyboard(admin) })
	t.Run("no script", func(t *testing.T) { j.within(t).noScript(admin, second) })
	t.Run("reading", func(t *testing.T) { j.within(t).reading(admin) })
	t.Run("contractor", func(t *testing.T) { j.within(t).contractor(guest) })
	t.Run("auditor", func(t *testing.T) { j.within(t).auditor(auditor) })
	t.Run("hub killed", func(t *testing.T) { j.within(t).killed(admin) })
}

// within is the same journey for a part of the test.
func (j *journey) within(t *testing.T) *journey {
	in := *j
	in.t = t
	return &in
}

// as opens a browser in which somebody is logged in.
func (j *journey) as(c *hubtest.Client, noScript bool) *browser.Visitor {
	j.t.Helper()
	v := j.browser.Visitor(j.t, browser.Options{Base: j.hub.URL, Lang: j.w.lang, Pictures: "ways", NoScript: noScript})
	v.Cookie("__Host-sonae_session", c.Token)
	return v
}

// keyboard confirms an alert from the Now page with Tab and Enter alone.
func (j *journey) keyboard(c *hubtest.Client) {
	j.t.Helper()
	v := j.as(c, false)
	v.Open("/")
	v.Until("live page", "document.getElementById('connection').dataset.now === 'fresh'")
	v.Key("\t")
	v.Until("the first stop, which leads to the content", "document.activeElement.matches('a.skip')")
	v.Key("\r")
	v.TabTo(`#now-alerts a[href^="/alerts/"]`)
	v.Until("a visible focus", "getComputedStyle(document.activeElement).outlineStyle !== 'none'")
	v.Mark()
	v.Key("\r")
	v.Arrive("/alerts/")
	v.TabTo(`form[action$="/ack"] button`)
	v.Mark()
	v.Key("\r")
	v.Arrive("done=acked")
	v.Sees(".notice.done", "確認したことを記録しました")
	v.Done()
}

// noScript does the main actions with plain forms.
func (j *journey) noScript(c, other *hubtest.Client) {
	j.t.Helper()
	open := ""
	for _, a := range hubtest.List[alert.Alert](c, "/alerts?state=open") {
		open = a.ID
	}
	if open == "" {
		j.t.Fatal("no alert is open any more")
	}
	v := j.as(c, true)
	v.Open("/alerts/" + open)
	v.Follow(`form[action$="/ack"] button`, "done=acked")
	certain := j.hub.Alert(c, "bittorrent-certain")
	v.Open("/alerts/" + certain.ID)
	v.Follow(`form[action$="/incident"] button`, "/incidents/")
	in := path(v)
	v.Fill("#f-text", "台本なしで書いた記録")
	v.Follow("#write button.primary", "done=written")
	v.Sees("#room-entries", "台本なしで書いた記録")
	v.Follow("#room-isolate a.button.danger", "/isolate?")
	v.Follow(`form[action$="/isolations"] button.danger`, "/actions/")
	action := path(v)

	w := j.as(other, true)
	w.Open(action + "/approve")
	w.Follow(`form[action$="/approve"] button.danger`, "done=approved")
	c.Reach(strings.TrimPrefix(action, "/actions/"), "verified")
	w.Open(action)
	w.Sees("main", "効いていることを両方向で確かめました")
	w.Sees("noscript, #connection", "自動では新しくなりません")
	c.Written(strings.TrimPrefix(in, "/incidents/"), "action.verified.isolate")
	v.Open(in)
	v.Sees("#room-entries", "の隔離を確認した")
	if strings.Contains(v.Text("#connection"), "● 最新") && browser.Eval[string](v, "getComputedStyle(document.querySelector('#connection .fresh')).visibility") != "hidden" {
		j.t.Error("a page without script says that it is fresh")
	}
	v.Done()
	w.Done()
}

// reading: who reads further down is not moved when an entry arrives; a
// button says so and leads up.
func (j *journey) reading(c *hubtest.Client) {
	j.t.Helper()
	v := j.as(c, false)
	in := j.someIncident(c)
	v.Open("/incidents/" + in)
	v.Until("live page", "document.getElementById('connection').dataset.now === 'fresh'")
	at := browser.Eval[int](v, "(document.getElementById('alerts').scrollIntoView(), Math.round(scrollY))")
	if at == 0 {
		j.t.Fatal("the page is too short to scroll")
	}
	c.Must(http.MethodPost, "/incidents/"+in+"/entries", map[string]string{"text": "読んでいる間に届いた記録", "source": "phone", "certainty": "fact"}, nil)
	v.Sees("#new-entries", "新着 1件")
	if now := browser.Eval[int](v, "Math.round(document.getElementById('alerts').getBoundingClientRect().top)"); now < -100 || now > 200 {
		j.t.Errorf("the reader was moved: the section is now at %d px", now)
	}
	v.Press("#new-entries")
	v.Until("the newest entry in the window", "(r => r.top >= 0 && r.bottom <= innerHeight)(document.querySelector('#room-entries li').getBoundingClientRect())")
	v.Sees("#room-entries li", "読んでいる間に届いた記録")
	v.Done()
}

// someIncident is the id of an incident.
func (j *journey) someIncident(c *hubtest.Client) string {
	j.t.Helper()
	list := hubtest.List[struct {
		ID string `json:"id"`
	}](c, "/incidents")
	if len(list) == 0 {
		j.t.Fatal("there is no incident")
	}
	return list[0].ID
}

// contractor sees the own site and nothing of others.
func (j *journey) contractor(c *hubtest.Client) {
	j.t.Helper()
	v := j.as(c, false)
	v.Expect("403")
	v.Open("/")
	v.Look("contractor-now")
	for _, p := range []string{"/", "/alerts", "/incidents", "/hosts"} {
		v.Open(p)
		if text := v.Text("main"); strings.Contains(text, "訓練用PC") || strings.Contains(text, "訓練コールセンター") {
			j.t.Errorf("the contractor of another site reads on %s:\n%s", p, text)
		}
	}
	a := hubtest.List[alert.Alert](j.hub.FirstAdmin(), "/alerts")[0]
	for _, p := range []string{"/alerts/" + a.ID, "/hosts/" + a.Host, "/settings", "/audit"} {
		v.Open(p)
		v.Until("a refusal", "document.getElementById('fault') !== null")
		if text := v.Text("main"); strings.Contains(text, "transmission") || strings.Contains(text, "198.51.100.") {
			j.t.Errorf("the refusal of %s tells:\n%s", p, text)
		}
	}
	v.Look("contractor-refused")
	v.Done()
}

// auditor reads the ledger; no browser of the day had content to refuse.
func (j *journey) auditor(c *hubtest.Client) {
	j.t.Helper()
	v := j.as(c, false)
	v.Open("/audit")
	v.Sees("main", "ブラウザーが拒んだ内容の報告 0件")
	v.Look("audit")
	v.Done()
}

// killed: a page says that it is old, and since when; what is typed stays.
func (j *journey) killed(c *hubtest.Client) {
	j.t.Helper()
	v := j.as(c, false)
	v.Expect("ERR_")
	v.Expect("Failed to fetch")
	v.Expect("network error")
	v.Open("/incidents/" + j.someIncident(c))
	v.Until("live page", "document.getElementById('connection').dataset.now === 'fresh'")
	v.Fill("#f-text", "まだ送っていない記録")
	j.hub.Kill()
	v.Until("the page saying so", "document.getElementById('connection').dataset.now === 'stale'")
	v.Sees("#connection", "サーバーとの接続が切れています", "時点のものです")
	if got := browser.Eval[string](v, "document.querySelector('#f-text').value"); got != "まだ送っていない記録" {
		j.t.Errorf("what was typed became %q", got)
	}
	v.Look("hub-killed")
	if res, err := http.Get(j.hub.Local + "/healthz"); err == nil {
		res.Body.Close()
		j.t.Error("the hub still answers: this test says nothing")
	}
	v.Done()
}
