package snmp

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/action/device/snmptest"
)

func TestMain(m *testing.M) {
	if snmptest.Main() {
		return
	}
	os.Exit(m.Run())
}

const pc, phone, server = "02:00:00:00:00:07", "02:00:00:00:00:08", "02:00:00:00:00:09"

func fixture(t *testing.T) *snmptest.Switch {
	return snmptest.New(t, map[string]int{pc: 3, phone: 8, server: 8}, map[string]string{"10.1.0.7": pc})
}

// devices are the switch by both versions of the protocol.
func devices(s *snmptest.Switch, m action.Means) (map[string]device.Device, device.Secrets) {
	d := device.Device{Name: "SW", Means: m, Address: s.Address, SNMP: "2c", VLAN: 99}
	d3 := d
	d3.SNMP, d3.User, d3.Auth, d3.Priv = "3", snmptest.User, "SHA", "AES"
	return map[string]device.Device{"version 2c": d, "version 3": d3}, device.Secrets{"community": snmptest.Community, "auth": snmptest.Auth, "priv": snmptest.Priv}
}

func TestPortIsSwitchedOffAndOnAgain(t *testing.T) {
	s := fixture(t)
	all, secrets := devices(s, action.PortDown)
	var c Connector
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			for _, target := range []string{pc, "10.1.0.7"} {
				p, err := c.Find(t.Context(), d, secrets, target)
				if err != nil {
					t.Fatal(err)
				}
				if held, _, err := c.Check(t.Context(), d, secrets, target, p); held || err != nil {
					t.Errorf("held before it was blocked: %v", err)
				}
				for range 2 { // again changes nothing
					if err := c.Block(t.Context(), d, secrets, target, p); err != nil {
						t.Fatal(err)
					}
				}
				if v := s.Value(snmptest.AdminStatus + "103"); v != "2" {
					t.Errorf("the port is %s, want 2 (down)", v)
				}
				held, detail, err := c.Check(t.Context(), d, secrets, target, p)
				if !held || err != nil || detail != "interface 103 is off" {
					t.Errorf("held %v, %q, %v", held, detail, err)
				}
				if err := c.Restore(t.Context(), d, secrets, target, p); err != nil {
					t.Fatal(err)
				}
				if v := s.Value(snmptest.AdminStatus + "103"); v != "1" {
					t.Errorf("the port is %s, want 1 (up)", v)
				}
			}
		})
	}
}

func TestPortMovesToAnotherVLANAndBack(t *testing.T) {
	s := fixture(t)
	all, secrets := devices(s, action.VLAN)
	var c Connector
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			p, err := c.Find(t.Context(), d, secrets, pc)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Block(t.Context(), d, secrets, pc, p); err != nil {
				t.Fatal(err)
			}
			want := func(pvid, in10, in99 string) {
				t.Helper()
				got := []string{s.Value(snmptest.PVID + "3"), s.Value(snmptest.Egress + "10"), s.Value(snmptest.Untagged + "10"), s.Value(snmptest.Egress + "99"), s.Value(snmptest.Untagged + "99")}
				if strings.Join(got, " ") != strings.Join([]string{pvid, in10, in10, in99, in99}, " ") {
					t.Errorf("VLANs %v, want %s %s %s", got, pvid, in10, in99)
				}
			}
			want("99", "DF", "20")
			if held, detail, err := c.Check(t.Context(), d, secrets, pc, p); !held || err != nil || detail != "port 3 is in VLAN 99" {
				t.Errorf("held %v, %q, %v", held, detail, err)
			}
			if err := c.Restore(t.Context(), d, secrets, pc, p); err != nil {
				t.Fatal(err)
			}
			want("10", "FF", "00")
		})
	}
}

func TestPortsThatMustNotBeTouchedAreRefused(t *testing.T) {
	s := fixture(t)
	all, secrets := devices(s, action.PortDown)
	d := all["version 2c"]
	var c Connector
	never := d
	never.Never = []int{103}
	wrong := device.Secrets{"community": "guess"}
	for _, tt := range []struct {
		d       device.Device
		secrets device.Secrets
		target  string
		want    string
	}{
		{d, secrets, phone, "port-shared"}, // a telephone and a server: or the way to another switch
		{never, secrets, pc, "port-never"},
		{d, secrets, "02:00:00:00:00:99", "target-not-found"},
		{d, secrets, "10.1.0.99", "target-not-found"},
		{d, wrong, pc, "device-silent"},
	} {
		if _, err := c.Find(t.Context(), tt.d, tt.secrets, tt.target); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.target, err, tt.want)
		}
	}
	allowed := d
	allowed.Machines = 2
	if _, err := c.Find(t.Context(), allowed, secrets, phone); err != nil {
		t.Errorf("two machines are allowed: %v", err)
	}
	if v := s.Value(snmptest.AdminStatus + "103"); v != "1" {
		t.Errorf("finding changed the port: %s", v)
	}
	if detail, err := c.Test(t.Context(), d, secrets); err != nil || detail != "Test switch; 3 machines known" {
		t.Errorf("%q %v", detail, err)
	}
	if _, err := c.Test(t.Context(), d, wrong); err == nil {
		t.Error("a wrong community passes the test")
	}
}

func TestSetBit(t *testing.T) {
	for _, tt := range []struct {
		old  []byte
		port int
		in   bool
		want []byte
	}{
		{nil, 1, true, []byte{0x80}},
		{[]byte{0xff}, 8, false, []byte{0xfe}},
		{[]byte{0xff}, 9, true, []byte{0xff, 0x80}},
		{[]byte{0x01}, 8, true, []byte{0x01}},
	} {
		if got := setBit(tt.old, tt.port, tt.in); !bytes.Equal(got, tt.want) {
			t.Errorf("%x with port %d %v: %x, want %x", tt.old, tt.port, tt.in, got, tt.want)
		}
	}
}

func FuzzMacOf(f *testing.F) {
	f.Add("1.2.0.0.0.0.7")
	f.Add("....")
	f.Fuzz(func(t *testing.T, index string) {
		if mac, ok := macOf(index); ok && len(mac) != 17 {
			t.Errorf("%q is %q", index, mac)
		}
	})
}
