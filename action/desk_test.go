package action

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// register is a fixed list of machines.
type register struct {
	hosts map[string]asset.Host
	hubs  map[string]string
}

func (r register) Host(_ context.Context, id string) (asset.Host, error) {
	h, ok := r.hosts[id]
	if !ok {
		return h, fault.New(fault.Missing, "asset.host-unknown")
	}
	return h, nil
}

func (r register) HubAddress(_ context.Context, id string) (string, error) {
	if a, ok := r.hubs[id]; ok {
		return a, nil
	}
	return "", fault.New(fault.Conflict, "asset.hub-unknown")
}

func (r register) HostsNamed(_ context.Context, site, name string) (out []asset.Host, _ error) {
	for _, h := range r.hosts {
		if h.Site == site && strings.EqualFold(h.Name, name) {
			out = append(out, h)
		}
	}
	return out, nil
}

func (r register) HostsAt(_ context.Context, address string) (out []asset.Host, _ error) {
	for _, h := range r.hosts {
		if slices.Contains(h.Addresses, address) {
			out = append(out, h)
		}
	}
	return out, nil
}

func (r register) Hubs(context.Context) ([]string, error) { return []string{hubAddr}, nil }

// shelf is a fixed list of devices.
type shelf map[string]Carrier

func (s shelf) Carrier(_ context.Context, id string) (Carrier, error) {
	c, ok := s[id]
	if !ok {
		return c, fault.New(fault.Missing, "device.unknown")
	}
	return c, nil
}

var (
	tanaka = auth.Person{ID: "pe-1", Roles: []auth.Role{auth.Responder}}
	suzuki = auth.Person{ID: "pe-2", Roles: []auth.Role{auth.Approver}}
	both   = auth.Person{ID: "pe-3", Roles: []auth.Role{auth.Responder, auth.Approver}}
	boss   = auth.Person{ID: "pe-4", Roles: []auth.Role{auth.Executive}}
)

const (
	hubAddr   = "192.0.2.1:8443"
	forbidden = "198.51.100.7:6881"
)

// bench is a Desk with a clock that the test turns and the outbox it reads.
type bench struct {
	*Desk
	t   *testing.T
	db  *state.DB
	pub ed25519.PublicKey
	mu  sync.Mutex
	at  time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db := statetest.Open(t)
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db, pub: pub, at: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}
	reg := register{
		hosts: map[string]asset.Host{
			"pc":  {ID: "pc", Name: "CC-PC-07", Site: "callcentre", Addresses: []string{"10.1.0.7", "fe80::7", "2001:db8::7"}, Hub: hubAddr, Services: []asset.Service{{Name: "予約電話", Effect: "この席の電話が止まる", Load: "1時間あたり約40件"}}},
			"ct":  {ID: "ct", Name: "CT-01", Site: "hospital", Class: "medical", Keep: "院長の判断が要る", Addresses: []string{"10.1.0.50"}},
			"mr":  {ID: "mr", Name: "MR-01", Site: "hospital", Class: "medical", Addresses: []string{"10.1.0.51"}},
			"gw":  {ID: "gw", Name: "GW-01", Site: "callcentre", Addresses: []string{"10.1.0.1"}, Health: asset.Health{Gateway: true}},
			"new": {ID: "new", Name: "NEW", Site: "hospital"},
			"dr":  {ID: "dr", Name: "訓練用PC", Site: "drill", Drill: true},
		},
		hubs: map[string]string{"pc": hubAddr, "ct": hubAddr, "dr": hubAddr, "gw": hubAddr},
	}
	devices := shelf{"dev-1": {ID: "dev-1", Name: "SW-3F", Site: "callcentre", Means: PortDown, Addresses: []string{"10.1.0.3"}}}
	b.Desk = New(db, key, reg, devices, b.now, log)
	return b
}

func (b *bench) now() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.at }
func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	b.at = b.at.Add(d)
	b.mu.Unlock()
}

func isolate() NewRequest {
	return NewRequest{Kind: Isolate, Incident: "in-1", Host: "pc", Reason: "ファイル共有の通信", Forbidden: forbidden, Lease: time.Hour, PID: 77}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) requested() Action {
	b.t.Helper()
	a, err := b.Request(b.t.Context(), isolate(), tanaka)
	b.must(err)
	b.pass(time.Second)
	return a
}

func (b *bench) approved() Action {
	b.t.Helper()
	a, err := b.Approve(b.t.Context(), b.requested().ID, suzuki)
	b.must(err)
	b.pass(time.Second)
	return a
}

