package evtx

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/windows"
)

var recordMagic = []byte("**\x00\x00")

// Sizes of a record, in bytes: what stands before its XML, the least a record
// has with the copy of its size at the end, and how many of them a chunk has.
const (
	recordHeader = 24
	recordLeast  = recordHeader + 4
	maxRecords   = chunkSize / recordLeast // in a chunk
)

// Decoder reads the records of chunks. It keeps its buffers from chunk to
// chunk; it is not safe for concurrent use, several of them are.
type Decoder struct {
	opt    Options
	report Report
	names  names

	chunk    Chunk
	programs map[programKey]int // places in code.programs
	code     code               // what the programs of this chunk are made of
	steps    int                // of work on this chunk, against files that are built to take long

	rec      event.Record
	values   []value // of the templates being filled in, a stack
	depth    int     // of templates in templates
	arena    []byte  // text of values that are not text
	host     string  // of the last record
	hostWide []byte  // the same in UTF-16
}

// NewDecoder returns a decoder of which every chunk of a log, or of many, can
// be asked.
func NewDecoder(opt Options) *Decoder {
	return &Decoder{opt: opt, names: newNames(), programs: map[programKey]int{}}
}

// Report tells what all calls of Decode found.
func (d *Decoder) Report() Report { return d.report }

// Decode calls f for every record of c that can be read. It returns f's error.
func (d *Decoder) Decode(c Chunk, f func(*event.Record) error) error {
	d.begin(c)
	w := walk{d: d, f: f, end: len(c.Data)}
	if !c.Headless {
		if len(c.Data) < chunkHeader {
			return nil
		}
		w.header()
	}
	return w.run()
}

func (d *Decoder) begin(c Chunk) {
	d.chunk = c
	clear(d.programs)
	d.code.reset()
	d.steps = 0
}

func (d *Decoder) damage(pos int, id uint64, reason string) {
	d.report.damage(d.opt, Damage{Offset: d.chunk.Offset + int64(pos), Record: id, Reason: reason})
}

// walk goes through the records of one chunk.
type walk struct {
	d       *Decoder
	f       func(*event.Record) error
	pos     int
	end     int    // of the records, as the chunk says
	damaged bool   // the chunk is not to be trusted
	last    uint64 // id of the last record delivered or lost
	known   bool   // last is known, if only from the chunk's header
	final   uint64 // id of the chunk's last record as its header has it, 0 when not known
	carving bool   // pos was found by searching
	any     bool
}

// header takes from the chunk's header where records end.
func (w *walk) header() {
	d, c := w.d, &w.d.chunk
	w.pos = chunkHeader
	if !c.headerSummed() {
		w.damaged = true
		d.damage(0, 0, "checksum of the chunk header is wrong")
	}
	if !c.recordsSummed() {
		w.damaged = true
		d.damage(0, 0, "checksum of the chunk's records is wrong")
	}
	if free := le.Uint32(c.Data[48:]); free >= chunkHeader && int(free) <= len(c.Data) {
		w.end = int(free)
	}
	first, final := le.Uint64(c.Data[24:]), le.Uint64(c.Data[32:])
	if c.headerSummed() && first > 0 && final-first < maxRecords {
		w.last, w.known, w.final = first-1, true, final
	}
}

func (w *walk) run() error {
	for w.d.steps < maxSteps {
		size, ok := w.next()
		if !ok {
			break
		}
		if err := w.record(size); err != nil {
			return err
		}
		w.pos += size
	}
	if w.d.steps >= maxSteps {
		w.d.damage(w.pos, 0, "the chunk is made to take long; the rest is left")
	}
	if w.damaged && w.known && w.final > w.last {
		w.missing(w.final - w.last)
	}
	if w.any {
		w.d.report.Chunks++
	}
	return nil
}

// missing notes that n records after the last one are not there.
func (w *walk) missing(n uint64) {
	w.d.report.Lost += int(n)
	w.d.damage(w.pos, w.last+1, fmt.Sprintf("%d records are missing from here on", n))
}

// next finds the record at or after pos and returns its size.
func (w *walk) next() (size int, ok bool) {
	if w.pos >= w.end {
		return w.beyond()
	}
	if size := w.size(w.pos); size > 0 {
		w.carving = w.d.chunk.Headless
		return size, true
	}
	if zero(w.d.chunk.Data[w.pos:w.end]) {
		if w.damaged || w.d.chunk.Headless {
			return w.beyond()
		}
		return 0, false // logs saved by the event viewer say that they are full
	}
	return w.carve()
}

