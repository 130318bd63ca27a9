package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/blob/blobtest"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/state/statetest"
)

// countedRules are a correlation over machines, one that stands on it, and a
// threshold of one machine.
const countedRules = `title: Failed
id: t-failed
logsource: {product: linux, category: authentication}
detection: {s: {Action: failure, User: '*'}, condition: s}
---
title: In
id: t-in
logsource: {product: linux, category: authentication}
detection: {s: {Action: login, User: '*'}, condition: s}
---
title: Six failures
id: t-count
correlation: {type: event_count, rules: [t-failed], group-by: [User], timespan: 10m, condition: {gte: 6}}
---
title: A log-in after them
id: t-chain
correlation: {type: temporal_ordered, rules: [t-count, t-in], group-by: [User], timespan: 10m}
generate: true
---
title: Many of one machine
id: t-machine
logsource: {product: linux, category: authentication}
detection: {s: {Action: failure, SourceIp: '*'}, condition: s}
threshold: {count: 5, by: [SourceIp], window: 10m}
`

// kills is how often the hub that counts is killed.
const kills = 4

// TestCorrelationsThroughKills counts on two hubs while machines report, and
// kills the one that counts with SIGKILL, again and again, wherever it is. In the
// end the findings are those of one engine that saw everything once.
func TestCorrelationsThroughKills(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SONAE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64) // zero is a seed, too
	}
	t.Logf("seed %d", seed)
	p := newPair(t, rand.New(rand.NewPCG(seed, 0)))
	batches := p.stream()
	said := p.listen(t)
	for k := range kills {
		part := len(batches) / (kills + 1)
		from := k * part
		for _, b := range batches[from : from+part/3] { // the new one takes over meanwhile
			p.send(t, b)
		}
		at := p.counting(t)
		point := from + part/3 + p.random.IntN(part/2)
		for _, b := range batches[from+part/3 : point] {
			p.send(t, b)
		}
		p.hubs[at].Kill()
		t.Logf("hub %d counted and was killed after %d of %d batches", at, point, len(batches))
		for _, b := range batches[point : from+part] { // the other one has them, or will
			p.send(t, b)
		}
		p.start(t, at)
	}
	for _, b := range batches[len(batches)/(kills+1)*kills:] {
		p.send(t, b)
	}
	want := expected(t, batches)
	p.hubs[0].Idle()
	hubtest.Await(t, "all findings", func() bool { return len(said()) >= len(want) })
	time.Sleep(3 * time.Second) // for one too many
	got := said()
	for id, f := range want {
		if got[id] == "" {
			t.Errorf("missing: %s", f)
		}
	}
	for id, f := range got {
		if want[id] == "" {
			t.Errorf("twice, or wrong: %s", f)
		}
	}
	if len(want) < 130 {
		t.Errorf("%d findings: the test tests little", len(want))
	}
}

// pair is two hubs that share a bus, a database and a storage.
type pair struct {
	random *rand.Rand
	hubs   [2]*hubtest.Hub
	dirs   [2]string
	flags  [2][]string
	nats   string
	links  []machine
	base   time.Time
}

// machine is what was enrolled, with a way to each hub.
type machine struct {
	site, host string
	to         [2]*link.Client
}

