package action

import (
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
)

var enc = order.Process{PID: 77, Start: 4711, Image: "/tmp/enc"}

func part(kind Kind) NewRequest {
	q := NewRequest{Kind: kind, Incident: "in-1", Host: "pc", Reason: "暗号化の疑い"}
	switch kind {
	case Freeze, Kill:
		p := enc
		q.Process = &p
	case DropSession:
		q.Targets = []string{"198.51.100.7"}
	case BlockPeer:
		q.Targets = []string{"198.51.100.7:443", "evil.example"}
	case Unmount:
		q.Object = "/mnt/karte"
	default:
		q.Object = "smbd.service"
	}
	return q
}

// held takes an action to Verified and returns its order.
func (b *bench) held(q NewRequest) order.Order {
	b.t.Helper()
	a, err := b.Request(b.t.Context(), q, tanaka)
	b.must(err)
	b.collectedAll()
	_, err = b.Approve(b.t.Context(), a.ID, suzuki)
	b.must(err)
	b.pass(time.Second)
	o := b.fetched(a.ID)
	b.must(b.proved(o, true))
	b.wantState(a.ID, Verified)
	return o
}

// proved answers an order with its check.
func (b *bench) proved(o order.Order, ok bool) error {
	return b.answer(o, order.Applied, func(r *order.Result) {
		r.Checks = []order.Check{{Name: Kind(o.Kind).proof(), OK: ok, At: b.now()}}
	})
}

// collectedAll ends the collections of evidence that wait.
func (b *bench) collectedAll() {
	b.t.Helper()
	for _, o := range b.orders(order.Preserve) {
		b.must(b.answer(o, order.Done, nil))
	}
}

// TestEveryPartGoesThroughTheWholeLife of an action: asked for by one person,
// approved by another, held on a lease, undone by its own order.
func TestEveryPartGoesThroughTheWholeLife(t *testing.T) {
	for _, kind := range Parts() {
		if kind == Kill {
			continue
		}
		t.Run(string(kind), func(t *testing.T) {
			b := newBench(t)
			a, err := b.Request(t.Context(), part(kind), tanaka)
			b.must(err)
			if len(a.Consequences) != 1 || a.Lease != kind.UsualLease() {
				t.Errorf("asked for %+v", a)
			}
			_, err = b.Request(t.Context(), part(kind), both)
			wantFault(t, err, fault.Conflict, "action.already-requested")
			_, err = b.Approve(t.Context(), a.ID, tanaka)
			wantFault(t, err, fault.Denied, "action.own-request")
			_, err = b.Approve(t.Context(), a.ID, suzuki)
			b.must(err)
			b.pass(time.Second)
			o := b.fetched(a.ID)
			if o.Kind != order.Kind(kind) || o.Lease != a.Lease || o.CodeHash == "" || o.Object != a.Object || len(o.Targets) != len(a.Targets) || (o.Process == nil) != (a.Process == nil) {
				t.Errorf("ordered %+v", o)
			}
			b.must(b.proved(o, false))
			if got := b.wantState(a.ID, Applied); !got.Leaking() {
				t.Error("it does not hold, and nobody is told")
			}
			b.must(b.proved(o, true))
			b.must(b.proved(o, true)) // said again after a restart
			b.wantState(a.ID, Verified)
			b.must(b.Release(t.Context(), a.ID, "確認が終わった", tanaka))
			undo := b.waits("pc")
			undo = undo[len(undo)-1:]
			if undo[0].Kind != traits[kind].undo || undo[0].Object != a.Object || (undo[0].Process == nil) != (a.Process == nil) {
				t.Errorf("undone by %+v", undo[0])
			}
			b.must(b.answer(undo[0], order.Released, func(r *order.Result) { r.Cause = "order" }))
			b.wantState(a.ID, Released)
		})
	}
}

func TestFreezeDoesNotEndBecauseTheHubThinksSo(t *testing.T) {
	b := newBench(t)
	o := b.held(part(Freeze))
	b.pass(frozenFor + time.Hour)
	b.must(b.Expire(t.Context()))
	b.wantState(o.Action, Verified) // the machine may be off: only its agent knows
	b.must(b.answer(o, order.Released, func(r *order.Result) { r.Cause = "lease" }))
	b.wantState(o.Action, Expired)
}

