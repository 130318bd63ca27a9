//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/e2e/netns"
	"github.com/sonae/sonae/incident"
)

// ordeal is how hard a run is.
type ordeal struct {
	agents, rate int           // machines; events per second of each
	kills        int           // at least
	lasts        time.Duration // at least
	full         time.Duration // how long the disk is full
	back         time.Duration // within which the hub must answer after it was killed
}

// hardness is the short run unless SONAE_TORTURE=full asks for the long one
// (make torture).
func hardness() ordeal {
	if os.Getenv("SONAE_TORTURE") == "full" {
		return ordeal{agents: 50, rate: 400, kills: 500, lasts: 20 * time.Minute, full: 20 * time.Second, back: 10 * time.Second}
	}
	return ordeal{agents: 8, rate: 200, kills: 30, lasts: 40 * time.Second, full: 4 * time.Second, back: time.Minute}
}

// TestTorture loads a hub and kills it and its agents with kill -9 at random
// points, fills its disk, sets its clock wrong and cuts a segment behind its
// back. In the end every event that was in a spool is in the archive once,
// every entry that a person was told is written is in the chronology once, and
// all of it verifies.
func TestTorture(t *testing.T) {
	t.Parallel()
	x := newTorture(t, hardness())
	x.start(t)
	stop := x.writeEntries(t)
	began := time.Now()
	third := x.kills / 3
	x.killMany(t, third, began.Add(x.lasts/3))
	x.cutSegment(t)
	x.stepClock(t)
	x.killMany(t, 2*third, began.Add(2*x.lasts/3))
	x.fillDisk(t)
	x.killMany(t, x.kills, began.Add(x.lasts))
	t.Logf("%d kills in %s, seed %d", x.killed, time.Since(began).Round(time.Second), x.seed)
	stop()
	x.drain(t)
	x.written.check(t, x.admin, x.in.ID)
	x.reportBack(t)
	x.hub.process.Kill9()
	x.everyEventOnce(t)
	x.verifies(t)
}

type torture struct {
	ordeal
	seed    uint64
	random  *rand.Rand
	hub     *hubProcess
	sonae   string // the program, for verify
	load    string
	agent   string
	disk    string // where the hub's folder is mounted
	clock   string // file that sets clocks wrong
	agents  []*loaded
	admin   *person
	in      incident.Incident
	killed  int
	backs   []time.Duration
	written written
}

// loaded is a machine under load.
type loaded struct {
	host       *netns.Host // of its own; nil: that of the hub
	dir, truth string
	process    *netns.Process
}

func newTorture(t *testing.T, o ordeal) *torture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces and a disk of its own")
	}
	dir := t.TempDir()
	x := &torture{ordeal: o, seed: uint64(time.Now().UnixNano()), clock: filepath.Join(dir, "clock"), sonae: program(t, "sonae", "../cmd/sonae"), load: program(t, "load", "./load"),
		agent: program(t, "sonae-agent", "../cmd/sonae-agent")}
	if s := os.Getenv("SONAE_SEED"); s != "" {
		x.seed, _ = strconv.ParseUint(s, 10, 64) // zero is a seed, too
	}
	t.Logf("seed %d", x.seed)
	x.random = rand.New(rand.NewPCG(x.seed, 0))
	w := newWorld(t, "tt")
	x.disk = ownDisk(t, dir)
	x.hub = startHubWith(t, add(t, w, "hub", "192.168.10.5/24", "2001:db8:10::5/64"), hubProcess{program: program(t, "stepped", "./stepped"), dir: filepath.Join(x.disk, "hub"), args: []string{"--clock", x.clock}})
	return x
}

// ownDisk mounts a file system of 6 GB in a file, so that it can be filled.
func ownDisk(t *testing.T, dir string) string {
	t.Helper()
	image, disk := filepath.Join(dir, "disk.img"), filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{"truncate -s 6G " + image, "mkfs.ext4 -q -m 0 " + image, "mount -o loop " + image + " " + disk} {
		if b, err := exec.Command("sh", "-c", cmd).CombinedOutput(); err != nil {
			t.Skipf("a disk of its own cannot be made here: %s: %s", cmd, b)
		}
	}
	t.Cleanup(func() {
		if b, err := exec.Command("umount", "-l", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, b)
		}
	})
	return disk
}

