package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/backup"
	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/protect/vault"
)

// TestAPolicyIsBackedUpAndProven: a person writes a policy and has it run; a real
// agent with stock restic backs up into the hub's repository, the overview counts
// that copy, a drill restores it and proves it, and the forecast moves.
func TestAPolicyIsBackedUpAndProven(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("restic")
	if err != nil {
		t.Skip("restic is not installed")
	}
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	machine, c := h.Enrol("clinic", "pc-1"), h.Person("sato", "", auth.Responder)
	host := machine.Identity().Host
	data := t.TempDir()
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(data, strconv.Itoa(i)+".txt"), []byte("患者 "+strconv.Itoa(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runAgent(t, machine, program)

	var class policy.Class
	c.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "clinic", Name: "電子カルテ", Owner: c.Person.ID, Data: []string{"sensitive"}, Medical: true, MaxLoss: 24}, &class)
	var made policy.Policy
	c.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "clinic", Class: class.ID, Name: "毎晩", Owner: c.Person.ID, Hosts: []string{host},
		Sources: []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{data}}}, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, &made)
	c.Must(http.MethodPost, "/protect/policies/"+made.ID+"/run", api.RunBackup{Host: host}, nil)
	var run api.BackupRunOut
	h.Await("the end of the run", func() bool {
		list := hubtest.List[api.BackupRunOut](c, "/protect/runs?policy="+made.ID)
		if len(list) == 1 {
			run = list[0]
		}
		return !run.Ended.IsZero()
	})
	if run.State != policy.OK || run.Result == nil || len(run.Result.Sources) != 1 || run.Result.Sources[0].Snapshots[0].Files != 40 {
		t.Fatalf("%+v %+v", run.Run, run.Result)
	}

	var o policy.Overview
	c.Must(http.MethodGet, "/protect?site=clinic", nil, &o)
	if len(o.Covers) != 1 || len(o.Covers[0].Parts) != 1 || len(o.Covers[0].Parts[0].Copies) != 1 || o.Covers[0].Parts[0].Copies[0].Medium != policy.AtHub || o.Covers[0].Proof != policy.Never {
		t.Errorf("%+v", o.Covers)
	} else if x := o.Covers[0].Parts[0].Copies[0]; x.Generations != 1 || !x.Newest.Equal(run.Ended) || x.TooOld {
		t.Errorf("after one run the hub has %+v, which ended at %v", x, run.Ended)
	}

	back := planRecovery(c, class.ID)
	before, line := back.expected(t)

	var def drill.Definition
	c.Must(http.MethodPost, "/restore-drills", api.RestoreDrillIn{Name: "電子カルテの復元", Class: class.ID, Host: host, Level: string(drill.Files), Pick: drill.Pick{How: "newest"}, Every: 1}, &def)
	c.Must(http.MethodPost, "/restore-drills/"+def.ID+"/runs", nil, nil)
	var tried api.RestoreDrillRun
	h.Await("the end of the drill", func() bool {
		list := hubtest.List[api.RestoreDrillRun](c, "/restore-drills/"+def.ID+"/runs")
		if len(list) == 1 {
			tried = list[0]
		}
		return !tried.EndedAt.IsZero()
	})
	if tried.State != drill.Passed {
		t.Fatalf("%+v", tried)
	}
	c.Must(http.MethodGet, "/protect?site=clinic", nil, &o)
	if len(o.Covers) != 1 || o.Covers[0].Proved.IsZero() {
		t.Errorf("%+v", o.Covers)
	}
	back.movedFrom(t, before, line)
	var past []string
	for _, l := range hubtest.List[api.BackupHistoryLine](c, "/protect/history?host="+host) {
		past = append(past, l.Key)
	}
	if !slices.Equal(past, []string{"proof.passed", "backup.ok", "policy.made"}) {
		t.Errorf("the history says %v", past)
	}

	var records policy.Class // of the same machine, and never restored
	c.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "clinic", Name: "検査", Owner: c.Person.ID, Data: []string{"sensitive"}, MaxLoss: 24}, &records)
	c.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "clinic", Class: records.ID, Name: "検査 毎晩", Owner: c.Person.ID, Hosts: []string{host},
		Sources: []job.Source{{Name: "db", Kind: job.PostgreSQL}}, Schedule: policy.Schedule{Times: []string{"02:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, nil)
	c.Must(http.MethodGet, "/protect?site=clinic", nil, &o)
	if len(o.Covers) != 2 || o.Covers[0].Proof != policy.Proven || o.Covers[1].Proof != policy.Never || o.Line.Proof != policy.Never {
		t.Errorf("a drill of one policy proves another one of the machine: %+v", o.Covers)
	}
}

// runAgent runs the agent of a machine with its part that backs up.
func runAgent(t *testing.T, machine *hubtest.Agent, restic string) {
	t.Helper()
	a, err := agent.New(agent.Config{Dir: machine.Dir, Version: "test", Heartbeat: time.Second}, machine.Client, time.Now, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	work(t, a, backup.New(backup.Config{Dir: filepath.Join(machine.Dir, "backup"), Hooks: filepath.Join(machine.Dir, "hooks"), Restic: []string{restic}, Host: machine.Identity().Host,
		Link: machine.Client, Ahead: a.Ahead, Now: time.Now, Log: hubtest.Log(t)}))
}

// work runs an agent until the test ends.
func work(t *testing.T, a *agent.Agent, jobs agent.Worker) {
	t.Helper()
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

// liar is what does the jobs of a machine that somebody else owns: nothing, and it
// says that all went well.
type liar struct{ id string }

func (liar) Can(k order.Kind) bool { return k == order.Backup }

func (l liar) Do(_ context.Context, o order.Order) order.Result {
	now := time.Now().UTC()
	told := job.Result{Job: o.Action, Kind: job.Backup, State: job.OK, Start: now, End: now, Restic: "0.18.0", Sources: []job.SourceResult{
		{Name: "data", Kind: job.Folder, State: job.OK, Snapshots: []job.Snapshot{{ID: l.id, Files: 40, Bytes: 4000, Complete: true}}}}}
	report, err := json.Marshal(job.Report{Result: &told})
	if err != nil {
		return order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Failed, Detail: err.Error(), At: now}
	}
	return order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Done, Detail: string(job.OK), At: now, Report: report}
}

// TestAMachineThatOnlySaysThatItBacksUpHasNoBackup: the hub holds what an agent says
// of its backup against what its repository received.
func TestAMachineThatOnlySaysThatItBacksUpHasNoBackup(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	machine, c := h.Enrol("clinic", "pc-1"), h.Person("sato", "", auth.Responder)
	a, err := agent.New(agent.Config{Dir: machine.Dir, Version: "test", Heartbeat: time.Second}, machine.Client, time.Now, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	work(t, a, liar{strings.Repeat("0123abcd", 8)})
	var class policy.Class
	c.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "clinic", Name: "電子カルテ", Owner: c.Person.ID, Data: []string{"sensitive"}, MaxLoss: 24}, &class)
	var made policy.Policy
	c.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "clinic", Class: class.ID, Name: "毎晩", Owner: c.Person.ID, Hosts: []string{machine.Identity().Host},
		Sources: []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{"/srv/data"}}}, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, &made)
	c.Must(http.MethodPost, "/protect/policies/"+made.ID+"/run", api.RunBackup{Host: machine.Identity().Host}, nil)
	var got api.BackupRunOut
	h.Await("the end of the run", func() bool {
		if list := hubtest.List[api.BackupRunOut](c, "/protect/runs?policy="+made.ID); len(list) == 1 {
			got = list[0]
		}
		return !got.Ended.IsZero()
	})
	if got.State != policy.Failed || got.Why != "not-received" || got.Detail != "0123abcd" {
		t.Errorf("%+v", got.Run)
	}
	var o policy.Overview
	c.Must(http.MethodGet, "/protect?site=clinic", nil, &o)
	if !o.Line.Any || o.Line.Loss != -1 || len(o.Covers) != 1 || !o.Covers[0].Newest.IsZero() {
		t.Errorf("%+v", o)
	}
}

