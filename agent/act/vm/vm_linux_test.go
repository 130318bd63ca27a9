package vm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
	"github.com/sonae/sonae/agent/act/contain"
)

// The machine is a real libvirt with real virtual machines of QEMU, without
// KVM, in namespaces of its own. Nothing is installed in the virtual machines:
// their firmware asks the network for something to start, for ever. A reboot is
// another libvirt on the same configuration.

const agentEnv = "SONAE_VM_TEST_AGENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		now := actiontest.Now()
		actiontest.Serve(contain.NewGroup(contain.Config{Dir: dir, Now: now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))},
			actiontest.Crashing(Means{Now: now})))
		return
	}
	os.Exit(m.Run())
}

// boot ends with the first process, which takes in the orphans: QEMU leaves
// its parent.
const boot = `
for d in /run /var/lib /var/cache /var/log; do mount -t tmpfs tmpfs $d; done
mount --bind "$FILES" /etc/libvirt
mkdir -p /run/lock /run/libvirt
ip link set lo up
for f in passwd group; do grep -v '^libvirt-qemu:' /etc/$f > /run/$f; done
echo 'libvirt-qemu:x:0:0::/:/bin/false' >> /run/passwd; echo 'libvirt-qemu:x:0:' >> /run/group
for f in passwd group; do mount --bind /run/$f /etc/$f; done
libvirtd 2>/run/libvirtd.log & wait`

var files = map[string]string{
	"libvirtd.conf": "auth_unix_rw = \"none\"\n",
	"qemu.conf": `user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
remember_owner = 0
`}

// description is a virtual machine with one interface whose link is up and one
// whose link was taken down before.
const description = `<domain type='qemu'><name>%s</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='network'/><bios rebootTimeout='100'/></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='ethernet'><mac address='%s'/><target dev='%s'/><model type='virtio'/></interface>
<interface type='user'><mac address='%s'/><model type='virtio'/><link state='down'/><rom enabled='no'/></interface>
</devices></domain>`

const (
	openMAC, shutMAC   = "52:54:00:00:00:01", "52:54:00:00:00:02"
	otherMAC, otherOff = "52:54:00:00:00:03", "52:54:00:00:00:04"
)

type host struct {
	t          *testing.T
	files, dir string
	outer      *exec.Cmd
	first      int // the first process of its namespace, as seen from here
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	for _, program := range []string{"libvirtd", "virsh", "qemu-system-x86_64"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	if _, err := os.Stat("/etc/libvirt"); err != nil {
		t.Skip("libvirt is not installed")
	}
	h := &host{t: t, files: t.TempDir(), dir: t.TempDir()}
	for name, text := range files {
		h.write(filepath.Join(h.files, name), text)
	}
	t.Cleanup(h.halt)
	h.start()
	h.define("reception", openMAC, "vm1", shutMAC)
	h.define("ward", otherMAC, "vm2", otherOff)
	return h
}

func (h *host) write(path, text string) {
	h.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) define(name, mac, tap, off string) {
	h.t.Helper()
	path := filepath.Join(h.files, name+".xml")
	h.write(path, fmt.Sprintf(description, name, mac, tap, off))
	h.must("define", "/etc/libvirt/"+name+".xml")
	h.must("autostart", name)
	h.must("start", name)
}

func (h *host) start() {
	h.t.Helper()
	h.outer = exec.Command("unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", boot)
	h.outer.Env = append(os.Environ(), "FILES="+h.files)
	h.outer.Stderr = h.t.Output()
	h.outer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.outer.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.eventually("libvirt answers", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", h.outer.Process.Pid, h.outer.Process.Pid))
		if err != nil {
			return false
		}
		h.first, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && h.in("test", "-S", "/run/libvirt/libvirt-sock").Run() == nil && h.virsh("list").Run() == nil
	})
}

// halt is the power switch: the first process ends, and all others with it.
func (h *host) halt() {
	if h.first != 0 {
		_ = syscall.Kill(h.first, syscall.SIGKILL)
	}
	_ = h.outer.Process.Kill() // the first process may not have been known yet
	_ = h.outer.Wait()
}

// in is a command on the machine; it dies with whoever started it.
func (h *host) in(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", strconv.Itoa(h.first), "--mount", "--pid", "--net", "--ipc", "--uts", "setpriv", "--pdeathsig", "KILL"}, args...)...)
}

func (h *host) virsh(args ...string) *exec.Cmd {
	return h.in(append([]string{"virsh", "--connect", System, "--quiet"}, args...)...)
}

func (h *host) must(args ...string) string {
	h.t.Helper()
	out, err := h.virsh(args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("virsh %s: %v: %s", args, err, out)
	}
	return string(out)
}

func (h *host) eventually(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatal("not in time: " + what)
		}
	}
}

