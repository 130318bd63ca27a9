package act

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/conntrack"
)

const code = "7K3M-0A1B-CDEF-GH1J"

func isolateOrder(id string, lease time.Duration, forbidden string, keep ...string) order.Order {
	return order.Order{ID: id, Kind: order.Isolate, Host: "h1", Action: "ac-" + id, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute),
		Lease: lease, Keep: keep, Forbidden: forbidden, CodeHash: order.CodeHash(code)}
}

func releaseOrder(id, action string) order.Order {
	return order.Order{ID: id, Kind: order.Release, Host: "h1", Action: action, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute)}
}

func wantPhase(t *testing.T, r order.Result, p order.Phase) {
	t.Helper()
	if r.Phase != p {
		t.Fatalf("got %s (%s) %+v, want %s", r.Phase, r.Detail, r.Checks, p)
	}
}

// tableIn says whether the kernel holds our table in a namespace.
func tableIn(t *testing.T, ns string) string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", ns, "nft", "list", "tables").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}

func TestIsolatedMachineTalksToTheHubAndToNothingElse(t *testing.T) {
	for name, v := range map[string]struct{ hub, stranger, local string }{
		"IPv4": {hubV4, strangerV4, "127.0.0.1"},
		"IPv6": {hubV6, strangerV6, "::1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			hub, peer, local := l.serve(l.hub, v.hub), l.serve(l.stranger, v.stranger), l.serve(l.machine, v.local)
			otherPort := l.serve(l.hub, v.hub)
			v6peer := l.serve(l.stranger, strangerV6)
			v4peer := l.serve(l.stranger, strangerV4)
			dns := l.serveUDP(l.stranger, v.stranger)
			a := l.agent(t.TempDir(), hub.addr)
			for _, addr := range []string{hub.addr, peer.addr, local.addr, otherPort.addr, v4peer.addr, v6peer.addr} {
				if !within(5*time.Second, func() bool { return a.reaches(addr) }) { // the link-local addresses are still being checked
					t.Fatalf("the lab is broken: %s is not reached", addr)
				}
			}
			if e := a.ask(request{UDP: dns}).Err; e != "" {
				t.Fatalf("the lab is broken: name service: %s", e)
			}
			if e := a.ask(request{Stream: peer.addr}).Err; e != "" {
				t.Fatal(e)
			}
			if !within(3*time.Second, func() bool { return peer.received.Load() > 10_000 }) {
				t.Fatal("the stream does not run")
			}

			o := isolateOrder("or-1", time.Minute, peer.addr, hub.addr)
			r, took := a.do(o)
			wantPhase(t, r, order.Applied)
			if took > 2*time.Second {
				t.Errorf("took %s, want at most 2 s", took)
			}
			if len(r.Checks) != 2 || !r.Checks[0].OK || !r.Checks[1].OK {
				t.Errorf("checks: %+v", r.Checks)
			}
			after := peer.received.Load()
			for what, addr := range map[string]string{"the peer": peer.addr, "another port of the hub": otherPort.addr, "an IPv4 address": v4peer.addr, "an IPv6 address": v6peer.addr} {
				if a.reaches(addr) {
					t.Errorf("%s is still reached", what)
				}
			}
			if a.ask(request{UDP: dns}).Err == "" {
				t.Error("name service is still reached")
			}
			l.ip("-n", l.machine, "neigh", "flush", "all") // the hub must be found again on the link
			if !within(3*time.Second, func() bool { return a.reaches(hub.addr) }) {
				t.Error("the hub is not reached")
			}
			if !a.reaches(local.addr) {
				t.Error("a service on this machine is not reached")
			}
			if now := peer.received.Load(); now != after {
				t.Errorf("%d bytes reached the peer after isolating", now-after)
			}
			s := a.ask(request{Status: true})
			if !s.Isolated || s.Action != o.Action || s.Dropped == 0 {
				t.Errorf("status %+v, want isolated with dropped packets", s)
			}
			t.Logf("isolated and verified in %s; %d packets dropped", took, s.Dropped)

			again, took := a.do(o)
			wantPhase(t, again, order.Applied)
			if took > 500*time.Millisecond {
				t.Errorf("the repeated order was carried out again (%s)", took)
			}

			rel, _ := a.do(releaseOrder("or-2", o.Action))
			wantPhase(t, rel, order.Released)
			if !within(3*time.Second, func() bool { return a.reaches(peer.addr) }) {
				t.Error("the peer is not reached after the release")
			}
			if old, _ := a.do(o); old.Phase != order.Released || !a.reaches(peer.addr) {
				t.Errorf("an order that was released isolated again: %+v", old)
			}
		})
	}
}

