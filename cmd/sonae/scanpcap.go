package main

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// Kinds of sources.
const (
	kindPcap   = "pcap"
	kindPcapng = "pcapng"
	kindJSON   = "jsonl"
)

var pcapngMagic = []byte{0x0a, 0x0d, 0x0d, 0x0a}

// isCapture knows pcap in both byte orders with micro- and nanoseconds, and
// pcapng.
func isCapture(head []byte) bool {
	for _, magic := range [][]byte{pcapngMagic, {0xd4, 0xc3, 0xb2, 0xa1}, {0xa1, 0xb2, 0xc3, 0xd4}, {0x4d, 0x3c, 0xb2, 0xa1}, {0xa1, 0xb2, 0x3c, 0x4d}} {
		if bytes.HasPrefix(head, magic) {
			return true
		}
	}
	return false
}

// reading is one capture that is being read.
type reading struct {
	scan *scan
	at   foundSource
	told map[told]bool
}

// told is a finding that was printed: a rule says the same of a connection
// when it is identified, while it lives, and at its end.
type told struct{ rule, flow string }

// capture runs the packets through the same table as an agent's sensor does.
func (s *scan) capture(path string, r io.Reader) error {
	c := &reading{scan: s, at: foundSource{Path: path, Kind: kindPcap}, told: map[told]bool{}}
	if p, ok := r.(interface{ Peek(int) ([]byte, error) }); ok {
		if head, err := p.Peek(4); err == nil && bytes.Equal(head, pcapngMagic) {
			c.at.Kind = kindPcapng
		}
	}
	table := flow.New(flow.Config{Emit: c.flow})
	err := pcap.Read(r, func(p pcap.Packet) error {
		s.stats.Packets++
		c.at.Record = p.Number
		table.Packet(p.At, p.Link, p.Data)
		return s.ctx.Err()
	})
	table.Flush()
	return err
}

// flow matches one word of the table about a connection.
func (c *reading) flow(f flow.Flow) {
	s := c.scan
	if s.flows && f.Phase == flow.End {
		s.connection(f, c.at)
	}
	e := flow.Event(f, local)
	e.ID = fmt.Sprintf("%s#%d/%s/%s", c.at.Path, c.at.Record, f.ID, f.Phase)
	e.Host = e.Fields[event.FieldLocalIP] // whom rules that count by host count for
	s.stats.Events++
	for _, d := range s.engine.Match(event.Batch{Events: []event.Event{e}}) {
		key := told{d.Rule.ID, f.ID}
		if !c.told[key] {
			c.told[key] = true
			s.found(d, c.at, &f)
		}
	}
}

// local takes the private networks for one's own side: a capture does not say
// on which machine it was made.
func local(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
}
