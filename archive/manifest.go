package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/ledger/leaf"
)

// maxLine bounds a manifest line, and so the memory its reader needs.
const maxLine = 8 << 20

// What a line of the manifest says.
const (
	opAdd     = "add"     // a fresh segment of new batches
	opMerge   = "merge"   // new segments stand for older ones, which are gone
	opDrop    = "drop"    // segments whose time is over are gone
	opHold    = "hold"    // events must not be dropped
	opUnhold  = "unhold"  // they may be again
	opHistory = "history" // lines that say nothing about the present were moved away
)

// record is one line of the manifest. Its digest, which covers the digests of
// the segments, goes to the ledger. Lines are never changed; what they say is
// true until a later line says otherwise.
type record struct {
	V        int       `json:"v"` // 2; 1 for lines of the first release, which are written otherwise
	Op       string    `json:"op"`
	Seq      uint64    `json:"seq"` // orders the lines; unknown (0) in version 1
	At       time.Time `json:"at"`
	Hub      string    `json:"hub,omitempty"`      // who wrote it, of several
	Segments []entry   `json:"segments,omitempty"` // add: one; merge: what now holds the events
	Batches  []string  `json:"batches,omitempty"`  // add: ids of the batches in the segment
	Gone     []int64   `json:"gone,omitempty"`     // merge, drop: numbers of the segments that are no more
	Contents []content `json:"contents,omitempty"` // merge: of segments in Gone whose own line has none
	Class    Class     `json:"class,omitempty"`    // drop: what was dropped
	Reason   string    `json:"reason,omitempty"`   // drop: why
	Hold     *Hold     `json:"hold,omitempty"`     // hold, unhold
	History  *history  `json:"history,omitempty"`
}

// entry is all that must be known of a segment without reading it.
type entry struct {
	Number  int64     `json:"number"`
	Path    string    `json:"path"` // below the archive, slash separated
	SHA256  string    `json:"sha256"`
	Bytes   int64     `json:"bytes"`
	Rows    int64     `json:"rows"`
	From    time.Time `json:"from"`             // oldest event
	To      time.Time `json:"to"`               // newest event
	Arrived time.Time `json:"arrived"`          // when the newest of its batches came
	Source  string    `json:"source,omitempty"` // merged: the only kind in it
	Sites   []string  `json:"sites,omitempty"`  // unknown in version 1, as are kinds
	Hosts   []string  `json:"hosts"`
	Kinds   []string  `json:"kinds,omitempty"`
	Content []part    `json:"content,omitempty"` // fresh: what merged segments must still hold
	Sketch  *sketch   `json:"sketch,omitempty"`  // the file beside it
}

// sketch is what is known of the file that tells which words a segment holds.
// Segments of earlier releases have no head: all of the file must be read once
// before its beginning can be trusted.
type sketch struct {
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	Head   *head  `json:"head,omitempty"`
}

