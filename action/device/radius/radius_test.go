package radius

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
)

const secret = "coa-secret-1"

// nas is a FreeRADIUS server that plays an access point: it keeps sessions, a
// line each, in a file; the scripts that end and move them are those of the
// test.
type nas struct {
	address, sessions string
	cmd               *exec.Cmd
}

const script = `#!/bin/sh
# $1 the sessions, $2 what, $3 hardware address, $4 IP address, $5 VLAN
exec 9>"$1.lock"; flock 9
key="$3"; [ -n "$key" ] || key="$4"
line=$(grep -F "$key" "$1") || exit 1
grep -v -F "$key" "$1" > "$1.new"
[ "$2" = end ] || echo "${line% *} $5" >> "$1.new"
mv "$1.new" "$1"
exit 0
`

const config = `
prefix = /usr
libdir = /usr/lib/freeradius
logdir = %[1]s
run_dir = %[1]s
raddbdir = %[1]s
log {
  destination = stderr
}
client loopback {
  ipaddr = 127.0.0.1
  secret = %[3]s
  require_message_authenticator = yes
}
modules {
  always reject {
    rcode = reject
  }
  always ok {
    rcode = ok
  }
  exec end {
    wait = yes
    input_pairs = request
    shell_escape = yes
    program = "/bin/sh %[1]s/nas.sh %[1]s/sessions end '%%{Calling-Station-Id}' '%%{Framed-IP-Address}'"
  }
  exec move {
    wait = yes
    input_pairs = request
    shell_escape = yes
    program = "/bin/sh %[1]s/nas.sh %[1]s/sessions move '%%{Calling-Station-Id}' '%%{Framed-IP-Address}' '%%{Tunnel-Private-Group-Id}'"
  }
}
server coa {
  listen {
    type = coa
    ipaddr = 127.0.0.1
    port = %[2]d
  }
  recv-coa {
    if (!&Message-Authenticator || !&Event-Timestamp) {
      update reply {
        &Error-Cause := Invalid-Request
      }
      reject
    }
    update reply {
      &Error-Cause := Session-Context-Not-Found
    }
    if (&Packet-Type == Disconnect-Request) {
      end
    }
    else {
      move
    }
    update reply {
      &Error-Cause !* ANY
    }
  }
  send-coa {
    ok
  }
}
`

func newNAS(t *testing.T, sessions ...string) *nas {
	t.Helper()
	if _, err := exec.LookPath("freeradius"); err != nil {
		t.Skip("freeradius is not installed")
	}
	dir := t.TempDir()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.UDPAddr).Port
	_ = c.Close()
	n := &nas{address: fmt.Sprintf("127.0.0.1:%d", port), sessions: filepath.Join(dir, "sessions")}
	for name, text := range map[string]string{
		"nas.sh": script, "radiusd.conf": fmt.Sprintf(config, dir, port, secret), "sessions": strings.Join(sessions, "\n") + "\n",
		"dictionary": "$INCLUDE /usr/share/freeradius/dictionary\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.cmd = exec.Command("freeradius", "-f", "-X", "-d", dir, "-n", "radiusd")
	n.cmd.Stdout, n.cmd.Stderr = t.Output(), t.Output()
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	d, s := n.device(action.Disconnect)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err := New(time.Now).Test(t.Context(), d, s); err == nil {
			return n
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func (n *nas) stop() { _ = n.cmd.Process.Kill(); _ = n.cmd.Wait() }

func (n *nas) device(m action.Means) (device.Device, device.Secrets) {
	return device.Device{Name: "AP", Means: m, Address: n.address, VLAN: 99, Normal: 10}, device.Secrets{"secret": secret}
}

func (n *nas) want(t *testing.T, sessions ...string) {
	t.Helper()
	b, err := os.ReadFile(n.sessions)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(b)), " ", "_")); strings.Join(got, ",") != strings.ReplaceAll(strings.Join(sessions, ","), " ", "_") {
		t.Errorf("sessions %q, want %q", got, sessions)
	}
}

const pc, other = "AA-BB-CC-00-00-07 10.1.0.7 10", "AA-BB-CC-00-00-08 10.1.0.8 10"

func TestSessionIsEndedAndStaysAway(t *testing.T) {
	for _, target := range []string{"aa:bb:cc:00:00:07", "10.1.0.7"} {
		n := newNAS(t, pc, other)
		d, s := n.device(action.Disconnect)
		c := New(time.Now)
		p, err := c.Find(t.Context(), d, s, target)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := c.Block(t.Context(), d, s, target, p); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %s", took)
		}
		n.want(t, other)
		if held, detail, err := c.Check(t.Context(), d, s, target, p); !held || detail != "no session" || err != nil {
			t.Errorf("held %v %q %v", held, detail, err)
		}
		if err := os.WriteFile(n.sessions, []byte(other+"\n"+pc+"\n"), 0o600); err != nil { // it logs in again
			t.Fatal(err)
		}
		if held, detail, err := c.Check(t.Context(), d, s, target, p); !held || detail != "session ended" || err != nil {
			t.Errorf("held %v %q %v", held, detail, err)
		}
		n.want(t, other)
		if err := c.Restore(t.Context(), d, s, target, p); err != nil {
			t.Error(err)
		}
	}
}

func TestSessionMovesToAnotherVLANAndBack(t *testing.T) {
	n := newNAS(t, pc, other)
	d, s := n.device(action.CoA)
	c := New(time.Now)
	const target = "aa:bb:cc:00:00:07"
	p, err := c.Find(t.Context(), d, s, target)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Block(t.Context(), d, s, target, p); err != nil {
		t.Fatal(err)
	}
	n.want(t, other, "AA-BB-CC-00-00-07 10.1.0.7 99")
	if held, detail, err := c.Check(t.Context(), d, s, target, p); !held || detail != "session moved to VLAN 99" || err != nil {
		t.Errorf("held %v %q %v", held, detail, err)
	}
	if err := c.Restore(t.Context(), d, s, target, p); err != nil {
		t.Fatal(err)
	}
	n.want(t, other, pc)
}

// An answer that the secret does not prove, and none at all, are errors.
func TestStrangersAndSilenceAreErrors(t *testing.T) {
	n := newNAS(t, pc)
	d, s := n.device(action.Disconnect)
	c := New(time.Now)
	if err := c.Block(t.Context(), d, device.Secrets{"secret": "guess"}, "10.1.0.7", device.Place{}); err == nil || !strings.HasPrefix(err.Error(), "device-silent") {
		t.Errorf("with a wrong secret: %v", err)
	}
	n.want(t, pc)
	if err := c.Block(t.Context(), d, s, "2001:db8::7", device.Place{}); err == nil || !strings.HasPrefix(err.Error(), "target-unusable") {
		t.Errorf("IPv6: %v", err)
	}
	n.stop()
	if err := c.Block(t.Context(), d, s, "10.1.0.7", device.Place{}); err == nil || !strings.HasPrefix(err.Error(), "device-silent") {
		t.Errorf("without an answer: %v", err)
	}
}
