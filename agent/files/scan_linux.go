package files

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence/antivirus"
)

// Scanner lets an antivirus program look at what untrusted programs wrote, and
// at what is on removable media when it is opened. It implements
// collect.Collector.
//
// The kernel tells of each file that was closed after writing (fanotify, by the
// file's handle, so that nothing is held open while it waits and a new name
// does not lose it). Nobody is made to wait: a file is looked at after it was
// written. A file that waits is asked about once, however often it is written.
type Scanner struct {
	cfg    ScanConfig
	deps   ScanDeps
	sys    string // /sys
	mounts string // /proc/self/mountinfo

	fd     int
	trust  *trust
	people *people
	marked map[string]bool // mounts that were tried, by id

	mu      sync.Mutex
	volumes map[fsid]volume
	waiting []*scanJob
	known   map[string]*scanJob // those that wait, by handle

	done map[string]seenFile // by handle; the goroutine that scans uses it

	scanned, found, lost, large, failed atomic.Uint64
	refused, state                      atomic.Value // string
}

type fsid [8]byte

// volume is how files of a file system are reached.
type volume struct {
	point     string
	whole     bool // the mount shows all of it
	removable bool
}

// scanJob is a file that waits.
type scanJob struct {
	handle string // with fsid, as notices name it
	who    actor
	due    time.Time
}

// seenFile is when a file was scanned, and what it was then.
type seenFile struct {
	at                 time.Time
	size, mtime, ctime int64
}

// Bounds and times of scanning.
const (
	maxWaiting  = 4096
	maxSeenScan = 65_536
	scanGap     = 10 * time.Second // a file that is written on and on is scanned once in that time
	volumeEvery = 2 * time.Second
	scanRetry   = 5 * time.Second // after the antivirus program did not answer
	scanIdle    = 100 * time.Millisecond
	scanTell    = 10 * time.Second // between two looks at what was not scanned
)

// remote are file systems of other machines: who serves them scans them, and one
// that does not answer must not hold up this machine.
var remote = strings.Fields("nfs nfs4 cifs smb3 ceph 9p afs lustre")

// pseudo are file systems without files of people.
var pseudo = strings.Fields("proc sysfs cgroup cgroup2 devpts devtmpfs mqueue debugfs tracefs securityfs pstore bpf configfs fusectl hugetlbfs autofs binfmt_misc rpc_pipefs nsfs efivarfs selinuxfs")

// NewScanner makes the collector; nil without an antivirus program.
func NewScanner(cfg ScanConfig, d ScanDeps) *Scanner {
	if d.Virus == nil {
		return nil
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	s := &Scanner{cfg: cfg, deps: d, sys: "/sys", mounts: "/proc/self/mountinfo", fd: -1, trust: newTrust(cfg.Allow), people: newPeople(),
		marked: map[string]bool{}, volumes: map[fsid]volume{}, known: map[string]*scanJob{}, done: map[string]seenFile{}}
	s.state.Store("not started")
	s.refused.Store("")
	return s
}

// Name implements collect.Collector.
func (s *Scanner) Name() string { return "antivirus" }

// Status implements collect.Collector.
func (s *Scanner) Status() string {
	s.mu.Lock()
	waiting, volumes := len(s.waiting), len(s.volumes)
	s.mu.Unlock()
	text := fmt.Sprintf("%s, %d volumes, %d files scanned, %d with a virus, %d wait; not scanned: %d no room, %d too large, %d not readable",
		s.state.Load(), volumes, s.scanned.Load(), s.found.Load(), waiting, s.lost.Load(), s.large.Load(), s.failed.Load())
	if r := s.refused.Load(); r != "" {
		text += fmt.Sprintf("; not watched: %s", r)
	}
	return text
}

// Run implements collect.Collector.
func (s *Scanner) Run(ctx context.Context, q *collect.Queue) error {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_REPORT_FID, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		s.state.Store("off: " + err.Error())
		return fmt.Errorf("what untrusted programs write is not scanned: %w", err)
	}
	s.fd = fd
	file := os.NewFile(uintptr(fd), "fanotify")
	s.look()
	s.state.Store("on")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var parts sync.WaitGroup
	parts.Go(func() { s.read(file) })
	parts.Go(func() { s.scanAll(ctx, q) })
	parts.Go(func() { s.tell(ctx, q) })
	tick := time.NewTicker(volumeEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			s.look()
		}
	}
	err = file.Close() // ends the reader
	parts.Wait()
	return err
}

