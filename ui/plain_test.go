package ui

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
)

// says holds a page against sentences that must and must not stand on it.
func says(t *testing.T, got answer, want, not []string) {
	t.Helper()
	if got.status != http.StatusOK {
		t.Errorf("status %d", got.status)
	}
	for _, w := range want {
		if !strings.Contains(got.body, w) {
			t.Errorf("the page lacks %q", w)
		}
	}
	for _, n := range not {
		if strings.Contains(got.body, n) {
			t.Errorf("the page says %q", around(got.body, n))
		}
	}
}

func TestAFiledReportIsDoneEvenAfterItsDay(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	if got := r.post("/incidents/in-1/facts", "known_at", "2026-11-22T12:41", "prompt_filed_at", "2026-11-22T14:00"); got.status != http.StatusSeeOther {
		t.Fatalf("facts: %d", got.status)
	}
	filed := h.duties["in-1"].Facts.PromptFiledAt
	if want := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC); !filed.Equal(want) {
		t.Errorf("filed at %s, want %s", filed, want)
	}
	says(t, r.get("/incidents/in-1/facts"), []string{"速報を出した日時", `value="2026-11-22T14:00"`, "確報を出した日時"}, nil)
	h.duties["in-1"] = duty.Assessment{Clocks: []duty.Clock{
		{ID: "appi_26.prompt", Regime: "appi_26", Kind: duty.KindPrompt, Due: start.Add(-48 * time.Hour), Applies: duty.Yes, DoneAt: filed}}}
	room := r.get("/incidents/in-1")
	_, room.body, _ = strings.Cut(room.body, `<section id="duties"`)
	room.body, _, _ = strings.Cut(room.body, "</section>")
	says(t, room, []string{"✓ 提出済み 11月22日(日) 14:00"}, []string{"過ぎている"})
}

func TestNoTokenIsOfferedForPractice(t *testing.T) {
	h := newHouse()
	h.siteList = append(h.siteList, asset.Site{ID: "practice", Name: "訓練の拠点", Kind: asset.Contractor, Drill: true})
	v, _ := h.open(t)
	_, form, _ := strings.Cut(v.as("admin").get("/hosts").body, `action="/tokens"`)
	form, _, _ = strings.Cut(form, "</form>")
	if !strings.Contains(form, `value="callcentre"`) || strings.Contains(form, "practice") {
		t.Errorf("the form offers %s", form)
	}
}

func TestMachinesAreQuotedInWords(t *testing.T) {
	h := newHouse().inCourse()
	h.acts[0].State = action.Verified
	h.acts[0].Checks = []action.Check{{Name: "hub-reachable", OK: true, Detail: "heartbeat after 0 ms"}, {Name: "forbidden-blocked", OK: true, Detail: "no answer within 700 ms"}}
	h.acts[1].Failure = "missing 23 of 53"
	v, _ := h.open(t)
	r := v.as("responder")
	says(t, r.get("/actions/ac-1"), []string{"ハブから0.1秒以内に返事があった", "0.7秒待っても返事がなかった"}, []string{" ms", "heartbeat"})
	says(t, r.get("/actions/ac-2"), []string{"保全済み", "53件のうち23件は"}, []string{"missing 23", "実施中・確認済み", `class="notice fault"`})
	list := r.get("/actions")
	says(t, list, []string{"保全済み"}, nil)
	if _, ended, _ := strings.Cut(list.body, `id="h-ended"`); !strings.Contains(ended, "/actions/ac-2") || strings.Contains(ended, "/actions/ac-1\"") {
		t.Errorf("ended are %s", ended)
	}
}

func TestFactsSayThatTheFirstMomentIsNeeded(t *testing.T) {
	h := newHouse().inCourse()
	h.duties = map[string]duty.Assessment{} // right after the incident began
	v, _ := h.open(t)
	r := v.as("responder")
	says(t, r.get("/incidents/in-1/facts"), []string{`name="known_at" value="2026-11-22T12:41"`, "期限はここから数えます"}, []string{"空なら今の時刻"})
	says(t, r.get("/incidents"), []string{"空なら今の時刻"}, nil)
}

