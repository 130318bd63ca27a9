package ui

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/japanese"

	"github.com/sonae/sonae/duty"
)

// TestTheQuestionnaireIsReadWhole: who knew what, the proof, the signs and the
// common form arrive as they were typed, and are shown again.
func TestTheQuestionnaireIsReadWhole(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	got := r.post("/incidents/in-1/facts", "known_at", "2026-11-22T12:41", "known_who", "医事課", "known_what", "見慣れない画面",
		"k1_at", "2026-11-22T12:10", "k1_who", "班長", "k1_side", "contractor", "k2_side", "own", "contractor", "callcentre",
		"personal", "yes", "ransomware", "yes", "identical_copy", "no", "indicators", "c2_traffic", "encrypted", "yes", "algorithm", "AES-256", "proof_unreadable", "yes",
		"proof_by_attacker", "no", "form_extension", ".locked", "nco_sharing", "no", "reason", "電話で確かめた")
	if got.status != http.StatusSeeOther {
		t.Fatalf("facts: %d", got.status)
	}
	first, second := time.Date(2026, 11, 22, 3, 41, 0, 0, time.UTC), time.Date(2026, 11, 22, 3, 10, 0, 0, time.UTC)
	f := h.duties["in-1"].Facts
	want := []duty.Knowledge{{Side: duty.OwnSide, Who: "医事課", What: "見慣れない画面", At: first}, {Side: duty.ContractorSide, Who: "班長", At: second}}
	if diff := cmp.Diff(want, f.Knowledge); diff != "" {
		t.Error(diff)
	}
	proof := duty.Proof{Algorithm: "AES-256", Listed: duty.Unknown, Unreadable: duty.Yes, KeyApart: duty.Unknown, KeySafe: duty.Unknown, Wiped: duty.Unknown, KeyUnusable: duty.Unknown, ByAttacker: duty.No}
	if diff := cmp.Diff(proof, f.Exemption); diff != "" || f.Common.Extension != ".locked" || f.Common.NCO != duty.No || f.IdenticalCopy != duty.No || len(f.Indicators) != 1 {
		t.Errorf("%s%+v", diff, f)
	}
	if len(h.reasons) != 1 || h.reasons[0] != "電話で確かめた" {
		t.Errorf("reasons %q", h.reasons)
	}
	says(t, r.get("/incidents/in-1/facts"), []string{`value="医事課"`, `value="班長"`, `value="2026-11-22T12:10"`, "AES-256", ".locked"}, nil)
	if got := r.post("/incidents/in-1/facts", "known_at", "2026-11-22T12:41", "k1_at", "noon", "k1_who", "班長"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("a time that is none: %d", got.status)
	}
}

// TestDecisionsAndAuthoritiesWithoutScript
func TestDecisionsAndAuthoritiesWithoutScript(t *testing.T) {
	h := newHouse().inCourse()
	h.duties["in-1"] = duty.Evaluate(law(), claimed(), start)
	v, _ := h.open(t)
	r, a, admin := v.as("responder"), v.as("approver"), v.as("admin")
	says(t, r.get("/incidents/in-1/duties"), []string{"まだ通知しない", "人が判断すること", "まだ除外にはなりません", "無効", "医事課 が"}, []string{"確認を記録する"})
	if got := r.post("/incidents/in-1/duties", "kind", "notice", "choice", "not_yet", "grounds", "notice_enlarges_harm", "reason", ""); got.status != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %d", got.status)
	}
	if got := r.post("/incidents/in-1/duties", "kind", "review", "about", "ransomware_copy", "choice", "report", "reason", "兆候を待たない"); got.status != http.StatusSeeOther {
		t.Errorf("review: %d", got.status)
	}
	if got := r.post("/incidents/in-1/exemption", "choice", "accept", "reason", "見た", "digest", h.duties["in-1"].Exempt.Digest); got.status != http.StatusForbidden {
		t.Errorf("a responder signed: %d", got.status)
	}
	says(t, a.get("/incidents/in-1/duties"), []string{"確認を記録する", h.duties["in-1"].Exempt.Digest}, []string{"判断を記録する"})
	if got := a.post("/incidents/in-1/exemption", "choice", "refuse", "reason", "鍵の台帳がない", "digest", h.duties["in-1"].Exempt.Digest); got.status != http.StatusSeeOther {
		t.Errorf("signature: %d", got.status)
	}
	if len(h.dutyDecided) != 2 || h.dutyDecided[1].Kind != duty.KindExemption || h.dutyDecided[1].By != "pe-approver" {
		t.Errorf("decided %+v", h.dutyDecided)
	}
	says(t, r.get("/incidents/in-1/duties"), []string{"兆候を待たない", "鍵の台帳がない"}, nil)
	if got := r.get("/incidents/in-1/duties?at=2001-01-01T00:00"); got.status != http.StatusOK && got.status != http.StatusNotFound {
		t.Errorf("before anything was known: %d", got.status)
	}
	if got := r.post("/authorities/police", "phone", "110"); got.status != http.StatusForbidden {
		t.Errorf("a responder saved a contact: %d", got.status)
	}
	if got := admin.post("/authorities/police", "phone", "110", "verified", "1"); got.status != http.StatusSeeOther || len(h.contacts) != 1 {
		t.Errorf("contact: %d, %v", got.status, h.contacts)
	}
}

