package ui

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
)

// TestWhatIsFrozenIsDecidedOnWhereItIsSeen from the pages of the alert, of the
// incident and of the machine, without a script.
func TestWhatIsFrozenIsDecidedOnWhereItIsSeen(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	responder, executive := v.as("responder"), v.as("executive")
	for _, path := range []string{"/alerts/al-1", "/incidents/in-1", "/hosts/ho-1", "/actions/ac-3"} {
		page := body(t, responder.get(path).body)
		for _, form := range []string{"keep", "release", "kill"} {
			if !strings.Contains(page, `action="/actions/ac-3/`+form+`"`) {
				t.Errorf("%s offers no %s", path, form)
			}
		}
		if page := body(t, executive.get(path).body); strings.Contains(page, "/actions/ac-3/release") {
			t.Errorf("%s lets an executive thaw", path)
		}
	}
	const reason = "調査中"
	if r := responder.post("/actions/ac-3/keep", "reason", reason); r.status != http.StatusSeeOther || h.acts[2].KeptBy != "pe-responder" {
		t.Errorf("kept: %d, by %q", r.status, h.acts[2].KeptBy)
	}
	if r := executive.post("/actions/ac-3/keep", "reason", reason); r.status != http.StatusForbidden {
		t.Errorf("an executive keeps it: %d", r.status)
	}
	if r := responder.post("/actions/ac-3/kill", "reason", reason); r.status != http.StatusSeeOther {
		t.Errorf("kill: %d", r.status)
	}
	if k := h.acts[len(h.acts)-1]; k.Kind != action.Kill || k.State != action.Requested {
		t.Errorf("a kill waits for a second person: %+v", k)
	}
	if r := responder.post("/actions/ac-3/release", "reason", reason); r.status != http.StatusSeeOther || h.acts[2].State != action.Releasing {
		t.Errorf("thaw: %d, %s", r.status, h.acts[2].State)
	}
}

func TestPolicyIsTriedBeforeItIsProposed(t *testing.T) {
	v, _ := newHouse().inCourse().open(t)
	r := v.as("responder")
	const good = `permit (principal, action == Action::"freeze", resource);`
	send := func(path, text, do string) answer {
		return r.post(path, "name", "夜間", "text", text, "reason", "夜は人がいない", "do", do)
	}
	if got := send("/policies?lang=ja", good, "rehearse"); got.status != http.StatusOK || !strings.Contains(body(t, got.body), "警報37件") {
		t.Errorf("rehearsed: %d", got.status)
	}
	if got := send("/policies", good, "propose"); got.status != http.StatusSeeOther {
		t.Errorf("proposed: %d", got.status)
	}
	if got := send("/policies", "permit", "propose"); got.status != http.StatusUnprocessableEntity && got.status != http.StatusBadRequest || !strings.Contains(got.body, "permit") {
		t.Errorf("what cannot be understood: %d", got.status)
	}
	if got := v.as("contractor").get("/policies"); got.status != http.StatusForbidden {
		t.Errorf("a contractor reads policies: %d", got.status)
	}
}
