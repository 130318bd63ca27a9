// Package gateway blocks other machines on this one, which forwards their
// packets as a router or an inline bridge.
//
// In: orders that were opened (signature, address, time) before. Out:
// order.Result. Always true: an order that would block the hub, this machine
// itself, its way out or its name servers is rejected; a block is an element
// of an nftables set that times out, so that the kernel ends it also when this
// program is gone; connections that pass already are stopped as well as new
// ones; an order is carried out at most once, and asking again gives the same
// answer.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/lease"
	"github.com/sonae/sonae/clock"
)

// Reasons in Result.Detail: a stable word, then ": " and the particulars.
const (
	badLease      = "lease-invalid"
	expired       = "expired"
	badTarget     = "target-unusable"
	ownTarget     = "target-is-own"
	hubTarget     = "target-is-hub"
	hubUnknown    = "hub-unknown"
	hubLost       = "hub-lost"
	notApplied    = "not-applied"
	notRemembered = "state-not-written"
	wrongKind     = "kind-unknown"
	tooMany       = "too-many-blocks"
	putBack       = "put-back"
)

// Limits.
const (
	maxLease   = 7 * 24 * time.Hour
	maxTargets = 64
	maxBlocks  = 1024 // in force at once
	maxDone    = 256  // orders remembered
	watchEvery = 500 * time.Millisecond
	probeTime  = time.Second
	settle     = 50 * time.Millisecond  // packets that were past our rules when the block came
	watchTime  = 450 * time.Millisecond // in which nothing may pass
)

// Config is what a Gateway needs.
type Config struct {
	Dir   string                      // where the state is kept, 0700
	Hub   func() netip.AddrPort       // address at which the agent reaches the hub now; zero when it does not
	Own   func() []netip.Addr         // what this machine needs: its addresses, routers and name servers
	Probe func(context.Context) error // one real heartbeat
	Now   clock.Now
	Log   *slog.Logger
}

// Gateway carries out orders to block. It is safe for concurrent use; one
// process works on a directory.
type Gateway struct {
	cfg   Config
	mu    sync.Mutex
	rules rules
}

// New returns the Gateway whose state is in cfg.Dir. Call Resume before Run.
func New(cfg Config) *Gateway { return &Gateway{cfg: cfg, rules: rules{log: cfg.Log}} }

// block is what is in force.
type block struct {
	Order   string   `json:"order"`
	Action  string   `json:"action"`
	Host    string   `json:"host"`
	Targets []string `json:"targets"`
	Keep    []string `json:"keep"`
	lease.Lease
	Checks []order.Check `json:"checks"`
}

func (b block) result(p order.Phase, at time.Time) order.Result {
	return order.Result{Order: b.Order, Action: b.Action, Kind: order.Block, Host: b.Host, Phase: p, At: at.UTC()}
}

// Do carries out an order and returns the answer for the hub. Packets stop
// within milliseconds; the answer takes up to about two seconds, because it
// says whether anything passed afterwards.
func (g *Gateway) Do(ctx context.Context, o order.Order) order.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Host: o.Host}
	m, err := g.load()
	if err != nil {
		return g.ended(r, order.Failed, notRemembered+": "+err.Error())
	}
	if old, ok := m.answered(o.ID); ok {
		return old
	}
	switch o.Kind {
	case order.Block:
		r = g.block(ctx, &m, o, r)
	case order.Unblock:
		r = g.unblock(&m, o, r)
	default:
		r = g.ended(r, order.Rejected, wrongKind+": "+string(o.Kind))
	}
	m.remember(r)
	if err := g.save(m); err != nil {
		g.cfg.Log.Error("state of blocks", "err", err)
	}
	return r
}

func (g *Gateway) ended(r order.Result, p order.Phase, why string) order.Result {
	r.Phase, r.Detail, r.At = p, why, g.cfg.Now().UTC()
	return r
}

// block applies an order. m is written before the kernel is touched, so that a
// restart knows of whatever the kernel may hold.
func (g *Gateway) block(ctx context.Context, m *memory, o order.Order, r order.Result) order.Result {
	if why := g.refusal(m, o); why != "" {
		return g.ended(r, order.Rejected, why)
	}
	b := block{Order: o.ID, Action: o.Action, Host: o.Host, Targets: o.Targets, Keep: o.Keep, Lease: lease.New(o.Lease, g.cfg.Now())}
	before := slices.DeleteFunc(slices.Clone(m.InForce), func(x block) bool {
		if x.Order == o.ID { // killed in the middle: its lease runs already
			b.Lease = x.Lease
		}
		return x.Order == o.ID
	})
	m.InForce = append(slices.Clone(before), b)
	if err := g.save(*m); err != nil {
		m.InForce = before
		return g.ended(r, order.Failed, notRemembered+": "+err.Error())
	}
	if err := g.rules.sync(m.wanted(g.cfg.Now())); err != nil { // all or nothing: what was in force before still is
		m.InForce = before
		g.cfg.Log.Error("block not applied", "action", o.Action, "err", err)
		return g.ended(r, order.Failed, notApplied+": "+err.Error())
	}
	g.rules.forget(addresses(o.Targets))
	g.cfg.Log.Info("blocked", "action", o.Action, "targets", len(o.Targets), "lease", o.Lease)
	return g.verify(ctx, m, r, before)
}

