package notify_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/mail"
	"github.com/sonae/sonae/notify/notifytest"
	"github.com/sonae/sonae/notify/webhook"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// noon is 12:00 in Japan.
var noon = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

var admin = auth.Person{ID: "pe-admin", Name: "管理"}

type staff []auth.Person

func (s staff) People(context.Context) ([]auth.Person, error) { return s, nil }

// world is a Desk with a clock that tests move, and a real mail server.
type world struct {
	*notify.Desk
	db   *state.DB
	at   string // address of the state
	keys *secret.Keys
	mail *notifytest.Mail
	ch   notify.Channel

	mu  sync.Mutex
	now time.Time
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass, second by second where something may happen.
func (w *world) pass(t *testing.T, d time.Duration) {
	t.Helper()
	for end := w.clock().Add(d); w.clock().Before(end); {
		w.mu.Lock()
		w.now = w.now.Add(min(5*time.Second, end.Sub(w.now)))
		w.mu.Unlock()
		w.look(t)
	}
}

func (w *world) look(t *testing.T) {
	t.Helper()
	if err := w.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
}

var people = staff{{ID: "pe-sato", Name: "佐藤 花子", Lang: "ja"}, {ID: "pe-suzuki", Name: "鈴木 一郎", Lang: "ja"}, {ID: "pe-smith", Name: "Smith", Lang: "en"},
	{ID: "pe-gone", Name: "退職 済み", Disabled: true}, admin}

func newWorld(t *testing.T) *world {
	t.Helper()
	keys, err := secret.Open(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{at: statetest.Address(t), keys: keys, mail: notifytest.StartMail(t), now: noon}
	w.open(t)
	w.ch = w.channel(t, notify.Channel{Kind: notify.Mail, Name: "院内メール", Server: w.mail.Addr, User: notifytest.User, From: "sonae@hospital.example", CA: w.mail.CA},
		notify.Secrets{Password: notifytest.Password})
	for _, p := range people {
		login := strings.TrimPrefix(p.ID, "pe-")
		if err := w.SaveContact(t.Context(), notify.Contact{Person: p.ID, Mail: login + "@hospital.example", Phone: "+81-90-0000-0000"}, "", admin); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// open opens the desk over the state, as a start of the hub does.
func (w *world) open(t *testing.T) {
	t.Helper()
	w.db = statetest.OpenAt(t, w.at)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	web := webhook.Sender{Now: w.clock}
	w.Desk = notify.New(w.db, notify.Deps{Keys: w.keys, People: people, Now: w.clock, Log: log,
		Names:   func(context.Context) (map[string]string, error) { return map[string]string{"ho-1": "ehr-ws-014"}, nil },
		Address: func() string { return "https://hub.example:8443" },
		Senders: map[notify.Kind]notify.Sender{notify.Mail: mail.Sender{}, notify.JSON: web, notify.Slack: web, notify.Teams: web, notify.LineWorks: web, notify.Phone: web, notify.SMS: web}})
}

func (w *world) channel(t *testing.T, c notify.Channel, s notify.Secrets) notify.Channel {
	t.Helper()
	c, err := w.SaveChannel(t.Context(), c, s, admin)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// chain tells each of the people in a step of its own.
func (w *world) chain(t *testing.T, wait int, who ...string) notify.Chain {
	t.Helper()
	c := notify.Chain{Name: "夜間", Least: event.Low}
	for _, p := range who {
		c.Steps = append(c.Steps, notify.Step{People: []string{p}, Channels: []string{w.ch.ID}, Wait: wait})
	}
	c, err := w.SaveChain(t.Context(), c, admin)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) raise(t *testing.T, a alert.Alert) {
	t.Helper()
	if err := w.Alert(t.Context(), a, ""); err != nil {
		t.Fatal(err)
	}
}

func (w *world) only(t *testing.T) notify.Call {
	t.Helper()
	all, n, err := w.Calls(t.Context(), notify.Filter{})
	if err != nil || n != 1 || len(all) != 1 {
		t.Fatalf("got %d calls (%d), %v; want one", len(all), n, err)
	}
	return all[0]
}

func (w *world) told(t *testing.T, call string) []string {
	t.Helper()
	lines, err := w.Lines(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range lines {
		out = append(out, strings.TrimSpace(l.Key+" "+l.Args["person"]))
	}
	return out
}

func anAlert(n int, s event.Severity) alert.Alert {
	return alert.Alert{ID: fmt.Sprintf("al-%04d", n), Rule: detect.Rule{ID: "bittorrent-certain", Title: detect.Text{"ja": "ファイル共有", "en": "File sharing"}},
		Severity: s, Site: "callcentre", Host: "ho-1", State: alert.Open, RaisedAt: noon}
}

func subjects(box []notifytest.Letter) []string {
	out := []string{}
	for _, l := range box {
		out = append(out, l.To+" "+l.Subject)
	}
	return out
}

func TestWhoDoesNotAnswerIsEscalatedOnTime(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 5, "pe-sato", "pe-smith")
	w.raise(t, anAlert(1, event.High))
	w.look(t)
	w.raise(t, anAlert(1, event.High)) // delivered once more
	w.pass(t, 4*time.Minute+55*time.Second)
	want := []string{"sato@hospital.example 【Sonae 高】ファイル共有（ehr-ws-014）"}
	if diff := cmp.Diff(want, subjects(w.mail.Box())); diff != "" {
		t.Fatalf("before the time is over (-want +got):\n%s", diff)
	}
	first := w.mail.Box()[0]
	if !first.TLS || !strings.Contains(first.Text, "https://hub.example:8443/alerts/al-0001") || !strings.HasPrefix(first.Header.Get("Message-Id"), "<"+first.ID+"@") {
		t.Errorf("letter %+v", first)
	}
	w.pass(t, 10*time.Second)
	want = append(want, "smith@hospital.example [Sonae High] File sharing (ehr-ws-014)")
	if diff := cmp.Diff(want, subjects(w.mail.Box())); diff != "" {
		t.Fatalf("after five minutes (-want +got):\n%s", diff)
	}
	w.pass(t, time.Hour)
	if len(w.mail.Box()) != 2 {
		t.Errorf("told again after the end: %q", subjects(w.mail.Box()))
	}
	c := w.only(t)
	if diff := cmp.Diff([]string{"notify.told pe-sato", "notify.escalated", "notify.told pe-smith", "notify.over"}, w.told(t, c.ID)); diff != "" || c.State != notify.Over {
		t.Errorf("%s, lines (-want +got):\n%s", c.State, diff)
	}
	if h, err := w.Health(t.Context()); err != nil || h.Well() || h.Unanswered != 1 {
		t.Errorf("health %+v, %v: want one unanswered call", h, err)
	}
}

func TestAnAnswerStopsTheCall(t *testing.T) {
	for name, answer := range map[string]func(w *world) error{
		"acknowledged": func(w *world) error {
			a := anAlert(1, event.High)
			a.State, a.AckedBy = alert.Acked, "pe-sato"
			return w.Alert(t.Context(), a, "")
		},
		"closed": func(w *world) error {
			a := anAlert(1, event.High)
			a.State, a.ClosedBy = alert.Closed, "pe-sato"
			return w.Alert(t.Context(), a, "")
		},
		"incident with a commander": func(w *world) error {
			a := anAlert(1, event.High)
			a.Incident = "in-1"
			return w.Alert(t.Context(), a, "pe-sato")
		},
		"incident taken over": func(w *world) error {
			a := anAlert(1, event.High)
			a.Incident = "in-1"
			if err := w.Alert(t.Context(), a, ""); err != nil {
				return err
			}
			return w.TakenOver(t.Context(), "in-1", "pe-sato")
		},
		"reached by telephone": func(w *world) error {
			return w.Telephoned(t.Context(), w.only(t).ID, "pe-sato", notify.Reached, auth.Person{ID: "pe-suzuki"})
		},
		"said so": func(w *world) error { return w.Answer(t.Context(), w.only(t).ID, auth.Person{ID: "pe-sato"}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.chain(t, 5, "pe-sato", "pe-suzuki")
			w.raise(t, anAlert(1, event.High))
			w.pass(t, time.Minute)
			if err := answer(w); err != nil {
				t.Fatal(err)
			}
			w.pass(t, time.Hour)
			if got := subjects(w.mail.Box()); len(got) != 1 {
				t.Errorf("told %q; want one letter", got)
			}
			if c := w.only(t); c.State != notify.Answered || c.AnsweredBy != "pe-sato" || c.AnsweredAt.Sub(c.BeganAt) != time.Minute {
				t.Errorf("call %+v", c)
			}
		})
	}
}

func TestAThousandAlertsAreOneMessage(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 5, "pe-sato")
	for n := range 1000 {
		s := event.High
		if n%100 == 7 {
			s = event.Critical
		}
		w.raise(t, anAlert(n, s))
	}
	w.pass(t, time.Minute)
	box := w.mail.Box()
	if len(box) != 1 {
		t.Fatalf("%d letters, want one: %q", len(box), subjects(box))
	}
	for _, part := range []string{"緊急 10件", "高 990件", "ほか 980件", "https://hub.example:8443/alerts\n"} {
		if !strings.Contains(box[0].Text, part) {
			t.Errorf("the letter does not say %q:\n%s", part, box[0].Text)
		}
	}
	if box[0].Subject != "【Sonae 緊急】警報 1,000件（ファイル共有 ほか）" || len(box[0].Text) > 8000 {
		t.Errorf("%q, %d bytes", box[0].Subject, len(box[0].Text))
	}
	budgets, err := w.Budgets(t.Context())
	if err != nil || len(budgets) != 1 || budgets[0] != (notify.Budget{Person: "pe-sato", Hour: 1, Day: 1}) || budgets[0].Exceeded() {
		t.Errorf("budget %+v, %v", budgets, err)
	}
}

// A thousand alerts over a minute are two messages: the first at once, the rest
// when a minute is over.
func TestAlertsOverAMinuteAreGrouped(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 30, "pe-sato")
	for n := range 60 {
		w.raise(t, anAlert(n, event.High))
		w.mu.Lock()
		w.now = w.now.Add(time.Second)
		w.mu.Unlock()
		w.look(t)
	}
	w.pass(t, 10*time.Minute)
	if got := subjects(w.mail.Box()); len(got) != 2 {
		t.Errorf("got %q; want two letters", got)
	}
}

func TestWhatIsCriticalDoesNotWait(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 30, "pe-sato")
	w.raise(t, anAlert(1, event.Low))
	w.look(t)
	w.pass(t, 5*time.Second)
	w.raise(t, anAlert(2, event.Critical))
	w.look(t)
	w.pass(t, 5*time.Second)
	if got := subjects(w.mail.Box()); len(got) != 2 || !strings.Contains(got[1], "緊急") {
		t.Errorf("got %q; want the critical one at once", got)
	}
}

func TestQuietHours(t *testing.T) {
	night := notify.Contact{Person: "pe-sato", Mail: "sato@hospital.example", Quiet: notify.Quiet{From: 11 * 60, Until: 13 * 60}}
	for name, tt := range map[string]struct {
		s    event.Severity
		wait time.Duration
	}{"critical passes": {event.Critical, 0}, "others wait": {event.High, time.Hour}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := w.SaveContact(t.Context(), night, "", admin); err != nil {
				t.Fatal(err)
			}
			w.chain(t, 5, "pe-sato")
			w.raise(t, anAlert(1, tt.s))
			if tt.wait > 0 {
				w.pass(t, tt.wait-10*time.Second)
				if got := subjects(w.mail.Box()); len(got) != 0 {
					t.Fatalf("woken by %q", got)
				}
				w.pass(t, 10*time.Second)
			}
			w.pass(t, 10*time.Second)
			if got := subjects(w.mail.Box()); len(got) != 1 {
				t.Errorf("got %q; want one letter", got)
			}
		})
	}
}

func TestAServerThatIsDownIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 120, "pe-sato")
	w.mail.Stop()
	w.raise(t, anAlert(1, event.High))
	w.pass(t, time.Minute)
	h, err := w.Health(t.Context())
	if err != nil || h.Well() || h.Trying != 1 {
		t.Errorf("health %+v, %v: want one that is tried again", h, err)
	}
	list, n, err := w.Deliveries(t.Context(), notify.Filter{Stuck: true})
	if err != nil || n != 1 || list[0].Tries < 3 || list[0].Error == "" || !list[0].NextAt.After(list[0].MadeAt) {
		t.Fatalf("stuck %+v (%d), %v", list, n, err)
	}
	for i := 2; i < 5; i++ { // what comes meanwhile goes with the next one
		w.raise(t, anAlert(i, event.High))
	}
	w.pass(t, 10*time.Minute)
	if _, n, _ := w.Deliveries(t.Context(), notify.Filter{}); n != 1 {
		t.Errorf("%d messages pile up before a server that is down", n)
	}
	w.mail.Again(t)
	w.pass(t, 11*time.Minute)
	box := w.mail.Box()
	if len(box) != 2 || box[0].ID != list[0].ID || !strings.Contains(box[1].Subject, "3件") {
		t.Fatalf("after it came back: %q", subjects(box))
	}
	if h, err = w.Health(t.Context()); err != nil || !h.Well() {
		t.Errorf("health %+v, %v", h, err)
	}
}

