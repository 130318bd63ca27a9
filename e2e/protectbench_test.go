//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
)

// What is backed up: records of which each is one file, and a few large files.
// Half of the bytes can be compressed.
const (
	protectFiles  = 20_000
	protectRecord = 22 << 10 // the largest; they are spread evenly
	protectLarge  = 12
	protectSize   = 40 << 20 // of each large file
)

// TestBenchProtect backs up, backs up again and restores the same data with bare
// restic into a folder and with agent and hub, in turn, and reads the repository
// with our reader and with restic; SONAE_BENCH_PROTECT names the page for the
// tables (make bench-protect). It fails when something did not come back, never
// because it was slow.
func TestBenchProtect(t *testing.T) {
	page := os.Getenv("SONAE_BENCH_PROTECT")
	if page == "" {
		t.Skip("SONAE_BENCH_PROTECT names no file (make bench-protect)")
	}
	rounds, err := strconv.Atoi(os.Getenv("SONAE_BENCH_ROUNDS"))
	if err != nil || rounds < 1 {
		t.Fatalf("SONAE_BENCH_ROUNDS: %v", err)
	}
	b := newProtectBench(t)
	for n := range rounds {
		b.round(n)
	}
	b.reading(rounds)
	text := b.tables()
	t.Log("\n" + text)
	head, rest, found := strings.Cut(file(page), "<!-- measured -->")
	_, tail, ok := strings.Cut(rest, "<!-- end -->")
	if !found || !ok {
		t.Fatalf("%s has no markers for the tables", page)
	}
	if err := os.WriteFile(page, []byte(head+"<!-- measured -->\n"+text+"<!-- end -->"+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cost is what one run took: seconds, and bytes of resident memory.
type cost struct {
	wall                           float64
	restic, agent, hub             float64 // of processors
	resticPeak, agentPeak, hubPeak int64
	hubRest                        int64 // before
}

func (c cost) cpu() float64 { return c.restic + c.agent + c.hub }

// What is done in a round, and by whom.
const (
	firstBackup, nextBackup = "first backup", "incremental"
	bringBack, onlyBack     = "restore, all compared", "restore, nothing compared"
	readAgain               = "read again"
	bare, ours              = "bare restic", "agent and hub"
	light                   = "bare restic, light key" // as little work as the hub's is to derive
)

// phases are those of a round, in their order.
func phases() []string { return []string{firstBackup, nextBackup, bringBack, onlyBack} }

// side is who backs up.
type side interface {
	do(phase string) cost
}

// turn names a phase and who did it.
type turn struct{ phase, who string }

// protectBench is a hub and what was measured.
type protectBench struct {
	t              *testing.T
	hub            *hubtest.Hub
	pid            int       // of the hub
	began          time.Time // the hub looks for what is due every minute from then on
	asks, approves *hubtest.Client
	class          policy.Class
	sonae, backer  string // programs
	restic         string
	dir, data      string
	load           string    // when it began
	rest           []float64 // processor time of the hub in seconds in which nobody wanted anything of it
	taken          map[turn][]cost
	work           map[string][]string // how much work each side's key is to derive
	last           *bareSide
	backs          int
}

func newProtectBench(t *testing.T) *protectBench {
	t.Helper()
	dir, err := os.MkdirTemp("", "sonae-bench-protect-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &protectBench{t: t, dir: dir, data: filepath.Join(dir, "data"), sonae: filepath.Join(dir, "sonae"), backer: filepath.Join(dir, "backer"),
		restic: newestRestic(t), taken: map[turn][]cost{}, work: map[string][]string{}}
	for out, pkg := range map[string]string{b.sonae: "../cmd/sonae", b.backer: "./backer"} {
		if text, err := exec.Command("go", "build", "-buildvcs=false", "-o", out, pkg).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", pkg, err, text)
		}
	}
	b.load = strings.TrimSpace(file("/proc/loadavg"))
	b.plant()
	b.serve()
	return b
}

// newestRestic is the one that an agent would take.
func newestRestic(t *testing.T) string {
	t.Helper()
	for _, at := range filepath.SplitList(os.Getenv("SONAE_RESTICS")) {
		if _, err := os.Stat(at); err == nil {
			return at
		}
	}
	at, err := exec.LookPath("restic")
	if err != nil {
		t.Fatal("restic is not installed (Debian's package restic)")
	}
	return at
}

// serve starts the hub, and lets people in who ask for and approve restores.
func (b *protectBench) serve() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.ok(err)
	agents := l.Addr().String()
	b.ok(l.Close())
	dir := hubtest.Folder(b.t)
	cmd := exec.Command(b.sonae, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--local", "127.0.0.1:0", "--agents", agents, "--min-free", "1048576")
	b.hub = hubtest.Process(b.t, dir, cmd)
	b.hub.Agents, b.pid, b.began = "https://"+agents, cmd.Process.Pid, time.Now()
	b.hub.Site("hospital", "hospital")
	b.asks, b.approves = b.hub.Person("sato", "", auth.Responder), b.hub.Person("tanaka", "", auth.Responder, auth.Approver)
	b.asks.Must(http.MethodPost, "/protect/classes", api.DataClassFields{Site: "hospital", Name: "電子カルテ", Owner: b.asks.Person.ID, Data: []string{"sensitive"}}, &b.class)
}

func (b *protectBench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// plant makes the data.
func (b *protectBench) plant() {
	rnd := rand.New(rand.NewPCG(8, 20260406))
	for i := range protectFiles {
		b.record(rnd, i)
	}
	for i := range protectLarge {
		b.write(fmt.Sprintf("large/%02d", i), content(rnd, protectSize, i%2 == 1))
	}
}

func (b *protectBench) record(rnd *rand.Rand, i int) {
	b.write(fmt.Sprintf("records/%03d/%05d", i/100, i), content(rnd, 1+rnd.IntN(protectRecord), i%4 == 3))
}

func (b *protectBench) write(name string, content []byte) {
	at := filepath.Join(b.data, name)
	b.ok(os.MkdirAll(filepath.Dir(at), 0o755))
	b.ok(os.WriteFile(at, content, 0o644))
}

// content is lines of a table, or what cannot be compressed.
func content(rnd *rand.Rand, size int, noise bool) []byte {
	out := make([]byte, 0, size+128)
	for len(out) < size {
		n := rnd.Uint64()
		if noise {
			out = append(out, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), byte(n>>32), byte(n>>40), byte(n>>48), byte(n>>56))
			continue
		}
		out = append(out, "2026-04-06 患者 "...)
		out = strconv.AppendUint(out, n%1_000_000, 10)
		out = append(out, " 血液一般 結果 "...)
		out = strconv.AppendUint(out, n>>32%1000, 10)
		out = append(out, " 所見 異常を認めず。\n"...)
	}
	return out[:size]
}

// change writes one in a hundred of the records anew, and 4 MiB inside of two of
// the large files.
func (b *protectBench) change(n int) {
	rnd := rand.New(rand.NewPCG(9, uint64(n)))
	for i := n; i < protectFiles; i += 100 {
		b.record(rnd, i)
	}
	for i := range 2 {
		f, err := os.OpenFile(filepath.Join(b.data, fmt.Sprintf("large/%02d", (2*n+i)%protectLarge)), os.O_WRONLY, 0)
		b.ok(err)
		_, err = f.WriteAt(content(rnd, 4<<20, i == 1), int64(rnd.IntN(protectSize-4<<20)))
		b.ok(err)
		b.ok(f.Close())
	}
}

// round does everything once on both sides. Who comes first changes from round to
// round, so that what else the machine does meets both.
func (b *protectBench) round(n int) {
	b.last = &bareSide{b: b, repo: filepath.Join(b.dir, fmt.Sprintf("bare%d", n))}
	sides := map[string]side{bare: b.last, ours: b.enrol(n), light: &bareSide{b: b, repo: filepath.Join(b.dir, fmt.Sprintf("light%d", n)), light: true}}
	order := []string{bare, ours, light}
	if n%2 == 1 {
		slices.Reverse(order)
	}
	for _, phase := range phases() {
		if phase == nextBackup {
			b.change(n)
		}
		for _, who := range order {
			b.calm(phase)
			c := sides[who].do(phase)
			b.taken[turn{phase, who}] = append(b.taken[turn{phase, who}], c)
			b.t.Logf("%s round %d, %s, %s: %.2f s; processor: restic %.2f, agent %.2f, hub %.2f", time.Now().Format(time.TimeOnly), n, phase, who, c.wall, c.restic, c.agent, c.hub)
		}
	}
}

// back is a folder that does not exist yet. What came back before stays to the end:
// a file system that has just lost many files is slow for a while.
func (b *protectBench) back(who string) string {
	b.backs++
	return filepath.Join(b.dir, "back", fmt.Sprintf("%02d %s", b.backs, who))
}

// calm waits until the hub does nothing, and until a phase fits in before it next
// looks for what is due: what it reads again and scores is no part of a backup.
func (b *protectBench) calm(phase string) {
	unix.Sync()
	most := map[string]float64{firstBackup: 35, nextBackup: 5, bringBack: 20, onlyBack: 20}[phase] // seconds, until one was measured
	for _, c := range slices.Concat(b.taken[turn{phase, bare}], b.taken[turn{phase, light}], b.taken[turn{phase, ours}]) {
		most = c.wall
	}
	for range 120 {
		before := b.hubUsed()
		time.Sleep(time.Second)
		left := time.Minute - time.Since(b.began)%time.Minute
		used := b.hubUsed() - before
		if used >= 0.05 {
			continue
		}
		b.rest = append(b.rest, used)
		if left.Seconds() > most+2 || left > 55*time.Second {
			return
		}
	}
}

// atRest is what the hub uses in a second in which nobody wants anything of it.
func (b *protectBench) atRest() float64 {
	sum := 0.0
	for _, used := range b.rest {
		sum += used
	}
	return sum / float64(max(1, len(b.rest)))
}

// hubUsed is the processor time of the hub until now, in seconds.
func (b *protectBench) hubUsed() float64 {
	_, text, _ := strings.Cut(file(fmt.Sprintf("/proc/%d/stat", b.pid)), ") ")
	f := strings.Fields(text)
	if len(f) < 13 {
		b.t.Fatal("the hub has ended")
	}
	user, err := strconv.ParseFloat(f[11], 64)
	b.ok(err)
	system, err := strconv.ParseFloat(f[12], 64)
	b.ok(err)
	return (user + system) / 100 // the kernel counts hundredths for everybody
}

// memory is a line of a program's memory (VmRSS, VmHWM), in bytes; 0 of one that
// has ended.
func memory(pid int, what string) int64 {
	for line := range strings.Lines(file(fmt.Sprintf("/proc/%d/status", pid))) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == what+":" {
			kib, _ := strconv.ParseInt(f[1], 10, 64) // the kernel writes a number
			return kib << 10
		}
	}
	return 0
}

// bareSide is restic as anybody uses it.
type bareSide struct {
	b     *protectBench
	repo  string
	light bool // its key takes no work; who made the repository is not counted
}

func (s *bareSide) do(phase string) cost {
	switch phase {
	case firstBackup:
		c := s.run("init")
		if s.light {
			s.b.ok(restictest.QuickKey(s.repo, barePassword))
			return s.run("backup", s.b.data)
		}
		more := s.run("backup", s.b.data)
		s.b.noteWork(bare, s.repo)
		return cost{wall: c.wall + more.wall, restic: c.restic + more.restic, resticPeak: max(c.resticPeak, more.resticPeak)}
	case nextBackup:
		return s.run("backup", s.b.data)
	}
	to := s.b.back(bare)
	args := []string{"restore", "latest", "--target", to}
	if phase == bringBack {
		args = append(args, "--verify")
	}
	c := s.run(args...)
	s.b.came(to)
	return c
}

const barePassword = "合言葉 of a bench"

func (s *bareSide) run(args ...string) cost {
	cmd := exec.Command(s.b.restic, append([]string{"-r", s.repo, "--cache-dir", s.repo + "-cache"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+barePassword)
	return s.b.measured(cmd)
}

// measured runs a program to its end.
func (b *protectBench) measured(cmd *exec.Cmd) cost {
	b.t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began, peak, ended := time.Now(), int64(0), make(chan error, 1)
	b.ok(cmd.Start())
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			c := cost{wall: time.Since(began).Seconds(), resticPeak: peak}
			if err != nil {
				b.t.Fatalf("%s: %v: %s", strings.Join(cmd.Args, " "), err, out.Bytes())
			}
			c.restic = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
			return c
		case <-time.After(50 * time.Millisecond): // what wait tells of memory counts that of this program, too
			peak = max(peak, memory(cmd.Process.Pid, "VmHWM"))
		}
	}
}

// noteWork notes how much work the key of a repository is to derive: restic
// chooses it by how fast the machine is just then.
func (b *protectBench) noteWork(who, repo string) {
	all, err := filepath.Glob(filepath.Join(repo, "keys", "*"))
	b.ok(err)
	for _, at := range all {
		var key struct{ N, R, P int }
		b.ok(json.Unmarshal([]byte(file(at)), &key))
		b.work[who] = append(b.work[who], fmt.Sprintf("%d/%d/%d", key.N, key.R, key.P))
	}
}

// ourSide is a machine of the hub.
type ourSide struct {
	b        *protectBench
	machine  *hubtest.Agent
	policy   policy.Policy
	snapshot string
}

func (b *protectBench) enrol(n int) *ourSide {
	s := &ourSide{b: b, machine: b.hub.Enrol("hospital", fmt.Sprintf("emr-%d", n))}
	b.asks.Must(http.MethodPost, "/protect/policies", api.BackupPolicyFields{Site: "hospital", Class: b.class.ID, Name: fmt.Sprintf("毎晩 %d", n), Owner: b.asks.Person.ID, Hosts: []string{s.host()},
		Sources: []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{b.data}}}, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 120}, Keep: policy.Keep{Daily: 7}}, &s.policy)
	return s
}

