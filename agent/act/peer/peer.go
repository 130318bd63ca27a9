// Package peer lets this machine speak with some peers no more, while
// everything else goes on.
//
// In: orders to block addresses, addresses with a port, or names. Out: rules in
// the kernel. Always true: the hub, this machine itself, its way out and its
// name servers are never blocked; the rules are elements of an nftables set
// that time out, so that the kernel ends the block also when this program is
// gone; both directions and both address families are closed in one step, for
// connections that run as well as for new ones.
package peer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/clock"
)

// Reasons for refusing an order: stable words.
const (
	badTarget   = "target-unusable"
	ownTarget   = "target-is-own"
	hubTarget   = "target-is-hub"
	hubUnknown  = "hub-unknown"
	nameUnknown = "name-unknown"
)

// Limits.
const (
	maxTargets = 64
	maxOfName  = 32 // addresses of one name
	dialTime   = 700 * time.Millisecond
)

// Means blocks peers.
type Means struct {
	Hub func() netip.AddrPort // address at which the agent reaches the hub now; zero when it does not
	Own func() []netip.Addr   // what this machine needs: its addresses, routers and name servers
	// Named returns the addresses at which connections of this machine asked for
	// a name lately, newest first. A name that none asked for cannot be blocked:
	// the kernel does not see names. Nil where no sensor runs.
	Named func(name string) []netip.Addr
	Now   clock.Now
}

// prior is what an order means in addresses: a name is looked up once, so that
// what is undone is what was done.
type prior struct {
	Addrs []netip.Addr     `json:"addrs,omitempty"`
	Ports []netip.AddrPort `json:"ports,omitempty"`
	// Served are peers with a port of this machine that they do not reach.
	Served []netip.AddrPort `json:"served,omitempty"`
}

// MayCutHub says that the hub is asked afterwards.
func (Means) MayCutHub() {}

// Kinds are those of blocking peers.
func (Means) Kinds() (apply, undo order.Kind) { return order.BlockPeer, order.UnblockPeer }

// Subject is the action: two may block the same peer, and each ends by itself.
func (Means) Subject(o order.Order) string { return o.Action }

// Precheck reads the targets and refuses those that must stay.
func (m Means) Precheck(_ context.Context, o order.Order) (any, error) {
	if len(o.Targets) == 0 || len(o.Targets) > maxTargets {
		return nil, fmt.Errorf("%s: %d", badTarget, len(o.Targets))
	}
	hub := m.Hub().Addr().Unmap().WithZone("")
	if !hub.IsValid() { // it could be among the targets
		return nil, errors.New(hubUnknown)
	}
	var p prior
	for _, t := range o.Targets {
		if err := m.read(&p, t); err != nil {
			return nil, err
		}
	}
	own := m.Own()
	for _, a := range p.all() {
		switch {
		case !usable(a):
			return nil, fmt.Errorf("%s: %s", badTarget, a)
		case a == hub:
			return nil, fmt.Errorf("%s: %s", hubTarget, a)
		case slices.Contains(own, a):
			return nil, fmt.Errorf("%s: %s", ownTarget, a)
		}
	}
	return p, nil
}