// serveUDP echoes datagrams; it stands for a name server.
func (l *lab) serveUDP(ns, addr string) string {
	l.t.Helper()
	var c net.PacketConn
	l.inside(ns, func() (err error) {
		c, err = net.ListenPacket("udp", net.JoinHostPort(addr, "0"))
		return err
	})
	l.t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	return c.LocalAddr().String()
}

func TestNobodyCanReachAnIsolatedMachine(t *testing.T) {
	l := newLab(t)
	hub, inner := l.serve(l.hub, hubV4), l.serve(l.machine, "0.0.0.0")
	a := l.agent(t.TempDir(), hub.addr)
	dial := func() (err error) {
		l.inside(l.stranger, func() error {
			var c net.Conn
			d := net.Dialer{Timeout: 500 * time.Millisecond}
			if c, err = d.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("10.77.2.1"), uint16(port(inner.addr))).String()); err == nil {
				_ = c.Close()
			}
			return nil
		})
		return err
	}
	if err := dial(); err != nil {
		t.Fatalf("the lab is broken: %v", err)
	}
	r, _ := a.do(isolateOrder("or-1", time.Minute, strangerV4+":9", hub.addr))
	wantPhase(t, r, order.Applied)
	if dial() == nil {
		t.Error("the stranger still reaches the machine")
	}
}

func TestLeaseEndsWhileTheAgentLives(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	a := l.agent(t.TempDir(), hub.addr)
	a.ask(request{Run: true})
	r, _ := a.do(isolateOrder("or-1", 3*time.Second, peer.addr, hub.addr))
	wantPhase(t, r, order.Applied)
	if a.reaches(peer.addr) {
		t.Fatal("not isolated")
	}
	var got []order.Result
	if !within(6*time.Second, func() bool { got = append(got, a.ask(request{Reports: true}).Results...); return len(got) > 0 }) {
		t.Fatal("the end of the lease was not reported")
	}
	if got[0].Phase != order.Released || got[0].Cause != "lease" || got[0].Order != "or-1" {
		t.Errorf("reported %+v", got[0])
	}
	if !a.reaches(peer.addr) {
		t.Error("still isolated after the lease")
	}
	if strings.Contains(tableIn(t, l.machine), tableName) {
		t.Error("the table is left behind")
	}
	time.Sleep(3 * watchEvery) // long enough for a second report, were there one
	if more := a.ask(request{Reports: true}).Results; len(more) > 0 {
		t.Errorf("reported a second time: %+v", more)
	}
}

func TestKernelEndsTheLeaseOfAKilledAgent(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	dir := t.TempDir()
	a := l.agent(dir, hub.addr)
	start := time.Now()
	const lease = 4 * time.Second
	r, _ := a.do(isolateOrder("or-1", lease, peer.addr, hub.addr))
	wantPhase(t, r, order.Applied)
	a.kill()
	probe := l.agent(t.TempDir(), hub.addr) // has another memory: it knows of no isolation and changes none
	if probe.reaches(peer.addr) {
		t.Fatal("the isolation ended with the agent")
	}
	if !within(lease+3*time.Second, func() bool { return probe.reaches(peer.addr) }) {
		t.Fatal("the kernel did not end the isolation")
	}
	if early := time.Since(start); early < lease {
		t.Errorf("ended after %s, before the lease of %s", early, lease)
	}
	if !strings.Contains(tableIn(t, l.machine), tableName) {
		t.Fatal("who removed the table? this test proves nothing")
	}

	back := l.agent(dir, hub.addr)
	got := back.ask(request{Resume: true}).Results
	if len(got) != 1 || got[0].Phase != order.Released || got[0].Cause != "lease" {
		t.Fatalf("resumed with %+v, want one release by lease", got)
	}
	if strings.Contains(tableIn(t, l.machine), tableName) {
		t.Error("the table is left behind")
	}
	if again := back.ask(request{Resume: true}).Results; len(again) > 0 {
		t.Errorf("reported a second time: %+v", again)
	}
}

