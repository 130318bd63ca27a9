package archive

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
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
	sum := sha256.Sum256([]byte(batch))
	return batchKey(sum[:16])
}

// sealed is what is kept in memory of a manifest line.
type sealed struct {
	path        string
	line, file  [32]byte // SHA-256 of both
	at          time.Time
	from, to    time.Time
	rows, bytes int64
	hosts       []uint32 // numbers from index.hosts
	damaged     bool     // the file is not what the manifest says; queries leave it out
}

func (s *sealed) leaf() leaf.Leaf {
	return leaf.Leaf{Type: "segment", Ref: s.path, Digest: hex.EncodeToString(s.line[:]), At: s.at}
}

// index answers, without reading files: which segments can hold what is asked
// for, and which batches are stored already.
type index struct {
	segments []sealed
	hosts    map[string]uint32
	known    map[batchKey]int32 // number in segments
	ids      [][]batchKey       // keys of each segment from number forgotten on
	// The ids of the first forgotten segments are not in known any more; the
	// newest event in any of them tells whether a batch may be there.
	forgotten   int
	forgottenTo time.Time
}

func newIndex() index {
	return index{hosts: map[string]uint32{}, known: map[batchKey]int32{}}
}

// add takes a line over and forgets the oldest ids beyond keep.
func (x *index) add(l line, digest [32]byte, keep int) int32 {
	s := sealed{path: l.Path, line: digest, at: l.At, from: l.From, to: l.To, rows: l.Rows, bytes: l.Bytes}
	hex.Decode(s.file[:], []byte(l.SHA256)) // parseLine and the writer make sure of the form
	for _, h := range l.Hosts {
		n, known := x.hosts[h]
		if !known {
			n = uint32(len(x.hosts))
			x.hosts[h] = n
		}
		s.hosts = append(s.hosts, n)
	}
	number := int32(len(x.segments))
	x.segments = append(x.segments, s)
	keys := make([]batchKey, len(l.Batches))
	for i, id := range l.Batches {
		keys[i] = keyOf(id)
		x.known[keys[i]] = number
	}
	x.ids = append(x.ids, keys)
	for len(x.known) > keep && len(x.ids) > 1 {
		x.forget()
	}
	return number
}

func (x *index) forget() {
	for _, k := range x.ids[0] {
		delete(x.known, k)
	}
	if to := x.segments[x.forgotten].to; to.After(x.forgottenTo) {
		x.forgottenTo = to
	}
	x.ids = x.ids[1:]
	x.forgotten++
}

// mayHold returns the segments with forgotten ids that can hold events of b.
func (x *index) mayHold(b event.Batch) []int32 {
	from, to := span(b.Events)
	if x.forgotten == 0 || from.After(x.forgottenTo) {
		return nil
	}
	var found []int32
	for i := range x.forgotten {
		s := &x.segments[i]
		if !s.from.After(to) && !s.to.Before(from) && x.hasHost(s, cmp.Or(b.Events[0].Host, b.Host)) {
			found = append(found, int32(i))
		}
	}
	return found
}

func (x *index) hasHost(s *sealed, host string) bool {
	n, known := x.hosts[segment.Clean(host)]
	return known && slices.Contains(s.hosts, n)
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