// read takes up one target.
func (m Means) read(p *prior, target string) error {
	if a, err := netip.ParseAddr(target); err == nil {
		p.Addrs = append(p.Addrs, a.Unmap())
		return nil
	}
	if ap, err := netip.ParseAddrPort(target); err == nil && ap.Port() != 0 {
		p.Ports = append(p.Ports, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
		return nil
	}
	if !isName(target) {
		return fmt.Errorf("%s: %s", badTarget, target)
	}
	var found []netip.Addr
	if m.Named != nil {
		found = m.Named(strings.ToLower(strings.TrimSuffix(target, ".")))
	}
	if len(found) == 0 {
		return fmt.Errorf("%s: %s", nameUnknown, target)
	}
	for _, a := range found[:min(len(found), maxOfName)] {
		p.Addrs = append(p.Addrs, a.Unmap())
	}
	return nil
}

// isName says whether a target may be the name of a machine.
func isName(s string) bool {
	return len(s) <= 253 && strings.Contains(s, ".") && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// usable says whether an address is one machine's.
func usable(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
		!a.IsLinkLocalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// all are the addresses that are touched.
func (p prior) all() []netip.Addr {
	out := slices.Clone(p.Addrs)
	for _, ap := range p.Ports {
		out = append(out, ap.Addr())
	}
	return out
}

func (p prior) String() string {
	var out []string
	for _, a := range p.Addrs {
		out = append(out, a.String())
	}
	for _, ap := range p.Ports {
		out = append(out, ap.String())
	}
	return strings.Join(out, " ")
}

// table is the name of the rules of an action: each has its own, so that the
// end of one changes nothing of another.
func table(action string) string {
	sum := sha256.Sum256([]byte(action))
	return "sonae_peer_" + hex.EncodeToString(sum[:6])
}

// Apply puts the rules into the kernel in one step, in the place of those that
// are there.
func (m Means) Apply(_ context.Context, r contain.Row, left time.Duration) error {
	var p prior
	if err := r.Read(&p); err != nil {
		return err
	}
	return apply(table(r.Order.Action), p, left)
}

// Verify reads the rules back, and knocks where there is a port to knock at.
func (m Means) Verify(ctx context.Context, r contain.Row) []order.Check {
	var p prior
	err := r.Read(&p)
	c := order.Check{Name: "block-holds", Target: p.String()}
	var ok bool
	if err == nil {
		ok, err = holds(table(r.Order.Action), p)
	}
	switch {
	case err != nil:
		c.Detail = err.Error()
	case !ok:
		c.Detail = "the kernel does not hold all of it"
	default:
		c.OK, c.Detail = knock(ctx, p.Ports)
	}
	c.At = m.Now().UTC()
	return []order.Check{c}
}

// knock tries all ports at once. Any answer is a leak, a refusal of the
// connection too: its packet came through.
func knock(ctx context.Context, ports []netip.AddrPort) (ok bool, detail string) {
	ctx, stop := context.WithTimeout(ctx, dialTime)
	defer stop()
	answers := make(chan string, len(ports))
	for _, ap := range ports {
		go func() {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", ap.String())
			switch {
			case err == nil:
				_ = c.Close() // it is the connecting that counts
				answers <- ap.String() + " answered"
			case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
				answers <- ap.String() + " refused the connection: packets still pass"
			default:
				answers <- ""
			}
		}()
	}
	for range ports {
		if a := <-answers; a != "" && detail == "" {
			detail = a
		}
	}
	if detail != "" {
		return false, detail
	}
	return true, fmt.Sprintf("rules are in force; %d ports tried, none answers", len(ports))
}

// Undo takes the rules out.
func (m Means) Undo(_ context.Context, r contain.Row) error { return remove(table(r.Order.Action)) }

// Undone looks whether the rules are out.
func (m Means) Undone(_ context.Context, r contain.Row) []order.Check {
	c := order.Check{Name: "block-gone", Target: strings.Join(r.Order.Targets, " "), At: m.Now().UTC()}
	there, err := present(table(r.Order.Action))
	c.OK = err == nil && !there
	if err != nil {
		c.Detail = err.Error()
	}
	return []order.Check{c}
}

// State compares the rules with what they should be.
func (m Means) State(_ context.Context, r contain.Row) (contain.State, error) {
	var p prior
	if err := r.Read(&p); err != nil {
		return contain.Holds, err
	}
	if r.Left(m.Now()) < time.Second { // the kernel may have ended it by now
		return contain.Holds, nil
	}
	ok, err := holds(table(r.Order.Action), p)
	if err != nil || ok {
		return contain.Holds, err
	}
	return contain.Lost, nil
}
