package backup_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/backup"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/repository/rest"
	"github.com/sonae/sonae/protect/restic/restictest"
)

const password = "一度だけ渡す合言葉"

// bench is a running agent that does jobs, and the hub with its repositories.
type bench struct {
	t     *testing.T
	hub   *linktest.Hub
	id    link.Identity
	hooks string
	dir   string // of the agent

	client  *link.Client
	restics []string
	stop    func()
	repos   string // of the hub
	quota   atomic.Int64
	ahead   atomic.Int64 // how far the hub's clock is ahead, ns
}

// setUp runs the real agent with an identity of the real port; the hub's
// repositories are the real ones too, and an agent may only back up unless it
// shows the token of a restore.
func setUp(t *testing.T, restics ...string) *bench {
	hub := linktest.Start(t)
	client, id := hub.Enrol("hospital")
	b := &bench{t: t, hub: hub, id: id, hooks: filepath.Join(t.TempDir(), "hooks"), dir: t.TempDir(), repos: t.TempDir()}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	repos, err := repository.New(repository.Config{Dir: b.repos, Now: func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }, Log: quiet, Refused: func(r repository.Refusal) { t.Logf("refused: %v", r.Err) },
		Agent: func(context.Context, string) (repository.Agent, error) {
			return repository.Agent{Passwords: []string{password}, Hostnames: []string{"emr-1"}, Quota: b.quota.Load()}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := repos.Close(); err != nil {
			t.Error(err)
		}
	})
	hub.Beside(http.StripPrefix("/restic", rest.Handler(rest.Deps{Repository: repos.Repository, Log: quiet, Identify: func(r *http.Request) (rest.Client, error) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) != 1 {
			return rest.Client{}, fault.New(fault.Denied, "protect.role")
		}
		c := rest.Client{Name: id.Host, Agent: id.Host, Role: rest.Backup}
		if _, token, ok := r.BasicAuth(); ok && token == "four eyes" {
			c.Role = rest.Restore
		}
		return c, nil
	}})))
	if err := os.Mkdir(b.hooks, 0o755); err != nil {
		t.Fatal(err)
	}
	b.client, b.restics = client, restics
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

// start runs the agent.
func (b *bench) start() {
	b.t.Helper()
	log := slog.New(slog.NewTextHandler(b.t.Output(), nil))
	a, err := agent.New(agent.Config{Dir: filepath.Join(b.dir, "agent")}, b.client, time.Now, log)
	if err != nil {
		b.t.Fatal(err)
	}
	runner := backup.New(backup.Config{Dir: filepath.Join(b.dir, "backup"), Hooks: b.hooks, Restic: b.restics, Host: b.id.Host, Link: b.client, Now: time.Now, Log: log,
		Ahead: func() time.Duration { return time.Duration(b.ahead.Load()) }})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx, agent.Parts{Backup: runner}) }()
	b.stop = func() {
		stop()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
		_ = a.Close() // what it kept goes with the folder
	}
}

// restart ends the agent and runs it again; the hub has its orders still.
func (b *bench) restart() {
	b.t.Helper()
	b.stop()
	b.start()
}

// order orders a job and returns its id.
func (b *bench) order(j job.Job, change func(*order.Order, *job.Grant)) string {
	b.t.Helper()
	now := time.Now()
	j.ID, j.Host, j.Name, j.Policy = clock.ID("run", now), b.id.Host, "emr-1", "po-1"
	body, digest, err := job.Pack(j)
	if err != nil {
		b.t.Fatal(err)
	}
	g := job.Grant{Job: body, Secret: job.Secret{Password: password, Path: "/restic/" + b.id.Host + "/", Expires: now.Add(time.Hour)}}
	if j.Kind == job.Restore {
		g.Secret.User, g.Secret.Token = "restore", "four eyes"
	}
	o := order.Order{ID: clock.ID("or", now), Kind: order.Kind(j.Kind), Host: b.id.Host, Action: j.ID, IssuedAt: now, ExpiresAt: now.Add(time.Hour), Digest: digest}
	if change != nil {
		change(&o, &g)
	}
	b.hub.Mu.Lock()
	b.hub.Jobs[b.id.Host+"/"+j.ID] = g
	b.hub.Mu.Unlock()
	b.hub.Issue(o)
	return j.ID
}

