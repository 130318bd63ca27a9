package sensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/source/pcap/filter"
)

// link is a network interface and how it hangs together with others.
type link struct {
	index  int
	name   string
	kind   string // "bridge", "vlan", …; "" for a card
	master int    // the bridge or bond that it is a port of, 0: none
	lower  int    // the interface below it, 0: none, or in another namespace
}

// rule is what of an interface is taken.
type rule struct {
	index   int
	in, out bool
}

// joins says whether an interface of a kind passes on what its ports see.
func joins(kind string) bool { return kind == "bridge" || kind == "bond" || kind == "team" }

// stacked says whether an interface of a kind sees what the one below it sees.
func stacked(kind string) bool {
	return slices.Contains([]string{"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"}, kind)
}

// choose says what of the interfaces is taken, so that every packet counts
// once: what comes in where it comes in, what the machine sends where it is
// sent first. rest is what holds for interfaces without a rule. Without names
// all are wanted.
func choose(all []link, names []string) (rules []rule, rest bool, missing []string) {
	wanted := map[int]link{}
	found := map[string]bool{}
	ports := map[int]int{} // master → wanted ports
	kinds := map[int]string{}
	for _, l := range all {
		kinds[l.index] = l.kind
		if len(names) == 0 || slices.Contains(names, l.name) {
			wanted[l.index], found[l.name] = l, true
			ports[l.master]++
		}
	}
	for _, n := range names {
		if !found[n] {
			missing = append(missing, n)
		}
	}
	for _, l := range all {
		if _, ok := wanted[l.index]; !ok {
			continue
		}
		r := rule{index: l.index, in: true, out: true}
		_, master := wanted[l.master]
		_, lower := wanted[l.lower]
		switch {
		case stacked(l.kind) && lower:
			r.in, r.out = false, false
		case l.master != 0 && joins(kinds[l.master]) && (master || ports[l.master] > 1):
			r.out = false
		case joins(l.kind) && ports[l.index] > 0:
			r.in = false
		}
		if len(names) > 0 || !r.in || !r.out {
			rules = append(rules, r)
		}
	}
	return rules, len(names) == 0, missing
}

// outgoingType is PACKET_OUTGOING, what SKF_AD_PKTTYPE says of sent packets.
const outgoingType = 4

// program is the filter of the sockets: the rules, then what follows.
func program(rules []rule, rest bool, then []bpf.Instruction) []bpf.Instruction {
	ret := bpf.RetConstant{Val: 0}
	size := 1
	for _, r := range rules {
		size += r.size()
	}
	if !rest {
		size++
	}
	p := make([]bpf.Instruction, 0, size+len(then))
	onward := func() bpf.Instruction { return bpf.Jump{Skip: uint32(size - len(p) - 1)} }
	p = append(p, bpf.LoadExtension{Num: bpf.ExtInterfaceIndex})
	for _, r := range rules {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(r.index), SkipFalse: uint8(r.size() - 1)})
		switch {
		case r.in && r.out:
			p = append(p, onward())
			continue
		case r.in:
			p = append(p, bpf.LoadExtension{Num: bpf.ExtType}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: outgoingType, SkipTrue: 1})
			p = append(p, onward())
		case r.out:
			p = append(p, bpf.LoadExtension{Num: bpf.ExtType}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: outgoingType, SkipFalse: 1})
			p = append(p, onward())
		}
		p = append(p, ret)
	}
	if !rest {
		p = append(p, ret)
	}
	return append(p, then...)
}

// size is how many instructions a rule takes.
func (r rule) size() int {
	if r.in != r.out {
		return 5
	}
	return 2
}

// watch keeps the sockets' filter and the promiscuous mode in step with the
// interfaces. One goroutine uses it.
type watch struct {
	conf  Config
	socks []*socket
	conn  *netlink.Conn // of the namespace in which it was opened
	then  []bpf.Instruction
	last  []rule
	set   bool
	heard map[int]bool // interfaces in promiscuous mode
}

func newWatch(c Config, socks []*socket) (*watch, error) {
	w := &watch{conf: c, socks: socks, then: []bpf.Instruction{bpf.RetConstant{Val: filter.Accept}}, heard: map[int]bool{}}
	if c.Filter != nil {
		var err error
		if w.then, err = c.Filter.Live(); err != nil {
			return nil, err
		}
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	w.conn = conn
	return w, nil
}

func (w *watch) close() error { return w.conn.Close() }

// look compares the interfaces with the last time. missing are names that there
// is no interface of.
func (w *watch) look() (missing []string, err error) {
	all, err := w.links()
	if err != nil {
		return nil, err
	}
	rules, rest, missing := choose(all, w.conf.Interfaces)
	if !w.set || !slices.Equal(rules, w.last) {
		p := program(rules, rest, w.then)
		for _, k := range w.socks {
			if err := k.attach(p); err != nil {
				return missing, err
			}
		}
		w.last, w.set = rules, true
	}
	return missing, w.listen(rules)
}

// listen puts the named interfaces into promiscuous mode. It ends by itself
// when the socket is closed or the interface goes.
func (w *watch) listen(rules []rule) error {
	if !w.conf.Promiscuous {
		return nil
	}
	now := map[int]bool{}
	for _, r := range rules {
		now[r.index] = true
		if w.heard[r.index] {
			continue
		}
		m := unix.PacketMreq{Ifindex: int32(r.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(w.socks[0].fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	w.heard = now
	return nil
}

// Attributes of a link message (linux/if_link.h).
const (
	iflaName   = 3
	iflaLink   = 5
	iflaMaster = 10
	iflaInfo   = 18
	iflaOther  = 37 // IFLA_LINK_NETNSID: the one below is in another namespace
	infoKind   = 1
	sizeIfinfo = 16
)

// links lists the interfaces.
func (w *watch) links() ([]link, error) {
	msgs, err := w.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, sizeIfinfo),
	})
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var all []link
	for _, m := range msgs {
		l, err := parseLink(m.Data)
		if err != nil {
			return nil, fmt.Errorf("list interfaces: %w", err)
		}
		all = append(all, l)
	}
	return all, nil
}

var errLink = errors.New("a message of netlink is cut short")

func parseLink(data []byte) (link, error) {
	if len(data) < sizeIfinfo {
		return link{}, errLink
	}
	l := link{index: int(binary.NativeEndian.Uint32(data[4:]))}
	attrs, err := netlink.UnmarshalAttributes(data[sizeIfinfo:])
	if err != nil {
		return l, err
	}
	elsewhere := false
	for _, a := range attrs {
		switch {
		case a.Type == iflaName:
			l.name = strings.TrimRight(string(a.Data), "\x00")
		case a.Type == iflaLink && len(a.Data) == 4:
			l.lower = int(binary.NativeEndian.Uint32(a.Data))
		case a.Type == iflaMaster && len(a.Data) == 4:
			l.master = int(binary.NativeEndian.Uint32(a.Data))
		case a.Type == iflaOther:
			elsewhere = true
		case a.Type&^unix.NLA_F_NESTED == iflaInfo:
			l.kind = kindOf(a.Data)
		}
	}
	if elsewhere {
		l.lower = 0
	}
	return l, nil
}

func kindOf(data []byte) string {
	attrs, err := netlink.UnmarshalAttributes(data)
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.Type == infoKind {
			return strings.TrimRight(string(a.Data), "\x00")
		}
	}
	return ""
}
