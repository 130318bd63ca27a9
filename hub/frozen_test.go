package hub_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/evidence/antivirus/clamdtest"
	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// frozenHere is a rule of a site about what its agents freeze.
const frozenHere = `title: Frozen here
id: pack-frozen
level: critical
license: DRL 1.1
tags: [sonae.frozen]
logsource: {product: sonae, service: agent}
detection:
  s: {Event: frozen}
  condition: s
`

const ruleVirus = "2b9c1e57-70d4-4c36-9b0e-6f3f6c1a4d88"

// aFrozen is what an agent says when it froze a process.
func aFrozen(pid, ticks string) event.Event {
	return event.Event{Time: time.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "agent", Fields: map[string]string{
		"Event": "frozen", event.FieldPID: pid, event.FieldImage: "/tmp/evil", event.FieldUser: "www", "ProcessTicks": ticks}}
}

// TestWhatIsFrozenIsPreserved: an agent says that it froze a process; without
// anybody's help an incident opens and the agent is told to take the evidence
// of that process. What it sends is looked at by a real clamd, which finds
// something: that is an alert, too. Then somebody cancels.
func TestWhatIsFrozenIsPreserved(t *testing.T) {
	t.Parallel()
	d := clamdtest.Start(t)
	dir := hubtest.Folder(t)
	if err := os.MkdirAll(filepath.Join(dir, "rules", "site"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules", "site", "frozen.yml"), []byte(frozenHere), 0o600); err != nil {
		t.Fatal(err)
	}
	h := hubtest.Start(t, hubtest.Dir(dir), func(c *hub.Config) { c.Clamd = d.Address })
	h.Site("clinic", "hospital")
	agent, admin := h.Enrol("clinic", "pc-1"), h.FirstAdmin()
	h.Await("the rule", func() bool {
		var list api.RulePage
		admin.Must(http.MethodGet, "/rules?origin=pack", nil, &list)
		return list.Total == 1
	})
	orders := make(chan order.Order, 16)
	go agent.Follow(t.Context(), func(s order.Signed) {
		if o, err := order.Read(s); err == nil {
			orders <- o
		}
	})
	agent.Report(aFrozen("4711", "99001"))
	first := preserved(t, orders, 4711)
	if first.Start != 99001 || first.Image != "/tmp/evil" || first.Bag == "" {
		t.Errorf("order %+v", first)
	}
	agent.Report(aFrozen("4800", "99500")) // while that is still being collected
	preserved(t, orders, 4800)

	for path, body := range map[string]string{"process/4711/exe.bin": "\x7fELF" + clamdtest.Marker, "log/syslog": "harmless"} {
		if _, err := agent.Upload(t.Context(), wire.ItemHeader{Bag: first.Bag, Path: path, Title: "t", Method: "m", StartedAt: time.Now(), Took: time.Second}, bytes.NewReader([]byte(body))); err != nil {
			t.Fatal(err)
		}
	}
	var found alert.Alert
	h.Await("an alert about the virus", func() bool { a, ok := alertOf(admin, ruleVirus); found = a; return ok })
	if found.Host != agent.Identity().Host {
		t.Errorf("alert %+v", found)
	}
	c := h.Person("sato", "", "responder")
	if status, _, body := c.Submit("/actions/"+first.Action+"/cancel", map[string][]string{"reason": {"業務を優先する"}}); status != http.StatusSeeOther {
		t.Fatalf("%d %s", status, body)
	}
	var bag evidence.Bag
	h.Await("the sealed bag", func() bool {
		c.Must(http.MethodGet, "/evidence/"+first.Bag, nil, &bag)
		return bag.State == evidence.Broken
	})
	kept := map[string]bool{}
	for _, it := range bag.Items {
		kept[it.Path] = true
	}
	if !bag.Cancelled || !kept["process/4711/exe.bin"] || !kept[evidence.ScanFile] {
		t.Errorf("bag %+v", bag)
	}
	for o := range orders {
		if o.Kind == order.Cancel {
			if o.Action != first.Action {
				t.Errorf("cancelled %+v", o)
			}
			break
		}
	}
	if _, err := agent.Upload(t.Context(), wire.ItemHeader{Bag: first.Bag, Path: "log/late", Title: "t", Method: "m", StartedAt: time.Now()}, bytes.NewReader([]byte("late"))); err == nil {
		t.Error("a sealed bag took more")
	}
	var a action.Action
	c.Must(http.MethodGet, "/actions/"+first.Action, nil, &a)
	c.Written(a.Incident, "action.cancelled.preserve")
}

// preserved waits for the order to take evidence of a process.
func preserved(t *testing.T, orders <-chan order.Order, pid int) order.Order {
	t.Helper()
	for end := time.After(60 * time.Second); ; {
		select {
		case o := <-orders:
			if o.Kind == order.Preserve && o.PID == pid {
				return o
			}
		case <-end:
			t.Fatalf("no order to take evidence of process %d", pid)
		}
	}
}

// TestAFreezeThatIsOverAtTheMachineIsOver: the agent says that what it froze is
// gone; the action ends, people are told, and the chronology says how.
func TestAFreezeThatIsOverAtTheMachineIsOver(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	agent, admin := h.Enrol("clinic", "pc-1"), h.FirstAdmin()
	agent.Report(aFrozen("4711", "99001"))
	var frozen action.Action
	h.Await("the freeze as an action", func() bool {
		var list struct{ Items []action.Action }
		admin.Must(http.MethodGet, "/actions?host="+agent.Identity().Host, nil, &list)
		for _, a := range list.Items {
			if a.Kind == action.Freeze && a.State == action.Verified {
				frozen = a
			}
		}
		return frozen.ID != ""
	})
	ended := aFrozen("4711", "99001")
	ended.Fields["Event"], ended.Fields["Cause"] = "frozen-ended", "gone"
	agent.Report(ended)
	h.Await("its end", func() bool {
		admin.Must(http.MethodGet, "/actions/"+frozen.ID, nil, &frozen)
		return frozen.State == action.Released
	})
	if frozen.Cause != "gone" || frozen.EndedAt.IsZero() {
		t.Errorf("%+v", frozen)
	}
	h.Await("an alert about it", func() bool { _, ok := alertOf(admin, "9a0d6c1f-52b7-4d0e-8c43-7be1f2a6d935"); return ok })
	admin.Written(frozen.Incident, "action.released.part.gone")
}
