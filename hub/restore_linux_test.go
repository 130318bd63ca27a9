package hub_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/evidence/antivirus/clamdtest"
	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
)

// TestWhatWasDestroyedIsRestored: a real agent with stock restic has backed up a
// folder, and backs it up once more after everything in it was destroyed. What
// was there before is restored where it was and on another machine, after two
// people and a scan, as of a time that knows nothing of what came later; every
// byte, the rights, times and extended attributes are back; nobody can read the
// repository afterwards, and the chronology tells of every step.
func TestWhatWasDestroyedIsRestored(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("restic")
	if err != nil {
		t.Skip("restic is not installed")
	}
	clamd := clamdtest.Start(t)
	h := hubtest.Start(t, func(c *hub.Config) { c.Clamd = clamd.Address })
	h.Site("clinic", "hospital")
	machine, spare := h.Enrol("clinic", "pc-1"), h.Enrol("clinic", "pc-2")
	sato, tanaka := h.Person("sato", "", auth.Responder), h.Person("tanaka", "", auth.Responder)
	runAgent(t, machine, program)
	runAgent(t, spare, program)
	r := &restorer{Client: sato, second: tanaka, h: h, t: t, host: machine.Identity().Host, data: t.TempDir()}
	writeRecords(t, r.data)
	before := manifest(t, r.data)

	made := r.policy()
	r.backUp(made)
	asOf := time.Now().UTC()
	destroyRecords(t, r.data)
	destroyed := manifest(t, r.data)
	r.backUp(made)

	var past, now api.RestoreSnapshots
	at := "/protect/restore/agents/" + r.host + "/snapshots"
	r.Must(http.MethodGet, at, nil, &now)
	r.Must(http.MethodGet, at+"?as_of="+asOf.Format(time.RFC3339Nano), nil, &past)
	if len(now.Items) != 2 || len(past.Items) != 1 || past.Items[0].ID != now.Items[1].ID {
		t.Fatalf("%d snapshots, %d as of the time before", len(now.Items), len(past.Items))
	}
	var in incident.Incident
	r.Must(http.MethodPost, "/incidents", api.NewIncident{Title: "暗号化", Severity: "critical", Sites: []string{"clinic"}}, &in)

	// elsewhere, only part of it, while the second machine has nothing of it
	there := t.TempDir()
	got := r.restored(api.RestoreIn{Agent: r.host, Snapshot: past.Items[0].ID, AsOf: asOf, Host: spare.Identity().Host, Target: there, Paths: []string{r.data + "/sub"},
		Incident: in.ID, Reason: "予備機で診療を続けるため"})
	if back := got.Result.Restore; back.Files != 31 || back.Verified != 31 || back.Wrong+back.Changed+back.Skipped > 0 {
		t.Errorf("%+v", back)
	}
	same(t, filepath.Join(there, r.data, "sub"), filepath.Join(r.data, "sub"), before)

	// where it was
	got = r.restored(api.RestoreIn{Agent: r.host, Snapshot: past.Items[0].ID, AsOf: asOf, Over: true, Incident: in.ID, Reason: "暗号化されたため"})
	if back := got.Result.Restore; back.Verified != 62 || back.Wrong > 0 || back.Changed > 0 {
		t.Errorf("%+v", back)
	}
	after := manifest(t, r.data)
	for path, was := range before {
		if after[path] != was {
			t.Errorf("%s is %s, and was %s", path, after[path], was)
		}
	}
	if after[filepath.Join(r.data, "README.locked")] != destroyed[filepath.Join(r.data, "README.locked")] {
		t.Error("a restore removed what it knows nothing of")
	}

	// nobody reads any more, and both names stand with each pass
	h.Await("the end of the passes", func() bool {
		passes := hubtest.List[vault.Pass](sato, "/protect/passes?site=clinic")
		for _, p := range passes {
			if p.State != vault.PassEnded || p.AskedBy != sato.Person.ID || p.DecidedBy != tanaka.Person.ID || p.Agent != r.host || !p.AsOf.Equal(asOf.Truncate(time.Microsecond)) && !p.AsOf.Equal(asOf) {
				t.Logf("%+v", p)
				return false
			}
		}
		return len(passes) == 2
	})
	for _, key := range []string{"restore.asked", "restore.scanning", "vault.pass-opened", "restore.ordered", "restore.running", "restore.restored", "vault.pass-closed", "restore.released"} {
		r.Written(in.ID, key)
	}
	if key := r.Refused(http.StatusNotFound, http.MethodPost, "/protect/restores", api.RestoreIn{Agent: r.host, Snapshot: now.Items[0].ID, AsOf: asOf, Reason: "後の世代"}); key != "protect.restore.no-snapshot" {
		t.Errorf("what came later is restored as of before: %s", key)
	}
}

// restorer is a person who restores, and the second one.
type restorer struct {
	*hubtest.Client
	second *hubtest.Client
	h      *hubtest.Hub
	t      *testing.T
	host   string // of the machine
	data   string // folder that is backed up
}

