package act

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/sonae/sonae/action/order"
)

// checkForbidden tries to reach the address that must not answer. Any answer
// is a leak, a refusal of the connection too: its packet came through.
func (a *Actor) checkForbidden(ctx context.Context, target string) order.Check {
	c := order.Check{Name: "forbidden-blocked", Target: target}
	if _, err := netip.ParseAddrPort(target); err != nil {
		c.Detail, c.At = "not an address: nothing was tried", a.cfg.Now().UTC()
		return c
	}
	ctx, stop := context.WithTimeout(ctx, forbidTime)
	defer stop()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", target)
	c.At = a.cfg.Now().UTC()
	switch {
	case err == nil:
		_ = conn.Close() // it is the connecting that counts
		c.Detail = "it answered"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		c.Detail = "it refused the connection: packets still pass"
	default:
		c.OK, c.Detail = true, fmt.Sprintf("no answer within %d ms", forbidTime.Milliseconds())
	}
	return c
}
