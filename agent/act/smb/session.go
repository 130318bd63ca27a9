// Package smb keeps clients of this machine's Samba out: one client of all
// shares, or all clients of one share.
//
// In: orders that name addresses of clients, or a share. Out: their sessions
// ended and their packets to the ports of Samba dropped; or the share closed in
// a file that smb.conf includes. Always true: smb.conf itself is never written
// to; the rest of the shares and of the clients go on; what a client has open
// is closed by the smbd that served it, so that no lock stays; the kernel ends
// the block of a client by itself at the end of its time.
package smb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/act/peer"
	"github.com/sonae/sonae/agent/samba"
	"github.com/sonae/sonae/clock"
)

// Reasons for refusing an order: stable words.
const (
	badTarget   = "target-unusable"
	ownTarget   = "target-is-own"
	noSamba     = "samba-missing"
	unknown     = "share-unknown"
	closed      = "share-is-closed"
	notIncluded = "share-file-not-included"
)

// Limits.
const (
	maxTargets = 32
	endTime    = 10 * time.Second // a client whose disk is slow takes that long to be gone
	lookAgain  = 50 * time.Millisecond
)

// Sessions ends the sessions of clients and keeps them out.
type Sessions struct {
	Samba samba.Server
	Own   func() []netip.Addr // what this machine is and needs; they are never kept out
	Now   clock.Now
}

// Kinds are those of dropping and admitting clients.
func (Sessions) Kinds() (apply, undo order.Kind) { return order.DropSession, order.AdmitClient }

// Subject is who is kept out. The rules in the kernel go by it, so that an
// action that takes the place of another takes over its rules.
func (Sessions) Subject(o order.Order) string {
	all := slices.Clone(o.Targets)
	slices.Sort(all)
	return "smb " + strings.Join(slices.Compact(all), " ")
}

// Precheck reads the addresses and asks Samba at which ports it listens.
func (m Sessions) Precheck(ctx context.Context, o order.Order) (any, error) {
	if len(o.Targets) == 0 || len(o.Targets) > maxTargets {
		return nil, fmt.Errorf("%s: %d", badTarget, len(o.Targets))
	}
	var c peer.Clients
	own := m.Own()
	for _, t := range o.Targets {
		a, err := netip.ParseAddr(t)
		if err != nil || !peer.Usable(a.Unmap()) {
			return nil, fmt.Errorf("%s: %s", badTarget, t)
		}
		if slices.Contains(own, a.Unmap()) {
			return nil, fmt.Errorf("%s: %s", ownTarget, t)
		}
		c.Addrs = append(c.Addrs, a.Unmap())
	}
	var err error
	if c.Ports, err = m.Samba.Ports(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", noSamba, err)
	}
	return c, nil
}

// Apply ends what the clients have open, so that they learn of it, keeps them
// out, and ends what they opened in between.
func (m Sessions) Apply(ctx context.Context, r contain.Row, left time.Duration) error {
	var c peer.Clients
	if err := r.Read(&c); err != nil {
		return err
	}
	first := m.end(ctx, c) // a client that is kept out does harm no more, whatever is said of its sessions
	if err := c.Shut(m.Subject(r.Order), left); err != nil {
		return errors.Join(first, err)
	}
	return m.end(ctx, c)
}

func (m Sessions) end(ctx context.Context, c peer.Clients) error {
	all, err := m.of(ctx, c)
	for _, s := range all {
		err = errors.Join(err, samba.End(s.PID))
	}
	return err
}

// of lists the sessions of some clients.
func (m Sessions) of(ctx context.Context, c peer.Clients) ([]samba.Session, error) {
	all, err := m.Samba.Sessions(ctx)
	return slices.DeleteFunc(all, func(s samba.Session) bool { return !slices.Contains(c.Addrs, s.Client) }), err
}

// Verify reads the rules back, and waits until Samba knows none of the sessions.
func (m Sessions) Verify(ctx context.Context, r contain.Row) []order.Check {
	out, gone := m.check("client-kept-out", r), m.check("session-dropped", r)
	var c peer.Clients
	err := r.Read(&c)
	if err == nil {
		out.OK, err = c.AreOut(m.Subject(r.Order))
	}
	if err != nil {
		out.Detail, gone.Detail = err.Error(), err.Error()
		return []order.Check{out, gone}
	}
	gone.OK, gone.Detail = wait(ctx, func() (bool, string) {
		all, err := m.of(ctx, c)
		if err != nil {
			return false, err.Error()
		}
		return len(all) == 0, fmt.Sprintf("%d sessions", len(all))
	})
	return []order.Check{out, gone}
}

// wait looks until it is so, or time is up.
func wait(ctx context.Context, so func() (bool, string)) (ok bool, detail string) {
	for end := time.Now().Add(endTime); ; {
		ok, detail = so()
		if ok || time.Now().After(end) {
			return ok, detail
		}
		select {
		case <-ctx.Done():
			return ok, detail
		case <-time.After(lookAgain):
		}
	}
}

// Undo lets them in again. They open what they need by themselves.
func (m Sessions) Undo(_ context.Context, r contain.Row) error { return peer.LetIn(m.Subject(r.Order)) }

// Undone looks whether the rules are out.
func (m Sessions) Undone(_ context.Context, r contain.Row) []order.Check {
	c := m.check("client-admitted", r)
	ok, err := peer.AreIn(m.Subject(r.Order))
	c.OK = ok
	if err != nil {
		c.Detail = err.Error()
	}
	return []order.Check{c}
}

// State compares the rules with what they should be.
func (m Sessions) State(_ context.Context, r contain.Row) (contain.State, error) {
	var c peer.Clients
	if err := r.Read(&c); err != nil {
		return contain.Holds, err
	}
	if r.Left(m.Now()) < time.Second { // the kernel may have ended it by now
		return contain.Holds, nil
	}
	ok, err := c.AreOut(m.Subject(r.Order))
	if err != nil || ok {
		return contain.Holds, err
	}
	return contain.Lost, nil
}

func (m Sessions) check(name string, r contain.Row) order.Check {
	return order.Check{Name: name, Target: strings.Join(r.Order.Targets, " "), At: m.Now().UTC()}
}
