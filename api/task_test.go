package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/task"
)

func TestTasksRolesAndHoursThroughTheAPI(t *testing.T) {
	b := newBench(t)
	sato, contractor := b.person("sato", "", auth.Responder), b.person("suzuki", "callcentre", auth.Contractor)
	b.host("callcentre")
	var in, other incident.Incident
	b.call(sato, "POST", "/incidents", NewIncident{Title: "一", Severity: "high", Sites: []string{"callcentre"}}).is(http.StatusCreated, &in)
	b.call(sato, "POST", "/incidents", NewIncident{Title: "二", Severity: "high"}).is(http.StatusCreated, &other)
	path := "/incidents/" + in.ID

	var made task.Task
	b.call(sato, "POST", path+"/tasks", NewTask{Title: "電話する", TaskOwner: TaskOwner{Person: b.whose(sato), Due: b.clock().Add(-time.Hour)}, Promised: "保健所"}).is(http.StatusCreated, &made)
	b.call(contractor, "POST", path+"/tasks", NewTask{Title: "x"}).problem(http.StatusForbidden, "denied.role")
	b.call(sato, "POST", path+"/tasks", NewTask{Title: "x", TaskOwner: TaskOwner{Role: "cook"}}).problem(http.StatusBadRequest, "task.role-unknown")
	b.call(sato, "POST", "/incidents/"+other.ID+"/tasks/"+made.ID+"/state", TaskMove{To: "done"}).problem(http.StatusNotFound, "task.missing")
	b.call(sato, "POST", path+"/tasks/"+made.ID+"/state", TaskMove{To: "cancelled"}).problem(http.StatusBadRequest, "task.reason-missing")
	var c task.Counts
	b.call(contractor, "GET", path+"/task-counts", nil).is(http.StatusOK, &c)
	if c != (task.Counts{Todo: 1, Overdue: 1}) {
		t.Errorf("counts %+v", c)
	}
	var mine page[task.Task]
	b.call(sato, "GET", "/tasks", nil).is(http.StatusOK, &mine)
	if len(mine.Items) != 1 || mine.Items[0].ID != made.ID {
		t.Errorf("mine %+v", mine)
	}
	b.call(sato, "PUT", path+"/tasks/"+made.ID+"/owner", TaskOwner{Role: "privacy"}).is(http.StatusOK, &made)
	b.call(sato, "POST", path+"/tasks/"+made.ID+"/state", TaskMove{To: "done"}).is(http.StatusOK, &made)
	if made.State != task.Done || made.Role != "privacy" {
		t.Errorf("task %+v", made)
	}

	var post task.Post
	b.call(sato, "POST", path+"/posts", NewPost{Role: "contractor", Name: "ABC保守", Contact: "0300-00-0009"}).is(http.StatusCreated, &post)
	b.call(sato, "POST", path+"/posts/"+post.ID+"/end", EndedAt{}).is(http.StatusNoContent, nil)
	for _, private := range []string{"/posts", "/rota", "/hours", "/hours.csv", "/handovers"} {
		b.call(contractor, "GET", path+private, nil).problem(http.StatusForbidden, "denied.role")
	}
	var slots page[task.Slot]
	b.call(sato, "GET", path+"/rota", nil).is(http.StatusOK, &slots)
	if len(slots.Items) != 1 || !slots.Items[0].Gap() {
		t.Errorf("rota %+v", slots)
	}

	var stay, right task.Stay
	b.call(sato, "POST", path+"/hours", NewStay{Role: "recorder", From: b.clock().Add(-2 * time.Hour)}).is(http.StatusCreated, &stay)
	b.call(sato, "POST", path+"/hours/"+stay.ID+"/end", EndedAt{}).is(http.StatusNoContent, nil)
	b.call(sato, "POST", path+"/hours/"+stay.ID+"/correct", NewStay{Role: "recorder", From: b.clock().Add(-2 * time.Hour), Until: b.clock().Add(-time.Hour), Reason: "早く帰った"}).is(http.StatusCreated, &right)
	var hours Hours
	b.call(sato, "GET", path+"/hours", nil).is(http.StatusOK, &hours)
	if len(hours.Records) != 2 || len(hours.Sums) != 2 || hours.Sums[1].Time != time.Hour {
		t.Errorf("hours %+v", hours)
	}
	if w := b.call(sato, "GET", path+"/hours.csv?lang=en", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Recorder") || !strings.Contains(w.Body.String(), "1.00") {
		t.Errorf("CSV %d: %s", w.Code, w.Body)
	}

	var draft HandoverDraft
	b.call(sato, "GET", path+"/handover-draft?lang=en", nil).is(http.StatusOK, &draft)
	if !strings.Contains(draft.Text, "Open tasks: none") {
		t.Errorf("draft %q", draft.Text)
	}
	b.call(sato, "POST", path+"/handovers", NewHandover{To: b.whose(sato), Lang: "en", Text: "x"}).problem(http.StatusBadRequest, "task.handover-to")
	b.call(sato, "POST", path+"/handovers/none/sign", HandoverSignature{Code: "123456"}).problem(http.StatusNotFound, "task.missing")
	b.call(sato, "PUT", "/roles/technical", RoleWords{Name: map[string]string{"ja": "室長", "en": "Head"}, Duty: map[string]string{"ja": "復旧", "en": "Recovery"}}).problem(http.StatusForbidden, "denied.role")
}