func (s *ourSide) host() string { return s.machine.Identity().Host }

func (s *ourSide) do(phase string) cost {
	switch phase {
	case bringBack:
		return s.restore()
	case onlyBack:
		return s.bringBack()
	}
	c, told := s.job("", func() {
		s.b.asks.Must(http.MethodPost, "/protect/policies/"+s.policy.ID+"/run", api.RunBackup{Host: s.host()}, nil)
	}, s.ended)
	if told.State != job.OK {
		s.b.t.Fatalf("%+v", told)
	}
	s.snapshot = told.Sources[0].Snapshots[0].ID
	if phase == firstBackup {
		s.b.noteWork(ours, filepath.Join(s.b.hub.Dir, "repositories", s.host(), "repository"))
		s.again()
	}
	return c
}

// usedByJob is what backer prints.
type usedByJob struct {
	Own, Restic         float64
	OwnPeak, ResticPeak int64
	Job                 job.Result
}

// job has backer do one job. It is done when asked is on its standard input, or
// when order has the hub order it. over waits until the hub knows how it ended.
func (s *ourSide) job(asked string, order, over func()) (cost, job.Result) {
	b := s.b
	args := []string{"-dir", s.machine.Dir, "-restic", b.restic}
	if asked != "" {
		args = append(args, "-restore")
	}
	cmd := exec.Command(b.backer, args...)
	in, err := cmd.StdinPipe()
	b.ok(err)
	out, err := cmd.StdoutPipe()
	b.ok(err)
	cmd.Stderr = b.t.Output()
	c := cost{hubRest: memory(b.pid, "VmRSS")}
	b.ok(os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", b.pid), []byte("5"), 0o200)) // its peak begins anew
	b.ok(cmd.Start())
	_, err = in.Write([]byte(asked))
	b.ok(err)
	order()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != "begun" {
		b.t.Fatalf("no job was begun: %q, %v", lines.Text(), lines.Err())
	}
	before := b.hubUsed()
	if !lines.Scan() {
		b.t.Fatalf("the job was not ended: %v", lines.Err())
	}
	c.hub, c.hubPeak = b.hubUsed()-before, memory(b.pid, "VmHWM")
	var u usedByJob
	b.ok(json.Unmarshal(lines.Bytes(), &u))
	over()
	b.ok(in.Close())
	b.ok(cmd.Wait())
	c.wall, c.restic, c.resticPeak, c.agent, c.agentPeak = u.Job.Seconds(), u.Restic, u.ResticPeak, u.Own, u.OwnPeak
	c.hub = max(0, c.hub-c.wall*b.atRest())
	return c, u.Job
}

// ended waits until the hub knows that no run goes on.
func (s *ourSide) ended() {
	await(s.b.t, 5*time.Minute, "the end of the run", func() bool {
		return len(hubtest.List[api.BackupRunOut](s.b.asks, "/protect/runs?going=true&policy="+s.policy.ID)) == 0
	})
}

// again has the hub read the repository, as it does by itself an hour later, and
// measures that.
func (s *ourSide) again() {
	b, at := s.b, "/protect/repositories/"+s.host()+"/reads"
	before := b.hubUsed()
	b.asks.Must(http.MethodPost, at, nil, nil)
	var read vault.Read
	await(b.t, 10*time.Minute, "reading the repository again", func() bool {
		for _, r := range hubtest.List[vault.Read](b.asks, at) {
			if r.Scope == vault.ReadAll {
				read = r
			}
		}
		return read.ID != ""
	})
	if read.Result != vault.Sound {
		b.t.Errorf("read again: %+v", read)
	}
	b.taken[turn{readAgain, ours}] = append(b.taken[turn{readAgain, ours}], cost{wall: read.Ended.Sub(read.Begun).Seconds(), hub: b.hubUsed() - before})
}

// restore brings everything back as people do: one asks, another approves, the hub
// scans what is to come back, orders it, and the agent compares every file.
func (s *ourSide) restore() cost {
	b, to := s.b, s.b.back(ours)
	var q restore.Request
	c, told := s.job("", func() {
		b.asks.Must(http.MethodPost, "/protect/restores", api.RestoreIn{Agent: s.host(), Snapshot: s.snapshot, Target: to, Reason: "復元の速さを測る"}, &q)
		at := "/protect/restores/" + q.ID
		b.approves.Must(http.MethodPost, at+"/approve", nil, nil)
		await(b.t, 5*time.Minute, "the restore being ordered", func() bool {
			b.asks.Must(http.MethodGet, at, nil, &q)
			if q.State == restore.Held && q.PassedBy == "" { // this hub has no antivirus program
				b.approves.Must(http.MethodPost, at+"/pass", api.Reason{Reason: "速さだけを測る"}, nil)
			}
			return q.State == restore.Ordered || q.State == restore.Running
		})
	}, func() {
		await(b.t, time.Minute, "the hub knowing of the restore", func() bool {
			b.asks.Must(http.MethodGet, "/protect/restores/"+q.ID, nil, &q)
			return q.State == restore.Restored || q.State.Over()
		})
	})
	if told.State != job.OK || told.Restore == nil || told.Restore.Verified < protectFiles {
		b.t.Fatalf("%+v", told)
	}
	b.came(to)
	b.approves.Must(http.MethodPost, "/protect/restores/"+q.ID+"/release", nil, nil)
	return c
}

// bringBack brings everything back with a pass that two people stand behind, and
// compares no content.
func (s *ourSide) bringBack() cost {
	b := s.b
	var pass vault.Pass
	b.asks.Must(http.MethodPost, "/protect/repositories/"+s.host()+"/passes", api.VaultPassing{Why: "復元の速さを測る"}, &pass)
	b.approves.Must(http.MethodPost, "/protect/passes/"+pass.ID+"/approve", nil, nil)
	var token api.VaultToken
	b.asks.Must(http.MethodPost, "/protect/passes/"+pass.ID+"/token", nil, &token)
	to := b.back(ours)
	asked, err := json.Marshal(map[string]string{"Token": token.Token, "Snapshot": s.snapshot, "Target": to})
	b.ok(err)
	c, told := s.job(string(asked), func() {}, s.ended)
	if told.State != job.OK {
		b.t.Fatalf("%+v", told)
	}
	b.came(to)
	return c
}

// came compares what came back with the data.
func (b *protectBench) came(to string) {
	b.t.Helper()
	files := 0
	err := filepath.WalkDir(b.data, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		if file(at) != file(filepath.Join(to, at)) {
			b.t.Errorf("%s did not come back", at)
		}
		return nil
	})
	b.ok(err)
	if files < protectFiles {
		b.t.Errorf("%d files were compared", files)
	}
}