// orders opens what waits for the host, as its agent would.
func (b *bench) orders(kind order.Kind) []order.Order {
	b.t.Helper()
	signed, err := b.Pending(b.t.Context(), "pc")
	b.must(err)
	var out []order.Order
	for _, s := range signed {
		o, err := order.Open(b.pub, "pc", b.now(), s)
		b.must(err)
		if o.Kind == kind {
			out = append(out, o)
		}
	}
	return out
}

// fetched returns the isolate order of an action whether it waits or not.
func (b *bench) fetched(id string) order.Order {
	b.t.Helper()
	all, err := list[order.Signed](b.t.Context(), b.db, `SELECT signed FROM action_order WHERE action = $1 AND kind <> 'release'`, id)
	b.must(err)
	if len(all) != 1 {
		b.t.Fatalf("%d orders of %s", len(all), id)
	}
	var o order.Order
	b.must(json.Unmarshal(all[0].Body, &o))
	return o
}

func checks(at time.Time, hub, blocked bool) []order.Check {
	return []order.Check{{Name: "hub-reachable", Target: hubAddr, OK: hub, At: at}, {Name: "forbidden-blocked", Target: forbidden, OK: blocked, At: at}}
}

func (b *bench) answer(o order.Order, p order.Phase, f func(*order.Result)) error {
	r := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Host: o.Host, Phase: p, At: b.now()}
	if p == order.Applied {
		r.Checks = checks(b.now(), true, true)
	}
	if f != nil {
		f(&r)
	}
	return b.Result(b.t.Context(), r)
}

func (b *bench) wantState(id string, want State) Action {
	b.t.Helper()
	a, err := b.Get(b.t.Context(), id)
	b.must(err)
	if a.State != want {
		b.t.Fatalf("action is %s (%s %s), want %s", a.State, a.Cause, a.Failure, want)
	}
	return a
}

// emitted returns the subjects in the outbox that start with prefix.
func (b *bench) emitted(prefix string) []string {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), `SELECT subject FROM outbox ORDER BY seq`)
	b.must(err)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		b.must(rows.Scan(&s))
		if strings.HasPrefix(s, prefix) {
			out = append(out, s)
		}
	}
	return out
}

func wantFault(t *testing.T, err error, kind fault.Kind, key string) {
	t.Helper()
	if fault.Of(err) != kind || !strings.Contains(fmt.Sprint(err), ": "+key) {
		t.Errorf("got %v, want %s: %s", err, kind, key)
	}
}

func TestFromRequestToVerified(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	a := b.requested()
	want := []Consequence{{Service: "予約電話", Effect: "この席の電話が止まる", Load: "1時間あたり約40件"}}
	if d := cmp.Diff(want, a.Consequences); d != "" {
		t.Error(d)
	}
	if len(b.orders(order.Isolate)) != 0 {
		t.Fatal("an isolation reached the agent without approval")
	}
	pre := b.orders(order.Preserve)
	if len(pre) != 1 || pre[0].Bag == "" || pre[0].PID != 77 {
		t.Fatalf("evidence before isolating: %+v", pre)
	}
	if waiting, n, err := b.List(ctx, Filter{Waiting: true}); err != nil || n != 1 || waiting[0].ID != a.ID {
		t.Errorf("waiting: %v %d %v", waiting, n, err)
	}

	ap, err := b.Approve(ctx, a.ID, suzuki)
	b.must(err)
	os := b.orders(order.Isolate)
	if len(os) != 1 {
		t.Fatalf("%d orders", len(os))
	}
	o := os[0]
	shown, err := b.Code(ctx, a.ID, tanaka)
	b.must(err)
	if o.Lease != time.Hour || !slices.Equal(o.Keep, []string{hubAddr}) || o.Forbidden != forbidden || o.CodeHash != order.CodeHash(shown) || o.Action != ap.ID {
		t.Errorf("order %+v", o)
	}
	if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(shown) {
		t.Errorf("code %q is not four groups of four", shown)
	}
	b.pass(2 * time.Second)
	b.must(b.answer(o, order.Applied, nil))
	got := b.wantState(a.ID, Verified)
	if !got.ExpiresAt.Equal(got.AppliedAt.Add(time.Hour)) || got.VerifiedAt.IsZero() || len(got.Checks) != 2 {
		t.Errorf("verified: %+v", got)
	}
	if len(b.orders(order.Isolate)) != 0 {
		t.Error("an answered order is still handed out")
	}
	if _, n, _ := b.List(ctx, Filter{Active: true, Host: "pc", Site: "callcentre"}); n != 2 {
		t.Errorf("%d active, want the isolation and the collection", n)
	}
	wantSubjects := []string{"action.requested", "action.approved", "action.requested", "action.approved", "action.applied", "action.verified"}
	if d := cmp.Diff(wantSubjects, b.emitted("action.")); d != "" {
		t.Error(d)
	}
	if n := len(b.emitted("record.order")); n != 4 { // what was signed, and the signature
		t.Errorf("%d leaves of orders, want 4", n)
	}
	if n := len(b.emitted("order.issued")); n != 2 {
		t.Errorf("%d orders announced, want 2", n)
	}
	decs, err := b.Decisions(ctx, a.ID)
	b.must(err)
	if len(decs) != 3 || decs[1].What != "approved" || decs[1].By != suzuki.ID || decs[1].Order == "" || decs[2].What != "code-shown" {
		t.Errorf("decisions %+v", decs)
	}
	b.approvalInLedger(decs[1])
}

