package conntrack

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Messages and attributes of ctnetlink (linux/netfilter/nfnetlink_conntrack.h).
const (
	ctSubsys  = 1
	ctGet     = 1
	ctDelete  = 2
	ctaOrig   = 1
	ctaReply  = 2
	ctaID     = 12
	ctaIP     = 1 // in a tuple
	ctaV4Src  = 1
	ctaV4Dst  = 2
	ctaV6Src  = 3
	ctaV6Dst  = 4
	maxForget = 20000
	timeout   = 700 * time.Millisecond
)

// Flow is the addresses of one tracked connection: as its opener sent it, and
// as the answers come, which differ where addresses are translated.
type Flow struct{ Src, Dst, ReplySrc, ReplyDst netip.Addr }

// Has says whether one end of the connection, on either side of a
// translation, is a.
func (f Flow) Has(a netip.Addr) bool {
	return f.Src == a || f.Dst == a || f.ReplySrc == a || f.ReplyDst == a
}

// Forget takes the tracked connections that which chooses out of the kernel's
// table, at most 20,000 and within 0.7 s, and returns how many. A flow that a
// flowtable forwards past all rules falls back to them by this: the kernel
// looks up no flow whose connection is dying (nf_flow_table_core.c).
func Forget(which func(Flow) bool) (int, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("tracked connections: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, fmt.Errorf("tracked connections: %w", err)
	}
	msgs, err := c.Execute(message(ctGet, netlink.Request|netlink.Dump, unix.AF_UNSPEC, nil))
	if err != nil {
		return 0, fmt.Errorf("list tracked connections: %w", err)
	}
	forgotten := 0
	for _, m := range msgs {
		family, flow, name, ok := read(m.Data)
		if !ok || !which(flow) || forgotten >= maxForget {
			continue
		}
		if _, err := c.Execute(message(ctDelete, netlink.Request|netlink.Acknowledge, family, name)); err == nil {
			forgotten++
		}
	}
	return forgotten, nil
}

func message(typ int, flags netlink.HeaderFlags, family byte, attrs []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(ctSubsys<<8 | typ), Flags: flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
}

// read reads one entry and returns what names it in a delete message.
func read(data []byte) (family byte, f Flow, name []byte, ok bool) {
	if len(data) < 4 {
		return 0, f, nil, false
	}
	all, err := netlink.UnmarshalAttributes(data[4:])
	if err != nil {
		return 0, f, nil, false
	}
	var named []netlink.Attribute
	for _, a := range all {
		switch a.Type &^ unix.NLA_F_NESTED {
		case ctaOrig:
			f.Src, f.Dst = tuple(a.Data)
			named = append(named, netlink.Attribute{Type: ctaOrig | unix.NLA_F_NESTED, Data: a.Data})
		case ctaReply:
			f.ReplySrc, f.ReplyDst = tuple(a.Data)
		case ctaID:
			named = append(named, netlink.Attribute{Type: ctaID, Data: a.Data})
		}
	}
	if !f.Dst.IsValid() {
		return 0, f, nil, false
	}
	name, err = netlink.MarshalAttributes(named)
	return data[0], f, name, err == nil
}

func tuple(data []byte) (src, dst netip.Addr) {
	parts, err := netlink.UnmarshalAttributes(data)
	if err != nil {
		return src, dst
	}
	for _, p := range parts {
		if p.Type&^unix.NLA_F_NESTED != ctaIP {
			continue
		}
		ips, err := netlink.UnmarshalAttributes(p.Data)
		if err != nil {
			return src, dst
		}
		for _, ip := range ips {
			a, _ := netip.AddrFromSlice(ip.Data)
			switch ip.Type &^ unix.NLA_F_NESTED {
			case ctaV4Src, ctaV6Src:
				src = a
			case ctaV4Dst, ctaV6Dst:
				dst = a
			}
		}
	}
	return src, dst
}
