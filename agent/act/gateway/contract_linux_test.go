package gateway

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
)

// An external line, or the border of a segment, is an interface of the gateway:
// nothing passes it but what is said to the hub.
func TestCuttingALineKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l := newLab(t)
		four, six := l.serve(l.srv, "10.66.3.2"), l.serve(l.srv, "fd66:3::2")
		inside := l.serve(l.other, "10.66.2.2")
		line := "line:" + l.lineOf("10.66.1.1")
		to := func(targets ...string) order.Order {
			return order.Order{Kind: order.Block, Targets: targets, Keep: []string{l.hubAddr}}
		}
		others := func() bool { return l.reaches(l.pc, l.hubAddr) && l.reaches(l.other, four.addr) }
		return &actiontest.Subject{Dir: l.dir, Undo: order.Unblock, Command: l.agent,
			Apply: to(line),
			InForce: func() bool {
				return !l.reaches(l.pc, four.addr) && !l.reaches(l.pc, six.addr) && !l.reaches(l.pc, inside.addr) && others()
			},
			AsBefore: func() bool {
				return l.reaches(l.pc, four.addr) && l.reaches(l.pc, six.addr) && l.reaches(l.pc, inside.addr) && others()
			},
			Reboot:  func() { l.sh(l.world.Router(), "nft flush ruleset") },
			Refused: map[string]order.Order{"no such line": to("line:nothing0"), "the loopback": to("line:lo"), "no name": to("line:"), "a pattern": to("line:*"), "too long": to("line:averyverylongname0")},
		}
	})
}

// agent is its process on the gateway.
func (l *lab) agent() *exec.Cmd {
	cmd := exec.Command("ip", "netns", "exec", l.world.Router(), os.Args[0])
	cmd.Env = append(os.Environ(), gatewayEnv+"="+l.dir, hubEnv+"="+l.hubAddr, ownEnv+"=10.66.1.1 fd66:1::1 10.66.2.2")
	return cmd
}

// lineOf is the interface of the gateway that has an address.
func (l *lab) lineOf(address string) string {
	l.t.Helper()
	out, err := exec.Command("ip", "-n", l.world.Router(), "-o", "addr", "show", "to", address).Output()
	f := strings.Fields(string(out))
	if err != nil || len(f) < 2 {
		l.t.Fatalf("interface of %s: %v %q", address, err, out)
	}
	return f[1]
}

func TestBlockingOthersKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l := newLab(t)
		four, six := l.serve(l.srv, "10.66.3.2"), l.serve(l.srv, "fd66:3::2")
		to := func(targets ...string) order.Order {
			return order.Order{Kind: order.Block, Targets: targets, Keep: []string{l.hubAddr}}
		}
		others := func() bool { return l.reaches(l.pc, l.hubAddr) && l.reaches(l.other, four.addr) }
		return &actiontest.Subject{Dir: l.dir, Undo: order.Unblock,
			Command:  l.agent,
			Apply:    to("10.66.1.2", "fd66:1::2"),
			InForce:  func() bool { return !l.reaches(l.pc, four.addr) && !l.reaches(l.pc, six.addr) && others() },
			AsBefore: func() bool { return l.reaches(l.pc, four.addr) && l.reaches(l.pc, six.addr) && others() },
			Reboot:   func() { l.sh(l.world.Router(), "nft flush ruleset") },
			Refused:  map[string]order.Order{"the hub": to("10.66.4.2"), "its own address": to("10.66.1.1"), "the loopback": to("127.0.0.1"), "no target": to()},
		}
	})
}
