package hub_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/vault"
)

// TestWhoTouchesACopyFreezesWhatIsKept: somebody removes files of a copy in
// another place, which is for all sites; what the hub keeps of that machine is
// frozen until a person looks, its path stays open, people are told once, and
// letting go is refused.
func TestWhoTouchesACopyFreezesWhatIsKept(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("restic")
	if err != nil {
		t.Skip("restic is not installed")
	}
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	machine, c := h.Enrol("clinic", "pc-1"), h.Person("sato", "", auth.Responder)
	host := machine.Identity().Host
	backedUp(t, h, c, machine, program)
	away := t.TempDir()
	var place api.CopyPlaceLine
	c.Must(http.MethodPost, "/protect/copy-places", api.CopyPlaceIn{Name: "別館", Where: "elsewhere", Kind: "folder", Dir: away, Every: 24, Reread: 7}, &place)
	copied := func(problem string) {
		t.Helper()
		c.Must(http.MethodPost, "/protect/copy-places/"+place.ID+"/run", api.CopyRun{}, nil)
		h.Await("a copy with the problem "+problem, func() bool {
			all := hubtest.List[api.CopyLine](c, "/protect/copies")
			return slices.ContainsFunc(all, func(l api.CopyLine) bool { return l.Agent == host && l.Problem == problem && !l.At.IsZero() })
		})
	}
	copied("")
	snapshots, err := filepath.Glob(filepath.Join(away, host, "snapshots", "*"))
	if err != nil || len(snapshots) == 0 {
		t.Fatalf("no snapshot to remove: %v", err)
	}
	if err := os.Remove(snapshots[0]); err != nil {
		t.Fatal(err)
	}
	copied("protect.copy.problem.touched")

	cuts := func() []vault.Cut { return hubtest.List[vault.Cut](c, "/protect/cuts?site=clinic") }
	h.Await("the freeze with its incident", func() bool {
		return slices.ContainsFunc(cuts(), func(x vault.Cut) bool { return x.Kept && x.Holds() && x.Host == host && x.Incident != "" })
	})
	if all := cuts(); len(all) != 1 || len(all[0].Paths) != 1 || all[0].Paths[0].Agent != host {
		t.Errorf("cuts %+v, want one freeze of one machine", all)
	}
	if r := hubtest.Get[vault.Repository](c, "/protect/repositories/"+host); r.Frozen == "" || r.Cut != "" {
		t.Errorf("frozen %q, cut %q", r.Frozen, r.Cut)
	}
	told := slices.DeleteFunc(hubtest.List[alert.Alert](c, "/alerts"), func(a alert.Alert) bool { return !strings.HasPrefix(a.Rule.ID, "sonae-copy-") })
	if len(told) != 1 || told[0].Count != 1 || told[0].Site != "clinic" || told[0].Host != host {
		t.Errorf("alerts %+v, want one that counts one finding", told)
	}
}

// backedUp makes a real backup of a machine.
func backedUp(t *testing.T, h *hubtest.Hub, c *hubtest.Client, machine *hubtest.Agent, program string) {
	t.Helper()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "1.txt"), []byte("患者"), 0o600); err != nil {
		t.Fatal(err)
	}
	runAgent(t, machine, program)
	var class policy.Class
	c.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "clinic", Name: "書類", Owner: c.Person.ID, Data: []string{"sensitive"}, MaxLoss: 24}, &class)
	var made policy.Policy
	c.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "clinic", Class: class.ID, Name: "毎晩", Owner: c.Person.ID, Hosts: []string{machine.Identity().Host},
		Sources: []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{data}}}, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, &made)
	c.Must(http.MethodPost, "/protect/policies/"+made.ID+"/run", api.RunBackup{Host: machine.Identity().Host}, nil)
	h.Await("the end of the backup", func() bool {
		list := hubtest.List[api.BackupRunOut](c, "/protect/runs?policy="+made.ID)
		return len(list) == 1 && list[0].State == policy.OK
	})
}
