package backup_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// virt is a real libvirt with real virtual machines of QEMU, without KVM, in
// namespaces of its own; its socket and the disks are seen from both sides.
type virt struct {
	t   *testing.T
	dir string
}

// bootVirt ends with the first process of its namespace, which takes in the
// orphans: QEMU leaves its parent.
const bootVirt = `
for d in /run /var/lib /var/cache /var/log; do mount -t tmpfs tmpfs $d; done
mount --bind "$DIR/etc" /etc/libvirt
mkdir -p /run/lock /run/libvirt
for f in passwd group; do grep -v '^libvirt-qemu:' /etc/$f > /run/$f; done
echo 'libvirt-qemu:x:0:0::/:/bin/false' >> /run/passwd; echo 'libvirt-qemu:x:0:' >> /run/group
for f in passwd group; do mount --bind /run/$f /etc/$f; done
libvirtd & wait`

func startVirt(t *testing.T) *virt {
	t.Helper()
	for _, program := range []string{"libvirtd", "virsh", "qemu-system-x86_64", "unshare"} {
		if _, err := exec.LookPath(program); err != nil || os.Geteuid() != 0 {
			t.Skip(program + " is not installed, or the test is not root")
		}
	}
	dir, err := os.MkdirTemp("/tmp", "sonae-vm") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	v := &virt{t, dir}
	restictest.Write(t, dir+"/etc/libvirtd.conf", []byte("auth_unix_rw = \"none\"\nunix_sock_dir = \""+dir+"\"\n"))
	restictest.Write(t, dir+"/etc/qemu.conf", []byte("user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\ncgroup_controllers = [ ]\nnamespaces = [ ]\nstdio_handler = \"file\"\nremember_owner = 0\n"))
	outer := exec.Command("unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", bootVirt)
	outer.Env = append(os.Environ(), "DIR="+dir)
	outer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := outer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = outer.Process.Kill()
		_ = outer.Wait()
	})
	linktest.Await(t, "libvirt answers", func() bool { return v.virsh("list").Run() == nil })
	return v
}

func (v *virt) uri() string { return "qemu:///system?socket=" + v.dir + "/libvirt-sock" }

func (v *virt) virsh(args ...string) *exec.Cmd {
	return exec.Command("virsh", append([]string{"--connect", v.uri(), "--quiet"}, args...)...)
}

func (v *virt) must(args ...string) string {
	v.t.Helper()
	out, err := v.virsh(args...).CombinedOutput()
	if err != nil {
		v.t.Fatalf("virsh %s: %v: %s", args, err, out)
	}
	return string(out)
}

// define makes a virtual machine that boots from a disk.
func (v *virt) define(name, disk, more string) {
	v.t.Helper()
	at := v.dir + "/" + name + ".xml"
	restictest.Write(v.t, at, []byte(fmt.Sprintf(`<domain type='qemu'><name>%s</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>%s
</devices></domain>`, name, disk, more)))
	v.must("define", at)
}

// writer is a disk whose first sector, when it is booted, counts in the second
// one, for ever.
func writer() []byte {
	disk := make([]byte, 4<<20)
	copy(disk, []byte{
		0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, // all segments 0, a stack
		0xb8, 0x01, 0x02, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xbb, 0x00, 0x7e, 0xcd, 0x13, // read the second sector to 0x7e00
		0x66, 0xff, 0x06, 0x00, 0x7e, // again: inc dword [0x7e00]
		0xb8, 0x01, 0x03, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xbb, 0x00, 0x7e, 0xcd, 0x13, // write it
		0xeb, 0xeb, // jmp again
	})
	disk[510], disk[511] = 0x55, 0xaa
	copy(disk[1<<20:], restictest.Noise(1<<20))
	return disk
}

func (v *virt) counted(disk string) uint32 {
	v.t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	var b [4]byte
	if _, err := f.ReadAt(b[:], 512); err != nil {
		v.t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(b[:])
}

// A virtual machine that writes all the time is saved from one moment, goes on
// with one file for its disk, and boots from what came back.
func TestAVirtualMachineIsSavedAndComesBack(t *testing.T) {
	v := startVirt(t)
	disk := v.dir + "/emr.img"
	restictest.Write(t, disk, writer())
	v.define("emr", disk, "")
	v.must("start", "emr")
	linktest.Await(t, "the machine writes", func() bool { return v.counted(disk) > 10 })
	b := setUp(t, restictest.Newest(t).Path)
	source := job.Source{Name: "vm", Kind: job.Libvirt, Connect: v.uri(), Domain: "emr"}
	do := func(s job.Source) job.SourceResult {
		t.Helper()
		return b.do(job.Job{Kind: job.Backup, Sources: []job.Source{s}}).Sources[0]
	}
	before := v.counted(disk)
	r := do(source)
	if r.State != job.OK || len(r.Snapshots) != 2 {
		t.Fatalf("%+v", r)
	}
	after := v.counted(disk)
	linktest.Await(t, "the machine goes on in its own file", func() bool { return v.counted(disk) > after })
	if left, _ := filepath.Glob(v.dir + "/*.sonae-*"); len(left) > 0 || !strings.Contains(v.must("domblklist", "emr"), disk+"\n") {
		t.Errorf("left: %v; disks: %s", left, v.must("domblklist", "emr"))
	}
	to := b.stock(r.Snapshots...)
	back := filepath.Join(to, disk)
	if n := v.counted(back); n < before || n > after {
		t.Errorf("saved at %d, not between %d and %d", n, before, after)
	}
	if text, err := os.ReadFile(to + "/vm.domain.xml"); err != nil || !strings.Contains(string(text), "<name>emr</name>") {
		t.Errorf("%.200s, %v", text, err)
	}
	saved := v.counted(back)
	v.define("again", back, "")
	v.must("start", "again")
	linktest.Await(t, "the machine that came back writes", func() bool { return v.counted(back) > saved })
	v.must("destroy", "again")

	v.define("ward", v.dir+"/ward.img", "<disk type='block' device='disk'><source dev='/dev/vg/data'/><target dev='vdb' bus='virtio'/></disk>")
	restictest.Write(t, v.dir+"/ward.img", writer())
	other := source
	other.Domain = "ward"
	if r := do(other); r.State != job.Partial || r.Unread != 1 || !strings.Contains(strings.Join(r.Errors, ""), "vdb") {
		t.Errorf("a disk that is no file: %+v", r)
	}
	other.Domain = "none"
	if r := do(other); r.State != job.Failed || len(r.Snapshots) > 0 || !strings.Contains(strings.Join(r.Errors, ""), "none") {
		t.Errorf("a machine that is not there: %+v", r)
	}
	other = source
	other.Connect = "qemu:///system?socket=/nonexistent"
	if r := do(other); r.State != job.Failed || len(r.Snapshots) > 0 || !strings.Contains(strings.Join(r.Errors, ""), "/nonexistent") {
		t.Errorf("libvirt is down: %+v", r)
	}
}
