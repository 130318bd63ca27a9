//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/e2e/browser"
	"github.com/sonae/sonae/hub/hubtest"
)

const axe = "../ui/web/node_modules/axe-core/axe.min.js"

// journey is one walk through the product: a hub at its first start, and the
// people of a small hospital before it.
type journey struct {
	t       *testing.T
	program string
	hub     *hubtest.Hub
	browser *browser.Browser
	w       words

	incident, action, bag, document string // paths of their pages
}

// words are what the story's people type and read, per language.
type words struct {
	lang                          string
	admin, second                 string // names
	hospital, callCentre, contact string
	wrong, right                  string // two entries
	reason, purpose               string
	finder, event, data, care     string // report items
	drill, started, three         string // read on pages
	nobodyElse, ownRequest, stops string
	both                          []string
	sealed, articles              []string
	paper                         []string // lines of the printed report
	room                          []string // lines of the printed room
	code                          string
}

var japanese = words{
	lang: "ja", admin: "清水 情報担当", second: "大野 副看護部長",
	hospital: "中央病院", callCentre: "委託先コールセンター", contact: "情報担当 内線 1234",
	wrong: "コールセンターの責任者に電話した。利用者は席を外している", right: "コールセンターの責任者に電話した。利用者は本人と確認できた",
	reason: "ファイル共有による外部への送信を止めるため", purpose: "警察署の担当者へ、被害相談のため",
	finder: "情報担当(夜間当直)", event: "委託先のPCでファイル共有ソフトが動き、外部へデータが送られた", data: "氏名、電話番号、予約日時", care: "対象者を確認でき次第、電話で連絡する",
	drill: "訓練", started: "訓練を始めました", three: "何が起きたか",
	nobodyElse: "あなた以外の承認者", ownRequest: "自分が申請した措置", stops: "この席では予約の電話を受けられなくなります",
	both:     []string{"ハブと通信できる", "指定した宛先と通信できない"},
	sealed:   []string{"封印", "SHA-256", "保管記録"},
	articles: []string{"個人情報保護法 第26条", "速報", "確報"},
	paper:    []string{"訓練", "漏えい", "速報", "委託先のPCでファイル共有ソフトが動き", "氏名、電話番号、予約日時", "隔離", "SHA-256"},
	room:     []string{"経過", "措置", "報告の義務と期限", "証拠"},
	code:     "解除コード",
}

var english = words{
	lang: "en", admin: "Kim Shimizu", second: "Ann Ono",
	hospital: "Central Hospital", callCentre: "Call centre contractor", contact: "IT on duty, extension 1234",
	wrong: "Called the manager of the call centre. The user is away from the desk", right: "Called the manager of the call centre. The user was identified",
	reason: "To stop file sharing from sending data out", purpose: "To the police officer in charge, for the consultation",
	finder: "IT on duty (night)", event: "File sharing software ran on a PC of the contractor and sent data out", data: "Names, telephone numbers, times of appointments", care: "Call those concerned as soon as they are known",
	drill: "DRILL", started: "drill", three: "What happened",
	nobodyElse: "other than you", ownRequest: "you requested yourself", stops: "This desk can no longer take calls for appointments",
	both:     []string{"The hub is reached", "The named address is not reached"},
	sealed:   []string{"Sealed", "SHA-256", "Custody record"},
	articles: []string{"APPI Art. 26", "Preliminary report", "Final report"},
	paper:    []string{"File sharing software ran on a PC of the contractor", "Names, telephone numbers", "SHA-256"},
	room:     []string{"Chronology", "Evidence"},
	code:     "elease code",
}

// TestJourney walks from the printed set-up link to the printed report, as the
// people of a small hospital do in their first hour, in both languages.
func TestJourney(t *testing.T) {
	t.Parallel()
	programs := build(t)
	for _, w := range []words{japanese, english} {
		t.Run(w.lang, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			j := newJourney(t, programs.hub, w)
			first := j.setUp(j.visitor())
			admin := first.Visitor
			second := j.inviteSecond(admin)
			j.siteAndToken(admin)
			j.ownRoles(first)
			j.drill(admin)
			j.openRoom(admin)
			j.write(admin)
			j.request(admin)
			j.ownApproval(admin)
			j.approve(second)
			j.verified(admin)
			j.evidence(admin)
			j.facts(admin)
			j.report(admin)
			j.lists(admin)
			j.leave(admin)
			j.leave(second)
			t.Logf("the journey took %s", time.Since(began).Round(time.Second))
		})
	}
}

