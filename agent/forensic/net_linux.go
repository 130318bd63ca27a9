package forensic

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// littleEndian says how /proc/net writes addresses on this machine.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// interfaces lists the network interfaces with their addresses.
func interfaces(context.Context, int64) ([]byte, string, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, "", err
	}
	type iface struct {
		Index     int      `json:"index"`
		Name      string   `json:"name"`
		MTU       int      `json:"mtu"`
		MAC       string   `json:"mac"`
		Flags     string   `json:"flags"`
		Addresses []string `json:"addresses"`
	}
	var out []iface
	for _, i := range list {
		e := iface{Index: i.Index, Name: i.Name, MTU: i.MTU, MAC: i.HardwareAddr.String(), Flags: i.Flags.String()}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, "", fmt.Errorf("addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			e.Addresses = append(e.Addresses, a.String())
		}
		out = append(out, e)
	}
	b, err := json.MarshalIndent(out, "", "  ")
	return append(b, '\n'), "", err
}

// Attributes of a neighbour message (linux/neighbour.h).
const (
	ndaDst    = 1
	ndaLLAddr = 2
	sizeNdmsg = 12
)

// neighbours lists what the machine knows of others on its links, IPv4 and
// IPv6: which hardware address answered for which address.
func neighbours(_ context.Context, limit int64) ([]byte, string, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = c.Close() }() // it was only read
	msgs, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETNEIGH, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, sizeNdmsg),
	})
	if err != nil {
		return nil, "", err
	}
	return jsonLines(limit, func(add func(any) bool) error {
		for _, m := range msgs {
			n, ok := parseNeighbour(m.Data)
			if ok && !add(n) {
				return nil
			}
		}
		return nil
	})
}

type neighbour struct {
	Address string `json:"address"`
	MAC     string `json:"mac"`
	Index   int32  `json:"interface_index"`
	State   uint16 `json:"state"` // NUD_* of linux/neighbour.h
}

func parseNeighbour(data []byte) (neighbour, bool) {
	if len(data) < sizeNdmsg {
		return neighbour{}, false
	}
	n := neighbour{Index: int32(binary.NativeEndian.Uint32(data[4:])), State: binary.NativeEndian.Uint16(data[8:])}
	attrs, err := netlink.UnmarshalAttributes(data[sizeNdmsg:])
	if err != nil {
		return n, false
	}
	for _, a := range attrs {
		switch a.Type {
		case ndaDst:
			if ip, ok := netip.AddrFromSlice(a.Data); ok {
				n.Address = ip.String()
			}
		case ndaLLAddr:
			n.MAC = net.HardwareAddr(a.Data).String()
		}
	}
	return n, n.Address != ""
}