// look marks volumes that came.
func (s *Scanner) look() {
	b, err := os.ReadFile(s.mounts)
	if err != nil {
		s.deps.Log.Warn("mounts cannot be read", "err", err)
		return
	}
	now, volumes := map[string]bool{}, map[fsid]volume{}
	var refused []string
	for _, m := range s.wanted(parseMounts(b)) {
		_, out := mediumOf(s.sys, m)
		if !s.marked[m.id] {
			if err := s.mark(m.point, out); err != nil {
				refused = append(refused, fmt.Sprintf("%s (%s): %v", m.point, m.kind, err))
				continue
			}
		}
		var st unix.Statfs_t
		if unix.Statfs(m.point, &st) != nil {
			continue
		}
		now[m.id] = true
		id := idOf(&st)
		if v, ok := volumes[id]; !ok || m.root == "/" && !v.whole {
			volumes[id] = volume{m.point, m.root == "/", out}
		}
	}
	s.marked = now
	s.mu.Lock()
	s.volumes = volumes
	s.mu.Unlock()
	if text := strings.Join(refused, ", "); text != s.refused.Swap(text) && text != "" {
		s.deps.Log.Warn("files on these volumes are not scanned", "volumes", text)
	}
}

// wanted are the mounts that may hold files that are wanted.
func (s *Scanner) wanted(all []mount) []mount {
	all = slices.DeleteFunc(all, func(m mount) bool {
		return slices.Contains(pseudo, m.kind) || slices.Contains(remote, m.kind) || strings.HasPrefix(m.kind, "fuse.")
	})
	if len(s.cfg.Folders) == 0 {
		return all
	}
	above := map[string]string{} // the mount on which a folder lies
	for _, f := range s.cfg.Folders {
		for _, m := range all {
			if under(m.point, f) && len(m.point) > len(above[f]) {
				above[f] = m.point
			}
		}
	}
	return slices.DeleteFunc(all, func(m mount) bool {
		return !slices.ContainsFunc(s.cfg.Folders, func(f string) bool { return above[f] == m.point || under(f, m.point) })
	})
}

// under says whether path is dir or lies below it.
func under(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

func (s *Scanner) mark(point string, removable bool) error {
	mask := uint64(unix.FAN_CLOSE_WRITE)
	if removable {
		mask |= unix.FAN_OPEN
	}
	return unix.FanotifyMark(s.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, mask, unix.AT_FDCWD, point)
}

func idOf(st *unix.Statfs_t) (id fsid) {
	binary.NativeEndian.PutUint32(id[:], uint32(st.Fsid.Val[0]))
	binary.NativeEndian.PutUint32(id[4:], uint32(st.Fsid.Val[1]))
	return id
}

// read takes what the kernel tells until the file is closed.
func (s *Scanner) read(file *os.File) {
	b := make([]byte, 64<<10)
	for {
		n, err := file.Read(b)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				s.state.Store("the kernel tells nothing any more: " + err.Error())
			}
			return
		}
		if err := notices(b[:n], s.notice); err != nil {
			s.lost.Add(1)
		}
	}
}

// notice lets a file wait for its look, unless a trusted program wrote it.
func (s *Scanner) notice(n notice) {
	if n.mask&unix.FAN_Q_OVERFLOW != 0 || len(n.file) < len(fsid{}) {
		s.lost.Add(1)
		return
	}
	if n.pid == int32(os.Getpid()) {
		return
	}
	s.mu.Lock()
	v := s.volumes[fsid(n.file)]
	s.mu.Unlock()
	if !v.removable && n.mask&unix.FAN_CLOSE_WRITE == 0 {
		return
	}
	who := s.people.of(n.pid, s.deps.Now()) // while it lives: to ask the package database takes a while
	if !v.removable && s.trust.of(n.pid) {
		return
	}
	s.put(&scanJob{handle: string(n.file), who: who, due: s.deps.Now()})
}

func (s *Scanner) put(j *scanJob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[j.handle] != nil {
		return
	}
	if len(s.waiting) >= maxWaiting {
		s.lost.Add(1)
		return
	}
	s.known[j.handle] = j
	s.waiting = append(s.waiting, j)
}

// take is the first file whose time has come. From then on it is asked about
// again when it is written again.
func (s *Scanner) take() *scanJob {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.deps.Now()
	i := slices.IndexFunc(s.waiting, func(j *scanJob) bool { return !j.due.After(now) })
	if i < 0 {
		return nil
	}
	j := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	delete(s.known, j.handle)
	return j
}

// scanAll scans one file after the other until ctx ends. While the antivirus
// program does not answer, they wait.
func (s *Scanner) scanAll(ctx context.Context, q *collect.Queue) {
	down := false
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = 0
		j := s.take()
		if j == nil {
			wait = scanIdle
			continue
		}
		err := s.scan(ctx, j)
		if ctx.Err() != nil {
			return
		}
		if off := err != nil; off != down {
			down = off
			s.say(q, off, err)
		}
		if err != nil {
			s.put(j)
			wait = scanRetry
		}
	}
}