// start enrols the machines and lets them report.
func (x *torture) start(t *testing.T) {
	t.Helper()
	x.admin = x.hub.join(t, x.hub.link, "admin", "病院 情報担当")
	x.admin.do(t, http.MethodPut, "/sites/hospital", map[string]string{"name": "中央病院", "kind": "hospital"}, nil, 0)
	x.admin.do(t, http.MethodPost, "/incidents", map[string]any{"title": "負荷の中の記録", "severity": "high"}, &x.in, 0)
	for i := range x.ordeal.agents {
		dir := filepath.Join(t.TempDir(), "agent")
		x.admin.enrolOnly(t, x.hub.host, x.agent, dir, "hospital", fmt.Sprintf("pc-%02d", i))
		x.agents = append(x.agents, &loaded{dir: dir, truth: filepath.Join(filepath.Dir(dir), "truth")})
	}
	for _, a := range x.agents {
		x.run(t, a)
	}
}

func (x *torture) run(t *testing.T, a *loaded) {
	t.Helper()
	cmd := x.hub.host.Command(context.WithoutCancel(t.Context()), x.load, "-dir", a.dir, "-truth", a.truth, "-rate", strconv.Itoa(x.rate), "-clock", x.clock)
	logged(t, cmd, "load")
	var err error
	if a.process, err = x.hub.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
}

// killMany kills until there were so many kills and it is so late.
func (x *torture) killMany(t *testing.T, kills int, until time.Time) {
	t.Helper()
	for x.killed < kills || time.Now().Before(until) {
		left := max(time.Until(until), 0) / time.Duration(max(kills-x.killed, 1))
		time.Sleep(time.Duration(x.random.Int64N(int64(2*min(left, 3*time.Second)) + 1e6)))
		if x.random.IntN(100) < 60 {
			a := x.agents[x.random.IntN(len(x.agents))]
			a.process.Kill9()
			x.run(t, a)
		} else {
			x.hub.process.Kill9()
			x.again(t, x.random.IntN(2) == 0)
		}
		x.killed++
	}
	x.again(t, true)
}

// again starts the hub if it does not run. Without await it may be killed
// while it starts.
func (x *torture) again(t *testing.T, await bool) {
	t.Helper()
	began := time.Now()
	select {
	case <-x.hub.process.Done():
		x.hub.start(t)
	default:
	}
	if await {
		x.hub.awaitReady(t)
		x.backs = append(x.backs, time.Since(began))
	}
}

func (x *torture) reportBack(t *testing.T) {
	t.Helper()
	slices.Sort(x.backs)
	n := len(x.backs)
	t.Logf("answers again after %s (median of %d), at most %s", x.backs[n/2].Round(time.Millisecond), n, x.backs[n-1].Round(time.Millisecond))
	if x.backs[n-1] > x.back {
		t.Errorf("the hub took %s to answer again, want at most %s", x.backs[n-1], x.back)
	}
}

// stepClock sets the clocks of the hub and of the machines ten minutes ahead,
// then five behind, then right.
func (x *torture) stepClock(t *testing.T) {
	t.Helper()
	for _, step := range []string{"600", "-300", "0"} {
		if err := os.WriteFile(x.clock, []byte(step), 0o600); err != nil {
			t.Fatal(err)
		}
		x.killMany(t, x.killed+3, time.Now().Add(3*time.Second))
	}
}

// cutSegment cuts a sealed segment in half while the hub is down. The hub must
// name it, and so must verify; put back, all is well again.
func (x *torture) cutSegment(t *testing.T) {
	t.Helper()
	await(t, time.Minute, "a segment being sealed", func() bool {
		live, err := archive.Segments(filepath.Join(x.hub.dir, "archive"))
		return err == nil && len(live) > 0
	})
	x.hub.process.Kill9()
	file, whole := x.sealed(t)
	if err := os.Truncate(file, int64(len(whole)/2)); err != nil {
		t.Fatal(err)
	}
	name, err := filepath.Rel(filepath.Join(x.hub.dir, "archive"), file)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(x.sonae, "verify", x.hub.dir).CombinedOutput()
	if code := exitCode(err); code != 1 || !bytes.Contains(out, []byte(name)) {
		t.Errorf("verify: exit %d, want 1 and %s named:\n%s", code, name, out)
	}
	log := x.hub.start(t)
	x.hub.awaitReady(t)
	await(t, time.Minute, "the hub naming "+name, func() bool {
		b, err := os.ReadFile(log)
		return err == nil && bytes.Contains(b, []byte(name))
	})
	x.hub.process.Kill9()
	if err := os.WriteFile(file, whole, 0o640); err != nil {
		t.Fatal(err)
	}
	x.again(t, true)
}

