package files

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
)

func TestDevicesThatCanBeTakenAway(t *testing.T) {
	sys := t.TempDir()
	device := func(number, path string, files map[string]string) {
		t.Helper()
		dir := filepath.Join(sys, "devices", path)
		for name, text := range files {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dir, filepath.Join(sys, "dev/block", number)); err != nil {
			t.Fatal(err)
		}
	}
	device("8:0", "pci0000:00/ata1/host0/block/sda", map[string]string{"removable": "0"})
	device("8:1", "pci0000:00/ata1/host0/block/sda/sda1", nil)
	device("8:16", "pci0000:00/card/block/mmcblk0", map[string]string{"removable": "1"})
	device("8:17", "pci0000:00/card/block/mmcblk0/mmcblk0p1", nil)
	device("8:32", "pci0000:00/usb1/1-1/1-1:1.0/host6/block/sdc", map[string]string{"removable": "0", "device/vendor": "ACME", "device/model": "Disk", "../../../../serial": "4C53"}) // a USB hard disk says 0
	device("8:33", "pci0000:00/usb1/1-1/1-1:1.0/host6/block/sdc/sdc1", nil)
	for number, want := range map[string]bool{"8:0": false, "8:1": false, "8:16": true, "8:17": true, "8:32": true, "8:33": true, "0:45": false} {
		x, got := mediumOf(sys, mount{device: number})
		if got != want {
			t.Errorf("%s: %v, want %v", number, got, want)
		}
		if number == "8:33" && (x.vendor != "ACME" || x.model != "Disk" || x.serial != "4C53") {
			t.Errorf("%+v", x)
		}
	}
}

// TestWhatIsCopiedToAMedium mounts a volume in a namespace of its own; that it
// can be taken away is written into a copy of what /sys says.
func TestWhatIsCopiedToAMedium(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		t.Skipf("root is needed: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Skipf("root is needed: %v", err)
	}
	point := filepath.Join(t.TempDir(), "USB 1")
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	d := deps(t)
	r := NewRemovable(Config{Removable: true}, d)
	r.mounts, r.sys = "/proc/thread-self/mountinfo", t.TempDir()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		t.Skipf("fanotify is refused here: %v", err)
	}
	r.fd = fd
	defer unix.Close(fd)
	q := collect.NewQueue(64)
	if r.look(q); len(q.Events()) != 0 {
		t.Fatal("a medium before there is one")
	}
	if err := unix.Mount("none", point, "tmpfs", 0, ""); err != nil {
		t.Skipf("root is needed: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(point, &st); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(r.sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "removable"), []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.look(q)
	if e := <-q.Events(); e.Fields["Event"] != "mounted" || e.Fields["Volume"] != point || e.Category != "removable_media" {
		t.Fatalf("got %v", e.Fields)
	}
	if out, err := exec.Command("sh", "-c", fmt.Sprintf("for i in 1 2 3 4 5; do head -c 1000 /dev/zero > '%s'/$i; done; sleep 0.5", point)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.look(q)
	files := 0
	for len(q.Events()) > 0 {
		e := <-q.Events()
		if e.Fields["Event"] != "copied" || !strings.HasPrefix(e.Fields["TargetFilename"], point) || e.Fields["User"] != "" && e.Fields["User"] != "root" {
			t.Errorf("got %v", e.Fields)
		}
		var n int
		if _, err := fmt.Sscan(e.Fields["Files"], &n); err != nil {
			t.Error(err)
		}
		files += n
	}
	if files != 5 {
		t.Errorf("%d files were copied, want 5", files)
	}
	if err := unix.Unmount(point, 0); err != nil {
		t.Fatal(err)
	}
	r.look(q)
	var last event.Event
	for len(q.Events()) > 0 {
		last = <-q.Events()
	}
	if last.Fields["Event"] != "unmounted" || len(r.copied) != 0 {
		t.Errorf("got %v, %d remembered", last.Fields, len(r.copied))
	}
}

func FuzzMounts(f *testing.F) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`36 35 98:0 /a /mnt\040x rw shared:1 - vfat /dev/sdb1 rw`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := parseMounts(b); len(got) > maxMounts {
			t.Error("too many")
		}
	})
}
