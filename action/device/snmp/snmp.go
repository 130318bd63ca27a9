// Package snmp blocks a machine at the port of a managed switch: it switches
// the port off, or moves it to another VLAN.
//
// In: a device, its secrets, an address. Out: changes of ifAdminStatus
// (RFC 2863) or dot1qPvid and the VLAN's ports (RFC 4363). Always true: the
// port is looked up in the switch's own tables when the block begins; a port
// behind which more machines are than allowed, or that is never to be touched,
// is refused; what was there before is put back and read again.
package snmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
)

// Objects that are read and written.
const (
	sysDescr       = ".1.3.6.1.2.1.1.1.0"
	ifAdminStatus  = ".1.3.6.1.2.1.2.2.1.7."
	dot1qPvid      = ".1.3.6.1.2.1.17.7.1.4.5.1.1."
	egressPorts    = ".1.3.6.1.2.1.17.7.1.4.3.1.2."
	untaggedPorts  = ".1.3.6.1.2.1.17.7.1.4.3.1.4."
	adminUp        = 1
	adminDown      = 2
	maxPortOctets  = 512
	requestTimeout = time.Second
	retries        = 2
)

// Connector speaks SNMP. Its zero value is ready.
type Connector struct{}

// before is how a port was.
type before struct {
	Interface int `json:"interface"` // ifIndex
	Port      int `json:"port"`      // of the bridge
	Admin     int `json:"admin"`
	VLAN      int `json:"vlan"`
}

// open returns a session with address. The caller closes its Conn.
func open(ctx context.Context, d device.Device, s device.Secrets, address string) (*gosnmp.GoSNMP, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("device-address: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("device-address: %w", err)
	}
	g := &gosnmp.GoSNMP{Target: host, Port: uint16(n), Transport: "udp", Context: ctx, Timeout: requestTimeout, Retries: retries,
		MaxOids: gosnmp.MaxOids, MaxRepetitions: 25, Version: gosnmp.Version2c, Community: s["community"]}
	if d.SNMP == "3" {
		version3(g, d, s)
	}
	if err := g.Connect(); err != nil {
		return nil, fmt.Errorf("device-silent: %w", err)
	}
	return g, nil
}

func version3(g *gosnmp.GoSNMP, d device.Device, s device.Secrets) {
	auth := map[string]gosnmp.SnmpV3AuthProtocol{"SHA": gosnmp.SHA, "SHA256": gosnmp.SHA256, "SHA512": gosnmp.SHA512}
	priv := map[string]gosnmp.SnmpV3PrivProtocol{"AES": gosnmp.AES, "AES256": gosnmp.AES256}
	g.Version, g.SecurityModel, g.MsgFlags = gosnmp.Version3, gosnmp.UserSecurityModel, gosnmp.AuthPriv
	g.SecurityParameters = &gosnmp.UsmSecurityParameters{UserName: d.User,
		AuthenticationProtocol: auth[d.Auth], AuthenticationPassphrase: s["auth"],
		PrivacyProtocol: priv[d.Priv], PrivacyPassphrase: s["priv"]}
}

// with opens a session for f.
func with(ctx context.Context, d device.Device, s device.Secrets, address string, f func(*gosnmp.GoSNMP) error) error {
	g, err := open(ctx, d, s, address)
	if err != nil {
		return err
	}
	defer func() { _ = g.Conn.Close() }()
	return f(g)
}

// Find looks up the port behind which the target is.
func (Connector) Find(ctx context.Context, d device.Device, s device.Secrets, target string) (device.Place, error) {
	mac, err := hardware(ctx, d, s, target)
	if err != nil {
		return device.Place{}, err
	}
	var b before
	err = with(ctx, d, s, d.Address, func(g *gosnmp.GoSNMP) (err error) {
		if b, err = locate(g, d, mac); err != nil {
			return err
		}
		if d.Means == action.VLAN {
			b.VLAN, err = number(g, dot1qPvid+strconv.Itoa(b.Port))
		} else {
			b.Admin, err = number(g, ifAdminStatus+strconv.Itoa(b.Interface))
		}
		return err
	})
	if err != nil {
		return device.Place{}, err
	}
	if b.VLAN == d.VLAN && d.Means == action.VLAN {
		return device.Place{}, fmt.Errorf("already-there: port %d is in VLAN %d", b.Port, b.VLAN)
	}
	text, err := json.Marshal(b)
	return device.Place{Key: "if " + strconv.Itoa(b.Interface), Before: text}, err
}

// Block changes the port.
func (Connector) Block(ctx context.Context, d device.Device, s device.Secrets, _ string, p device.Place) error {
	return at(ctx, d, s, p, func(g *gosnmp.GoSNMP, b before) error {
		if d.Means == action.VLAN {
			return move(g, b.Port, b.VLAN, d.VLAN)
		}
		return set(g, ifAdminStatus+strconv.Itoa(b.Interface), gosnmp.Integer, adminDown)
	})
}

// Check reads how the port is.
func (Connector) Check(ctx context.Context, d device.Device, s device.Secrets, _ string, p device.Place) (held bool, detail string, err error) {
	err = at(ctx, d, s, p, func(g *gosnmp.GoSNMP, b before) error {
		if d.Means == action.VLAN {
			n, err := number(g, dot1qPvid+strconv.Itoa(b.Port))
			held, detail = n == d.VLAN, fmt.Sprintf("port %d is in VLAN %d", b.Port, n)
			return err
		}
		n, err := number(g, ifAdminStatus+strconv.Itoa(b.Interface))
		held, detail = n == adminDown, fmt.Sprintf("interface %d is %s", b.Interface, map[int]string{adminUp: "on", adminDown: "off"}[n])
		return err
	})
	return held, detail, err
}

