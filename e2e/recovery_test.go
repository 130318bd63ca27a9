//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/bench/guard/ground"
	"github.com/sonae/sonae/bench/guard/proof"
	"github.com/sonae/sonae/bench/guard/tally"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/e2e/netns"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
)

// recovery is a hospital whose file server, with a database in use, is backed
// up, attacked and brought back.
type recovery struct {
	*story
	ground string // what may be destroyed, on a volume of its own: files and database
	token  string
	work   string // not watched
	begin  string // file for which a hook waits before a backup begins
	encsim string

	tree *grown
	db   *database

	class  policy.Class
	policy policy.Policy
	plan   string // id

	good   policy.Run      // the newest run before the attack
	clean  map[string]leaf // the tree as it was then
	least  int             // rows that were committed before that run began
	most   int             // and when it was over
	bad    policy.Run      // the run during the attack
	points map[string]anomaly.CleanPoint
}

// Sources of the policy, and what the machine runs before them.
const (
	hook       = "let-begin"
	treeSource = "files"
	baseSource = "database"
)

// TestRecovery: a file server with a database in use is backed up on schedule;
// an intruder encrypts a part of it and, with the agent's stolen key, tries to
// destroy the backups. The backups are intact, the path to them is cut, the last
// clean point is the right one, every byte and every row comes back by the order
// of two people, and all of the times stand in the chronology and move the
// forecast.
func TestRecovery(t *testing.T) {
	t.Parallel()
	r := newRecovery(t)
	r.backedUp(t)
	expected := r.planned(t)
	thief, attack := r.encrypted(t)
	in := r.robbed(t, thief, r.underWay(t))
	r.destroyed(t, attack)
	r.refusesBackups(t)
	r.intact(t, in, thief.password)
	r.cleanPoints(t, in)
	r.filesBack(t, in)
	r.databaseBack(t, in)
	r.moved(t, expected)
	r.releasesThePath(t, in)
	r.recounts(t, in)
	r.looks(t, in)
	r.provable(t, in)
}

func newRecovery(t *testing.T) *recovery {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	programs := build(t)
	w, err := netns.New("rc")
	must(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &recovery{story: &story{world: w}, work: t.TempDir(), points: map[string]anomaly.CleanPoint{}}
	hub := add(t, w, "hub", "192.168.10.5/24", "2001:db8:10::5/64")
	server := add(t, w, "files", "192.168.50.10/24", "2001:db8:50::10/64")
	r.plant(t, server)
	r.hub = startHubWith(t, hub, hubProcess{program: programs.hub, args: []string{"serve"}, dir: filepath.Join(t.TempDir(), "hub")})
	r.admin = r.hub.join(t, r.hub.link, "admin", "病院 情報担当")
	r.site(t, "hospital", "中央病院", "hospital", "")
	r.second = r.admin.invite(t, "second", "病院 副責任者", "", "responder", "approver")
	program, err := exec.LookPath(restictest.Newest(t).Path)
	must(t, err)
	program, err = filepath.Abs(program)
	must(t, err)
	r.pc = r.admin.enrolWith(t, server, agentProcess{program: programs.agent, flags: []string{"--interface", "eth0", "--restic", program, "--hooks", r.hooks(t),
		"--guard", r.ground, "--guard-allow", r.allowed(t)}}, "hospital", "files-01")
	return r
}

// plant makes the files and the database on a volume that nobody else uses, and
// builds the simulator.
func (r *recovery) plant(t *testing.T, server *netns.Host) {
	t.Helper()
	openForAll(t, filepath.Join(r.work, "x"))
	v, err := proof.Tmpfs(r.work, 1200)
	must(t, err)
	t.Cleanup(func() { _ = v.Close() })
	r.ground = filepath.Join(v.Dir, "server")
	must(t, os.Mkdir(r.ground, 0o755))
	r.token, err = ground.Mark(r.ground)
	must(t, err)
	r.tree = grow(t, filepath.Join(r.ground, "files"), 1)
	r.db = newDatabase(t, server, filepath.Join(r.ground, "db"))
	r.db.begin(t)
	r.db.write(t)
	r.encsim = filepath.Join(r.work, "backup-helper")
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", r.encsim, "../bench/guard/encsim").CombinedOutput(); err != nil {
		t.Fatalf("build encsim: %v: %s", err, out)
	}
}