func newJourney(t *testing.T, program string, w words) *journey {
	t.Helper()
	dir := hubtest.Folder(t)
	cmd := exec.Command(program, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0", "--local", "127.0.0.1:0", "--min-free", "1048576")
	cmd.Env = append(os.Environ(), "TZ=Asia/Tokyo")
	j := &journey{t: t, program: program, w: w, hub: hubtest.Process(t, dir, cmd)}
	j.browser = browser.Start(t, j.hub.URL, axe, w.lang)
	return j
}

// visitor is somebody of the story before a browser of their own.
func (j *journey) visitor() *browser.Visitor {
	j.t.Helper()
	own := []string{j.w.admin, j.w.second, j.w.hospital, j.w.callCentre, j.w.contact, j.w.wrong, j.w.right, j.w.reason, j.w.purpose,
		j.w.finder, j.w.event, j.w.data, j.w.care}
	return j.browser.Visitor(j.t, browser.Options{Base: j.hub.URL, Lang: j.w.lang, Pictures: j.w.lang, Own: own, Downloads: j.t.TempDir()})
}

// setUp follows the printed link and logs in with the second factor.
func (j *journey) setUp(v *browser.Visitor) *member {
	j.t.Helper()
	j.hub.Await("the set-up link", func() bool { return strings.Contains(j.hub.Printed(), j.hub.URL+"/join/") })
	link := regexp.MustCompile(regexp.QuoteMeta(j.hub.URL) + `/join/\S+`).FindString(j.hub.Printed())
	v.Open(link)
	v.Look("01-set-up")
	m := j.join(v, "shimizu", j.w.admin)
	v.Look("03-now-empty")
	return m
}

// member is somebody who joined, with the telephone that makes the codes.
type member struct {
	*browser.Visitor
	login, name, secret string
	step                int64 // of the next code; each counts once
}

// code is the next code of the telephone. Codes of the step before and after
// are taken, so this rarely waits.
func (m *member) code(j *journey) string {
	j.t.Helper()
	j.hub.Await("the next code", func() bool { return time.Now().Unix()/30 >= m.step-1 })
	m.step++
	return totpAt(j.t, m.secret, m.step-1)
}

// join fills in the page behind an invitation that is open, and logs in.
func (j *journey) join(v *browser.Visitor, login, name string) *member {
	j.t.Helper()
	m := &member{Visitor: v, login: login, name: name, secret: strings.Join(strings.Fields(v.Text("code.secret")), "")}
	m.step = (time.Now().Unix()+10)/30 - 1 // valid for ten seconds at least
	v.Fill("#f-login", login)
	v.Fill("#f-name", name)
	v.Fill("#f-password", hubtest.Password)
	v.Fill("#f-password2", hubtest.Password)
	v.Fill("#f-code", m.code(j))
	v.Follow("main form button.primary", "/login?")
	v.Look("02-log-in")
	m.logIn(j)
	return m
}

func (m *member) logIn(j *journey) {
	j.t.Helper()
	m.Fill("#f-login", m.login)
	m.Fill("#f-password", hubtest.Password)
	m.Fill("#f-code", m.code(j))
	m.Follow("main form button.primary", "/")
	m.Sees("header", m.name)
}

// inviteSecond invites the person who approves, who joins in another browser.
func (j *journey) inviteSecond(v *browser.Visitor) *browser.Visitor {
	j.t.Helper()
	v.Follow(`nav a[href="/settings"]`, "/settings")
	v.Look("04-people")
	v.Fill(`form[action="/people"] [name=login]`, "ono")
	v.Fill(`form[action="/people"] [name=name]`, j.w.second)
	v.Tick(`form[action="/people"] input[value=approver]`)
	v.Set(`form[action="/people"] [name=language]`, j.w.lang)
	v.Follow(`form[action="/people"] button.primary`, "/people")
	v.Look("05-invited")
	link := v.Text("#invitation-link")
	second := j.visitor()
	second.Open(link)
	second.Look("06-join")
	j.join(second, "ono", j.w.second)
	return second
}

// siteAndToken makes the two sites and a line that enrols a machine.
func (j *journey) siteAndToken(v *browser.Visitor) {
	j.t.Helper()
	v.Follow(`nav a[href="/hosts"]`, "/hosts")
	v.Look("07-hosts-empty")
	for _, s := range []struct{ id, name, kind, principal string }{{"hospital", j.w.hospital, "hospital", ""}, {"callcentre", j.w.callCentre, "contractor", "hospital"}} {
		v.Press("details:has(form[action='/sites']) summary")
		v.Fill("#f-id", s.id)
		v.Fill("#f-name", s.name)
		v.Set("#f-kind", s.kind)
		v.Set("#f-principal", s.principal)
		v.Fill("#f-contact", j.w.contact)
		v.Follow("form[action='/sites'] button", "/hosts")
		v.Sees("main", s.name)
	}
	v.Set("#f-site", "callcentre")
	v.Fill("#f-note", "cc-pc-07")
	v.Follow("form[action='/tokens'] button", "/tokens")
	v.Sees("#enrol-command", "sonae-agent enroll --hub https://")
	v.Look("08-token")
	v.Follow("main a.button[href='/hosts']", "/hosts")
	v.Look("09-hosts")
}

// ownRoles lets the administrator approve too, so that the refusal of the own
// request is not one for want of a role.
// Whose rights change logs in again.
func (j *journey) ownRoles(v *member) {
	j.t.Helper()
	v.Follow(`nav a[href="/settings"]`, "/settings")
	const own = `details:has(input[value=administrator]:checked) `
	v.Press(own + "summary")
	v.Tick(own + "input[value=approver]")
	v.Follow(own+`form[action$="/roles"] button`, "/login?done=own-roles")
	v.Look("10-log-in-again")
	v.logIn(j)
}

// drill starts the practice incident and waits until the alert appears by itself.
func (j *journey) drill(v *browser.Visitor) {
	j.t.Helper()
	v.Follow(`nav a[href="/"]`, "/")
	v.Until("live page", "document.getElementById('connection').dataset.now === 'fresh'")
	v.Follow(`form[action="/drill"] button`, "/?done=drill")
	v.Sees(".notice.done", j.w.started)
	v.Sees("#now-alerts", "BitTorrent")
	v.Until("the certain alert", "document.querySelector('#now-alerts a[href^=\"/alerts/\"]') !== null")
	v.Look("11-now-alert")
	v.Follow(`nav a[href="/alerts"]`, "/alerts")
	v.Look("12-alerts")
}

// openRoom reads the alert, confirms it and makes it an incident.
func (j *journey) openRoom(v *browser.Visitor) {
	j.t.Helper()
	v.Until("the alert of BitTorrent", `[...document.querySelectorAll("td.what a")].some(a => /BitTorrent/.test(a.innerText) && (a.dataset.pick = "yes"))`)
	v.Follow("a[data-pick]", "/alerts/")
	v.Sees("dl.answers", j.w.three)
	v.Until("peers and processes", "document.querySelectorAll('#alert-peers tbody tr').length > 4 && document.querySelectorAll('#alert-processes tbody tr').length > 0")
	v.Until("events from the archive", "document.querySelectorAll('#alert-events li').length > 0")
	v.Look("13-alert")
	v.Follow(`form[action$="/ack"] button`, "done=acked")
	v.Look("14-alert-acked")
	v.Follow(`form[action$="/incident"] button`, "/incidents/")
	j.incident = path(v)
	v.Look("15-room-new")
}

// write adds an entry, which appears by itself, and corrects it.
func (j *journey) write(v *browser.Visitor) {
	j.t.Helper()
	v.Until("live page", "document.getElementById('connection').dataset.now === 'fresh'")
	v.Key("/")
	v.Until("the entry line in focus", "document.activeElement.id === 'f-text'")
	v.Fill("#f-text", j.w.wrong)
	v.Key("\r")
	v.Sees("#room-entries", j.w.wrong)
	v.Until("the page staying", "!location.search.includes('written')")
	v.Follow(`#room-entries a[href*="correct="]`, "correct=")
	v.Look("16-correct")
	v.Fill("#f-text", j.w.right)
	v.Set("#f-certainty", "fact")
	v.Set("#f-source", "phone")
	v.Press("#write button.primary")
	v.Sees("#room-entries", j.w.right)
	v.Sees("#room-entries .is-corrected", j.w.wrong)
}

// request moves the incident on, looks at what the isolation stops and asks for it.
func (j *journey) request(v *browser.Visitor) {
	j.t.Helper()
	v.Open(j.incident)
	v.Set("#f-state", "responding")
	v.Follow(`form[action$="/state"] button`, "done=moved")
	v.Follow("#room-isolate a.button.danger", "/isolate?")
	v.Sees(".effects", j.w.stops)
	v.Sees("main", j.w.nobodyElse)
	v.Fill("textarea[name=reason]", j.w.reason)
	v.Look("17-plan")
	v.Follow(`form[action$="/isolations"] button.danger`, "/actions/")
	j.action = path(v)
	v.Look("18-requested")
}

// ownApproval: nobody approves the own request, and the reason is readable.
func (j *journey) ownApproval(v *browser.Visitor) {
	j.t.Helper()
	v.Expect("403")
	v.Open(j.action + "/approve")
	v.Sees("#fault", j.w.ownRequest)
	v.Look("19-own-approval")
}

// approve is the second person's part, in another browser.
func (j *journey) approve(v *browser.Visitor) {
	j.t.Helper()
	v.Open("/")
	v.Look("20-second-now")
	v.Follow(`#now-waiting a[href$="/approve"]`, "/approve")
	v.Sees(".effects", j.w.stops)
	v.Look("21-approve")
	v.Follow(`form[action$="/approve"] button.danger`, "done=approved")
}

// verified: the requester's page shows by itself that the isolation works.
func (j *journey) verified(v *browser.Visitor) {
	j.t.Helper()
	v.Open(j.action)
	for _, check := range j.w.both {
		v.Sees("#action-state", check)
	}
	v.Until("both checks passed", "document.querySelectorAll('#action-state .ok').length >= 2 && document.querySelectorAll('#action-state .late').length === 0")
	v.Until("verified state", "document.querySelector('#action-state .state-working, #action-state .state-done') !== null")
	v.Look("22-verified")
	v.Follow(`a[href$="/code"]`, "/code")
	v.Sees("h1", j.w.code)
	v.Look("23-code")
	if text := v.Print("23-code"); !strings.Contains(text, strings.TrimSpace(v.Text(".code"))) {
		j.t.Errorf("the printed sheet does not hold the code:\n%s", text)
	}
}

// evidence waits for the sealed bag and checks what is handed over.
func (j *journey) evidence(v *browser.Visitor) {
	j.t.Helper()
	v.Open(j.incident)
	v.Until("the sealed bag", "document.querySelector('#room-bags .state-done') !== null")
	v.Follow("#room-bags a", "/evidence/")
	j.bag = path(v)
	for _, word := range j.w.sealed {
		v.Sees("main", word)
	}
	if n := browser.Eval[int](v, `[...document.querySelectorAll("table.items code.digest")].filter(e => /^[0-9a-f]{64}$/.test(e.innerText)).length`); n < 5 {
		j.t.Errorf("the bag shows %d hashes", n)
	}
	v.Look("24-bag")
	v.Fill("[name=purpose]", j.w.purpose)
	v.Press(`form[action$="/zip"] button`)
	j.handedOver(v)
	v.Open(j.bag)
	v.Sees("main", j.w.purpose)
	v.Look("25-bag-handed-over")
}

// handedOver checks the copy as the police do, and with our own program.
func (j *journey) handedOver(v *browser.Visitor) {
	j.t.Helper()
	var zip string
	j.hub.Await("the downloaded bag", func() bool {
		done, err := filepath.Glob(filepath.Join(v.Downloads, "*.zip"))
		if err != nil {
			j.t.Fatal(err)
		}
		unfinished, _ := filepath.Glob(filepath.Join(v.Downloads, "*.crdownload")) // the pattern is the same
		if len(done) == 1 && len(unfinished) == 0 {
			zip = done[0]
		}
		return zip != ""
	})
	unpack(j.t, v.Downloads, zip)
	dir := strings.TrimSuffix(zip, ".zip")
	for _, manifest := range []string{"manifest-sha256.txt", "tagmanifest-sha256.txt"} {
		check := exec.Command("sha256sum", "--quiet", "-c", manifest)
		check.Dir = dir
		if out, err := check.CombinedOutput(); err != nil {
			j.t.Errorf("sha256sum -c %s: %v: %s", manifest, err, out)
		}
	}
	if out, err := exec.Command(j.program, "verify", "--key", filepath.Join(j.hub.Dir, "ledger-key.txt"), zip).CombinedOutput(); err != nil {
		j.t.Errorf("sonae verify: %v: %s", err, out)
	}
}

// facts writes down what the law asks; the clocks follow.
func (j *journey) facts(v *browser.Visitor) {
	j.t.Helper()
	v.Open(j.incident)
	v.Follow(`a[href$="/facts"]`, "/facts")
	v.Look("26-facts")
	for _, yes := range []string{"personal", "bad_intent"} {
		v.Tick("input[name=" + yes + "][value=yes]")
	}
	for _, no := range []string{"my_number", "public_system", "public"} {
		v.Tick("input[name=" + no + "][value=no]")
	}
	v.Fill("#f-maximum", "1200")
	for name, text := range map[string]string{"finder": j.w.finder, "event": j.w.event, "data_items": j.w.data, "person_care": j.w.care} {
		v.Fill("#f-"+name, text)
	}
	v.Follow(`form[action$="/facts"] button.primary`, "done=facts")
	for _, word := range j.w.articles {
		v.Sees("#room-duties", word)
	}
	v.Until("days with their clocks", "document.querySelectorAll('#room-duties .clock-due time').length >= 2")
	v.Look("27-room")
	v.Open(j.incident)
	v.Until("live page", "document.getElementById('connection').dataset.now === 'fresh'")
	v.Picture("incident-room-"+j.w.lang+".png", browser.Desktop, 960)
	text := v.Print("27-room")
	j.holds("the printed room", text, append(j.w.room, j.w.right)...)
}

func (j *journey) holds(what, text string, lines ...string) {
	j.t.Helper()
	for _, l := range lines {
		if !strings.Contains(text, l) {
			j.t.Errorf("%s does not hold %q:\n%s", what, l, text)
		}
	}
}

// registered are names that stand in a report as they were registered, and the
// Japanese name of the form.
var registered = []string{"訓練コールセンター", "訓練用PC", "ファイル共有ソフト(BitTorrent)の通信を確認", "速報"}

// report makes the draft of the nine items, opens it and prints it.
func (j *journey) report(v *browser.Visitor) {
	j.t.Helper()
	v.Open(j.incident)
	v.Follow(`form[action$="/documents"] button`, "done=document")
	v.Sees("#room-documents", "English")
	other := map[string]string{"ja": "en", "en": "ja"}[j.w.lang]
	v.Follow(`#room-documents a[lang=`+other+`]`, "/documents/")
	v.LookPaper("28-report-"+other, registered...)
	v.Open(j.incident)
	v.Follow(`#room-documents a[lang=`+j.w.lang+`]`, "/documents/")
	j.document = path(v)
	v.LookPaper("29-report", registered...)
	j.holds("the printed report", v.Print("29-report"), j.w.paper...)
}

// lists looks at the pages that the story did not need, now that they are full.
func (j *journey) lists(v *browser.Visitor) {
	j.t.Helper()
	for _, p := range []struct{ name, path string }{
		{"30-now", "/"}, {"31-incidents", "/incidents"}, {"32-actions", "/actions"}, {"33-evidence", "/evidence"}, {"34-hosts", "/hosts"},
		{"35-host", "/hosts/drill-pc"},
	} {
		v.Open(p.path)
		v.Look(p.name)
	}
}

// leave logs out and settles the account of the visit.
func (j *journey) leave(v *browser.Visitor) {
	j.t.Helper()
	v.Open("/")
	v.Follow(`form[action="/logout"] button`, "/login")
	v.Open(j.incident)
	v.Until("the door", "location.pathname === '/login'")
	v.Done()
}

// path is the address of the page without query.
func path(v *browser.Visitor) string {
	p, _, _ := strings.Cut(v.Location(), "?")
	p, _, _ = strings.Cut(p, "#")
	return p
}
