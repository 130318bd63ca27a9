package agent

import (
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// names remembers at which addresses this machine asked for a name, so that a
// peer can be blocked by its name. It is bounded: what was asked for longest
// ago is forgotten. It is safe for concurrent use.
type names struct {
	mu    sync.Mutex
	all   map[string]*list.Element
	order *list.List // of *asks, the newest first
}

// asks is one name with its addresses, the newest first.
type asks struct {
	name  string
	addrs []netip.Addr
}

// Bounds of names.
const (
	maxNames   = 4096
	maxOfAName = 32
)

func newNames() *names { return &names{all: map[string]*list.Element{}, order: list.New()} }

func (n *names) put(name string, a netip.Addr) {
	name = strings.ToLower(name)
	a = a.Unmap().WithZone("")
	n.mu.Lock()
	defer n.mu.Unlock()
	el := n.all[name]
	if el == nil {
		if len(n.all) >= maxNames {
			delete(n.all, n.order.Remove(n.order.Back()).(*asks).name)
		}
		el = n.order.PushFront(&asks{name: name})
		n.all[name] = el
	}
	n.order.MoveToFront(el)
	k := el.Value.(*asks)
	if i := slices.Index(k.addrs, a); i >= 0 {
		k.addrs = slices.Delete(k.addrs, i, i+1)
	}
	k.addrs = slices.Insert(k.addrs, 0, a)
	k.addrs = k.addrs[:min(len(k.addrs), maxOfAName)]
}

// of returns the addresses of a name, the newest first.
func (n *names) of(name string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if el := n.all[name]; el != nil {
		return slices.Clone(el.Value.(*asks).addrs)
	}
	return nil
}

// Named returns the addresses at which connections of this machine asked for a
// name (of TLS, QUIC or HTTP) since the agent started, the newest first. name
// is in lower case.
func (a *Agent) Named(name string) []netip.Addr { return a.names.of(name) }
