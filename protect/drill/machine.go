package drill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
)

const (
	emulator  = "qemu-system-x86_64"
	mountedIn = "mounted"
	maxLine   = 4096 // bytes of a line of the guest that are looked at
	lastLines = 10   // of the guest that a run keeps when it did not answer
)

// troubles are lines with which a guest says itself that it will not come up.
func troubles() []string { return []string{"Kernel panic", "SONAE-DRILL-FAIL"} }

// machine boots a machine from its disk and waits for what it must say. Nothing
// is written to the disk, and the guest has no network.
func (t *trial) machine(ctx context.Context) (err error) {
	if t.cell, err = newCell(t.dir); err != nil {
		return err
	}
	program, err := exec.LookPath(emulator)
	if err != nil {
		return missing(emulator)
	}
	at, end, err := t.disk(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	g := &guest{trial: t, program: program, at: at}
	defer g.off()
	if err := t.phase(ctx, phaseStart, func(p *Phase) error { return g.boot(ctx) }); err != nil {
		return err
	}
	if t.n.Guest.Port == 0 {
		return nil
	}
	return t.phase(ctx, phaseProbe, func(p *Phase) error { return g.probe(ctx) })
}

// disk makes the snapshot's files readable, mounted or restored, and returns
// where they are in the cell.
func (t *trial) disk(ctx context.Context) (at string, end func() error, err error) {
	none := func() error { return nil }
	more := []string{}
	for _, p := range []string{t.n.Guest.Kernel, t.n.Guest.Initrd} {
		if p != "" {
			more = append(more, p)
		}
	}
	if t.n.Guest.Mount {
		end, err = t.mount(ctx, append(more, t.n.Paths...))
		if err == nil {
			return inside + "/" + mountedIn + "/ids/" + t.snap.ID.String(), end, nil
		}
		if fault.Of(err) != fault.Missing {
			return "", none, err
		}
		t.r.Versions = append(t.r.Versions, "not mounted: "+clean(err.Error(), 100)) // the machine cannot: restore
	}
	if err := t.restore(ctx, more...); err != nil {
		return "", none, err
	}
	return inside + "/" + restoredIn, none, t.cell.own(filepath.Join(t.dir, restoredIn))
}

func (t *trial) mount(ctx context.Context, paths []string) (end func() error, err error) {
	err = t.phase(ctx, phaseMount, func(p *Phase) error {
		bytes, files, err := t.size(ctx, t.snap, paths)
		if err != nil {
			return damaged(err)
		}
		if files == 0 {
			return wrong{"the snapshot holds no file of " + strings.Join(paths, ", ")}
		}
		at := filepath.Join(t.dir, mountedIn)
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		if end, err = t.repo.Mount(ctx, at); err != nil {
			return err
		}
		p.Bytes, p.Files = bytes, files
		t.r.Bytes, t.r.Files = bytes, files
		return nil
	})
	return end, err
}

// guest is a machine that runs.
type guest struct {
	*trial
	program string
	at      string // where the snapshot's files are in the cell
	vm      *process
	said    tail // of the emulator itself
	recent  []string
}

// hostPort is where the emulator listens for the guest's port, in a network
// that nobody else is in.
const hostPort = 40000

func (g *guest) args(format string) []string {
	x := g.n.Guest
	memory := x.Memory
	if memory == 0 {
		memory = 512
	}
	// without acceleration: the same on every machine, and slower, never faster,
	// than it would be
	args := []string{g.program, "-accel", "tcg", "-m", strconv.Itoa(memory), "-no-user-config", "-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot", "-serial", "stdio",
		"-drive", "if=virtio,snapshot=on,format=" + format + ",file=" + comma(g.at+g.n.Paths[0])}
	if x.Port == 0 {
		args = append(args, "-net", "none")
	} else {
		args = append(args, "-netdev", fmt.Sprintf("user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:%d-:%d", hostPort, x.Port), "-device", "virtio-net-pci,netdev=n,romfile=")
	}
	if x.Kernel != "" {
		args = append(args, "-kernel", g.at+x.Kernel, "-append", x.Append)
		if x.Initrd != "" {
			args = append(args, "-initrd", g.at+x.Initrd)
		}
	}
	return args
}

// comma doubles commas, which part options of the emulator.
func comma(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// format tells qcow2 from raw by its first bytes.
func (g *guest) format() (string, error) {
	f, err := os.Open(filepath.Join(g.dir, strings.TrimPrefix(g.at, inside), g.n.Paths[0]))
	if errors.Is(err, os.ErrNotExist) {
		return "", wrong{g.n.Paths[0] + " is not in the snapshot"}
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return "", wrong{g.n.Paths[0] + " cannot be read: " + err.Error()}
	}
	if string(magic[:]) == "QFI\xfb" {
		return "qcow2", nil
	}
	return "raw", nil
}

// boot starts the machine and waits for its marks.
func (g *guest) boot(ctx context.Context) error {
	format, err := g.format()
	if err != nil {
		return err
	}
	if out, _, rc, err := call(ctx, exec.Command(g.program, "--version")); err == nil && rc == 0 {
		g.r.Versions = append(g.r.Versions, clean(strings.SplitN(out, "\n", 2)[0], 80), "accel tcg")
	}
	args := g.args(format)
	cmd := g.cell.command(args[0], args[1:]...)
	serial, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = w, &g.said
	g.vm, err = launch(cmd)
	_ = w.Close()
	if err != nil {
		_ = serial.Close()
		return err
	}
	limit := 10 * time.Minute
	if g.n.Guest.Limit > 0 {
		limit = time.Duration(g.n.Guest.Limit) * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSilent)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = g.vm.cmd.Process.Kill() })() // which ends the line
	err = g.listen(ctx, serial)
	if err != nil || g.n.Guest.Port == 0 {
		return errors.Join(err, serial.Close())
	}
	go func() { // it blocks when nobody reads on; ends with the machine
		defer serial.Close()
		drain(serial)
	}()
	return nil
}