// approvalInLedger finds the leaf of a decision in the outbox.
func (b *bench) approvalInLedger(d Decision) {
	b.t.Helper()
	want, err := leaf.Of("approval", fmt.Sprintf("%s/%d", d.Action, d.No), d.At, d)
	b.must(err)
	rows, err := b.db.Query(b.t.Context(), `SELECT body FROM outbox WHERE subject = 'record.approval'`)
	b.must(err)
	defer rows.Close()
	for rows.Next() {
		var body []byte
		var l leaf.Leaf
		b.must(rows.Scan(&body))
		b.must(json.Unmarshal(body, &l))
		if l == want {
			return
		}
	}
	b.t.Errorf("no leaf of decision %s/%d", d.Action, d.No)
}

func TestWhatIsRefused(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	with := func(f func(*NewRequest)) NewRequest { q := isolate(); f(&q); return q }
	for name, tt := range map[string]struct {
		q    NewRequest
		kind fault.Kind
		key  string
	}{
		"a machine of the keep-list":    {with(func(q *NewRequest) { q.Host = "ct" }), fault.Denied, "action.keep-listed"},
		"the hub would be cut off":      {with(func(q *NewRequest) { q.Host = "new" }), fault.Conflict, "action.no-hub-address"},
		"a machine nobody knows":        {with(func(q *NewRequest) { q.Host = "x" }), fault.Missing, "asset.host-unknown"},
		"no reason":                     {with(func(q *NewRequest) { q.Reason = " " }), fault.Invalid, "action.reason"},
		"an endless reason":             {with(func(q *NewRequest) { q.Reason = strings.Repeat("長", maxReason+1) }), fault.Invalid, "action.reason"},
		"no incident":                   {with(func(q *NewRequest) { q.Incident = "" }), fault.Invalid, "action.incident"},
		"no forbidden address":          {with(func(q *NewRequest) { q.Forbidden = "" }), fault.Invalid, "action.forbidden-missing"},
		"a name as forbidden address":   {with(func(q *NewRequest) { q.Forbidden = "tracker.example:80" }), fault.Invalid, "action.forbidden"},
		"the hub as forbidden address":  {with(func(q *NewRequest) { q.Forbidden = hubAddr }), fault.Invalid, "action.forbidden-is-hub"},
		"itself as forbidden address":   {with(func(q *NewRequest) { q.Forbidden = "127.0.0.1:80" }), fault.Invalid, "action.forbidden"},
		"a lease that ends immediately": {with(func(q *NewRequest) { q.Lease = time.Second }), fault.Invalid, "action.lease"},
		"a lease that does not end":     {with(func(q *NewRequest) { q.Lease = 25 * time.Hour }), fault.Invalid, "action.lease"},
		"a negative lease":              {with(func(q *NewRequest) { q.Lease = -time.Hour }), fault.Invalid, "action.lease"},
		"an unknown kind":               {with(func(q *NewRequest) { q.Kind = "wipe" }), fault.Invalid, "action.kind"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Request(ctx, tt.q, tanaka)
			wantFault(t, err, tt.kind, tt.key)
			if n := len(b.emitted("")); n != 0 {
				t.Errorf("%d messages of a refused request", n)
			}
		})
	}
	plan, err := b.Plan(ctx, with(func(q *NewRequest) { q.Lease = 0 }))
	b.must(err)
	if plan.ID != "" || plan.Lease != DefaultLease || len(plan.Consequences) != 1 || plan.Keep[0] != hubAddr {
		t.Errorf("plan %+v", plan)
	}
	if _, n, _ := b.List(ctx, Filter{}); n != 0 {
		t.Error("a plan was stored")
	}
	if plan, err := b.Plan(ctx, with(func(q *NewRequest) { q.Forbidden = "" })); err != nil || plan.Forbidden != "" || len(plan.Consequences) != 1 {
		t.Errorf("a plan without an address to check: %+v, %v", plan, err)
	}
	if _, err := b.Plan(ctx, with(func(q *NewRequest) { q.Kind, q.Host = Preserve, "ct" })); err != nil {
		t.Errorf("evidence of a keep-listed machine changes nothing on it: %v", err)
	}
}

