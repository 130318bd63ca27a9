package scan

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/evtx"
)

// bigLog is from where on one event log is worth several cores.
const bigLog = 32 << 20

// chunksAhead is how many chunks of 64 KiB may wait for each core.
const chunksAhead = 4

// chunked reads a large event log with several cores: its chunks stand for
// themselves, and the order of the findings does not depend on who reads them.
func (w *worker) chunked(r *bufio.Reader) error {
	jobs := w.run.opt.Jobs
	chunks := make(chan evtx.Chunk, jobs*chunksAhead)
	room := sync.Pool{New: func() any { return new([]byte) }}
	helpers := make([]*helper, jobs)
	var wg sync.WaitGroup
	for i := range helpers {
		h := newHelper(w)
		helpers[i] = h
		wg.Go(func() { h.run(chunks, &room) })
	}
	opt := evtx.Options{MaxDamage: source.MaxBad}
	got, err := evtx.Chunks(w.ctx, r, opt, func(c evtx.Chunk) error {
		c.Data = append((*room.Get().(*[]byte))[:0], c.Data...)
		select {
		case chunks <- c:
			return nil
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	})
	close(chunks)
	wg.Wait()
	rep := evtxReport(got)
	for _, h := range helpers {
		err = errors.Join(err, h.end(w, &rep))
	}
	slices.SortFunc(rep.Bad, func(a, b source.Bad) int { return int(a.Offset - b.Offset) })
	return errors.Join(bad(kindEVTX, rep), w.stop(err))
}

// helper decodes chunks for a worker.
type helper struct {
	*worker
	decoder *evtx.Decoder
	err     error
}

func newHelper(w *worker) *helper {
	h := &helper{worker: newWorker(w.run, w.ctx), decoder: evtx.NewDecoder(evtx.Options{MaxDamage: source.MaxBad})}
	h.place, h.at = w.place, w.at
	return h
}

func (h *helper) run(chunks <-chan evtx.Chunk, room *sync.Pool) {
	for c := range chunks {
		if h.err == nil {
			h.err = h.decode(c)
		}
		room.Put(&c.Data)
	}
}

func (h *helper) decode(c evtx.Chunk) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a mistake of Sonae, please report it: %v", p)
		}
	}()
	return h.decoder.Decode(c, h.record)
}

// end hands over what the helper counted.
func (h *helper) end(w *worker, rep *source.Report) error {
	got := evtxReport(h.decoder.Report())
	rep.Records += got.Records
	all := append(rep.Bad, got.Bad...)
	rep.Bad, rep.BadTotal = all, rep.BadTotal+got.BadTotal
	w.stats.Events += h.stats.Events
	h.stats.Events = 0
	if h.broken != nil {
		w.broken = h.broken
	}
	h.done()
	return h.err
}
