package peer

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/e2e/netns"
)

const (
	agentEnv = "SONAE_PEER_TEST_AGENT"
	hubEnv   = "SONAE_PEER_TEST_HUB"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		agentMain(dir, os.Getenv(hubEnv))
		return
	}
	os.Exit(m.Run())
}

func agentMain(dir, hub string) {
	probe := func(ctx context.Context) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", hub)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	now := actiontest.Now()
	means := Means{Now: now, Hub: func() netip.AddrPort { return netip.MustParseAddrPort(hub) },
		Own: func() []netip.Addr {
			return []netip.Addr{netip.MustParseAddr("10.68.1.2"), netip.MustParseAddr("10.68.1.1")}
		},
		Named: func(name string) []netip.Addr {
			if name != "c2.example" {
				return nil
			}
			return []netip.Addr{netip.MustParseAddr("10.68.4.2"), netip.MustParseAddr("fd68:4::2")}
		}}
	actiontest.Serve(contain.NewGroup(contain.Config{Dir: dir, Probe: probe, Now: now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, actiontest.Crashing(means)))
}

// lab is a machine, its hub, and three peers: one is blocked by its addresses,
// one by its ports, one by its name.
type lab struct {
	t       *testing.T
	machine *netns.Host
	hub     string
	blocked []string // what is blocked, by any of the ways
	open    []string // what is not
	apply   order.Order
}

var labs atomic.Int32

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	w, err := netns.New(fmt.Sprintf("p%d", labs.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	var all [5]*netns.Host
	for i, name := range []string{"mc", "hb", "ad", "sn", "po"} {
		if all[i], err = w.Add(name, fmt.Sprintf("10.68.%d.2/24", i+1), fmt.Sprintf("fd68:%d::2/64", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	l := &lab{t: t, machine: all[0], apply: order.Order{Kind: order.BlockPeer}}
	l.hub = l.serve(all[1], "10.68.2.2")
	l.open = []string{l.hub, l.serve(all[1], "fd68:2::2")}
	l.blocked = []string{l.serve(all[2], "10.68.3.2"), l.serve(all[2], "fd68:3::2"), l.serve(all[3], "10.68.4.2"), l.serve(all[3], "fd68:4::2")}
	l.apply.Targets = []string{"10.68.3.2", "fd68:3::2", "C2.example."}
	for _, ip := range []string{"10.68.5.2", "fd68:5::2"} {
		port := l.serve(all[4], ip)
		l.blocked, l.apply.Targets = append(l.blocked, port), append(l.apply.Targets, port)
		l.open = append(l.open, l.serve(all[4], ip)) // another port of the same machine
	}
	return l
}

func (l *lab) serve(h *netns.Host, ip string) string {
	l.t.Helper()
	ln, err := h.Listen(l.t.Context(), "tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // it was reached: that is all
		}
	}()
	return ln.Addr().String()
}

// reached is how many of some addresses the machine reaches.
func (l *lab) reached(addrs []string) int {
	var n atomic.Int32
	var all sync.WaitGroup
	for _, a := range addrs {
		all.Go(func() {
			ctx, stop := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer stop()
			if c, err := l.machine.Dial(ctx, "tcp", a); err == nil {
				_ = c.Close()
				n.Add(1)
			}
		})
	}
	all.Wait()
	return int(n.Load())
}

func (l *lab) nft(args ...string) string {
	l.t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", l.machine.NS, "nft"}, args...)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}

func (l *lab) command(dir string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command("ip", "netns", "exec", l.machine.NS, os.Args[0])
		cmd.Env = append(os.Environ(), agentEnv+"="+dir, hubEnv+"="+l.hub)
		return cmd
	}
}

func TestBlockingPeersKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l, dir := newLab(t), t.TempDir()
		to := func(targets ...string) order.Order { return order.Order{Kind: order.BlockPeer, Targets: targets} }
		for end := time.Now().Add(20 * time.Second); l.reached(append(l.open, l.blocked...)) < len(l.open)+len(l.blocked); {
			if time.Now().After(end) {
				t.Fatal("the lab is broken")
			}
		}
		return &actiontest.Subject{Dir: dir, Command: l.command(dir), Crash: true, Apply: l.apply, Undo: order.UnblockPeer,
			InForce: func() bool { return l.reached(l.blocked) == 0 && l.reached(l.open) == len(l.open) },
			AsBefore: func() bool {
				return l.reached(l.blocked) == len(l.blocked) && !strings.Contains(l.nft("list", "tables"), "sonae")
			},
			Reboot: func() { l.nft("flush", "ruleset") },
			Refused: map[string]order.Order{
				"the hub":                {Kind: order.BlockPeer, Targets: []string{"10.68.3.2", "10.68.2.2"}},
				"a port of the hub":      to(l.hub),
				"the machine itself":     to("10.68.1.2"),
				"its router":             to("10.68.1.1"),
				"itself in IPv6":         to("::1"),
				"everybody":              to("0.0.0.0"),
				"a name nobody asked":    to("other.example"),
				"nothing that is a name": to("10.68.3.2/24"),
				"no target":              to(),
			},
		}
	})
}

// When this program is gone, the kernel ends the block.
func TestTheKernelEndsABlock(t *testing.T) {
	l := newLab(t)
	a := actiontest.Start(t, l.command(t.TempDir())())
	o := l.apply
	o.ID, o.Action, o.Lease, o.ExpiresAt = "or-1", "ac-1", 3*time.Second, time.Now().Add(time.Hour)
	if r := a.Do(o); r.Phase != order.Applied || len(r.Checks) != 2 || !r.Checks[0].OK || !r.Checks[1].OK {
		t.Fatalf("%+v", r)
	}
	a.Kill()
	if l.reached(l.blocked) != 0 {
		t.Fatal("the block ended with the agent")
	}
	for end := time.Now().Add(20 * time.Second); l.reached(l.blocked) < len(l.blocked); {
		if time.Now().After(end) {
			t.Fatal("the kernel did not end the block")
		}
	}
	if !strings.Contains(l.nft("list", "tables"), "sonae_peer") {
		t.Error("who removed the table? this test proves nothing")
	}
}
