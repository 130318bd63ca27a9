package ui

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/state"
)

// tasksOf is the desk of a house; without one nobody has anything to do.
type tasksOf struct{ *task.Desk }

func (d tasksOf) Tasks(ctx context.Context, in string) ([]task.Task, error) {
	if d.Desk == nil {
		return nil, nil
	}
	return d.Desk.Tasks(ctx, in)
}

func (d tasksOf) Roles(ctx context.Context) ([]task.Role, error) {
	if d.Desk == nil {
		return nil, nil
	}
	return d.Desk.Roles(ctx)
}

// commandOf moves command as the room does.
type commandOf struct{ incidentsOf }

func (h commandOf) HandOver(ctx context.Context, id, from, to string, by auth.Person) error {
	i, err := h.Get(ctx, id)
	if err == nil && i.Commander != from {
		err = fault.New(fault.Conflict, "incident.other-commands")
	}
	if err != nil {
		return err
	}
	return h.Command(ctx, id, to, by)
}

// signersOf takes the code 123456 once.
type signersOf struct {
	peopleOf
	used *bool
}

func (s signersOf) Confirm(_ context.Context, _ auth.Person, code string) error {
	if code != "123456" || *s.used {
		return fault.New(fault.Invalid, "auth.code-refused")
	}
	*s.used = true
	return nil
}

// withTasks gives the house an organisation, tasks in all states, hours that
// were corrected, and a hand-over that was refused.
func (h *house) withTasks(t *testing.T, db *state.DB, log *slog.Logger) {
	t.Helper()
	ctx, at := t.Context(), start.Add(-14*time.Hour)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	now := func() time.Time {
		if at.IsZero() {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.now
		}
		return at
	}
	var err error
	h.tasks, err = task.New(db, task.Deps{Incidents: commandOf{incidentsOf{h}}, Alerts: alertsOf{h}, Evidence: evidenceOf{h}, Actions: actionsOf{h}, Duties: dutiesOf{h},
		Books: &booksOf{house: h}, Shifts: h.notices, People: signersOf{peopleOf{h}, new(bool)}, Now: now, Log: log,
		Names: func(context.Context) (map[string]string, error) {
			return map[string]string{"pe-responder": "情報システム係", "pe-admin": "システム管理係", "pe-night": "夜間当直", "ho-1": "cc-pc-07"}, nil
		}})
	must(err)
	h.mu.Lock()
	h.persons["pe-night"] = auth.Person{ID: "pe-night", Login: "night", Name: "夜間当直", Roles: []auth.Role{auth.Responder}, HasTOTP: true, Lang: "ja"}
	h.mu.Unlock()
	by := auth.Person{ID: "pe-responder"}
	in, err := incidentsOf{h}.Get(ctx, "in-1")
	if err != nil { // a house before anything happened
		at = time.Time{}
		return
	}
	must(h.tasks.FollowCommand(ctx, in.ID))
	at = at.Add(time.Millisecond) // so that it is the first
	_, err = h.tasks.Assign(ctx, in.ID, task.NewPost{Role: "technical", Person: "pe-responder"}, by)
	must(err)
	at = at.Add(time.Minute)
	_, err = h.tasks.Assign(ctx, in.ID, task.NewPost{Role: task.Commander, Person: "pe-night", Deputy: true}, by)
	must(err)
	at = at.Add(time.Minute)
	gone, err := h.tasks.Assign(ctx, in.ID, task.NewPost{Role: "contractor", Name: `ABC保守 <b>op</b> 鈴木`, Contact: "0300-00-0009"}, by)
	must(err)
	_, err = h.tasks.Begin(ctx, in.ID, task.NewStay{Person: "pe-responder", Role: "technical"}, by)
	must(err)
	at = at.Add(time.Millisecond)
	other, err := h.tasks.Begin(ctx, in.ID, task.NewStay{Person: "pe-night", Role: "recorder"}, by)
	must(err)
	at = start.Add(-6 * time.Hour)
	must(h.tasks.Leave(ctx, in.ID, gone.ID, time.Time{}, by))
	must(h.tasks.End(ctx, in.ID, other.ID, time.Time{}, by))
	stay, err := h.tasks.Correct(ctx, in.ID, other.ID, task.NewStay{Role: "recorder", From: start.Add(-13 * time.Hour), Until: start.Add(-7 * time.Hour), Reason: "終わりを1時間まちがえた"}, by)
	must(err)
	for i, n := range []task.NewTask{
		{Title: "委託先に電話して、端末の電源を切らないよう頼む", Person: "pe-responder", Due: start.Add(-30 * time.Minute), Promised: "委託先", Entry: 1},
		{Title: "速報の案を書き、確かめる", Role: "privacy", Clock: "appi_26.prompt", Before: 120},
		{Title: `病棟に <b>op</b> 紙の運用を知らせる`, Role: "medical"},
		{Title: "ほかの端末を調べる", Role: "technical", Due: start.Add(2 * time.Hour)},
		{Title: "ログを消さないよう設定する", Person: "pe-responder"},
		{Title: "記者会見を開く", Role: "spokesperson"},
	} {
		at = at.Add(time.Second)
		made, err := h.tasks.Add(ctx, in.ID, n, by)
		must(err)
		at = at.Add(time.Second)
		switch i {
		case 3:
			_, err = h.tasks.Move(ctx, in.ID, made.ID, task.Doing, "", by)
		case 4:
			_, err = h.tasks.Move(ctx, in.ID, made.ID, task.Done, "", by)
		case 5:
			_, err = h.tasks.Move(ctx, in.ID, made.ID, task.Cancelled, "文書の公表だけにする", by)
		}
		must(err)
	}
	at = start.Add(-2 * time.Hour)
	refused, err := h.tasks.Offer(ctx, in.ID, task.NewHandover{To: "pe-night", Lang: "ja", Text: "状態: 対応中\n■ 隔離中: なし"}, auth.Person{ID: in.Commander})
	must(err)
	must(h.tasks.Refuse(ctx, in.ID, refused.ID, "いま別の事案を指揮している", auth.Person{ID: "pe-night"}))
	h.taskIDs = strings.NewReplacer("{stay}", stay.ID, "{handover}", refused.ID)
	at = time.Time{}
}

