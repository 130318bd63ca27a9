package archive

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/ledger/leaf"
)

// keepBatches bounds the ids in memory: about 100 MB. At one batch a second
// from a hundred agents they reach back five and a half hours; what is older
// is looked up in the segments that can hold it, see Archive.lookUp.
const keepBatches = 2_000_000

type batchKey [16]byte

func keyOf(batch string) batchKey {
	sum := sha256.Sum256([]byte(segment.Clean(batch)))
	return batchKey(sum[:16])
}

// sealed is what is kept in memory of a segment that stands in the archive.
type sealed struct {
	number      int64
	path        string
	line        leaf.Leaf // of the line that added it
	source      string    // "" for a fresh one, which holds all kinds
	file        [32]byte  // SHA-256
	sketch      string    // SHA-256 of the file beside it, hexadecimal; "" without one
	sketched    int64     // bytes of that
	head        segment.Head
	at, arrived time.Time
	from, to    time.Time
	rows, bytes int64
	sites       []uint32 // numbers of names; nil: unknown
	hosts       []uint32
	kinds       []uint32 // nil: unknown
	content     []part   // of a fresh one; nil when its line does not say
	own         *origin  // of a fresh one
	forgotten   bool     // its batch ids are not in memory any more
	damaged     bool     // the file is not what the manifest says; queries leave it out
	views       int      // that use the file
	gone        bool     // a later line took it away: the file goes with the last view
}

// origin is a fresh segment, merged since or not, whose batch ids are in memory.
type origin struct {
	number   int64
	leaf     leaf.Leaf
	from, to time.Time
	keys     []batchKey
}

// index answers, without reading files: which segments can hold what is asked
// for, and which batches are stored already.
type index struct {
	segments map[int64]*sealed
	names    map[string]uint32 // of sites, hosts and kinds
	named    []string          // by number
	known    map[batchKey]*origin
	origins  []*origin // the oldest first
	// Newest event of fresh segments whose ids are not in known: an older
	// batch may be stored all the same.
	forgottenTo time.Time
	holds       []held
	histories   []history
	leaves      []leaf.Leaf // of the newest lines that are not of fresh segments
	said        int         // how many such lines there were
	lines       int         // in the manifest
	next        int64       // highest number of a fresh segment, plus one
	nextMerged  int64       // of a merged one
	seq         uint64      // highest of a line, plus one
}

func newIndex() index {
	return index{segments: map[int64]*sealed{}, names: map[string]uint32{}, known: map[batchKey]*origin{}, nextMerged: mergedFrom}
}

// apply takes a line over; digest is that of its bytes. Returned are the
// segments that are gone by it.
func (x *index) apply(r *record, digest [32]byte, keep int) []*sealed {
	x.lines++
	x.seq = max(x.seq+1, r.Seq+1)
	if r.V == 2 {
		x.seq = r.Seq + 1
	}
	var gone []*sealed
	for _, n := range r.Gone {
		if s := x.segments[n]; s != nil {
			s.gone = true
			gone = append(gone, s)
			delete(x.segments, n)
		}
		x.count(n)
	}
	l := r.leaf(digest)
	for i := range r.Segments {
		x.add(&r.Segments[i], r.At, l)
	}
	if r.Op == opAdd {
		x.remember(r, l, keep)
	} else {
		x.leaves = append(x.leaves[max(0, len(x.leaves)-unrecorded+1):], l)
		x.said++
	}
	switch r.Op {
	case opHold, opUnhold:
		x.hold(r)
	case opHistory:
		x.histories = append(x.histories, *r.History)
		x.forgottenTo = latest(x.forgottenTo, r.History.Newest)
		x.next, x.nextMerged = max(x.next, r.History.Next[0]), max(x.nextMerged, r.History.Next[1])
	}
	return gone
}

