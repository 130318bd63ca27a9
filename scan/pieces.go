package scan

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// pieceSize is about how much of a JSON log one core reads at a time.
const pieceSize = 4 << 20

// piece is a part of a JSON log that stands for itself.
type piece struct {
	data   []byte
	line   uint64 // lines before it
	offset int64  // bytes before it
}

// pieces reads a large JSON log with several cores. It is cut where a line ends
// with a closing brace and the next begins with an opening one: nothing but
// the end of one object and the beginning of the next is written so. Where
// there is no such place, one core reads the rest.
func (w *worker) pieces(r *bufio.Reader, read source.Reader) error {
	jobs := w.run.opt.Jobs
	queue := make(chan piece, jobs)
	room := sync.Pool{New: func() any { return new([]byte) }}
	readers := make([]*pieceReader, jobs)
	var wg sync.WaitGroup
	for i := range readers {
		p := newPieceReader(w, read)
		readers[i] = p
		wg.Go(func() { p.run(queue, &room) })
	}
	rest, at, err := divide(r, pieceSize, &room, func(c piece) error {
		select {
		case queue <- c:
			return nil
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	})
	close(queue)
	wg.Wait()
	if rest != nil && err == nil {
		readers[0].err = errors.Join(readers[0].err, readers[0].read(rest, at))
	}
	var rep source.Report
	for _, p := range readers {
		err = errors.Join(err, p.end(w, &rep))
	}
	slices.SortFunc(rep.Bad, func(a, b source.Bad) int { return int(a.Offset - b.Offset) })
	return errors.Join(bad(kindJSONL, rep), w.stop(err))
}

// divide hands out pieces of about size bytes until one cannot be cut: then the
// rest is returned, with what came before it.
func divide(r io.Reader, size int, room *sync.Pool, each func(piece) error) (rest io.Reader, before piece, err error) {
	var carry []byte
	for at := (piece{}); ; {
		buf := room.Get().(*[]byte)
		b := append(slices.Grow((*buf)[:0], size), carry...)
		n, err := io.ReadFull(r, b[len(b):max(size, len(b))])
		b = b[:len(b)+n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return nil, at, err
		}
		end := len(b)
		if !last {
			end = seam(b)
		}
		if end == 0 && !last {
			return io.MultiReader(bytes.NewReader(b), r), at, nil
		}
		carry = append(carry[:0], b[end:]...)
		lines := bytes.Count(b[:end], []byte{'\n'})
		if err := each(piece{b[:end], at.line, at.offset}); err != nil || last {
			return nil, at, err
		}
		at.line, at.offset = at.line+uint64(lines), at.offset+int64(end)
	}
}

// seam is where the last object begins that can, 0 when there is no such place.
func seam(b []byte) int {
	for end := len(b); ; {
		i := bytes.LastIndex(b[:end], []byte("\n{"))
		if i < 1 {
			return 0
		}
		if before := bytes.TrimSuffix(b[:i], []byte{'\r'}); len(before) > 0 && before[len(before)-1] == '}' {
			return i + 1
		}
		end = i
	}
}

// pieceReader reads pieces for a worker.
type pieceReader struct {
	*worker
	reader source.Reader
	report source.Report
	err    error
}

func newPieceReader(w *worker, read source.Reader) *pieceReader {
	p := &pieceReader{worker: newWorker(w.run, w.ctx), reader: read}
	p.place, p.at, p.aside = w.place, w.at, w.aside
	return p
}

func (p *pieceReader) run(queue <-chan piece, room *sync.Pool) {
	for c := range queue {
		if p.err == nil {
			p.err = p.read(bytes.NewReader(c.data), c)
		}
		room.Put(&c.data)
	}
}

// read reads what begins behind a part of the log.
func (p *pieceReader) read(r io.Reader, behind piece) (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("a mistake of Sonae, please report it: %v", x)
		}
	}()
	rep, err := p.reader(p.ctx, r, p.worker.run.opt.Source, func(e *event.Record) error {
		e.Number += behind.line
		e.Offset += behind.offset
		return p.record(e)
	})
	for _, b := range rep.Bad {
		b.Number += behind.line
		b.Offset += behind.offset
		if len(p.report.Bad) < source.MaxBad {
			p.report.Bad = append(p.report.Bad, b)
		}
	}
	p.report.Records += rep.Records
	p.report.BadTotal += rep.BadTotal
	if errors.Is(err, context.Canceled) {
		return errStopped
	}
	return err
}

// end hands over what the reader counted.
func (p *pieceReader) end(w *worker, rep *source.Report) error {
	rep.Records += p.report.Records
	rep.Bad = append(rep.Bad, p.report.Bad...)
	rep.BadTotal += p.report.BadTotal
	w.stats.Events += p.stats.Events
	p.stats.Events = 0
	if p.broken != nil {
		w.broken = p.broken
	}
	p.done()
	return p.err
}