func TestOnlyWhatIsFrozenIsKilledAndOnlyAfterItsEvidence(t *testing.T) {
	b := newBench(t)
	_, err := b.Request(t.Context(), part(Kill), tanaka)
	wantFault(t, err, fault.Conflict, "action.kill-needs-freeze")
	frozen := b.held(part(Freeze))
	other := part(Kill)
	other.Process = &order.Process{PID: enc.PID, Start: enc.Start + 1, Image: enc.Image}
	_, err = b.Request(t.Context(), other, tanaka)
	wantFault(t, err, fault.Conflict, "action.kill-needs-freeze")

	more := part(Preserve)
	more.Object = ""
	_, err = b.Request(t.Context(), more, tanaka)
	b.must(err)
	kill, err := b.Request(t.Context(), part(Kill), tanaka)
	b.must(err)
	_, err = b.Approve(t.Context(), kill.ID, tanaka)
	wantFault(t, err, fault.Denied, "action.own-request")
	_, err = b.Approve(t.Context(), kill.ID, suzuki)
	wantFault(t, err, fault.Conflict, "action.kill-needs-evidence")
	b.collectedAll()
	_, err = b.Approve(t.Context(), kill.ID, suzuki)
	b.must(err)
	b.pass(time.Second)
	b.must(b.proved(b.fetched(kill.ID), true))
	if a := b.wantState(kill.ID, Verified); a.Active() || !a.ExpiresAt.IsZero() {
		t.Errorf("a kill is over when it is done: %+v", a)
	}
	if a := b.wantState(frozen.Action, Released); a.Cause != "killed" {
		t.Errorf("the freeze ended by %q", a.Cause)
	}
	wantFault(t, b.Release(t.Context(), kill.ID, "戻したい", tanaka), fault.Conflict, "action.not-in-force")
}

func TestKeepRenewsTheLeaseOnceTheAgentSaysSo(t *testing.T) {
	b := newBench(t)
	first := b.held(part(Freeze))
	before := b.wantState(first.Action, Verified).ExpiresAt
	b.pass(20 * time.Hour)
	wantFault(t, b.Keep(t.Context(), first.Action, "調査中", boss), fault.Denied, "action.not-releaser")
	b.must(b.Keep(t.Context(), first.Action, "調査中", tanaka))
	renewal := b.orders(order.Freeze)
	if len(renewal) != 1 || renewal[0].Action != first.Action || *renewal[0].Process != enc {
		t.Fatalf("renewed by %+v", renewal)
	}
	if a := b.wantState(first.Action, Verified); !a.ExpiresAt.Equal(before) || a.KeptBy != tanaka.ID {
		t.Errorf("renewed before the agent knows: %+v", a)
	}
	b.must(b.proved(first, true)) // the agent restarts and says what it was told first
	b.must(b.proved(renewal[0], true))
	if a := b.wantState(first.Action, Verified); !a.ExpiresAt.Equal(b.now().UTC().Add(frozenFor)) {
		t.Errorf("ends at %s, not %s", a.ExpiresAt, b.now().Add(frozenFor))
	}
}

