package forensic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of what is not the culprit's own.
const (
	commandTime = 30 * time.Second
	tailBytes   = 8 << 20
)

// openQuiet opens a file for reading without changing its access time, which
// root may ask for; never blocks on a pipe or a device.
func openQuiet(path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Open(path, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // not ours, or a file system without it
		fd, err = unix.Open(path, flags, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// file is a copy of a file. What /proc makes on reading is read at once, so
// that it is one state and can be sent twice; large files are streamed.
func (c *Collector) file(path, title, from string) task {
	tiny := small("", "", "", func(_ context.Context, limit int64) ([]byte, string, error) { return readAll(from, limit) })
	return task{path: path, title: title, method: "read " + from, open: func(ctx context.Context, limit int64) (io.ReadCloser, string, error) {
		f, err := openQuiet(from)
		if err != nil {
			return nil, "", err
		}
		st, err := f.Stat()
		if err != nil || st.Size() <= maxSmall {
			return first(tiny.open(ctx, limit))(errors.Join(err, f.Close()))
		}
		if st.Size() > limit {
			return f, cutAt(limit), nil
		}
		return f, "", nil
	}}
}

// first passes the results of a call on unless another error came with it.
func first(r io.ReadCloser, cut string, err error) func(error) (io.ReadCloser, string, error) {
	return func(other error) (io.ReadCloser, string, error) { return r, cut, errors.Join(err, other) }
}

func readAll(path string, limit int64) ([]byte, string, error) {
	f, err := openQuiet(path)
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, "", err
	}
	if int64(len(b)) > limit {
		return b[:limit], cutAt(limit), nil
	}
	return b, "", nil
}

// tail is the end of a growing file.
func (c *Collector) tail(path, title, from string) task {
	return small(path, title, fmt.Sprintf("read %s, last %d bytes", from, tailBytes), func(_ context.Context, limit int64) ([]byte, string, error) {
		f, err := openQuiet(from)
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = f.Close() }() // it was only read
		st, err := f.Stat()
		if err != nil {
			return nil, "", err
		}
		n := min(limit, tailBytes)
		cut := ""
		if st.Size() > n {
			if _, err := f.Seek(st.Size()-n, io.SeekStart); err != nil {
				return nil, "", err
			}
			cut = fmt.Sprintf("only the last %d of %d bytes", n, st.Size())
		}
		b, err := io.ReadAll(io.LimitReader(f, n))
		return b, cut, err
	})
}

// command is the output of a command that is on the machine.
func (c *Collector) command(path, title, name string, args ...string) task {
	method := strings.Join(append([]string{name}, args...), " ")
	return small(path, title, method, func(ctx context.Context, limit int64) ([]byte, string, error) {
		r, _, err := run(ctx, commandTime, name, args...)
		if err != nil {
			return nil, "", err
		}
		b, err := io.ReadAll(io.LimitReader(r, limit+1))
		if int64(len(b)) > limit {
			_ = r.Close() // it was stopped by us
			return b[:limit], cutAt(limit), err
		}
		if e := r.Close(); err == nil {
			err = e
		}
		return b, "", err
	})
}

// stream is the output of a command that may be long.
func (c *Collector) stream(path, title, name string, args ...string) task {
	return task{path: path, title: title, method: strings.Join(append([]string{name}, args...), " "), open: func(ctx context.Context, _ int64) (io.ReadCloser, string, error) {
		return run(ctx, commandTime, name, args...)
	}}
}

// running is a command being read.
type running struct {
	io.Reader
	cmd  *exec.Cmd
	stop context.CancelFunc
	errs *strings.Builder
	done bool
}

func run(ctx context.Context, most time.Duration, name string, args ...string) (io.ReadCloser, string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, "", err
	}
	return begin(ctx, most, exec.Command(path, args...))
}

// begin starts a command and ends it after most.
func begin(ctx context.Context, most time.Duration, cmd *exec.Cmd) (io.ReadCloser, string, error) {
	ctx, stop := context.WithTimeout(ctx, most)
	with := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	with.ExtraFiles, with.WaitDelay = cmd.ExtraFiles, time.Second
	r := &running{cmd: with, stop: stop, errs: &strings.Builder{}}
	r.cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	r.cmd.Stderr = &bounded{w: r.errs, left: 2000}
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		stop()
		return nil, "", err
	}
	r.Reader = out
	return r, "", nil
}

// Read notes the end of the output, after which the exit status counts.
func (r *running) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.done = r.done || err != nil
	return n, err
}

// Close waits for the command; one that was not read to its end is stopped.
func (r *running) Close() error {
	if !r.done {
		r.stop()
	}
	err := r.cmd.Wait()
	r.stop()
	if err != nil && r.errs.Len() > 0 {
		return fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(r.errs.String()), " "))
	}
	return err
}

// bounded is a writer that forgets what is too much.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	if _, err := b.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
