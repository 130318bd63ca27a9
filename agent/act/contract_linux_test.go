package act

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
)

func TestIsolationKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l, dir := makeLab(t), t.TempDir()
		hub, inner := l.serve(l.hub, hubV4), l.serve(l.machine, "127.0.0.1")
		four, six := l.serve(l.stranger, strangerV4), l.serve(l.stranger, strangerV6)
		reaches := func(s *server) (ok bool) {
			l.inside(l.machine, func() error {
				c, err := net.DialTimeout("tcp", s.addr, 500*time.Millisecond)
				if err == nil {
					_ = c.Close()
				}
				ok = err == nil
				return nil
			})
			return ok
		}
		if !within(20*time.Second, func() bool { return reaches(four) && reaches(six) && reaches(hub) }) {
			t.Fatal("the lab is broken")
		}
		return &actiontest.Subject{Dir: dir, Undo: order.Release,
			Command: func() *exec.Cmd {
				cmd := exec.Command("ip", "netns", "exec", l.machine, os.Args[0])
				cmd.Env = append(os.Environ(), agentEnv+"="+dir, "SONAE_ACT_TEST_HUB="+hub.addr)
				return cmd
			},
			Apply:    order.Order{Kind: order.Isolate, Keep: []string{hub.addr}, Forbidden: four.addr},
			InForce:  func() bool { return !reaches(four) && !reaches(six) && reaches(hub) && reaches(inner) },
			AsBefore: func() bool { return reaches(four) && reaches(six) },
			Reboot:   func() { l.ip("netns", "exec", l.machine, "nft", "flush", "ruleset") },
			Refused: map[string]order.Order{
				"the hub cut off": {Kind: order.Isolate, Keep: []string{netip.AddrPortFrom(netip.MustParseAddr(strangerV4), 1).String()}},
				"nothing kept":    {Kind: order.Isolate},
			},
		}
	})
}