// hooks is the administrator's folder with a program that lets backups begin. It
// waits for a file: so a backup can be kept under way until the test has seen
// what becomes of it.
func (r *recovery) hooks(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(r.work, "hooks")
	r.begin = filepath.Join(r.work, "begin")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, hook), []byte("#!/bin/sh\nuntil [ -e "+r.begin+" ]; do sleep 0.1; done\n"), 0o700))
	must(t, os.WriteFile(r.begin, nil, 0o600))
	return dir
}

// allowed is the guard's list of programs that may change any file. The
// simulator is on it, as a tool would be that the administrator allowed and an
// intruder uses: else the guard would stop it after a few files (TestRansom),
// and there would be nothing to bring back.
func (r *recovery) allowed(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(r.encsim)
	must(t, err)
	sum := sha256.Sum256(b)
	list := filepath.Join(r.work, "allowed")
	must(t, os.WriteFile(list, []byte(r.encsim+" "+hex.EncodeToString(sum[:])+"\n"), 0o600))
	return list
}

// backedUp: a person writes a policy; the hub begins two backups by itself at
// their times, with an ordinary day between them.
func (r *recovery) backedUp(t *testing.T) {
	t.Helper()
	r.admin.do(t, http.MethodPost, "/protect/classes", map[string]any{"site": "hospital", "name": "電子カルテ", "owner": r.admin.ID, "data": []string{"personal", "sensitive"},
		"medical": true, "max_loss_hours": 24, "max_down_hours": 48}, &r.class, http.StatusCreated)
	fields := map[string]any{"site": "hospital", "class": r.class.ID, "name": "毎日", "owner": r.admin.ID, "hosts": []string{r.pc.ID}, "keep": policy.Keep{Daily: 7, Monthly: 3},
		"sources": []job.Source{{Name: treeSource, Kind: job.Folder, Paths: []string{r.tree.dir}}, {Name: baseSource, Kind: job.PostgreSQLBase, Server: r.db.dir}},
		"hooks":   []job.Hook{{When: job.Before, Name: hook}}}
	fields["schedule"] = soon()
	r.admin.do(t, http.MethodPost, "/protect/policies", fields, &r.policy, http.StatusCreated)
	first := r.ran(t, 1)
	r.tree.work(t)
	r.clean = r.tree.state(t, r.tree.dir)
	r.least = r.db.written(t)
	fields["schedule"], fields["version"], fields["why"] = soon(), r.policy.Version, "取る時刻を早める"
	r.admin.do(t, http.MethodPut, "/protect/policies/"+r.policy.ID, fields, &r.policy, 0)
	r.good = r.ran(t, 2)
	r.most = r.db.written(t)
	for _, run := range []policy.Run{first, r.good} {
		seen, added := run.Bytes()
		t.Logf("backup by the schedule: %s, %d MB, %d MB of it new", run.Took(run.Ended).Round(time.Millisecond), seen>>20, added>>20)
		if run.Slot.IsZero() || run.Asked != "" || run.State != policy.OK || len(run.Made()) != 2 {
			t.Fatalf("%+v: %+v", run, run.Result)
		}
	}
	if r.most <= r.least {
		t.Fatalf("no row was written during the backup: %d, %d", r.least, r.most)
	}
}

// soon is a schedule whose next time is the next minute that can still be met.
func soon() policy.Schedule {
	at := time.Now().Add(2 * time.Second).Truncate(time.Minute).Add(time.Minute)
	return policy.Schedule{Times: []string{at.In(clock.Tokyo()).Format("15:04")}, Window: 60}
}

// runs are those of the policy, the newest first.
func (r *recovery) runs(t *testing.T) []policy.Run {
	t.Helper()
	var l list[policy.Run]
	r.admin.do(t, http.MethodGet, "/protect/runs?policy="+r.policy.ID, nil, &l, 0)
	return l.Items
}