// verify checks both ways. Without the hub the block is undone at once: this
// machine carries the ward's traffic, and nobody could take it back.
func (g *Gateway) verify(ctx context.Context, m *memory, r order.Result, before []block) order.Result {
	b := &m.InForce[len(m.InForce)-1]
	hub := g.prove(ctx, b)
	if hub.OK {
		r.Checks, r.Phase, r.At = b.Checks, order.Applied, b.AppliedAt
		return r
	}
	m.InForce = before
	if err := g.rules.sync(m.wanted(g.cfg.Now())); err != nil {
		g.cfg.Log.Error("block not removed, the lease will end it", "action", b.Action, "err", err)
	}
	g.cfg.Log.Error("block undone: the hub did not answer", "action", r.Action)
	return g.ended(r, order.Failed, hubLost+": "+hub.Detail)
}

// prove checks both ways and returns whether the hub answered; if so, b has its
// checks.
func (g *Gateway) prove(ctx context.Context, b *block) order.Check {
	passed := make(chan order.Check, 1)
	go func() { passed <- g.checkPassed(ctx, b.Targets) }()
	hub := g.checkHub(ctx)
	held := <-passed
	if hub.OK {
		b.Checks = []order.Check{hub, held}
	}
	return hub
}

func (g *Gateway) checkHub(ctx context.Context) order.Check {
	ctx, stop := context.WithTimeout(ctx, probeTime)
	defer stop()
	start := time.Now() // a duration, not a moment
	c := order.Check{Name: "hub-reachable"}
	for tries := 1; ; tries++ {
		err := g.cfg.Probe(ctx)
		c.At, c.Target = g.cfg.Now().UTC(), g.cfg.Hub().String() // known from the first connection on
		if err == nil {
			c.OK, c.Detail = true, fmt.Sprintf("heartbeat after %d ms", time.Since(start).Milliseconds())
			return c
		}
		c.Detail = fmt.Sprintf("%d heartbeats, last: %v", tries, err)
		select {
		case <-ctx.Done():
			return c
		case <-time.After(50 * time.Millisecond): // a refused connection fails at once
		}
	}
}

// checkPassed counts what passes all rules in spite of the block: nothing may.
func (g *Gateway) checkPassed(ctx context.Context, targets []string) order.Check {
	c := order.Check{Name: "block-holds", Target: list(targets)}
	sleep(ctx, settle)
	before, err := g.rules.counters()
	if err == nil {
		sleep(ctx, watchTime)
	}
	after, err2 := g.rules.counters()
	c.At = g.cfg.Now().UTC()
	if err := errors.Join(err, err2); err != nil {
		c.Detail = "counters-unreadable: " + err.Error()
		return c
	}
	passed := after.PassedBytes - before.PassedBytes
	c.OK = passed == 0
	c.Detail = fmt.Sprintf("passed %d bytes, dropped %d bytes", passed, after.DroppedBytes-before.DroppedBytes)
	return c
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// unblock undoes a block because the hub says so. Nothing in force is a
// success.
func (g *Gateway) unblock(m *memory, o order.Order, r order.Result) order.Result {
	r.Phase, r.Cause, r.At = order.Released, "order", g.cfg.Now().UTC()
	before := m.InForce
	m.InForce = without(m.InForce, o.Action)
	if len(m.InForce) == len(before) {
		r.Detail = "nothing of this action was in force"
		return r
	}
	if err := g.rules.sync(m.wanted(g.cfg.Now())); err != nil {
		m.InForce = before
		g.cfg.Log.Error("block not removed", "action", o.Action, "err", err)
		r.Phase, r.Cause, r.Detail = order.Failed, "", notApplied+": "+err.Error()
		return r
	}
	g.cfg.Log.Info("block released by order", "action", o.Action)
	return r
}

// Counters are what the rules counted since they were made.
type Counters struct {
	Dropped, DroppedBytes uint64 // of blocked addresses
	Passed, PassedBytes   uint64 // of blocked addresses, in spite of the block
}

// Counters returns what was dropped, and what passed all the same.
func (g *Gateway) Counters() (Counters, error) { return g.rules.counters() }
