package action

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
)

// What is shown before a virtual machine is cut: its own services, and the
// interfaces that lose their network.
func TestAVirtualMachineIsShownBeforeItIsCut(t *testing.T) {
	b := newBench(t)
	reg := b.hosts.(register)
	vm := func(name string) asset.VM {
		return asset.VM{Name: name, Runs: true, Links: []asset.Link{{MAC: "52:54:00:00:00:01", To: "br0", Up: true}, {MAC: "52:54:00:00:00:02", To: "br1"}}}
	}
	reg.hosts["vh"] = asset.Host{ID: "vh", Name: "VH-01", Site: "callcentre", Keep: "基幹", Services: []asset.Service{{Name: "すべて"}},
		Health: asset.Health{VMs: []asset.VM{vm("cc-pc-07"), vm("pacs"), vm("unnamed")}}}
	reg.hosts["pacs"] = asset.Host{ID: "pacs", Name: "PACS", Site: "callcentre", Keep: "院長の判断が要る"}
	reg.hubs["vh"] = hubAddr
	for name, want := range map[string]string{"pacs": "action.keep-listed", "unnamed": "action.keep-listed", "nothing": "action.keep-listed"} {
		q := part(CutVM)
		q.Host, q.Object = "vh", name
		if _, err := b.Plan(t.Context(), q); keyOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	q := part(CutVM)
	q.Host, q.Object = "vh", "cc-pc-07"
	a, err := b.Plan(t.Context(), q)
	b.must(err)
	if d := cmp.Diff([]string{"52:54:00:00:00:01 → br0"}, a.Cuts); d != "" || len(a.Consequences) != 1 || a.Consequences[0].Service != "予約電話" {
		t.Errorf("%s %+v", d, a.Consequences)
	}
	free := reg.hosts["vh"]
	free.Keep = ""
	reg.hosts["vh"] = free
	q.Object = "nothing"
	if _, err := b.Plan(t.Context(), q); fault.Of(err) != fault.Conflict {
		t.Errorf("an unknown machine: %v", err)
	}
}
