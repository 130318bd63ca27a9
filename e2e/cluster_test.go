//go:build e2e

package e2e

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/e2e/netns"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/drill"
)

// trial is how hard a run of several hubs is.
type trial struct {
	agents, rate int           // machines; events per second of each
	lasts        time.Duration // how long hubs are killed
	back         time.Duration // within which somebody who writes must be answered again
}

func trialOf() trial {
	if os.Getenv("SONAE_TORTURE") == "full" {
		return trial{agents: 12, rate: 400, lasts: 10 * time.Minute, back: time.Minute}
	}
	return trial{agents: 6, rate: 100, lasts: 60 * time.Second, back: time.Minute}
}

// TestCluster runs three hubs on a NATS cluster, a database and a storage that
// they share, and kills one of them every few seconds while machines report,
// somebody writes, somebody practises and somebody collects checkpoints; a NATS
// server is killed, the storage starts anew, and all hubs are restarted in
// turn. In the end everything that was acknowledged is there once, whoever is
// asked, and all of it verifies.
func TestCluster(t *testing.T) {
	x := newCluster(t, trialOf())
	x.begin(t)
	stop := x.people(t)
	x.killHubs(t, x.lasts/3)
	x.killNats(t)
	x.killHubs(t, x.lasts/3)
	x.restartStorage(t)
	x.killHubs(t, x.lasts/3)
	x.roll(t)
	stop()
	x.drain(t)
	x.measured(t)
	x.written.check(t, x.admin.at(x.hubs[1]), x.in.ID)
	x.oneAlertEach(t)
	x.pagesAnswer(t)
	x.livePages(t)
	x.orderAcross(t)
	x.oneLeader(t)
	x.verifies(t)
	for _, h := range x.hubs {
		h.process.Stop()
	}
	x.everyEventOnce(t)
	x.changedByteIsNamed(t)
}

// cluster is the world of several hubs.
type cluster struct {
	trial
	random *rand.Rand
	mu     sync.Mutex // guards random
	sonae  string
	load   string
	hubs   []*hubProcess
	runs   []*run
	nats   []*service
	state  *service
	db     string // address of the database
	store  s3
	pc     *agentProcess
	agents []*loaded
	admin  *person
	in     incident.Incident

	began   time.Time
	lasted  time.Duration // how long machines reported
	kills   []time.Time
	spoiled int // starts of a hub that did not succeed
	written written
	acks    []time.Time // when an entry was acknowledged
	drills  int         // that a hub accepted
	seen    []string    // files with checkpoints
}

// run is a hub from its start to its end.
type run struct {
	hub     string
	log     string
	process *netns.Process
	killed  time.Time // zero: it ended by itself or still runs
}

const hubsName = "hub.sonae.example"

func newCluster(t *testing.T, o trial) *cluster {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	gateway := versitygw(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SONAE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64) // zero is a seed, too
	}
	t.Logf("seed %d", seed)
	x := &cluster{trial: o, random: rand.New(rand.NewPCG(seed, 0)), sonae: program(t, "sonae", "../cmd/sonae"), load: program(t, "load", "./load")}
	server, agent := program(t, "nats-server", "github.com/nats-io/nats-server/v2"), program(t, "sonae-agent", "../cmd/sonae-agent")
	w := newWorld(t, "cl")
	var hosts []*netns.Host
	var addresses []string
	for i := 1; i <= 3; i++ {
		hosts = append(hosts, add(t, w, fmt.Sprintf("h%d", i), fmt.Sprintf("10.77.%d.5/24", i)))
		addresses = append(addresses, hosts[i-1].IP())
	}
	x.nats = startNats(t, server, hosts)
	x.state, x.db = startPostgres(t, add(t, w, "db", "10.77.10.5/24"))
	x.store = startS3(t, gateway, add(t, w, "s3", "10.77.11.5/24"))
	x.startHubs(t, hosts)
	x.machines(t, w, addresses, agent)
	return x
}

