package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
)

// Removable tells of removable media that are mounted, and what is written to
// them by whom. It implements collect.Collector.
type Removable struct {
	deps   Deps
	sys    string // /sys
	mounts string // /proc/self/mountinfo

	fd     int
	people *people
	known  map[string]medium // by id of the mount
	copied map[copyKey]*copies
}

// medium is a removable medium that is mounted.
type medium struct {
	mount
	vendor, model, serial string
}

type copyKey struct{ mount, image, user string }

// copies is what one program of one user wrote to a medium since it was mounted.
type copies struct {
	actor
	files map[string]int64 // path → size
	bytes int64
	told  int
	last  string
	done  bool // more files than are counted
}

// Bounds and times.
const (
	mediaEvery = 2 * time.Second
	maxCopied  = 100_000
	maxMedia   = 64
	maxCopiers = 1024
)

// NewRemovable makes the collector; nil when it is not wanted.
func NewRemovable(cfg Config, d Deps) *Removable {
	if !cfg.Removable {
		return nil
	}
	return &Removable{deps: d, sys: "/sys", mounts: "/proc/self/mountinfo", fd: -1, people: newPeople(), known: map[string]medium{}, copied: map[copyKey]*copies{}}
}

// Name implements collect.Collector.
func (r *Removable) Name() string { return "removable" }

// Status implements collect.Collector.
func (r *Removable) Status() string { return "mounts of this machine" }

// Run implements collect.Collector. Where the kernel refuses fanotify, media
// are told of, but not what is copied.
func (r *Removable) Run(ctx context.Context, q *collect.Queue) error {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NOATIME)
	if err != nil {
		r.deps.Log.Warn("copies to removable media are not seen", "err", err)
	} else {
		r.fd = fd
		defer unix.Close(fd)
	}
	tick := time.NewTicker(mediaEvery)
	defer tick.Stop()
	for {
		r.look(q)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look finds media that came and went, and tells what was written since.
func (r *Removable) look(q *collect.Queue) {
	b, err := os.ReadFile(r.mounts)
	if err != nil {
		r.deps.Log.Warn("mounts cannot be read", "err", err)
		return
	}
	now := map[string]bool{}
	for _, m := range parseMounts(b) {
		now[m.id] = true
		if _, known := r.known[m.id]; known || len(r.known) >= maxMedia {
			continue
		}
		if x, ok := mediumOf(r.sys, m); ok {
			r.known[m.id] = x
			r.watch(m)
			q.Put(r.event("mounted", x, nil))
		}
	}
	r.drain()
	r.tell(q)
	for id, x := range r.known {
		if !now[id] {
			q.Put(r.event("unmounted", x, nil))
			delete(r.known, id)
			r.drop(id)
		}
	}
}

func (r *Removable) drop(id string) {
	for k := range r.copied {
		if k.mount == id {
			delete(r.copied, k)
		}
	}
}

// mediumOf asks the kernel, in its folder sys, whether the device of a mount can
// be taken away: it says so itself, or it hangs on USB.
func mediumOf(sys string, m mount) (medium, bool) {
	link := filepath.Join(sys, "dev/block", m.device)
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return medium{}, false
	}
	x := medium{mount: m}
	removable := strings.Contains(dir, "/usb")
	for range 2 { // a partition, then its disk
		if b, err := os.ReadFile(filepath.Join(dir, "removable")); err == nil {
			removable = removable || strings.TrimSpace(string(b)) == "1"
			x.vendor, x.model, x.serial = word(dir, "device/vendor"), word(dir, "device/model"), word(dir, "device/serial")
			break
		}
		dir = filepath.Dir(dir)
	}
	for up := dir; x.serial == "" && len(up) > len(sys)+1; up = filepath.Dir(up) { // the USB device above it has a number
		x.serial = word(up, "serial")
	}
	return x, removable
}

// maxWord bounds what a device says of itself, in bytes.
const maxWord = 200

func word(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(b[:min(len(b), maxWord)])), "\uFFFD")
}

func (r *Removable) watch(m mount) {
	if r.fd < 0 {
		return
	}
	if err := unix.FanotifyMark(r.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_MOUNT, unix.FAN_CLOSE_WRITE|unix.FAN_OPEN, unix.AT_FDCWD, m.point); err != nil {
		r.deps.Log.Warn("copies to a medium are not seen", "mount", m.point, "err", err)
	}
}

// drain reads what the kernel has told.
func (r *Removable) drain() {
	if r.fd < 0 {
		return
	}
	b := make([]byte, 64<<10)
	for {
		n, err := unix.Read(r.fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		if err := notices(b[:n], r.notice); err != nil {
			r.deps.Log.Warn("notice of the kernel", "err", err)
			return
		}
	}
}

// notice counts a file that was written. The kernel opened it for us.
func (r *Removable) notice(n notice) {
	if n.fd < 0 {
		return
	}
	defer unix.Close(int(n.fd))
	who := r.people.of(n.pid, r.deps.Now())
	if n.mask&unix.FAN_CLOSE_WRITE == 0 || n.pid == int32(os.Getpid()) {
		return
	}
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(n.fd)))
	if err != nil {
		return
	}
	path = strings.ToValidUTF8(strings.TrimSuffix(path, " (deleted)"), "\uFFFD")
	x, ok := r.at(path)
	if !ok {
		return
	}
	var st unix.Stat_t
	if unix.Fstat(int(n.fd), &st) != nil {
		return
	}
	r.count(copyKey{x.id, who.image, who.user}, who, path, st.Size)
}

func (r *Removable) count(k copyKey, who actor, path string, size int64) {
	c := r.copied[k]
	if c == nil {
		if len(r.copied) >= maxCopiers {
			return
		}
		c = &copies{actor: who, files: map[string]int64{}}
		r.copied[k] = c
	}
	if _, known := c.files[path]; !known && len(c.files) >= maxCopied {
		c.done = true
		return
	}
	c.bytes += size - c.files[path]
	c.files[path], c.last = size, path
}

// at is the medium with the longest mount point above path.
func (r *Removable) at(path string) (best medium, ok bool) {
	for _, x := range r.known {
		rel, err := filepath.Rel(x.point, path)
		if err == nil && filepath.IsLocal(rel) && len(x.point) > len(best.point) {
			best, ok = x, true
		}
	}
	return best, ok
}

// tell says how much was written in all, when it is more than was said.
func (r *Removable) tell(q *collect.Queue) {
	for k, c := range r.copied {
		if len(c.files) == c.told {
			continue
		}
		f := map[string]string{"TargetFilename": c.last, "Files": strconv.Itoa(len(c.files)), "NewFiles": strconv.Itoa(len(c.files) - c.told), "Bytes": strconv.FormatInt(c.bytes, 10)}
		if c.done {
			f["Files"] = fmt.Sprint(maxCopied)
		}
		c.fill(f)
		q.Put(r.event("copied", r.known[k.mount], f))
		c.told = len(c.files)
	}
}

func (r *Removable) event(what string, x medium, f map[string]string) event.Event {
	if f == nil {
		f = map[string]string{}
	}
	f["Event"], f["Volume"], f["Device"], f["FileSystem"] = what, x.point, x.source, x.kind
	for k, v := range map[string]string{"Vendor": x.vendor, "Model": x.model, "SerialNumber": x.serial} {
		if v != "" {
			f[k] = v
		}
	}
	return told(r.deps.Now(), "removable_media", "removable", f)
}
