package hub_test

import (
	"errors"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/state"
)

// TestDecisionFromAlertToVerifiedChronology: an alert becomes an incident, the
// page recommends, one person decides against it by proxy and another approves
// afterwards; the chronology says all of it by itself, a stranger checks it, and
// finds what is changed afterwards.
func TestDecisionFromAlertToVerifiedChronology(t *testing.T) {
	t.Parallel()
	dir, program := hubtest.Folder(t), sonaeProgram(t)
	h := hubtest.Process(t, dir, exec.Command(program, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0", "--local", "127.0.0.1:0"))
	one := h.FirstAdmin()
	two := h.Person("mori", "", auth.Approver)
	in := one.Open(h.Raised(one))
	at := "/incidents/" + in.ID

	var e decision.Evaluation
	h.Await("the alert to be among what is evaluated", func() bool {
		e = hubtest.List[decision.Evaluation](one, at+"/evaluation")[0]
		r := e.CalledBy()
		return r != nil && r.Criterion.Measure == "leaving"
	})
	if e.Verdict != decision.Pause || e.Service.Key == "" {
		t.Errorf("recommended: %+v", e)
	}
	_, page := one.Page(at + "/decision")
	for _, want := range []string{"一時停止", "持ち出しの兆候の警報", "止めた場合の影響", "動かし続けた場合の危険"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	review := time.Now().Add(time.Hour).In(clock.Tokyo()).Format("2006-01-02T15:04")
	form := url.Values{"service": {e.Service.Key}, "after": {"0"}, "verdict": {"keep"}, "decision_reason": {"席は1つだけ"}, "review_at": {review}, "proxy_for": {"院長"}, "proxy_rule": {"規程 第4条"}}
	if status, to, text := one.Submit(at+"/decisions", form); status != http.StatusSeeOther || !strings.Contains(to, "done=decided") {
		t.Fatalf("decide: %d to %q: %.300s", status, to, text)
	}
	if status, _, _ := one.Submit(at+"/decisions", form); status != http.StatusConflict {
		t.Errorf("the same form once more: %d", status)
	}
	v := hubtest.List[decision.Decision](one, at+"/decisions")[0]
	if !v.Against() || v.Seen.Verdict != decision.Pause || v.Approval.State != decision.Waiting {
		t.Errorf("recorded: %+v", v)
	}
	if status, _, text := two.Submit(at+"/decisions/"+v.ID+"/approve", url.Values{"given": {"0"}, "why": {"止めるべきだった"}}); status != http.StatusSeeOther {
		t.Fatalf("refuse: %d: %.300s", status, text)
	}
	for key, want := range map[string]string{"decision.made-proxy": "院長 に代わって", "decision.refused": "承認しなかった。理由: 止めるべきだった"} {
		entry := one.Written(in.ID, key)
		say := entry.Say("ja", i18n.T, nil)
		if !strings.Contains(say, want) || strings.ContainsAny(say, "⟦{") || entry.Ref != v.ID {
			t.Errorf("%s reads %q", key, say)
		}
	}

	h.Idle()
	h.Kill()
	out, err := exec.Command(program, "verify", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "intact") {
		t.Fatalf("verify: %v: %s", err, out)
	}
	db, err := state.Open(t.Context(), dir+"/state.db", hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE decision_version SET body = REPLACE(body, '席は1つだけ', '席は9つだけ') WHERE version = 1`)
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command(program, "verify", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "changed "+v.ID+"/1") {
		t.Errorf("verify after the reason was changed: %v: %s", err, out)
	}
}
