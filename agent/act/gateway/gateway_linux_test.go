package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
	"github.com/sonae/sonae/e2e/netns"
)

// The gateway under test is this test binary, started again inside of the
// router's namespace and told what to do line by line, so that it can be
// killed. Sockets of the other machines are served by the test itself.

const (
	gatewayEnv = "SONAE_GATEWAY_TEST_DIR"
	hubEnv     = "SONAE_GATEWAY_TEST_HUB"
	ownEnv     = "SONAE_GATEWAY_TEST_OWN"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(gatewayEnv); dir != "" {
		gatewayMain(dir)
		return
	}
	os.Exit(m.Run())
}

type request struct {
	Do       *order.Order `json:"do,omitempty"`
	Resume   bool         `json:"resume,omitempty"`
	Run      bool         `json:"run,omitempty"`
	Reports  bool         `json:"reports,omitempty"`
	Counters bool         `json:"counters,omitempty"`
}

type reply struct {
	Results  []order.Result `json:"results,omitempty"`
	Counters Counters       `json:"counters"`
	Err      string         `json:"err,omitempty"`
}

func gatewayMain(dir string) {
	hub := os.Getenv(hubEnv)
	g := New(Config{Dir: dir, Now: actiontest.Now(), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Hub: func() netip.AddrPort { ap, _ := netip.ParseAddrPort(hub); return ap },
		Own: func() []netip.Addr { return addresses(strings.Fields(os.Getenv(ownEnv))) },
		Probe: func(ctx context.Context) error {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", hub)
			if err == nil {
				err = c.Close()
			}
			return err
		}})
	var mu sync.Mutex
	var reported []order.Result
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var q request
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			panic(err)
		}
		switch {
		case q.Do != nil:
			r.Results = []order.Result{g.Do(context.Background(), *q.Do)}
		case q.Resume:
			r.Results = g.Resume(context.Background())
		case q.Run:
			go g.Run(context.Background(), func(x order.Result) { mu.Lock(); reported = append(reported, x); mu.Unlock() })
		case q.Reports:
			mu.Lock()
			r.Results, reported = reported, nil
			mu.Unlock()
		}
		var err error
		if r.Counters, err = g.Counters(); err != nil {
			r.Err = err.Error()
		}
		if err := out.Encode(r); err != nil {
			panic(err)
		}
	}
}

// lab is a gateway between a machine to be blocked, another one, a server
// outside, and the hub.
type lab struct {
	t                    *testing.T
	world                *netns.World
	pc, other, srv, hub  *netns.Host
	hubAddr, notHub, dir string
}

