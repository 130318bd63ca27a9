package rest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

func TestStockResticWorks(t *testing.T) {
	for _, p := range restictest.All(t) {
		t.Run("restic "+p.Version, func(t *testing.T) {
			h := start(t, filepath.Join(t.TempDir(), "hub"))
			src := t.TempDir()
			restictest.Odd(t, src)
			restictest.Small(t, filepath.Join(src, "many"), 300)
			r := h.restic(p, "emr-1")
			r.Run(t, "init")
			r.Run(t, "backup", src)
			first := time.Now()
			restictest.Write(t, filepath.Join(src, "later"), []byte("later"))
			r.Run(t, "backup", src)

			r.Run(t, "check", "--read-data")
			if list := r.Run(t, "snapshots", "--json"); bytes.Count(list, []byte(`"short_id"`)) != 2 {
				t.Errorf("snapshots: %s", list)
			}
			same(t, src, restored(t, r, src, "latest"))
			mounted(t, r, src)
			if report := verify(t, h.folder("emr-1")); len(report.Snapshots) != 2 {
				t.Errorf("our reader: %d snapshots", len(report.Snapshots))
			}
			p.At(h.folder("emr-1")).Run(t, "--no-lock", "check", "--read-data") // the hub is dead: the folder is all there is
			if h.told("protect.") {
				t.Error("something of an honest client was refused or strange")
			}

			past := h.restic(p, "emr-1.restore")
			past.Repo += "asof/" + first.UTC().Format(time.RFC3339Nano) + "/"
			if list := past.Run(t, "snapshots", "--json"); bytes.Count(list, []byte(`"short_id"`)) != 1 {
				t.Errorf("snapshots as of the first backup: %s", list)
			}
			past.Run(t, "check", "--read-data")
			if _, err := os.Stat(filepath.Join(restored(t, past, src, "latest"), "later")); err == nil {
				t.Error("a file that was written later is in the view")
			}
		})
	}
}

// restored restores a snapshot and returns where src came to lie.
func restored(t *testing.T, r restictest.Program, src, snapshot string) string {
	t.Helper()
	to := t.TempDir()
	r.Run(t, "restore", snapshot, "--target", to)
	return filepath.Join(to, src)
}

func same(t *testing.T, a, b string) {
	t.Helper()
	if out, err := exec.Command("diff", "-r", "--no-dereference", a, b).CombinedOutput(); err != nil && !bytes.Contains(out, []byte("is a fifo")) {
		t.Errorf("restored: %v\n%.2000s", err, out)
	}
}

// mounted compares what restic shows through FUSE, where the machine has it.
func mounted(t *testing.T, r restictest.Program, src string) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Log("no FUSE on this machine, or not root: mount was not tried")
		return
	}
	at := t.TempDir()
	cmd := r.Command(t.Context(), "mount", at)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // it ends by a signal
		_ = unix.Unmount(at, unix.MNT_DETACH)
	}()
	latest := filepath.Join(at, "snapshots", "latest")
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(latest, src, "later")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("restic mount shows nothing after a minute")
		}
	}
	got, err := os.ReadFile(filepath.Join(latest, src, "random"))
	want, err2 := os.ReadFile(filepath.Join(src, "random"))
	if err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Errorf("mount shows another content: %v, %v", err, err2)
	}
}

// A certificate says who an agent is as well as a password does.
func TestClientCertificate(t *testing.T) {
	h := start(t, filepath.Join(t.TempDir(), "hub"))
	src := t.TempDir()
	restictest.Small(t, src, 3)
	for _, p := range restictest.All(t) {
		agent := "cert-" + strings.ReplaceAll(p.Version, ".", "-")
		r := p.At("rest:"+h.server.URL+"/restic/"+agent+"/", "--cacert", h.cacert(), "--tls-client-cert", certificate(t, agent))
		r.Run(t, "init")
		r.Run(t, "backup", src)
		other := r
		other.Repo = "rest:" + h.server.URL + "/restic/someone-else/"
		if out, err := other.Try(t.Context(), "init"); err == nil {
			t.Errorf("restic %s made another agent's repository: %s", p.Version, out)
		}
	}
}