func TestRestartedAgentGoesOn(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	dir := t.TempDir()
	a := l.agent(dir, hub.addr)
	o := isolateOrder("or-1", time.Minute, peer.addr, hub.addr)
	first, _ := a.do(o)
	wantPhase(t, first, order.Applied)
	a.kill()
	hub.close() // the hub is away as well: that must not end anything early

	a = l.agent(dir, hub.addr)
	got := a.ask(request{Resume: true}).Results
	if len(got) != 1 || got[0].Phase != order.Applied || got[0].Action != o.Action || len(got[0].Checks) != 2 {
		t.Fatalf("resumed with %+v, want the isolation in force with its checks", got)
	}
	if a.reaches(peer.addr) {
		t.Error("not isolated any more")
	}

	// a reboot, or somebody removes the rules: the agent puts them back
	if out, err := exec.Command("ip", "netns", "exec", l.machine, "nft", "delete", "table", "inet", tableName).CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	a.ask(request{Run: true})
	if !within(5*time.Second, func() bool { return strings.Contains(tableIn(t, l.machine), tableName) }) {
		t.Fatal("removed rules were not put back")
	}
	if a.reaches(peer.addr) {
		t.Error("not isolated after putting back")
	}
	if got := a.ask(request{Reports: true}).Results; len(got) != 1 || got[0].Detail != putBack {
		t.Errorf("reported %+v, want %q", got, putBack)
	}
}

func TestOrdersThatWouldCutTheHubOffAreRejected(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	a := l.agent(t.TempDir(), hub.addr)
	lost := l.agent(t.TempDir(), "")
	for name, tt := range map[string]struct {
		a    *agent
		o    order.Order
		want string
	}{
		"another address":       {a, isolateOrder("or-1", time.Minute, peer.addr, strangerV4+":8443"), keepLacksHub},
		"another port":          {a, isolateOrder("or-2", time.Minute, peer.addr, hubV4+":1"), keepLacksHub},
		"nothing kept":          {a, isolateOrder("or-3", time.Minute, peer.addr), keepLacksHub},
		"a name":                {a, isolateOrder("or-4", time.Minute, peer.addr, hub.addr, "hub.example:8443"), keepUnreadable},
		"any address":           {a, isolateOrder("or-5", time.Minute, peer.addr, hub.addr, "0.0.0.0:8443"), keepUnreadable},
		"no lease":              {a, isolateOrder("or-6", 0, peer.addr, hub.addr), badLease},
		"a lease of a year":     {a, isolateOrder("or-7", 365*24*time.Hour, peer.addr, hub.addr), badLease},
		"agent without its hub": {lost, isolateOrder("or-8", time.Minute, peer.addr, hub.addr), hubUnknown},
		"expired":               {a, order.Order{ID: "or-9", Kind: order.Isolate, Lease: time.Minute, Keep: []string{hub.addr}}, expired},
		"unknown kind":          {a, order.Order{ID: "or-10", Kind: "format-disk"}, wrongKind},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := tt.a.do(tt.o)
			if r.Phase != order.Rejected || !strings.HasPrefix(r.Detail, tt.want) {
				t.Errorf("got %s %q, want rejected %s", r.Phase, r.Detail, tt.want)
			}
			if strings.Contains(tableIn(t, l.machine), tableName) {
				t.Error("the kernel holds rules of a rejected order")
			}
		})
	}
}

func TestIsolationIsUndoneWhenTheHubIsLost(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	a := l.agent(t.TempDir(), hub.addr)
	if !a.reaches(hub.addr) {
		t.Fatal("the lab is broken")
	}
	hub.close()
	r, took := a.do(isolateOrder("or-1", time.Minute, peer.addr, hub.addr))
	if r.Phase != order.Failed || !strings.HasPrefix(r.Detail, hubLost) {
		t.Fatalf("got %s %q, want failed %s", r.Phase, r.Detail, hubLost)
	}
	if took > 2*time.Second {
		t.Errorf("took %s, want at most 2 s", took)
	}
	if strings.Contains(tableIn(t, l.machine), tableName) || !a.reaches(peer.addr) {
		t.Error("the isolation was not undone")
	}
}