func TestTheQueueOutlivesTheHub(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 5, "pe-sato", "pe-suzuki")
	w.mail.Refuse(true)
	w.raise(t, anAlert(1, event.High))
	w.pass(t, 10*time.Second)
	list, _, err := w.Deliveries(t.Context(), notify.Filter{})
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Error, "451") {
		t.Fatalf("queue %+v, %v", list, err)
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	w.mail.Refuse(false)
	w.pass(t, 6*time.Minute)
	if box := w.mail.Box(); len(box) != 2 || box[0].ID != list[0].ID || box[1].To != "suzuki@hospital.example" {
		t.Errorf("after the restart: %q", subjects(box))
	}
}

func TestWhatWasAnsweredIsNotSent(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 30, "pe-sato")
	w.mail.Refuse(true)
	w.raise(t, anAlert(1, event.High))
	w.pass(t, time.Minute)
	if err := w.Answer(t.Context(), w.only(t).ID, admin); err != nil {
		t.Fatal(err)
	}
	w.mail.Refuse(false)
	w.pass(t, time.Hour)
	list, _, err := w.Deliveries(t.Context(), notify.Filter{})
	if err != nil || len(list) != 1 || list[0].State != notify.Dropped || len(w.mail.Box()) != 0 {
		t.Errorf("%+v, %v, %q", list, err, subjects(w.mail.Box()))
	}
}

