package ui

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/mail"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
)

// noticesOf is the desk of a house; without one nobody was told of anything.
type noticesOf struct{ *notify.Desk }

func (n noticesOf) Calls(ctx context.Context, f notify.Filter) ([]notify.Call, int, error) {
	if n.Desk == nil {
		return nil, 0, nil
	}
	return n.Desk.Calls(ctx, f)
}

func (n noticesOf) Health(ctx context.Context) (notify.Health, error) {
	if n.Desk == nil {
		return notify.Health{Chains: 1}, nil
	}
	return n.Desk.Health(ctx)
}

// withNotices gives the house people on call, a mail server that is down, a
// call that nobody answers and one that somebody answered by telephone.
func (h *house) withNotices(t *testing.T, db *state.DB, log *slog.Logger) {
	t.Helper()
	keys, err := secret.Open(t.TempDir() + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	at := start.Add(-time.Hour)
	h.notices = notify.New(db, notify.Deps{Keys: keys, People: peopleOf{h}, Now: func() time.Time { return at }, Log: log,
		Names:   func(context.Context) (map[string]string, error) { return map[string]string{"ho-1": "cc-pc-07"}, nil },
		Address: func() string { return "https://hub.example:8443" }, Senders: map[notify.Kind]notify.Sender{notify.Mail: mail.Sender{}}})
	by, ctx := auth.Person{ID: "pe-admin"}, t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ch, err := h.notices.SaveChannel(ctx, notify.Channel{Kind: notify.Mail, Name: "院内メール", Server: "127.0.0.1:1", From: "sonae@hospital.example"}, notify.Secrets{}, by)
	must(err)
	must(h.notices.SaveContact(ctx, notify.Contact{Person: "pe-responder", Mail: "it@hospital.example", Phone: "0300-00-0000", Quiet: notify.Quiet{From: 22 * 60, Until: 7 * 60}}, "", by))
	must(h.notices.SaveContact(ctx, notify.Contact{Person: "pe-executive", Mail: "director@hospital.example", Phone: "0300-00-0001"}, "", by))
	_, err = h.notices.AddShift(ctx, notify.Shift{Person: "pe-responder", From: at, Until: start.Add(12 * time.Hour), Order: 1}, by)
	must(err)
	cn, err := h.notices.SaveChain(ctx, notify.Chain{Name: "夜間・休日", Least: event.High, Repeat: 1, Steps: []notify.Step{
		{OnCall: 1, Channels: []string{ch.ID}, Wait: 5}, {People: []string{"pe-executive"}, Channels: []string{ch.ID}, Wait: 10}}}, by)
	must(err)
	raise := func(id, title string, s event.Severity) notify.Call {
		a := alert.Alert{ID: id, Severity: s, Site: "callcentre", Host: "ho-1", State: alert.Open, RaisedAt: at, Rule: detect.Rule{ID: "r", Title: detect.Text{"ja": title, "en": "File sharing <b>"}}}
		must(h.notices.Alert(ctx, a, ""))
		must(h.notices.Look(ctx))
		at = at.Add(time.Minute)
		must(h.notices.Look(ctx))
		all, _, err := h.notices.Calls(ctx, notify.Filter{Limit: 1})
		must(err)
		return all[0]
	}
	answered := raise("al-8", "ファイル共有ソフトの通信", event.High)
	must(h.notices.Telephoned(ctx, answered.ID, "pe-executive", notify.Unreached, by))
	at = at.Add(time.Minute)
	must(h.notices.Telephoned(ctx, answered.ID, "pe-responder", notify.Reached, by))
	at = start.Add(-2 * time.Minute)
	c := raise("al-9", "身代金ウイルスのふるまい <b>", event.Critical)
	must(h.notices.Telephoned(ctx, c.ID, "pe-responder", notify.Next, by))
	for range 3 { // the mail server does not answer
		at = at.Add(20 * time.Second)
		must(h.notices.Look(ctx))
	}
	at = start.Add(-time.Minute)
	must(h.notices.Raise(ctx, notify.Cause{Kind: notify.OfDuty, Ref: "in-1/clock", Path: "/incidents/in-1#duties", Incident: "in-1", Site: "callcentre", At: at, Severity: event.High,
		Title: notify.Titled("notify.title.duty", map[string]string{"no": "1", "clock_key": "duty.clock.prompt", "due": "2026-11-26 23:59"})}))
	must(h.notices.Look(ctx))
	at = start
	h.noticeIDs = strings.NewReplacer("{call}", c.ID, "{chain}", cn.ID, "{channel}", ch.ID)
}

func TestPhoneTreeIsPressedWithoutScript(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	v, _ := h.open(t)
	v = v.as("responder")
	call := h.at("/notify/calls/{call}")
	if got := v.post(call+"/phone", "person", "pe-executive", "outcome", "reached"); got.status != 303 {
		t.Fatalf("pressed: %d", got.status)
	}
	says(t, v.get(call), []string{"到達", "病院長", "応答あり", "(呼び出しから"}, []string{"わたしが対応する"})
	if got := v.as("contractor").get("/notify"); got.status != 403 {
		t.Errorf("a contractor sees who is called: %d", got.status)
	}
	if got := v.get("/notify/contacts/pe-executive"); got.status != 403 {
		t.Errorf("a responder sees another one's contact: %d", got.status)
	}
	if got := v.post("/notify/contacts/pe-responder", "mail-address", "new@hospital.example", "quiet-from", "00:00", "quiet-until", "00:00"); got.status != 303 {
		t.Errorf("the own contact: %d", got.status)
	}
}

func TestAChainIsEnteredOnAForm(t *testing.T) {
	h := newHouse().inCourse().withEvents(t)
	v, _ := h.open(t)
	v = v.as("admin")
	channel := h.noticeIDs.Replace("{channel}")
	form := []string{"name", "昼間", "least", "medium", "repeat", "2", "step0-on-call", "1", "step0-channels", channel, "step0-wait", "0"}
	if got := v.post("/notify/chains/new", form...); got.status != 422 || !strings.Contains(got.body, "1番目の段階の待ち時間") || !strings.Contains(got.body, "昼間") {
		t.Errorf("a step without a wait: %d", got.status)
	}
	form[len(form)-1] = "15"
	if got := v.post("/notify/chains/new", form...); got.status != 303 {
		t.Fatalf("saved: %d", got.status)
	}
	says(t, v.get("/notify/settings"), []string{"昼間", "(15分待つ)", "当番 1人"}, nil)
	if got := v.post("/notify/channels/" + channel + "/test"); got.status != 422 || !strings.Contains(got.body, "先に連絡先を登録") {
		t.Errorf("a test that reaches nobody: %d", got.status)
	}
}