// is says whether the link of an interface is in a state, for what runs and for
// what is started.
func (h *host) is(name, mac, state string) bool {
	live, err := h.virsh("domif-getlink", name, mac).Output()
	config, err2 := h.virsh("domif-getlink", name, mac, "--config").Output()
	return err == nil && err2 == nil && strings.TrimSpace(string(live)) == mac+" "+state && strings.TrimSpace(string(config)) == mac+" "+state
}

// sent counts what a virtual machine sent.
func (h *host) sent(tap string) int {
	out, err := h.in("cat", "/proc/net/dev").Output()
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == tap+":" {
			n, err := strconv.Atoi(f[2])
			if err != nil {
				h.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func (h *host) command() *exec.Cmd {
	cmd := h.in(os.Args[0])
	cmd.Env = append(os.Environ(), agentEnv+"="+h.dir)
	return cmd
}

func cut(name string) order.Order { return order.Order{Kind: order.CutVM, Object: name} }

func TestCuttingAVirtualMachineKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		h := newHost(t)
		return &actiontest.Subject{Dir: h.dir, Command: h.command, Crash: true, Apply: cut("reception"), Undo: order.JoinVM,
			InForce: func() bool { // nothing else is cut
				return h.is("reception", openMAC, "down") && h.is("reception", shutMAC, "down") && h.is("ward", otherMAC, "up")
			},
			AsBefore: func() bool {
				return h.is("reception", openMAC, "up") && h.is("reception", shutMAC, "down") && h.is("ward", otherMAC, "up") && h.is("ward", otherOff, "down")
			},
			Reboot: func() { h.halt(); h.start() },
			Refused: map[string]order.Order{"unknown": cut("nothing"), "no name": cut(""), "an option": cut("--all"), "a number that virsh would take": cut("1"),
				"a name and a line": cut("ward\nreception"), "no interface of it": cut("reception/52:54:00:00:00:99"), "no address": cut("reception/vnet0"), "a pattern": cut("recep*")},
		}
	})
}

// What the firmware of the machine sends is seen from outside.
func TestACutMachineSendsNothing(t *testing.T) {
	h := newHost(t)
	h.eventually("it sends", func() bool { return h.sent("vm1") > 0 })
	a := actiontest.Start(t, h.command())
	o := ordered(cut("reception"), "1")
	if r := a.Do(o); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	before, other := h.sent("vm1"), h.sent("vm2")
	h.eventually("the other one goes on", func() bool { return h.sent("vm2") > other+3 })
	if n := h.sent("vm1"); n != before {
		t.Errorf("it sent %d packets while it was cut", n-before)
	}
	o.ID, o.Kind = "or-2", order.JoinVM
	if r := a.Do(o); r.Phase != order.Released {
		t.Fatalf("%+v", r)
	}
	h.eventually("it sends again", func() bool { return h.sent("vm1") > before })
}

func ordered(o order.Order, n string) order.Order {
	o.ID, o.Action, o.Lease, o.ExpiresAt = "or-"+n, "ac-"+n, time.Hour, time.Now().Add(time.Hour)
	return o
}

// One interface is cut, by name and by UUID, and a restart of the machine
// changes nothing; one that does not run stays cut when it is started.
func TestOneInterfaceAndARestart(t *testing.T) {
	h := newHost(t)
	a := actiontest.Start(t, h.command())
	uuid := strings.TrimSpace(h.must("domuuid", "ward"))
	h.must("destroy", "ward")
	o := ordered(cut(uuid+"/"+strings.ToUpper(otherMAC)), "1")
	if r := a.Do(o); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	h.must("start", "ward")
	if !h.is("ward", otherMAC, "down") {
		t.Error("it has its network again once it was started")
	}
	o.ID, o.Kind = "or-2", order.JoinVM
	if r := a.Do(o); r.Phase != order.Released {
		t.Fatalf("%+v", r)
	}
	if !h.is("ward", otherMAC, "up") || !h.is("ward", otherOff, "down") {
		t.Error("not as before")
	}
}

// A machine that is deleted is not looked for for ever.
func TestADeletedMachineIsGone(t *testing.T) {
	h := newHost(t)
	a := actiontest.Start(t, h.command())
	if r := a.Do(ordered(cut("ward"), "1")); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	h.must("destroy", "ward")
	h.must("undefine", "ward")
	got := a.Resume()
	if len(got) != 1 || got[0].Phase != order.Released || got[0].Cause != "gone" {
		t.Errorf("resumed with %+v", got)
	}
}

// What the machine runs is told before anything is cut.
func TestTheMachinesAreListed(t *testing.T) {
	h := newHost(t)
	cmd := h.in(os.Args[0], "-test.run=^TestListing$", "-test.v")
	cmd.Env = append(os.Environ(), listEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "[{reception true [{52:54:00:00:00:01 ethernet true} {52:54:00:00:00:02 user false}]} {ward true ") {
		t.Errorf("%v: %s", err, out)
	}
}

const listEnv = "SONAE_VM_TEST_LIST"

func TestListing(t *testing.T) {
	if os.Getenv(listEnv) == "" {
		t.Skip("part of another test")
	}
	all, err := List(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(all)
}