// head is the beginning of a sketch, which has the digests of the rest.
type head struct {
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// facts are those of the head; zero where there is none.
func (s *sketch) facts() (h segment.Head) {
	if s.Head != nil {
		h.Bytes = s.Head.Bytes
		hex.Decode(h.SHA256[:], []byte(s.Head.SHA256)) // check makes sure of the form
	}
	return h
}

// content is what events of one origin must add up to, wherever they stand.
type content struct {
	Number int64  `json:"number"` // of the fresh segment
	Parts  []part `json:"parts"`
}

// part is the share of one event day and source in a fresh segment.
type part struct {
	Day    string `json:"day"` // 2026-11-22, UTC
	Source string `json:"source"`
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"`
}

// history names a file with lines that left the manifest.
type history struct {
	Path   string    `json:"path"`
	SHA256 string    `json:"sha256"`
	Bytes  int64     `json:"bytes"`
	Lines  int       `json:"lines"`
	Newest time.Time `json:"newest"` // newest event in a fresh segment whose batch ids left with its line
	Next   [2]int64  `json:"next"`   // numbers of the next fresh and merged segment: those used before are never given again
}

// line is a line of the first release: a fresh segment.
type line struct {
	Path    string    `json:"path"`
	SHA256  string    `json:"sha256"`
	Bytes   int64     `json:"bytes"`
	Rows    int64     `json:"rows"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Hosts   []string  `json:"hosts"`
	Batches []string  `json:"batches"`
	At      time.Time `json:"at"`
}

// encode returns the canonical bytes of the line, without the line end.
func (r *record) encode() ([]byte, error) {
	var of any = r
	if r.V == 1 {
		e := &r.Segments[0]
		of = line{e.Path, e.SHA256, e.Bytes, e.Rows, e.From, e.To, e.Hosts, r.Batches, r.At}
	}
	b, err := json.Marshal(of)
	if err != nil {
		return nil, fmt.Errorf("manifest line: %w", err)
	}
	if len(b) >= maxLine {
		return nil, fmt.Errorf("manifest line of %d bytes is longer than %d: too much at once", len(b), maxLine)
	}
	return b, nil
}

// leaf is what the ledger keeps of the line.
func (r *record) leaf(digest [32]byte) leaf.Leaf {
	l := leaf.Leaf{Type: r.Op, Ref: refOf(r.Seq), Digest: hex.EncodeToString(digest[:]), At: r.At}
	switch r.Op {
	case opAdd:
		l.Type, l.Ref = "segment", r.Segments[0].Path
	case opUnhold:
		l.Type = opHold
	}
	return l
}

// leafTypes are the types of the leaves that bind the manifest.
func leafTypes() []string { return []string{"segment", opMerge, opDrop, opHold, opHistory} }

func refOf(seq uint64) string { return fmt.Sprintf("manifest/%012d", seq) }

// parseLine reads what encode wrote and refuses any other spelling and any
// path that does not name a segment.
func parseLine(b []byte) (*record, error) {
	r, err := decodeLine(b)
	if err != nil {
		return nil, fmt.Errorf("manifest line: %w", err)
	}
	again, err := r.encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b, again) {
		return nil, errors.New("manifest line is not in canonical form")
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("manifest line %w", err)
	}
	return r, nil
}

func decodeLine(b []byte) (*record, error) {
	if !bytes.HasPrefix(b, []byte(`{"path":`)) {
		var r record
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, err
		}
		if r.V != 2 {
			return nil, fmt.Errorf("version %d is unknown", r.V)
		}
		return &r, nil
	}
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, err
	}
	n, _ := numberOf(l.Path)
	e := entry{Number: n, Path: l.Path, SHA256: l.SHA256, Bytes: l.Bytes, Rows: l.Rows, From: l.From, To: l.To, Arrived: l.At, Hosts: l.Hosts}
	return &record{V: 1, Op: opAdd, At: l.At, Segments: []entry{e}, Batches: l.Batches}, nil
}

// check refuses what no archive writes.
func (r *record) check() error {
	ok := false
	switch r.Op {
	case opAdd:
		ok = len(r.Segments) == 1
	case opMerge:
		ok = len(r.Segments) > 0 && len(r.Gone) > 0
	case opDrop:
		ok = len(r.Segments) == 0 && len(r.Gone) > 0
	case opHold, opUnhold:
		ok = r.Hold != nil && r.Hold.Incident != ""
	case opHistory:
		ok = r.History != nil && isHistory(r.History.Path) && isSum(r.History.SHA256)
	}
	if !ok {
		return errors.New("says nothing that is known")
	}
	for i := range r.Segments {
		e := &r.Segments[i]
		if n, ok := numberOf(e.Path); !ok || n != e.Number {
			return errors.New("does not name a segment")
		}
		if (e.Source != "") != isMerged(e.Number) || isMerged(e.Number) != (r.Op == opMerge) || e.Source != "" && (folderOf(e.Source) != folderIn(e.Path) || len(e.Kinds) != 1) {
			return errors.New("names a segment of another kind")
		}
		if !isSum(e.SHA256) || e.Sketch != nil && !isSum(e.Sketch.SHA256) {
			return errors.New("has no SHA-256")
		}
		if e.Sketch != nil && e.Sketch.Head != nil && (!isSum(e.Sketch.Head.SHA256) || e.Sketch.Head.Bytes <= 0 || e.Sketch.Head.Bytes > e.Sketch.Bytes) {
			return errors.New("has a sketch without a head")
		}
	}
	return nil
}

func isSum(text string) bool {
	sum, err := hex.DecodeString(text)
	return err == nil && len(sum) == sha256.Size
}

// pathOf returns the path of segment n: a fresh one stands under the day it
// was written, a merged one under the day of its events and their source.
func pathOf(n int64, day time.Time, source string) string {
	return path.Join(segmentsName, day.UTC().Format("2006/01/02"), folderOf(source), fmt.Sprintf("%012d.parquet", n))
}

// folderOf makes a file name of a source, which comes from agents.
func folderOf(source string) string {
	plain := func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}
	return strings.Map(plain, source[:min(len(source), 32)])
}

// numberOf returns the number in a segment's path, if it is one.
func numberOf(p string) (int64, bool) {
	rest, ok := strings.CutPrefix(p, segmentsName+"/")
	if !ok || len(rest) < len("2006/01/02/") {
		return 0, false
	}
	day, err := time.Parse("2006/01/02", rest[:10])
	if err != nil {
		return 0, false
	}
	source, name := path.Split(rest[11:])
	n, err := strconv.ParseInt(strings.TrimSuffix(name, ".parquet"), 10, 64)
	return n, err == nil && n >= 0 && n < 2*mergedFrom && isMerged(n) == (source != "") && pathOf(n, day, strings.TrimSuffix(source, "/")) == p
}

// mergedFrom is the lowest number of a merged segment; fresh ones count from 0.
const mergedFrom = 1 << 46

func isMerged(number int64) bool { return number >= mergedFrom }

// sourceOf names the kind of a merged segment; an empty one is "none".
func sourceOf(kind string) string { return cmp.Or(kind, "none") }

// dayIn returns the day in a segment's path as parts write it.
func dayIn(p string) string {
	return strings.ReplaceAll(p[len(segmentsName)+1:len(segmentsName)+len("/2006/01/02")], "/", "-")
}

// folderIn returns the folder of the source in a merged segment's path.
func folderIn(p string) string { return path.Base(path.Dir(p)) }

// rawLine is one line as it stands in the manifest.
type rawLine struct {
	offset int64
	number int    // counted from 1
	bytes  []byte // without the line end, valid until the next line; nil when longer than maxLine
	ended  bool   // false for a last line without its end
}

// eachLine calls f for every line of a manifest. It holds one line of at most
// maxLine bytes in memory, whatever r contains.
func eachLine(r io.Reader, f func(rawLine) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var buf []byte
	at := int64(0)
	for number := 1; ; number++ {
		l := rawLine{offset: at, number: number}
		buf = buf[:0]
		for {
			part, err := in.ReadSlice('\n')
			at += int64(len(part))
			if len(buf) < maxLine+1 {
				buf = append(buf, part[:min(len(part), maxLine+1-len(buf))]...)
			}
			if err == nil {
				l.ended = true
				break
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return fmt.Errorf("read manifest: %w", err)
			}
		}
		if at == l.offset {
			return nil
		}
		if at-l.offset <= maxLine {
			l.bytes = bytes.TrimSuffix(buf, []byte("\n"))
		}
		if err := f(l); err != nil {
			return err
		}
	}
}