func (x *cluster) startHubs(t *testing.T, hosts []*netns.Host) {
	t.Helper()
	var urls []string
	for _, h := range hosts {
		urls = append(urls, "nats://"+h.IP()+":4222")
	}
	keys := filepath.Join(t.TempDir(), "keys")
	for i, h := range hosts {
		p := hubProcess{program: x.sonae, dir: filepath.Join(t.TempDir(), "hub"), name: hubsName, args: append([]string{"serve", "--hub", h.Name, "--keys", keys,
			"--state", x.db, "--nats", strings.Join(urls, ","), "--names", hubsName}, x.store.flags()...)}
		if i == 0 {
			first := startHubWith(t, h, p)
			x.hubs = append(x.hubs, first)
			x.runs = append(x.runs, &run{hub: h.Name, log: first.log, process: first.process})
			x.admin = first.join(t, first.link, "admin", "病院 情報担当") // another hub would print another link, and only the last is good
			continue
		}
		p.host, p.base = h, "https://"+h.IP()+":8443"
		x.hubs = append(x.hubs, &p)
		x.start(t, &p)
		await(t, time.Minute, "the hub writing its authority", func() bool {
			b, err := os.ReadFile(filepath.Join(p.dir, "ca.pem")) // a file that is there may be empty still
			return err == nil && x509.NewCertPool().AppendCertsFromPEM(b)
		})
		p.client = p.newClient(t)
		p.awaitReady(t)
	}
}

func (x *cluster) start(t *testing.T, h *hubProcess) {
	t.Helper()
	log := h.start(t)
	x.runs = append(x.runs, &run{hub: h.host.Name, log: log, process: h.process})
}

// machines enrols machines that know the hubs by one name; each begins with
// another address.
func (x *cluster) machines(t *testing.T, w *netns.World, addresses []string, agent string) {
	t.Helper()
	x.admin.do(t, http.MethodPut, "/sites/hospital", map[string]string{"name": "中央病院", "kind": "hospital"}, nil, 0)
	turned := func(i int) map[string][]string {
		return map[string][]string{hubsName: append(slices.Clone(addresses[i%3:]), addresses[:i%3]...)}
	}
	for i := range x.trial.agents {
		h := add(t, w, fmt.Sprintf("a%d", i), fmt.Sprintf("10.77.%d.10/24", 100+i))
		if err := h.Know(turned(i)); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "agent")
		x.admin.enrolOnly(t, h, agent, dir, "hospital", h.Name)
		x.agents = append(x.agents, &loaded{host: h, dir: dir, truth: filepath.Join(filepath.Dir(dir), "truth")})
	}
	pc := add(t, w, "pc", "10.77.90.10/24")
	if err := errors.Join(pc.Know(turned(1)), pc.Separate()); err != nil {
		t.Fatal(err)
	}
	x.pc = x.admin.enrol(t, pc, agent, "hospital", "pc")
}

// begin lets the machines report.
func (x *cluster) begin(t *testing.T) {
	t.Helper()
	x.admin.do(t, http.MethodPost, "/incidents", map[string]any{"title": "三台のハブでの記録", "severity": "high"}, &x.in, 0)
	x.began = time.Now()
	for _, a := range x.agents {
		cmd := a.host.Command(context.WithoutCancel(t.Context()), x.load, "-dir", a.dir, "-truth", a.truth, "-rate", strconv.Itoa(x.rate), "-cause")
		logged(t, cmd, "load")
		var err error
		if a.process, err = a.host.Start(cmd); err != nil {
			t.Fatal(err)
		}
	}
}

// dice is a number below n.
func (x *cluster) dice(n int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.random.IntN(n)
}

func (x *cluster) any() *hubProcess { return x.hubs[x.dice(len(x.hubs))] }

// at is the same person at another hub.
func (w *person) at(h *hubProcess) *person {
	return &person{hub: h, token: w.token, ID: w.ID, Name: w.Name}
}

