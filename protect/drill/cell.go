package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
)

// inside is where the scratch folder is for what runs in a cell.
const inside = "/run/drill"

// enter closes the door behind itself: in namespaces of its own it hides what
// belongs to the hub and to other programs of the machine, makes the rest
// read-only, gives all rights away and becomes the program. It is the first
// process of its namespace, so that nothing outlives it; it dies with its parent.
const enter = `set -eu
scratch=$1 uid=$2 gid=$3
shift 3
mount --make-rslave /
mount -t proc proc /proc
ip link set lo up
hostname drill
mount --rbind "$scratch" /mnt
for d in /run /tmp /var/tmp /home /root /srv /var/lib/postgresql /var/lib/mysql /var/spool; do
	if [ -d "$d" ]; then mount -t tmpfs -o mode=755,size=1m drill "$d"; fi
done
mkdir /run/drill
mount --rbind /mnt /run/drill
umount -l /mnt
mount -o remount,bind,ro /
cd /run/drill
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all --pdeathsig KILL -- "$@"
`

// cell is where restored things run: no network, no rights, a scratch folder.
type cell struct {
	dir      string // of the machine
	uid, gid int
}

// newCell says with a fault why there can be none.
func newCell(dir string) (*cell, error) {
	if os.Geteuid() != 0 {
		return nil, fault.New(fault.Denied, "protect.drill.not-root")
	}
	for _, program := range []string{"setpriv", "mount", "umount", "ip", "hostname"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, missing(program)
		}
	}
	c := &cell{dir: dir}
	for _, name := range []string{"postgres", "nobody"} { // PostgreSQL refuses root
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		if c.uid, err = strconv.Atoi(u.Uid); err != nil {
			return nil, err
		}
		c.gid, err = strconv.Atoi(u.Gid)
		return c, err
	}
	return nil, fault.New(fault.Missing, "protect.drill.no-account")
}

// missing says that a program of the machine is not there.
func missing(program string) error {
	return fault.New(fault.Missing, "protect.drill.no-program", program)
}

// command is a program in the cell. Paths in args are those of the inside.
func (c *cell) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", append([]string{"-c", enter, "cell", c.dir, strconv.Itoa(c.uid), strconv.Itoa(c.gid), name}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=" + inside, "TMPDIR=" + inside + "/tmp"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
	return cmd
}

// own gives a file or folder of the scratch folder to the account of the cell.
func (c *cell) own(path string) error {
	return filepath.WalkDir(path, func(at string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(at, c.uid, c.gid)
		}
		return err
	})
}

// folder makes a folder of the cell's account.
func (c *cell) folder(name string) error {
	path := filepath.Join(c.dir, name)
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return os.Lchown(path, c.uid, c.gid)
}

// tail keeps the last bytes that a program said.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// maxTail bounds what is kept of a program's output, in bytes.
const maxTail = 256 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - maxTail; over > maxTail { // seldom, so that it costs little
		t.buf = slices.Delete(t.buf, 0, over)
	}
	return len(b), nil
}

// String is the last of it.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf[max(0, len(t.buf)-maxTail):])
}

// process is a program that runs.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // after done
}

// launch starts a program that ends when this process does, whatever ends it.
// The thread that starts it counts as its parent and must live as long as it.
func launch(cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	cmd.WaitDelay = 5 * time.Second // a grandchild that keeps the pipe holds nobody up
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	return p, nil
}

// stop asks a program to end, and ends it when it does not within a while.
func (p *process) stop(with os.Signal, while time.Duration) (ended bool) {
	_ = p.cmd.Process.Signal(with) // it may be gone
	select {
	case <-p.done:
		return true
	case <-time.After(while):
	}
	p.kill()
	return false
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// call runs a program to its end and returns what it said; rc is its exit
// status. The error is none of the program's. What cmd writes elsewhere is not
// returned.
func call(ctx context.Context, cmd *exec.Cmd) (stdout, stderr string, rc int, err error) {
	var out, errs tail
	cmd.Stderr = &errs
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	p, err := launch(cmd)
	if err != nil {
		return "", "", 0, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		return "", "", 0, ctx.Err()
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) && !errors.Is(p.err, exec.ErrWaitDelay) {
		return "", "", 0, p.err
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode(), nil
}

// lines are those that say something.
func lines(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// scratchPrefix begins the names of scratch folders; nothing else in the folder
// of drills is touched.
const scratchPrefix = "run-"

// scratch makes the folder of a run.
func (d *Desk) scratch(run string) (string, error) {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return "", err
	}
	dir, err := filepath.Abs(filepath.Join(d.Dir, scratchPrefix+run))
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o711); err != nil { // the account of the cell passes through; the folder above keeps others out
		return "", err
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return "", err
	}
	return dir, os.Chmod(tmp, 0o777|os.ModeSticky) // whatever the umask
}

// sweep wipes all scratch folders; mounts that a killed hub left are taken away
// first.
func sweep(dir string) error {
	all, err := filepath.Glob(filepath.Join(dir, scratchPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range all {
		errs = append(errs, wipe(path))
	}
	return errors.Join(errs...)
}

func wipe(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", m, err) // else what is mounted would be removed
		}
	}
	return os.RemoveAll(dir)
}

// mountsBelow lists what is mounted at a folder or below it, in the order in
// which it was mounted.
func mountsBelow(dir string) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []string
	for l := range bytes.Lines(raw) {
		fields := bytes.Fields(l)
		if len(fields) < 5 {
			continue
		}
		at := unescape(string(fields[4]))
		if at == dir || strings.HasPrefix(at, dir+"/") {
			out = append(out, at)
		}
	}
	return out, nil
}

// unescape reads the kernel's octal form of blanks in paths.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// room is how many bytes are free in a folder.
func room(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// drain reads a stream to its end.
func drain(r io.Reader) { _, _ = io.Copy(io.Discard, r) }
