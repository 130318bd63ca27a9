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

// Shut keeps them out for at most left; the kernel ends it then. What was shut
// about the same subject is replaced.
func (c Clients) Shut(subject string, left time.Duration) error {
	return apply(table(subject), c.prior(), left)
}

// AreOut reads the rules back.
func (c Clients) AreOut(subject string) (bool, error) { return holds(table(subject), c.prior()) }

// LetIn takes the rules about a subject out; none being there is a success.
func LetIn(subject string) error { return remove(table(subject)) }

// AreIn says that there are no rules about a subject.
func AreIn(subject string) (bool, error) {
	there, err := present(table(subject))
	return err == nil && !there, err
}

// Usable says whether an address is that of one other machine: no loopback, no
// group of machines.
func Usable(a netip.Addr) bool { return usable(a) }
