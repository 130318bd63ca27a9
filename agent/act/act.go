// Package act carries out containment on this machine: it cuts it off from
// everything but the hub, for the time of a lease, and undoes that.
//
// In: orders that were opened (signature, address, time) before, release codes
// typed on the console. Out: order.Result. Always true: an order that would
// cut the hub off is rejected; when the hub does not answer right after
// isolating, the isolation is undone; the kernel itself ends the isolation at
// the end of the lease, also when this program is gone; an order is carried
// out at most once, and asking again gives the same answer.
//
// Everything that must be remembered is in one file, taken under a lock for
// each operation, so that `release` on the console works beside the running
// agent and a killed agent goes on where it was.
package act

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
)

// Errors of Release.
var (
	ErrNotIsolated = errors.New("act: no isolation is in force")
	ErrWrongCode   = errors.New("act: this is not the release code")
	ErrTooMany     = errors.New("act: too many wrong codes; wait ten minutes")
)

// Reasons in Result.Detail: a stable word, then ": " and the particulars.
const (
	keepLacksHub   = "keep-lacks-hub"
	keepUnreadable = "keep-unreadable"
	hubUnknown     = "hub-unknown"
	hubLost        = "hub-lost"
	badLease       = "lease-invalid"
	expired        = "expired"
	notApplied     = "not-applied"
	notRemembered  = "state-not-written"
	wrongKind      = "kind-unknown"
	putBack        = "put-back"
	wrongCode      = "wrong-code"
)

// Limits.
const (
	maxLease     = 7 * 24 * time.Hour
	probeTime    = time.Second            // in which the hub must have answered
	probeTry     = 450 * time.Millisecond // for one heartbeat
	forbidTime   = 700 * time.Millisecond
	watchEvery   = 500 * time.Millisecond
	maxDone      = 64 // orders remembered
	wrongAllowed = 5  // wrong codes …
	wrongWindow  = 10 * time.Minute
)

// Config is what an Actor needs.
type Config struct {
	Dir   string                      // where the state is kept, 0700
	Hub   func() netip.AddrPort       // address at which the agent reaches the hub now; zero when it does not
	Probe func(context.Context) error // one real heartbeat
	Now   clock.Now
	Log   *slog.Logger
}

// Actor carries out orders. It is safe for concurrent use, also by several
// processes on the same directory.
type Actor struct {
	cfg   Config
	mu    sync.Mutex
	fence fence
}

// New returns the Actor whose state is in cfg.Dir. Call Resume before Run.
func New(cfg Config) *Actor {
	return &Actor{cfg: cfg, fence: fence{log: cfg.Log}}
}

// Do carries out an order and returns the answer for the hub. It takes at most
// about two seconds. The order must have been opened with order.Open.
func (a *Actor) Do(ctx context.Context, o order.Order) order.Result {
	r := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Host: o.Host}
	err := a.with(func(m *memory) error {
		if old, ok := m.answered(o.ID); ok {
			r = old
			return errNoChange
		}
		switch o.Kind {
		case order.Isolate:
			r = a.isolate(ctx, m, o, r)
		case order.Release:
			r = a.releaseBy(m, o, r)
		default:
			r.Phase, r.Detail, r.At = order.Rejected, wrongKind+": "+string(o.Kind), a.cfg.Now().UTC()
		}
		m.remember(o, r)
		return nil
	})
	if err != nil {
		a.cfg.Log.Error("action state", "err", err)
		r.Phase, r.Detail, r.At = order.Failed, notRemembered+": "+err.Error(), a.cfg.Now().UTC()
	}
	return r
}

// Status says which action is in force and until when; it waits for nothing.
func (a *Actor) Status() (action string, until time.Time, isolated bool) {
	m, err := a.load()
	if err != nil || m.InForce == nil {
		return "", time.Time{}, false
	}
	return m.InForce.Action, m.InForce.EndsAt, true
}

// Dropped returns what the isolation in force has dropped so far.
func (a *Actor) Dropped() (packets, bytes uint64, err error) { return a.fence.dropped() }

// keepSet reads the addresses that stay open and makes sure that hub is one
// of them: an order that would cut the agent off from its hub could never be
// taken back by the hub.
func keepSet(keep []string, hub netip.AddrPort) ([]netip.AddrPort, error) {
	if !hub.IsValid() {
		return nil, errors.New(hubUnknown)
	}
	hub = plain(hub)
	var out []netip.AddrPort
	found := false
	for _, k := range keep {
		ap, err := netip.ParseAddrPort(k)
		if err != nil || ap.Port() == 0 || ap.Addr().IsUnspecified() {
			return nil, fmt.Errorf("%s: %s", keepUnreadable, k)
		}
		ap = plain(ap)
		out = append(out, ap)
		found = found || ap == hub
	}
	if !found {
		return nil, fmt.Errorf("%s: %s", keepLacksHub, hub)
	}
	return out, nil
}

// plain drops what does not matter for comparing: IPv4 in IPv6, and the zone.
func plain(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