// sealed returns a segment that the manifest names, with its content.
func (x *torture) sealed(t *testing.T) (file string, whole []byte) {
	t.Helper()
	root := filepath.Join(x.hub.dir, "archive")
	live, err := archive.Segments(root)
	if err != nil || len(live) == 0 {
		t.Fatalf("no segment to cut: %v", err)
	}
	file = filepath.Join(root, filepath.FromSlash(live[x.random.IntN(len(live))]))
	if whole, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	return file, whole
}

// fillDisk takes the last byte of the hub's disk, kills the hub while it is
// full, and gives the room back.
func (x *torture) fillDisk(t *testing.T) {
	t.Helper()
	ballast := filepath.Join(x.disk, "ballast")
	fill(t, ballast)
	until := time.Now().Add(x.full)
	time.Sleep(x.full / 2)
	x.hub.process.Kill9()
	for time.Now().Before(until) { // a service manager would try again and again
		x.again(t, false)
		time.Sleep(time.Second)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	x.again(t, true)
}

// fill writes a file until nothing more fits.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize); err != nil && !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<16); ; {
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// written is what a person was told is in the chronology, and what may be.
type written struct {
	mu    sync.Mutex
	told  map[string]bool
	tried int
}

// writeEntries writes into the chronology all the time, until stop.
func (x *torture) writeEntries(t *testing.T) (stop func()) {
	return x.written.keepWriting(t, func(ctx context.Context, text string) bool {
		return x.admin.write(ctx, x.in.ID, text)
	})
}

// keepWriting writes all the time, until stop.
func (w *written) keepWriting(t *testing.T, write func(ctx context.Context, text string) bool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	w.told = map[string]bool{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			text := fmt.Sprintf("負荷の中の記録 %d", n)
			ok := write(ctx, text)
			w.mu.Lock()
			w.tried++
			if ok {
				w.told[text] = true
			}
			w.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() { cancel(); <-done }
}

// write writes an entry and says whether it was acknowledged.
func (w *person) write(ctx context.Context, incident, text string) bool {
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return false
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, w.hub.base+"/api/v1/incidents/"+incident+"/entries", bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.token)
	res, err := w.hub.client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusCreated
}

// drain lets the machines send what waits in their spools.
func (x *torture) drain(t *testing.T) {
	t.Helper()
	began := time.Now()
	var all sync.WaitGroup
	for _, a := range x.agents {
		_ = syscall.Kill(-a.process.Process.Pid, syscall.SIGTERM) // ends by itself; what it has not sent stays in its spool
		<-a.process.Done()
		all.Go(func() {
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
			defer stop()
			if out, err := x.hub.host.Run(ctx, x.load, "-dir", a.dir, "-drain"); err != nil {
				t.Errorf("drain: %v: %s", err, out)
			}
		})
	}
	all.Wait()
	defer func() {
		if t.Failed() {
			waiting, err := x.hub.waiting()
			t.Logf("waiting: %v %v", waiting, err)
		}
	}()
	await(t, 5*time.Minute, "the archive and the ledger having taken everything", func() bool { return x.hub.idle() })
	t.Logf("everything was stored %s after the end of the load", time.Since(began).Round(time.Second))
}

// idle says whether nothing waits between the stages, twice in a row: what one
// stage handles may be handed to the next just now.
func (p *hubProcess) idle() bool {
	for range 2 {
		if waiting, err := p.waiting(); err != nil || len(waiting) > 0 {
			return false
		}
	}
	return true
}

// waiting lists the joins for which messages wait, and the outbox, as the
// metrics say it.
func (p *hubProcess) waiting() (lines []string, err error) {
	all, err := p.metrics()
	if err != nil {
		return nil, err
	}
	joins := false
	for name, value := range all {
		join := strings.HasPrefix(name, "sonae_bus_waiting_messages{") && !strings.Contains(name, `"dead"`)
		joins = joins || join
		if (join || name == "sonae_outbox_messages") && value != "0" {
			lines = append(lines, name+" "+value)
		}
	}
	if !joins || all["sonae_outbox_messages"] == "" {
		return nil, errors.New("the metrics do not say what waits")
	}
	return lines, nil
}

// metrics are the hub's metrics by name with labels.
func (p *hubProcess) metrics() (map[string]string, error) {
	client := http.Client{Transport: &http.Transport{DialContext: p.host.Dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get("http://127.0.0.1:8080/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	all := map[string]string{}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			all[line[:i]] = line[i+1:]
		}
	}
	return all, err
}

// check wants each entry that somebody was told of, once, and none twice.
func (w *written) check(t *testing.T, reader *person, in string) {
	t.Helper()
	found, last := map[string]int{}, 0
	for {
		var page list[incident.Entry]
		reader.do(t, http.MethodGet, fmt.Sprintf("/incidents/%s/entries?after=%d&limit=500", in, last), nil, &page, 0)
		if len(page.Items) == 0 {
			break
		}
		for _, e := range page.Items {
			if e.No != last+1 {
				t.Errorf("the chronology jumps from %d to %d", last, e.No)
			}
			last = e.No
			found[e.Text]++
		}
	}
	for text := range w.told {
		if found[text] != 1 {
			t.Errorf("entry %q was acknowledged and is there %d times", text, found[text])
		}
	}
	for text, n := range found {
		if text != "" && n > 1 {
			t.Errorf("entry %q is there %d times", text, n)
		}
	}
	t.Logf("chronology: %d entries tried, %d acknowledged, all there once", w.tried, len(w.told))
}

// promised is what the machines wrote down, events by batch.
func promised(t *testing.T, agents []*loaded) map[string]int64 {
	t.Helper()
	want := map[string]int64{}
	for _, a := range agents {
		b, err := os.ReadFile(a.truth)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			id, count, ok := strings.Cut(strings.TrimSpace(line), " ")
			n, err := strconv.ParseInt(count, 10, 64)
			if ok && err == nil && strings.HasSuffix(line, "\n") { // kill -9 may have cut the last one
				want[id] = n
			}
		}
	}
	return want
}

// everyEventOnce compares the archive with what the machines had promised.
func (x *torture) everyEventOnce(t *testing.T) {
	t.Helper()
	ar, err := archive.Open(t.Context(), filepath.Join(x.hub.dir, "archive"), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	holdsOnce(t, ar, promised(t, x.agents))
}

// holdsOnce wants each promised batch in an archive, whole and once, and
// closes the archive.
func holdsOnce(t *testing.T, ar *archive.Archive, want map[string]int64) {
	t.Helper()
	defer func() {
		if err := ar.Close(); err != nil {
			t.Error(err)
		}
	}()
	var events, missing, twice int64
	have := map[string]bool{}
	err := ar.Batches(t.Context(), func(id string, rows, distinct int64) error {
		have[id] = true
		events += rows
		twice += rows - distinct
		if n, promised := want[id]; promised && n != distinct {
			missing += n - distinct
			t.Errorf("batch %s: %d of %d events", id, distinct, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range want {
		if !have[id] {
			missing += n
			t.Errorf("batch %s of %d events is missing", id, n)
		}
	}
	if twice != 0 {
		t.Errorf("%d events are stored twice", twice)
	}
	st := ar.Stats()
	t.Logf("%d batches promised, %d events in %d segments of %d MB: %d missing, %d twice", len(want), events, st.Segments, st.Bytes>>20, missing, twice)
}

func (x *torture) verifies(t *testing.T) {
	t.Helper()
	began := time.Now()
	out, err := exec.Command(x.sonae, "verify", x.hub.dir).CombinedOutput()
	if err != nil {
		t.Errorf("verify: %v\n%s", err, differencesIn(string(out)))
	}
	size := int64(0)
	_ = filepath.WalkDir(x.hub.dir, func(_ string, d fs.DirEntry, err error) error { // for the log only
		if err == nil && !d.IsDir() {
			if i, err := d.Info(); err == nil {
				size += i.Size()
			}
		}
		return nil
	})
	t.Logf("verified %d MB in %s", size>>20, time.Since(began).Round(time.Second))
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}