var errSilent = errors.New("the guest did not say what it must within its time")

// listen reads the serial port until all marks have come.
func (g *guest) listen(ctx context.Context, serial io.Reader) error {
	began, marks := time.Now(), g.n.Guest.Marks
	if len(marks) == 0 {
		return nil
	}
	in := bufio.NewReaderSize(serial, maxLine)
	for {
		raw, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return g.silent(ctx, marks[0])
		}
		line := clean(string(raw), 300)
		if line == "" {
			continue
		}
		if g.recent = append(g.recent, line); len(g.recent) > lastLines {
			g.recent = g.recent[1:]
		}
		for _, bad := range troubles() {
			if strings.Contains(line, bad) {
				return wrong{"the guest says: " + line}
			}
		}
		if !strings.Contains(line, marks[0]) {
			continue
		}
		g.r.Answers = append(g.r.Answers, Answer{What: marks[0], Want: marks[0], Got: fmt.Sprintf("%.1f s: %s", time.Since(began).Seconds(), line), OK: true})
		if marks = marks[1:]; len(marks) == 0 {
			return nil
		}
	}
}

// silent says why a mark did not come.
func (g *guest) silent(ctx context.Context, mark string) error {
	<-g.vm.done
	if ctx.Err() != nil && context.Cause(ctx) != errSilent {
		return ctx.Err()
	}
	g.r.Answers = append(g.r.Answers, Answer{What: mark, Want: mark})
	for _, l := range append(lines(g.said.String()), g.recent...) {
		g.r.problem(phaseStart, l)
	}
	return wrong{fmt.Sprintf("the guest did not say %q", mark)}
}

// off turns the machine off.
func (g *guest) off() {
	if g.vm != nil {
		g.vm.kill()
	}
}

// probe waits until the guest's port accepts.
func (g *guest) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := reach(ctx, g.vm.cmd.Process.Pid, hostPort)
		if err == nil {
			g.r.Answers = append(g.r.Answers, Answer{What: "tcp " + strconv.Itoa(g.n.Guest.Port), Want: "accept", Got: "accept", OK: true})
			return nil
		}
		select {
		case <-g.vm.done:
			return wrong{"the guest went off before its port accepted"}
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			return wrong{fmt.Sprintf("port %d of the guest does not accept: %v", g.n.Guest.Port, err)}
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// reach connects to a port of the network that a process is in. The emulator
// accepts for its guest and hangs up when the guest does not: a connection that
// stays, or on which something comes, was accepted.
func reach(ctx context.Context, pid, port int) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never back: this thread is in another network for good
		done <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the network of the guest: %w", err)
			}
			c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			if _, err = c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			return err
		}()
	}()
	return <-done
}
