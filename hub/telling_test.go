package hub_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/notifytest"
	"github.com/sonae/sonae/playbook"
)

// TestAnAlertIsMailedUntilSomebodyAnswers goes from the event of a machine over
// the alert to a mail in the box of the person on call, whose answer keeps the
// next one asleep; all of it stands in the chronology.
func TestAnAlertIsMailedUntilSomebodyAnswers(t *testing.T) {
	t.Parallel()
	server := notifytest.StartMail(t)
	start := time.Now()
	later := &skew{}
	h := startWith(t, hubtest.Now(later.now))
	h.Site("clinic", "hospital")
	a := h.Enrol("clinic", "fs-1")
	beat(t, a)
	admin := h.FirstAdmin()
	sato, suzuki := h.Person("sato", "", auth.Responder), h.Person("suzuki", "", auth.Responder)
	for who, mail := range map[*hubtest.Client]string{sato: "sato@hospital.example", suzuki: "suzuki@hospital.example"} {
		who.Must(http.MethodPut, "/notify/contacts/"+who.Person.ID, api.ContactFields{Mail: mail}, nil)
	}
	sato.Refused(http.StatusForbidden, http.MethodPut, "/notify/contacts/"+suzuki.Person.ID, api.ContactFields{Mail: "x@hospital.example"})
	var ch notify.Channel
	admin.Must(http.MethodPost, "/notify/channels", api.ChannelFields{Kind: notify.Mail, Name: "院内メール", Server: server.Addr, User: notifytest.User, Password: notifytest.Password,
		From: "sonae@hospital.example", CA: server.CA}, &ch)
	admin.Must(http.MethodPost, "/notify/shifts", api.ShiftFields{Person: sato.Person.ID, From: start.Add(-time.Hour), Until: start.Add(5 * time.Hour), Order: 1}, nil)
	admin.Must(http.MethodPost, "/notify/chains", api.ChainFields{Name: "夜間", Least: "high", Steps: []api.StepFields{
		{OnCall: 1, Channels: []string{ch.ID}, Wait: 2}, {People: []string{suzuki.Person.ID}, Channels: []string{ch.ID}, Wait: 2}}}, nil)

	a.Report(event.Event{Time: time.Now().UTC(), Kind: event.KindProcess, Product: "linux", Category: "process_creation", Fields: map[string]string{event.FieldImage: "/tmp/wiper", event.FieldPID: "77"}})
	raised := openAlert(h, sato)
	h.Await("a mail", func() bool { return len(server.Box()) == 1 })
	mail := server.Box()[0]
	if mail.To != "sato@hospital.example" || !strings.Contains(mail.Text, "/alerts/"+raised.ID) || !strings.Contains(mail.Text, "fs-1") {
		t.Errorf("mail %+v", mail)
	}

	// nobody answers: the next one is told once the time is over
	later.add(3 * time.Minute)
	h.Await("the next one to be told", func() bool { return len(server.To("suzuki@hospital.example")) == 1 })

	in := suzuki.Open(raised) // who opens an incident commands it
	told := func() (keys []string) {
		for _, e := range suzuki.Chronology(in.ID) {
			if e.Source == "notify" {
				keys = append(keys, e.Key)
			}
		}
		return keys
	}
	want := []string{"notify.told", "notify.escalated", "notify.told", "notify.answered"}
	h.Await("the chronology to say who was told", func() bool { return len(told()) == len(want) })
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("the chronology says %q, want %q", got, want)
	}
	var e incident.Entry = suzuki.Written(in.ID, "notify.answered")
	if e.Args["person"] != suzuki.Person.ID {
		t.Errorf("answered by %v", e.Args)
	}
	later.add(5 * time.Minute)
	calls := hubtest.List[notify.Call](suzuki, "/notify/calls")
	if len(calls) != 1 || calls[0].State != notify.Answered || len(server.Box()) != 2 {
		t.Errorf("calls %+v, %d mails", calls, len(server.Box()))
	}

	// an alert that somebody acknowledges before the next step tells nobody else
	suzuki.Must(http.MethodPost, "/alerts/"+raised.ID+"/close", map[string]string{"reason": "消した"}, nil)
	a.Report(event.Event{Time: time.Now().UTC(), Kind: event.KindProcess, Product: "linux", Category: "process_creation", Fields: map[string]string{event.FieldImage: "/tmp/wiper", event.FieldPID: "78"}})
	h.Await("a mail about the second alert", func() bool { return len(server.To("sato@hospital.example")) == 2 })
	second := openAlert(h, sato)
	if status, _, _ := sato.Submit("/alerts/"+second.ID+"/ack", nil); status != http.StatusSeeOther {
		t.Fatalf("acknowledge on the page: %d", status)
	}
	h.Await("the call to be answered", func() bool {
		calls := hubtest.List[notify.Call](sato, "/notify/calls?live=true")
		return len(calls) == 0
	})
	later.add(5 * time.Minute)
	h.Idle()
	if got := server.To("suzuki@hospital.example"); len(got) != 1 {
		t.Errorf("somebody was on it, and still %d mails went to the next one", len(got)-1)
	}
}