func TestALeakIsReportedAndTheIsolationStays(t *testing.T) {
	l := newLab(t)
	hub, local := l.serve(l.hub, hubV4), l.serve(l.machine, "127.0.0.1")
	a := l.agent(t.TempDir(), hub.addr)
	r, _ := a.do(isolateOrder("or-1", time.Minute, local.addr, hub.addr)) // an address that still answers
	wantPhase(t, r, order.Applied)
	if len(r.Checks) != 2 || !r.Checks[0].OK || r.Checks[1].OK {
		t.Errorf("checks %+v, want the leak", r.Checks)
	}
	refusing := l.serve(l.machine, "127.0.0.1")
	refusing.close()
	r, _ = a.do(isolateOrder("or-2", time.Minute, refusing.addr, hub.addr))
	wantPhase(t, r, order.Applied)
	if r.Checks[1].OK {
		t.Errorf("a refused connection counts as blocked: %+v", r.Checks)
	}
	if !strings.Contains(tableIn(t, l.machine), tableName) {
		t.Error("a leak ended the isolation")
	}
}

func TestReleaseByCodeFromPaper(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	dir := t.TempDir()
	a := l.agent(dir, hub.addr)
	console := l.agent(dir, hub.addr) // `sonae-agent release` is a process of its own
	if e := console.ask(request{Code: code}).Err; e != ErrNotIsolated.Error() {
		t.Fatalf("got %q, want %v", e, ErrNotIsolated)
	}
	a.ask(request{Run: true})
	r, _ := a.do(isolateOrder("or-1", time.Minute, peer.addr, hub.addr))
	wantPhase(t, r, order.Applied)
	if e := console.ask(request{Code: "7K3M-0A1B-CDEF-GH1K"}).Err; e != ErrWrongCode.Error() {
		t.Fatalf("a wrong code: %q", e)
	}
	var got []order.Result
	report := func() bool { got = append(got, a.ask(request{Reports: true}).Results...); return len(got) > 0 }
	if !within(4*time.Second, report) || got[0].Phase != order.Rejected || got[0].Cause != "code" {
		t.Fatalf("reported %+v, want the wrong code", got)
	}
	got = nil
	if e := console.ask(request{Code: "7k3m oa1b cdef ghij"}).Err; e != "" {
		t.Fatalf("the right code: %q", e)
	}
	if !console.reaches(peer.addr) {
		t.Error("not released")
	}
	if !within(4*time.Second, report) || got[0].Phase != order.Released || got[0].Cause != "code" {
		t.Fatalf("reported %+v, want the release", got)
	}
	if s := a.ask(request{Status: true}); s.Isolated {
		t.Error("the running agent does not know of the release")
	}

	r, _ = a.do(isolateOrder("or-2", time.Minute, peer.addr, hub.addr))
	wantPhase(t, r, order.Applied)
	for range wrongAllowed {
		if e := console.ask(request{Code: "0000-0000-0000-0000"}).Err; e != ErrWrongCode.Error() {
			t.Fatalf("got %q", e)
		}
	}
	if e := console.ask(request{Code: code}).Err; e != ErrTooMany.Error() {
		t.Errorf("after %d wrong codes: got %q, want %v", wrongAllowed, e, ErrTooMany)
	}
}

func TestRenewingReplacesTheLease(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	a := l.agent(t.TempDir(), hub.addr)
	a.ask(request{Run: true})
	first := isolateOrder("or-1", 2*time.Second, peer.addr, hub.addr)
	r, _ := a.do(first)
	wantPhase(t, r, order.Applied)
	second := isolateOrder("or-2", time.Minute, peer.addr, hub.addr)
	r, _ = a.do(second)
	wantPhase(t, r, order.Applied)
	time.Sleep(2500 * time.Millisecond) // the first lease is over
	if a.reaches(peer.addr) {
		t.Error("the end of the old lease ended the new one")
	}
	r, _ = a.do(releaseOrder("or-3", first.Action)) // of the action that was replaced
	wantPhase(t, r, order.Released)
	if a.reaches(peer.addr) {
		t.Error("releasing the replaced action ended the new one")
	}
	if s := a.ask(request{Status: true}); s.Action != second.Action {
		t.Errorf("status %+v, want %s", s, second.Action)
	}
}

