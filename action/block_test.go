package action

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

func block(via string, targets ...string) NewRequest {
	return NewRequest{Kind: Block, Incident: "in-1", Reason: "外部への送信", Via: via, Targets: targets}
}

// waits opens the orders that wait for a gateway or a device.
func (b *bench) waits(carrier string) []order.Order {
	b.t.Helper()
	signed, err := b.Pending(b.t.Context(), carrier)
	b.must(err)
	var out []order.Order
	for _, s := range signed {
		o, err := order.Open(b.pub, carrier, b.now(), s)
		b.must(err)
		out = append(out, o)
	}
	return out
}

func blockChecks(at time.Time, held bool) []order.Check {
	return []order.Check{{Name: "device-answers", OK: true, At: at}, {Name: "block-holds", OK: held, At: at}}
}

func TestBlockGoesToTheGatewayAfterTwoPeople(t *testing.T) {
	b := newBench(t)
	q := block("gw")
	q.Host = "pc"
	a, err := b.Request(t.Context(), q, tanaka)
	b.must(err)
	if a.Means != Gateway || a.ViaName != "GW-01" || len(a.Consequences) != 1 || a.Lease != DefaultLease ||
		!slices.Equal(a.Targets, []string{"10.1.0.7", "2001:db8::7"}) || a.State != Requested {
		t.Errorf("%+v", a)
	}
	if len(b.waits("gw")) != 0 {
		t.Error("an order went out without approval")
	}
	_, err = b.Approve(t.Context(), a.ID, tanaka)
	wantFault(t, err, fault.Denied, "action.own-request")
	b.pass(time.Second)
	_, err = b.Approve(t.Context(), a.ID, suzuki)
	b.must(err)
	os := b.waits("gw")
	if len(os) != 1 || os[0].Kind != order.Block || os[0].CodeHash != "" || !slices.Equal(os[0].Keep, []string{hubAddr}) {
		t.Fatalf("orders %+v", os)
	}
	b.pass(time.Second)
	r := order.Result{Order: os[0].ID, Action: a.ID, Kind: order.Block, Host: "pc", Phase: order.Applied, At: b.now(),
		Checks: []order.Check{{Name: "hub-reachable", OK: true, At: b.now()}, {Name: "block-holds", OK: true, At: b.now()}}}
	wantFault(t, b.Result(t.Context(), r), fault.Denied, "action.other-host") // the blocked machine has no say
	r.Host = "gw"
	b.must(b.Result(t.Context(), r))
	b.wantState(a.ID, Verified)
	b.must(b.Release(t.Context(), a.ID, "終わった", tanaka))
	if os := b.waits("gw"); len(os) != 1 || os[0].Kind != order.Unblock {
		t.Fatalf("orders %+v", os)
	}
	b.must(b.Result(t.Context(), order.Result{Order: os[0].ID, Action: a.ID, Kind: order.Unblock, Host: "gw", Phase: order.Released, Cause: "order", At: b.now()}))
	b.wantState(a.ID, Released)
}