func (r *restorer) policy() (made policy.Policy) {
	r.t.Helper()
	var class policy.Class
	r.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "clinic", Name: "電子カルテ", Owner: r.Person.ID, Data: []string{"sensitive"}, Medical: true, MaxLoss: 24}, &class)
	r.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "clinic", Class: class.ID, Name: "毎晩", Owner: r.Person.ID, Hosts: []string{r.host},
		Sources: []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{r.data}}}, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, &made)
	return made
}

// backUp runs a policy to its end.
func (r *restorer) backUp(p policy.Policy) {
	r.t.Helper()
	done := func() (n int, last policy.State) {
		for _, run := range hubtest.List[api.BackupRunOut](r.Client, "/protect/runs?policy="+p.ID) {
			if !run.Ended.IsZero() {
				n, last = n+1, run.State
			}
		}
		return n, last
	}
	had, _ := done()
	r.Must(http.MethodPost, "/protect/policies/"+p.ID+"/run", api.RunBackup{Host: r.host}, nil)
	r.h.Await("the end of the run", func() bool { n, _ := done(); return n > had })
	if _, state := done(); state != policy.OK {
		r.t.Fatalf("the backup is %s", state)
	}
}

// restored asks for a restore, has it approved by the second person, waits until
// it is there, and releases it.
func (r *restorer) restored(in api.RestoreIn) (got api.RestoreLine) {
	r.t.Helper()
	var asked restore.Request
	r.Must(http.MethodPost, "/protect/restores", in, &asked)
	path := "/protect/restores/" + asked.ID
	if key := r.Refused(http.StatusForbidden, http.MethodPost, path+"/approve", nil); key != "protect.restore.two-people" {
		r.t.Errorf("who asked approves: %s", key)
	}
	r.second.Must(http.MethodPost, path+"/approve", nil, nil)
	r.h.Await("the restore", func() bool {
		got = hubtest.Get[api.RestoreLine](r.Client, path)
		return got.State == restore.Restored || got.State.Over() || got.State == restore.Held
	})
	if got.State != restore.Restored || !got.Scan.Clean() {
		r.t.Fatalf("%s: %s; %+v; %+v", got.State, got.Why, got.Scan, got.Result)
	}
	r.second.Must(http.MethodPost, path+"/release", nil, nil)
	return got
}

// writeRecords makes 62 files with rights, times, attributes and links.
func writeRecords(t *testing.T, dir string) {
	t.Helper()
	sub := filepath.Join(dir, "sub")
	ok(t, os.Mkdir(sub, 0o750))
	for i := range 60 {
		at := filepath.Join(dir, strconv.Itoa(i)+".txt")
		if i%2 == 0 {
			at = filepath.Join(sub, strconv.Itoa(i)+".txt")
		}
		ok(t, os.WriteFile(at, []byte(strings.Repeat("患者 "+strconv.Itoa(i)+"\n", 1+i*40)), 0o640))
		ok(t, os.Chtimes(at, time.Time{}, time.Date(2024, 5, 1, 0, i, 7, 123456789, time.UTC)))
	}
	ok(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	large := make([]byte, 3<<20)
	for i := range large {
		large[i] = byte(i * i >> 3)
	}
	ok(t, os.WriteFile(filepath.Join(sub, "画像.dcm"), large, 0o444))
	ok(t, os.Symlink("sub/0.txt", filepath.Join(dir, "link")))
	if err := unix.Setxattr(filepath.Join(dir, "1.txt"), attribute, []byte("17"), 0); err != nil {
		t.Logf("no extended attributes here: %v", err)
	}
}

// destroyRecords does what ransomware does.
func destroyRecords(t *testing.T, dir string) {
	t.Helper()
	n := 0
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		switch n++; n % 3 {
		case 0:
			return os.Remove(path)
		case 1:
			ok(t, os.Chmod(path, 0o600))
			return os.WriteFile(path, []byte("locked "+path), 0o600)
		}
		return os.Rename(path, path+".locked")
	}))
	ok(t, os.Remove(filepath.Join(dir, "link")))
	ok(t, os.WriteFile(filepath.Join(dir, "README.locked"), []byte("pay"), 0o600))
}

const attribute = "user.patient"

// manifest says of every file and link what it is.
func manifest(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			all[path] = "→ " + to
			return err
		}
		b, err := os.ReadFile(path)
		attr := make([]byte, 64)
		n, _ := unix.Getxattr(path, attribute, attr) // most have none
		all[path] = fmt.Sprintf("%x %s %s %s", sha256.Sum256(b), info.Mode(), info.ModTime().UTC(), attr[:max(0, n)])
		return err
	}))
	return all
}

// same compares a copy of a folder with what a manifest says of the folder.
func same(t *testing.T, at, of string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for path, what := range manifest(t, at) {
		got[of+strings.TrimPrefix(path, at)] = what
	}
	wanted := maps.Clone(want)
	maps.DeleteFunc(wanted, func(path, _ string) bool { return !strings.HasPrefix(path, of+"/") })
	if !maps.Equal(got, wanted) {
		t.Errorf("%s is not what %s was: %d of %d files", at, of, len(got), len(wanted))
		for path, what := range wanted {
			if got[path] != what {
				t.Errorf("%s is %s, and was %s", path, got[path], what)
			}
		}
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
