package pcap

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/sonae/sonae/flow"
)

// Writer writes a pcapng stream with times to the nanosecond: one section,
// and one interface for each link type, described when its first packet
// comes. It is not safe for concurrent use.
type Writer struct {
	w      *bufio.Writer
	ifaces map[flow.LinkType]uint32
	buf    []byte
}

// NewWriter writes the section header to w. program names the writer in the
// file, "" leaves it out. The caller ends with Flush.
func NewWriter(w io.Writer, program string) (*Writer, error) {
	p := &Writer{w: bufio.NewWriterSize(w, 64<<10), ifaces: make(map[flow.LinkType]uint32)}
	b := binary.LittleEndian.AppendUint32(nil, sectionMagic)
	b = append(b, 1, 0, 0, 0)                                     // version 1.0
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // length of the section unknown
	if program != "" {
		b = option(b, 4, []byte(program)) // shb_userappl
		b = option(b, 0, nil)
	}
	if err := p.block(blockSection, b); err != nil {
		return nil, err
	}
	return p, nil
}

func option(b []byte, code uint16, v []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
	return pad(append(b, v...))
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Write adds one packet. Number is not used; Length 0 means that Data is all.
func (p *Writer) Write(k Packet) error {
	if len(k.Data) > MaxPacket {
		return fmt.Errorf("write pcapng: a packet of %d bytes, more than %d", len(k.Data), MaxPacket)
	}
	id, ok := p.ifaces[k.Link]
	if !ok {
		var err error
		if id, err = p.describe(k.Link); err != nil {
			return err
		}
	}
	ns := uint64(k.At.UnixNano())
	b := binary.LittleEndian.AppendUint32(p.buf[:0], id)
	b = binary.LittleEndian.AppendUint32(b, uint32(ns>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(ns))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(k.Data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(max(k.Length, len(k.Data))))
	p.buf = pad(append(b, k.Data...))
	return p.block(blockEnhanced, p.buf)
}

// describe writes the interface of a link type.
func (p *Writer) describe(link flow.LinkType) (uint32, error) {
	if link > 0xffff {
		return 0, fmt.Errorf("write pcapng: link type %d does not fit the format", link)
	}
	b := binary.LittleEndian.AppendUint16(nil, uint16(link))
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, MaxPacket)
	b = option(b, 9, []byte{9}) // if_tsresol: nanoseconds
	b = option(b, 0, nil)
	id := uint32(len(p.ifaces))
	p.ifaces[link] = id
	return id, p.block(blockInterface, b)
}

func (p *Writer) block(kind uint32, body []byte) error {
	var head [8]byte
	binary.LittleEndian.PutUint32(head[:], kind)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(body)+12))
	p.w.Write(head[:])
	p.w.Write(body)
	if _, err := p.w.Write(head[4:]); err != nil { // bufio keeps the first error
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
}

// Flush hands everything to the writer underneath.
func (p *Writer) Flush() error {
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
}
