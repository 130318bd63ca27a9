package pcap

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/bits"
	"time"

	"github.com/sonae/sonae/flow"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacketOld = 2
	blockSimple    = 3
	blockEnhanced  = 6
)

const (
	sectionMagic  = 0x1a2b3c4d
	maxInterfaces = 4096
	maxOptions    = 64 << 10 // of an interface, the only ones that are read
)

// iface is one interface of the current section.
type iface struct {
	link   flow.LinkType
	snap   uint32
	base   uint64 // units of time per second
	offset int64  // seconds to add
}

// blocks reads a pcapng file whose first block type was read already.
func (s *source) blocks(first [4]byte) error {
	if err := s.section(); err != nil {
		return err
	}
	for {
		s.start = s.at
		var head [8]byte
		if err := s.fill(head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if errors.Is(err, io.ErrUnexpectedEOF) {
			return s.damaged("the file ends inside a block header")
		} else if err != nil {
			return err
		}
		if [4]byte(head[:4]) == first {
			if err := s.sectionFrom(head[4:]); err != nil {
				return err
			}
			continue
		}
		if err := s.block(s.order.Uint32(head[:]), s.order.Uint32(head[4:])); err != nil {
			return err
		}
	}
}

// section reads a section header after its block type.
func (s *source) section() error {
	var length [4]byte
	if err := s.need(length[:], "a section header"); err != nil {
		return err
	}
	return s.sectionFrom(length[:])
}

func (s *source) sectionFrom(length []byte) error {
	var body [16]byte
	if err := s.need(body[:], "a section header"); err != nil {
		return err
	}
	switch uint32(sectionMagic) {
	case binary.LittleEndian.Uint32(body[:]):
		s.order = binary.LittleEndian
	case binary.BigEndian.Uint32(body[:]):
		s.order = binary.BigEndian
	default:
		return s.damaged("a section header without its byte order mark")
	}
	if major := s.order.Uint16(body[4:]); major != 1 {
		return s.damaged("version %d of the pcapng format is unknown", major)
	}
	n := s.order.Uint32(length)
	if n < 28 || n%4 != 0 {
		return s.damaged("a section header of %d bytes", n)
	}
	s.ifaces = s.ifaces[:0]
	return s.rest(n, 24)
}

// rest skips what is left of a block of n bytes of which done were read, and
// checks the length that is repeated at its end.
func (s *source) rest(n, done uint32) error {
	if err := s.skip(int64(n-done-4), "a block"); err != nil {
		return err
	}
	var again [4]byte
	if err := s.need(again[:], "a block"); err != nil {
		return err
	}
	if s.order.Uint32(again[:]) != n {
		return s.damaged("a block says %d bytes at its beginning and %d at its end", n, s.order.Uint32(again[:]))
	}
	return nil
}

// block reads a block of n bytes after its 8-byte header.
func (s *source) block(kind, n uint32) error {
	if n < 12 || n%4 != 0 {
		return s.damaged("a block of %d bytes", n)
	}
	switch kind {
	case blockInterface:
		return s.iface(n)
	case blockEnhanced, blockPacketOld:
		return s.enhanced(kind, n)
	case blockSimple:
		return s.simple(n)
	}
	return s.rest(n, 8)
}

func (s *source) iface(n uint32) error {
	if n < 20 {
		return s.damaged("an interface description of %d bytes", n)
	}
	if len(s.ifaces) == maxInterfaces {
		return s.damaged("more than %d interfaces", maxInterfaces)
	}
	size := n - 12
	if size > maxOptions {
		return s.damaged("an interface description of %d bytes", n)
	}
	b := s.space(int(size))
	if err := s.need(b, "an interface description"); err != nil {
		return err
	}
	i := iface{link: flow.LinkType(s.order.Uint16(b)), snap: s.order.Uint32(b[4:]), base: 1e6}
	if err := s.options(&i, b[8:]); err != nil {
		return err
	}
	s.ifaces = append(s.ifaces, i)
	return s.rest(n, n-4)
}

// options reads the time resolution and offset of an interface.
func (s *source) options(i *iface, b []byte) error {
	for len(b) >= 4 {
		code, size := s.order.Uint16(b), int(s.order.Uint16(b[2:]))
		padded := 4 + (size+3)&^3
		if code == 0 {
			return nil
		}
		if padded > len(b) {
			return s.damaged("an option of %d bytes reaches over its block", size)
		}
		v := b[4 : 4+size]
		switch {
		case code == 9 && size == 1:
			base, ok := resolution(v[0])
			if !ok {
				return s.damaged("a time resolution of %#02x", v[0])
			}
			i.base = base
		case code == 14 && size == 8:
			i.offset = int64(s.order.Uint64(v))
		}
		b = b[padded:]
	}
	return nil
}

// resolution returns the units per second of if_tsresol: a negative power of
// ten, or of two when the top bit is set.
func resolution(v byte) (uint64, bool) {
	if v&0x80 != 0 {
		return 1 << (v & 0x3f), v&0x7f < 64
	}
	base := uint64(1)
	for range v {
		if base > math.MaxUint64/10 {
			return 0, false
		}
		base *= 10
	}
	return base, true
}

// time converts units since 1970 to a time. Overflow wraps, as in the file.
func (i iface) time(units uint64) time.Time {
	sec, rest := units/i.base, units%i.base
	hi, lo := bits.Mul64(rest, 1e9)
	ns, _ := bits.Div64(hi, lo, i.base) // rest < base, so the quotient fits
	return time.Unix(int64(sec)+i.offset, int64(ns)).UTC()
}

// enhanced reads a packet with a time: an enhanced packet block or the older
// packet block, which differ in how they number the interface.
func (s *source) enhanced(kind, n uint32) error {
	if n < 32 {
		return s.damaged("a packet block of %d bytes", n)
	}
	var h [20]byte
	if err := s.need(h[:], "a packet block"); err != nil {
		return err
	}
	id := s.order.Uint32(h[:])
	if kind == blockPacketOld {
		id = uint32(s.order.Uint16(h[:]))
	}
	if id >= uint32(len(s.ifaces)) {
		return s.damaged("a packet of interface %d, which was not described", id)
	}
	size, length := s.order.Uint32(h[12:]), s.order.Uint32(h[16:])
	if size > MaxPacket || size > n-32 {
		return s.damaged("a packet of %d bytes in a block of %d", size, n)
	}
	b := s.space(int(size))
	if err := s.need(b, "a packet"); err != nil {
		return err
	}
	i := s.ifaces[id]
	at := i.time(uint64(s.order.Uint32(h[4:]))<<32 | uint64(s.order.Uint32(h[8:])))
	if err := s.rest(n, 28+size); err != nil {
		return err
	}
	return s.deliver(Packet{At: at, Link: i.link, Data: b, Length: wire(length, size)})
}

// simple reads a packet without a time, which belongs to the first interface.
func (s *source) simple(n uint32) error {
	if n < 16 {
		return s.damaged("a simple packet block of %d bytes", n)
	}
	if len(s.ifaces) == 0 {
		return s.damaged("a packet of interface 0, which was not described")
	}
	var h [4]byte
	if err := s.need(h[:], "a packet block"); err != nil {
		return err
	}
	length, i := s.order.Uint32(h[:]), s.ifaces[0]
	size := min(length, n-16)
	if i.snap != 0 {
		size = min(size, i.snap)
	}
	if size > MaxPacket {
		return s.damaged("a packet of %d bytes", size)
	}
	b := s.space(int(size))
	if err := s.need(b, "a packet"); err != nil {
		return err
	}
	if err := s.rest(n, 12+size); err != nil {
		return err
	}
	return s.deliver(Packet{At: time.Unix(0, 0).UTC(), Link: i.link, Data: b, Length: wire(length, size)})
}
