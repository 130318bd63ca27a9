package peer

import (
	"net/netip"
	"time"
)

// Clients are machines that do not reach some TCP ports of this one, for an
// action that has more to do than that. Everything else between them goes on.
type Clients struct {
	Addrs []netip.Addr `json:"addrs"`
	Ports []uint16     `json:"ports"`
}

func (c Clients) prior() (p prior) {
	for _, a := range c.Addrs {
		for _, port := range c.Ports {
			p.Served = append(p.Served, netip.AddrPortFrom(a, port))
		}
	}
	return p
}

// Shut keeps them out for at most left; the kernel ends it then.
func (c Clients) Shut(action string, left time.Duration) error {
	return apply(table(action), c.prior(), left)
}

// AreOut reads the rules back.
func (c Clients) AreOut(action string) (bool, error) { return holds(table(action), c.prior()) }

// LetIn takes the rules of an action out; none being there is a success.
func LetIn(action string) error { return remove(table(action)) }

// AreIn says that an action has no rules.
func AreIn(action string) (bool, error) {
	there, err := present(table(action))
	return err == nil && !there, err
}

// Usable says whether an address is that of one other machine: no loopback, no
// group of machines.
func Usable(a netip.Addr) bool { return usable(a) }