func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newPair(t *testing.T, random *rand.Rand) *pair {
	t.Helper()
	p := &pair{random: random, base: time.Now().UTC().Add(-time.Hour).Truncate(time.Second)}
	store, state := blobtest.Serve(t).Config(), statetest.Postgres(t)
	p.startNats(t)
	var ports [2]string
	for i, name := range []string{"a", "b"} {
		p.dirs[i], ports[i] = hubtest.Folder(t), address(t)
		if err := os.MkdirAll(filepath.Join(p.dirs[i], "rules"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dirs[i], "rules", "t.yml"), []byte(countedRules), 0o600); err != nil {
			t.Fatal(err)
		}
		p.flags[i] = []string{"--hub", name, "--keys", filepath.Join(p.dirs[0], "keys"), "--state", state, "--nats", p.nats, "--nats-replicas", "1", "--agents", ports[i],
			"--s3", "http://" + store.Endpoint + "/" + store.Bucket, "--s3-access-key", store.AccessKeyFile, "--s3-secret-key", store.SecretKeyFile}
	}
	if err := os.Symlink(filepath.Join(p.dirs[0], "keys"), filepath.Join(p.dirs[1], "keys")); err != nil {
		t.Fatal(err)
	}
	p.start(t, 0)
	p.hubs[0].Agents = "https://" + ports[0]
	p.hubs[0].Site("s", "hospital")
	for i := range 3 {
		a := p.hubs[0].Enrol("s", fmt.Sprint("pc-", i))
		id := a.Identity()
		m := machine{site: id.Site, host: id.Host, to: [2]*link.Client{a.Client}}
		id.Hub, id.Addresses = "https://"+ports[1], []netip.AddrPort{netip.MustParseAddrPort(ports[1])}
		var err error
		if m.to[1], err = link.Dial(a.Dir, id, hubtest.Log(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.to[1].Close)
		p.links = append(p.links, m)
	}
	p.start(t, 1)
	return p
}

func (p *pair) start(t *testing.T, i int) {
	t.Helper()
	p.hubs[i] = served(t, p.dirs[i], p.flags[i]...)
}

// startNats starts a server as a process of its own.
func (p *pair) startNats(t *testing.T) {
	t.Helper()
	dir, at := t.TempDir(), address(t)
	program := filepath.Join(dir, "nats-server")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	conf := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("server_name: n\nlisten: %s\nmax_payload: 8MB\njetstream { store_dir: %q, sync_interval: always, max_file_store: 20GB }\n", at, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", conf)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	hubtest.Await(t, "NATS", func() bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	p.nats = "nats://" + at
}

// stream is bursts of failures of one user, spread over the machines, each
// followed by a log-in: nothing but what completes a burst can complete it, in
// whatever order the machines are heard. Between them stand failures of single
// machines, of six addresses at a time, which go on after they are told of: of
// those the order matters.
func (p *pair) stream() (out []event.Batch) {
	at := p.base
	add := func(m machine, fields map[string]string) {
		at = at.Add(time.Second)
		out = append(out, event.Batch{ID: fmt.Sprintf("%s.t%d", m.host, len(out)), Site: m.site, Host: m.host, SentAt: at,
			Events: []event.Event{{Time: at, Kind: event.KindLogin, Product: "linux", Category: "authentication", Service: "sshd", Fields: fields}}})
	}
	for n := range 50 {
		user := fmt.Sprint("u", n)
		for step := range 7 {
			action := "failure"
			if step == 6 {
				action = "login"
			}
			add(p.links[p.random.IntN(3)], map[string]string{"Action": action, "User": user})
			from := n + p.random.IntN(6)
			add(p.links[from%3], map[string]string{"Action": "failure", "SourceIp": "192.0.2." + strconv.Itoa(from)})
		}
	}
	return out
}

// expected is what one engine finds that sees everything once.
func expected(t *testing.T, batches []event.Batch) map[string]string {
	t.Helper()
	e, rep, err := detect.Load(fstest.MapFS{"t.yml": &fstest.MapFile{Data: []byte(countedRules)}})
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatal(err, rep.Rejected)
	}
	out := map[string]string{}
	for _, b := range batches {
		b.Events = slices.Clone(b.Events)
		for i := range b.Events {
			b.Events[i].ID = fmt.Sprintf("%s-%d", b.ID, i)
		}
		for _, f := range e.Match(b) {
			out[f.ID] = told(f)
		}
	}
	return out
}

func told(f detect.Finding) string {
	text := f.Rule.ID + " " + f.Time.Format(time.TimeOnly)
	if f.Correlated != nil {
		text += fmt.Sprint(" ", f.Correlated.Group)
	}
	return text
}

// listen hears what hubs publish: findings of the rules of the test, by id.
func (p *pair) listen(t *testing.T) func() map[string]string {
	t.Helper()
	c, err := nats.Connect(p.nats)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var mu sync.Mutex
	out := map[string]string{}
	_, err = c.Subscribe("finding.>", func(m *nats.Msg) {
		var found []detect.Finding
		if err := json.Unmarshal(m.Data, &found); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, f := range found {
			if strings.HasPrefix(f.Rule.ID, "t-") {
				out[f.ID] = told(f)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() map[string]string {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(out)
	}
}

// send hands a batch to whichever hub takes it.
func (p *pair) send(t *testing.T, b event.Batch) {
	t.Helper()
	data, err := wire.EncodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(p.links, func(m machine) bool { return m.host == b.Host })
	first := p.random.IntN(2)
	hubtest.Await(t, "a hub to take a batch", func() bool {
		for k := range 2 {
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
			err := p.links[at].to[(first+k)%2].Batch(ctx, data)
			if stop(); err == nil {
				return true
			}
		}
		return false
	})
	time.Sleep(time.Duration(p.random.IntN(60)) * time.Millisecond)
}

// counting waits until a hub counts, and says which.
func (p *pair) counting(t *testing.T) (at int) {
	t.Helper()
	hubtest.Await(t, "a hub that counts", func() bool {
		at = slices.IndexFunc(p.hubs[:], counts)
		return at >= 0
	})
	return at
}

// counts says whether a hub holds groups of the correlations.
func counts(h *hubtest.Hub) bool {
	res, err := http.Get(h.Local + "/metrics")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, `sonae_correlation_groups{rule="t-count"} `); ok {
			return strings.TrimSpace(rest) != "0"
		}
	}
	return false
}

// TestCorrelationsThroughARestore: what had been counted when a running hub was
// backed up counts on in the hub that is made of the backup.
func TestCorrelationsThroughARestore(t *testing.T) {
	t.Parallel()
	identity, recipient := keyPair(t)
	dir := hubtest.Folder(t)
	if err := os.MkdirAll(filepath.Join(dir, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules", "t.yml"), []byte(countedRules), 0o600); err != nil {
		t.Fatal(err)
	}
	h := hubtest.Start(t, hubtest.Dir(dir))
	one := h.FirstAdmin()
	h.Site("s", "hospital")
	a := h.Enrol("s", "pc-1")
	at := time.Now().UTC().Add(-time.Minute)
	failure := func(n int) event.Event {
		return event.Event{Time: at.Add(time.Duration(n) * time.Second), Kind: event.KindLogin, Product: "linux", Category: "authentication",
			Fields: map[string]string{"Action": "failure", "SourceIp": "192.0.2.1"}}
	}
	a.Report(failure(0), failure(1))
	h.Idle()
	a.Report(failure(2)) // it may wait on the bus, or be counted
	file := filepath.Join(t.TempDir(), "backup.age")
	succeeds(t, "backup", "--dir", dir, "--to", file, "--recipient", recipient)
	h.Stop()
	again := hubtest.Folder(t)
	succeeds(t, "import", "--dir", again, "--identity", identity, file)
	h2 := hubtest.Start(t, hubtest.Dir(again))
	id := a.Identity()
	id.Hub, id.Addresses = h2.Agents, []netip.AddrPort{netip.MustParseAddrPort(strings.TrimPrefix(h2.Agents, "https://"))}
	c, err := link.Dial(a.Dir, id, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	one = h2.Again(one)
	alerts := func() (n int) {
		for _, x := range hubtest.List[alert.Alert](one, "/alerts?limit=100") {
			if x.Rule.ID == "t-machine" {
				n += x.Count
			}
		}
		return n
	}
	for n := 3; n < 5; n++ {
		relayed(t, filepath.Join(again, "state.db"))
		h2.Idle()
		if got := alerts(); got != 0 {
			t.Fatalf("%d alerts after %d of 5 failures", got, n)
		}
		data, err := wire.EncodeBatch(event.Batch{ID: fmt.Sprintf("%s.later%d", id.Host, n), SentAt: time.Now().UTC(), Events: []event.Event{failure(n)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Batch(t.Context(), data); err != nil {
			t.Fatal(err)
		}
	}
	hubtest.Await(t, "the alert of five", func() bool { return alerts() == 1 })
}