// report is what the hub heard of a job last; told counts the progress before.
func (b *bench) report(id string) (last order.Result, r job.Report, told int) {
	for _, a := range b.hub.Answers() {
		if a.Action == id && a.Kind != order.Cancel {
			last, r = a, job.Report{}
			if err := json.Unmarshal(a.Report, &r); err != nil {
				b.t.Errorf("report %s: %v", a.Report, err)
			}
			if a.Phase == order.Progress {
				told++
			}
		}
	}
	return last, r, told
}

// end waits for the result of a job.
func (b *bench) end(id string) job.Result {
	b.t.Helper()
	for stop := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		last, r, told := b.report(id)
		if r.Result != nil {
			if good := r.Result.State == job.OK || r.Result.State == job.Partial; good != (last.Phase == order.Done) || good && told == 0 {
				b.t.Errorf("phase %s, %d times progress, of a job that is %s", last.Phase, told, r.Result.State)
			}
			return *r.Result
		}
		if time.Now().After(stop) {
			b.t.Fatalf("job %s: no result", id)
		}
	}
}

func (b *bench) do(j job.Job) job.Result { b.t.Helper(); return b.end(b.order(j, nil)) }

func folders(paths ...string) job.Job {
	return job.Job{Kind: job.Backup, Sources: []job.Source{{Name: "documents", Kind: job.Folder, Paths: paths, Excludes: []string{"*.tmp"}}}, Tags: []string{"class:records"}}
}

func back(s job.Snapshot, target string) job.Job {
	return job.Job{Kind: job.Restore, Restore: &job.Restoring{Snapshot: s.ID, Target: target, Verify: true}}
}

// stock restores snapshots as a site does whose hub is dead: with its own restic,
// from the folder of the repository. It returns where to.
func (b *bench) stock(list ...job.Snapshot) string {
	b.t.Helper()
	p := restictest.Newest(b.t).At(filepath.Join(b.repos, b.id.Host, "repository"), "--no-lock", "-q")
	p.Env = []string{"RESTIC_PASSWORD=" + password}
	to := b.t.TempDir()
	for _, s := range list {
		p.Run(b.t, "restore", s.ID, "--target", to)
	}
	return to
}

func same(t *testing.T, a, b string) {
	t.Helper()
	if out, err := exec.Command("diff", "-r", "--no-dereference", a, b).CombinedOutput(); err != nil {
		t.Errorf("%v\n%.2000s", err, out)
	}
}