// ran waits for the end of the n-th run.
func (r *recovery) ran(t *testing.T, n int) (run policy.Run) {
	t.Helper()
	await(t, 10*time.Minute, fmt.Sprintf("the end of backup %d", n), func() bool {
		all := r.runs(t)
		if len(all) == n {
			run = all[0]
		}
		return len(all) == n && !run.State.Going()
	})
	return run
}

// shape is one way in which a part of the tree is encrypted.
type shape struct {
	args []string
	each int // files
}

// encrypted lets the simulator encrypt a tenth of the files in five ways,
// slowly, and has a backup made meanwhile: an intruder does not wait for the
// night. During that backup the thief learns the password of the repository.
func (r *recovery) encrypted(t *testing.T) (*thief, []*netns.Process) {
	t.Helper()
	var all []*netns.Process
	var pages []*tally.Page
	next := 1 // the first file has a second name
	for i, s := range []shape{
		{[]string{"-rename", "-note"}, 500}, {[]string{"-header", "512"}, 400}, {[]string{"-way", "copy"}, 400}, {[]string{"-way", "replace"}, 400}, {[]string{"-every", "2"}, 300},
	} {
		page, err := tally.Create(filepath.Join(r.work, fmt.Sprint("tally", i)))
		must(t, err)
		t.Cleanup(func() { _ = page.Close() })
		args := append([]string{"-dir", r.ground, "-token", r.token, "-tally", filepath.Join(r.work, fmt.Sprint("tally", i)), "-rate", "60"}, s.args...)
		for range s.each {
			args = append(args, "files/"+r.tree.files[next])
			next += 9 // of all folders a few, and of all kinds
		}
		all, pages = append(all, r.simulate(t, args)), append(pages, page)
	}
	await(t, time.Minute, "the simulator being at work", func() bool {
		return !slices.ContainsFunc(pages, func(p *tally.Page) bool { return p.Done() < 100 })
	})
	x := newThief(t, r.pc, "files-01")
	x.learn(t, r.asked(t))
	r.bad = r.ran(t, 3)
	if r.bad.State != policy.OK {
		t.Fatalf("%+v: %+v", r.bad, r.bad.Result)
	}
	return x, all
}

func (r *recovery) simulate(t *testing.T, args []string) *netns.Process {
	t.Helper()
	cmd := r.pc.host.Command(t.Context(), r.encsim, args...)
	logged(t, cmd, "the simulator")
	p, err := r.pc.host.Start(cmd)
	must(t, err)
	return p
}

// asked has a person begin a backup now.
func (r *recovery) asked(t *testing.T) (run string) {
	t.Helper()
	var l list[policy.Run]
	r.admin.do(t, http.MethodPost, "/protect/policies/"+r.policy.ID+"/run", map[string]string{"host": r.pc.ID}, &l, 0)
	return l.Items[0].ID
}

// underWay begins a backup that waits in its hook, and returns what lets it go
// on.
func (r *recovery) underWay(t *testing.T) (goOn func()) {
	t.Helper()
	must(t, os.Remove(r.begin))
	r.asked(t)
	await(t, 2*time.Minute, "a backup being under way", func() bool { return r.runs(t)[0].State == policy.Running })
	return func() { must(t, os.WriteFile(r.begin, nil, 0o600)) }
}