// TestAMachineWithoutResticGetsTheApprovedOne: an administrator brings restic, another
// person approves it, and a machine that has none fetches it and backs up with it.
func TestAMachineWithoutResticGetsTheApprovedOne(t *testing.T) {
	body, version := newestRestic(t)
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	machine, admin, approves, c := h.Enrol("clinic", "pc-1"), h.FirstAdmin(), h.Person("tanaka", "", auth.Approver), h.Person("sato", "", auth.Responder)
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "1.txt"), []byte("患者"), 0o600); err != nil {
		t.Fatal(err)
	}
	runAgent(t, machine, "/nowhere/restic")
	var tool vault.Tool
	admin.Must(http.MethodPost, "/protect/tools?version="+version+"&why=Debian&file=restic", body, &tool)
	approves.Must(http.MethodPost, "/protect/tools/"+tool.ID+"/approve", nil, nil)
	var class policy.Class
	c.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "clinic", Name: "書類", Owner: c.Person.ID, Data: []string{"sensitive"}, MaxLoss: 24}, &class)
	var made policy.Policy
	c.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "clinic", Class: class.ID, Name: "毎晩", Owner: c.Person.ID, Hosts: []string{machine.Identity().Host},
		Sources: []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{data}}}, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, &made)
	c.Must(http.MethodPost, "/protect/policies/"+made.ID+"/run", api.RunBackup{Host: machine.Identity().Host}, nil)
	var run api.BackupRunOut
	h.Await("the end of the run", func() bool {
		if list := hubtest.List[api.BackupRunOut](c, "/protect/runs?policy="+made.ID); len(list) == 1 {
			run = list[0]
		}
		return !run.Ended.IsZero()
	})
	if run.State != policy.OK || run.Result == nil || run.Result.Restic != version {
		t.Errorf("%+v %+v", run.Run, run.Result)
	}
}

// newestRestic is a restic that lacks nothing, with its version.
func newestRestic(t *testing.T) (hubtest.Raw, string) {
	t.Helper()
	for _, p := range restictest.All(t) {
		if body, err := os.ReadFile(p.Path); err == nil {
			return body, p.Version
		}
	}
	t.Skip("there is no restic beside the machine's own: make s3")
	return nil, ""
}