// TestHolidaysAreTakenAfterALook: a file is looked at first, and nothing is kept
// by that; what moves is named with its article; then it is taken, without a
// script.
func TestHolidaysAreTakenAfterALook(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	csv := "国民の祝日・休日月日,国民の祝日・休日名称\r\n"
	for _, d := range law().Holidays.List() {
		if d.Day < "2027" && d.Day != "2026-11-03" {
			csv += strings.ReplaceAll(d.Day, "-", "/") + "," + d.Name + "\r\n"
		}
	}
	csv += "2026/11/03,文化の日\r\n2026/12/21,臨時の休日\r\n"
	sjis, err := japanese.ShiftJIS.NewEncoder().String(csv)
	if err != nil {
		t.Fatal(err)
	}
	admin := v.as("admin")
	says(t, admin.get("/authorities/holidays"), []string{`enctype="multipart/form-data"`, "2026", "元日"}, nil)
	look := admin.sendFile("/authorities/holidays/look", "holiday_file", "syukujitsu.csv", []byte(sjis), "holiday_source", "内閣府のページ")
	says(t, look, []string{"まだ何も変わっていません", "臨時の休日", "確報(個人情報保護法", "12月21日", "12月22日", "第8条第2項", `href="/incidents/in-1/duties"`}, []string{"⟦"})
	if len(h.lists) != 0 {
		t.Error("looking took the list")
	}
	data := regexp.MustCompile(`name="holiday_data" value="([^"]+)"`).FindStringSubmatch(look.body)
	if data == nil {
		t.Fatal("the form does not carry the file on")
	}
	if got := v.as("responder").post("/authorities/holidays", "holiday_data", data[1]); got.status != http.StatusForbidden {
		t.Errorf("a responder took a list: %d", got.status)
	}
	if got := admin.post("/authorities/holidays", "holiday_data", html.UnescapeString(data[1]), "holiday_name", "syukujitsu.csv", "holiday_source", "内閣府のページ"); got.status != http.StatusSeeOther {
		t.Fatalf("taking it: %d %s", got.status, got.body)
	}
	if len(h.lists) != 1 || h.lists[0].Source != "内閣府のページ" || h.lists[0].SHA256 != sumOf([]byte(sjis)) || h.lists[0].By != "pe-admin" {
		t.Errorf("taken: %+v", h.lists)
	}
	for name, bad := range map[string][]byte{"a page": []byte("<html>404</html>"), "too large": make([]byte, maxHolidayForm+1), "nothing": nil} {
		if got := admin.sendFile("/authorities/holidays/look", "holiday_file", "x.csv", bad); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, `name="holiday_file"`) {
			t.Errorf("%s: %d", name, got.status)
		}
	}
}
