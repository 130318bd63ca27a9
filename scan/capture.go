package scan

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// Kinds of captures.
const (
	kindPcap   = "pcap"
	kindPcapng = "pcapng"
)

// captureKind knows pcap in both byte orders with micro- and nanoseconds, and
// pcapng.
func captureKind(head []byte) string {
	if bytes.HasPrefix(head, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		return kindPcapng
	}
	for _, magic := range [][]byte{{0xd4, 0xc3, 0xb2, 0xa1}, {0xa1, 0xb2, 0xc3, 0xd4}, {0x4d, 0x3c, 0xb2, 0xa1}, {0xa1, 0xb2, 0x3c, 0x4d}} {
		if bytes.HasPrefix(head, magic) {
			return kindPcap
		}
	}
	return ""
}

// reading is one capture that is being read.
type reading struct {
	*worker
	told map[told]bool
	err  error
}

// told is a finding that was kept: a rule says the same of a connection when
// it is identified, while it lives, and at its end.
type told struct{ rule, flow string } // or the field in which a threat list was named

// maxTold bounds what is remembered; beyond it a rule may repeat itself.
const maxTold = 1 << 20

// capture runs the packets through the same table as an agent's sensor does.
func (w *worker) capture(r *bufio.Reader) error {
	c := &reading{worker: w, told: map[told]bool{}}
	table := flow.New(flow.Config{Emit: c.flow, Tell: c.message})
	err := pcap.Read(r, func(p pcap.Packet) error {
		w.stats.Packets++
		w.at.Record = uint64(p.Number)
		table.Packet(p.At, p.Link, p.Data)
		if c.err != nil {
			return c.err
		}
		return w.ctx.Err()
	})
	table.Flush()
	if c.err != nil {
		return c.err
	}
	return err
}

// flow matches one word of the table about a connection.
func (c *reading) flow(f flow.Flow) {
	if c.err != nil {
		return
	}
	c.err = c.emit(f)
}

func (c *reading) emit(f flow.Flow) error {
	about := flowOf(f)
	if c.run.opt.Flows && f.Phase == flow.End {
		if err := c.run.connection(c.place, c.at, about); err != nil {
			c.broken = err
			return err
		}
	}
	e := flow.Event(f, local)
	e.Host = e.Fields[event.FieldLocalIP] // whom rules that count by host count for
	r := record(e)
	c.stats.Events++
	c.run.opt.Progress.events.Add(1)
	c.seen.add(r)
	if !c.inTime(r) {
		return nil
	}
	c.hits = c.hits[:0]
	c.matcher.Match(r, func(h detect.Hit) { c.hits = append(c.hits, h) })
	c.hits = slices.DeleteFunc(c.hits, func(h detect.Hit) bool {
		k := told{h.Rule.ID, f.ID}
		if !h.Alone {
			return false
		}
		again := c.told[k]
		if len(c.told) < maxTold {
			c.told[k] = true
		}
		return again && !h.Counted
	})
	e.ID = fmt.Sprintf("%s/%s/%s", c.at.id(), f.ID, f.Phase)
	if len(c.hits) > 0 {
		if c.broken = c.hit(e, about); c.broken != nil {
			return c.broken
		}
	}
	if err := c.listedFlow(e, about); err != nil {
		return err
	}
	o, ok := baseline.Of(&e)
	return c.watch(o, ok, about)
}

// message takes in what was asked inside a connection.
func (c *reading) message(m flow.Message) {
	if c.err != nil || !m.FromOpener { // an answer repeats its question
		return
	}
	e := flow.MessageEvent(m, local)
	e.ID, e.Host = fmt.Sprintf("%s/%s", c.at.id(), m.Flow), e.Fields[event.FieldLocalIP]
	if !c.inTime(record(e)) {
		return
	}
	if c.err = c.listedFlow(e, nil); c.err != nil {
		return
	}
	o, ok := baseline.Of(&e)
	c.err = c.watch(o, ok, nil)
}

// listedFlow judges what a connection names of threat lists, once for each.
func (c *reading) listedFlow(e event.Event, about *Flow) error {
	h, ok := c.run.opt.Lists.Event(&e, c.run.opt.Source.Now)
	k := told{h.Field, e.Fields[event.FieldFlowID]}
	if !ok || c.told[k] {
		return nil
	}
	if len(c.told) < maxTold {
		c.told[k] = true
	}
	return c.again(h.Event(e), about, nil)
}

// local takes the private networks for one's own side: a capture does not say
// on which machine it was made.
func local(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
}

// record is an event as readers give it.
func record(e event.Event) *event.Record {
	r := &event.Record{Time: e.Time, Host: e.Host, Product: e.Product, Service: e.Service, Categories: []string{e.Category}}
	for name, value := range e.Fields {
		r.Add([]byte(name), []byte(value), event.Plain)
	}
	return r
}
