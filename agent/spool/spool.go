// Package spool keeps telemetry on disk until the hub has acknowledged it.
//
// In: encoded batches. Out: the same batches, oldest first. Always true: when
// Append has returned nil, the batch survives kill -9 and a power cut until it
// is acknowledged or, because the spool is full, dropped; what is dropped is
// the oldest, and it is counted. Findings and evidence never live here.
//
// On disk a spool is a directory of segment files of length-prefixed records
// with a checksum each, and two small files: how far was acknowledged, and how
// many events were dropped. A torn tail, which is what a crash leaves, is cut
// off when the spool is opened.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// Config bounds a spool.
type Config struct {
	Dir          string // made if it does not exist, 0700
	MaxBytes     int64  // of all segments; 0 means 512 MiB
	SegmentBytes int64  // at which a new segment begins; 0 means 1/16 of MaxBytes, at most 8 MiB
	Log          *slog.Logger
}

// MaxRecord is the largest batch in bytes.
const MaxRecord = 8 << 20

// Record is one batch that waits.
type Record struct {
	Seq    uint64 // increases by one
	Events int    // how many events Data holds
	Data   []byte
}

// Errors of Append.
var (
	ErrTooLarge = errors.New("spool: the batch is too large")
	ErrClosed   = errors.New("spool: closed")
)

// segment is one file. Its records have the numbers first, first+1, …
type segment struct {
	path  string
	first uint64
	at    []int64 // offset of each record
	count []int   // events of each record
	size  int64
}

func (s *segment) end() uint64 { return s.first + uint64(len(s.at)) }

// Spool is an open spool. It is safe for concurrent use by one process.
type Spool struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	segs    []*segment // oldest first
	file    *os.File   // of the last segment, nil when the next Append begins one
	size    int64      // of all segments
	next    uint64     // number of the next record
	acked   uint64     // all records below are done with
	dropped uint64     // events, since the spool was made
	broken  bool       // the last segment may end with half a record
	closed  bool
}

// Open opens or makes the spool and repairs what a crash left.
func Open(cfg Config) (*Spool, error) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 512 << 20
	}
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = min(cfg.MaxBytes/16, 8<<20)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{cfg: cfg, wake: make(chan struct{}, 1)}
	s.acked, s.dropped = s.readNumber("acked"), s.readNumber("dropped")
	s.next = max(s.acked, 1)
	paths, err := filepath.Glob(filepath.Join(cfg.Dir, "*.seg")) // names are of fixed width, so sorted
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	for _, p := range paths {
		if err := s.load(p); err != nil { // one bad file must not keep the agent from running
			cfg.Log.Error("spool segment set aside", "err", err)
			if err := os.Rename(p, p+".bad"); err != nil {
				return nil, fmt.Errorf("open spool: %w", err)
			}
		}
	}
	s.acked = min(s.acked, s.next)
	s.prune()
	return s, nil
}

// load adds one segment that a former run left.
func (s *Spool) load(path string) error {
	seg, lost, err := scan(path)
	if err != nil {
		return err
	}
	if lost > 0 {
		s.cfg.Log.Warn("spool repaired", "file", filepath.Base(path), "bytes_lost", lost)
		if err := os.Truncate(path, seg.size); err != nil {
			return err
		}
	}
	if len(seg.at) == 0 {
		return os.Remove(path)
	}
	if seg.first < s.next && len(s.segs) > 0 {
		return fmt.Errorf("%s: overlaps the segment before it", filepath.Base(path))
	}
	s.segs = append(s.segs, seg)
	s.size += seg.size
	s.next = max(s.next, seg.end())
	return nil
}

// Append stores a batch of so many events and returns when it is on the disk.
// When the spool or the disk is full, the oldest segments are dropped and
// counted. When even that does not help, the batch itself is counted as
// dropped and the error returned.
func (s *Spool) Append(events int, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if len(data) > MaxRecord || int64(len(data)+header) > s.cfg.MaxBytes {
		s.drop(events)
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(data))
	}
	for s.size+int64(len(data)+header) > s.cfg.MaxBytes && len(s.segs) > 0 {
		s.dropOldest()
	}
	err := s.write(events, data)
	for err != nil && len(s.segs) > 0 { // the disk is full: make room, as little as it takes
		s.cfg.Log.Error("spool write", "err", err)
		s.dropOldest()
		err = s.write(events, data)
	}
	if err != nil {
		s.drop(events)
		return fmt.Errorf("append to spool: %w", err)
	}
	s.signal()
	return nil
}

// signal wakes the reader; one pending signal is enough.
func (s *Spool) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Wake is signalled when a batch was appended. Look with Peek until it has no
// more before waiting again.
func (s *Spool) Wake() <-chan struct{} { return s.wake }

// Peek returns the oldest batch that is not acknowledged. A record that the
// disk does not give back is dropped and counted.
func (s *Spool) Peek() (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.segs) > 0 && !s.closed {
		seg := s.segs[0]
		s.acked = max(s.acked, seg.first)
		if s.acked >= seg.end() {
			s.prune()
			continue
		}
		i := s.acked - seg.first
		data, err := readRecord(seg.path, seg.at[i], seg.first+i)
		if err == nil {
			return Record{Seq: seg.first + i, Events: seg.count[i], Data: data}, true
		}
		s.cfg.Log.Error("spool read", "err", err)
		s.drop(seg.count[i])
		s.advance(seg.first + i + 1)
	}
	return Record{}, false
}

// Ack says that the hub has taken the batch and all before it.
func (s *Spool) Ack(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq >= s.acked && seq < s.next {
		s.advance(seq + 1)
	}
}

// Refuse says that the hub will never take the batch: it is dropped and counted.
func (s *Spool) Refuse(r Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Seq >= s.acked && r.Seq < s.next {
		s.drop(r.Events)
		s.advance(r.Seq + 1)
	}
}

// advance moves the mark. Losing the mark in a crash only sends batches again,
// which the hub recognises by their ids, so it is not synced.
func (s *Spool) advance(to uint64) {
	s.acked = to
	s.writeNumber("acked", to)
	s.prune()
}

// prune deletes segments that are acknowledged as a whole.
func (s *Spool) prune() {
	for len(s.segs) > 0 && s.segs[0].end() <= s.acked {
		s.remove()
	}
}

// remove deletes the oldest segment.
func (s *Spool) remove() {
	seg := s.segs[0]
	if len(s.segs) == 1 {
		s.closeFile()
	}
	if err := os.Remove(seg.path); err != nil {
		s.cfg.Log.Error("spool segment stays", "err", err)
	}
	s.size -= seg.size
	s.segs = s.segs[1:]
}

// dropOldest gives up the oldest segment for newer telemetry.
func (s *Spool) dropOldest() {
	seg := s.segs[0]
	events := 0
	for i, n := range seg.count {
		if seg.first+uint64(i) >= s.acked {
			events += n
		}
	}
	s.acked = max(s.acked, seg.end())
	s.remove()
	if events > 0 {
		s.drop(events)
		s.cfg.Log.Warn("spool full, oldest events dropped", "events", events)
	}
}

func (s *Spool) drop(events int) {
	s.dropped += uint64(events)
	s.writeNumber("dropped", s.dropped)
}

// Bytes is how much waits, in bytes on disk.
func (s *Spool) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// Dropped is how many events were given up since the spool was made.
func (s *Spool) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Close closes the spool. What waits stays on disk.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.closeFile()
}

func (s *Spool) closeFile() error {
	f := s.file
	s.file = nil
	if f == nil {
		return nil
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}