func TestFourEyes(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	a, err := b.Request(ctx, isolate(), both)
	b.must(err)
	_, err = b.Approve(ctx, a.ID, both)
	wantFault(t, err, fault.Denied, "action.own-request")
	_, err = b.Approve(ctx, a.ID, auth.Person{})
	wantFault(t, err, fault.Denied, "action.own-request")
	for _, p := range []auth.Person{tanaka, boss} {
		_, err = b.Approve(ctx, a.ID, p)
		wantFault(t, err, fault.Denied, "action.not-approver")
		_, err := b.Code(ctx, a.ID, boss)
		wantFault(t, err, fault.Denied, "action.not-releaser")
	}
	if len(b.orders(order.Isolate)) != 0 {
		t.Fatal("an order without approval")
	}
	_, err = b.Code(ctx, a.ID, suzuki)
	wantFault(t, err, fault.Conflict, "action.not-in-force")
	wantFault(t, b.Refuse(ctx, a.ID, "", suzuki), fault.Invalid, "action.reason")
	wantFault(t, b.Refuse(ctx, a.ID, "x", boss), fault.Denied, "action.not-approver")
	_, err = b.Request(ctx, isolate(), tanaka)
	wantFault(t, err, fault.Conflict, "action.already-requested")
	b.must(b.Refuse(ctx, a.ID, "診療に響く", suzuki))
	b.wantState(a.ID, Refused)
	_, err = b.Approve(ctx, a.ID, suzuki)
	wantFault(t, err, fault.Conflict, "action.not-waiting")
	wantFault(t, b.Release(ctx, a.ID, "x", suzuki), fault.Conflict, "action.not-in-force")
	_, err = b.Approve(ctx, "ac-unknown", suzuki)
	wantFault(t, err, fault.Missing, "action.unknown")
}

func TestOnlyOneOfManyApprovesAtTheSameTime(t *testing.T) {
	b := newBench(t)
	a := b.requested()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = b.Approve(t.Context(), a.ID, auth.Person{ID: fmt.Sprint("pe-", 10+i), Roles: []auth.Role{auth.Approver}})
		})
	}
	wg.Wait()
	good := 0
	for _, err := range errs {
		if err == nil {
			good++
		} else {
			wantFault(t, err, fault.Conflict, "action.not-waiting")
		}
	}
	if good != 1 || len(b.orders(order.Isolate)) != 1 {
		t.Errorf("%d approvals and %d orders, want one of each", good, len(b.orders(order.Isolate)))
	}
}

func TestEvidenceIsOrderedOncePerHostAndIncident(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	p, err := b.Request(ctx, NewRequest{Kind: Preserve, Incident: "in-1", Host: "pc", Reason: "r"}, tanaka)
	b.must(err)
	if p.State != Approved || p.Bag == "" || p.DecidedBy != "" {
		t.Errorf("preserve %+v, want it to start without a second person", p)
	}
	b.pass(time.Second)
	b.requested()
	if n := len(b.orders(order.Preserve)); n != 1 {
		t.Errorf("%d collections, want the one that was there", n)
	}
	o := b.orders(order.Preserve)[0]
	b.must(b.answer(o, order.Progress, nil))
	b.wantState(p.ID, Applied)
	if len(b.orders(order.Preserve)) != 1 {
		t.Error("an agent that restarts in the middle would not get the order again")
	}
	b.pass(time.Second)
	b.must(b.answer(o, order.Progress, nil))
	b.must(b.answer(o, order.Done, nil))
	got := b.wantState(p.ID, Verified)
	if got.Active() || got.EndedAt.IsZero() || len(b.orders(order.Preserve)) != 0 {
		t.Errorf("done %+v", got)
	}
	b.must(b.answer(o, order.Progress, func(r *order.Result) { r.At = b.now().Add(-time.Second) })) // overtaken by Done
	b.wantState(p.ID, Verified)
}