// The kernel of a gateway ends a lease; a device must be told, and until it
// was the block is not over, whatever the clock says.
func TestLeaseOfADeviceEndsOnlyWhenItSaysSo(t *testing.T) {
	b := newBench(t)
	a, err := b.Request(t.Context(), block("dev-1", "10.1.0.9"), tanaka)
	b.must(err)
	b.pass(time.Second)
	_, err = b.Approve(t.Context(), a.ID, suzuki)
	b.must(err)
	o := b.waits("dev-1")[0]
	say := func(kind order.Kind, p order.Phase, cause, detail string, checks []order.Check) {
		t.Helper()
		b.must(b.Result(t.Context(), order.Result{Order: o.ID, Action: a.ID, Kind: kind, Host: "dev-1", Phase: p, Cause: cause, Detail: detail, Checks: checks, At: b.now()}))
	}
	say(order.Block, order.Applied, "", "", blockChecks(b.now(), false))
	if got := b.wantState(a.ID, Applied); !got.Leaking() {
		t.Error("a block that does not hold is not told")
	}
	say(order.Block, order.Applied, "", "", blockChecks(b.now(), true))
	b.wantState(a.ID, Verified)
	b.pass(2 * time.Hour)
	b.must(b.Expire(t.Context()))
	b.wantState(a.ID, Verified)
	say(order.Unblock, order.Failed, "", "not-restored: device-silent", nil)
	got := b.wantState(a.ID, Releasing)
	if !slices.ContainsFunc(got.Lines(), func(l Line) bool { return l.Key == "action.not-restored.block" }) {
		t.Errorf("the chronology does not say that the device was not told: %+v", got.Lines())
	}
	say(order.Block, order.Released, "lease", "", nil)
	if got := b.wantState(a.ID, Expired); got.Failure != "" {
		t.Errorf("failure %q stays", got.Failure)
	}
}

func TestWhatMustNeverBeBlockedIsRefused(t *testing.T) {
	b := newBench(t)
	b.must(b.SetLimits(t.Context(), Limits{Site: "callcentre", Protected: []Protected{
		{"10.1.0.53", "DNS"}, {"10.1.9.0/24", "検査装置"}, {"00-11-22-33-44-55", "超音波装置"}}}, suzuki))
	for _, tt := range []struct {
		target string
		kind   fault.Kind
		key    string
	}{
		{"10.1.0.50", fault.Denied, "action.keep-listed"},
		{"10.1.0.51", fault.Denied, "action.block-medical"},
		{"::ffff:10.1.0.50", fault.Denied, "action.keep-listed"},
		{"10.1.0.1", fault.Denied, "action.block-gateway"},
		{"10.1.0.3", fault.Denied, "action.block-gateway"}, // the device itself
		{"192.0.2.1", fault.Denied, "action.block-hub"},
		{"10.1.0.53", fault.Denied, "action.block-protected"},
		{"10.1.9.200", fault.Denied, "action.block-protected"},
		{"00:11:22:33:44:55", fault.Denied, "action.block-protected"},
		{"10.1.0.0/24", fault.Invalid, "action.block-target"},
		{"255.255.255.255", fault.Invalid, "action.block-target"},
		{"ff:ff:ff:ff:ff:ff", fault.Invalid, "action.block-target"},
		{"", fault.Invalid, "action.block-targets"},
	} {
		_, err := b.Request(t.Context(), block("dev-1", tt.target), tanaka)
		wantFault(t, err, tt.kind, tt.key)
	}
	_, err := b.Request(t.Context(), block("pc", "10.1.0.9"), tanaka)
	wantFault(t, err, fault.Conflict, "action.no-gateway")
	_, err = b.Request(t.Context(), block("dev-9", "10.1.0.9"), tanaka)
	wantFault(t, err, fault.Missing, "device.unknown")
	q := block("dev-1", "10.1.0.9")
	q.Drill = true
	_, err = b.Request(t.Context(), q, tanaka)
	wantFault(t, err, fault.Conflict, "action.drill-mixed")
}

// What became protected after the request is not blocked by the approval.
func TestApprovalLooksAgain(t *testing.T) {
	b := newBench(t)
	a, err := b.Request(t.Context(), block("dev-1", "10.1.0.9"), tanaka)
	b.must(err)
	b.must(b.SetLimits(t.Context(), Limits{Site: "callcentre", Protected: []Protected{{"10.1.0.9", "輸液ポンプ"}}}, suzuki))
	_, err = b.Approve(t.Context(), a.ID, suzuki)
	wantFault(t, err, fault.Denied, "action.block-protected")
	if len(b.waits("dev-1")) != 0 {
		t.Error("an order went out")
	}
}