func TestWhatTheGuardFrozeIsAnActionForPeople(t *testing.T) {
	b := newBench(t)
	f := Frozen{Incident: "in-1", Alert: "al-1", Host: "pc", Site: "callcentre", Reason: "暗号化", Process: enc, At: b.now()}
	b.pass(time.Second)
	b.must(b.Frozen(t.Context(), f))
	b.must(b.Frozen(t.Context(), f))
	all, _, err := b.List(t.Context(), Filter{Host: "pc"})
	b.must(err)
	if len(all) != 1 || all[0].State != Verified || all[0].Auto != Guard || all[0].Alert != "al-1" || !all[0].Active() || !all[0].ExpiresAt.IsZero() {
		t.Fatalf("%+v", all)
	}
	id := all[0].ID
	b.pass(1000 * time.Hour) // no time lets it go
	b.must(b.Expire(t.Context()))
	b.wantState(id, Verified)
	b.must(b.Keep(t.Context(), id, "調査中", suzuki))
	if len(b.waits("pc")) != 0 {
		t.Error("it has no lease to renew, and an order went out")
	}
	b.must(b.Release(t.Context(), id, "業務のプログラムだった", tanaka)) // one person, with a reason
	thaw := b.orders(order.Thaw)
	if len(thaw) != 1 || thaw[0].Process == nil || *thaw[0].Process != enc {
		t.Fatalf("thawed by %+v", thaw)
	}
	b.must(b.answer(thaw[0], order.Released, func(r *order.Result) { r.Cause = "order" }))
	b.wantState(id, Released)
	b.must(b.Frozen(t.Context(), f)) // told late once more
	b.wantState(id, Released)
	b.pass(time.Minute)
	f.At = b.now()
	b.must(b.Frozen(t.Context(), f)) // and caught again
	if _, n, _ := b.List(t.Context(), Filter{Host: "pc"}); n != 2 {
		t.Errorf("%d freezes, want 2", n)
	}
	b.must(b.Ended(t.Context(), "pc", enc, "gone", b.now()))
	if _, n, _ := b.List(t.Context(), Filter{Host: "pc", Active: true}); n != 0 {
		t.Error("frozen although the process is gone")
	}
}

func TestWhatIsNotNamedWellIsRefused(t *testing.T) {
	b := newBench(t)
	for name, tt := range map[string]struct {
		q    NewRequest
		kind fault.Kind
		key  string
	}{
		"no process":         {NewRequest{Kind: Freeze, Host: "pc"}, fault.Invalid, "action.process"},
		"the first process":  {NewRequest{Kind: Freeze, Host: "pc", Process: &order.Process{PID: 1, Start: 1}}, fault.Invalid, "action.process"},
		"a number alone":     {NewRequest{Kind: Freeze, Host: "pc", Process: &order.Process{PID: 9}}, fault.Invalid, "action.process"},
		"kill without start": {NewRequest{Kind: Kill, Host: "pc", Process: &order.Process{PID: 9, Image: "/x"}}, fault.Invalid, "action.process"},
		"no service":         {NewRequest{Kind: StopService, Host: "pc"}, fault.Invalid, "action.object"},
		"an option":          {NewRequest{Kind: StopService, Host: "pc", Object: "--now"}, fault.Invalid, "action.object"},
		"two lines":          {NewRequest{Kind: DisableAccount, Host: "pc", Object: "a\nb"}, fault.Invalid, "action.object"},
		"keep-list":          {NewRequest{Kind: StopService, Host: "ct", Object: "x"}, fault.Denied, "action.keep-listed"},
		"keep-list, peers":   {NewRequest{Kind: BlockPeer, Host: "ct", Targets: []string{"198.51.100.7"}}, fault.Denied, "action.keep-listed"},
		"the hub":            {NewRequest{Kind: BlockPeer, Host: "pc", Targets: []string{"192.0.2.1"}}, fault.Denied, "action.block-hub"},
		"the hub's port":     {NewRequest{Kind: BlockPeer, Host: "pc", Targets: []string{hubAddr}}, fault.Denied, "action.block-hub"},
		"itself":             {NewRequest{Kind: BlockPeer, Host: "pc", Targets: []string{"10.1.0.7"}}, fault.Denied, "action.block-gateway"},
		"nobody":             {NewRequest{Kind: BlockPeer, Host: "pc"}, fault.Invalid, "action.block-targets"},
		"no name":            {NewRequest{Kind: BlockPeer, Host: "pc", Targets: []string{"a b"}}, fault.Invalid, "action.block-target"},
		"loopback":           {NewRequest{Kind: BlockPeer, Host: "pc", Targets: []string{"127.0.0.1:53"}}, fault.Invalid, "action.block-target"},
		"too long":           {NewRequest{Kind: Freeze, Host: "pc", Process: &enc, Lease: 48 * time.Hour}, fault.Invalid, "action.lease"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Plan(t.Context(), tt.q)
			wantFault(t, err, tt.kind, tt.key)
		})
	}
	if a, err := b.Plan(t.Context(), NewRequest{Kind: Freeze, Host: "ct", Process: &enc}); err != nil || a.Lease != frozenFor {
		t.Errorf("a process on a machine of the keep-list may be frozen by people: %v", err)
	}
}