func TestAnswersInEveryOrder(t *testing.T) {
	lease := func(r *order.Result) { r.Cause = "lease" }
	for name, tt := range map[string]struct {
		play func(b *bench, id string, o order.Order)
		want State
	}{
		"twice the same": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, nil))
			n := len(b.emitted(""))
			b.must(b.answer(o, order.Applied, nil))
			if len(b.emitted("")) != n {
				b.t.Error("a repeated answer was told again")
			}
		}, Verified},
		"still leaking": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, func(r *order.Result) { r.Checks = checks(b.now(), true, false) }))
			a := b.wantState(id, Applied)
			if !a.Leaking() {
				b.t.Error("nobody would notice the leak")
			}
			b.pass(time.Second)
			b.must(b.answer(o, order.Applied, nil)) // checked again
		}, Verified},
		"leak found later": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, nil))
			b.pass(time.Second)
			b.must(b.answer(o, order.Applied, func(r *order.Result) { r.Checks = checks(b.now(), true, false) }))
		}, Applied},
		"one check is not two": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, func(r *order.Result) { r.Checks = r.Checks[:1] }))
		}, Applied},
		"the hub was lost": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Failed, func(r *order.Result) { r.Detail = "hub-lost: x" }))
			if a := b.wantState(id, Failed); a.Failure != "hub-lost: x" {
				b.t.Errorf("failure %q", a.Failure)
			}
			b.must(b.answer(o, order.Applied, nil)) // cannot be
		}, Failed},
		"rejected": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Rejected, func(r *order.Result) { r.Detail = "keep-lacks-hub" }))
		}, Failed},
		"end of the lease, reported twice": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, nil))
			b.pass(time.Hour)
			b.must(b.answer(o, order.Released, lease))
			b.pass(time.Minute)
			b.must(b.answer(o, order.Released, lease))
		}, Expired},
		"end of the lease before the beginning": {func(b *bench, id string, o order.Order) {
			at := b.now()
			b.pass(time.Hour + time.Second)
			b.must(b.answer(o, order.Released, lease))
			b.must(b.answer(o, order.Applied, func(r *order.Result) { r.At = at }))
		}, Expired},
		"the hub sees the end itself": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, nil))
			b.pass(time.Hour + grace - time.Second)
			b.must(b.Expire(b.t.Context()))
			b.wantState(id, Verified)
			b.pass(2 * time.Second)
			b.must(b.Expire(b.t.Context()))
			b.wantState(id, Expired)
			b.must(b.answer(o, order.Released, lease))
		}, Expired},
		"no answer": {func(b *bench, id string, o order.Order) {
			b.pass(waitForAgent + time.Second)
			if len(b.orders(order.Isolate)) != 0 {
				b.t.Error("an expired order is still handed out")
			}
			b.must(b.Expire(b.t.Context()))
		}, Expired},
		"no answer, but it was done": {func(b *bench, id string, o order.Order) {
			at := b.now()
			b.pass(waitForAgent + time.Second)
			b.must(b.Expire(b.t.Context()))
			b.must(b.answer(o, order.Applied, func(r *order.Result) { r.At, r.Detail = at, "resumed" }))
			if a := b.wantState(id, Verified); !a.AppliedAt.Equal(at) || !a.EndedAt.IsZero() || a.Failure != "" {
				b.t.Errorf("revived %+v", a)
			}
		}, Verified},
		"no answer, done, and over by now": {func(b *bench, id string, o order.Order) {
			at := b.now()
			b.pass(2 * time.Hour)
			b.must(b.Expire(b.t.Context()))
			b.must(b.answer(o, order.Applied, func(r *order.Result) { r.At = at }))
		}, Expired},
		"released by a person": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, nil))
			b.must(b.Release(b.t.Context(), id, "安全を確認", tanaka))
			wantFault(b.t, b.Release(b.t.Context(), id, "もう一度", tanaka), fault.Conflict, "action.not-in-force")
			b.wantState(id, Releasing)
			rel := b.orders(order.Release)
			if len(rel) != 1 || rel[0].Action != id {
				b.t.Fatalf("release orders %+v", rel)
			}
			b.must(b.answer(rel[0], order.Released, func(r *order.Result) { r.Cause = "order" }))
		}, Released},
		"released before the agent knew": {func(b *bench, id string, o order.Order) {
			b.must(b.Release(b.t.Context(), id, "誤り", suzuki))
			if len(b.orders(order.Isolate)) != 0 {
				b.t.Error("the isolation is still handed out")
			}
			b.must(b.answer(o, order.Applied, nil)) // it had fetched it just before
			b.wantState(id, Releasing)
			b.must(b.answer(b.orders(order.Release)[0], order.Released, func(r *order.Result) { r.Cause = "order" }))
		}, Released},
		"released, and the agent is gone": {func(b *bench, id string, o order.Order) {
			b.must(b.Release(b.t.Context(), id, "誤り", suzuki))
			b.pass(waitForAgent + time.Hour)
			b.must(b.Expire(b.t.Context()))
			b.wantState(id, Releasing)
			b.pass(time.Minute)
			b.must(b.Expire(b.t.Context()))
		}, Expired},
		"released on the console": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, nil))
			b.must(b.answer(o, order.Rejected, func(r *order.Result) { r.Kind, r.Cause, r.Detail = order.Release, "code", "wrong-code: 1/5" }))
			if a := b.wantState(id, Verified); a.WrongCodes != 1 {
				b.t.Errorf("%d wrong codes", a.WrongCodes)
			}
			b.must(b.answer(o, order.Released, func(r *order.Result) { r.Cause = "code" }))
		}, Released},
		"an agent whose clock is wrong": {func(b *bench, id string, o order.Order) {
			b.must(b.answer(o, order.Applied, func(r *order.Result) { r.At = b.now().Add(100 * time.Hour) }))
			if a := b.wantState(id, Verified); a.AppliedAt.After(b.now()) {
				b.t.Errorf("applied in the future: %s", a.AppliedAt)
			}
		}, Verified},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			a := b.approved()
			tt.play(b, a.ID, b.fetched(a.ID))
			got := b.wantState(a.ID, tt.want)
			if got.State != Verified && got.State != Applied && got.EndedAt.IsZero() {
				t.Error("an end without a time")
			}
			for _, l := range got.Lines() {
				if l.OccurredAt.IsZero() || l.Unique == "" {
					t.Errorf("line %+v", l)
				}
			}
		})
	}
}

