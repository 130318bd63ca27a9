package gateway

import (
	"os"
	"os/exec"
	"testing"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
)

func TestBlockingOthersKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l := newLab(t)
		four, six := l.serve(l.srv, "10.66.3.2"), l.serve(l.srv, "fd66:3::2")
		to := func(targets ...string) order.Order {
			return order.Order{Kind: order.Block, Targets: targets, Keep: []string{l.hubAddr}}
		}
		others := func() bool { return l.reaches(l.pc, l.hubAddr) && l.reaches(l.other, four.addr) }
		return &actiontest.Subject{Dir: l.dir, Undo: order.Unblock,
			Command: func() *exec.Cmd {
				cmd := exec.Command("ip", "netns", "exec", l.world.Router(), os.Args[0])
				cmd.Env = append(os.Environ(), gatewayEnv+"="+l.dir, hubEnv+"="+l.hubAddr, ownEnv+"=10.66.1.1 fd66:1::1 10.66.2.2")
				return cmd
			},
			Apply:    to("10.66.1.2", "fd66:1::2"),
			InForce:  func() bool { return !l.reaches(l.pc, four.addr) && !l.reaches(l.pc, six.addr) && others() },
			AsBefore: func() bool { return l.reaches(l.pc, four.addr) && l.reaches(l.pc, six.addr) && others() },
			Reboot:   func() { l.sh(l.world.Router(), "nft flush ruleset") },
			Refused:  map[string]order.Order{"the hub": to("10.66.4.2"), "its own address": to("10.66.1.1"), "the loopback": to("127.0.0.1"), "no target": to()},
		}
	})
}