func TestPlanWithoutAPeerIsNoFault(t *testing.T) {
	h := newHouse().inCourse()
	h.alertList = nil
	v, _ := h.open(t)
	says(t, v.as("responder").get("/incidents/in-1/isolate?host=ho-1"),
		[]string{"通信相手から自動で選びます", "外来予約の電話受付", "この席で予約の電話"}, []string{`role="alert"`, "何も変わっていません"})
}

func TestWhoCannotApproveLearnsWhyAndWhoCan(t *testing.T) {
	h := newHouse().inCourse()
	h.persons["pe-responder2"] = auth.Person{ID: "pe-responder2", Login: "responder2", Name: "もう一人の対応者", Roles: []auth.Role{auth.Responder}, Lang: "ja"}
	v, _ := h.open(t)
	for who, want := range map[string]string{
		"responder":  "自分が申請した措置は、自分では承認できません",
		"responder2": "承認できるのは、承認者の役割を持つ人だけです",
	} {
		got := v.as(who).get("/actions/ac-1/approve")
		if got.status != http.StatusForbidden || !strings.Contains(got.body, want) || !strings.Contains(got.body, h.persons["pe-approver"].Name) {
			t.Errorf("%s: %d %s", who, got.status, around(got.body, "notice-head"))
		}
	}
}

func TestMissingApproverIsToldEarly(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	const warning = "承認できる人がまだいません。設定で招待してください。"
	for _, path := range []string{"/", "/incidents/in-1/isolate?host=ho-1"} {
		says(t, v.as("responder").get(path), nil, []string{warning})
	}
	p := h.persons["pe-approver"]
	p.Disabled = true
	h.persons["pe-approver"] = p
	says(t, v.as("responder").get("/incidents/in-1/isolate?host=ho-1"), []string{warning}, nil)
	says(t, v.as("responder").get("/"), []string{warning}, []string{`href="/settings"`})
	says(t, v.as("admin").get("/"), []string{warning, `class="must" href="/settings"`}, nil)
	says(t, v.as("executive").get("/"), nil, []string{warning})
	if got := v.as("responder").get("/actions/ac-1/approve"); !strings.Contains(got.body, warning) {
		t.Errorf("the refusal says %s", around(got.body, "notice-head"))
	}
}

func TestDurationsAreWords(t *testing.T) {
	h := newHouse().inCourse()
	h.hostList[0].Health.Offset = -1412 * time.Millisecond
	v, _ := h.open(t)
	says(t, v.as("responder").get("/hosts/ho-1"), []string{"1.4秒遅れ"}, []string{"-1.412s"})
	f := (&call{lang: "ja"}).words(fault.New(fault.Invalid, "action.lease", 5*time.Second, 24*time.Hour))
	if f.What != "期限は 5秒 から 24時間 までの間で選んでください。" {
		t.Errorf("the limits of a lease: %q", f.What)
	}
}

func TestBagGroupsWhatIsMissing(t *testing.T) {
	h := newHouse().inCourse()
	b := &h.bagList[0]
	for path, why := range map[string]string{
		"kernel/preload": "open /etc/ld.so.preload: no such file or directory", "network/nft.json": `exec: "nft": executable file not found in $PATH`, "odd": "the disk hums",
	} {
		b.Items = append([]evidence.Item{{Bag: b.ID, Path: path, Title: path, Error: why}}, b.Items...)
	}
	v, _ := h.open(t)
	got := v.as("responder").get("/evidence/bag-1")
	says(t, got, []string{"品目 2件", "取れなかった品目 3件", "この機器にはありません", "この機器にそのプログラムがありません", "取れませんでした(the disk hums)"},
		[]string{"no such file", "executable file not found"})
	if table, rest, _ := strings.Cut(got.body, "取れなかった品目"); strings.Contains(table, "kernel/preload") || !strings.Contains(rest, "kernel/preload") {
		t.Error("the missing item does not stand at the end")
	}
}

