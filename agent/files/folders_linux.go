package files

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
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
)

// Folders watches folders. It implements collect.Collector.
type Folders struct {
	cfg   Config
	deps  Deps
	hours []Hours // one for each of cfg.Folders

	fd     int
	dirs   map[string]dir // by fsid and handle
	people *people
	recent map[string]time.Time // what was told, by process, place and kind
	base   *integrity           // nil: nothing is compared

	marked, lost atomic.Int64
	state        atomic.Value // string
}

// dir is a folder that the kernel tells of.
type dir struct {
	path   string
	folder int  // of Config.Folders, or -1
	exact  bool // its files are compared with the baseline
}

// Bounds.
const (
	maxDirs   = 200_000 // each keeps an inode in the kernel's memory
	maxRecent = 65_536
	readAgain = time.Minute      // the same process and file are told of once in that time
	writeOnce = 10 * time.Second // likewise, written
	tickEvery = 500 * time.Millisecond
)

// NewFolders makes the collector; nil when nothing is to be watched.
func NewFolders(cfg Config, d Deps) (*Folders, error) {
	if len(cfg.Folders)+len(cfg.Integrity) == 0 {
		return nil, nil
	}
	f := &Folders{cfg: cfg, deps: d, dirs: map[string]dir{}, people: newPeople(), recent: map[string]time.Time{}}
	for _, x := range cfg.Folders {
		h, err := ParseHours(x.Duty)
		if err != nil {
			return nil, err
		}
		f.hours = append(f.hours, h)
	}
	if len(cfg.Integrity) > 0 {
		f.base = newIntegrity(cfg.Integrity, d)
	}
	f.state.Store("not started")
	return f, nil
}

// Name implements collect.Collector.
func (f *Folders) Name() string { return "files" }

// Status implements collect.Collector.
func (f *Folders) Status() string {
	return fmt.Sprintf("%s, %d folders, %d times the kernel had no room", f.state.Load(), f.marked.Load(), f.lost.Load())
}

// Run implements collect.Collector. Where the kernel refuses fanotify, the
// files that must not change are compared all the same, without who did it.
func (f *Folders) Run(ctx context.Context, q *collect.Queue) error {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_REPORT_DFID_NAME, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		f.state.Store("who does it is not known: " + err.Error())
		return f.compareOnly(ctx, q)
	}
	f.fd = fd
	file := os.NewFile(uintptr(fd), "fanotify")
	defer file.Close()
	f.state.Store("fanotify")
	for i, x := range f.cfg.Folders {
		f.walk(x.Path, i, nil)
	}
	for _, p := range f.cfg.Integrity {
		f.walk(p, -1, nil)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	in := make(chan []byte)
	go func() {
		defer close(in)
		for {
			b := make([]byte, 64<<10)
			n, err := file.Read(b)
			if err != nil {
				return
			}
			select {
			case in <- b[:n]:
			case <-ctx.Done():
				return
			}
		}
	}()
	return f.follow(ctx, q, file, in)
}

// follow takes notices and compares files until ctx ends.
func (f *Folders) follow(ctx context.Context, q *collect.Queue, file *os.File, in <-chan []byte) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	var compared <-chan struct{}
	if f.base != nil {
		done := make(chan struct{})
		compared = done
		go func() { defer close(done); f.base.run(ctx, q) }()
	}
	for {
		select {
		case <-ctx.Done():
			err := file.Close() // ends the reader
			for range in {
			}
			if compared != nil {
				<-compared
			}
			return err
		case b, ok := <-in:
			if !ok {
				in = nil
				if ctx.Err() == nil {
					f.state.Store("the kernel tells nothing any more")
				}
				continue
			}
			if err := notices(b, func(n notice) { f.notice(q, n) }); err != nil {
				f.lost.Add(1)
			}
		case <-tick.C:
			f.forget()
		}
	}
}

func (f *Folders) compareOnly(ctx context.Context, q *collect.Queue) error {
	if f.base != nil {
		f.base.run(ctx, q)
	}
	return nil
}

// forget drops what was told long ago.
func (f *Folders) forget() {
	if len(f.recent) < maxRecent/2 {
		return
	}
	now := f.deps.Now()
	for k, at := range f.recent {
		if now.Sub(at) > readAgain {
			delete(f.recent, k)
		}
	}
}

// walk marks a folder and all below it. found gets the files that were there
// already. Links are not followed, and other volumes not entered.
func (f *Folders) walk(root string, folder int, found func(path string)) {
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // it went meanwhile, or may not be read
		case !e.IsDir():
			if path == root { // a single file of the integrity list: its folder tells of it
				f.mark(filepath.Dir(path), folder)
			} else if found != nil {
				found(path)
			}
			return nil
		case len(f.dirs) >= maxDirs:
			return fs.SkipAll
		}
		return f.mark(path, folder)
	})
	if err != nil {
		f.deps.Log.Warn("folder is not watched", "folder", root, "err", err)
	}
}

// Masks of what the kernel tells.
const (
	maskChanges = unix.FAN_CLOSE_WRITE | unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO | unix.FAN_EVENT_ON_CHILD | unix.FAN_ONDIR
	maskExact   = maskChanges | unix.FAN_MODIFY | unix.FAN_ATTRIB
	maskReads   = maskChanges | unix.FAN_OPEN | unix.FAN_ACCESS | unix.FAN_CLOSE_NOWRITE
)