func TestAfterADayItIsGivenUpAndSaid(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 1440, "pe-sato")
	w.mail.Refuse(true)
	w.raise(t, anAlert(1, event.High))
	w.mu.Lock()
	w.now = w.now.Add(10 * time.Second)
	w.mu.Unlock()
	for range 300 {
		w.look(t)
		w.mu.Lock()
		w.now = w.now.Add(5 * time.Minute)
		w.mu.Unlock()
	}
	if got := w.told(t, w.only(t).ID); !slices.Contains(got, "notify.failed pe-sato") {
		t.Errorf("lines %q", got)
	}
}

func TestOnCallAndChoiceOfChain(t *testing.T) {
	w := newWorld(t)
	step := []notify.Step{{OnCall: 1, Channels: []string{w.ch.ID}, Wait: 5}, {OnCall: 2, Channels: []string{w.ch.ID}, Wait: 5}}
	for _, c := range []notify.Chain{
		{Name: "だれでも", Least: event.Info, Steps: []notify.Step{{People: []string{"pe-smith"}, Channels: []string{w.ch.ID}, Wait: 5}}},
		{Name: "コールセンター", Site: "callcentre", Least: event.High, Steps: step},
		{Name: "別の拠点", Site: "hospital", Least: event.Info, Steps: step},
	} {
		if _, err := w.SaveChain(t.Context(), c, admin); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []notify.Shift{
		{Person: "pe-gone", From: noon.Add(-time.Hour), Until: noon.Add(time.Hour), Order: 1},
		{Person: "pe-suzuki", From: noon.Add(-time.Hour), Until: noon.Add(time.Hour), Order: 2},
		{Person: "pe-sato", Site: "callcentre", From: noon.Add(-time.Hour), Until: noon.Add(time.Hour), Order: 1},
		{Person: "pe-smith", Site: "callcentre", From: noon.Add(time.Hour), Until: noon.Add(2 * time.Hour), Order: 1},
	} {
		if _, err := w.AddShift(t.Context(), s, admin); err != nil {
			t.Fatal(err)
		}
	}
	w.raise(t, anAlert(1, event.High))
	drill := anAlert(2, event.Critical)
	drill.Drill = true
	w.raise(t, drill) // no chain takes drills
	w.pass(t, 6*time.Minute)
	got := subjects(w.mail.Box())
	slices.Sort(got)
	line := " 【Sonae 高】ファイル共有（ehr-ws-014）"
	if diff := cmp.Diff([]string{"sato@hospital.example" + line, "sato@hospital.example" + line, "suzuki@hospital.example" + line}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestAWorseAlertBeginsAnew(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 5, "pe-sato")
	w.raise(t, anAlert(1, event.Info)) // nobody wants to know
	w.pass(t, time.Minute)
	w.raise(t, anAlert(1, event.Medium))
	w.pass(t, time.Minute)
	w.raise(t, anAlert(1, event.Critical))
	w.pass(t, time.Minute)
	if got := subjects(w.mail.Box()); len(got) != 2 || !strings.Contains(got[1], "緊急") {
		t.Errorf("told %q", got)
	}
}

// TestCallsFollowTheirCauses: a clock that is near starts one call however often
// it is told, a second one starts its own, and what people settled ends its own.
func TestCallsFollowTheirCauses(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 5, "pe-sato")
	of := func(ref string) notify.Cause {
		return notify.Cause{Kind: notify.OfDuty, Ref: ref, Path: "/incidents/in-1#duties", Incident: "in-1", Site: "callcentre", Title: detect.Text{"ja": "期限が近い"}, Severity: event.High, At: noon}
	}
	follow := func(causes ...notify.Cause) {
		t.Helper()
		if err := w.Follow(t.Context(), notify.OfDuty, "in-1/", causes, "pe-suzuki"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Raise(t.Context(), of("in-10/other")); err != nil { // another incident
		t.Fatal(err)
	}
	for range 3 {
		follow(of("in-1/prompt"))
		w.pass(t, 30*time.Second)
	}
	follow(of("in-1/prompt"), of("in-1/final"))
	if err := w.TakenOver(t.Context(), "in-1", "pe-suzuki"); err != nil { // to command does not meet a clock
		t.Fatal(err)
	}
	live := func() (refs []string) {
		list, _, err := w.Calls(t.Context(), notify.Filter{Live: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			refs = append(refs, c.Cause.Ref)
		}
		slices.Sort(refs)
		return refs
	}
	if diff := cmp.Diff([]string{"in-1/final", "in-1/prompt", "in-10/other"}, live()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	follow(of("in-1/final"))
	if diff := cmp.Diff([]string{"in-1/final", "in-10/other"}, live()); diff != "" {
		t.Errorf("calls after one was settled (-want +got):\n%s", diff)
	}
	follow()
	follow(of("in-1/prompt")) // it was settled: nobody is called again
	if diff := cmp.Diff([]string{"in-10/other"}, live()); diff != "" {
		t.Errorf("calls after all were settled (-want +got):\n%s", diff)
	}
	for _, m := range w.mail.Box() {
		if strings.Contains(m.Subject, "（）") {
			t.Errorf("subject %q", m.Subject)
		}
	}
	if len(w.mail.Box()) == 0 {
		t.Error("nobody was told")
	}
}

func TestLinesReachTheIncidentLate(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 5, "pe-sato")
	w.raise(t, anAlert(1, event.High))
	w.pass(t, 10*time.Second)
	in := func() (n int) {
		if err := w.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM outbox WHERE msg LIKE '%/in-1'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if in() != 0 {
		t.Error("told an incident that does not exist")
	}
	a := anAlert(1, event.High)
	a.Incident = "in-1"
	w.raise(t, a)
	if in() != 1 {
		t.Errorf("%d lines for the incident, want the one from before it", in())
	}
}

func TestChannelsAreTestedForReal(t *testing.T) {
	w := newWorld(t)
	sato := auth.Person{ID: "pe-sato", Lang: "ja"}
	if to, err := w.Test(t.Context(), w.ch.ID, sato); err != nil || to != "sato@hospital.example" {
		t.Errorf("%q, %v", to, err)
	}
	if box := w.mail.Box(); len(box) != 1 || box[0].Subject != "【Sonae】連絡の試験" {
		t.Errorf("box %q", subjects(box))
	}
	if _, err := w.Test(t.Context(), w.ch.ID, auth.Person{ID: "pe-nobody"}); fault.Of(err) != fault.Invalid {
		t.Errorf("somebody without an address: %v", err)
	}
	for name, tt := range map[string]struct {
		change func(*notify.Channel, *notify.Secrets)
		says   string
	}{
		"wrong password":  {func(_ *notify.Channel, s *notify.Secrets) { s.Password = "wrong" }, "auth"},
		"other authority": {func(c *notify.Channel, _ *notify.Secrets) { _, c.CA = notifytest.Certificate(t) }, "certificate"},
		"no authority":    {func(c *notify.Channel, _ *notify.Secrets) { c.CA = "" }, "certificate"},
		"nobody there":    {func(c *notify.Channel, _ *notify.Secrets) { c.Server = "127.0.0.1:1" }, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := w.ch, notify.Secrets{Password: notifytest.Password}
			c.ID = ""
			tt.change(&c, &s)
			c = w.channel(t, c, s)
			_, err := w.Test(t.Context(), c.ID, sato)
			if fault.Of(err) != fault.Conflict || !strings.Contains(strings.ToLower(err.Error()), tt.says) {
				t.Errorf("got %v, want a conflict that says %q", err, tt.says)
			}
		})
	}
}

func TestWebhookIsSignedAndRetried(t *testing.T) {
	w := newWorld(t)
	web := notifytest.StartWeb(t)
	room := w.channel(t, notify.Channel{Kind: notify.JSON, Name: "監視", CA: web.CA}, notify.Secrets{URL: web.URL, Key: "shared"})
	if _, err := w.SaveChain(t.Context(), notify.Chain{Name: "部屋", Steps: []notify.Step{{Channels: []string{room.ID}, Wait: 60}}}, admin); err != nil {
		t.Fatal(err)
	}
	web.Answer(http.StatusTemporaryRedirect)
	w.raise(t, anAlert(1, event.High))
	w.pass(t, time.Minute)
	list, _, err := w.Deliveries(t.Context(), notify.Filter{Stuck: true})
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Error, "307") {
		t.Fatalf("%+v, %v", list, err)
	}
	web.Answer(http.StatusNoContent)
	w.pass(t, 10*time.Minute)
	posts := web.Posts()
	if len(posts) != 1 {
		t.Fatalf("%d posts", len(posts))
	}
	h := posts[0].Header
	if want := "sha256=" + webhook.Sign("shared", h.Get("X-Sonae-Timestamp"), posts[0].Body); h.Get("X-Sonae-Signature") != want || h.Get("X-Sonae-Id") != list[0].ID {
		t.Errorf("signature %q, want %q; id %q", h.Get("X-Sonae-Signature"), want, h.Get("X-Sonae-Id"))
	}
}

func TestAStandingPolicySaysWhoIsTold(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 5, "pe-smith")
	if _, err := w.SaveChain(t.Context(), notify.Chain{Name: "院長室", Least: event.Critical, Steps: []notify.Step{{People: []string{"pe-suzuki"}, Channels: []string{w.ch.ID}, Wait: 5}}}, admin); err != nil {
		t.Fatal(err)
	}
	a := anAlert(1, event.High)
	done := action.Action{ID: "ac-1", Kind: action.Isolate, Host: "ho-1", Site: "callcentre", Incident: "in-1", Auto: "po-1", Alert: a.ID, Tell: "院長室、佐藤 花子 内線100", RequestedAt: noon}
	for range 2 { // each step of the action says so again
		if err := w.Policy(t.Context(), done, a); err != nil {
			t.Fatal(err)
		}
	}
	w.look(t)
	w.pass(t, 10*time.Second)
	got := subjects(w.mail.Box())
	slices.Sort(got)
	line := "@hospital.example 【Sonae 高】あらかじめの承認により自動で実行: ネットワークから隔離（ehr-ws-014）"
	if diff := cmp.Diff([]string{"sato" + line, "suzuki" + line}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if box := w.mail.Box(); len(box) > 0 && (!strings.Contains(box[0].Text, "内線100") || !strings.Contains(box[0].Text, "/actions/ac-1")) {
		t.Errorf("letter: %s", box[0].Text)
	}
	a.State, a.AckedBy = alert.Acked, "pe-sato"
	if err := w.Alert(t.Context(), a, ""); err != nil {
		t.Fatal(err)
	}
	if c := w.only(t); c.State != notify.Answered {
		t.Errorf("whoever is on the alert answers: %+v", c)
	}
}

func TestChangesAreProvedAndHoldNoAddress(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, 5, "pe-sato")
	if err := w.RemoveChain(t.Context(), c.ID, admin); err != nil {
		t.Fatal(err)
	}
	none := func(string) []leaf.Leaf { return nil } // what is recorded still waits in the outbox
	if found, err := notify.VerifyRows(t.Context(), w.db, none); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
	for table, column := range map[string]string{"notify_change": "body", "outbox": "body", "notify_channel": "body"} {
		rows, err := w.db.Query(t.Context(), `SELECT `+column+` FROM `+table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var body []byte
			if err := rows.Scan(&body); err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"sato@hospital", "090-0000", "90-0000", notifytest.Password} {
				if strings.Contains(string(body), secret) {
					t.Errorf("%s holds %q: %s", table, secret, body)
				}
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	err := w.db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE notify_change SET body = replace(body, 'pe-admin', 'pe-other') WHERE ref = $1 AND no = 1`, "chain/"+c.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := notify.VerifyRows(t.Context(), w.db, none); err != nil || len(found) != 1 {
		t.Errorf("a changed row: %v, %v", found, err)
	}
}

func TestWhoHasSeenAMessageStandsInItsCalls(t *testing.T) {
	w := newWorld(t)
	w.chain(t, 5, "pe-sato")
	w.raise(t, alert.Alert{ID: "al-1", Severity: event.Critical, State: alert.Open, RaisedAt: noon, Incident: "in-1"})
	w.pass(t, 10*time.Second)
	sent, _, err := w.Deliveries(t.Context(), notify.Filter{})
	if err != nil || len(sent) != 1 {
		t.Fatalf("%v, %v", sent, err)
	}
	for _, seen := range []bool{false, true, true} { // answers come more than once
		if err := w.Shown(t.Context(), notify.Shown{Message: sent[0].ID, Host: "ho-1", Session: "pts/1", User: "sato", Seen: seen, At: w.clock()}); err != nil {
			t.Fatal(err)
		}
	}
	calls, _, err := w.Calls(t.Context(), notify.Filter{})
	if err != nil || len(calls) != 1 || !calls[0].Live() {
		t.Fatalf("%+v, %v", calls, err)
	}
	lines, err := w.Lines(t.Context(), calls[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, l := range lines {
		keys = append(keys, l.Key)
	}
	if diff := cmp.Diff([]string{"notify.told", "notify.shown", "notify.seen"}, keys); diff != "" {
		t.Error(diff)
	}
}