// reading reads the last repository of bare restic with our reader and with
// restic, in turn.
func (b *protectBench) reading(rounds int) {
	password := filepath.Join(b.dir, "password")
	b.ok(os.WriteFile(password, []byte(barePassword), 0o600))
	for range rounds {
		c := b.measured(exec.Command(b.sonae, "verify", "--password-file", password, b.last.repo))
		b.taken[turn{readAgain, "sonae verify"}] = append(b.taken[turn{readAgain, "sonae verify"}], c)
		c = b.last.run("check", "--read-data", "--no-cache")
		b.taken[turn{readAgain, bare}] = append(b.taken[turn{readAgain, bare}], c)
	}
}

// tables are what was measured.
func (b *protectBench) tables() string {
	var s strings.Builder
	version, err := exec.Command(b.restic, "version").Output()
	b.ok(err)
	bytes, files := weight(b.t, b.data)
	stored, packs := weight(b.t, filepath.Join(b.last.repo, "data"))
	fmt.Fprintf(&s, "Measured %s on %s with %d processors; both sides and the hub share them. %.25s. Load before: %s; after: %s.\n",
		time.Now().UTC().Format("2006-01-02 15:04"), processor(), runtime.NumCPU(), version, b.load, strings.TrimSpace(file("/proc/loadavg")))
	fmt.Fprintf(&s, "%d files, %d MB; %d packs, %d MB after two backups. Medians of %d rounds in turn, with the least and the most.\nWork of the key (scrypt N/r/p): bare %s; agent %s.\n\n",
		files, bytes/1e6, packs, stored/1e6, len(b.taken[turn{firstBackup, bare}]), strings.Join(b.work[bare], ", "), strings.Join(b.work[ours], ", "))
	fmt.Fprintf(&s, "At rest the hub uses %.1f %% of a processor, which is taken off.\n\n", 100*b.atRest())
	s.WriteString("| | bare restic | with a light key | agent and hub | more than bare | than with a light key | of it restic | agent | hub |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, phase := range phases() {
		x, y, z := b.taken[turn{phase, bare}], b.taken[turn{phase, ours}], b.taken[turn{phase, light}]
		for _, row := range []struct {
			what string
			of   func(cost) float64
		}{{"processor s", cost.cpu}, {"clock s", func(c cost) float64 { return c.wall }}} {
			more := func(than []cost) float64 { return 100 * (middle(y, row.of)/middle(than, row.of) - 1) }
			fmt.Fprintf(&s, "| %s, %s | %s | %s | %s | **%+.0f %%** | **%+.0f %%** |", phase, row.what, spread(x, row.of), spread(z, row.of), spread(y, row.of), more(x), more(z))
			if row.what == "clock s" {
				s.WriteString(" | | |\n")
				continue
			}
			fmt.Fprintf(&s, " %.2f | %.2f | %.2f |\n", middle(y, func(c cost) float64 { return c.restic }), middle(y, func(c cost) float64 { return c.agent }), middle(y, func(c cost) float64 { return c.hub }))
		}
	}
	s.WriteString("\nPeak of memory (RSS), MiB:\n\n| | bare restic | restic under the agent | agent | hub | hub before |\n|---|---:|---:|---:|---:|---:|\n")
	for _, phase := range phases() {
		x, y := b.taken[turn{phase, bare}], b.taken[turn{phase, ours}]
		most := func(all []cost, of func(cost) int64) int64 {
			n := int64(0)
			for _, c := range all {
				n = max(n, of(c)>>20)
			}
			return n
		}
		fmt.Fprintf(&s, "| %s | %d | %d | %d | %d | %d |\n", phase, most(x, func(c cost) int64 { return c.resticPeak }), most(y, func(c cost) int64 { return c.resticPeak }),
			most(y, func(c cost) int64 { return c.agentPeak }), most(y, func(c cost) int64 { return c.hubPeak }), most(y, func(c cost) int64 { return c.hubRest }))
	}
	fmt.Fprintf(&s, "\nReading every byte of the repository (%d MB of packs):\n\n| | clock s | MB/s | processor s | peak of memory, MiB |\n|---|---:|---:|---:|---:|\n", stored/1e6)
	for _, who := range []string{"sonae verify", bare} {
		all := b.taken[turn{readAgain, who}]
		name := map[string]string{bare: "restic check --read-data"}[who]
		if name == "" {
			name = who
		}
		wall := func(c cost) float64 { return c.wall }
		fmt.Fprintf(&s, "| `%s` | %s | **%.0f** | %s | %d |\n", name, spread(all, wall), float64(stored)/1e6/middle(all, wall), spread(all, cost.cpu), all[0].resticPeak>>20)
	}
	all := b.taken[turn{readAgain, ours}]
	fmt.Fprintf(&s, "\nThe hub reads each new repository again by itself, with one processor: clock %s s, processor %s s after the first backup.\n",
		spread(all, func(c cost) float64 { return c.wall }), spread(all, cost.cpu))
	return s.String()
}

// middle is the median.
func middle(all []cost, of func(cost) float64) float64 {
	v := values(all, of)
	return v[len(v)/2]
}

func values(all []cost, of func(cost) float64) []float64 {
	var v []float64
	for _, c := range all {
		v = append(v, of(c))
	}
	slices.Sort(v)
	return v
}

// spread is the median with the least and the most.
func spread(all []cost, of func(cost) float64) string {
	v := values(all, of)
	return fmt.Sprintf("%.2f (%.2f–%.2f)", v[len(v)/2], v[0], v[len(v)-1])
}

// weight is how many bytes and files a folder has.
func weight(t *testing.T, dir string) (bytes int64, files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes, files = bytes+info.Size(), files+1
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes, files
}
