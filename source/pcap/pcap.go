// Package pcap reads and writes capture files.
//
// In: pcap and pcapng streams from anywhere. Out: packets in the order of the
// file, and pcapng streams that Wireshark and tcpdump read. Always true:
// reading needs at most a few hundred KiB whatever the file says; everything
// before a damaged place is delivered, and the error names the offset of the
// damage; nothing is read that was not asked for.
package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sonae/sonae/flow"
)

// MaxPacket is the most bytes of one packet that are believed, the limit that
// libpcap sets as well.
const MaxPacket = 256 << 10

// Packet is one captured frame.
type Packet struct {
	At     time.Time // UTC
	Link   flow.LinkType
	Data   []byte // valid only until the function that received it returns
	Length int    // bytes on the wire; more than len(Data) when the capture was cut
	Number int    // position in the file, from 1
}

// ErrDamaged is wrapped by every error about the content of a file, as opposed
// to an error of the reader underneath or of the caller's function.
var ErrDamaged = errors.New("damaged capture")

// ErrFormat says that a stream is neither pcap nor pcapng. It is an ErrDamaged too.
var ErrFormat = fmt.Errorf("%w: neither pcap nor pcapng", ErrDamaged)

// A DamageError names where in the file something is wrong.
type DamageError struct {
	Offset int64  // of the record or block that could not be used
	What   string // what is wrong with it
}

// Error says where and what.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%v at offset %d: %s", ErrDamaged, e.Offset, e.What)
}

// Unwrap makes errors.Is(err, ErrDamaged) true.
func (e *DamageError) Unwrap() error { return ErrDamaged }

// Read calls f for every packet of r, a pcap file (either byte order,
// microseconds or nanoseconds) or a pcapng file (any number of sections and
// interfaces). It returns nil at a clean end, a *DamageError where the file is
// damaged or ends too early, ErrFormat when it is no capture, and otherwise
// the error of r or f.
func Read(r io.Reader, f func(Packet) error) error {
	s := &source{r: bufio.NewReaderSize(r, 64<<10), f: f}
	var magic [4]byte
	if err := s.fill(magic[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrFormat
		}
		return err
	}
	if binary.LittleEndian.Uint32(magic[:]) == blockSection {
		return s.blocks(magic)
	}
	return s.records(magic)
}

// source counts the bytes it reads, so that damage has an offset.
type source struct {
	r      *bufio.Reader
	f      func(Packet) error
	at     int64 // bytes read so far
	start  int64 // of the record or block being read
	number int
	buf    []byte
	head   [16]byte // of a record; here, so that it is not made for each
	// pcapng only
	order  binary.ByteOrder
	ifaces []iface
}

func (s *source) fill(b []byte) error {
	n, err := io.ReadFull(s.r, b)
	s.at += int64(n)
	return err
}

// need fills b, which the record or block says must be there.
func (s *source) need(b []byte, what string) error {
	err := s.fill(b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s.damaged("the file ends inside %s", what)
	}
	return err
}

func (s *source) skip(n int64, what string) error {
	d, err := io.CopyN(io.Discard, s.r, n)
	s.at += d
	if errors.Is(err, io.EOF) {
		return s.damaged("the file ends inside %s", what)
	}
	return err
}

func (s *source) damaged(format string, args ...any) error {
	return &DamageError{Offset: s.start, What: fmt.Sprintf(format, args...)}
}

// space returns a buffer of n bytes that is used again for the next packet.
func (s *source) space(n int) []byte {
	if cap(s.buf) < n {
		s.buf = make([]byte, max(n, 4096))
	}
	return s.buf[:n]
}

func (s *source) deliver(p Packet) error {
	s.number++
	p.Number = s.number
	return s.f(p)
}

// records reads a classic pcap file after its magic number.
func (s *source) records(magic [4]byte) error {
	order, perSecond, ok := classic(magic)
	if !ok {
		return ErrFormat
	}
	var head [20]byte
	if err := s.need(head[:], "the file header"); err != nil {
		return err
	}
	if major := order.Uint16(head[:]); major != 2 {
		return s.damaged("version %d of the pcap format is unknown", major)
	}
	// The upper bits may say how long the frame check sequence is.
	link := flow.LinkType(order.Uint32(head[16:]) & 0x03ffffff)
	for {
		s.start = s.at
		r := s.head[:]
		if err := s.fill(r); errors.Is(err, io.EOF) {
			return nil
		} else if errors.Is(err, io.ErrUnexpectedEOF) {
			return s.damaged("the file ends inside a record header")
		} else if err != nil {
			return err
		}
		size, length := order.Uint32(r[8:]), order.Uint32(r[12:])
		if size > MaxPacket {
			return s.damaged("a packet of %d bytes", size)
		}
		b := s.space(int(size))
		if err := s.need(b, "a packet"); err != nil {
			return err
		}
		sec, frac := int64(order.Uint32(r)), int64(order.Uint32(r[4:]))
		at := time.Unix(sec, frac*(int64(time.Second)/perSecond)).UTC()
		if err := s.deliver(Packet{At: at, Link: link, Data: b, Length: wire(length, size)}); err != nil {
			return err
		}
	}
}

func classic(magic [4]byte) (order binary.ByteOrder, perSecond int64, ok bool) {
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch o.Uint32(magic[:]) {
		case 0xa1b2c3d4:
			return o, 1e6, true
		case 0xa1b23c4d:
			return o, 1e9, true
		}
	}
	return nil, 0, false
}

// wire returns the length on the wire, which some writers leave out.
func wire(length, captured uint32) int {
	return int(min(max(length, captured), 1<<31-1))
}
