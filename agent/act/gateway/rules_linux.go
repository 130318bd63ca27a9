package gateway

import (
	"bytes"
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

// Names in the kernel. The tables are ours alone.
const (
	tableName = "sonae_gate"
	dropChain = "forward"
	passChain = "passed"
)

// rules is the block in the kernel: one table in the family inet for what is
// routed and one in the family bridge for what is bridged, with the same sets.
// An interface in the set of lines lets nothing through but what is said to the hub.
// A chain before connection tracking's users (-200) drops what comes from or
// goes to an address in the sets; a chain behind all others counts what of it
// is still there, which must be nothing. The elements time out in the kernel.
type rules struct{ log *slog.Logger }

func families() []nftables.TableFamily {
	return []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyBridge}
}

// sync makes the kernel hold exactly w, each family in one transaction. A
// kernel without the bridge family routes only.
func (r rules) sync(w wanted) error {
	for _, f := range families() {
		err := r.syncFamily(f, w)
		if f == nftables.TableFamilyBridge && unsupported(err) {
			r.log.Warn("bridged packets cannot be blocked on this kernel", "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT)
}

func (r rules) syncFamily(f nftables.TableFamily, w wanted) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	there, err := complete(c, f)
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: tableName, Family: f}
	all := sets(t)
	if there {
		for _, s := range all {
			c.FlushSet(s)
		}
	} else if err := build(c, t, all); err != nil {
		return err
	}
	for i, elements := range w.elements() {
		if len(elements) == 0 {
			continue
		}
		if err := c.SetAddElements(all[i], elements); err != nil {
			return fmt.Errorf("fill block sets: %w", err)
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("apply block rules: %w", err)
	}
	return nil
}

// complete says whether the table with both chains and their rules is there.
func complete(c *nftables.Conn, f nftables.TableFamily) (bool, error) {
	t := &nftables.Table{Name: tableName, Family: f}
	for _, name := range []string{dropChain, passChain} {
		list, err := c.GetRules(t, &nftables.Chain{Name: name, Table: t})
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read block rules: %w", err)
		}
		if len(list) != len(forwardRules(sets(t), nil)) {
			return false, nil
		}
	}
	return true, nil
}

// sets are blocked IPv4, blocked IPv6, kept IPv4, kept IPv6 and lines, in this order.
func sets(t *nftables.Table) []*nftables.Set {
	keep4 := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	keep6 := nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeInetService)
	return []*nftables.Set{
		{Table: t, Name: "blocked4", KeyType: nftables.TypeIPAddr, HasTimeout: true},
		{Table: t, Name: "blocked6", KeyType: nftables.TypeIP6Addr, HasTimeout: true},
		{Table: t, Name: "keep4", KeyType: keep4, Concatenation: true},
		{Table: t, Name: "keep6", KeyType: keep6, Concatenation: true},
		{Table: t, Name: "lines", KeyType: nftables.TypeIFName, HasTimeout: true},
	}
}

// elements of each of the sets.
func (w wanted) elements() [5][]nftables.SetElement {
	var out [5][]nftables.SetElement
	for a, left := range w.blocked {
		i := 0
		if a.Is6() {
			i = 1
		}
		out[i] = append(out[i], nftables.SetElement{Key: a.AsSlice(), Timeout: lease.InKernel(left)})
	}
	for name, left := range w.lines {
		out[4] = append(out[4], nftables.SetElement{Key: lineKey(name), Timeout: lease.InKernel(left)})
	}
	for k := range w.keep {
		i := 2
		if k.Addr().Is6() {
			i = 3
		}
		port := []byte{byte(k.Port() >> 8), byte(k.Port()), 0, 0} // parts of a key are as long as registers
		out[i] = append(out[i], nftables.SetElement{Key: append(k.Addr().AsSlice(), port...)})
	}
	return out
}