func TestAnswersOfStrangersAreRefused(t *testing.T) {
	b := newBench(t)
	a := b.approved()
	o := b.fetched(a.ID)
	wantFault(t, b.answer(o, order.Applied, func(r *order.Result) { r.Host = "ct" }), fault.Denied, "action.other-host")
	wantFault(t, b.answer(o, order.Applied, func(r *order.Result) { r.Order = "or-x" }), fault.Missing, "action.order-unknown")
	wantFault(t, b.answer(o, order.Applied, func(r *order.Result) { r.Action = "ac-x" }), fault.Missing, "action.unknown")
	wantFault(t, b.answer(o, "exploded", nil), fault.Invalid, "action.phase")
	b.wantState(a.ID, Approved)
	if len(b.orders(order.Isolate)) != 1 {
		t.Error("a refused answer took the order away from the agent")
	}
}

func TestRenewing(t *testing.T) {
	b := newBench(t)
	first := b.approved()
	b.must(b.answer(b.fetched(first.ID), order.Applied, nil))
	b.pass(30 * time.Minute)
	second := b.approved() // another request, another second person
	b.must(b.answer(b.fetched(second.ID), order.Applied, nil))
	if a := b.wantState(first.ID, Released); a.Cause != "renewed" {
		t.Errorf("cause %q", a.Cause)
	}
	b.wantState(second.ID, Verified)
	b.pass(45 * time.Minute) // the first lease would be over
	b.must(b.Expire(t.Context()))
	b.wantState(second.ID, Verified)
}

func TestWhatNobodyDecidesOnEnds(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	a := b.requested()
	pre := b.orders(order.Preserve)[0]
	b.must(b.answer(pre, order.Progress, nil))
	b.pass(quietPreserve + time.Second)
	b.must(b.Expire(ctx))
	if p := b.wantState(pre.Action, Failed); p.Failure != "agent-silent" {
		t.Errorf("failure %q", p.Failure)
	}
	b.wantState(a.ID, Requested)
	b.pass(waitForPerson)
	b.must(b.Expire(ctx))
	b.wantState(a.ID, Expired)
	b.must(b.Expire(ctx))
	if _, err := b.Approve(ctx, a.ID, suzuki); fault.Of(err) != fault.Conflict {
		t.Errorf("an expired request was approved: %v", err)
	}
}

