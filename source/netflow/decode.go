package netflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
	"github.com/netsampler/goflow2/v2/decoders/sflow"

	"github.com/sonae/sonae/flow"
)

// Errors of datagrams.
var (
	errTemplate = netflow.ErrorTemplateNotFound
	errBounds   = errors.New("more than an exporter may ask for")
	errVersion  = errors.New("neither NetFlow 5 or 9 nor IPFIX nor sFlow 5")
)

// decoder reads the datagrams of one exporter.
type decoder struct {
	templates *templates
	sampling  uint32 // as options said last
}

func newDecoder() *decoder {
	return &decoder{templates: &templates{known: netflow.FlowBaseTemplateSet{}}}
}

// datagram calls each for every record of a connection. What was readable
// before an error was told.
func (d *decoder) datagram(data []byte, now time.Time, each func(record)) error {
	if len(data) < 4 {
		return errVersion
	}
	switch version := binary.BigEndian.Uint16(data); {
	case version == 5:
		return d.five(data, now, each)
	case version == 9:
		return d.nine(data, now, each)
	case version == 10:
		return d.ipfix(data, now, each)
	case version == 0 && binary.BigEndian.Uint32(data) == 5:
		return d.sflow(data, now, each)
	}
	return errVersion
}

// five reads NetFlow 5 (Cisco, 24-byte header, 48 bytes a record).
func (d *decoder) five(data []byte, now time.Time, each func(record)) error {
	if len(data) < 24 || int(binary.BigEndian.Uint16(data[2:])) > (len(data)-24)/48 {
		return errBounds
	}
	var p netflowlegacy.PacketNetFlowV5
	if err := netflowlegacy.DecodeMessageVersion(bytes.NewBuffer(data), &p); err != nil {
		return fmt.Errorf("NetFlow 5: %w", err)
	}
	clock := newTicks(time.Unix(int64(p.UnixSecs), int64(p.UnixNSecs)), p.SysUptime, now)
	d.sampling = uint32(p.SamplingInterval & 0x3fff) // the upper two bits are the mode
	for _, r := range p.Records {
		each(d.sampled(record{kind: "netflow", proto: protoName(uint64(r.Proto)), src: four(uint32(r.SrcAddr), r.SrcPort), dst: four(uint32(r.DstAddr), r.DstPort),
			bytes: int64(r.DOctets), packets: int64(r.DPkts), syn: r.TCPFlags&tcpSYN != 0, first: clock.at(r.First), last: clock.at(r.Last)}.plausible(now)))
	}
	return nil
}

func four(a uint32, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, a))), port)
}

// nine reads NetFlow 9 (RFC 3954). The library takes the count of the header
// for that of sets, but exporters count records, and some only those of data:
// what the datagram holds is read to its end.
func (d *decoder) nine(data []byte, now time.Time, each func(record)) error {
	data = bytes.Clone(data)
	binary.BigEndian.PutUint16(data[2:], 1<<16-1)
	var p netflow.NFv9Packet
	err := netflow.DecodeMessageVersion(bytes.NewBuffer(data), d.templates, &p, nil)
	d.sets(p.FlowSets, "netflow", newTicks(time.Unix(int64(p.UnixSeconds), 0), p.SystemUptime, now), now, each)
	if err != nil {
		return fmt.Errorf("NetFlow 9: %w", err)
	}
	return nil
}

// ipfix reads IPFIX (RFC 7011).
func (d *decoder) ipfix(data []byte, now time.Time, each func(record)) error {
	if len(data) < 16 || int(binary.BigEndian.Uint16(data[2:])) < 16 {
		return errBounds
	}
	var p netflow.IPFIXPacket
	err := netflow.DecodeMessageVersion(bytes.NewBuffer(data), d.templates, nil, &p)
	d.sets(p.FlowSets, "ipfix", ticks{}, now, each)
	if err != nil {
		return fmt.Errorf("IPFIX: %w", err)
	}
	return nil
}

func (d *decoder) sets(all []any, kind string, clock ticks, now time.Time, each func(record)) {
	for _, set := range all {
		switch s := set.(type) {
		case netflow.OptionsDataFlowSet:
			for _, r := range s.Records {
				d.options(r.OptionsValues)
			}
		case netflow.DataFlowSet:
			for _, r := range s.Records {
				if out, ok := readFields(r.Values, clock, now); ok {
					out.kind = kind
					each(d.sampled(out))
				}
			}
		}
	}
}

// sampled makes up for packets that the exporter did not look at.
func (d *decoder) sampled(r record) record {
	n := int64(max(d.sampling, 1))
	r.bytes, r.packets, r.backBytes, r.backPackets = grown(r.bytes, n), grown(r.packets, n), grown(r.backBytes, n), grown(r.backPackets, n)
	return r
}