// An order backs up a folder through the agent's own link; another restores it
// to another place and to where it was.
func TestAFolderIsSavedAndComesBack(t *testing.T) {
	for _, p := range restictest.All(t) {
		t.Run(p.Version, func(t *testing.T) {
			b := setUp(t, p.Path)
			src := t.TempDir()
			restictest.Small(t, src, 100)
			restictest.Write(t, filepath.Join(src, "scan"), restictest.Noise(5<<20))
			first := b.do(folders(src))
			if first.State != job.OK || len(first.Sources) != 1 || len(first.Sources[0].Snapshots) != 1 || first.Restic != p.Version {
				t.Fatalf("%+v", first)
			}
			s := first.Sources[0].Snapshots[0]
			if s.Files < 101 || s.Added < 5<<20 || !s.Complete {
				t.Errorf("%+v", s)
			}
			if left, _ := filepath.Glob(filepath.Join(b.dir, "backup", "job-*")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
			again := b.do(folders(src))
			if again.State != job.OK || again.Sources[0].Snapshots[0].Added > 1<<20 || again.Sources[0].Snapshots[0].New > 0 {
				t.Errorf("the second time: %+v", again)
			}
			to := t.TempDir()
			if r := b.do(back(s, to)); r.State != job.OK || r.Restore == nil {
				t.Fatalf("%+v", r)
			}
			same(t, src, filepath.Join(to, src))
			if err := os.Remove(filepath.Join(src, "scan")); err != nil {
				t.Fatal(err)
			}
			if r := b.do(back(s, "/")); r.State != job.OK {
				t.Errorf("to where it was: %+v", r)
			}
			same(t, filepath.Join(to, src), src)
		})
	}
}

// What is not the job that was signed is not done.
func TestOnlyTheSignedJobIsDone(t *testing.T) {
	b := setUp(t)
	src := t.TempDir()
	for name, change := range map[string]func(*order.Order, *job.Grant){
		"another job": func(_ *order.Order, g *job.Grant) {
			g.Job = json.RawMessage(strings.Replace(string(g.Job), src, "/etc", 1))
		},
		"no digest":              func(o *order.Order, _ *job.Grant) { o.Digest = "" },
		"the other kind":         func(o *order.Order, _ *job.Grant) { o.Kind = order.Restore },
		"another way to the hub": func(_ *order.Order, g *job.Grant) { g.Secret.Path = "/restic/../agent/v1/" },
		"no password":            func(_ *order.Order, g *job.Grant) { g.Secret.Password = "" },
		"a wrong password":       func(_ *order.Order, g *job.Grant) { g.Secret.Password = "another" },
		"another repository":     func(_ *order.Order, g *job.Grant) { g.Secret.Path = "/restic/other-1/" },
	} {
		r := b.end(b.order(folders(src), change))
		if r.State == job.OK || r.State == job.Partial || r.Error == "" || len(r.Sources) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
		if strings.Contains(r.Error, password) || strings.Contains(r.Error, "127.0.0.1") {
			t.Errorf("%s: the error tells a secret: %s", name, r.Error)
		}
	}
}

func TestWithoutResticAJobCouldNotRun(t *testing.T) {
	b := setUp(t, filepath.Join(t.TempDir(), "restic"))
	if r := b.do(folders("/etc")); r.State != job.CouldNotRun || !strings.Contains(r.Error, "no restic") {
		t.Errorf("%+v", r)
	}
}

func TestHooks(t *testing.T) {
	b := setUp(t, restictest.Newest(t).Path)
	src, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	restictest.Small(t, src, 3)
	hook := func(name, script string, mode os.FileMode) {
		path := filepath.Join(b.hooks, name)
		restictest.Write(t, path, []byte("#!/bin/sh\n"+script+"\n"))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	hook("good", "echo $SONAE_WHEN $SONAE_STATE >>"+log, 0o755)
	hook("bad", "echo broken; exit 7", 0o755)
	hook("slow", "sleep 600 & echo started; wait", 0o755)
	hook("open", "true", 0o777)
	for name, tt := range map[string]struct {
		hooks  []job.Hook
		state  job.State
		error  string
		saved  bool
		logged string
	}{
		"around it":             {[]job.Hook{{When: job.Before, Name: "good"}, {When: job.After, Name: "good"}}, job.OK, "", true, "before\nafter ok\n"},
		"before fails":          {[]job.Hook{{When: job.Before, Name: "bad"}, {When: job.After, Name: "good"}}, job.Failed, "exit status 7", false, "after failed\n"},
		"after fails":           {[]job.Hook{{When: job.After, Name: "bad"}, {When: job.After, Name: "good"}}, job.Failed, "exit status 7", true, "after failed\n"},
		"too slow":              {[]job.Hook{{When: job.Before, Name: "slow", Timeout: time.Second}}, job.Failed, "not over after 1s", false, ""},
		"not there":             {[]job.Hook{{When: job.Before, Name: "none"}}, job.Failed, "no such file", false, ""},
		"anybody may change it": {[]job.Hook{{When: job.Before, Name: "open"}}, job.Failed, "others may change", false, ""},
	} {
		_ = os.Remove(log)
		j := folders(src)
		j.Hooks = tt.hooks
		r := b.do(j)
		logged, _ := os.ReadFile(log)
		if r.State != tt.state || !strings.Contains(r.Error, tt.error) || (len(r.Sources) > 0) != tt.saved || string(logged) != tt.logged {
			t.Errorf("%s: %+v\nlogged %q", name, r, logged)
		}
	}
}

// A person stops a job, and the end of the window does.
func TestAJobIsStopped(t *testing.T) {
	b := setUp(t, restictest.Newest(t).Path)
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "noise"), restictest.Noise(8<<20))
	slow := folders(src)
	slow.Limits.Upload = 64
	id := b.order(slow, nil)
	linktest.Await(t, "the backup runs", func() bool {
		_, r, _ := b.report(id)
		return r.Progress != nil && r.Progress.Step == "backup"
	})
	now := time.Now()
	b.hub.Issue(order.Order{ID: clock.ID("or", now), Kind: order.Cancel, Host: b.id.Host, Action: id, IssuedAt: now, ExpiresAt: now.Add(time.Hour)})
	if r := b.end(id); r.State != job.Cancelled {
		t.Errorf("%+v", r)
	}
	slow.Until = time.Now().Add(6 * time.Second)
	if r := b.do(slow); r.State != job.Cancelled || !strings.Contains(r.Error, "window") {
		t.Errorf("%+v", r)
	}
	if r := b.do(folders(src)); r.State != job.OK {
		t.Errorf("afterwards: %+v", r)
	}
}