func TestTaskIsBegunAndDoneByOnePress(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	v, _ := h.open(t)
	r := v.as("responder")
	page := r.get("/incidents/in-1/tasks").body
	_, after, ok := strings.Cut(page, `action="/incidents/in-1/tasks/ta-`)
	id, _, _ := strings.Cut(after, "/")
	if !ok {
		t.Fatal("no button")
	}
	path := "/incidents/in-1/tasks/ta-" + id
	if got := r.post(path+"/state", "to", "doing", "back", "mine"); got.status != http.StatusSeeOther {
		t.Fatalf("begun: %d", got.status)
	}
	if got := r.post(path+"/state", "to", "done", "back", "room"); got.status != http.StatusSeeOther {
		t.Fatalf("done: %d", got.status)
	}
	if got := r.post(path+"/state", "to", "doing"); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "理由を書いてください") {
		t.Errorf("taken up again without a reason: %d", got.status)
	}
	if got := r.post("/incidents/in-1/tasks", "title", "", "owner", "role:privacy"); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "タスクの内容を書いてください") {
		t.Errorf("without a title: %d", got.status)
	}
	if got := v.as("contractor").post(path+"/state", "to", "done"); got.status != http.StatusForbidden {
		t.Errorf("a contractor: %d", got.status)
	}
	for _, page := range []string{"team", "rota", "handovers", "hours.csv"} { // people's numbers stand there
		if got := v.as("contractor").get("/incidents/in-1/" + page); got.status != http.StatusForbidden {
			t.Errorf("a contractor sees %s: %d", page, got.status)
		}
	}
	if got := r.get("/incidents/in-1/hours.csv"); got.status != http.StatusOK || !strings.Contains(got.body, "情報システム係,技術責任者,") {
		t.Errorf("hours: %d %q", got.status, got.body)
	}
}

func TestCommandIsHandedOverOnThePages(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	v, _ := h.open(t)
	r, n := v.as("responder"), v.as("night")
	says(t, r.get("/incidents/in-1/handovers"), []string{"署名して引き継ぎを申し出る", "残っているタスク", "夜間当直"}, nil)
	got := r.post("/incidents/in-1/handovers", "to", "pe-night", "text", "読んで確かめた内容")
	if got.status != http.StatusSeeOther {
		t.Fatalf("offered: %d %.300s", got.status, got.body)
	}
	path, _, _ := strings.Cut(got.header.Get("Location"), "?")
	says(t, r.get(path), []string{"読んで確かめた内容", "取り下げる"}, []string{"確認コード（6桁）"})
	says(t, n.get(path), []string{"確認コード（6桁）", "引き継ぎを断る"}, []string{"引き継ぎを取り下げる"})
	if got := n.post(path+"/sign", "code", "000000"); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "確認コードが違うか") {
		t.Errorf("a wrong code: %d", got.status)
	}
	if got := r.post(path+"/sign", "code", "123456"); got.status != http.StatusForbidden {
		t.Errorf("signed by the wrong person: %d", got.status)
	}
	if got := n.post(path+"/sign", "code", "123456"); got.status != http.StatusSeeOther {
		t.Fatalf("signed: %d", got.status)
	}
	in, err := incidentsOf{h}.Get(t.Context(), "in-1")
	if err != nil || in.Commander != "pe-night" {
		t.Errorf("%s commands (%v)", in.Commander, err)
	}
	says(t, n.get(path), []string{"引き継ぎ済み"}, []string{"確認コード（6桁）"})
}
