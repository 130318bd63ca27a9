package act

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Messages and attributes of ctnetlink (linux/netfilter/nfnetlink_conntrack.h).
const (
	ctSubsys   = 1
	ctGet      = 1
	ctDelete   = 2
	ctaOrig    = 1
	ctaID      = 12
	ctaIP      = 1 // in a tuple
	ctaV4Dst   = 2
	ctaV6Dst   = 4
	maxForget  = 20000
	forgetTime = 300 * time.Millisecond
)

// forgetFlows takes all tracked connections but those to keep out of the
// kernel's table, so that none of them counts as established when the
// isolation ends. Without connection tracking there is nothing to forget.
// Every packet is dropped anyhow; a failure here is logged only.
func forgetFlows(keep []netip.AddrPort, log *slog.Logger) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		log.Debug("connection tracking not available", "err", err)
		return
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(forgetTime)); err != nil {
		log.Debug("connection tracking not available", "err", err)
		return
	}
	msgs, err := c.Execute(ctMessage(ctGet, netlink.Request|netlink.Dump, unix.AF_UNSPEC, nil))
	if err != nil {
		log.Debug("connection tracking not available", "err", err)
		return
	}
	forgotten := 0
	for _, m := range msgs[:min(len(msgs), maxForget)] {
		family, attrs, ok := forgettable(m.Data, keep)
		if !ok {
			continue
		}
		if _, err := c.Execute(ctMessage(ctDelete, netlink.Request|netlink.Acknowledge, family, attrs)); err == nil {
			forgotten++
		}
	}
	log.Debug("tracked connections forgotten", "count", forgotten)
}

func ctMessage(typ int, flags netlink.HeaderFlags, family byte, attrs []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(ctSubsys<<8 | typ), Flags: flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
}

// forgettable reads one entry and returns what names it in a delete message.
func forgettable(data []byte, keep []netip.AddrPort) (family byte, attrs []byte, ok bool) {
	if len(data) < 4 {
		return 0, nil, false
	}
	all, err := netlink.UnmarshalAttributes(data[4:])
	if err != nil {
		return 0, nil, false
	}
	var named []netlink.Attribute
	var dst netip.Addr
	for _, a := range all {
		switch a.Type &^ unix.NLA_F_NESTED {
		case ctaOrig:
			dst = tupleDst(a.Data)
			named = append(named, netlink.Attribute{Type: ctaOrig | unix.NLA_F_NESTED, Data: a.Data})
		case ctaID:
			named = append(named, netlink.Attribute{Type: ctaID, Data: a.Data})
		}
	}
	kept := slices.ContainsFunc(keep, func(k netip.AddrPort) bool { return k.Addr() == dst })
	if !dst.IsValid() || dst.IsLoopback() || kept {
		return 0, nil, false
	}
	attrs, err = netlink.MarshalAttributes(named)
	return data[0], attrs, err == nil
}

func tupleDst(tuple []byte) netip.Addr {
	parts, err := netlink.UnmarshalAttributes(tuple)
	if err != nil {
		return netip.Addr{}
	}
	for _, p := range parts {
		if p.Type&^unix.NLA_F_NESTED != ctaIP {
			continue
		}
		ips, err := netlink.UnmarshalAttributes(p.Data)
		if err != nil {
			return netip.Addr{}
		}
		for _, ip := range ips {
			if t := ip.Type &^ unix.NLA_F_NESTED; t == ctaV4Dst || t == ctaV6Dst {
				a, _ := netip.AddrFromSlice(ip.Data)
				return a
			}
		}
	}
	return netip.Addr{}
}