// grown multiplies within what a counter holds.
func grown(v, n int64) int64 {
	const most = 1 << 62
	if v < 0 {
		return 0
	}
	if v > most/n {
		return most
	}
	return v * n
}

// sflow reads samples of packets (sFlow 5, sflow.org). The library believes
// what a sample says of the number of its records, so that is looked at first.
func (d *decoder) sflow(data []byte, now time.Time, each func(record)) error {
	if err := sampleBounds(data); err != nil {
		return err
	}
	var p sflow.Packet
	err := sflow.DecodeMessageVersion(bytes.NewBuffer(data), &p)
	for _, sample := range p.Samples {
		switch s := sample.(type) {
		case sflow.FlowSample:
			d.samples(s.Records, s.SamplingRate, now, each)
		case sflow.ExpandedFlowSample:
			d.samples(s.Records, s.SamplingRate, now, each)
		}
	}
	if err != nil {
		return fmt.Errorf("sFlow: %w", err)
	}
	return nil
}

// samples tells the packets of one sample: each stands for rate of them.
func (d *decoder) samples(records []sflow.FlowRecord, rate uint32, now time.Time, each func(record)) {
	d.sampling = rate
	for _, r := range records {
		h, ok := r.Data.(sflow.SampledHeader)
		if !ok {
			continue
		}
		link, ok := links[h.Protocol]
		if !ok {
			continue
		}
		proto, src, dst, ok := flow.Ends(link, h.HeaderData)
		if ok {
			each(d.sampled(record{kind: "sflow", proto: proto, src: src, dst: dst, bytes: int64(h.FrameLength), packets: 1, first: now, last: now}))
		}
	}
}

// links are the header protocols of sFlow that can be read.
var links = map[uint32]flow.LinkType{1: flow.LinkEthernet, 11: flow.LinkIPv4, 12: flow.LinkIPv6}

// maxRecords bounds the records of one sample; a record has 8 bytes at least.
const maxRecords = 256

// sampleBounds walks over the samples of a datagram, and refuses those that
// promise more records than bytes.
func sampleBounds(data []byte) error {
	at := 8 // version, kind of address
	if len(data) < at {
		return errBounds
	}
	switch binary.BigEndian.Uint32(data[4:]) {
	case 1:
		at += 4
	case 2:
		at += 16
	default:
		return errBounds
	}
	at += 16 // sub-agent, sequence, uptime, number of samples
	for len(data)-at >= 8 {
		format, size := binary.BigEndian.Uint32(data[at:]), int64(binary.BigEndian.Uint32(data[at+4:]))
		at += 8
		if size > int64(len(data)-at) {
			return errBounds
		}
		sample := data[at : at+int(size)]
		at += int(size)
		number, known := map[uint32]int{1: 28, 2: 8, 3: 40, 4: 12, 5: 28}[format] // where a sample says how many records it has
		if known && len(sample) >= number+4 && binary.BigEndian.Uint32(sample[number:]) > maxRecords {
			return errBounds
		}
	}
	return nil
}

// templates remembers what an exporter's records look like.
type templates struct{ known netflow.FlowBaseTemplateSet }

func templateKey(version uint16, domain uint32, id uint16) uint64 {
	return uint64(version)<<48 | uint64(domain)<<16 | uint64(id)
}

// AddTemplate implements netflow.NetFlowTemplateSystem. A template whose
// records have no bytes would never end, and one with very many fields would
// make much of few bytes.
func (t *templates) AddTemplate(version uint16, domain uint32, id uint16, template any) error {
	var fields []netflow.Field
	switch s := template.(type) {
	case netflow.TemplateRecord:
		fields = s.Fields
	case netflow.IPFIXOptionsTemplateRecord:
		fields = append(append(fields, s.Scopes...), s.Options...)
	case netflow.NFv9OptionsTemplateRecord:
		fields = append(append(fields, s.Scopes...), s.Options...)
	}
	size := 0
	for _, f := range fields {
		size += int(f.Length)
	}
	key := templateKey(version, domain, id)
	if _, again := t.known[key]; size == 0 || len(fields) > maxFields || !again && len(t.known) >= maxTemplates {
		return errBounds
	}
	t.known[key] = template
	return nil
}

// GetTemplate implements netflow.NetFlowTemplateSystem.
func (t *templates) GetTemplate(version uint16, domain uint32, id uint16) (any, error) {
	if s, ok := t.known[templateKey(version, domain, id)]; ok {
		return s, nil
	}
	return nil, errTemplate
}

// RemoveTemplate implements netflow.NetFlowTemplateSystem.
func (t *templates) RemoveTemplate(version uint16, domain uint32, id uint16) (any, error) {
	s, err := t.GetTemplate(version, domain, id)
	delete(t.known, templateKey(version, domain, id))
	return s, err
}

// GetTemplates implements netflow.NetFlowTemplateSystem.
func (t *templates) GetTemplates() netflow.FlowBaseTemplateSet { return t.known }
