package drill

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state/statetest"
)

// loader is a disk that boots by itself: its first sector reads the second one
// and says on the first serial port what stands in it.
func loader(says string) []byte {
	code := []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, // mov ds, es, ss, ax
		0xbc, 0x00, 0x7c, // mov sp, 0x7c00
		0xb8, 0x01, 0x02, // mov ax, 0x0201: read one sector
		0xb9, 0x02, 0x00, // mov cx, 2: the second
		0xb6, 0x00, // mov dh, 0
		0xbb, 0x00, 0x7e, // mov bx, 0x7e00: to here
		0xcd, 0x13, // int 0x13
		0x72, 0x0e, // jc end
		0xbe, 0x00, 0x7e, // mov si, 0x7e00
		0xac,       // next: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x06, // jz end
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xee,       // out dx, al
		0xeb, 0xf5, // jmp next
		0xf4,       // end: hlt
		0xeb, 0xfd, // jmp end
	}
	disk := make([]byte, 1<<20)
	copy(disk, code)
	disk[510], disk[511] = 0x55, 0xaa
	copy(disk[512:1023], says)
	return disk
}

func TestAMachineBootsByItsOwnLoader(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	b := newBench(t)
	disk := filepath.Join(t.TempDir(), "emr.img")
	restictest.Write(t, disk, loader("SONAE-DRILL boot\r\nSONAE-DRILL rows 300000\r\n"))
	b.program.Run(t, "init")
	b.program.Run(t, "backup", disk)
	n := b.define(Definition{Level: Machine, Paths: []string{disk}, Guest: Guest{Memory: 32, Marks: []string{"DRILL boot", "rows 300000"}, Mount: true, Limit: 120}})
	r := b.hold(n)
	wants(t, r, Passed, "")
	if _, mounted := r.Phase(phaseMount); !mounted && fuse() {
		t.Error("it was restored, not mounted")
	}
	if len(r.Answers) != 2 || !strings.Contains(strings.Join(r.Versions, " "), "tcg") {
		t.Errorf("%+v %v", r.Answers, r.Versions)
	}

	n.Guest.Mount, n.Guest.Marks = false, []string{"DRILL boot", "rows 300001"}
	n.Guest.Limit = 3
	n, err := b.Revise(t.Context(), n, anna)
	b.ok(err)
	silent := b.hold(n)
	wants(t, silent, Failed, `did not say "rows 300001"`)
	wants(t, silent, Failed, "rows 300000") // the last that it said
}

func fuse() bool { _, err := os.Stat("/dev/fuse"); return err == nil }

// A guest with a kernel of Debian boots from the mounted repository and hashes
// all of its disk; a byte that changed makes it fail.
func TestAMachineBootsFromTheMountedRepository(t *testing.T) {
	statetest.OnlySQLite(t, heavy)
	kernel := os.Getenv("SONAE_GUEST_KERNEL")
	if kernel == "" {
		t.Skip("SONAE_GUEST_KERNEL names no folder with a kernel: make test does (tools/guestkernel.sh)")
	}
	b := newBench(t)
	vm := t.TempDir()
	content := restictest.Noise(8 << 20)
	restictest.Write(t, filepath.Join(vm, "disk.img"), content)
	image, err := os.ReadFile(filepath.Join(kernel, "vmlinuz"))
	b.ok(err)
	restictest.Write(t, filepath.Join(vm, "vmlinuz"), image)
	restictest.Write(t, filepath.Join(vm, "initrd"), initramfs(t, kernel))
	b.program.Run(t, "init")
	b.program.Run(t, "backup", vm)
	n := b.define(Definition{Level: Machine, Paths: []string{filepath.Join(vm, "disk.img")}, Guest: Guest{Memory: 256, Mount: true, Limit: 300, Port: 5432,
		Kernel: filepath.Join(vm, "vmlinuz"), Initrd: filepath.Join(vm, "initrd"), Append: "console=ttyS0 quiet panic=-1",
		Marks: []string{"SONAE-DRILL kernel", fmt.Sprintf("SONAE-DRILL disk %x", sha256.Sum256(content)), "SONAE-DRILL ready"}}})
	r := b.hold(n)
	wants(t, r, Passed, "")
	if len(r.Answers) != 4 {
		t.Errorf("%+v", r.Answers)
	}
}

// initramfs has one program and the modules that find a disk and a network card.
func initramfs(t *testing.T, kernel string) []byte {
	t.Helper()
	program := filepath.Join(t.TempDir(), "init")
	cmd := exec.Command("go", "build", "-ldflags=-s", "-o", program, "./testdata/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v: %s", err, out)
	}
	files := map[string]string{"init": program}
	modules, err := filepath.Glob(filepath.Join(kernel, "modules", "*.ko"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		files["modules/"+filepath.Base(m)] = m
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	entry := func(name string, mode int, content []byte) {
		fmt.Fprintf(z, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", 0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
		z.Write(make([]byte, (4-(110+len(name)+1)%4)%4))
		z.Write(content)
		z.Write(make([]byte, (4-len(content)%4)%4))
	}
	for _, dir := range []string{"dev", "proc", "modules"} {
		entry(dir, 0o40755, nil)
	}
	for name, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		entry(name, 0o100755, content)
	}
	entry("TRAILER!!!", 0, nil)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
