// Package filter turns expressions in the language of tcpdump into programs of
// the Berkeley packet filter (McCanne and Jacobson, USENIX 1993).
//
// In: a text such as "tcp port 80 and not net 10.0.0.0/8". Out: a program for
// frames of one link type, or for a packet socket of Linux. Always true: on
// whole packets a program decides as the one that tcpdump makes of the same
// text; what is not in the subset below is refused with the place, never
// guessed; the package does no input or output.
//
//	expression  term, then any number of "and" or "or" and a term; both bind
//	            equally and from left to right, as in tcpdump
//	term        ["not"] ( primitive | "(" expression ")" )
//	primitive   [ip|ip6|arp] [src|dst] [host] ADDRESS
//	            [ip|ip6|arp] [src|dst] net NETWORK        10.0.0.0/8, 10.1, 2001:db8::/32
//	            [tcp|udp|sctp] [src|dst] port NUMBER
//	            [tcp|udp|sctp] [src|dst] portrange NUMBER-NUMBER
//	            ip | ip6 | arp | tcp | udp | sctp | icmp | icmp6
//	            vlan [ID]      what stands behind it looks behind the tag
//
// "&&", "||" and "!" may be written for the words, and after "and" and "or" a
// bare value takes the words before it: "port 80 or 443". There are no names
// of hosts and services.
package filter

import (
	"fmt"

	"golang.org/x/net/bpf"

	"github.com/sonae/sonae/flow"
)

// An Error is what is wrong with an expression.
type Error struct {
	Pos  int    // of the first character that could not be used, counted in bytes from 1
	What string // is wrong
}

// Error says what and where.
func (e *Error) Error() string { return fmt.Sprintf("filter: character %d: %s", e.Pos, e.What) }

// Filter is an expression that was understood. It does not change, so it is
// safe for concurrent use.
type Filter struct{ root node }

// Bounds of an expression.
const (
	maxText  = 8 << 10
	maxDepth = 100
	// maxProgram leaves room within what the kernel takes (BPF_MAXINSNS, 4096).
	maxProgram = 3800
)

// Accept is what a program returns for a packet that is wanted: all of it.
const Accept = 256 << 10

// Live returns the program for a packet socket of Linux. The kernel has taken
// the outer VLAN tag out of a frame by then, so that "host A" also finds A
// inside of a VLAN, as with tcpdump on a live interface.
func (f *Filter) Live() ([]bpf.Instruction, error) { return assemble(f.root, live{}) }

// Program returns the program for frames of a link type as they stand in
// files. It runs in bpf.VM.
func (f *Filter) Program(link flow.LinkType) ([]bpf.Instruction, error) {
	switch link {
	case flow.LinkEthernet:
		return assemble(f.root, file{head: 14, kind: 12, vlans: true})
	case flow.LinkLinuxSLL:
		return assemble(f.root, file{head: 16, kind: 14})
	case flow.LinkLinuxSLL2:
		return assemble(f.root, file{head: 20, kind: 0})
	case flow.LinkRaw, flow.LinkRaw12, flow.LinkRaw14:
		return assemble(f.root, file{bare: true})
	}
	return nil, fmt.Errorf("filter: frames of link type %d cannot be filtered", link)
}

// Matcher applies a Filter to frames of any link type. It is not safe for
// concurrent use.
type Matcher struct {
	f   *Filter
	vms map[flow.LinkType]*bpf.VM
}

// NewMatcher returns a Matcher of f.
func NewMatcher(f *Filter) *Matcher { return &Matcher{f: f, vms: map[flow.LinkType]*bpf.VM{}} }

// Match says whether a frame is wanted. An error means that no frame of the
// link type can be filtered.
func (m *Matcher) Match(link flow.LinkType, frame []byte) (bool, error) {
	vm := m.vms[link]
	if vm == nil {
		program, err := m.f.Program(link)
		if err != nil {
			return false, err
		}
		if vm, err = bpf.NewVM(program); err != nil {
			return false, fmt.Errorf("filter: %w", err)
		}
		m.vms[link] = vm
	}
	n, err := vm.Run(frame)
	return n > 0, err
}