func (s *Scanner) say(q *collect.Queue, off bool, err error) {
	if !off {
		s.state.Store("on")
		s.deps.Log.Info("the antivirus program answers again")
		q.Put(health(s.deps.Now(), "antivirus-on", nil))
		return
	}
	s.state.Store("the antivirus program does not answer")
	s.deps.Log.Error("the antivirus program does not answer", "err", err)
	q.Put(health(s.deps.Now(), "antivirus-off", map[string]string{"Reason": err.Error()}))
}

// scan looks at one file. An error says that the antivirus program did not.
func (s *Scanner) scan(ctx context.Context, j *scanJob) error {
	f, err := s.open(j.handle)
	if err != nil {
		if !errors.Is(err, unix.ESTALE) { // else it was deleted, and harms nobody
			s.failed.Add(1)
		}
		return nil
	}
	defer f.Close()
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 || !s.inside(path) {
		return nil
	}
	now := seenFile{s.deps.Now(), st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
	if last, ok := s.done[j.handle]; ok {
		if last.size == now.size && last.mtime == now.mtime && last.ctime == now.ctime {
			return nil
		}
		if due := last.at.Add(scanGap); now.at.Before(due) && !now.at.Before(last.at) {
			j.due = due
			s.put(j)
			return nil
		}
	}
	if st.Size > s.cfg.MaxBytes {
		s.large.Add(1)
		s.remember(j.handle, now)
		return nil
	}
	sum := sha256.New()
	all := io.TeeReader(io.LimitReader(f, s.cfg.MaxBytes), sum)
	res, err := s.deps.Virus.Scan(ctx, all)
	if err != nil {
		if _, down := s.deps.Virus.Scan(ctx, strings.NewReader("")); down != nil {
			return err
		}
		res = antivirus.Result{Verdict: antivirus.Failed} // it answers, but not about this file, which must not hold up all others
	}
	s.remember(j.handle, now)
	switch res.Verdict {
	case antivirus.Clean:
		s.scanned.Add(1)
	case antivirus.TooLarge:
		s.large.Add(1)
	case antivirus.Infected:
		s.scanned.Add(1)
		s.found.Add(1)
		hash := ""
		if _, err := io.Copy(io.Discard, all); err == nil { // what it did not want to read any more
			hash = hex.EncodeToString(sum.Sum(nil))
		}
		s.deps.Found(infected(now.at, path, hash, res.Signature, j.who))
	default:
		s.failed.Add(1)
	}
	return nil
}

func (s *Scanner) remember(handle string, f seenFile) {
	if len(s.done) >= maxSeenScan {
		clear(s.done)
	}
	s.done[handle] = f
}

func (s *Scanner) inside(path string) bool {
	return len(s.cfg.Folders) == 0 || slices.ContainsFunc(s.cfg.Folders, func(f string) bool { return under(f, path) })
}

// open opens a file by its handle, wherever it is called now.
func (s *Scanner) open(handle string) (*os.File, error) {
	id, h := fsid([]byte(handle)), []byte(handle[len(fsid{}):])
	s.mu.Lock()
	v, ok := s.volumes[id]
	s.mu.Unlock()
	if !ok || len(h) < handleHead {
		return nil, unix.ESTALE // the volume went
	}
	mount, err := unix.Open(v.point, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mount)
	fd, err := unix.OpenByHandleAt(mount, unix.NewFileHandle(int32(binary.NativeEndian.Uint32(h[4:])), h[handleHead:]), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOATIME)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "scanned"), nil
}

// infected is what is told of a file, in the words that the hub uses for
// evidence.
func infected(at time.Time, path, hash, signature string, who actor) event.Event {
	f := map[string]string{"Filename": strings.ToValidUTF8(path, "\uFFFD"), "Signature": signature, "Action": "none"}
	if hash != "" {
		f["Hashes"] = "SHA256=" + hash
	}
	who.fill(f)
	return event.Event{Time: at.UTC(), Kind: event.KindLog, Product: "sonae", Category: "antivirus", Service: "clamav", Fields: f}
}

// tell counts what was not looked at, when it became more.
func (s *Scanner) tell(ctx context.Context, q *collect.Queue) {
	tick := time.NewTicker(scanTell)
	defer tick.Stop()
	var said uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		lost, large, failed := s.lost.Load(), s.large.Load(), s.failed.Load()
		if n := lost + large + failed; n > said {
			said = n
			q.Put(health(s.deps.Now(), "antivirus-unscanned", map[string]string{"Lost": strconv.FormatUint(lost, 10), "TooLarge": strconv.FormatUint(large, 10), "Failed": strconv.FormatUint(failed, 10)}))
		}
	}
}

func health(at time.Time, what string, f map[string]string) event.Event {
	if f == nil {
		f = map[string]string{}
	}
	f["Event"] = what
	return event.Event{Time: at.UTC(), Kind: event.KindHealth, Product: "sonae", Service: "agent", Fields: f}
}