// seen is an alert about a machine of the test, as a trigger.
func (b *bench) seen(id, host, confidence string) Trigger {
	b.t.Helper()
	t := Trigger{Alert: alert.Alert{ID: id, Rule: detect.Rule{ID: "r1", Title: detect.Text{"ja": "BitTorrent"}}, Severity: event.Critical, Host: host, State: alert.Open,
		RaisedAt: b.now(), Last: b.now(), Peers: []alert.Peer{{Address: forbidden, Protocol: "tcp", Confidence: confidence}},
		Process: []alert.Process{{PID: "77", Image: "/tmp/enc"}}}}
	h, err := b.hosts.Host(b.t.Context(), host)
	b.must(err)
	t.Host, t.Alert.Site = h, h.Site
	return t
}

func TestOnlyWhatIsCertainIsBlockedByItselfAndOnlyWhereItWasApproved(t *testing.T) {
	b := newBench(t)
	certain := b.seen("al-1", "pc", "certain")
	auto := func(tr Trigger) []Answer {
		t.Helper()
		todo, _, err := b.Automatic(t.Context(), tr)
		b.must(err)
		return todo
	}
	if len(auto(certain)) != 0 {
		t.Error("blocked where nobody switched it on")
	}
	on := Limits{Site: "callcentre", Auto: true, Via: "gw", Lease: 15 * time.Minute}
	wantFault(t, b.SetLimits(t.Context(), on, tanaka), fault.Denied, "action.not-approver")
	b.must(b.SetLimits(t.Context(), on, suzuki))
	if len(auto(b.seen("al-1", "pc", "probable"))) != 0 {
		t.Error("blocked although it is only probable")
	}
	for _, host := range []string{"ct", "mr", "dr"} {
		if len(auto(b.seen("al-2", host, "certain"))) != 0 {
			t.Errorf("%s at another site is blocked", host)
		}
	}
	if todo, refused, err := b.Automatic(t.Context(), b.seen("al-3", "gw", "certain")); err != nil || len(todo) != 0 || len(refused) != 1 || fault.Of(refused[0]) != fault.Denied {
		t.Errorf("the gateway itself: %v %v %v", todo, refused, err)
	}
	todo := auto(certain)
	if len(todo) != 1 || todo[0].Request.Kind != Block {
		t.Fatalf("not blocked where it was approved: %v", todo)
	}
	b.must(b.Follow(t.Context(), todo[0], certain, "in-1"))
	b.must(b.Follow(t.Context(), todo[0], certain, "in-1"))
	os := b.waits("gw")
	if len(os) != 1 || os[0].Lease != 15*time.Minute {
		t.Fatalf("orders %+v", os)
	}
	a := b.wantState(os[0].Action, Approved)
	if a.DecidedBy != suzuki.ID || a.RequestedBy != Hub || a.Alert != "al-1" || a.Auto == "" {
		t.Errorf("%+v", a)
	}
	if len(auto(certain)) != 0 {
		t.Error("blocked twice")
	}
	b.must(b.Release(t.Context(), a.ID, "誤検知だった", tanaka))
	if len(auto(certain)) != 0 {
		t.Error("blocked again although people undid it")
	}
	on.Auto = false
	b.must(b.SetLimits(t.Context(), on, suzuki))
	wantFault(t, b.Follow(t.Context(), todo[0], certain, "in-1"), fault.Denied, "policy.not-in-force")
}

func TestInsideNamesOurMachinesThatAreCertain(t *testing.T) {
	e := func(local, confidence string) event.Event {
		return event.Event{Fields: map[string]string{event.FieldLocalIP: local, event.FieldConfidence: confidence}}
	}
	got := Inside([]event.Event{e("10.0.0.5", "certain"), e("10.0.0.6", "probable"), e("fd00::7", "certain"), e("10.0.0.5", "certain"), e("198.51.100.1", "certain"), e("x", "certain")})
	if d := cmp.Diff([]string{"10.0.0.5", "fd00::7"}, got); d != "" {
		t.Error(d)
	}
}
