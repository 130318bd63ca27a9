package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/act/conntrack"
	"github.com/sonae/sonae/agent/act/lease"
)

// family is what differs between IPv4 and IPv6: where the addresses stand in a
// packet, and the register behind an address.
type family struct {
	proto        byte
	length       uint32
	source, dest uint32
	behind       uint32
	addrs, ports *nftables.Set
	served       *nftables.Set // peers with a port of this machine
}

func families(t *nftables.Table) [2]family {
	ports4 := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	ports6 := nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeInetService)
	return [2]family{
		{unix.NFPROTO_IPV4, 4, 12, 16, unix.NFT_REG32_01,
			&nftables.Set{Table: t, Name: "addrs4", KeyType: nftables.TypeIPAddr, HasTimeout: true},
			&nftables.Set{Table: t, Name: "ports4", KeyType: ports4, Concatenation: true, HasTimeout: true},
			&nftables.Set{Table: t, Name: "served4", KeyType: ports4, Concatenation: true, HasTimeout: true}},
		{unix.NFPROTO_IPV6, 16, 8, 24, unix.NFT_REG32_04,
			&nftables.Set{Table: t, Name: "addrs6", KeyType: nftables.TypeIP6Addr, HasTimeout: true},
			&nftables.Set{Table: t, Name: "ports6", KeyType: ports6, Concatenation: true, HasTimeout: true},
			&nftables.Set{Table: t, Name: "served6", KeyType: ports6, Concatenation: true, HasTimeout: true}},
	}
}

func named(name string) *nftables.Table {
	return &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
}

func of(f family, a netip.Addr) bool { return a.Is4() == (f.length == 4) }

func portKey(ap netip.AddrPort) []byte { // parts of a key are as long as registers
	return append(binary.BigEndian.AppendUint16(ap.Addr().AsSlice(), ap.Port()), 0, 0)
}

// elements of the sets of a family.
func (f family) elements(p prior, left time.Duration) (addrs, ports, served []nftables.SetElement) {
	for _, a := range p.Addrs {
		if of(f, a) {
			addrs = append(addrs, nftables.SetElement{Key: a.AsSlice(), Timeout: lease.InKernel(left)})
		}
	}
	keys := func(all []netip.AddrPort) (out []nftables.SetElement) {
		for _, ap := range all {
			if of(f, ap.Addr()) {
				out = append(out, nftables.SetElement{Key: portKey(ap), Timeout: lease.InKernel(left)})
			}
		}
		return out
	}
	return addrs, keys(p.Ports), keys(p.Served)
}

// apply closes for at most left, in one transaction.
func apply(name string, p prior, left time.Duration) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := c.AddTable(named(name)) // so that deleting cannot find nothing
	c.DelTable(t)
	t = c.AddTable(named(name))
	// Before every other filter, NAT and connection tracking: -300 is where "raw" stands.
	policy := nftables.ChainPolicyAccept
	in := c.AddChain(&nftables.Chain{Name: "input", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRaw, Policy: &policy})
	out := c.AddChain(&nftables.Chain{Name: "output", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw, Policy: &policy})
	for _, f := range families(t) {
		addrs, ports, served := f.elements(p, left)
		if err := errors.Join(c.AddSet(f.addrs, addrs), c.AddSet(f.ports, ports), c.AddSet(f.served, served)); err != nil {
			return fmt.Errorf("block sets: %w", err)
		}
		add := func(ch *nftables.Chain, e []expr.Any) { c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: e}) }
		add(in, f.address(f.source))
		add(out, f.address(f.dest))
		for _, l4 := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			add(in, f.port(f.ports, l4, f.source, 0))
			add(out, f.port(f.ports, l4, f.dest, 2))
		}
		add(in, f.port(f.served, unix.IPPROTO_TCP, f.source, 2))
		add(out, f.port(f.served, unix.IPPROTO_TCP, f.dest, 0))
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("apply block rules: %w", err)
	}
	// None of the connections may count as established when the block ends. The
	// packets are dropped anyhow: a kernel that does not track is no failure.
	_, _ = conntrack.Forget(func(f conntrack.Flow) bool { return slices.ContainsFunc(p.Addrs, f.Has) })
	return nil
}

// address drops what has a blocked address at offset.
func (f family) address(offset uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.length},
		&expr.Lookup{SourceRegister: 1, SetName: f.addrs.Name, SetID: f.addrs.ID},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// port drops what has an address at offset and a port at the other that are in
// a set.
func (f family) port(set *nftables.Set, l4 byte, offset, port uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.proto}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{l4}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.length},
		&expr.Payload{DestRegister: f.behind, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// remove takes the rules out; none being there is a success.
func remove(name string) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	c.DelTable(c.AddTable(named(name)))
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove block rules: %w", err)
	}
	return nil
}

func present(name string) (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	all, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("list tables: %w", err)
	}
	return slices.ContainsFunc(all, func(t *nftables.Table) bool { return t.Name == name }), nil
}

// rulesOf is how many rules a chain has: for each family one for addresses, two
// for ports of peers and one for ports of this machine.
const rulesOf = 2 * 4

// holds says whether all rules and all elements are there.
func holds(name string, p prior) (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	t := named(name)
	for _, chain := range []string{"input", "output"} {
		rules, err := c.GetRules(t, &nftables.Chain{Name: chain, Table: t})
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read block rules: %w", err)
		}
		if len(rules) != rulesOf {
			return false, nil
		}
	}
	for _, f := range families(t) {
		addrs, ports, served := f.elements(p, 0)
		for set, want := range map[*nftables.Set][]nftables.SetElement{f.addrs: addrs, f.ports: ports, f.served: served} {
			have, err := c.GetSetElements(set)
			if err != nil {
				return false, fmt.Errorf("read block sets: %w", err)
			}
			for _, w := range want {
				if !slices.ContainsFunc(have, func(e nftables.SetElement) bool { return slices.Equal(e.Key, w.Key) }) {
					return false, nil
				}
			}
		}
	}
	return true, nil
}