// TestClocksAndLateStepsCallPeople: the clocks of an incident that was known ten
// days ago are over, and so is the time of the first step of its playbook. Both
// call who is on call, though somebody commands, until what is late is settled.
func TestClocksAndLateStepsCallPeople(t *testing.T) {
	t.Parallel()
	server := notifytest.StartMail(t)
	later := &skew{}
	h := startWith(t, hubtest.Now(later.now))
	h.Site("clinic", "hospital")
	admin := h.FirstAdmin()
	sato := h.Person("sato", "", auth.Responder)
	sato.Must(http.MethodPut, "/notify/contacts/"+sato.Person.ID, api.ContactFields{Mail: "sato@hospital.example"}, nil)
	var ch notify.Channel
	admin.Must(http.MethodPost, "/notify/channels", api.ChannelFields{Kind: notify.Mail, Name: "院内メール", Server: server.Addr, User: notifytest.User, Password: notifytest.Password,
		From: "sonae@hospital.example", CA: server.CA}, &ch)
	admin.Must(http.MethodPost, "/notify/chains", api.ChainFields{Name: "期限", Least: "high", Steps: []api.StepFields{{People: []string{sato.Person.ID}, Channels: []string{ch.ID}, Wait: 60}}}, nil)

	var in incident.Incident
	sato.Must(http.MethodPost, "/incidents", api.NewIncident{Title: "名簿の流出", Severity: "high", Sites: []string{"clinic"}, KnownAt: time.Now().AddDate(0, 0, -10).UTC()}, &in)
	calls := func(kind string, s notify.State) (found []notify.Call) {
		for _, c := range hubtest.List[notify.Call](sato, "/notify/calls") {
			if c.Cause.Kind == kind && c.State == s && c.Cause.Incident == in.ID {
				found = append(found, c)
			}
		}
		return found
	}
	mailed := func(words string) func() bool {
		return func() bool {
			return slices.ContainsFunc(server.To("sato@hospital.example"), func(m notifytest.Letter) bool { return strings.Contains(m.Text, words) })
		}
	}
	h.Await("a call about the clock that is over", func() bool { return len(calls(notify.OfDuty, notify.Calling)) > 0 })
	h.Await("a mail about it", mailed("期限を過ぎた: 速報"))

	var run playbook.Run
	sato.Must(http.MethodPost, "/incidents/"+in.ID+"/runs", api.NewRun{Playbook: bookNamed(t, sato, "File sharing (P2P) at a contractor").ID}, &run)
	h.Await("a call about the late step", func() bool { return len(calls(notify.OfStep, notify.Calling)) == 1 })
	later.add(2 * time.Minute) // what comes within a minute is gathered
	h.Await("a mail about it", mailed("手順「委託先でのファイル共有ソフト"))
	sato.Must(http.MethodPost, "/incidents/"+in.ID+"/runs/"+run.ID+"/steps/1", map[string]string{"what": "done"}, nil)
	h.Await("the step's call to end", func() bool { return len(calls(notify.OfStep, notify.Answered)) >= 1 })
	if got := calls(notify.OfStep, notify.Answered)[0]; got.AnsweredBy != sato.Person.ID || got.Cause.Ref != run.ID+"/1" {
		t.Errorf("the step's call ended as %+v", got)
	}

	facts := hubtest.Get[duty.Assessment](sato, "/incidents/"+in.ID+"/duties").Facts
	facts.Personal = duty.No
	sato.Must(http.MethodPut, "/incidents/"+in.ID+"/facts", facts, nil)
	h.Await("the clocks' calls to end", func() bool { return len(calls(notify.OfDuty, notify.Calling)) == 0 })
	for _, c := range calls(notify.OfDuty, notify.Answered) {
		if c.AnsweredBy != sato.Person.ID {
			t.Errorf("answered by %q", c.AnsweredBy)
		}
	}
	sato.Written(in.ID, "notify.answered")
}

// openAlert waits for the open alert of the test's rule.
func openAlert(h *hubtest.Hub, c *hubtest.Client) (found alert.Alert) {
	h.Await("the alert", func() bool {
		for _, x := range hubtest.List[alert.Alert](c, "/alerts") {
			if x.Rule.ID == "test-shadow" && x.State == alert.Open {
				found = x
			}
		}
		return found.ID != ""
	})
	return found
}

// skew is a clock that goes with the machine's, and is put forward.
type skew struct{ ahead atomic.Int64 }

func (s *skew) now() time.Time      { return time.Now().Add(time.Duration(s.ahead.Load())) }
func (s *skew) add(d time.Duration) { s.ahead.Add(int64(d)) }
