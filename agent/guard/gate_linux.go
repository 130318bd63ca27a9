package guard

import (
	"context"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// held is a file that a process has opened, kept open so that it can be looked
// at again whatever it is called by then, and also when it was deleted.
type held struct {
	f    *os.File
	id   fileID
	path string // when it was opened
	pre  Sample
	made bool // it was empty
	last stamp
	n    uint64    // links
	next time.Time // it is not sampled again before
	at   time.Time
}

// made is a new file that holds something.
type made struct {
	path   string
	sample Sample
	at     time.Time
}

// gone is a file that was deleted.
type gone struct {
	held *held
	at   time.Time
}

// hands is what one process has in hand.
type hands struct {
	held []*held // oldest first
	made []made
	gone []gone
	used time.Time
}

// Bounds of the gate.
const (
	maxHeld  = 32 // files of one process
	maxHands = 256
	maxMade  = 128
	maxPre   = 8192
	pairTime = 10 * time.Second // between writing a copy and deleting the original
	pairNote = 32 << 10         // a note to a person is shorter
	again    = 20 * time.Millisecond
	holdTime = 3 * time.Second // a file is kept open as long as that
)

// gate stands before every open of a watched file: before it lets a process
// go on to the next file, it looks at what became of those before. It is used
// by one goroutine.
type gate struct {
	*court
	grp   *group
	look  *sampler
	hands map[proc]*hands
	pre   map[fileID]Sample // of files that are held no more
}

func newGate(g *Guard, grp *group) *gate {
	return &gate{court: newCourt(g), grp: grp, look: newSampler(), hands: map[proc]*hands{}, pre: map[fileID]Sample{}}
}

func (w *gate) close() {
	for p := range w.hands {
		w.release(p)
	}
}

// run answers until ctx ends.
func (w *gate) run(ctx context.Context, events <-chan happening) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	folders := time.NewTicker(lookAgain)
	defer folders.Stop()
	for {
		select {
		case h := <-events:
			if h.mask&unix.FAN_OPEN_PERM != 0 {
				w.open(h)
			} else {
				w.closed(h)
			}
		case pid := <-w.g.spare:
			w.pardon(pid)
		case <-tick.C:
			w.tidy()
			w.learn()
		case <-folders.C:
			for _, dir := range w.g.cfg.Watch {
				if err := w.grp.mark(dir); err != nil {
					w.g.log.Warn("folder not watched", "err", err)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// open lets a process open a file, or stops it.
func (w *gate) open(h happening) {
	k := w.tasks.get(h.pid, w.now())
	path := pathOf(h.fd)
	if k == nil || k.keep || k.free || !w.g.below(path) {
		w.grp.answer(h.fd, false)
		unix.Close(h.fd)
		return
	}
	stop := w.still(h.pid, w.now())
	if !stop {
		w.review(k.proc)
		stop = w.decide(k.proc)
	}
	if stop {
		w.grp.answer(h.fd, truncates(h.pid))
		unix.Close(h.fd)
		return
	}
	kept := w.hold(k.proc, h.fd, path)
	w.grp.answer(h.fd, false)
	if !kept {
		unix.Close(h.fd)
	}
}

// hold keeps a file that is about to be opened, with what it holds now.
func (w *gate) hold(p proc, fd int, path string) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	now := w.now()
	in := w.hand(p, now)
	id := fileID{st.Dev, st.Ino}
	for _, h := range in.held {
		if h.id == id {
			h.at = now
			return false // what it was when it was opened first is what counts
		}
	}
	h := &held{f: os.NewFile(uintptr(fd), path), id: id, path: path, made: st.Size == 0, last: stampOf(&st), n: uint64(st.Nlink), at: now}
	if old, ok := w.pre[id]; ok && old.Size == st.Size {
		h.pre = old
		delete(w.pre, id)
	} else if s, err := w.look.take(h.f, st.Size); err == nil {
		h.pre = s
	}
	if len(in.held) >= maxHeld {
		w.drop(in, 0)
	}
	in.held = append(in.held, h)
	return true
}

func (w *gate) hand(p proc, now time.Time) *hands {
	in := w.hands[p]
	if in == nil {
		if len(w.hands) >= maxHands {
			w.oldest()
		}
		in = &hands{}
		w.hands[p] = in
	}
	in.used = now
	return in
}

func (w *gate) oldest() {
	var oldest proc
	var at time.Time
	for p, in := range w.hands {
		if at.IsZero() || in.used.Before(at) {
			oldest, at = p, in.used
		}
	}
	w.release(oldest)
}

// drop lets go of one file, but not of what it held.
func (w *gate) drop(in *hands, i int) {
	h := in.held[i]
	in.held = append(in.held[:i], in.held[i+1:]...)
	w.remember(h)
	_ = h.f.Close() // read only
}

func (w *gate) remember(h *held) {
	if len(w.pre) >= maxPre {
		clear(w.pre)
	}
	if h.pre.Blocks > 0 {
		w.pre[h.id] = h.pre
	}
}

func (w *gate) release(p proc) {
	in := w.hands[p]
	for len(in.held) > 0 {
		w.drop(in, 0)
	}
	delete(w.hands, p)
}

// review looks at what became of the files that p has in hand.
func (w *gate) review(p proc) {
	in := w.hands[p]
	if in == nil {
		return
	}
	for i := len(in.held) - 1; i >= 0; i-- {
		if w.became(p, in, in.held[i], false) {
			w.drop(in, i)
		}
	}
}

// became looks at one file. It says whether nothing more is to be seen.
func (w *gate) became(p proc, in *hands, h *held, closed bool) bool {
	var st unix.Stat_t
	if unix.Fstat(int(h.f.Fd()), &st) != nil {
		return true
	}
	s, now := stampOf(&st), w.now()
	if st.Nlink == 0 {
		w.deleted(p, in, h, now)
		return true
	}
	if !closed && (s == h.last || now.Before(h.next)) {
		return false
	}
	h.last, h.next = s, now.Add(again)
	post, err := w.look.like(h.f, st.Size, h.pre)
	if err != nil || post.Blocks == 0 {
		return false
	}
	path := pathOf(int(h.f.Fd()))
	if h.made {
		if closed {
			w.madeNew(p, in, made{path, post, now}, h.f)
		}
		return closed
	}
	why := compare(h.pre, post, path)
	if why == WhyNone && exchanged(h.pre, post) && broken(h.f, st.Size, post.Kind) {
		why = WhyDamaged
	}
	if why != WhyNone {
		w.lose(p, h.id, h.path, path, why, h.at)
	}
	return false
}

// lose counts a file.
func (w *gate) lose(p proc, id fileID, was, path string, why Why, at time.Time) {
	l := Loss{Path: was, Why: why, Canary: w.g.decoy.has(was), At: at}
	if path != was {
		l.Now = path
	}
	w.judge.lose(p, id, l)
}

// deleted looks at what stands in the place of a file that is gone.
func (w *gate) deleted(p proc, in *hands, h *held, now time.Time) {
	if h.made || h.pre.Blocks == 0 {
		return
	}
	if f, err := os.Open(h.path); err == nil {
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return
		}
		if post, err := w.look.like(f, info.Size(), h.pre); err == nil && compare(h.pre, post, h.path) != WhyNone {
			w.lose(p, h.id, h.path, h.path, WhyReplaced, h.at)
		}
		return
	}
	g := gone{h, now}
	for i, m := range in.made {
		if w.pair(p, g, m) {
			in.made = append(in.made[:i], in.made[i+1:]...)
			return
		}
	}
	if len(in.gone) < maxMade {
		in.gone = append(in.gone, g)
	}
}

// pair counts a deleted file whose encrypted copy was made.
func (w *gate) pair(p proc, g gone, m made) bool {
	if m.at.Sub(g.at).Abs() > pairTime || !copied(g.held.pre, m.sample, m.path) {
		return false
	}
	w.lose(p, g.held.id, g.held.path, m.path, WhyDeleted, g.held.at)
	return true
}

// madeNew notes a new file: a copy of one that is gone, or a note.
func (w *gate) madeNew(p proc, in *hands, m made, f *os.File) {
	if m.sample.Size <= pairNote {
		b := make([]byte, min(m.sample.Size, blockSize))
		if n, err := f.ReadAt(b, 0); n > 0 && (err == nil || n == len(b)) && text(b[:n]) {
			w.judge.note(p, m.path, m.at)
			return
		}
	}
	for i, g := range in.gone {
		if w.pair(p, g, m) {
			in.gone = append(in.gone[:i], in.gone[i+1:]...)
			return
		}
	}
	if len(in.made) >= maxMade {
		in.made = in.made[1:]
	}
	in.made = append(in.made, m)
}

// closed looks at a file that was written to.
func (w *gate) closed(h happening) {
	f := os.NewFile(uintptr(h.fd), "")
	defer f.Close()
	k := w.tasks.get(h.pid, w.now())
	path := pathOf(h.fd)
	if k == nil || k.keep || k.free || !w.g.below(strings.TrimSuffix(path, deleted)) || w.still(h.pid, w.now()) {
		return
	}
	var st unix.Stat_t
	if unix.Fstat(h.fd, &st) != nil {
		return
	}
	in, id := w.hand(k.proc, w.now()), fileID{st.Dev, st.Ino}
	for i, x := range in.held {
		if x.id == id {
			if w.became(k.proc, in, x, true) {
				w.drop(in, i)
			}
			w.decide(k.proc)
			return
		}
	}
	w.unheld(k.proc, in, f, id, path, &st)
	w.decide(k.proc)
}

// unheld looks at a file that was opened too long ago to be held still.
func (w *gate) unheld(p proc, in *hands, f *os.File, id fileID, path string, st *unix.Stat_t) {
	pre := w.pre[id]
	post, err := w.look.like(f, st.Size, pre)
	if err != nil || post.Blocks == 0 {
		return
	}
	now := w.now()
	if pre.Blocks == 0 {
		w.madeNew(p, in, made{path, post, now}, f)
		return
	}
	why := compare(pre, post, path)
	if why == WhyNone && exchanged(pre, post) && broken(f, st.Size, post.Kind) {
		why = WhyDamaged
	}
	if why != WhyNone {
		w.lose(p, id, path, path, why, now)
	}
}

// tidy lets go of what is not needed any more.
func (w *gate) tidy() {
	now := w.now()
	for p, in := range w.hands {
		for i := len(in.held) - 1; i >= 0; i-- {
			if now.Sub(in.held[i].at) > holdTime {
				w.drop(in, i)
			}
		}
		in.made = keepYoung(in.made, func(m made) time.Time { return m.at }, now)
		in.gone = keepYoung(in.gone, func(g gone) time.Time { return g.at }, now)
		if len(in.held)+len(in.made)+len(in.gone) == 0 && now.Sub(in.used) > pairTime {
			delete(w.hands, p)
		}
	}
}

func keepYoung[T any](all []T, at func(T) time.Time, now time.Time) []T {
	for len(all) > 0 && now.Sub(at(all[0])) > pairTime {
		all = all[1:]
	}
	return all
}
