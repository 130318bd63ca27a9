package vm

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const listed = "cae15a67-7f80-4e15-ab08-080966ba240b reception\n0ae15a67-7f80-4e15-ab08-080966ba240B 外来 受付\n\n"

func TestTheListOfMachines(t *testing.T) {
	got, err := domainsIn(listed)
	want := []domain{{"cae15a67-7f80-4e15-ab08-080966ba240b", "reception"}, {"0ae15a67-7f80-4e15-ab08-080966ba240b", "外来 受付"}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(domain{})); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	if _, err := domainsIn("1 reception\n"); err == nil {
		t.Error("what is no list was taken for one")
	}
}

func FuzzDomains(f *testing.F) {
	f.Add(listed)
	f.Fuzz(func(t *testing.T, list string) {
		all, err := domainsIn(list)
		for _, d := range all {
			if err == nil && (!uuidForm.MatchString(d.uuid) || strings.ContainsAny(d.name, "\n")) {
				t.Errorf("%+v", d)
			}
		}
	})
}

func FuzzInterfaces(f *testing.F) {
	f.Add([]byte(`<domain type='qemu'><name>x</name><devices><interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><link state='down'/></interface></devices></domain>`))
	f.Fuzz(func(t *testing.T, description []byte) {
		all, err := interfaces(description)
		for _, n := range all {
			if _, bad := net.ParseMAC(n.MAC.Address); err == nil && bad != nil {
				t.Errorf("%q is no address", n.MAC.Address)
			}
		}
	})
}

// What is no name of a machine is refused before libvirt hears of it.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"reception", "reception/52:54:00:00:00:01", "--all", "a\nb", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, object string) {
		name, mac, err := split(object)
		if err == nil && (name == "" || name[0] == '-' || strings.ContainsAny(name, "/\n\x00") || mac != "" && len(mac) != 17) {
			t.Errorf("%q became %q and %q", object, name, mac)
		}
	})
}
