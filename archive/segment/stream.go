package segment

import (
	"errors"
	"fmt"
)

// Stream writes rows as they come, in the order they come, into a file for
// other engines: the columns of a segment, without sketch and sums, and not
// synced. It holds one row group in memory.
type Stream struct {
	w    *writer
	rows []Row
	ptrs []*Row
}

// NewStream starts a file at path, whose name starts with a number.
func NewStream(path string) (*Stream, error) {
	w, err := create(path, transient)
	if err != nil {
		return nil, err
	}
	return &Stream{w: w, rows: make([]Row, 0, chunk)}, nil
}

// Add writes a row.
func (s *Stream) Add(r *Row) error {
	s.rows = append(s.rows, *r)
	if len(s.rows) < chunk {
		return nil
	}
	return s.flush()
}

func (s *Stream) flush() error {
	s.ptrs = s.ptrs[:0]
	for i := range s.rows {
		s.ptrs = append(s.ptrs, &s.rows[i])
	}
	err := s.w.write(s.ptrs)
	s.rows = s.rows[:0]
	return err
}

// Close ends the file. A file without rows is one of the right columns.
func (s *Stream) Close() error {
	err := s.flush()
	if err == nil {
		_, err = s.w.close()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write rows: %w", err), s.w.abort())
	}
	return nil
}

// Abort removes the file.
func (s *Stream) Abort() error { return s.w.abort() }