func TestDamagedStateIsPutAside(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(`{"in_force":`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := l.agent(dir, hub.addr)
	r, _ := a.do(isolateOrder("or-1", time.Minute, peer.addr, hub.addr))
	wantPhase(t, r, order.Applied)
	if _, err := os.Stat(filepath.Join(dir, stateFile+".damaged")); err != nil {
		t.Error(err)
	}
}

func TestTrackedConnectionsAreForgotten(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	a := l.agent(t.TempDir(), hub.addr)
	rules := `table inet track { chain c { type filter hook output priority 0; ct state new counter; }; }`
	cmd := exec.Command("ip", "netns", "exec", l.machine, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	for _, addr := range []string{peer.addr, hub.addr} {
		if !a.reaches(addr) {
			t.Fatalf("the lab is broken: %s", addr)
		}
	}
	tracked := func(addr string) (n int) {
		l.inside(l.machine, func() error {
			_, err := conntrack.Forget(func(f conntrack.Flow) bool {
				if f.Dst == netip.MustParseAddr(addr) {
					n++
				}
				return false // only looking
			})
			return err
		})
		return n
	}
	if tracked(strangerV4) == 0 || tracked(hubV4) == 0 {
		t.Skip("this kernel tracks no connections")
	}
	r, _ := a.do(isolateOrder("or-1", time.Minute, strangerV4+":9", hub.addr))
	wantPhase(t, r, order.Applied)
	if n := tracked(strangerV4); n > 0 {
		t.Errorf("%d connections to the stranger are still tracked", n)
	}
	if tracked(hubV4) == 0 {
		t.Error("the connection to the hub was forgotten as well")
	}
}

// The port of address assignment must not be a way out to any address.
func TestAddressAssignmentIsNoWayOut(t *testing.T) {
	for name, v := range map[string]struct {
		hub, stranger  string
		client, server int
	}{
		"IPv4": {hubV4, strangerV4, 68, 67},
		"IPv6": {hubV6, strangerV6, 546, 547},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			hub, peer := l.serve(l.hub, v.hub), l.serve(l.stranger, v.stranger)
			var c net.PacketConn
			l.inside(l.stranger, func() (err error) {
				c, err = net.ListenPacket("udp", net.JoinHostPort(v.stranger, strconv.Itoa(v.server)))
				return err
			})
			t.Cleanup(func() { _ = c.Close() })
			var got atomic.Int64
			go func() {
				for b := make([]byte, 1500); ; {
					if _, _, err := c.ReadFrom(b); err != nil {
						return
					}
					got.Add(1)
				}
			}()
			a := l.agent(t.TempDir(), hub.addr)
			out := func() { a.ask(request{UDP: c.LocalAddr().String(), From: v.client}) }
			if !within(5*time.Second, func() bool { out(); return got.Load() > 0 }) {
				t.Fatal("the lab is broken: nothing arrives before isolating")
			}
			if !within(5*time.Second, func() bool { return a.reaches(hub.addr) }) {
				t.Fatal("the lab is broken: no hub")
			}
			r, _ := a.do(isolateOrder("or-1", time.Minute, peer.addr, hub.addr))
			wantPhase(t, r, order.Applied)
			before := got.Load()
			for range 5 {
				out()
			}
			time.Sleep(200 * time.Millisecond) // what passed would be there
			if n := got.Load() - before; n != 0 {
				t.Errorf("%d datagrams reached a stranger", n)
			}
		})
	}
}

// A renewal in the moment in which the hub is away must not free the machine.
func TestRenewalThatFailsLeavesTheIsolationBeforeIt(t *testing.T) {
	l := newLab(t)
	hub, peer := l.serve(l.hub, hubV4), l.serve(l.stranger, strangerV4)
	a := l.agent(t.TempDir(), hub.addr)
	first := isolateOrder("or-1", time.Minute, peer.addr, hub.addr)
	r, _ := a.do(first)
	wantPhase(t, r, order.Applied)
	hub.close()
	r, _ = a.do(isolateOrder("or-2", time.Minute, peer.addr, hub.addr))
	if r.Phase != order.Failed || !strings.HasPrefix(r.Detail, hubLost) {
		t.Fatalf("got %s %q, want failed %s", r.Phase, r.Detail, hubLost)
	}
	if a.reaches(peer.addr) {
		t.Error("the machine is free")
	}
	if s := a.ask(request{Status: true}); s.Action != first.Action {
		t.Errorf("status %+v, want %s", s, first.Action)
	}
}
