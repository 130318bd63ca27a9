package hub_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/ready/silence"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// siteRules are rules of the site of the test: a program that nobody wants.
var siteRules = map[string]string{"tool.yml": `title: Shadow copies are deleted
id: test-shadow
level: critical
logsource: {product: linux, category: process_creation}
detection:
  s: {Image|endswith: /wiper}
  condition: s
`}

// startWith starts a hub that has the rules of the test.
func startWith(t *testing.T, options ...hubtest.Option) *hubtest.Hub {
	t.Helper()
	dir := hubtest.Folder(t)
	folder := filepath.Join(dir, "rules", "site")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range siteRules {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return hubtest.Start(t, append(options, hubtest.Dir(dir))...)
}

// beat says that a machine lives.
func beat(t *testing.T, a *hubtest.Agent) {
	t.Helper()
	if _, err := a.Heartbeat(t.Context(), wire.Heartbeat{At: time.Now(), Agent: "test", OS: "Linux", Addresses: []string{"127.0.0.1"}, Hub: "192.0.2.1:8444"}); err != nil {
		t.Fatal(err)
	}
}

// obedient answers every order as an agent does for which everything works, and
// hands it on.
func obedient(t *testing.T, a *hubtest.Agent) chan order.Order {
	t.Helper()
	got := make(chan order.Order, 16)
	id := a.Identity()
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	t.Cleanup(func() { stop(); following.Wait() })
	following.Go(func() {
		a.Follow(ctx, func(s order.Signed) {
			o, err := order.Open(id.OrderKey, id.Host, time.Now(), s)
			if err != nil {
				t.Errorf("an order that must not be obeyed: %v", err)
				return
			}
			r := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Applied, At: time.Now()}
			switch o.Kind {
			case order.Preserve:
				r.Phase = order.Done
			case order.Thaw:
				r.Phase, r.Cause = order.Released, "order"
			default:
				r.Checks = []order.Check{{Name: "process-ended", OK: true, At: time.Now()}}
			}
			if err := a.Result(ctx, r); err == nil {
				got <- o
			}
		})
	})
	return got
}