// people write, practise and collect checkpoints until stop.
func (x *cluster) people(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	every := func(pause time.Duration, do func()) {
		all.Go(func() {
			for ctx.Err() == nil {
				do()
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	turn := 0
	quiet := x.written.keepWriting(t, func(ctx context.Context, text string) bool {
		ok := x.admin.at(x.hubs[turn%len(x.hubs)]).write(ctx, x.in.ID, text)
		if ok {
			x.acks = append(x.acks, time.Now())
		} else {
			turn++ // as a browser does that knows several addresses of a name
		}
		return ok
	})
	every(8*time.Second, func() {
		h := x.any()
		if _, err := h.host.Run(ctx, x.sonae, "drill", "run", "--dir", h.dir, drill.TorrentCallcentre); err == nil {
			x.drills++
		}
	})
	dir := t.TempDir()
	every(3*time.Second, func() {
		h := x.any()
		var c struct{ Text string }
		if x.admin.at(h).ask(ctx, "/ledger/checkpoint", &c) {
			file := filepath.Join(dir, fmt.Sprintf("%03d-%s", len(x.seen), h.host.Name))
			if os.WriteFile(file, []byte(c.Text), 0o600) == nil {
				x.seen = append(x.seen, file)
			}
		}
	})
	return func() { quiet(); cancel(); all.Wait() }
}

// killHubs kills a hub every three to five seconds.
func (x *cluster) killHubs(t *testing.T, d time.Duration) {
	t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); {
		time.Sleep(3*time.Second + time.Duration(x.dice(2000))*time.Millisecond)
		x.tend(t)
		h := x.any()
		h.process.Kill9()
		x.ended(h, time.Now())
		x.tend(t)
	}
}

// ended notes that a hub was killed.
func (x *cluster) ended(h *hubProcess, at time.Time) {
	x.kills = append(x.kills, at)
	for _, r := range x.runs {
		if r.process == h.process {
			r.killed = at
		}
	}
}

// tend starts what does not run, as a service manager does.
func (x *cluster) tend(t *testing.T) {
	t.Helper()
	for _, h := range x.hubs {
		select {
		case <-h.process.Done():
			if i := slices.IndexFunc(x.runs, func(r *run) bool { return r.process == h.process }); x.runs[i].killed.IsZero() {
				x.spoiled++
			}
			x.start(t, h)
		default:
		}
	}
}

// allReady waits until all hubs answer.
func (x *cluster) allReady(t *testing.T) {
	t.Helper()
	for _, h := range x.hubs {
		await(t, 2*time.Minute, "hub "+h.host.Name+" being ready", func() bool {
			x.tend(t)
			return h.isReady()
		})
	}
}

// killNats kills one server of the cluster, and brings it back while hubs are
// killed, too.
func (x *cluster) killNats(t *testing.T) {
	t.Helper()
	n := x.nats[x.dice(len(x.nats))]
	n.kill9(t)
	x.killHubs(t, 4*time.Second)
	n.start(t)
	awaitNats(t, n.host, len(x.nats))
}

// restartStorage ends the storage in an orderly way and starts it again.
func (x *cluster) restartStorage(t *testing.T) {
	t.Helper()
	x.store.process.Stop()
	x.store.used += cpu(t, x.store.process)
	time.Sleep(2 * time.Second)
	x.store.start(t)
	x.store.await(t)
}

// roll restarts all hubs in turn in an orderly way, while somebody writes.
func (x *cluster) roll(t *testing.T) {
	t.Helper()
	x.allReady(t)
	for _, h := range x.hubs {
		began := time.Now()
		h.process.Stop()
		if code := h.process.ProcessState.ExitCode(); code != 0 {
			t.Errorf("hub %s ended with status %d when it was asked to end", h.host.Name, code)
		}
		down := time.Since(began)
		x.start(t, h)
		x.allReady(t)
		t.Logf("rolling restart of %s: ended in %s, answers again after %s", h.host.Name, down.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
}

// drain lets the machines send what waits in their spools.
func (x *cluster) drain(t *testing.T) {
	t.Helper()
	began := time.Now()
	x.lasted = began.Sub(x.began)
	var all sync.WaitGroup
	for _, a := range x.agents {
		_ = syscall.Kill(-a.process.Process.Pid, syscall.SIGTERM) // ends by itself; what it has not sent stays in its spool
		<-a.process.Done()
		all.Go(func() {
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
			defer stop()
			if out, err := a.host.Run(ctx, x.load, "-dir", a.dir, "-drain"); err != nil {
				t.Errorf("drain: %v: %s", err, out)
			}
		})
	}
	all.Wait()
	for _, h := range x.hubs {
		await(t, 3*time.Minute, "archive and ledger having taken everything", h.idle)
	}
	t.Logf("everything was stored %s after the end of the load", time.Since(began).Round(time.Second))
}