func TestPages(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for i := range 5 {
		b.pass(time.Second)
		_, err := b.Request(ctx, NewRequest{Kind: Preserve, Incident: fmt.Sprint("in-", i%2), Host: "pc", Reason: "r"}, tanaka)
		b.must(err)
		for _, o := range b.orders(order.Preserve) { // else the next request means the same collection
			b.must(b.answer(o, order.Done, nil))
		}
	}
	page, n, err := b.List(ctx, Filter{Limit: 2, Offset: 1})
	b.must(err)
	if n != 5 || len(page) != 2 || !page[0].RequestedAt.After(page[1].RequestedAt) {
		t.Errorf("page of %d in %d", len(page), n)
	}
	if _, n, _ := b.List(ctx, Filter{Incident: "in-0"}); n != 3 {
		t.Errorf("%d of the incident, want 3", n)
	}
	if _, n, _ := b.List(ctx, Filter{Site: "hospital"}); n != 0 {
		t.Errorf("%d of another site", n)
	}
}

// The incident orders evidence when it opens; a person who presses the button
// at that moment must not get a second bag. Later a new collection may show
// what changed, so then there is one.
func TestPressingTheButtonWhileEvidenceIsCollectedGivesNoSecondBag(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	q := NewRequest{Kind: Preserve, Incident: "in-1", Host: "pc", Reason: "r"}
	b.must(b.PreserveFirst(ctx, q, tanaka))
	o := b.orders(order.Preserve)[0]
	for _, step := range []func(){func() {}, func() { b.must(b.answer(o, order.Progress, nil)) }} {
		step()
		b.pass(time.Second)
		a, err := b.Request(ctx, q, suzuki)
		b.must(err)
		if a.ID != o.Action || a.Bag != o.Bag {
			t.Fatalf("a second collection %s with bag %s", a.ID, a.Bag)
		}
	}
	b.must(b.answer(o, order.Done, nil))
	b.pass(time.Second)
	if a, err := b.Request(ctx, q, suzuki); err != nil || a.ID == o.Action {
		t.Errorf("no new collection after the first was done: %s, %v", a.ID, err)
	}
}

// A drill must never cut off a machine in use.
func TestDrillAndRealAreNotMixed(t *testing.T) {
	b := newBench(t)
	for _, q := range []NewRequest{
		{Kind: Isolate, Incident: "in-1", Host: "pc", Reason: "r", Forbidden: forbidden, Drill: true},
		{Kind: Preserve, Incident: "in-1", Host: "pc", Reason: "r", Drill: true},
		{Kind: Isolate, Incident: "in-1", Host: "dr", Reason: "r", Forbidden: forbidden},
	} {
		_, err := b.Request(t.Context(), q, tanaka)
		wantFault(t, err, fault.Conflict, "action.drill-mixed")
	}
	if _, err := b.Request(t.Context(), NewRequest{Kind: Preserve, Incident: "in-1", Host: "dr", Reason: "r", Drill: true}, tanaka); err != nil {
		t.Error(err)
	}
}

// A machine whose clock is wrong is isolated for the whole lease all the same;
// the hub must not say that it is over.
func TestWrongClockOfTheMachineDoesNotShortenTheLease(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"behind": -3 * time.Hour, "ahead": 26 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			a := b.requested()
			b.pass(2 * time.Hour) // nobody was there to approve
			_, err := b.Approve(t.Context(), a.ID, suzuki)
			b.must(err)
			b.pass(time.Second)
			b.must(b.answer(b.fetched(a.ID), order.Applied, func(r *order.Result) { r.At = b.now().Add(wrong) }))
			b.pass(59 * time.Minute)
			b.must(b.Expire(t.Context()))
			b.wantState(a.ID, Verified)
			b.pass(2 * time.Minute)
			b.must(b.Expire(t.Context()))
			b.wantState(a.ID, Expired)
		})
	}
}

func TestAnswersToOneActionAreBounded(t *testing.T) {
	b := newBench(t)
	a := b.approved()
	o := b.fetched(a.ID)
	b.must(b.answer(o, order.Applied, nil))
	wrong := func(n int) error {
		return b.answer(o, order.Rejected, func(r *order.Result) {
			r.Kind, r.Cause, r.Detail = order.Release, "code", fmt.Sprint("wrong-code ", n)
		})
	}
	err := b.db.Tx(t.Context(), func(tx *state.Tx) error { // as if it had gone on for long
		for n := range maxAnswers {
			if _, err := tx.ExecContext(t.Context(), `INSERT INTO action_answer (digest, action, at, body) VALUES ($1, $2, 0, '{}')`, fmt.Sprint(n), a.ID); err != nil {
				return err
			}
		}
		return nil
	})
	b.must(err)
	wantFault(t, wrong(1), fault.Conflict, "action.too-many-answers")
}