var labs atomic.Int32

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	n := labs.Add(1)
	w, err := netns.New(fmt.Sprintf("g%d", n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	l := &lab{t: t, world: w, dir: t.TempDir()}
	for _, h := range []struct {
		to   **netns.Host
		name string
		net  int
	}{{&l.pc, "pc", 1}, {&l.other, "ot", 2}, {&l.srv, "sv", 3}, {&l.hub, "hb", 4}} {
		if *h.to, err = w.Add(h.name, fmt.Sprintf("10.66.%d.2/24", h.net), fmt.Sprintf("fd66:%d::2/64", h.net)); err != nil {
			t.Fatal(err)
		}
	}
	l.hubAddr, l.notHub = l.serve(l.hub, "10.66.4.2").addr, l.serve(l.hub, "10.66.4.2").addr
	return l
}

// sink counts what a server receives.
type sink struct {
	addr     string
	received atomic.Int64
}

func (l *lab) serve(h *netns.Host, ip string) *sink {
	l.t.Helper()
	ln, err := h.Listen(l.t.Context(), "tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		l.t.Fatal(err)
	}
	s := &sink{addr: ln.Addr().String()}
	l.t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.t.Cleanup(func() { _ = c.Close() })
			go func() {
				b := make([]byte, 64<<10)
				for {
					n, err := c.Read(b)
					s.received.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return s
}

// transfer sends as fast as it can until the test ends.
func (l *lab) transfer(from *netns.Host, s *sink) {
	l.t.Helper()
	c, err := from.Dial(l.t.Context(), "tcp", s.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	go func() {
		for b := make([]byte, 64<<10); ; {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	l.eventually(2*time.Second, "the transfer runs", func() bool { return s.received.Load() > 1<<20 })
}

func (l *lab) eventually(d time.Duration, what string, ok func() bool) {
	l.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	if !ok() {
		l.t.Fatalf("not within %s: %s", d, what)
	}
}

func (l *lab) reaches(from *netns.Host, addr string) bool {
	ctx, stop := context.WithTimeout(l.t.Context(), 500*time.Millisecond)
	defer stop()
	c, err := from.Dial(ctx, "tcp", addr)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func (l *lab) sh(ns, script string) string {
	l.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", ns, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// process is the gateway's agent.
type process struct {
	l   *lab
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (l *lab) gateway(hub string) *process {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", l.world.Router(), self)
	cmd.Env = append(os.Environ(), gatewayEnv+"="+l.dir, hubEnv+"="+hub, ownEnv+"=10.66.1.1 fd66:1::1 10.66.2.2")
	cmd.Stderr = l.t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	p := &process{l: l, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	l.t.Cleanup(p.kill)
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // `ip netns exec` has become the gateway by exec
	_ = p.cmd.Wait()
}

func (p *process) ask(q request) reply {
	p.l.t.Helper()
	if err := json.NewEncoder(p.in).Encode(q); err != nil {
		p.l.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.l.t.Fatalf("the gateway ended: %v", p.out.Err())
	}
	var r reply
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		p.l.t.Fatal(err)
	}
	return r
}

func (p *process) do(o order.Order) order.Result {
	p.l.t.Helper()
	return p.ask(request{Do: &o}).Results[0]
}

func (l *lab) blockOrder(id string, lease time.Duration, targets ...string) order.Order {
	return order.Order{ID: "or-" + id, Action: "ac-" + id, Kind: order.Block, Host: "gw", Lease: lease, Targets: targets,
		Keep: []string{l.hubAddr}, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute)}
}

// stops sends an order while transfers run and says how long after it the last
// byte came; it fails when bytes came later than a second after it.
func (l *lab) stops(p *process, o order.Order, sinks ...*sink) order.Result {
	l.t.Helper()
	start := time.Now()
	last := make(chan time.Duration, 1)
	ends := make(chan struct{})
	go func() {
		var seen int64
		var at time.Duration
		for {
			var sum int64
			for _, s := range sinks {
				sum += s.received.Load()
			}
			if sum != seen {
				seen, at = sum, time.Since(start)
			}
			select {
			case <-ends:
				last <- at
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	r := p.do(o)
	time.Sleep(2*time.Second - time.Since(start))
	close(ends)
	took := <-last
	l.t.Logf("last byte %d ms after the order; %+v", took.Milliseconds(), r.Checks)
	if took > time.Second {
		l.t.Errorf("bytes came until %s after the order", took)
	}
	if r.Phase != order.Applied {
		l.t.Fatalf("got %s %s", r.Phase, r.Detail)
	}
	for _, c := range r.Checks {
		if !c.OK {
			l.t.Errorf("check %s: %s", c.Name, c.Detail)
		}
	}
	return r
}

func TestRunningTransfersStopWithinASecondAndNothingPassesAfterwards(t *testing.T) {
	l := newLab(t)
	four, six, free := l.serve(l.srv, "10.66.3.2"), l.serve(l.srv, "fd66:3::2"), l.serve(l.srv, "10.66.3.2")
	l.transfer(l.pc, four)
	l.transfer(l.pc, six)
	l.transfer(l.other, free)
	p := l.gateway(l.hubAddr)
	o := l.blockOrder("1", time.Minute, "10.66.1.2", "fd66:1::2")
	first := l.stops(p, o, four, six)
	before := free.received.Load()
	time.Sleep(200 * time.Millisecond)
	if free.received.Load() == before {
		t.Error("the transfer of another machine stopped as well")
	}
	n := p.ask(request{Counters: true}).Counters
	if n.PassedBytes != 0 || n.Dropped == 0 {
		t.Errorf("counters %+v, want 0 bytes passed and some dropped", n)
	}
	if l.reaches(l.pc, four.addr) || l.reaches(l.pc, six.addr) || l.reaches(l.other, "10.66.1.2:9") {
		t.Error("new connections pass")
	}
	if !l.reaches(l.pc, l.hubAddr) {
		t.Error("the blocked machine does not reach the hub any more")
	}
	if l.reaches(l.pc, l.notHub) {
		t.Error("the blocked machine reaches another port of the hub's machine")
	}
	if again := p.do(o); !again.At.Equal(first.At) || again.Phase != order.Applied {
		t.Errorf("asked again: %+v", again)
	}
	if r := p.do(order.Order{ID: "or-2", Action: o.Action, Kind: order.Unblock, Host: "gw"}); r.Phase != order.Released {
		t.Errorf("release: %+v", r)
	}
	if !l.reaches(l.pc, four.addr) || !l.reaches(l.pc, six.addr) {
		t.Error("released, but still blocked")
	}
}

// A flowtable forwards past all chains; a block must stop it all the same.
func TestFlowtableIsNoWayAround(t *testing.T) {
	l := newLab(t)
	rt := l.world.Router()
	if out, err := exec.Command("ip", "netns", "exec", rt, "nft", `table inet fast {
  flowtable ft { hook ingress priority 0; devices = { v1, v2, v3, v4 }; }
  chain f { type filter hook forward priority 0; ct state established flow add @ft; }
}`).CombinedOutput(); err != nil {
		t.Skipf("this kernel has no flowtables: %s", out)
	}
	s := l.serve(l.srv, "10.66.3.2")
	l.transfer(l.pc, s)
	l.eventually(2*time.Second, "the flow is offloaded", func() bool {
		return strings.Contains(l.sh(rt, "conntrack -L 2>/dev/null"), "OFFLOAD")
	})
	l.stops(l.gateway(l.hubAddr), l.blockOrder("1", time.Minute, "10.66.1.2"), s)
}

// What a flowtable forwards ends with the tracked connection: none of a
// blocked address may be left, also where its address is translated.
func TestConnectionsOfTheBlockedAreForgotten(t *testing.T) {
	l := newLab(t)
	rt := l.world.Router()
	l.sh(rt, `nft 'table ip nat { chain post { type nat hook postrouting priority 100; oifname v3 masquerade; }; }'`)
	s := l.serve(l.srv, "10.66.3.2")
	l.transfer(l.pc, s)
	l.transfer(l.other, s)
	if all := l.sh(rt, "conntrack -L 2>/dev/null"); !strings.Contains(all, "10.66.1.2") || !strings.Contains(all, "10.66.2.2") {
		t.Fatalf("nothing is tracked: %s", all)
	}
	if r := l.gateway(l.hubAddr).do(l.blockOrder("1", time.Minute, "10.66.1.2")); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	all := l.sh(rt, "conntrack -L 2>/dev/null")
	if strings.Contains(all, "10.66.1.2") || !strings.Contains(all, "10.66.2.2") {
		t.Errorf("tracked after the block: %s", all)
	}
}

// An inline bridge has no routes and no connection tracking of its own.
func TestBridgeBlocksToo(t *testing.T) {
	l := newLab(t)
	rt := l.world.Router()
	l.sh(rt, `ip link add br0 type bridge; ip link set br0 up`)
	var ends [3]*netns.Host
	for n := 1; n <= 2; n++ {
		ns := fmt.Sprintf("%sb%d", rt, n)
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		l.sh(rt, fmt.Sprintf(`ip link add bp%d type veth peer name eth0 netns %s; ip link set bp%d master br0 up`, n, ns, n))
		l.sh(ns, fmt.Sprintf(`ip link set lo up; ip link set eth0 up; ip addr add 10.67.0.%d/24 dev eth0`, n))
		ends[n] = &netns.Host{NS: ns}
	}
	s := l.serve(ends[2], "10.67.0.2")
	l.transfer(ends[1], s)
	p := l.gateway(l.hubAddr)
	l.stops(p, l.blockOrder("1", 4*time.Second, "10.67.0.1"), s)
	if l.reaches(ends[1], s.addr) {
		t.Error("bridged packets pass")
	}
	if n := p.ask(request{Counters: true}).Counters; n.PassedBytes != 0 || n.Dropped == 0 {
		t.Errorf("counters %+v", n)
	}
	l.eventually(8*time.Second, "the lease ends", func() bool { return l.reaches(ends[1], s.addr) })
}

// The kernel ends the lease of a gateway that is gone; one that comes back
// goes on where it was, and says so.
func TestLeaseEndsWithoutTheProgram(t *testing.T) {
	l := newLab(t)
	s := l.serve(l.srv, "10.66.3.2")
	p := l.gateway(l.hubAddr)
	start := time.Now()
	if r := p.do(l.blockOrder("1", 4*time.Second, "10.66.1.2")); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	p.do(l.blockOrder("2", time.Minute, "10.66.2.3")) // another one, whose lease goes on
	p.kill()
	if l.reaches(l.pc, s.addr) {
		t.Error("the block ended with the program")
	}
	l.eventually(6*time.Second, "the kernel ends the lease", func() bool { return l.reaches(l.pc, s.addr) })
	if took := time.Since(start); took < 3500*time.Millisecond || took > 6*time.Second {
		t.Errorf("lease of 4 s ended after %s", took)
	}
	p = l.gateway(l.hubAddr)
	said := map[string]order.Result{}
	for _, r := range p.ask(request{Resume: true}).Results {
		said[r.Order] = r
	}
	if r := said["or-1"]; r.Phase != order.Released || r.Cause != "lease" {
		t.Errorf("said %+v", r)
	}
	if r := said["or-2"]; r.Phase != order.Applied || r.Detail != "resumed" {
		t.Errorf("said %+v", r)
	}
}

// An agent that was killed after it blocked and before it looked whether the
// block holds leaves a state without checks. It looks when it comes back; if the
// hub does not answer then, it says nothing, so that the hub asks again, and the
// lease is the one that runs.
func TestKilledBeforeTheBlockWasVerified(t *testing.T) {
	l := newLab(t)
	p := l.gateway(l.hubAddr)
	o := l.blockOrder("1", time.Minute, "10.66.1.2")
	first := p.do(o)
	for name, hub := range map[string]string{"the hub answers": l.hubAddr, "it does not": "10.66.4.2:1"} {
		p.kill()
		unverified(t, l.dir)
		p = l.gateway(hub)
		said := p.ask(request{Resume: true}).Results
		if hub != l.hubAddr && len(said) != 0 {
			t.Errorf("%s: said %+v", name, said)
		}
		if hub == l.hubAddr && (len(said) != 1 || said[0].Phase != order.Applied || len(said[0].Checks) != 2 || !said[0].Checks[0].OK || !said[0].Checks[1].OK) {
			t.Errorf("%s: said %+v", name, said)
		}
		p.kill()
		p = l.gateway(l.hubAddr)
		if again := p.do(o); again.Phase != order.Applied || len(again.Checks) != 2 || !again.At.Equal(first.At) {
			t.Errorf("%s: asked again: %+v", name, again)
		}
		if m := remembered(t, l.dir); len(m.InForce) != 1 || !m.InForce[0].EndsAt.Equal(first.At.Add(time.Minute)) {
			t.Errorf("%s: in force: %+v", name, m.InForce)
		}
	}
}

func remembered(t *testing.T, dir string) (m memory) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// unverified makes the state what it was before the checks.
func unverified(t *testing.T, dir string) {
	t.Helper()
	m := remembered(t, dir)
	m.InForce[0].Checks, m.Done = nil, nil
	b, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, stateFile), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Somebody who reloads the firewall must not lift a block unnoticed.
func TestRemovedRulesArePutBack(t *testing.T) {
	l := newLab(t)
	s := l.serve(l.srv, "10.66.3.2")
	p := l.gateway(l.hubAddr)
	p.do(l.blockOrder("1", time.Minute, "10.66.1.2"))
	p.ask(request{Run: true})
	l.sh(l.world.Router(), "nft flush ruleset")
	l.eventually(2*time.Second, "the block is put back", func() bool { return !l.reaches(l.pc, s.addr) })
	l.eventually(2*time.Second, "it is reported", func() bool {
		for _, r := range p.ask(request{Reports: true}).Results {
			if r.Phase == order.Applied && r.Detail == putBack {
				return true
			}
		}
		return false
	})
}

func TestWhatTheGatewayNeedsIsNeverBlocked(t *testing.T) {
	l := newLab(t)
	p := l.gateway(l.hubAddr)
	for target, why := range map[string]string{
		"10.66.4.2": hubTarget, "10.66.1.1": ownTarget, "fd66:1::1": ownTarget, "10.66.2.2": ownTarget, "::ffff:10.66.4.2": hubTarget,
		"255.255.255.255": badTarget, "0.0.0.0": badTarget, "127.0.0.1": badTarget, "224.0.0.1": badTarget, "ff02::1": badTarget,
		"fe80::1%eth0": badTarget, "10.66.0.0/16": badTarget, "": badTarget, "all": badTarget,
	} {
		r := p.do(l.blockOrder(target, time.Minute, "10.66.1.2", target))
		if r.Phase != order.Rejected || !strings.HasPrefix(r.Detail, why) {
			t.Errorf("%q: %s %s, want %s", target, r.Phase, r.Detail, why)
		}
	}
	o := l.blockOrder("long", 8*24*time.Hour, "10.66.1.2")
	if r := p.do(o); r.Phase != order.Rejected {
		t.Errorf("%+v", r)
	}
	if s := l.serve(l.srv, "10.66.3.2"); !l.reaches(l.pc, s.addr) {
		t.Error("a rejected order blocked something")
	}
	lost := l.gateway("10.66.4.2:1") // nobody answers there
	if r := lost.do(l.blockOrder("lost", time.Minute, "10.66.1.2")); r.Phase != order.Failed || !strings.HasPrefix(r.Detail, hubLost) {
		t.Errorf("%+v", r)
	}
	if s := l.serve(l.srv, "10.66.3.2"); !l.reaches(l.pc, s.addr) {
		t.Error("without the hub the block must be undone")
	}
}

func TestEndOfOneBlockLeavesAnother(t *testing.T) {
	l := newLab(t)
	s := l.serve(l.srv, "10.66.3.2")
	p := l.gateway(l.hubAddr)
	p.do(l.blockOrder("1", time.Minute, "10.66.1.2"))
	p.do(l.blockOrder("2", time.Minute, "10.66.1.2"))
	p.do(order.Order{ID: "or-3", Action: "ac-1", Kind: order.Unblock})
	if l.reaches(l.pc, s.addr) {
		t.Error("the second block ended with the first")
	}
	p.do(order.Order{ID: "or-4", Action: "ac-2", Kind: order.Unblock})
	if !l.reaches(l.pc, s.addr) {
		t.Error("still blocked")
	}
}
