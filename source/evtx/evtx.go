// Package evtx reads Windows event logs (.evtx), the sound and the damaged.
//
// In: a stream of bytes. Out: event.Record, one per event, in the order of the
// file, and a Report of what could not be read. Always true: memory is bounded
// by a few chunks of 64 KiB whatever the file says; nothing in a file makes
// reading fail, only the reader underneath, the context or the caller do;
// what is lost is named with its offset; in steady state reading a record
// allocates nothing.
//
// A log is a header and chunks of 64 KiB. Each chunk stands for itself: its
// records are binary XML, mostly a reference to a template in the same chunk
// and the values to fill in. A template is compiled once per chunk into a list
// of (name, value n) and a record only walks that list; no XML is built.
//
// Names are those that Sigma rules use: of System and UserData the name of the
// element, of an attribute Element_Attribute (Provider_Name), of EventData the
// Name of the Data without its spaces, "Data" where it has none. Other parts
// of an event (RenderingInfo) stand before the name with a point between.
// Values read as evtx_dump writes them. An element whose value is null has no
// pair, one with an empty string has an empty one.
//
// The format is that of Microsoft's [MS-EVEN6] and of the description by
// J. Metz for libevtx, "Windows XML Event Log (EVTX) format".
package evtx

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sonae/sonae/event"
)

// maxDamage is how many damages are listed when Options say nothing.
const maxDamage = 1000

// Options change how a log is read. The zero value is right.
type Options struct {
	MaxDamage int // damages listed at most; all are counted. 0 = 1000
}

// Report says what was read and what was not.
type Report struct {
	Chunks   int   // chunks that hold records
	Records  int   // records delivered
	Carved   int   // of these, found by searching in a damaged chunk or past its end
	Lost     int   // records known to have been there and not read
	Bytes    int64 // read from the stream
	Dirty    bool  // the log was not closed: its header may be out of date
	Unsummed bool  // the log says that it carries no checksums
	Damaged  int   // damages met
	Damage   []Damage
}

// Damage is a place where the log is not what it should be.
type Damage struct {
	Offset int64  // in the stream
	Record uint64 // record id, 0 when unknown
	Reason string
}

// String says what and where.
func (d Damage) String() string {
	if d.Record == 0 {
		return fmt.Sprintf("offset %d: %s", d.Offset, d.Reason)
	}
	return fmt.Sprintf("offset %d, record %d: %s", d.Offset, d.Record, d.Reason)
}

// ErrFormat says that a stream holds no event log and no part of one.
var ErrFormat = errors.New("not a Windows event log")

// Sniff reports whether head, the first bytes of a stream, begins a log or,
// where its header was lost, a chunk of one.
func Sniff(head []byte) bool {
	return bytes.HasPrefix(head, fileMagic) || bytes.HasPrefix(head, chunkMagic)
}

// Read calls f for every record of r. The record and what it points to are
// good until f returns; f's error ends reading and is returned as it is. The
// report is right up to where reading ended, also beside an error. The error
// is ErrFormat when no chunk was found and the header is none.
func Read(ctx context.Context, r io.Reader, opt Options, f func(*event.Record) error) (Report, error) {
	d := NewDecoder(opt)
	whole, err := Chunks(ctx, r, opt, func(c Chunk) error { return d.Decode(c, f) })
	whole.merge(d.Report(), opt)
	return whole, err
}

// merge adds what decoding found to what finding the chunks found.
func (r *Report) merge(o Report, opt Options) {
	r.Chunks += o.Chunks
	r.Records += o.Records
	r.Carved += o.Carved
	r.Lost += o.Lost
	r.Damaged += o.Damaged
	r.Damage = append(r.Damage, o.Damage...)
	slices.SortStableFunc(r.Damage, func(a, b Damage) int { return cmp.Compare(a.Offset, b.Offset) })
	r.Damage = r.Damage[:min(len(r.Damage), opt.damages())]
}

func (r *Report) damage(opt Options, d Damage) {
	r.Damaged++
	if len(r.Damage) < opt.damages() {
		r.Damage = append(r.Damage, d)
	}
}

func (o Options) damages() int {
	if o.MaxDamage > 0 {
		return o.MaxDamage
	}
	return maxDamage
}
