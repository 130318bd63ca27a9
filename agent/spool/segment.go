package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A record is: length of data (4 bytes), events (4), number (8), CRC-32C of
// these sixteen bytes and the data (4), data. Integers are big endian. The
// number is in the checksum, so that a record cannot be taken for another.
const header = 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(seq uint64, events int, data []byte) []byte {
	b := make([]byte, header, header+len(data))
	binary.BigEndian.PutUint32(b[0:], uint32(len(data)))
	binary.BigEndian.PutUint32(b[4:], uint32(events))
	binary.BigEndian.PutUint64(b[8:], seq)
	binary.BigEndian.PutUint32(b[16:], crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, data))
	return append(b, data...)
}

// errTorn says that what follows is no whole record.
var errTorn = errors.New("torn record")

// next reads one record that must have number want (any when want is 0).
func next(r io.Reader, want uint64) (seq uint64, events int, data []byte, err error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err == io.EOF {
		return 0, 0, nil, io.EOF
	} else if err != nil {
		return 0, 0, nil, errTorn
	}
	n := binary.BigEndian.Uint32(h[0:])
	seq = binary.BigEndian.Uint64(h[8:])
	if n > MaxRecord || (want != 0 && seq != want) {
		return 0, 0, nil, errTorn
	}
	data = make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return 0, 0, nil, errTorn
	}
	if crc32.Update(crc32.Checksum(h[:16], castagnoli), castagnoli, data) != binary.BigEndian.Uint32(h[16:]) {
		return 0, 0, nil, errTorn
	}
	return seq, int(binary.BigEndian.Uint32(h[4:])), data, nil
}

// scan reads a segment and says how many bytes after its last whole record
// are worthless.
func scan(path string) (*segment, int64, error) {
	first, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".seg"), 16, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("%s is no segment: %w", filepath.Base(path), err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	seg := &segment{path: path, first: first}
	for r := bufio.NewReaderSize(f, 64<<10); ; {
		_, events, data, err := next(r, seg.end())
		if err != nil {
			return seg, info.Size() - seg.size, nil
		}
		seg.add(events, len(data))
	}
}

func (s *segment) add(events, size int) {
	s.at, s.count = append(s.at, s.size), append(s.count, events)
	s.size += int64(header + size)
}

func readRecord(path string, at int64, seq uint64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return nil, err
	}
	_, _, data, err := next(f, seq)
	if err != nil {
		return nil, fmt.Errorf("record %d at offset %d of %s: %w", seq, at, filepath.Base(path), err)
	}
	return data, nil
}

// write appends a record to the last segment, or to a new one, and syncs it.
func (s *Spool) write(events int, data []byte) error {
	if s.broken {
		if err := s.mend(); err != nil {
			return err
		}
	}
	if len(s.segs) > 0 && s.file != nil && s.segs[len(s.segs)-1].size >= s.cfg.SegmentBytes {
		if err := s.closeFile(); err != nil {
			return err
		}
	}
	if s.file == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	seg := s.segs[len(s.segs)-1]
	_, err := s.file.Write(encode(s.next, events, data))
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.broken = true
		return errors.Join(err, s.mend())
	}
	seg.add(events, len(data))
	s.size += int64(header + len(data))
	s.next++
	return nil
}

// mend cuts off half a record. Until it succeeds nothing may be appended. An
// empty segment is removed, so that it does not count as something to drop.
func (s *Spool) mend() error {
	seg := s.segs[len(s.segs)-1]
	if len(seg.at) == 0 {
		s.broken = false
		err := s.closeFile()
		s.segs = s.segs[:len(s.segs)-1]
		return errors.Join(err, os.Remove(seg.path))
	}
	if err := os.Truncate(seg.path, seg.size); err != nil {
		return err
	}
	s.broken = false
	return nil
}

// begin makes a new segment. Its name is synced before a record counts.
func (s *Spool) begin() error {
	path := filepath.Join(s.cfg.Dir, fmt.Sprintf("%016x.seg", s.next))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := SyncDir(s.cfg.Dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	s.file = f
	s.segs = append(s.segs, &segment{path: path, first: s.next})
	return nil
}

// readNumber reads a number that writeNumber wrote; what is damaged is 0.
func (s *Spool) readNumber(name string) uint64 {
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, name))
	if err != nil || len(b) != 12 || crc32.Checksum(b[:8], castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// writeNumber overwrites twelve bytes in place: that works on a full disk, too.
func (s *Spool) writeNumber(name string, n uint64) {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], n)
	binary.BigEndian.PutUint32(b[8:], crc32.Checksum(b[:8], castagnoli))
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, name), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteAt(b[:], 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.cfg.Log.Error("spool mark", "err", err)
	}
}