// Restore puts the port back.
func (Connector) Restore(ctx context.Context, d device.Device, s device.Secrets, _ string, p device.Place) error {
	return at(ctx, d, s, p, func(g *gosnmp.GoSNMP, b before) error {
		object, want := ifAdminStatus+strconv.Itoa(b.Interface), b.Admin
		var err error
		if d.Means == action.VLAN {
			object, want = dot1qPvid+strconv.Itoa(b.Port), b.VLAN
			err = move(g, b.Port, d.VLAN, b.VLAN)
		} else {
			err = set(g, object, gosnmp.Integer, b.Admin)
		}
		if err != nil {
			return err
		}
		got, err := number(g, object)
		if err == nil && got != want {
			return fmt.Errorf("not-taken: port is %d, not %d", got, want)
		}
		return err
	})
}

// Test reads what the switch is, and whether its table of addresses can be read.
func (Connector) Test(ctx context.Context, d device.Device, s device.Secrets) (string, error) {
	var what string
	var known int
	err := with(ctx, d, s, d.Address, func(g *gosnmp.GoSNMP) error {
		v, err := get(g, sysDescr)
		if err != nil {
			return err
		}
		if b, ok := v.Value.([]byte); ok {
			what = string(b[:min(len(b), 100)])
		}
		all, err := forwarding(g)
		known = len(all)
		return err
	})
	return fmt.Sprintf("%s; %d machines known", printable(what), known), err
}

func at(ctx context.Context, d device.Device, s device.Secrets, p device.Place, f func(*gosnmp.GoSNMP, before) error) error {
	var b before
	if err := json.Unmarshal(p.Before, &b); err != nil {
		return fmt.Errorf("state before: %w", err)
	}
	return with(ctx, d, s, d.Address, func(g *gosnmp.GoSNMP) error { return f(g, b) })
}

// move takes a port from one VLAN to another. The lists of ports come first
// where the switch has them, so that the port is never without a VLAN.
func move(g *gosnmp.GoSNMP, port, from, to int) error {
	for _, list := range []string{egressPorts, untaggedPorts} {
		if err := member(g, list+strconv.Itoa(to), port, true); err != nil {
			return err
		}
	}
	if err := set(g, dot1qPvid+strconv.Itoa(port), gosnmp.Gauge32, uint32(to)); err != nil {
		return err
	}
	for _, list := range []string{untaggedPorts, egressPorts} {
		if err := member(g, list+strconv.Itoa(from), port, false); err != nil {
			return err
		}
	}
	return nil
}

var errAbsent = errors.New("object-absent")

// member changes whether a port is in a list of ports; a switch without such
// lists derives them from dot1qPvid.
func member(g *gosnmp.GoSNMP, object string, port int, in bool) error {
	v, err := get(g, object)
	if errors.Is(err, errAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	old, ok := v.Value.([]byte)
	if !ok || len(old) > maxPortOctets {
		return fmt.Errorf("answer-unreadable: %s", object)
	}
	ports := setBit(old, port, in)
	if string(ports) == string(old) {
		return nil
	}
	return set(g, object, gosnmp.OctetString, ports)
}

// setBit returns a list of ports (PortList of RFC 4363: the highest bit of the
// first octet is port 1) with a port in it or not.
func setBit(old []byte, port int, in bool) []byte {
	n := (port - 1) / 8
	out := append(make([]byte, 0, max(len(old), n+1)), old...)
	for len(out) <= n {
		out = append(out, 0)
	}
	bit := byte(0x80) >> ((port - 1) % 8)
	if in {
		out[n] |= bit
	} else {
		out[n] &^= bit
	}
	return out
}

func get(g *gosnmp.GoSNMP, object string) (gosnmp.SnmpPDU, error) {
	r, err := g.Get([]string{object})
	if err != nil {
		return gosnmp.SnmpPDU{}, fmt.Errorf("device-silent: %w", err)
	}
	if r.Error != gosnmp.NoError || len(r.Variables) != 1 {
		return gosnmp.SnmpPDU{}, fmt.Errorf("device-refused: %s on %s", r.Error, object)
	}
	v := r.Variables[0]
	switch v.Type {
	case gosnmp.NoSuchObject, gosnmp.NoSuchInstance, gosnmp.EndOfMibView, gosnmp.Null:
		return v, fmt.Errorf("%w: %s", errAbsent, object)
	}
	return v, nil
}

func number(g *gosnmp.GoSNMP, object string) (int, error) {
	v, err := get(g, object)
	if err != nil {
		return 0, err
	}
	n := gosnmp.ToBigInt(v.Value)
	if !n.IsInt64() || n.Int64() < 0 || n.Int64() > 1<<31 {
		return 0, fmt.Errorf("answer-unreadable: %s", object)
	}
	return int(n.Int64()), nil
}

func set(g *gosnmp.GoSNMP, object string, t gosnmp.Asn1BER, value any) error {
	r, err := g.Set([]gosnmp.SnmpPDU{{Name: object, Type: t, Value: value}})
	if err != nil {
		return fmt.Errorf("device-silent: %w", err)
	}
	if r.Error != gosnmp.NoError {
		return fmt.Errorf("device-refused: %s on %s", r.Error, object)
	}
	return nil
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '�' {
			return -1
		}
		return r
	}, s)
}
