package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/sonae/sonae/action/order"
)

// refusal says why an order must not be carried out, or "".
func (g *Gateway) refusal(m *memory, o order.Order) string {
	now := g.cfg.Now()
	switch {
	case o.Lease <= 0 || o.Lease > maxLease:
		return fmt.Sprintf("%s: %s", badLease, o.Lease)
	case now.After(o.ExpiresAt):
		return expired
	case len(m.InForce) >= maxBlocks:
		return fmt.Sprintf("%s: %d", tooMany, len(m.InForce))
	case len(o.Targets) == 0 || len(o.Targets) > maxTargets:
		return fmt.Sprintf("%s: %d addresses", badTarget, len(o.Targets))
	}
	hub := g.cfg.Hub().Addr().Unmap().WithZone("")
	if !hub.IsValid() { // it could be among the targets, and a leak could not be reported
		return hubUnknown
	}
	own := g.cfg.Own()
	for _, t := range o.Targets {
		if name, ok := order.LineOf(t); ok {
			if _, err := net.InterfaceByName(name); err != nil || name == "lo" {
				return badTarget + ": " + t
			}
			continue
		}
		a, err := netip.ParseAddr(t)
		switch {
		case err != nil || !blockable(a):
			return badTarget + ": " + t
		case a.Unmap() == hub:
			return hubTarget + ": " + t
		case slices.Contains(own, a.Unmap()):
			return ownTarget + ": " + t
		}
	}
	return ""
}

// blockable says whether an address is one machine's.
func blockable(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
		!a.IsLinkLocalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// lines are the interfaces among targets.
func lines(targets []string) []string {
	var out []string
	for _, t := range targets {
		if name, ok := order.LineOf(t); ok {
			out = append(out, name)
		}
	}
	return out
}

// addresses reads targets, which were checked before they were stored.
func addresses(targets []string) []netip.Addr {
	var out []netip.Addr
	for _, t := range targets {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}

func list(targets []string) string { return strings.Join(targets, " ") }
