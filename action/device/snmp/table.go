package snmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gosnmp/gosnmp"

	"github.com/sonae/sonae/action/device"
)

// Tables in which a machine is looked up.
const (
	dot1qTpFdbPort    = ".1.3.6.1.2.1.17.7.1.2.2.1.2"
	dot1dTpFdbPort    = ".1.3.6.1.2.1.17.4.3.1.2"
	basePortIfIndex   = ".1.3.6.1.2.1.17.1.4.1.2."
	ipNetToMediaPhys  = ".1.3.6.1.2.1.4.22.1.2"
	ipNetToPhysical   = ".1.3.6.1.2.1.4.35.1.4"
	maxRows           = 100_000
	hardwareAddresses = 6 // octets
)

var errTooLong = errors.New("table-too-long")

// walk calls row for every row of a table, with what follows the table's own
// name.
func walk(g *gosnmp.GoSNMP, table string, row func(index string, v gosnmp.SnmpPDU) error) error {
	rows := 0
	err := g.BulkWalk(table, func(v gosnmp.SnmpPDU) error {
		if rows++; rows > maxRows {
			return errTooLong
		}
		return row(strings.TrimPrefix(v.Name, table+"."), v)
	})
	if err != nil && !errors.Is(err, errTooLong) {
		return fmt.Errorf("device-silent: %w", err)
	}
	return err
}

// hardware returns the hardware address of a target.
func hardware(ctx context.Context, d device.Device, s device.Secrets, target string) (string, error) {
	if m, err := net.ParseMAC(target); err == nil {
		return m.String(), nil
	}
	ip, err := netip.ParseAddr(target)
	if err != nil {
		return "", fmt.Errorf("target-unusable: %s", target)
	}
	router := d.Router
	if router == "" {
		router = d.Address
	}
	var mac string
	err = with(ctx, d, s, router, func(g *gosnmp.GoSNMP) (err error) {
		mac, err = neighbour(g, ip)
		return err
	})
	if err == nil && mac == "" {
		err = fmt.Errorf("target-not-found: no hardware address is known for %s", target)
	}
	return mac, err
}

// neighbour looks an address up in the tables of neighbours: the one of
// RFC 4293 for both families, the older one (RFC 1213) for IPv4.
func neighbour(g *gosnmp.GoSNMP, ip netip.Addr) (mac string, err error) {
	take := func(suffix string) func(string, gosnmp.SnmpPDU) error {
		return func(index string, v gosnmp.SnmpPDU) error {
			if b, ok := v.Value.([]byte); ok && len(b) == hardwareAddresses && strings.HasSuffix(index, suffix) {
				mac = net.HardwareAddr(b).String()
			}
			return nil
		}
	}
	octets := ip.AsSlice()
	kind := map[bool]string{true: ".1", false: ".2"}[ip.Is4()] // InetAddressType of RFC 4001
	if err := walk(g, ipNetToPhysical, take(kind+"."+strconv.Itoa(len(octets))+dotted(octets))); err != nil || mac != "" {
		return mac, err
	}
	if ip.Is4() {
		err = walk(g, ipNetToMediaPhys, take(dotted(octets)))
	}
	return mac, err
}

// dotted writes octets as the end of an object's name.
func dotted(octets []byte) string {
	var b strings.Builder
	for _, o := range octets {
		fmt.Fprintf(&b, ".%d", o)
	}
	return b.String()
}

// forwarding reads which hardware addresses are behind which port of the
// bridge. A switch that knows VLANs has them in the table of RFC 4363, others
// in that of RFC 4188.
func forwarding(g *gosnmp.GoSNMP) (map[string]int, error) {
	out := map[string]int{}
	for _, table := range []string{dot1qTpFdbPort, dot1dTpFdbPort} {
		err := walk(g, table, func(index string, v gosnmp.SnmpPDU) error {
			mac, ok := macOf(index)
			port := gosnmp.ToBigInt(v.Value)
			if ok && port.IsInt64() && port.Int64() > 0 && port.Int64() <= 8*maxPortOctets {
				out[mac] = int(port.Int64())
			}
			return nil
		})
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
	return out, nil
}

// macOf reads the last six parts of an index.
func macOf(index string) (string, bool) {
	parts := strings.Split(index, ".")
	if len(parts) < hardwareAddresses {
		return "", false
	}
	var mac net.HardwareAddr
	for _, p := range parts[len(parts)-hardwareAddresses:] {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return "", false
		}
		mac = append(mac, byte(n))
	}
	return mac.String(), true
}

// locate returns the port of a machine, or why it must not be touched: behind
// the way to another switch are all machines of a floor.
func locate(g *gosnmp.GoSNMP, d device.Device, mac string) (before, error) {
	all, err := forwarding(g)
	if err != nil {
		return before{}, err
	}
	port, ok := all[mac]
	if !ok {
		return before{}, fmt.Errorf("target-not-found: %s is behind no port", mac)
	}
	machines := 0
	for _, p := range all {
		if p == port {
			machines++
		}
	}
	if machines > max(d.Machines, 1) {
		return before{}, fmt.Errorf("port-shared: %d machines are behind port %d", machines, port)
	}
	index, err := number(g, basePortIfIndex+strconv.Itoa(port))
	if err != nil {
		return before{}, err
	}
	if slices.Contains(d.Never, index) {
		return before{}, fmt.Errorf("port-never: interface %d is never touched", index)
	}
	return before{Interface: index, Port: port}, nil
}
