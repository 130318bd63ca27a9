package ring

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// writer is the goroutine that writes and removes files.
type writer struct {
	ring   *Ring
	f      *os.File // nil when no segment is open
	at     int64
	seq    uint64 // page that comes next
	opened time.Time
	until  time.Time // nothing is tried before, after a failure
}

// Times of the writer.
const (
	ageEvery = 5 * time.Second
	retry    = time.Second // after a failure
)

func (w *writer) run() {
	defer close(w.ring.done)
	defer w.leave()
	age := time.NewTicker(ageEvery)
	defer age.Stop()
	for {
		select {
		case j, ok := <-w.ring.jobs:
			if !ok {
				return
			}
			w.do(j)
		case <-age.C:
			w.say(w.shrink(0))
		}
	}
}

func (w *writer) do(j job) {
	if j.block != nil {
		err := errLater
		if !w.ring.conf.Now().Before(w.until) {
			err = w.write(j.block.finish(w.seq, j.lane), j.block.first, j.block.last)
		}
		if err != nil {
			w.ring.lost.Add(uint64(j.block.count))
		}
		w.say(err)
		w.ring.free <- j.block
	}
	if j.done != nil {
		close(j.done)
	}
}

// errLater says that a failure was so short a time ago that nothing was tried.
var errLater = errors.New("not tried")

// say keeps why nothing can be written, for Stats, and logs when that changes.
func (w *writer) say(err error) {
	if errors.Is(err, errLater) {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
		w.until = w.ring.conf.Now().Add(retry)
	}
	w.ring.mu.Lock()
	before := w.ring.trouble
	w.ring.trouble = text
	w.ring.mu.Unlock()
	switch {
	case before == "" && text != "":
		w.ring.conf.Log.Error("packets cannot be kept on disk", "err", err)
	case before != "" && text == "":
		w.ring.conf.Log.Info("packets are kept on disk again")
	}
}

// write appends a block, in a new segment when it is time for one. The head of
// the block names the page it will stand on, so that segments may not differ
// from what it was finished for.
func (w *writer) write(b []byte, first, last int64) error {
	err := w.try(b, first, last)
	if err != nil && w.full(err) { // somebody else took the room: give up the oldest of ours
		if err = w.drop(); err == nil {
			err = w.try(b, first, last)
		}
	}
	return err
}

func (w *writer) try(b []byte, first, last int64) error {
	if w.f == nil || w.at+int64(len(b)) > w.ring.conf.segmentSize() || w.ring.conf.Now().Sub(w.opened) > w.ring.conf.Age/16 {
		if err := w.next(); err != nil {
			return err
		}
	}
	if _, err := w.f.WriteAt(b, w.at); err != nil {
		w.leave()
		return fmt.Errorf("write packet ring: %w", err)
	}
	w.at += int64(len(b))
	w.seq += uint64(len(b) / align)
	w.ring.bytes.Add(uint64(len(b)))
	w.ring.mu.Lock()
	defer w.ring.mu.Unlock()
	g := &w.ring.all[len(w.ring.all)-1]
	if g.size == 0 {
		g.first, g.last = first, last
	}
	g.size, g.first, g.last = w.at, min(g.first, first), max(g.last, last)
	return nil
}

// next begins a segment, for which the oldest ones make room.
func (w *writer) next() error {
	w.leave()
	if err := w.shrink(w.ring.conf.segmentSize()); err != nil {
		return err
	}
	f, err := create(w.ring.path(w.seq))
	if err != nil {
		return fmt.Errorf("new segment of the packet ring: %w", err)
	}
	w.f, w.at, w.opened = f, 0, w.ring.conf.Now()
	w.ring.mu.Lock()
	defer w.ring.mu.Unlock()
	w.ring.all = append(w.ring.all, segment{seq: w.seq, known: true})
	return nil
}

// leave closes the segment that is being written. One into which nothing could
// be written is removed, and its name is free again.
func (w *writer) leave() {
	if w.f == nil {
		return
	}
	if err := w.f.Close(); err != nil {
		w.ring.conf.Log.Warn("segment of the packet ring not closed", "err", err)
	}
	w.f = nil
	w.ring.mu.Lock()
	defer w.ring.mu.Unlock()
	last := len(w.ring.all) - 1
	if w.at > 0 || last < 0 {
		return
	}
	if err := os.Remove(w.ring.path(w.ring.all[last].seq)); err != nil {
		w.ring.conf.Log.Warn("empty segment of the packet ring not removed", "err", err)
	}
	w.ring.all = w.ring.all[:last]
}

// shrink removes what is too old, and the oldest until there is room for more
// bytes within the limit and on the disk.
func (w *writer) shrink(more int64) error {
	for {
		old, over := w.tooOld(), w.total()+more > w.ring.conf.Bytes
		short := more > 0 && w.short(more)
		if !old && !over && !short {
			return nil
		}
		if w.total() == 0 {
			if short {
				return fmt.Errorf("the disk has less than %d bytes free", w.ring.conf.MinFree+more)
			}
			return nil
		}
		if err := w.drop(); err != nil {
			return err
		}
	}
}

func (w *writer) total() (n int64) {
	w.ring.mu.Lock()
	defer w.ring.mu.Unlock()
	for _, g := range w.ring.all {
		n += g.size
	}
	return n
}

func (w *writer) tooOld() bool {
	w.ring.mu.Lock()
	defer w.ring.mu.Unlock()
	return len(w.ring.all) > 0 && w.ring.all[0].size > 0 && w.ring.all[0].last < w.ring.conf.Now().Add(-w.ring.conf.Age).UnixNano()
}

// short says whether the disk would have too little room left.
func (w *writer) short(more int64) bool {
	free, ok := freeBytes(w.ring.conf.Dir)
	return ok && free < w.ring.conf.MinFree+more
}

// drop removes the oldest segment.
func (w *writer) drop() error {
	w.ring.mu.Lock()
	if len(w.ring.all) == 0 {
		w.ring.mu.Unlock()
		return errors.New("packet ring: the disk is full and nothing of the ring is left to remove")
	}
	last := len(w.ring.all) == 1
	oldest := w.ring.all[0]
	w.ring.mu.Unlock()
	if last && w.f != nil {
		w.leave()
	}
	if err := os.Remove(w.ring.path(oldest.seq)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("drop the oldest packets: %w", err)
	}
	w.ring.mu.Lock()
	defer w.ring.mu.Unlock()
	if len(w.ring.all) > 0 && w.ring.all[0].seq == oldest.seq {
		w.ring.all = w.ring.all[1:]
	}
	return nil
}

// full says whether an error means that the disk is full.
func (w *writer) full(err error) bool { return errors.Is(err, errFull) }