func TestEventsOfAnAlertAreFoldedAndLabelled(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	_, part, _ := strings.Cut(v.as("responder").get("/alerts/al-1").body, `id="h-events"`)
	part, _, _ = strings.Cut(part, "</section>")
	for _, want := range []string{"<details><summary>", "<dt>相手</dt><dd><code>203.0.113.7</code></dd>", "<dt>送った量</dt><dd>1.2 MB</dd>"} {
		if !strings.Contains(part, want) {
			t.Errorf("no %q in %s", want, part)
		}
	}
}

func TestInvitationSaysHowLongItsLinkLasts(t *testing.T) {
	v, _ := newHouse().open(t)
	admin := v.as("admin")
	const want = "リンクは 11月25日(水) 14:05 (あと3日) まで、一度だけ使えます。"
	says(t, admin.post("/people", "login", "newone", "name", "新任", "roles", "approver"), []string{want, "/join/token-of-newone"}, nil)
	says(t, admin.post("/people/pe-approver/renew"), []string{want, "/join/renewal-of-pe-approver"}, nil)
}

func TestReporterIsStatedInTheSettings(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	admin := v.as("admin")
	says(t, admin.get("/settings"), []string{"報告者", "報告する事業者の名称", `action="/settings/reporter"`}, nil)
	if got := admin.post("/settings/reporter", "organisation", "市立病院", "person", "安西 花", "mail", "it@example.org"); got.status != http.StatusSeeOther {
		t.Fatalf("status %d", got.status)
	}
	if want := (report.Reporter{Organisation: "市立病院", Person: "安西 花", Mail: "it@example.org"}); h.reporter != want {
		t.Errorf("reporter %+v", h.reporter)
	}
	says(t, admin.get("/settings"), []string{`value="市立病院"`, `value="安西 花"`}, nil)
	refused := admin.post("/settings/reporter", "organisation", "消えては困る", "phone", strings.Repeat("0", 201))
	if refused.status != http.StatusUnprocessableEntity || !strings.Contains(refused.body, "消えては困る") || !strings.Contains(refused.body, "200字まで") {
		t.Errorf("refused with %d: %s", refused.status, around(refused.body, "notice-head"))
	}
	if got := v.as("responder").post("/settings/reporter", "organisation", "x"); got.status != http.StatusForbidden {
		t.Errorf("a responder: %d", got.status)
	}
}

// A line that the hub wrote about an action, or about the cutting of a site,
// leads to its page; what a person wrote leads nowhere.
func TestALineOfTheChronologyLeadsToWhatItIsAbout(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	for _, e := range []incident.Entry{
		{By: incident.System, Source: "action", Key: "cut.approved", Ref: "cu-1", Args: map[string]string{"by": "pe-approver"}},
		{By: incident.System, Source: "action", Key: "action.approved", Ref: "ac-1", Args: map[string]string{"by": "pe-approver", "host": "ho-1"}},
		{By: "pe-responder", Source: "action", Text: "線を抜いた", Ref: "ac-typed"},
	} {
		e.Incident, e.No, e.OccurredAt, e.EnteredAt, e.Certainty = "in-1", len(h.chron["in-1"])+1, h.now, h.now, incident.Fact
		h.chron["in-1"] = append(h.chron["in-1"], e)
	}
	for i := range h.cases {
		h.cases[i].Entries = len(h.chron[h.cases[i].ID])
	}
	page := v.as("responder").get("/incidents/in-1")
	says(t, page, []string{`<a href="/cuttings/cu-1">措置</a>`, `<a href="/actions/ac-1">措置</a>`}, []string{"/actions/ac-typed"})
}
