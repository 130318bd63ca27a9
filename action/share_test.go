package action

import (
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

const droppedID = "ac-0192f0a1b2c3-0123456789ab"

func dropped(at time.Time, fields map[string]string) []Dropped {
	f := detect.Finding{Host: "gw", Site: "callcentre", Events: []event.Event{{Time: at, Product: "sonae", Service: "agent", Fields: map[string]string{
		"Event": "share-encrypted", event.FieldRemoteIP: "10.1.0.7", event.FieldLocalIP: "10.1.0.1", "Action": droppedID, "LeaseSeconds": "3600", "ReasonsJa": "3 個\n二つ目"}}}}
	for k, v := range fields {
		f.Events[0].Fields[k] = v
	}
	out := DroppedIn(f)
	for i := range out {
		out[i].Incident, out[i].Alert = "in-1", "al-1"
	}
	return out
}

func TestAnEventThatSaysNothingIsNoDroppedClient(t *testing.T) {
	for name, fields := range map[string]map[string]string{
		"another event": {"Event": "frozen"}, "no client": {event.FieldRemoteIP: ""}, "a group": {event.FieldRemoteIP: "224.0.0.1"}, "itself": {event.FieldRemoteIP: "127.0.0.1"},
	} {
		if got := dropped(time.Now(), fields); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, fields := range map[string]map[string]string{
		"an id of its own making": {"Action": "ac-1"}, "no action": {"Action": ""}, "no lease": {"LeaseSeconds": "0"}, "a lease of a year": {"LeaseSeconds": "31536000"},
	} {
		if got := dropped(time.Now(), fields); len(got) != 1 || got[0].Kept {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A file server threw a client out: that is in force until its lease ends, a
// person may end it, and the isolation of the client waits for an approval.
func TestADroppedClientIsAnActionForPeople(t *testing.T) {
	b := newBench(t)
	at := b.now()
	b.pass(time.Second)
	x := dropped(at, nil)[0]
	for range 2 { // told again it changes nothing
		b.must(b.Dropped(t.Context(), x))
		b.must(b.IsolateClient(t.Context(), x))
	}
	a := b.wantState(droppedID, Verified)
	if a.Kind != DropSession || a.Host != "gw" || a.Auto != Guard || a.What() != "10.1.0.7" || !a.ExpiresAt.Equal(at.UTC().Add(time.Hour)) || !a.Active() {
		t.Fatalf("%+v", a)
	}
	all, _, err := b.List(t.Context(), Filter{Host: "pc"})
	b.must(err)
	var asked []Action
	for _, o := range all {
		if o.Kind == Isolate {
			asked = append(asked, o)
		}
	}
	if len(asked) != 1 || asked[0].State != Requested || asked[0].Forbidden != "10.1.0.1:445" || asked[0].RequestedBy != Hub || asked[0].Incident != "in-1" {
		t.Fatalf("asked for %+v", asked)
	}
	b.must(b.Release(t.Context(), droppedID, "業務のプログラムだった", tanaka))
	w := b.waits("gw")
	if len(w) != 1 {
		t.Fatalf("%d orders", len(w))
	}
	o := w[0]
	if o.Kind != order.AdmitClient || o.Action != droppedID || o.Host != "gw" {
		t.Fatalf("ended by %+v", o)
	}
	b.must(b.answer(o, order.Released, func(r *order.Result) { r.Cause = "order" }))
	b.wantState(droppedID, Released)
	b.must(b.Dropped(t.Context(), x)) // told late once more
	b.must(b.IsolateClient(t.Context(), x))
	b.wantState(droppedID, Released)
}

func TestADroppedClientMayComeBackAtTheEndOfItsTime(t *testing.T) {
	b := newBench(t)
	at := b.now()
	b.pass(time.Second)
	b.must(b.Dropped(t.Context(), dropped(at, nil)[0]))
	b.pass(30 * time.Minute)
	again := dropped(b.now(), map[string]string{"Action": "ac-0192f0a1b2c4-0123456789ab"})[0]
	b.must(b.Dropped(t.Context(), again)) // caught again: the agent holds one for each client
	b.wantState(droppedID, Released)
	b.pass(2 * time.Hour)
	b.must(b.Expire(t.Context()))
	b.wantState("ac-0192f0a1b2c4-0123456789ab", Expired)
	late := dropped(at, map[string]string{"Action": "ac-0192f0a1b2c5-0123456789ab"})[0]
	b.must(b.Dropped(t.Context(), late)) // the hub was away for longer than that
	if _, err := b.Get(t.Context(), late.Action); fault.Of(err) != fault.Missing {
		t.Errorf("what was over is in force: %v", err)
	}
}

func TestClientsThatCannotBeDroppedAreRefused(t *testing.T) {
	b := newBench(t)
	for name, targets := range map[string][]string{"nobody": nil, "a network": {"10.1.0.0/24"}, "a name": {"pc-7.example"}, "a port": {"10.1.0.9:445"}, "hardware": {"00:11:22:33:44:55"}} {
		if _, err := b.Plan(t.Context(), NewRequest{Kind: DropSession, Host: "pc", Targets: targets}); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Plan(t.Context(), NewRequest{Kind: DropSession, Host: "pc", Targets: []string{"10.1.0.7"}}); fault.Of(err) != fault.Denied {
		t.Errorf("itself: %v", err)
	}
}