// Every change of a decision or an order is named.
func TestVerifyNamesChangedDecisionsAndOrders(t *testing.T) {
	for change, want := range map[string]string{
		`SELECT 1`: "",
		`UPDATE action_decision SET body = REPLACE(body, 'pe-2', 'pe-9')`: "changed",
		`UPDATE action_decision SET no = 7 WHERE no = 2`:                  "missing",
		`DELETE FROM action_decision WHERE no = 2`:                        "missing",
		`DELETE FROM action_order`:                                        "missing",
		`UPDATE action_order SET host = 'ct'`:                             "unreadable",
		`UPDATE action_order SET expires_at = expires_at + 1`:             "unreadable",
		`INSERT INTO action_decision SELECT action, 99, REPLACE(body, '"no":2', '"no":99') FROM action_decision WHERE no = 2`: "not-in-ledger",
	} {
		t.Run(change, func(t *testing.T) {
			b := newBench(t)
			b.approved()
			none := func(string) []leaf.Leaf { return nil } // all leaves still wait in the outbox
			err := b.db.Tx(t.Context(), func(tx *state.Tx) error { _, err := tx.ExecContext(t.Context(), change); return err })
			b.must(err)
			found, err := VerifyRows(t.Context(), b.db, none)
			b.must(err)
			if want == "" && len(found) != 0 || want != "" && !strings.Contains(fmt.Sprint(found), want) {
				t.Errorf("found %v, want %q", found, want)
			}
		})
	}
}

func TestCollectionIsCancelled(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	a, err := b.Request(ctx, NewRequest{Kind: Preserve, Incident: "in-1", Host: "pc", Reason: "r", PID: 77, Start: 1234, Image: "/tmp/evil", Also: []string{order.WholeMemory}}, tanaka)
	b.must(err)
	o := b.orders(order.Preserve)[0]
	if o.PID != 77 || o.Start != 1234 || o.Image != "/tmp/evil" || !o.Wants(order.WholeMemory) || o.Wants(order.Snapshot) {
		t.Errorf("order %+v", o)
	}
	b.must(b.answer(o, order.Progress, nil))
	wantFault(t, b.Cancel(ctx, a.ID, "不要", boss), fault.Denied, "action.not-releaser")
	wantFault(t, b.Cancel(ctx, a.ID, "", tanaka), fault.Invalid, "action.reason")
	b.must(b.Cancel(ctx, a.ID, "業務を優先する", tanaka))
	got := b.wantState(a.ID, Failed)
	if got.Cause != Cancelled || got.ReleasedBy != tanaka.ID || got.Active() {
		t.Errorf("%+v", got)
	}
	if c := b.orders(order.Cancel); len(c) != 1 || c[0].Action != a.ID || len(b.orders(order.Preserve)) != 0 {
		t.Errorf("orders %+v", c)
	}
	b.must(b.answer(o, order.Done, nil)) // it was faster than the order
	b.must(b.answer(b.orders(order.Cancel)[0], order.Done, func(r *order.Result) { r.Kind = order.Cancel }))
	b.wantState(a.ID, Failed)
	wantFault(t, b.Cancel(ctx, a.ID, "もう一度", tanaka), fault.Conflict, "action.not-collecting")
	var keys []string
	for _, l := range got.Lines() {
		keys = append(keys, l.Key)
	}
	if want := []string{"action.requested.preserve", "action.applied.preserve", "action.cancelled.preserve"}; !slices.Equal(keys, want) {
		t.Errorf("lines %v", keys)
	}
	_, err = b.Request(ctx, NewRequest{Kind: Preserve, Incident: "in-1", Host: "pc", Reason: "r", Also: []string{"everything"}}, tanaka)
	wantFault(t, err, fault.Invalid, "action.kind")
}

// TestASecondProcessIsCollectedToo: the button pressed twice means one
// collection, another process or more of the machine means another one.
func TestASecondProcessIsCollectedToo(t *testing.T) {
	b := newBench(t)
	q := NewRequest{Kind: Preserve, Incident: "in-1", Host: "pc", Reason: "r", PID: 77}
	var ids []string
	for _, f := range []func(*NewRequest){func(*NewRequest) {}, func(q *NewRequest) { q.PID = 0 }, func(q *NewRequest) { q.PID = 78 }, func(q *NewRequest) { q.Also = []string{order.Snapshot} }} {
		p := q
		f(&p)
		a, err := b.Request(t.Context(), p, tanaka)
		b.must(err)
		ids = append(ids, a.ID)
		b.pass(time.Second)
	}
	if ids[0] != ids[1] || ids[2] == ids[0] || ids[3] == ids[0] || ids[3] == ids[2] {
		t.Errorf("actions %v", ids)
	}
}