// lineKey is the name of an interface as the kernel compares it.
func lineKey(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

// build makes the table anew, taking the place of one that is not whole.
func build(c *nftables.Conn, t *nftables.Table, all []*nftables.Set) error {
	c.AddTable(t) // so that deleting cannot find nothing
	c.DelTable(t)
	c.AddTable(t)
	for _, s := range all {
		if err := c.AddSet(s, nil); err != nil {
			return fmt.Errorf("make block sets: %w", err)
		}
	}
	accept := nftables.ChainPolicyAccept
	drop := []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	for _, ch := range []struct {
		name     string
		priority nftables.ChainPriority
		verdict  []expr.Any
	}{{dropChain, -200, drop}, {passChain, 300, nil}} {
		chain := c.AddChain(&nftables.Chain{Name: ch.name, Table: t, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityRef(ch.priority), Policy: &accept})
		for _, exprs := range forwardRules(all, ch.verdict) {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: exprs})
		}
	}
	return nil
}

// hold says whether every wanted address is in the sets of every family that
// the kernel has.
func (r rules) hold(w wanted) (bool, error) {
	for _, f := range families() {
		c, err := nftables.New()
		if err != nil {
			return false, fmt.Errorf("open nftables: %w", err)
		}
		there, err := complete(c, f)
		if f == nftables.TableFamilyBridge && unsupported(err) {
			continue
		}
		if err != nil || !there {
			return false, err
		}
		held, err := held(c, &nftables.Table{Name: tableName, Family: f})
		if err != nil || !held.all(w) {
			return false, err
		}
	}
	return true, nil
}

// kept is what the sets of a table hold.
type kept struct {
	blocked []netip.Addr
	lines   []string
}

// all says whether all that is wanted is there.
func (k kept) all(w wanted) bool {
	for a, left := range w.blocked {
		if left > time.Second && !slices.Contains(k.blocked, a) { // a shorter one may end while we look
			return false
		}
	}
	for name, left := range w.lines {
		if left > time.Second && !slices.Contains(k.lines, name) {
			return false
		}
	}
	return true
}

func held(c *nftables.Conn, t *nftables.Table) (out kept, _ error) {
	all := sets(t)
	for _, s := range []*nftables.Set{all[0], all[1], all[4]} {
		els, err := c.GetSetElements(s)
		if err != nil {
			return out, fmt.Errorf("read block sets: %w", err)
		}
		for _, e := range els {
			if s == all[4] {
				out.lines = append(out.lines, string(bytes.TrimRight(e.Key, "\x00")))
			} else if a, ok := netip.AddrFromSlice(e.Key); ok {
				out.blocked = append(out.blocked, a)
			}
		}
	}
	return out, nil
}

// forget makes connections of these addresses unknown, so that none of them
// is forwarded by a flowtable past the rules, nor counts as established when
// the block ends.
func (r rules) forget(addrs []netip.Addr) {
	n, err := conntrack.Forget(func(f conntrack.Flow) bool { return slices.ContainsFunc(addrs, f.Has) })
	r.log.Debug("tracked connections forgotten", "count", n, "err", err)
}

// counters adds up what the chains of all families counted.
func (r rules) counters() (Counters, error) {
	var out Counters
	for _, f := range families() {
		c, err := nftables.New()
		if err != nil {
			return out, fmt.Errorf("open nftables: %w", err)
		}
		t := &nftables.Table{Name: tableName, Family: f}
		for _, name := range []string{dropChain, passChain} {
			list, err := c.GetRules(t, &nftables.Chain{Name: name, Table: t})
			if errors.Is(err, unix.ENOENT) || f == nftables.TableFamilyBridge && unsupported(err) {
				continue
			}
			if err != nil {
				return out, fmt.Errorf("read counters: %w", err)
			}
			packets, bytes := counted(list)
			if name == dropChain {
				out.Dropped, out.DroppedBytes = out.Dropped+packets, out.DroppedBytes+bytes
			} else {
				out.Passed, out.PassedBytes = out.Passed+packets, out.PassedBytes+bytes
			}
		}
	}
	return out, nil
}

func counted(list []*nftables.Rule) (packets, bytes uint64) {
	for _, r := range list {
		for _, e := range r.Exprs {
			if n, ok := e.(*expr.Counter); ok {
				packets, bytes = packets+n.Packets, bytes+n.Bytes
			}
		}
	}
	return packets, bytes
}