// robbed: what the thief tries is refused, somebody is told, the path of the
// site is cut, and all of that opens an incident. Nothing in the hub's folder
// was touched, and the backup that was under way is suspect and not taken.
func (r *recovery) robbed(t *testing.T, x *thief, goOn func()) (in incident.Incident) {
	t.Helper()
	before := r.stored(t)
	x.rob(t)
	if after := r.stored(t); !slices.Equal(before, after) {
		t.Errorf("the hub held %d files, and holds %d now, or other ones", len(before), len(after))
	}
	a := r.alert(t, vault.RuleTampering)
	var c vault.Cut
	await(t, 3*time.Minute, "the cut with its incident", func() bool {
		var l list[vault.Cut]
		r.admin.do(t, http.MethodGet, "/protect/cuts?site=hospital", nil, &l, 0)
		i := slices.IndexFunc(l.Items, func(x vault.Cut) bool { return !x.Kept }) // a score alone only keeps
		if i >= 0 {
			c = l.Items[i]
		}
		if c.Incident == "" {
			t.Logf("cuts so far: %+v", l.Items)
		}
		return c.Incident != ""
	})
	if !c.Holds() || c.Host != r.pc.ID || c.By != vault.Hub {
		t.Errorf("the cut: %+v", c)
	}
	if c.Rule == vault.RuleTampering {
		t.Logf("the path was cut %s after the first attempt", c.At.Sub(a.First).Round(time.Millisecond))
	}
	goOn()
	if run := r.ran(t, 4); run.Doubt == nil || !run.Counts().IsZero() || len(run.Made()) > 0 {
		t.Errorf("the backup that was under way: %+v: %+v", run, run.Result)
	}
	var refusals list[vault.Refusals]
	await(t, 2*time.Minute, "the refusals being on record", func() bool { // those of one reason are told together
		r.admin.do(t, http.MethodGet, "/protect/repositories/"+r.pc.ID+"/refusals", nil, &refusals, 0)
		return slices.ContainsFunc(refusals.Items, func(x vault.Refusals) bool { return x.Key == "protect.append-only" })
	})
	r.admin.do(t, http.MethodGet, "/incidents/"+c.Incident, nil, &in, 0)
	return in
}

// stored names every file of the repository in the hub's folder with its hash.
func (r *recovery) stored(t *testing.T) (all []string) {
	t.Helper()
	dir := filepath.Join(r.hub.dir, "repositories", r.pc.ID, "repository")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%s %x", strings.TrimPrefix(path, dir), sha256.Sum256(b)))
		return err
	})
	must(t, err)
	if len(all) < 10 {
		t.Fatalf("the repository in %s: %v", dir, all)
	}
	return all
}

// destroyed ends the attack with the database: its largest table is encrypted
// and the server killed. What was there is lost on the machine.
func (r *recovery) destroyed(t *testing.T, attack []*netns.Process) {
	t.Helper()
	for _, p := range attack {
		select {
		case <-p.Done():
		case <-time.After(2 * time.Minute):
			t.Fatal("the simulator does not end")
		}
	}
	table := filepath.Join("db", "data", r.db.ask(t, "SELECT pg_relation_filepath('visit')"))
	before, err := look(filepath.Join(r.ground, table))
	must(t, err)
	r.db.server.Kill9()
	p := r.simulate(t, []string{"-dir", r.ground, "-token", r.token, "-tally", filepath.Join(r.work, "tally0"), table})
	<-p.Done()
	if now, err := look(filepath.Join(r.ground, table)); err != nil || now.Sum == before.Sum {
		t.Fatalf("the table is as it was, or: %v", err)
	}
	lost := unlike(r.clean, r.tree.state(t, r.tree.dir))
	if len(lost) < 1900 {
		t.Fatalf("only %d files are lost: this proves little", len(lost))
	}
	t.Logf("%d of %d files and the database are lost", len(lost), len(r.tree.files))
}

// refusesBackups: nothing is taken from the site any more, and that is on
// record.
func (r *recovery) refusesBackups(t *testing.T) {
	t.Helper()
	before := r.repository(t)
	r.asked(t)
	run := r.ran(t, 5)
	if run.State != policy.Failed && run.State != policy.CouldNotRun || run.Why != "cut" || len(run.Made()) > 0 {
		t.Errorf("a backup after the cut: %+v: %+v", run, run.Result)
	}
	if after := r.repository(t); after.Snapshots != before.Snapshots || after.Used != before.Used {
		t.Errorf("the repository grew behind the cut: %+v, %+v", before, after)
	}
}

func (r *recovery) repository(t *testing.T) (v vault.Repository) {
	t.Helper()
	r.admin.do(t, http.MethodGet, "/protect/repositories/"+r.pc.ID, nil, &v, 0)
	return v
}

