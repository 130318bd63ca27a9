package guard

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kernelWatch judges what the kernel's part tells. It is used by one
// goroutine.
type kernelWatch struct {
	*court
	k     *kernel
	vols  []volume
	look  *sampler
	hands map[proc]*paper
	past  struct{ seen, dropped uint64 }
}

// paper is what one process made and deleted.
type paper struct {
	made []newFile
	gone []oldFile
	used time.Time
}

// newFile is noise that a process wrote into a file that it had not read.
type newFile struct {
	path string
	id   fileID
	at   time.Time
}

// oldFile is a file that a process had read, and that is gone.
type oldFile struct {
	path    string
	id      fileID
	size    int64
	at      time.Time
	covered bool // another file stands in its place
}

func newWatch(g *Guard, k *kernel, vols []volume) *kernelWatch {
	return &kernelWatch{court: newCourt(g), k: k, vols: vols, look: newSampler(), hands: map[proc]*paper{}}
}

// run judges until ctx ends.
func (w *kernelWatch) run(ctx context.Context, records <-chan record) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case r := <-records:
			w.handle(r)
		case pid := <-w.g.spare:
			for _, k := range w.pardon(pid) {
				w.free(k.pid)
			}
		case <-tick.C:
			w.tidy()
			w.learn()
		case <-ctx.Done():
			w.tidy()
			return
		}
	}
}

// tick is the length of the kernel's ticks in /proc, in ns.
const tick = 10_000_000

func (w *kernelWatch) handle(r record) {
	if r.kind == recordExec {
		w.begins(r)
		return
	}
	k := w.tasks.get(r.pid, w.now())
	p := proc{r.pid, r.start / tick}
	if k == nil || k.proc != p {
		k = &task{proc: p, parent: r.parent, image: r.comm} // it has ended; what it did counts for who started it
		w.tasks.all[r.pid] = k
	}
	if k.keep || k.free {
		w.release(r, k, "it may change any file")
		return
	}
	at := sinceBoot(r.at, w.now())
	switch r.kind {
	case recordRise:
		w.turned(p, r, WhyRise, at)
	case recordMagic:
		w.turned(p, r, WhyMagic, at)
	case recordChanged:
		w.changed(p, r, at)
	case recordMade:
		w.wrote(p, r, at)
	case recordRenamed, recordGone:
		w.moved(p, r, at)
	}
	if w.still(r.pid, at) || w.decide(p) {
		return
	}
	if r.kind == recordStopped {
		w.goOn(r, k)
	}
}

// begins looks at a program that begins, when that may matter.
func (w *kernelWatch) begins(r record) {
	if !tampering[r.comm] && !w.special(r.comm) {
		return
	}
	now := w.now()
	k := w.tasks.fresh(r.pid, now)
	if k == nil {
		return
	}
	if k.keep || k.free {
		w.free(r.pid)
		return
	}
	if args := commandLine(r.pid); tampers(args) {
		w.judge.tampered(k.proc, strings.Join(args, " "), now)
		w.decide(k.proc)
	}
}

// special says whether a program of that name may be allowed.
func (w *kernelWatch) special(comm string) bool {
	for path := range w.g.allow.sums {
		if base := filepath.Base(path); base[:min(len(base), 15)] == comm {
			return true
		}
	}
	return false
}

// free tells the kernel that a process may do what it likes.
func (w *kernelWatch) free(pid int) {
	if err := w.k.free(pid); err != nil {
		w.g.log.Warn("not told to the kernel", "pid", pid, "err", err)
	}
}

// release lets a process go on for good.
func (w *kernelWatch) release(r record, k *task, why string) {
	w.free(r.pid)
	if r.kind == recordStopped {
		w.cont(r, k, why)
	}
}

// goOn lets a process go on that the kernel stopped for what turned out to be
// less.
func (w *kernelWatch) goOn(r record, k *task) {
	more := max(1, limit+w.usual(k.proc)-w.judge.turned(k.proc))
	if err := w.k.grant(r.pid, r.start, r.turned, uint32(more)); err != nil {
		w.g.log.Warn("not told to the kernel", "pid", k.pid, "err", err)
	}
	w.cont(r, k, "what it writes is what its files say")
}

func (w *kernelWatch) cont(r record, k *task, why string) {
	if err := unix.Kill(r.pid, unix.SIGCONT); err != nil {
		return // it is gone
	}
	t := Thawed{PID: r.pid, Image: k.image, Stood: w.now().Sub(sinceBoot(r.at, w.now())), Why: why}
	w.g.mu.Lock()
	w.g.st.Thawed++
	w.g.mu.Unlock()
	w.g.log.Info("process goes on", "pid", t.PID, "image", t.Image, "stood", t.Stood, "why", why)
	if w.g.cfg.OnThaw != nil {
		w.g.cfg.OnThaw(t)
	}
}

// find is where a file of a volume is, as the kernel called it.
func (w *kernelWatch) find(dev uint32, below string) string {
	best := ""
	for _, v := range w.vols {
		if v.dev == dev {
			if path := v.pathIn(below); best == "" || w.g.below(path) {
				best = path
			}
		}
	}
	return best
}

// peek samples a file, when it still is the one that was meant.
func (w *kernelWatch) peek(path string, ino uint64) (Sample, bool) {
	f, size := openSame(path, ino)
	if f == nil {
		return Sample{}, false
	}
	defer f.Close()
	s, err := w.look.take(f, size)
	return s, err == nil && s.Blocks > 0
}

// noise says whether any block looks like nothing else.
func (s Sample) noise() bool {
	for i := range s.Blocks {
		if s.Random[i] {
			return true
		}
	}
	return false
}

