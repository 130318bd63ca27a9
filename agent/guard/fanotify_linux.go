package guard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// happening is one record of fanotify(7).
type happening struct {
	mask uint64
	fd   int
	pid  int
}

const fanotifyHeader = 24

// parseFanotify reads the records of one read. A record that is not whole, or
// of another version, ends it with an error.
func parseFanotify(b []byte, each func(happening)) error {
	for len(b) > 0 {
		if len(b) < fanotifyHeader {
			return errors.New("fanotify: half a record")
		}
		size := int(binary.NativeEndian.Uint32(b))
		if b[4] != unix.FANOTIFY_METADATA_VERSION || size < fanotifyHeader || size > len(b) {
			return fmt.Errorf("fanotify: version %d, %d bytes", b[4], size)
		}
		each(happening{binary.NativeEndian.Uint64(b[8:]), int(int32(binary.NativeEndian.Uint32(b[16:]))), int(int32(binary.NativeEndian.Uint32(b[20:])))})
		b = b[size:]
	}
	return nil
}

// group is an open fanotify group.
type group struct {
	fd    int
	marks map[string]bool
}

const maxMarks = 65536 // folders

func openGroup() (*group, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE|unix.FAN_UNLIMITED_MARKS, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NOATIME)
	if err != nil {
		return nil, fmt.Errorf("%w: fanotify: %w", errRefused, err)
	}
	return &group{fd: fd, marks: map[string]bool{}}, nil
}

// guarded is what is asked for.
const guarded = unix.FAN_OPEN_PERM | unix.FAN_CLOSE_WRITE

// mark watches a volume, where dir is one, else each folder below it.
func (g *group) mark(dir string) error {
	if isMount(dir) {
		if g.marks[dir] {
			return nil
		}
		if err := unix.FanotifyMark(g.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, guarded, -1, dir); err != nil {
			return fmt.Errorf("%w: fanotify on %s: %w", errRefused, dir, err)
		}
		g.marks[dir] = true
		return nil
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path == dir:
			return err
		case err != nil || !d.IsDir():
			return nil // gone meanwhile
		case len(g.marks) >= maxMarks:
			return fmt.Errorf("more than %d folders below %s: watch a volume instead", maxMarks, dir)
		case g.marks[path]:
			return nil
		}
		err = unix.FanotifyMark(g.fd, unix.FAN_MARK_ADD, guarded|unix.FAN_EVENT_ON_CHILD, -1, path)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: fanotify on %s: %w", errRefused, path, err)
		}
		g.marks[path] = true
		return nil
	})
}

// isMount says whether dir is the root of a volume.
func isMount(dir string) bool {
	var here, above unix.Stat_t
	if unix.Stat(dir, &here) != nil || unix.Stat(filepath.Dir(dir), &above) != nil {
		return false
	}
	return here.Dev != above.Dev || dir == "/"
}

// answer lets an open go on, or not.
func (g *group) answer(fd int, deny bool) {
	r := unix.FanotifyResponse{Fd: int32(fd), Response: unix.FAN_ALLOW}
	if deny {
		r.Response = unix.FAN_DENY
	}
	b := (*[unsafe.Sizeof(r)]byte)(unsafe.Pointer(&r))[:]
	_, _ = unix.Write(g.fd, b) // who asked may be gone
}

// waiting is how many events may wait for the gate.
const waiting = 4096

// lookAgain is how often new folders are looked for.
const lookAgain = 2 * time.Second

// fanotify watches through fanotify until ctx ends.
func (g *Guard) fanotify(ctx context.Context, ready func(Status), why error) error {
	grp, err := openGroup()
	if err != nil {
		return err
	}
	defer unix.Close(grp.fd) // whoever waits goes on
	for _, dir := range g.cfg.Watch {
		if err := grp.mark(dir); err != nil {
			return err
		}
	}
	raiseFiles()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := newGate(g, grp)
	defer w.close()
	events := make(chan happening, waiting)
	var reading sync.WaitGroup
	var failed error
	reading.Go(func() {
		defer cancel()
		failed = g.read(ctx, grp, events)
	})
	ready(g.on(BackendFanotify, why))
	w.run(ctx, events)
	cancel()
	reading.Wait()
	for len(events) > 0 { // nobody waits for ever
		h := <-events
		if h.mask&unix.FAN_OPEN_PERM != 0 {
			grp.answer(h.fd, false)
		}
		unix.Close(h.fd)
	}
	return failed
}

// read hands records to the gate until ctx ends. What this program itself
// opens is let through here, because the gate may be waiting for it.
func (g *Guard) read(ctx context.Context, grp *group, events chan<- happening) error {
	self := os.Getpid()
	b := make([]byte, 64<<10)
	poll := []unix.PollFd{{Fd: int32(grp.fd), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		if n, err := unix.Poll(poll, 200); n == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		n, err := unix.Read(grp.fd, b)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("fanotify: %w", err)
		}
		var seen, dropped uint64
		err = parseFanotify(b[:n], func(h happening) {
			seen++
			if h.mask&unix.FAN_Q_OVERFLOW != 0 || h.fd < 0 {
				dropped++
				return
			}
			if h.pid != self {
				select {
				case events <- h:
					return
				default:
					dropped++ // whoever waits must not wait for ever
				}
			}
			if h.mask&unix.FAN_OPEN_PERM != 0 {
				grp.answer(h.fd, false)
			}
			unix.Close(h.fd)
		})
		g.count(seen, dropped)
		if err != nil {
			return err
		}
	}
	return nil
}

// raiseFiles lets the gate hold many files.
func raiseFiles() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil && l.Cur < l.Max {
		l.Cur = min(l.Max, 65536)
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &l) // fewer do, too
	}
}

// pathOf is what a file is called now.
func pathOf(fd int) string {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return ""
	}
	return path
}

const deleted = " (deleted)"

// truncates says whether a thread of pid is just opening a file so that it
// becomes empty, by what /proc says of the call that it waits in.
func truncates(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, t := range threads {
		b, err := os.ReadFile(filepath.Join(dir, t.Name(), "syscall"))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b))
		if len(f) < 5 {
			continue
		}
		var at int
		switch f[0] {
		case strconv.Itoa(sysOpen):
			at = 2
		case strconv.Itoa(unix.SYS_OPENAT):
			at = 3
		default:
			continue
		}
		if flags, err := strconv.ParseUint(strings.TrimPrefix(f[at], "0x"), 16, 64); err == nil && flags&unix.O_TRUNC != 0 {
			return true
		}
	}
	return false
}