func (f *Folders) mark(path string, folder int) error {
	key, err := handleOf(path)
	if err != nil {
		return fmt.Errorf("handle of %s: %w", path, err)
	}
	d := f.dirs[string(key)]
	if d.path == "" {
		d = dir{path: path, folder: -1}
	}
	mask := uint64(maskExact)
	if folder >= 0 {
		d.folder = folder
		if mask = maskChanges | unix.FAN_OPEN; f.cfg.Folders[folder].Protected {
			mask = maskReads
		}
	} else {
		d.exact = true
	}
	if err := unix.FanotifyMark(f.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_ONLYDIR, mask, unix.AT_FDCWD, path); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return fmt.Errorf("mark %s: %w", path, err)
	}
	d.path = path
	f.dirs[string(key)] = d
	f.marked.Store(int64(len(f.dirs)))
	return nil
}

// handleOf is how notices name a folder.
func handleOf(path string) ([]byte, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, err
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(st.Fsid.Val[0]))
	b = binary.NativeEndian.AppendUint32(b, uint32(st.Fsid.Val[1]))
	b = binary.NativeEndian.AppendUint32(b, uint32(h.Size()))
	b = binary.NativeEndian.AppendUint32(b, uint32(h.Type()))
	return append(b, h.Bytes()...), nil
}

// notice takes one. What this agent does itself is nobody's business.
func (f *Folders) notice(q *collect.Queue, n notice) {
	if n.mask&unix.FAN_Q_OVERFLOW != 0 {
		f.overflow(q)
		return
	}
	d, ok := f.dirs[string(n.dir)]
	if !ok || n.pid == int32(os.Getpid()) {
		return
	}
	now := f.deps.Now()
	who := f.people.of(n.pid, now) // at the first notice, while it lives
	name := string(n.name)
	if name == "" || name == "." {
		return
	}
	path := filepath.Join(d.path, strings.ToValidUTF8(name, "\uFFFD"))
	if n.mask&unix.FAN_ONDIR != 0 {
		f.folderChanged(q, n, d, path, who)
		return
	}
	if d.exact && f.base != nil {
		f.base.touched(path, who, n.mask&^unix.FAN_MODIFY != 0)
	}
	if d.folder >= 0 {
		f.told(q, n.mask, d, path, who, now)
	}
}

// told makes events of what happened to a file.
func (f *Folders) told(q *collect.Queue, mask uint64, d dir, path string, who actor, now time.Time) {
	if mask&unix.FAN_CLOSE_WRITE != 0 {
		f.put(q, written, "written", d, path, who, now, writeOnce)
	}
	if mask&unix.FAN_DELETE != 0 {
		f.put(q, deleted, "deleted", d, path, who, now, 0)
	}
	if mask&unix.FAN_MOVED_FROM != 0 {
		f.put(q, renamed, "moved-away", d, path, who, now, 0)
	}
	if mask&unix.FAN_MOVED_TO != 0 {
		f.put(q, renamed, "moved-here", d, path, who, now, 0)
	}
	if mask&(unix.FAN_ACCESS|unix.FAN_CLOSE_NOWRITE) != 0 && f.cfg.Folders[d.folder].Protected {
		f.put(q, read, "read", d, path, who, now, readAgain)
	}
}

// put tells of it, once in a while for the same process and file.
func (f *Folders) put(q *collect.Queue, category, change string, d dir, path string, who actor, now time.Time, once time.Duration) {
	if once > 0 {
		key := strconv.Itoa(who.pid) + category + path
		if at, ok := f.recent[key]; ok && now.Sub(at) < once {
			return
		}
		if len(f.recent) >= maxRecent {
			clear(f.recent)
		}
		f.recent[key] = now
	}
	x := f.cfg.Folders[d.folder]
	fields := map[string]string{"TargetFilename": path, "Change": change, "Folder": x.Path}
	who.fill(fields)
	if x.Protected {
		fields["Protected"] = "true"
	}
	if !f.hours[d.folder].On(now) {
		fields["OffDuty"] = "true"
	}
	q.Put(told(now, category, "folder", fields))
}

// folderChanged follows folders that come. What was written into one before it
// was marked is told as the doing of whoever made it.
func (f *Folders) folderChanged(q *collect.Queue, n notice, d dir, path string, who actor) {
	if n.mask&(unix.FAN_CREATE|unix.FAN_MOVED_TO) == 0 {
		return
	}
	folder := d.folder
	late := func(file string) {
		if d.exact && f.base != nil {
			f.base.touched(file, who, true)
		}
		if folder >= 0 {
			f.put(q, written, "written", d, file, who, f.deps.Now(), writeOnce)
		}
	}
	if d.exact {
		f.walk(path, -1, nil)
	}
	f.walk(path, folder, late)
}

// overflow says that the kernel had no room, and compares everything again.
func (f *Folders) overflow(q *collect.Queue) {
	f.lost.Add(1)
	q.Put(event.Event{Time: f.deps.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "agent",
		Fields: map[string]string{"Event": "files-lost", "Times": strconv.FormatInt(f.lost.Load(), 10)}})
	for i, x := range f.cfg.Folders { // folders may have come meanwhile
		f.walk(x.Path, i, nil)
	}
	if f.base != nil {
		f.base.again()
	}
}
