//go:build e2e

package e2e

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/e2e/netns"
	"github.com/sonae/sonae/incident"
)

// fence is a hospital whose router carries out blocks: a PC that will be
// blocked, a machine that must keep running, and a server outside.
type fence struct {
	*story
	gate *agentProcess
	kept *agentProcess
	out  *netns.Host
	room incident.Incident
}

// Leases: one that only an order ends, and one that ends by itself.
const (
	longLease  = 10 * time.Minute
	shortLease = 20 * time.Second
)

// TestBlock is the way of a block: asked for by one person, approved by
// another, carried out by a real agent on the gateway, which is killed in the
// middle, ended once by an order and once by the kernel, written down and
// provable.
func TestBlock(t *testing.T) {
	t.Parallel()
	f := newFence(t)
	up, down, free := f.send(t, f.pc.host, f.out, 0), f.send(t, f.out, f.pc.host, 1), f.send(t, f.kept.host, f.out, 0)
	f.keptIsRefused(t)

	b := f.block(t, longLease, up, down)
	f.nothingPasses(t, "after the verification", 3*time.Second)
	f.gate.process.Kill9()
	f.nothingPasses(t, "while the gateway's agent is dead", 2*time.Second)
	f.gate.start(t)
	f.backInForce(t, b)
	f.nothingPasses(t, "after it came back", 2*time.Second)
	if before := free.bytes(); !grows(free, before) {
		t.Error("the transfer of a machine that is not blocked stopped as well")
	}
	f.release(t, b)

	before := f.watched(t)
	up, down = f.send(t, f.pc.host, f.out, 0), f.send(t, f.out, f.pc.host, 1)
	if f.watched(t)-before < 2<<20 {
		t.Error("the test's own counters do not count what flows")
	}
	b = f.block(t, shortLease, up, down)
	f.gate.process.Kill9()
	f.endsWithoutTheAgent(t, b)

	f.chronology(t)
	f.intact(t)
}

func newFence(t *testing.T) *fence {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	programs := build(t)
	w := newWorld(t, "bl")
	f := &fence{story: &story{world: w}}
	hub := add(t, w, "hub", "192.168.10.5/24", "2001:db8:10::5/64")
	pc := add(t, w, "pc", "192.168.50.10/24", "2001:db8:50::10/64")
	kept := add(t, w, "kept", "192.168.51.20/24", "2001:db8:51::20/64")
	f.out = add(t, w, "out", "198.51.100.7/24", "2001:db8:99::7/64")
	gate := w.Gateway()
	for _, h := range []*netns.Host{pc, kept, gate} {
		if err := h.Separate(); err != nil {
			t.Fatal(err)
		}
	}
	f.hub = startHub(t, hub, programs.hub)
	f.admin = f.hub.join(t, f.hub.link, "admin", "病院 情報担当")
	f.site(t, "hospital", "中央病院", "hospital", "")
	f.second = f.admin.invite(t, "second", "病院 副責任者", "", "approver")
	f.pc = f.admin.enrol(t, pc, programs.agent, "hospital", "pc-07")
	f.kept = f.admin.enrol(t, kept, programs.agent, "hospital", "monitor-01")
	f.gate = f.admin.enrolWith(t, gate, agentProcess{program: programs.agent, flags: []string{"--gateway"}}, "hospital", "gw-01")
	await(t, time.Minute, "the gateway and all addresses being known", func() bool {
		at := func(a *agentProcess) []string { return f.host(t, a.ID).Addresses }
		return f.host(t, f.gate.ID).Health.Gateway && slices.Contains(at(f.pc), "2001:db8:50::10") && slices.Contains(at(f.kept), "192.168.51.20")
	})
	f.admin.do(t, http.MethodPut, "/sites/hospital/blocks", map[string]any{"protected": []action.Protected{{What: "192.0.2.53", Why: "ネームサーバー"}}, "auto": false}, nil, 0)
	f.admin.do(t, http.MethodPost, "/devices", map[string]any{"device": device.Device{Site: "hospital", Name: "UTM", Means: action.List}, "secrets": map[string]string{"secret": "token-1"}}, nil, 0)
	f.admin.do(t, http.MethodPost, "/incidents", map[string]any{"title": "持ち出しの疑い", "severity": "high", "sites": []string{"hospital"}}, &f.room, http.StatusCreated)
	return f
}

