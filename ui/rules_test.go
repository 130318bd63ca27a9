package ui

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

const storyRule = "/rules/5f0f7a52-2b6a-4d57-9a0e-6d5d6b0b7a11"

func TestRulesAreFoundByWhatTheyAre(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	r := v.as("responder")
	says(t, r.get("/rules"), []string{"File sharing client", "sigma/wrong.yml:5", "nearly", "鳴ることがありません"}, nil)
	says(t, r.get("/rules?q=BitTorrent&from=own"), []string{"bittorrent-certain"}, []string{storyRule})
	says(t, r.get("/rules?level=critical&source=aix"), []string{"Odd log-in"}, []string{storyRule, "bittorrent-certain"})
	says(t, r.get("/rules?show=off"), []string{"Kernel messages"}, []string{"Odd log-in"})
	says(t, r.get("/rules?q=no-such-rule"), []string{"この条件に合うルールはありません"}, nil)
	if got := r.get("/rules/none"); got.status != http.StatusNotFound {
		t.Errorf("an unknown rule: %d", got.status)
	}
}

func TestAlertSaysWhyInPlainWords(t *testing.T) {
	v, _ := newHouse().inCourse().withEvents(t).open(t)
	got := v.as("responder").get("/alerts/al-1")
	says(t, got, []string{"ev-1", "次のどれか", "に次を含む", "bit<mark", "torrent</mark>", "合わなかったもの", "203.0.113.7</mark>", storyRule + "?alert=al-1#suppress"}, []string{"why.", "⟦", "ルールが変わりました"})
}

func TestKnownEventsAreSilencedFromAnAlert(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	v, _ := h.open(t)
	r := v.as("responder")
	says(t, r.get(storyRule+"?alert=al-1"), []string{`value="Application"`, `value="bittorrent"`, `value="host"`, "検査科 &lt;b&gt;田中"}, []string{`value="BytesSent"`, "<b>田中"})

	form := []string{"kind", "suppress", "field0", "host", "op0", "is", "value0", "ho-1", "use0", "1",
		"field1", "Application", "op1", "contains", "value1", "bit", "owner", "検査科", "reason", "配布に使う", "for", "7"}
	without := append([]string{}, form...)
	without[9] = ""
	if got := r.post(storyRule+"/changes", append([]string{"kind", "suppress"}, form[len(form)-6:]...)...); got.status != http.StatusUnprocessableEntity {
		t.Errorf("without conditions: %d", got.status)
	}
	if got := r.post(storyRule+"/changes", without...); got.status != http.StatusUnprocessableEntity {
		t.Errorf("with nothing ticked: %d", got.status)
	}
	if got := r.post(storyRule+"/changes", append(form[:len(form)-1:len(form)-1], "9999")...); got.status != http.StatusUnprocessableEntity {
		t.Errorf("for ever: %d", got.status)
	}
	if got := v.as("executive").post(storyRule+"/changes", form...); got.status != http.StatusForbidden {
		t.Errorf("an executive: %d", got.status)
	}
	if got := r.post(storyRule+"/changes", form...); got.status != http.StatusSeeOther {
		t.Fatalf("silence: %d %s", got.status, around(got.body, "notice-head"))
	}
	page := r.get(storyRule)
	says(t, page, []string{"配布に使う", "次のすべてに合う事象を黙らせる", "11月29日"}, []string{">bit</code>"}) // the second line was not ticked
	ends := regexp.MustCompile(`action="([^"]*/end)"`).FindAllStringSubmatch(page.body, -1)
	if len(ends) != 3 {
		t.Fatalf("%d changes can be ended, want 3", len(ends))
	}
	if got := r.post(ends[0][1], "reason", ""); got.status != http.StatusUnprocessableEntity {
		t.Errorf("ended without a reason: %d", got.status)
	}
	if got := r.post(ends[0][1], "reason", "もう使わない"); got.status != http.StatusSeeOther {
		t.Errorf("ended: %d", got.status)
	}
	says(t, r.get(storyRule), []string{"もう使わない", "終了"}, nil)
}

func TestRuleIsTriedOnThePast(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	v, live := h.open(t)
	done := make(chan struct{}, 100)
	h.rulebook.OnTrial(func() { live.Notify("trial", ""); done <- struct{}{} })
	r := v.as("responder")
	if got := r.post(storyRule+"/test", "days", "7d"); got.status != http.StatusSeeOther {
		t.Fatalf("try: %d", got.status)
	}
	says(t, r.get(storyRule), []string{"この7日で: 0台の機器で 0件", "試すのをやめる", "<progress"}, nil)
	go func() { _ = h.rulebook.Run(t.Context()) }()
	for range 9 { // eight days, begun ones too, and the end
		<-done
	}
	page := r.get(storyRule)
	says(t, page, []string{"この7日で: 1台の機器で 24件", "合う事象の例"}, []string{"試すのをやめる"})
	if strings.Contains(v.as("approver").get(storyRule).body, "台の機器で") {
		t.Error("another person sees the trial")
	}
	if got := r.post(storyRule+"/test", "days", "99y"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("for ever: %d", got.status)
	}
}

func TestRulesAreSwitchedOnThePage(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	r := v.as("responder")
	if got := r.post("/rules/bittorrent-certain/disable", "reason", "誤検知"); got.status != http.StatusSeeOther {
		t.Fatalf("disable: %d", got.status)
	}
	says(t, r.get("/rules/bittorrent-certain"), []string{"停止", "誤検知", "見張りを再開する"}, nil)
	if got := r.post("/rules/bittorrent-certain/disable", "reason", "again"); got.status != http.StatusConflict {
		t.Errorf("disabled twice: %d", got.status)
	}
	if got := r.post("/rules/bittorrent-certain/enable", "reason", "直した"); got.status != http.StatusSeeOther {
		t.Errorf("enable: %d", got.status)
	}
	says(t, r.get("/rules/bittorrent-certain"), []string{"見張りを止める"}, []string{"見張りを再開する"})
	if got := v.as("contractor").get("/rules/bittorrent-certain"); got.status != http.StatusForbidden {
		t.Errorf("a contractor: %d", got.status)
	}
}