// of waits for the action of a kind.
func of(h *hubtest.Hub, c *hubtest.Client, kind action.Kind, has func(action.Action) bool) (found action.Action) {
	h.Await("an action: "+string(kind), func() bool {
		for _, a := range hubtest.List[action.Action](c, "/actions") {
			if a.Kind == kind && has(a) {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

func frozenEvent(pid, ticks string) event.Event {
	return event.Event{Time: time.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "agent", Fields: map[string]string{"Event": "frozen",
		event.FieldPID: pid, "ProcessTicks": ticks, event.FieldImage: "/tmp/encrypt", event.FieldUser: "op7", "ReasonsJa": "5個のファイルがノイズになった"}}
}

// TestWhatAGuardFrozeIsDecidedOnByPeople goes from the agent's event over the
// alert, the incident and the evidence to the kill that two people wanted, and
// another one back to a false alarm; then the agent falls silent.
func TestWhatAGuardFrozeIsDecidedOnByPeople(t *testing.T) {
	t.Parallel()
	h := startWith(t, func(c *hub.Config) { c.Silent = 20 * time.Second })
	h.Site("clinic", "hospital")
	a, still := h.Enrol("clinic", "fs-1"), h.Enrol("clinic", "pc-2")
	beat(t, a)
	beat(t, still)
	responder, approver := h.Person("sato", "", auth.Responder), h.Person("suzuki", "", auth.Approver)
	obeyed := obedient(t, a)
	a.Report(frozenEvent("4711", "99"), frozenEvent("4712", "100"))

	first := of(h, responder, action.Freeze, func(x action.Action) bool { return x.Process.PID == 4711 })
	second := of(h, responder, action.Freeze, func(x action.Action) bool { return x.Process.PID == 4712 })
	if first.State != action.Verified || first.Auto != action.Guard || first.Incident == "" || first.Incident != second.Incident || first.Alert == "" || first.Process.Start != 99 {
		t.Fatalf("%+v", first)
	}
	if e := responder.Written(first.Incident, "action.frozen"); e.Args["what"] != "encrypt (PID 4711)" && e.Args["what"] != "encrypt (PID 4712)" {
		t.Errorf("the chronology says %v", e.Args)
	}
	host := a.Identity().Host
	for _, path := range []string{"/alerts/" + first.Alert, "/incidents/" + first.Incident, "/hosts/" + host} {
		if status, page := responder.Page(path); status != http.StatusOK || !strings.Contains(page, `action="/actions/`+first.ID+`/keep"`) {
			t.Errorf("%s: %d, and nothing can be decided", path, status)
		}
	}
	if status, _, _ := responder.Submit("/actions/"+first.ID+"/keep", url.Values{"reason": {"調査する"}}); status != http.StatusSeeOther {
		t.Errorf("keep: %d", status)
	}
	responder.Written(first.Incident, "action.kept.guard")

	responder.Must(http.MethodPost, "/actions/"+second.ID+"/release", map[string]string{"reason": "業務のプログラムだった"}, nil)
	responder.Reach(second.ID, action.Released)

	var kill action.Action
	responder.Must(http.MethodPost, "/actions", map[string]any{"kind": "kill", "incident": first.Incident, "host": host, "reason": "確認が終わった", "process": first.Process}, &kill)
	responder.Refused(http.StatusForbidden, http.MethodPost, "/actions/"+kill.ID+"/approve", nil)
	h.Await("evidence to be complete", func() bool { return approver.Do(http.MethodPost, "/actions/"+kill.ID+"/approve", nil, nil) == nil })
	responder.Reach(kill.ID, action.Verified)
	if x := responder.Reach(first.ID, action.Released); x.Cause != "killed" {
		t.Errorf("the freeze ended by %q", x.Cause)
	}
	responder.Written(first.Incident, "action.verified.kill")
	kinds := map[order.Kind]int{}
	for len(obeyed) > 0 {
		kinds[(<-obeyed).Kind]++
	}
	if kinds[order.Thaw] != 1 || kinds[order.Kill] != 1 || kinds[order.Preserve] < 1 || kinds[order.Preserve] > 2 { // one for each that was frozen, or one for both
		t.Errorf("obeyed %v", kinds)
	}

	var silent alert.Alert // after the guard caught something, and on the other machine
	h.Await("two alerts about silence", func() bool {
		rules := map[string]string{}
		for _, x := range hubtest.List[alert.Alert](responder, "/alerts") {
			if rules[x.Rule.ID] = x.Host; x.Rule.ID == silence.Rule {
				silent = x
			}
		}
		return rules[silence.RuleGuard] == host && rules[silence.Rule] == still.Identity().Host
	})
	h.Await("the machine that is back to end its alert", func() bool {
		beat(t, still)
		return hubtest.Get[alert.Alert](responder, "/alerts/"+silent.ID).State == alert.Closed
	})
}

// TestPolicyThatTwoPeopleApprovedIsFollowed freezes a process of an alert
// without asking, names the policy, and says whom to tell.
func TestPolicyThatTwoPeopleApprovedIsFollowed(t *testing.T) {
	t.Parallel()
	h := startWith(t)
	h.Site("clinic", "hospital")
	a := h.Enrol("clinic", "pc-1")
	beat(t, a)
	responder, approver := h.Person("sato", "", auth.Responder), h.Person("suzuki", "", auth.Approver)
	run := func(pid string) {
		a.Report(event.Event{Time: time.Now().UTC(), Kind: event.KindProcess, Product: "linux", Category: "process_creation",
			Fields: map[string]string{event.FieldImage: "/tmp/wiper", event.FieldPID: pid, event.FieldCommand: "/tmp/wiper --all"}})
	}
	run("811")
	var before alert.Alert
	h.Await("the alert", func() bool {
		for _, x := range hubtest.List[alert.Alert](responder, "/alerts") {
			if x.Rule.ID == "test-shadow" {
				before = x
			}
		}
		return before.ID != ""
	})
	text := `@tell("院長 内線100") @lease("2h") permit (principal, action == Action::"freeze", resource) when { principal.rule == "test-shadow" };`
	var tried action.Rehearsal
	responder.Must(http.MethodPost, "/policies/rehearse", map[string]any{"text": text}, &tried)
	if len(tried.Would) != 1 || tried.Would[0].Alert != before.ID || tried.Would[0].Refused != "" {
		t.Errorf("rehearsed %+v", tried)
	}
	var p action.Policy
	responder.Must(http.MethodPost, "/policies", map[string]any{"name": "すぐに凍結", "text": text, "why": "夜は人がいない"}, &p)
	responder.Refused(http.StatusForbidden, http.MethodPost, "/policies/"+p.ID+"/approve", nil)
	if status, _, _ := approver.Submit("/policies/"+p.ID+"/approve", nil); status != http.StatusSeeOther {
		t.Fatalf("approve on the page: %d", status)
	}
	run("812")
	x := of(h, responder, action.Freeze, func(x action.Action) bool { return x.Auto == p.ID })
	if x.RequestedBy != action.Hub || x.DecidedBy != hubtest.Get[action.Policy](responder, "/policies/"+p.ID).DecidedBy || x.Lease != 2*time.Hour || x.Alert != before.ID || x.Tell != "院長 内線100" {
		t.Errorf("%+v", x)
	}
	responder.Written(x.Incident, "action.automatic.part")
	if e := responder.Written(x.Incident, "action.tell"); e.Args["tell"] != "院長 内線100" {
		t.Errorf("to be told: %v", e.Args)
	}
	if status, page := responder.Page("/policies/" + p.ID); status != http.StatusOK || !strings.Contains(page, x.ID) {
		t.Errorf("the policy's page does not show what followed it: %d", status)
	}
	responder.Must(http.MethodPost, "/policies/"+p.ID+"/end", map[string]string{"reason": "人が戻った"}, nil)
	if got := hubtest.Get[action.Policy](responder, "/policies/"+p.ID); got.State != action.PolicyEnded {
		t.Errorf("the policy is %s", got.State)
	}
}