func (x *index) add(e *entry, at time.Time, line leaf.Leaf) {
	s := &sealed{number: e.Number, path: e.Path, line: line, source: e.Source, at: at, arrived: e.Arrived, from: e.From, to: e.To, rows: e.Rows, bytes: e.Bytes, content: e.Content,
		sites: x.name(e.Sites), hosts: x.name(e.Hosts), kinds: x.name(e.Kinds)}
	hex.Decode(s.file[:], []byte(e.SHA256)) // parseLine and the writer make sure of the form
	if e.Sketch != nil {
		s.sketch, s.sketched, s.head = e.Sketch.SHA256, e.Sketch.Bytes, e.Sketch.facts()
	}
	x.segments[e.Number] = s
	x.count(e.Number)
}

// count makes sure that number n is not given again.
func (x *index) count(n int64) {
	if isMerged(n) {
		x.nextMerged = max(x.nextMerged, n+1)
	} else {
		x.next = max(x.next, n+1)
	}
}

// remember keeps the batch ids of a fresh segment and forgets the oldest
// beyond keep.
func (x *index) remember(r *record, l leaf.Leaf, keep int) {
	e := &r.Segments[0]
	o := &origin{number: e.Number, leaf: l, from: e.From, to: e.To, keys: make([]batchKey, len(r.Batches))}
	for i, id := range r.Batches {
		o.keys[i] = keyOf(id)
		x.known[o.keys[i]] = o
	}
	x.segments[e.Number].own = o
	x.origins = append(x.origins, o)
	for len(x.known) > keep && len(x.origins) > 1 {
		x.forget()
	}
}

func (x *index) forget() {
	o := x.origins[0]
	for _, k := range o.keys {
		delete(x.known, k)
	}
	if s := x.segments[o.number]; s != nil {
		s.forgotten = true
	}
	o.keys = nil
	x.forgottenTo = latest(x.forgottenTo, o.to)
	x.origins = x.origins[1:]
}

// mayHold returns the segments that can hold a batch although its id is not known.
func (x *index) mayHold(b asked) []*sealed {
	if x.forgottenTo.IsZero() || b.from.After(x.forgottenTo) {
		return nil
	}
	var found []*sealed
	for _, s := range x.segments {
		if (s.forgotten || s.own == nil) && !s.from.After(b.to) && !s.to.Before(b.from) && x.hasAny(s.hosts, []string{b.host}) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(p, q *sealed) int { return cmp.Compare(p.number, q.number) })
	return found
}

// name gives names numbers.
func (x *index) name(names []string) []uint32 {
	if len(names) == 0 {
		return nil
	}
	numbers := make([]uint32, len(names))
	for i, name := range names {
		n, known := x.names[name]
		if !known {
			n, name = uint32(len(x.names)), strings.Clone(name) // it may be part of a large text
			x.names[name] = n
			x.named = append(x.named, name)
		}
		numbers[i] = n
	}
	return numbers
}

func (x *index) kind(n uint32) string { return x.named[n] }

// hasAny says whether one of names stands in numbers.
func (x *index) hasAny(numbers []uint32, names []string) bool {
	for _, name := range names {
		if n, known := x.names[name]; known && slices.Contains(numbers, n) {
			return true
		}
	}
	return false
}

// asked is what tells where a batch may be stored.
type asked struct {
	id       string
	host     string
	from, to time.Time // of its events
}

func askedOf(b event.Batch) asked {
	from, to := span(b.Events)
	return asked{segment.Clean(b.ID), segment.Clean(cmp.Or(b.Events[0].Host, b.Host)), from, to}
}

// span returns the times of the oldest and the newest event, as stored.
func span(events []event.Event) (from, to time.Time) {
	for i := range events {
		t := time.Unix(0, segment.Nanos(events[i].Time)).UTC()
		if i == 0 || t.Before(from) {
			from = t
		}
		if i == 0 || t.After(to) {
			to = t
		}
	}
	return from, to
}

func latest(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}

// needs says whether the segment at p stands in the archive.
func (a *Archive) needs(p string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.index.needs(p)
}

// mergedNumber returns the lowest number for a merged segment.
func (a *Archive) mergedNumber() int64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.index.nextMerged
}
