package ui

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
