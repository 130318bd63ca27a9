package evtx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Sizes of the format, in bytes.
const (
	chunkSize   = 64 << 10
	headerBlock = 4 << 10 // of the file
	headerData  = 128     // the part of it that is used; the same in a chunk
	chunkHeader = 512
)

// Flags of files and chunks.
const (
	flagDirty = 1
	flagNoCRC = 4
)

var (
	fileMagic  = []byte("ElfFile\x00")
	chunkMagic = []byte("ElfChnk\x00")
)

var le = binary.LittleEndian

// Chunk is a part of a log that can be decoded without the others.
type Chunk struct {
	Offset   int64  // in the stream
	Data     []byte // at most 64 KiB, good until the function that received it returns
	Unsummed bool   // carries no checksums
	Headless bool   // its header is not to be trusted; records are searched for
}

// Chunks calls f for every chunk of r, also for what is left of damaged ones,
// so that they can be decoded elsewhere, several at a time. Its report holds
// nothing about records.
func Chunks(ctx context.Context, r io.Reader, opt Options, f func(Chunk) error) (Report, error) {
	s := &splitter{r: r, opt: opt, f: f, room: make([]byte, 2*chunkSize)}
	err := s.run(ctx)
	s.report.Bytes = s.at + int64(len(s.have))
	return s.report, err
}

// splitter cuts a stream into chunks.
type splitter struct {
	r      io.Reader
	opt    Options
	f      func(Chunk) error
	room   []byte
	have   []byte // bytes read and not used, in room
	at     int64  // offset of have
	ended  bool
	report Report

	found    int // chunks with a header
	declared int // by the file's header, 0 when that is not known
}

func (s *splitter) run(ctx context.Context) error {
	sound, err := s.header()
	if err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.fill(chunkSize + chunkHeader); err != nil {
			return err
		}
		if len(s.have) == 0 {
			break
		}
		n, err := s.block()
		if err != nil {
			return err
		}
		s.drop(n)
	}
	if !sound && s.found == 0 {
		return ErrFormat
	}
	if s.found < s.declared {
		s.damage(s.at, fmt.Sprintf("%d chunks where the header counts %d", s.found, s.declared))
	}
	return nil
}

// fill reads until n bytes are there or the stream ends.
func (s *splitter) fill(n int) error {
	if len(s.have) >= n || s.ended {
		return nil
	}
	s.have = s.room[:copy(s.room, s.have)]
	for len(s.have) < n {
		m, err := s.r.Read(s.room[len(s.have):])
		s.have = s.room[:len(s.have)+m]
		if errors.Is(err, io.EOF) {
			s.ended = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("read at offset %d: %w", s.at+int64(len(s.have)), err)
		}
	}
	return nil
}

func (s *splitter) drop(n int) {
	s.have = s.have[n:]
	s.at += int64(n)
}

func (s *splitter) damage(offset int64, reason string) {
	s.report.damage(s.opt, Damage{Offset: offset, Reason: reason})
}

// header reads the header of the file and reports whether there is one.
func (s *splitter) header() (sound bool, err error) {
	if err := s.fill(headerBlock); err != nil {
		return false, err
	}
	h := s.have
	if len(h) < headerData || !bytes.HasPrefix(h, fileMagic) {
		s.damage(0, "no file header")
		return false, nil
	}
	flags := le.Uint32(h[120:])
	s.report.Dirty = flags&flagDirty != 0
	s.report.Unsummed = flags&flagNoCRC != 0
	size := headerBlock
	if !s.report.Unsummed && crc32.ChecksumIEEE(h[:120]) != le.Uint32(h[124:]) {
		s.damage(0, "checksum of the file header is wrong")
	} else {
		s.declared = int(le.Uint16(h[42:]))
		if n := int(le.Uint16(h[40:])); n >= headerData {
			size = n
		}
	}
	if s.declared == 0xffff { // the field is full at 4 GiB
		s.declared = 0
	}
	s.drop(min(size, len(h)))
	return true, nil
}

// block deals with what stands at the beginning of have, and returns how many
// bytes that was.
func (s *splitter) block() (int, error) {
	w := s.have[:min(len(s.have), chunkSize)]
	if bytes.HasPrefix(w, chunkMagic) {
		return s.chunk(w)
	}
	if zero(w) {
		if s.found < s.declared {
			s.damage(s.at, "zeroes where a chunk should be")
		}
		return len(w), nil
	}
	end := len(w)
	if next := nextChunk(s.have[1:]); next >= 0 && 1+next < end {
		end = 1 + next
	}
	if bytes.Contains(w[:end], recordMagic) {
		s.damage(s.at, "no chunk header; searching for records")
		return end, s.f(Chunk{Offset: s.at, Data: w[:end], Unsummed: s.report.Unsummed, Headless: true})
	}
	s.damage(s.at, fmt.Sprintf("%d bytes that are no chunk", end))
	return end, nil
}

// chunk hands out a chunk that has a header.
func (s *splitter) chunk(w []byte) (int, error) {
	s.found++
	if len(w) < chunkSize {
		s.damage(s.at, fmt.Sprintf("the chunk ends after %d bytes", len(w)))
	}
	c := Chunk{Offset: s.at, Data: w, Unsummed: s.report.Unsummed}
	if len(w) < chunkHeader {
		return len(w), nil
	}
	if !c.summed() {
		// bytes may be missing, so that the next chunk begins too early
		if next := nextChunk(s.have[chunkHeader:]); next >= 0 && chunkHeader+next < len(w) {
			c.Data = w[:chunkHeader+next]
			s.damage(s.at, fmt.Sprintf("the next chunk begins after %d bytes", len(c.Data)))
		}
	}
	return len(c.Data), s.f(c)
}

// summed reports whether all checksums of a chunk with a header are right.
func (c *Chunk) summed() bool {
	return c.headerSummed() && c.recordsSummed()
}

func (c *Chunk) headerSummed() bool {
	return c.without() || crc32.Update(crc32.ChecksumIEEE(c.Data[:120]), crc32.IEEETable, c.Data[128:chunkHeader]) == le.Uint32(c.Data[124:])
}

func (c *Chunk) recordsSummed() bool {
	free := le.Uint32(c.Data[48:])
	return c.without() || free >= chunkHeader && int(free) <= len(c.Data) && crc32.ChecksumIEEE(c.Data[chunkHeader:free]) == le.Uint32(c.Data[52:])
}

func (c *Chunk) without() bool { return c.Unsummed || le.Uint32(c.Data[120:])&flagNoCRC != 0 }

// nextChunk finds a chunk's header in b. Eight bytes of magic may also be
// text in an event, so the fixed size in the header must be right as well.
func nextChunk(b []byte) int {
	for from := 0; ; {
		i := bytes.Index(b[from:], chunkMagic)
		if i < 0 || from+i+44 > len(b) {
			return -1
		}
		from += i
		if le.Uint32(b[from+40:]) == headerData {
			return from
		}
		from++
	}
}

func zero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if le.Uint64(b) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