// turned checks with several whole blocks what the kernel saw in a few bytes.
// Of a file that has another name already the kernel's word is taken.
func (w *kernelWatch) turned(p proc, r record, why Why, at time.Time) {
	path := w.find(r.dev, r.path)
	s, ok := w.peek(path, r.ino)
	switch {
	case ok && !s.noise():
		return
	case ok && s.Kind != kindNone && s.Kind.named(path):
		w.changed(p, r, at) // it has kept its first bytes
		return
	}
	w.lose(p, fileID{uint64(r.dev), r.ino}, path, "", why, at)
}

// changed handles a file of a known type with noise in it that was exchanged
// for other noise. It counts when it is not whole any more.
func (w *kernelWatch) changed(p proc, r record, at time.Time) {
	path, id := w.find(r.dev, r.path), fileID{uint64(r.dev), r.ino}
	if now := nameOf(path, r.ino); stateOf(now, r.ino) == isBroken {
		to := ""
		if now != path {
			to = now
		}
		w.lose(p, id, path, to, WhyDamaged, at)
	}
}

func (w *kernelWatch) lose(p proc, id fileID, path, now string, why Why, at time.Time) {
	w.judge.lose(p, id, Loss{Path: path, Now: now, Why: why, Canary: w.g.decoy.has(path), At: at})
}

func (w *kernelWatch) paperOf(p proc, now time.Time) *paper {
	in := w.hands[p]
	if in == nil {
		if len(w.hands) >= maxHands {
			w.forgetOldest()
		}
		in = &paper{}
		w.hands[p] = in
	}
	in.used = now
	return in
}

func (w *kernelWatch) forgetOldest() {
	var oldest proc
	var at time.Time
	for p, in := range w.hands {
		if at.IsZero() || in.used.Before(at) {
			oldest, at = p, in.used
		}
	}
	delete(w.hands, oldest)
}

// wrote handles noise in a file that the process had not read: a new one may
// be the copy of another; an old one must be what its name says.
func (w *kernelWatch) wrote(p proc, r record, at time.Time) {
	path, id := w.find(r.dev, r.path), fileID{uint64(r.dev), r.ino}
	if !r.created {
		if s, ok := w.peek(path, r.ino); ok && unlike(s, path) != WhyNone {
			w.lose(p, id, path, "", WhyName, at)
			return
		}
	}
	in := w.paperOf(p, at)
	n := newFile{path, id, at}
	for i, o := range in.gone {
		if w.pair(p, o, n) {
			in.gone = append(in.gone[:i], in.gone[i+1:]...)
			return
		}
	}
	if len(in.made) >= maxMade {
		in.made = in.made[1:]
	}
	in.made = append(in.made, n)
}

// moved handles a file that has another name, or none.
func (w *kernelWatch) moved(p proc, r record, at time.Time) {
	from, to := w.resolve(r.pid, r.path), w.resolve(r.pid, r.to)
	in := w.paperOf(p, at)
	if r.kind == recordRenamed {
		for i := len(in.made) - 1; i >= 0; i-- {
			if now, ok := in.made[i].now(r); ok {
				from, to = in.made[i].path, now
				in.made[i].path = now
				break
			}
		}
		w.judge.renamed(p, from, to)
	}
	if r.ino == 0 || r.kind == recordRenamed && !r.canary {
		return
	}
	o := oldFile{path: from, id: fileID{0, r.ino}, size: r.size, at: at, covered: r.canary}
	if o.covered {
		o.path = to
	}
	for i, n := range in.made {
		if w.pair(p, o, n) {
			in.made = append(in.made[:i], in.made[i+1:]...)
			return
		}
	}
	if len(in.gone) >= maxMade {
		in.gone = in.gone[1:]
	}
	in.gone = append(in.gone, o)
}

// pair counts a file that is gone and whose encrypted copy is there.
func (w *kernelWatch) pair(p proc, o oldFile, n newFile) bool {
	if n.at.Sub(o.at).Abs() > pairTime || o.covered && n.path != o.path {
		return false
	}
	s, ok := w.peek(n.path, n.id.ino)
	if !ok || !s.noise() || s.Kind != kindNone && s.Kind.named(n.path) || !sized(o.size, s.Size) {
		return false
	}
	why, now := WhyDeleted, n.path
	if o.covered {
		why, now = WhyReplaced, ""
	}
	w.lose(p, o.id, o.path, now, why, o.at)
	return true
}

// now is what n is called after a rename, if n is what was renamed. The process
// may have named both relative to folders that it holds open; the file's number
// tells whether it is the one.
func (n newFile) now(r record) (string, bool) {
	to := r.to
	if from := filepath.Clean(r.path); !filepath.IsAbs(from) {
		folder, ok := strings.CutSuffix(n.path, "/"+from)
		if !ok {
			return "", false
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(folder, to)
		}
	} else if from != n.path {
		return "", false
	}
	var st unix.Stat_t
	to = filepath.Clean(to)
	return to, unix.Lstat(to, &st) == nil && st.Ino == n.id.ino
}

// resolve completes a path as a process gave it.
func (w *kernelWatch) resolve(pid int, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	dir, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return path
	}
	return filepath.Join(dir, path)
}

// tidy forgets what is old and counts what was seen.
func (w *kernelWatch) tidy() {
	now := w.now()
	for p, in := range w.hands {
		if now.Sub(in.used) > pairTime {
			delete(w.hands, p)
		}
	}
	seen, dropped := w.k.counts()
	w.g.count(seen-w.past.seen, dropped-w.past.dropped)
	w.past.seen, w.past.dropped = seen, dropped
}
