package agent

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// ownAddresses lists the addresses of this machine's interfaces, those that
// mean something only on the machine itself when all is set.
func ownAddresses(all bool) []netip.Addr {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil // no permission to look: the machine has no address that is known
	}
	var out []netip.Addr
	for _, f := range found {
		n, ok := f.(*net.IPNet)
		if !ok {
			continue
		}
		a, ok := netip.AddrFromSlice(n.IP)
		if a = a.Unmap(); !ok || (!all && (a.IsLoopback() || a.IsLinkLocalUnicast())) {
			continue
		}
		out = append(out, a)
	}
	return out
}

// Addresses lists the addresses at which other machines reach this one.
func Addresses() []string {
	out := []string{}
	for _, a := range ownAddresses(false) {
		out = append(out, a.String())
	}
	return out
}

// pause waits and says whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