// beyond goes on past the end that the chunk names when that is out of date:
// the log was copied while it was being written. What lies there in a sound
// chunk are events that were cleared and overwritten in part.
func (w *walk) beyond() (int, bool) {
	if !w.damaged || !w.any {
		return 0, false
	}
	size := w.size(w.pos)
	if size == 0 || w.id() != w.last+1 {
		return 0, false
	}
	w.carving = true
	return size, true
}

// carve searches for the next record after a place that holds none.
func (w *walk) carve() (int, bool) {
	start, lost := w.pos, uint64(0)
	if bytes.HasPrefix(w.d.chunk.Data[start:], recordMagic) && start+recordHeader <= w.end {
		lost = le.Uint64(w.d.chunk.Data[start+8:])
	}
	data := w.d.chunk.Data[:w.end]
	for w.pos++; w.pos < w.end; w.pos++ {
		i := bytes.Index(data[w.pos:], recordMagic)
		if i < 0 {
			break
		}
		w.pos += i
		if size := w.size(w.pos); size > 0 && (!w.known || w.id() > w.last) {
			w.carving = true
			if !w.d.chunk.Headless || w.any {
				w.d.damage(start, lost, "bytes that are no record; searched for the next one")
			}
			return size, true
		}
	}
	if !w.d.chunk.Headless {
		w.d.damage(start, lost, "no record here, and none up to the end of the chunk")
	}
	w.pos = w.end
	return 0, false
}

// size returns the size of the record at pos, 0 when there is none: its size
// must be repeated at its end or lead to the next record.
func (w *walk) size(pos int) int {
	data := w.d.chunk.Data
	if pos+recordLeast > len(data) || !bytes.HasPrefix(data[pos:], recordMagic) {
		return 0
	}
	size := le.Uint32(data[pos+4:])
	if size < recordLeast || int64(size) > int64(len(data)-pos) {
		return 0
	}
	next := pos + int(size)
	if le.Uint32(data[next-4:]) == size || bytes.HasPrefix(data[next:], recordMagic) {
		return int(size)
	}
	return 0
}

func (w *walk) id() uint64 { return le.Uint64(w.d.chunk.Data[w.pos+8:]) }

// record delivers the record at pos.
func (w *walk) record(size int) error {
	d, id := w.d, w.id()
	if gap := id - w.last; w.known && w.damaged && gap > 1 && gap <= maxRecords {
		w.missing(gap - 1)
	}
	w.last, w.known, w.any = id, true, true
	if reason := d.decode(w.pos, size); reason != "" {
		d.report.Lost++
		d.damage(w.pos, id, reason)
		return nil
	}
	d.report.Records++
	if w.carving {
		d.report.Carved++
	}
	return w.f(&d.rec)
}

// decode fills rec from the record of that size at pos. It returns what is
// wrong with it, or nothing.
func (d *Decoder) decode(pos, size int) (reason string) {
	head := d.chunk.Data[pos:]
	d.rec.Reset()
	d.arena, d.values, d.depth = d.arena[:0], d.values[:0], 0
	d.rec.Number = le.Uint64(head[8:])
	d.rec.Offset = d.chunk.Offset + int64(pos)
	d.rec.Time = fileTime(le.Uint64(head[16:]))
	if reason := d.fragment(pos+recordHeader, pos+size-4, place{}); reason != "" {
		return reason
	}
	if len(d.rec.Pairs) == 0 {
		return "no value in it"
	}
	windows.Complete(&d.rec)
	return ""
}

// setHost names the record's host; most records of a log name the same.
func (d *Decoder) setHost(wide []byte) {
	if !bytes.Equal(wide, d.hostWide) {
		p := event.Pair{Value: wide, Enc: event.UTF16}
		d.host, d.hostWide = strings.Clone(p.Text()), append(d.hostWide[:0], wide...)
	}
	d.rec.Host = d.host
}

// until1970 is how long FILETIME had been running by then, in seconds.
const until1970 = 11644473600

// fileTime turns 100 ns since 1601 into a time; the zero time when it is none.
func fileTime(t uint64) time.Time {
	if t == 0 || t > 1<<62 {
		return time.Time{}
	}
	return time.Unix(int64(t/1e7)-until1970, int64(t%1e7)*100).UTC()
}