// transfer is what arrives at a receiving end.
type transfer struct {
	mu   sync.Mutex
	got  int64
	last time.Time // when bytes came last
}

func (r *transfer) bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

func (r *transfer) lastByte() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// take counts what comes from a connection until it ends.
func (r *transfer) take(c net.Conn) {
	for b := make([]byte, 64<<10); ; {
		n, err := c.Read(b)
		if n > 0 {
			r.mu.Lock()
			r.got, r.last = r.got+int64(n), time.Now()
			r.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// grows says whether more arrives than n bytes.
func grows(r *transfer, n int64) bool {
	for range 600 {
		if r.bytes() > n {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// send runs a transfer to the address of this number until the test ends, and
// returns when it flows.
func (s *story) send(t *testing.T, from, to *netns.Host, address int) *transfer {
	t.Helper()
	l, err := to.Listen(t.Context(), "tcp", net.JoinHostPort(to.Addrs[address].Addr().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	r := &transfer{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err == nil {
			r.take(c)
			_ = c.Close()
		}
	}()
	c, err := from.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = l.Close(); <-done })
	go func() {
		for b := make([]byte, 16<<10); ; time.Sleep(5 * time.Millisecond) { // about 25 Mbit/s: the machine has other work
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	if !grows(r, 1<<20) {
		t.Fatalf("the transfer from %s to %s does not flow", from.Name, to.Name)
	}
	return r
}

// keptIsRefused: by its name, by its address, and when it came onto the list
// after somebody had asked.
func (f *fence) keptIsRefused(t *testing.T) {
	t.Helper()
	ask := map[string]any{"kind": "block", "incident": f.room.ID, "host": f.kept.ID, "via": f.gate.ID, "reason": "念のため", "lease_seconds": 60}
	var early action.Action
	f.admin.do(t, http.MethodPost, "/actions", ask, &early, http.StatusCreated)
	f.admin.do(t, http.MethodPut, "/hosts/"+f.kept.ID, map[string]any{"name": "monitor-01", "class": "pc", "keep": "生体情報モニターを映している", "services": []any{}}, nil, 0)
	refused := func(who *person, path string, in any) {
		t.Helper()
		status, body := who.call(t, http.MethodPost, path, in)
		if status != http.StatusForbidden || !strings.Contains(string(body), "生体情報モニター") {
			t.Errorf("%s of a machine that must keep running: %d %s", path, status, body)
		}
	}
	refused(f.second, "/actions/"+early.ID+"/approve", nil)
	refused(f.admin, "/actions/plan", ask)
	refused(f.admin, "/actions", ask)
	delete(ask, "host")
	for _, target := range []string{"192.168.51.20", "2001:db8:51::20"} {
		ask["targets"] = []string{"198.51.100.99", target}
		refused(f.admin, "/actions", ask)
	}
	f.second.do(t, http.MethodPost, "/actions/"+early.ID+"/refuse", map[string]string{"reason": "止められない機器"}, nil, 0)
	if table := f.nft(t, "list", "ruleset"); strings.Contains(table, "192.168.51.20") {
		t.Errorf("the gateway has rules about it: %s", table)
	}
}

// block asks, is refused the own approval, and lets a second person approve,
// while transfers run. It returns the verified action.
func (f *fence) block(t *testing.T, lease time.Duration, running ...*transfer) (b action.Action) {
	t.Helper()
	ask := map[string]any{"kind": "block", "incident": f.room.ID, "host": f.pc.ID, "via": f.gate.ID, "reason": "外への送信を止めるため", "lease_seconds": int(lease.Seconds())}
	f.admin.do(t, http.MethodPost, "/actions", ask, &b, http.StatusCreated)
	f.admin.do(t, http.MethodPost, "/actions/"+b.ID+"/approve", nil, nil, http.StatusForbidden)
	for _, r := range running {
		if !grows(r, r.bytes()) {
			t.Fatal("a transfer stopped before the block")
		}
	}
	f.second.do(t, http.MethodPost, "/actions/"+b.ID+"/approve", nil, nil, 0)
	await(t, time.Minute, "the block being verified", func() bool {
		f.admin.do(t, http.MethodGet, "/actions/"+b.ID, nil, &b, 0)
		return b.State == action.Verified
	})
	if !slices.Contains(b.Targets, f.pc.host.IP()) || !slices.Contains(b.Targets, "2001:db8:50::10") {
		t.Errorf("it blocks %v", b.Targets)
	}
	for _, c := range b.Checks {
		if !c.OK {
			t.Errorf("check %s of %s failed: %s", c.Name, c.Target, c.Detail)
		}
		t.Logf("check %s: %s", c.Name, c.Detail)
	}
	for i, r := range running {
		t.Logf("transfer %d: last byte %s after the order; the block was verified after %s", i, r.lastByte().Sub(b.DecidedAt).Round(time.Millisecond), b.VerifiedAt.Sub(b.DecidedAt).Round(time.Millisecond))
		if late := r.lastByte().Sub(b.VerifiedAt); late > 0 {
			t.Errorf("transfer %d: bytes arrived %s after the block was verified", i, late)
		}
	}
	return b
}

// nothingPasses watches for a while that neither the receiving ends, nor a
// chain of the test's own on the router, nor the gateway's count a byte. That
// something tried to pass, the gateway's other chain tells.
func (f *fence) nothingPasses(t *testing.T, when string, d time.Duration) {
	t.Helper()
	passed, spilt := f.watched(t), f.counted(t, "passed")
	time.Sleep(d) // silence can only be observed over time
	if n := f.watched(t) - passed; n != 0 {
		t.Errorf("%s: %d bytes of the blocked PC passed the router", when, n)
	}
	if n := f.counted(t, "passed") - spilt; n != 0 {
		t.Errorf("%s: the gateway counts %d bytes that passed", when, n)
	}
	if f.counted(t, "forward") == 0 {
		t.Errorf("%s: the gateway dropped nothing: this says nothing", when)
	}
}

func (f *fence) nft(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", f.world.Router(), "nft"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}

var counter = regexp.MustCompile(`counter packets \d+ bytes (\d+)`)

func sum(listing string) (n int) {
	for _, m := range counter.FindAllStringSubmatch(listing, -1) {
		v, _ := strconv.Atoi(m[1]) // the pattern matches digits only
		n += v
	}
	return n
}

// counted are the bytes that a chain of the gateway's own table counted.
func (f *fence) counted(t *testing.T, chain string) int {
	t.Helper()
	return sum(f.nft(t, "list", "chain", "inet", "sonae_gate", chain))
}

// watched are the bytes of the PC, either way and of either protocol, that
// passed the router to or from anybody but the hub.
func (f *fence) watched(t *testing.T) int {
	t.Helper()
	const rules = `add table inet watch; add chain inet watch forward { type filter hook forward priority 0; };
		add rule inet watch forward ip saddr 192.168.50.10 ip daddr != 192.168.10.5 counter; add rule inet watch forward ip daddr 192.168.50.10 ip saddr != 192.168.10.5 counter;
		add rule inet watch forward ip6 saddr 2001:db8:50::10 counter; add rule inet watch forward ip6 daddr 2001:db8:50::10 counter;`
	if !strings.Contains(f.nft(t, "list", "tables"), "watch") {
		f.nft(t, rules)
	}
	return sum(f.nft(t, "list", "table", "inet", "watch"))
}

// backInForce: the agent that came back heard of the block from its disk and
// speaks to the hub again.
func (f *fence) backInForce(t *testing.T, b action.Action) {
	t.Helper()
	since := time.Now()
	await(t, time.Minute, "a heartbeat of the gateway", func() bool { return f.host(t, f.gate.ID).LastSeen.After(since) })
	f.admin.do(t, http.MethodGet, "/actions/"+b.ID, nil, &b, 0)
	if b.State != action.Verified {
		t.Errorf("the gateway's agent was killed and came back, and the block is %s", b.State)
	}
}

// release ends a block by an order, and everything flows again.
func (f *fence) release(t *testing.T, b action.Action) {
	t.Helper()
	began := time.Now()
	f.admin.do(t, http.MethodPost, "/actions/"+b.ID+"/release", map[string]string{"reason": "原因を取り除いた"}, nil, 0)
	await(t, time.Minute, "the block being released", func() bool {
		f.admin.do(t, http.MethodGet, "/actions/"+b.ID, nil, &b, 0)
		return b.State == action.Released
	})
	t.Logf("released %s after the order", time.Since(began).Round(time.Millisecond))
}

// endsWithoutTheAgent: the kernel ends the lease, not earlier, and the agent
// that starts afterwards says so.
func (f *fence) endsWithoutTheAgent(t *testing.T, b action.Action) {
	t.Helper()
	if left := time.Until(b.ExpiresAt) - time.Second; left > 0 {
		f.nothingPasses(t, "until the lease ends", left)
	}
	f.send(t, f.pc.host, f.out, 0)
	if early := time.Until(b.ExpiresAt); early > 0 {
		t.Errorf("the block ended %s too early", early)
	}
	t.Logf("a new transfer flows %s after the end of the lease, without the agent", time.Since(b.ExpiresAt).Round(time.Millisecond))
	f.gate.start(t)
	await(t, time.Minute, "the action saying that the lease ended", func() bool {
		f.admin.do(t, http.MethodGet, "/actions/"+b.ID, nil, &b, 0)
		return b.State == action.Expired
	})
	f.send(t, f.out, f.pc.host, 1)
}

// chronology: every step is there without a line typed by hand, and its page
// tells them in plain words.
func (f *fence) chronology(t *testing.T) {
	t.Helper()
	want := []string{"incident.opened", "action.requested.preserve", "evidence.sealed", "action.requested.block", "action.refused.block", "action.approved.block",
		"action.applied.block", "action.verified.block", "action.releasing.block", "action.released.block", "action.expired.block.lease"}
	var l list[incident.Entry]
	await(t, time.Minute, "the chronology telling everything", func() bool {
		f.admin.do(t, http.MethodGet, "/incidents/"+f.room.ID+"/entries?limit=500", nil, &l, 0)
		return !slices.ContainsFunc(want, func(k string) bool {
			return !slices.ContainsFunc(l.Items, func(e incident.Entry) bool { return e.Key == k })
		})
	})
	page := f.admin.page(t, "/incidents/"+f.room.ID+"?lang=ja")
	for _, say := range []string{"病院 副責任者が、", "192.168.50.10", "の遮断を承認した（gw-01）", "の遮断を確かめた。通信は通っていない（gw-01", "の遮断は、期限になって終わった"} {
		if !strings.Contains(page, say) {
			t.Errorf("the page of the incident does not say %q", say)
		}
	}
}

// intact ends everything in order and verifies what the hub left.
func (f *fence) intact(t *testing.T) {
	t.Helper()
	for _, a := range []*agentProcess{f.pc, f.kept, f.gate} {
		a.process.Kill9()
	}
	f.hub.process.Stop()
	if err := f.verify(f.hub.dir); err != nil {
		t.Error(err)
	}
}
