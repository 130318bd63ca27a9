package act

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/act/conntrack"
	"github.com/sonae/sonae/agent/act/lease"
)

// Names in the kernel. The table is ours alone.
const (
	tableName = "sonae_iso"
	leaseName = "lease"
)

// fence is the isolation in the kernel: one table in the family inet, so that
// IPv4 and IPv6 are closed by the same transaction. The base chains accept by
// policy, and one rule drops what nothing accepted before while its address
// family stands in the set "lease". The elements of that set time out in the
// kernel; with them the isolation ends on time even when no agent is left.
type fence struct{ log *slog.Logger }

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// apply closes everything but keep, in one transaction that also takes the
// place of an earlier one: there is no moment with half of the rules.
func (f fence) apply(keep []netip.AddrPort, left time.Duration) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := c.AddTable(table()) // so that deleting cannot find nothing
	c.DelTable(t)
	t = c.AddTable(table())
	set := &nftables.Set{Table: t, Name: leaseName, KeyType: nftables.TypeNFProto, HasTimeout: true}
	if err := c.AddSet(set, []nftables.SetElement{
		{Key: []byte{unix.NFPROTO_IPV4}, Timeout: lease.InKernel(left)},
		{Key: []byte{unix.NFPROTO_IPV6}, Timeout: lease.InKernel(left)},
	}); err != nil {
		return fmt.Errorf("isolation set: %w", err)
	}
	// Before every other filter, NAT and connection tracking: -300 is where "raw" stands.
	accept := nftables.ChainPolicyAccept
	chain := func(name string, hook *nftables.ChainHook) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: t, Type: nftables.ChainTypeFilter,
			Hooknum: hook, Priority: nftables.ChainPriorityRaw, Policy: &accept})
	}
	in, out, fwd := chain("input", nftables.ChainHookInput), chain("output", nftables.ChainHookOutput), chain("forward", nftables.ChainHookForward)
	add := func(ch *nftables.Chain, parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: joined(parts...)})
	}
	for _, ch := range []struct {
		chain *nftables.Chain
		in    bool
	}{{in, true}, {out, false}} {
		for _, r := range accepted(keep, ch.in) {
			add(ch.chain, r)
		}
		add(ch.chain, dropWhile(set))
	}
	add(fwd, dropWhile(set))
	if err := c.Flush(); err != nil {
		return fmt.Errorf("apply isolation rules: %w", err)
	}
	f.forget(keep)
	return nil
}

// forget takes all tracked connections but those to keep out of the kernel's
// table, so that none of them counts as established when the isolation ends.
// Every packet is dropped anyhow; a failure here is logged only.
func (f fence) forget(keep []netip.AddrPort) {
	n, err := conntrack.Forget(func(c conntrack.Flow) bool {
		kept := slices.ContainsFunc(keep, func(k netip.AddrPort) bool { return k.Addr() == c.Dst })
		return !c.Dst.IsLoopback() && !kept
	})
	f.log.Debug("tracked connections forgotten", "count", n, "err", err)
}

// remove ends the isolation; none being there is a success.
func (fence) remove() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := c.AddTable(table())
	c.DelTable(t)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove isolation rules: %w", err)
	}
	return nil
}

// state says whether the table is there, and whether its lease runs for both
// address families.
func (fence) state() (present, running bool, err error) {
	c, err := nftables.New()
	if err != nil {
		return false, false, fmt.Errorf("open nftables: %w", err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, false, fmt.Errorf("list tables: %w", err)
	}
	for _, t := range tables {
		present = present || t.Name == tableName
	}
	if !present {
		return false, false, nil
	}
	els, err := c.GetSetElements(&nftables.Set{Table: table(), Name: leaseName, KeyType: nftables.TypeNFProto, HasTimeout: true})
	if errors.Is(err, unix.ENOENT) {
		return true, false, nil
	}
	if err != nil {
		return true, false, fmt.Errorf("read lease: %w", err)
	}
	return true, len(els) >= 2, nil
}

// dropped adds up the counters of the drop rules.
func (fence) dropped() (packets, bytes uint64, err error) {
	c, err := nftables.New()
	if err != nil {
		return 0, 0, fmt.Errorf("open nftables: %w", err)
	}
	for _, name := range []string{"input", "output", "forward"} {
		rules, err := c.GetRules(table(), &nftables.Chain{Name: name})
		if err != nil {
			return 0, 0, fmt.Errorf("read counters: %w", err)
		}
		for _, r := range rules {
			for _, e := range r.Exprs {
				if n, ok := e.(*expr.Counter); ok {
					packets, bytes = packets+n.Packets, bytes+n.Bytes
				}
			}
		}
	}
	return packets, bytes, nil
}