func TestTenAgentsAtOnce(t *testing.T) {
	h := start(t, filepath.Join(t.TempDir(), "hub"))
	p := restictest.Newest(t)
	src := t.TempDir()
	restictest.Small(t, src, 200)
	restictest.Write(t, filepath.Join(src, "noise"), restictest.Noise(5<<20))
	var wg sync.WaitGroup
	errs := make(chan error, 10)
	for i := range 10 {
		wg.Go(func() {
			r := h.restic(p, fmt.Sprintf("agent-%d", i))
			for _, args := range [][]string{{"init"}, {"backup", src}, {"check", "--read-data"}} {
				if _, err := r.Try(t.Context(), args...); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	for i := range 10 {
		if report := verify(t, h.folder(fmt.Sprintf("agent-%d", i))); len(report.Snapshots) != 1 {
			t.Errorf("agent %d: %d snapshots", i, len(report.Snapshots))
		}
	}
}

// Several backups of one agent at once do not wait for each other's locks.
func TestOneAgentBacksUpInParallel(t *testing.T) {
	h := start(t, filepath.Join(t.TempDir(), "hub"))
	r := h.restic(restictest.Newest(t), "emr-1")
	r.Run(t, "init")
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for i := range 4 {
		src := t.TempDir()
		restictest.Write(t, filepath.Join(src, "noise"), restictest.Noise(2<<20+i))
		wg.Go(func() {
			if _, err := r.Try(t.Context(), "backup", src); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	if report := verify(t, h.folder("emr-1")); len(report.Snapshots) != 4 {
		t.Errorf("%d snapshots", len(report.Snapshots))
	}
}

// The disk becomes full in the middle of a backup: the client is told, nothing
// half-written is seen, and what was there can be read.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t)
	h := start(t, filepath.Join(dir, "hub"))
	r := h.restic(restictest.Newest(t), "emr-1")
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "noise"), restictest.Noise(4<<20))
	r.Run(t, "init")
	r.Run(t, "backup", src)

	big := t.TempDir()
	restictest.Write(t, filepath.Join(big, "noise"), restictest.Noise(60<<20))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // restic tries again for a quarter of an hour
	defer cancel()
	out, err := r.Try(ctx, "backup", big)
	if err == nil {
		t.Fatalf("60 MB fit into 24: %s", out)
	}
	if !h.told("protect.full") {
		t.Error("nobody was told that the disk is full")
	}
	report := verify(t, h.folder("emr-1"))
	if len(report.Snapshots) != 1 {
		t.Errorf("%d snapshots", len(report.Snapshots))
	}
	same(t, src, restored(t, r, src, "latest"))
	if parts, _ := filepath.Glob(filepath.Join(h.dir, "emr-1", "incoming", "*")); len(parts) > 0 {
		t.Errorf("left over: %v", parts)
	}
}

// smallDisk is a disk of 24 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// Uploads end before the room goes that the rest of the hub needs, also where many
// come at once; reading and locks go on, and backups do so once there is room.
func TestUploadsLeaveTheHubItsRoom(t *testing.T) {
	const least = 8 << 20
	dir := smallDisk(t)
	h := startWith(t, filepath.Join(dir, "hub"), func(c *repository.Config) { c.MinFree = least })
	free := func() uint64 {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		return st.Bavail * uint64(st.Bsize)
	}
	r := h.restic(restictest.Newest(t), "emr-1")
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "noise"), restictest.Noise(2<<20))
	r.Run(t, "init")
	r.Run(t, "backup", src)
	h.told("")

	body := restictest.Noise(5 << 20)
	name := restic.Sum(body).String()
	repo, err := h.s.Repository(t.Context(), "emr-1")
	if err != nil {
		t.Fatal(err)
	}
	begun, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = repo.Put(t.Context(), "emr-1", restic.Data, name, int64(len(body)), &waiting{begun: begun, end: end})
	})
	<-begun
	restictest.Write(t, filepath.Join(dir, "others"), make([]byte, int(free())-least-len(body)))
	small := restictest.Noise(60 << 10) // there is room but for what comes from the other agent
	if status, said := h.send("emr-2", "POST", "emr-2/keys/"+restic.Sum(small).String(), small); status != 507 || !strings.Contains(said, "protect.full") || !h.told("protect.full") {
		t.Errorf("more than the disk has: %d %s", status, said)
	}
	if err := os.Remove(filepath.Join(dir, "others")); err != nil {
		t.Fatal(err)
	}
	close(end)
	wg.Wait()

	big := t.TempDir()
	restictest.Write(t, filepath.Join(big, "noise"), restictest.Noise(60<<20))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if out, err := r.Try(ctx, "backup", big); err == nil {
		t.Fatalf("60 MB fit into 24: %s", out)
	}
	if n := free(); n < least || !h.told("protect.full") {
		t.Errorf("%d bytes are left, %d are the hub's", n, least)
	}
	same(t, src, restored(t, r, src, "latest"))
	stolen := filepath.Join(t.TempDir(), "stolen")
	if err := os.CopyFS(stolen, os.DirFS(h.folder("emr-1"))); err != nil {
		t.Fatal(err)
	}
	lock := exclusive(t, restictest.Newest(t).At(stolen))
	if status, body := h.send("emr-1", "POST", "emr-1/locks/"+restic.Sum(lock).String(), lock); status != 200 {
		t.Errorf("a lock: %d %s", status, body)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	r.Run(t, "backup", src)
	if report := verify(t, h.folder("emr-1")); len(report.Snapshots) != 2 {
		t.Errorf("%d snapshots", len(report.Snapshots))
	}
}

// waiting is a body of which nothing comes until its end.
type waiting struct {
	once       sync.Once
	begun, end chan struct{}
}

func (w *waiting) Read([]byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.end
	return 0, io.ErrUnexpectedEOF
}