// intact: stock restic, with a pass that two people stand behind, reads every
// byte of the repository through the hub and finds it sound, and so does the
// hub's own reader.
func (r *recovery) intact(t *testing.T, in incident.Incident, password string) {
	t.Helper()
	r.admin.do(t, http.MethodPost, "/protect/repositories/"+r.pc.ID+"/reads", nil, nil, 0)
	var pass vault.Pass
	r.admin.do(t, http.MethodPost, "/protect/repositories/"+r.pc.ID+"/passes", map[string]string{"incident": in.ID, "why": "控えが無事かを restic で確かめる"}, &pass, http.StatusCreated)
	r.admin.do(t, http.MethodPost, "/protect/passes/"+pass.ID+"/approve", nil, nil, http.StatusForbidden)
	r.second.do(t, http.MethodPost, "/protect/passes/"+pass.ID+"/approve", nil, nil, 0)
	var token struct{ Token string }
	r.admin.do(t, http.MethodPost, "/protect/passes/"+pass.ID+"/token", nil, &token, http.StatusCreated)
	p := restictest.Newest(t)
	at := url.URL{Scheme: "https", User: url.UserPassword("restore", token.Token), Host: r.hub.host.IP() + ":8444", Path: "/restic/" + r.pc.ID + "/"}
	for _, args := range [][]string{{"check", "--read-data"}, {"snapshots"}} {
		cmd := r.hub.host.Command(t.Context(), p.Path, append([]string{"--no-cache", "-r", "rest:" + at.String(), "--cacert", filepath.Join(r.hub.dir, "ca.pem")}, args...)...)
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("restic %v: %v: %s", args, err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Logf("restic %s %v: %s", p.Version, args, lines[len(lines)-1])
	}
	r.second.do(t, http.MethodPost, "/protect/passes/"+pass.ID+"/end", map[string]string{"reason": "確かめ終えたため"}, nil, 0)
	var reads list[vault.Read]
	await(t, 5*time.Minute, "everything being read by the hub", func() bool {
		r.admin.do(t, http.MethodGet, "/protect/repositories/"+r.pc.ID+"/reads", nil, &reads, 0)
		return slices.ContainsFunc(reads.Items, func(x vault.Read) bool { return x.Scope == vault.ReadAll })
	})
	for _, x := range reads.Items {
		if x.Result != vault.Sound {
			t.Errorf("the hub's own reader: %+v", x)
		} else if x.Scope == vault.ReadAll {
			t.Logf("the hub's own reader: %d packs, %d MB, sound", x.Packs, x.Bytes>>20)
		}
	}
}

// cleanPoints: the backup during the attack is flagged, the one before it is
// proposed for files and database, and a person confirms both. Nobody told the
// hub when it began.
func (r *recovery) cleanPoints(t *testing.T, in incident.Incident) {
	t.Helper()
	tree := r.series(t, treeSource, func(s anomaly.Series) bool { return s.Snapshots == 3 && s.Verdict == anomaly.Flagged })
	var scored list[anomaly.Snapshot]
	r.admin.do(t, http.MethodGet, "/protect/snapshots/"+tree.ID, nil, &scored, 0)
	worst := scored.Items[0]
	if policy.Short(worst.ID) != r.made(r.bad, treeSource) {
		t.Errorf("%s is flagged, not %s", worst.ID, r.made(r.bad, treeSource))
	}
	for _, x := range worst.Reasons {
		t.Logf("score %d: %s, %d of %d files", worst.Points, x.Rule, x.N, x.Of)
	}
	var p anomaly.Proposal
	r.admin.do(t, http.MethodGet, "/protect/snapshots/"+tree.ID+"/clean-point", nil, &p, 0)
	r.confirm(t, in, tree, p, "")
	var loss anomaly.Loss
	r.admin.do(t, http.MethodGet, "/protect/snapshots/"+tree.ID+"/scores/"+p.Choice+"/loss", nil, &loss, 0)
	if loss.Marked < 100 {
		t.Errorf("of the files that changed since the clean point only %d are marked: %d in all", loss.Marked, loss.Total)
	}
	base := r.series(t, baseSource, func(s anomaly.Series) bool { return s.Snapshots == 3 })
	begun := p.Begun.Format(time.RFC3339Nano) // what the files tell holds for the database too
	var of anomaly.Proposal
	r.admin.do(t, http.MethodGet, "/protect/snapshots/"+base.ID+"/clean-point?begun="+url.QueryEscape(begun), nil, &of, 0)
	r.confirm(t, in, base, of, begun)
}

// series waits for the series of a source to be scored.
func (r *recovery) series(t *testing.T, source string, ok func(anomaly.Series) bool) (s anomaly.Series) {
	t.Helper()
	await(t, 5*time.Minute, "the backups of "+source+" being scored", func() bool { // the hub looks every minute
		var l list[anomaly.Series]
		r.admin.do(t, http.MethodGet, "/protect/snapshots?site=hospital", nil, &l, 0)
		i := slices.IndexFunc(l.Items, func(s anomaly.Series) bool { return s.Source == source })
		if i >= 0 {
			s = l.Items[i]
		}
		return i >= 0 && ok(s)
	})
	return s
}

// made is the short id of the snapshot of a source in a run.
func (r *recovery) made(run policy.Run, source string) string {
	i := slices.IndexFunc(run.Result.Sources, func(s job.SourceResult) bool { return s.Name == source })
	return policy.Short(run.Result.Sources[i].Snapshots[0].ID)
}

// confirm wants the proposal to be the snapshot of the last run before the
// attack, and confirms it as a person.
func (r *recovery) confirm(t *testing.T, in incident.Incident, s anomaly.Series, p anomaly.Proposal, begun string) {
	t.Helper()
	if want := r.made(r.good, s.Source); policy.Short(p.Choice) != want {
		t.Fatalf("the clean point of %s is %s, want %s: %+v", s.Source, p.Choice, want, p)
	}
	body := map[string]any{"snapshot": p.Choice, "reason": "攻撃の前の、最後の控え", "incident": in.ID}
	if begun != "" {
		body["begun"] = begun
	}
	var c anomaly.CleanPoint
	r.admin.do(t, http.MethodPost, "/protect/snapshots/"+s.ID+"/clean-point", body, &c, http.StatusCreated)
	r.points[s.Source] = c
}

// filesBack brings the tree back, into another folder and to where it was.
func (r *recovery) filesBack(t *testing.T, in incident.Incident) {
	t.Helper()
	beside := filepath.Join(r.work, "beside")
	r.restored(t, in, treeSource, beside)
	r.tree.back(t, r.clean, filepath.Join(beside, r.tree.dir))
	r.restored(t, in, treeSource, "")
	r.tree.back(t, r.clean, r.tree.dir)
}

// databaseBack brings the database back, starts PostgreSQL on it, and proves
// structure and rows.
func (r *recovery) databaseBack(t *testing.T, in incident.Incident) {
	t.Helper()
	to := filepath.Join(r.work, "database")
	r.restored(t, in, baseSource, to)
	c := newDatabase(t, r.pc.host, filepath.Join(r.work, "again"))
	must(t, os.Mkdir(c.data(), 0o700))
	if out, err := exec.Command("tar", "-C", c.data(), "-xf", filepath.Join(to, baseSource+".base.tar")).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	c.own(t, c.dir)
	c.run(t, "pg_verifybackup", c.data())
	c.start(t)
	c.sound(t)
	n := c.holds(t, r.least, r.most)
	t.Logf("PostgreSQL runs on the restored data: amcheck found nothing; %d rows, without a hole, each as it was written", n)
}

// restored has one person ask for a restore of a clean point and another approve
// it, and waits until it is back and released. target "" is where it was.
func (r *recovery) restored(t *testing.T, in incident.Incident, source, target string) (q restore.Request) {
	t.Helper()
	p := r.points[source]
	body := map[string]any{"agent": r.pc.ID, "snapshot": p.Snapshot, "as_of": p.Received, "over": true, "incident": in.ID, "reason": "攻撃の前に戻すため"}
	if target != "" {
		body["target"] = target
	} else { // of the folders above nothing is to be changed
		body["paths"] = []string{r.tree.dir}
	}
	r.admin.do(t, http.MethodPost, "/protect/restores", body, &q, http.StatusCreated)
	at := "/protect/restores/" + q.ID
	r.admin.do(t, http.MethodPost, at+"/approve", nil, nil, http.StatusForbidden)
	r.second.do(t, http.MethodPost, at+"/approve", nil, nil, 0)
	await(t, 10*time.Minute, "the restore of "+source, func() bool {
		r.admin.do(t, http.MethodGet, at, nil, &q, 0)
		if q.State == restore.Held && q.PassedBy == "" { // this hub has no antivirus program
			r.second.do(t, http.MethodPost, at+"/pass", map[string]string{"reason": "攻撃の前の控えで、検査は復元した先で行うため"}, nil, 0)
		}
		return q.State == restore.Restored || q.State.Over()
	})
	if q.State != restore.Restored || q.Result.Restore == nil || q.Result.Restore.Verified == 0 {
		t.Fatalf("the restore of %s: %+v", source, q)
	}
	t.Logf("restore of %s: %d files, %d MB, compared; %.1f s on the machine", source, q.Result.Restore.Files, q.Result.Restore.Bytes>>20, q.Result.Seconds())
	r.second.do(t, http.MethodPost, at+"/release", nil, nil, 0)
	return q
}

// planned writes the plan by which the service comes back, and returns what the
// forecast says of it as long as nobody has measured a restore.
func (r *recovery) planned(t *testing.T) forecast.Forecast {
	t.Helper()
	var p plan.Plan
	name := func(ja string) map[string]string { return map[string]string{"ja": ja} }
	r.admin.do(t, http.MethodPost, "/protect/plans", map[string]any{"site": "hospital", "name": name("復旧計画"), "staff": 2, "streams": 2,
		"sources": []plan.Source{{Key: plan.AtHub, Name: name("ハブの保管庫"), Rate: 100, Files: 1000}},
		"services": []plan.Service{{Key: "emr", Name: name("電子カルテ"), Source: plan.AtHub, Bytes: 400e9, Files: 600_000, Streams: 1, Staff: 1, Classes: []string{r.class.ID},
			Verify: plan.Span{Low: 10, Mode: 20, High: 40}}}}, &p, http.StatusCreated)
	r.plan = p.ID
	f := r.forecast(t)
	if s := f.Services[0]; s.Rate.Drills != 0 || s.Loss < 0 || f.Calibrated {
		t.Errorf("the forecast before any restore: %+v", s)
	}
	return f
}

func (r *recovery) forecast(t *testing.T) (f forecast.Forecast) {
	t.Helper()
	r.admin.do(t, http.MethodGet, "/protect/plans/"+r.plan+"/forecast", nil, &f, 0)
	if len(f.Services) != 1 {
		t.Fatalf("the forecast: %+v", f)
	}
	return f
}

// moved: the three restores were measured, and the forecast stands on them.
func (r *recovery) moved(t *testing.T, was forecast.Forecast) {
	t.Helper()
	now := r.forecast(t)
	before, after := was.Services[0], now.Services[0]
	t.Logf("forecast: back in %.1f h (P90 %.1f h) by assumption, %.1f h (P90 %.1f h) by %d measured restores", was.Back.P50, was.Back.P90, now.Back.P50, now.Back.P90, after.Rate.Drills)
	if after.Rate.Drills != 3 || after.Confidence <= before.Confidence || now.Back == was.Back {
		t.Errorf("the forecast was %+v, and is %+v", before, after)
	}
}

// releasesThePath: a person says why backups may be taken again, and the next
// one is.
func (r *recovery) releasesThePath(t *testing.T, in incident.Incident) {
	t.Helper()
	var l list[vault.Cut]
	r.admin.do(t, http.MethodGet, "/protect/cuts?site=hospital", nil, &l, 0)
	for _, c := range l.Items { // what a score froze, too
		if c.Holds() {
			r.second.do(t, http.MethodPost, "/protect/cuts/"+c.ID+"/release", map[string]string{"reason": "侵入の経路をふさぎ、鍵を取り替えたため"}, nil, 0)
		}
	}
}

// recounts: the chronology has every time, in numbers without a gap and in their
// order, without a line that somebody typed.
func (r *recovery) recounts(t *testing.T, in incident.Incident) {
	t.Helper()
	want := []string{"vault.cut", "backup.doubted", "backup.failed", "vault.pass-approved", "protect.clean-point",
		"restore.asked", "restore.scanning", "restore.ordered", "restore.running", "restore.restored", "restore.released", "vault.released"}
	var last incident.Entry
	all := r.told(t, in, append([]string{"alert.linked"}, want...)...) // that is when it was linked, at any time after the cut
	for _, key := range want {
		e := all[slices.IndexFunc(all, func(e incident.Entry) bool { return e.Key == key })]
		if e.OccurredAt.Before(last.OccurredAt) {
			t.Errorf("%s at %s, %s at %s", last.Key, last.OccurredAt, e.Key, e.OccurredAt)
		}
		last = e
	}
}

// told wants entries of these keys, in numbers without a gap and none of them
// typed by hand, and returns them all.
func (r *recovery) told(t *testing.T, in incident.Incident, want ...string) []incident.Entry {
	t.Helper()
	var l list[incident.Entry]
	await(t, time.Minute, fmt.Sprintf("the chronology having all of %v", want), func() bool {
		r.admin.do(t, http.MethodGet, "/incidents/"+in.ID+"/entries?limit=500", nil, &l, 0)
		return !slices.ContainsFunc(want, func(k string) bool {
			return !slices.ContainsFunc(l.Items, func(e incident.Entry) bool { return e.Key == k })
		})
	})
	for i, e := range l.Items {
		if e.No != i+1 || e.Text != "" {
			t.Errorf("entry %d: %+v", i+1, e)
		}
		t.Logf("%s %s %v", e.OccurredAt.In(clock.Tokyo()).Format("15:04:05.000"), e.Key, e.Args)
	}
	return l.Items
}

// looks reads the pages as people do.
func (r *recovery) looks(t *testing.T, in incident.Incident) {
	t.Helper()
	tree := r.points[treeSource]
	for _, path := range []string{"/protect", "/protect/runs", "/protect/repositories", "/protect/repositories/" + r.pc.ID, "/protect/snapshots", "/protect/snapshots/" + tree.Series,
		"/protect/snapshots/" + tree.Series + "/" + tree.Snapshot + "/loss", "/protect/restore", "/protect/plan", "/protect/forecast", "/incidents/" + in.ID} {
		for _, lang := range []string{"ja", "en"} {
			if page := r.admin.page(t, path+"?lang="+lang); strings.Contains(page, "⟦") {
				t.Errorf("%s lacks words in %s: %s", path, lang, page[strings.Index(page, "⟦"):][:60])
			}
		}
	}
}

// provable: a report and the hub's whole folder verify.
func (r *recovery) provable(t *testing.T, in incident.Incident) {
	t.Helper()
	var doc struct{ ID string }
	r.admin.do(t, http.MethodPost, "/incidents/"+in.ID+"/reports", nil, &doc, http.StatusCreated)
	file := filepath.Join(t.TempDir(), "report.html")
	var err error
	await(t, time.Minute, "the report with its proof", func() bool {
		_, page := r.admin.call(t, http.MethodGet, "/incidents/"+in.ID+"/reports/"+doc.ID+"/html?lang=ja", nil)
		must(t, os.WriteFile(file, page, 0o644))
		err = r.verify(file)
		return err == nil
	})
	await(t, time.Minute, "an empty spool", func() bool { return r.host(t, r.pc.ID).Health.Spool == 0 })
	r.pc.process.Kill9()
	await(t, time.Minute, "everything being recorded", r.hub.idle)
	r.hub.process.Stop()
	if err = errors.Join(err, r.verify(r.hub.dir)); err != nil {
		t.Error(err)
	}
}