// A folder that is not there makes a backup partial, and one of nothing failed.
func TestWhatIsMissingIsSaid(t *testing.T) {
	b := setUp(t, restictest.Newest(t).Path)
	src := t.TempDir()
	restictest.Small(t, src, 3)
	if r := b.do(folders(src, src+"/gone")); r.State != job.Partial || r.Sources[0].Unread != 1 || len(r.Sources[0].Snapshots) != 1 || !strings.Contains(r.Sources[0].Errors[0], "gone") {
		t.Errorf("%+v", r)
	}
	if r := b.do(folders(src + "/gone")); r.State != job.Failed || len(r.Sources[0].Snapshots) > 0 {
		t.Errorf("%+v", r)
	}
}

// A repository that takes no more fails the backup, and says so; what was there
// before stays, and the next one works when there is room.
func TestAFullRepositoryIsSaid(t *testing.T) {
	b := setUp(t, restictest.Newest(t).Path)
	small, large := t.TempDir(), t.TempDir()
	restictest.Small(t, small, 3)
	restictest.Write(t, filepath.Join(large, "scan"), restictest.Noise(40<<20))
	before := b.do(folders(small))
	if before.State != job.OK {
		t.Fatalf("%+v", before)
	}
	b.quota.Store(2 << 20)
	full := b.do(folders(large))
	if full.State != job.Failed || len(full.Sources[0].Snapshots) > 0 || !strings.Contains(full.Error, "takes no more") {
		t.Errorf("%+v", full)
	}
	same(t, small, filepath.Join(b.stock(before.Sources[0].Snapshots...), small))
	b.quota.Store(0)
	if r := b.do(folders(large)); r.State != job.OK {
		t.Errorf("with room again: %+v", r)
	}
}

// A machine whose clock is wrong backs up all the same, by the hub's clock: the hub
// refuses what is ten minutes ahead.
func TestAWrongClockCostsNoBackup(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"the machine is ahead": -3 * time.Hour, "the machine is behind": 5 * time.Hour, "both agree": 0} {
		t.Run(name, func(t *testing.T) {
			b := setUp(t)
			b.ahead.Store(int64(ahead))
			src := t.TempDir()
			restictest.Small(t, src, 3)
			begun := time.Now().Truncate(time.Second)
			r := b.do(folders(src))
			if r.State != job.OK {
				t.Fatalf("%+v", r)
			}
			p := restictest.Newest(t).At(filepath.Join(b.repos, b.id.Host, "repository"), "--no-lock", "-q")
			p.Env = []string{"RESTIC_PASSWORD=" + password}
			var list []struct{ Time time.Time }
			if err := json.Unmarshal(p.Run(t, "snapshots", "--json"), &list); err != nil || len(list) != 1 {
				t.Fatalf("%v, %v", list, err)
			}
			if at := list[0].Time.Add(-ahead); at.Before(begun) || at.After(time.Now()) {
				t.Errorf("the snapshot is of %s, the hub's clock said %s", list[0].Time, begun.Add(ahead))
			}
		})
	}
}
