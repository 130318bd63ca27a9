package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/backup"
	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/protect/vault"
)

// The hub is saved while it works, by the agent on its own machine and like
// everything else; what stock restic brings back is a hub that verifies. The
// password comes from the printed sheet, as on the day when the hub is gone.
func TestTheHubIsSavedByTheAgentOfItsMachine(t *testing.T) {
	p := restictest.Newest(t)
	identity, recipient := keyPair(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	if err := os.Symlink(self, filepath.Join(programs, "sonae")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	t.Setenv(asProgram, "1") // for what is started from here on
	h := hubtest.Start(t)
	one := h.FirstAdmin()
	in := one.Open(h.Raised(one))
	h.Site("clinic", "hospital")
	machine, c := h.Enrol("clinic", "hub-1"), h.Person("sato", "", auth.Responder)
	serveJobs(t, machine, p.Path)

	var class policy.Class
	c.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "clinic", Name: "備え", Owner: c.Person.ID}, &class)
	save := func(name string, s job.Source) policy.Run {
		t.Helper()
		var made policy.Policy
		c.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "clinic", Class: class.ID, Name: name, Owner: c.Person.ID, Hosts: []string{machine.Identity().Host},
			Sources: []job.Source{s}, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, &made)
		c.Must(http.MethodPost, "/protect/policies/"+made.ID+"/run", api.RunBackup{}, nil)
		var run api.BackupRunOut
		h.Await("the end of the run", func() bool {
			if list := hubtest.List[api.BackupRunOut](c, "/protect/runs?policy="+made.ID); len(list) == 1 {
				run = list[0]
			}
			return !run.Ended.IsZero()
		})
		return run.Run
	}
	run := save("ハブ", job.Source{Name: "hub", Kind: job.Hub, Dir: h.Dir, For: []string{recipient}})
	if run.State != policy.OK || len(run.Result.Sources[0].Snapshots) != 1 {
		t.Fatalf("%+v %+v", run, run.Result)
	}
	if bad := save("どこにもないハブ", job.Source{Name: "hub", Kind: job.Hub, Dir: t.TempDir(), For: []string{recipient}}); bad.State != policy.Failed || !strings.Contains(strings.Join(bad.Result.Sources[0].Errors, ""), "No hub answers") {
		t.Errorf("no hub: %+v %+v", bad, bad.Result)
	}

	_, second := keyPair(t)
	one.Must(http.MethodPut, "/protect/recipients", api.VaultRecipientsIn{List: []vault.Recipient{{Name: "金庫", Key: recipient}, {Name: "本部", Key: second}}, Why: "災害に備える"}, nil)
	var sheet struct {
		Password string `json:"password"`
	}
	one.Must(http.MethodPost, "/protect/repositories/"+machine.Identity().Host+"/sheet", nil, &sheet)
	p = p.At(filepath.Join(h.Dir, "repositories", machine.Identity().Host, "repository"), "--no-lock", "-q")
	p.Env = []string{"RESTIC_PASSWORD=" + sheet.Password}
	to := t.TempDir()
	p.Run(t, "restore", run.Result.Sources[0].Snapshots[0].ID, "--target", to)
	h.Stop()
	dir := hubtest.Folder(t)
	succeeds(t, "import", "--dir", dir, "--identity", identity, filepath.Join(to, "hub.hub.age"))
	if code, said := verified(dir); code != intact {
		t.Errorf("verify says %d\n%s", code, said)
	}
	again := hubtest.Start(t, hubtest.Dir(dir))
	if len(again.Again(one).Chronology(in.ID)) == 0 {
		t.Error("the chronology is empty")
	}
}

// serveJobs runs the agent of a machine with its part that backs up.
func serveJobs(t *testing.T, machine *hubtest.Agent, restic string) {
	t.Helper()
	a, err := agent.New(agent.Config{Dir: machine.Dir, Version: "test", Heartbeat: time.Second}, machine.Client, time.Now, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	jobs := backup.New(backup.Config{Dir: filepath.Join(machine.Dir, "backup"), Restic: []string{restic}, Host: machine.Identity().Host, Link: machine.Client, Ahead: a.Ahead, Now: time.Now, Log: hubtest.Log(t)})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx, agent.Parts{Backup: jobs}) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, a.Close()); err != nil {
			t.Error(err)
		}
	})
}
