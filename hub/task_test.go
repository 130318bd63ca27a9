package hub_test

import (
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/notify"
)

// TestHandOverFromPageToVerifiedChronology: a task becomes late and calls its
// owner, command is handed over on the pages with a code, and a stranger checks
// every line.
func TestHandOverFromPageToVerifiedChronology(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	program := sonaeProgram(t)
	h := hubtest.Start(t, hubtest.Now(now))
	one, two := h.FirstAdmin(), h.Person("ito", "", auth.Responder)
	var ch notify.Channel
	one.Must("POST", "/notify/channels", api.ChannelFields{Kind: notify.Mail, Name: "院内メール", Server: "127.0.0.1:1", From: "sonae@hospital.example"}, &ch)
	one.Must("POST", "/notify/chains", api.ChainFields{Name: "夜間", Least: "high", Steps: []api.StepFields{{People: []string{one.Person.ID}, Channels: []string{ch.ID}, Wait: 60}}}, nil)
	var in incident.Incident
	one.Must("POST", "/incidents", api.NewIncident{Title: "名簿の流出", Severity: "high"}, &in)
	path := "/incidents/" + in.ID

	// a task with a time, and hours
	due := now().Add(2 * time.Minute)
	if status, _, text := one.Submit(path+"/tasks", url.Values{"title": {"委託先に電話する"}, "owner": {"person:" + two.Person.ID}, "due": {due.In(time.FixedZone("JST", 9*3600)).Format("2006-01-02T15:04:05")}}); status != http.StatusSeeOther {
		t.Fatalf("task: %d %.300s", status, text)
	}
	if status, _, text := two.Submit(path+"/hours", url.Values{"role": {"recorder"}}); status != http.StatusSeeOther {
		t.Fatalf("on duty: %d %.300s", status, text)
	}
	h.Await("the one who opened the incident to hold the role of the commander", func() bool {
		return slices.ContainsFunc(hubtest.List[task.Post](one, path+"/posts"), func(p task.Post) bool { return p.Role == task.Commander && p.Person == one.Person.ID })
	})

	// the leaving commander signs, the next one with a code
	draft := hubtest.Get[api.HandoverDraft](one, path+"/handover-draft")
	if !strings.Contains(draft.Text, "委託先に電話する") {
		t.Errorf("the draft says %q", draft.Text)
	}
	status, to, text := one.Submit(path+"/handovers", url.Values{"to": {two.Person.ID}, "text": {draft.Text + "\n申し送り: 院長に報告済み"}})
	if status != http.StatusSeeOther {
		t.Fatalf("offered: %d %.300s", status, text)
	}
	paper, _, _ := strings.Cut(to, "?")
	ahead.Store(int64(90 * time.Second)) // the codes of logging in were used
	if status, _, _ := two.Submit(paper+"/sign", url.Values{"code": {"000000"}}); status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong code: %d", status)
	}
	if got := hubtest.Get[incident.Incident](two, path); got.Commander != one.Person.ID {
		t.Errorf("%s commands before it was signed", got.Commander)
	}
	if status, _, text := two.Submit(paper+"/sign", url.Values{"code": {two.Code()}}); status != http.StatusSeeOther {
		t.Fatalf("signed: %d %.300s", status, text)
	}
	if got := hubtest.Get[incident.Incident](two, path); got.Commander != two.Person.ID {
		t.Errorf("%s commands, want the one who signed", got.Commander)
	}

	// the task is late: its owner is called, until it is done
	ahead.Store(int64(5 * time.Minute))
	calls := func(s notify.State) []notify.Call {
		return slices.DeleteFunc(hubtest.List[notify.Call](one, "/notify/calls"), func(c notify.Call) bool { return c.Cause.Kind != notify.OfTask || c.State != s })
	}
	h.Await("a call about the late task", func() bool { return len(calls(notify.Calling)) == 1 })
	if c := calls(notify.Calling)[0]; !slices.Contains(c.Chain.Steps[0].People, two.Person.ID) {
		t.Errorf("its owner is not told: %+v", c.Chain.Steps)
	}
	late := hubtest.List[task.Task](two, "/tasks")
	if len(late) != 1 || late[0].ToldAt.IsZero() {
		t.Fatalf("tasks of the owner: %+v", late)
	}
	if status, _, _ := two.Submit(path+"/tasks/"+late[0].ID+"/state", url.Values{"to": {"done"}, "back": {"mine"}}); status != http.StatusSeeOther {
		t.Errorf("done: %d", status)
	}
	h.Await("the call to end", func() bool { return len(calls(notify.Answered)) == 1 })

	for _, key := range []string{"task.added", "stay.began", "handover.offered", "handover.signed", "task.late", "task.done"} {
		e := one.Written(in.ID, key)
		say := e.Say("ja", func(lang, key string, args map[string]string) string { return i18n.T(lang, key, args) }, nil)
		if strings.ContainsAny(say, "⟦⟧{}") {
			t.Errorf("line %d reads %q", e.No, say)
		}
	}
	h.Await("the role of the commander to move", func() bool {
		return slices.ContainsFunc(hubtest.List[task.Post](one, path+"/posts"), func(p task.Post) bool { return p.Role == task.Commander && p.Person == two.Person.ID })
	})
	h.Idle()
	h.Stop()
	if out, err := exec.Command(program, "verify", h.Dir).CombinedOutput(); err != nil {
		t.Errorf("verify: %v: %s", err, out)
	} else if !strings.Contains(string(out), "row by row") {
		t.Errorf("verify says %s", out)
	}
}
