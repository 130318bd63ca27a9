package hub_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restore"
)

// TestADatabaseGoesBackToAMoment: two policies save a PostgreSQL server in use, the
// whole of it and its WAL. People ask for the moment before a wrong UPDATE and name
// nothing but the base backup: the hub finds the WAL, its pass lets the machine read
// it, and the cluster lies there, ready to be started. What cannot be had is refused,
// also in the view of a time at which the WAL did not reach so far.
func TestADatabaseGoesBackToAMoment(t *testing.T) {
	program, err := exec.LookPath("restic")
	if err != nil {
		t.Skip("restic is not installed")
	}
	db := startDatabase(t)
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	machine := h.Enrol("clinic", "pc-1")
	sato, tanaka := h.Person("sato", "", auth.Responder), h.Person("tanaka", "", auth.Responder)
	runAgent(t, machine, program)
	r := &restorer{Client: sato, second: tanaka, h: h, t: t, host: machine.Identity().Host}
	var class policy.Class
	r.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "clinic", Name: "電子カルテ", Owner: r.Person.ID, Data: []string{"sensitive"}, Medical: true, MaxLoss: 24}, &class)
	saves := func(name string, kind job.SourceKind) (made policy.Policy) {
		t.Helper()
		r.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "clinic", Class: class.ID, Name: name, Owner: r.Person.ID, Hosts: []string{r.host},
			Sources:  []job.Source{{Name: name, Kind: kind, Server: db.dir, Port: 15434, User: "nobody", Dir: db.dir + "/wal"}},
			Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, &made)
		return made
	}
	wal, base := saves("wal", job.PostgreSQLWAL), saves("base", job.PostgreSQLBase)
	db.sql("CREATE TABLE visits AS SELECT n FROM generate_series(1, 1000) n")
	r.backUp(wal)
	r.backUp(base)
	db.sql("INSERT INTO visits VALUES (1001)")
	time.Sleep(1100 * time.Millisecond) // the base backup tells no fractions of its last second
	moment := time.Now().UTC().Truncate(time.Microsecond)
	db.sql("UPDATE visits SET n = 0")
	before := time.Now().UTC()
	r.backUp(wal)

	var all api.RestoreSnapshots
	r.Must(http.MethodGet, "/protect/restore/agents/"+r.host+"/snapshots", nil, &all)
	if len(all.Items) != 3 || all.Items[1].Paths[0] != "/base.base.tar" {
		t.Fatalf("%+v", all.Items)
	}
	in := api.RestoreIn{Agent: r.host, Snapshot: all.Items[1].ID, Paths: []string{"/base.base.tar"}, Target: db.dir + "/back", Download: 1 << 20, Reason: "条件のない UPDATE",
		Load: &api.RestoreLoad{Kind: "postgresql-base", User: "nobody", Moment: moment}}
	for key, change := range map[string]func(*api.RestoreIn){
		"protect.restore.moment-early": func(in *api.RestoreIn) { in.Load.Moment = all.Items[1].Time.Add(-time.Hour) },
		"protect.restore.moment-late":  func(in *api.RestoreIn) { in.Load.Moment = moment.Add(time.Hour) },
		"protect.restore.wal-none":     func(in *api.RestoreIn) { in.AsOf = before },
	} {
		wrong, load := in, *in.Load
		wrong.Load = &load
		change(&wrong)
		if got := r.Refused(http.StatusBadRequest, http.MethodPost, "/protect/restores", wrong); got != key {
			t.Errorf("%s instead of %s", got, key)
		}
	}

	var asked restore.Request
	r.Must(http.MethodPost, "/protect/restores", in, &asked)
	if asked.WAL() == nil || *asked.WAL() != (job.WAL{Snapshot: all.Items[0].ID, Path: db.dir + "/wal"}) {
		t.Fatalf("%+v", asked.Load)
	}
	path := "/protect/restores/" + asked.ID
	state := func(want restore.State) (got api.RestoreLine) {
		t.Helper()
		h.Await("the restore is "+string(want), func() bool {
			got = hubtest.Get[api.RestoreLine](r.Client, path)
			return got.State == want || got.State.Over()
		})
		if got.State != want {
			t.Fatalf("%s: %s; %+v", got.State, got.Why, got.Result)
		}
		return got
	}
	tanaka.Must(http.MethodPost, path+"/approve", nil, nil)
	if held := state(restore.Held); held.Scan.Files < 3 { // nobody scans here
		t.Errorf("%+v", held.Scan)
	}
	tanaka.Must(http.MethodPost, path+"/pass", api.Reason{Reason: "訓練"}, nil)
	got := state(restore.Restored).Result.Restore
	if got.Loaded != db.dir+"/back.cluster" || !got.Moment.Equal(moment) || got.Verified != got.Files || got.Files < 3 {
		t.Errorf("%+v", got)
	}
	set, err := os.ReadFile(got.Loaded + "/postgresql.auto.conf")
	if err != nil || !strings.Contains(string(set), moment.Format("2006-01-02 15:04:05.000000")) {
		t.Errorf("%s, %v", set, err)
	}
}

// database is a real PostgreSQL server of the account nobody on a socket.
type database struct {
	t        *testing.T
	bin, dir string
}

func startDatabase(t *testing.T) *database {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(bins) == 0 || os.Geteuid() != 0 {
		t.Skip("PostgreSQL is not installed, or the test is not root")
	}
	dir, err := os.MkdirTemp("/tmp", "sonae-pg") // its user must be able to enter the folders above, and a socket's name is short
	ok(t, err)
	d := &database{t, filepath.Dir(bins[len(bins)-1]), dir}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ok(t, exec.Command("chown", "nobody", dir).Run())
	d.run("initdb", "-D", dir+"/data", "-U", "nobody", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-instructions", "--no-sync")
	d.run("pg_ctl", "start", "-D", dir+"/data", "-l", dir+"/log", "-o", "-p 15434 -c listen_addresses= -c fsync=off -c unix_socket_directories="+dir)
	t.Cleanup(func() { d.run("pg_ctl", "stop", "-m", "fast", "-D", dir+"/data") })
	return d
}

func (d *database) run(name string, args ...string) {
	d.t.Helper()
	cmd := exec.Command("setpriv", append([]string{"--reuid=nobody", "--regid=nogroup", "--clear-groups", filepath.Join(d.bin, name)}, args...)...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func (d *database) sql(text string) {
	d.t.Helper()
	d.run("psql", "-h", d.dir, "-p", "15434", "-X", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-Atc", text)
}
