package netflow

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
)

// Elements of NetFlow 9 and IPFIX that are read (IANA, "IPFIX Information
// Elements"; those up to 127 are the same in NetFlow 9).
const (
	octets, packets                = 1, 2
	protocol, controlBits          = 4, 6
	sourcePort, sourceFour         = 7, 8
	destinationPort                = 11
	destinationFour                = 12
	lastSwitched, firstSwitched    = 21, 22
	sourceSix, destinationSix      = 27, 28
	samplingInterval, samplerEvery = 34, 50
	octetsTotal, packetsTotal      = 85, 86
	startSeconds, endSeconds       = 150, 151
	startMillis, endMillis         = 152, 153
	startMicros, endMicros         = 154, 155 // NTP, like the next
	startNanos, endNanos           = 156, 157
	startDelta, endDelta           = 158, 159 // microseconds before the export
	bootMillis                     = 160
	packetInterval, packetSpace    = 305, 306

	reverse = 29305 // private enterprise number of the other direction (RFC 5103)
)

// tcpSYN is a bit of tcpControlBits (RFC 9293 section 3.1).
const tcpSYN = 2

// fields is a record under way.
type fields struct {
	record
	srcPort, dstPort uint16
	srcAddr, dstAddr netip.Addr
	clock            ticks
	first, last      uint64 // by the exporter's time since it began, ms
	hasFirst         bool
	hasLast          bool
}

// readFields makes a record of the values of one. It says no when it is not
// about a connection.
func readFields(values []netflow.DataField, clock ticks, now time.Time) (record, bool) {
	f := fields{clock: clock}
	f.record.first, f.record.last = now, now
	for _, v := range values {
		b, _ := v.Value.([]byte)
		switch {
		case len(b) == 0:
		case v.PenProvided && v.Pen == reverse:
			f.back(v.Type, b)
		case !v.PenProvided:
			f.take(v.Type, b)
		}
	}
	if !f.srcAddr.IsValid() || !f.dstAddr.IsValid() || f.proto == "" {
		return record{}, false
	}
	f.src, f.dst = netip.AddrPortFrom(f.srcAddr, f.srcPort), netip.AddrPortFrom(f.dstAddr, f.dstPort)
	if !f.clock.said.IsZero() && f.hasFirst && f.hasLast {
		f.record.first, f.record.last = f.clock.at(uint32(f.first)), f.clock.at(uint32(f.last))
	}
	return f.plausible(now), true
}

func (f *fields) take(kind uint16, b []byte) {
	n := number(b)
	switch kind {
	case controlBits:
		f.syn = n&tcpSYN != 0
	case octets, octetsTotal:
		f.bytes = counter(n)
	case packets, packetsTotal:
		f.packets = counter(n)
	case protocol:
		f.proto = protoName(n)
	case sourcePort:
		f.srcPort = uint16(n)
	case destinationPort:
		f.dstPort = uint16(n)
	case sourceFour, sourceSix:
		f.srcAddr = address(f.srcAddr, b)
	case destinationFour, destinationSix:
		f.dstAddr = address(f.dstAddr, b)
	case firstSwitched:
		f.first, f.hasFirst = n, true
	case lastSwitched:
		f.last, f.hasLast = n, true
	case bootMillis:
		f.clock = ticks{said: millis(n)}
	default:
		f.moment(kind, n)
	}
}

// moment reads the times of IPFIX.
func (f *fields) moment(kind uint16, n uint64) {
	switch kind {
	case startSeconds:
		f.record.first = time.Unix(int64(min(n, 1<<33)), 0)
	case endSeconds:
		f.record.last = time.Unix(int64(min(n, 1<<33)), 0)
	case startMillis:
		f.record.first = millis(n)
	case endMillis:
		f.record.last = millis(n)
	case startMicros, startNanos:
		f.record.first = ntp(n)
	case endMicros, endNanos:
		f.record.last = ntp(n)
	case startDelta:
		f.record.first = f.record.first.Add(-time.Duration(min(n, 1<<40)) * time.Microsecond)
	case endDelta:
		f.record.last = f.record.last.Add(-time.Duration(min(n, 1<<40)) * time.Microsecond)
	}
}

// back reads what is said of the other direction.
func (f *fields) back(kind uint16, b []byte) {
	switch kind {
	case octets, octetsTotal:
		f.backBytes = counter(number(b))
	case packets, packetsTotal:
		f.backPackets = counter(number(b))
	}
}

// plausible replaces times that cannot be: exporters without a clock begin in
// 1970.
func (r record) plausible(now time.Time) record {
	if d := now.Sub(r.last); d < -time.Hour || d > 24*time.Hour {
		r.first, r.last = now, now
	}
	if d := r.last.Sub(r.first); d < 0 || d > 7*24*time.Hour {
		r.first = r.last
	}
	return r
}

// options reads how many packets the exporter leaves out.
func (d *decoder) options(values []netflow.DataField) {
	interval, space := uint64(0), uint64(0)
	for _, v := range values {
		b, _ := v.Value.([]byte)
		if v.PenProvided {
			continue
		}
		switch v.Type {
		case samplingInterval, samplerEvery:
			interval, space = number(b), 0
			if interval > 0 {
				d.sampling = uint32(min(interval, 1<<20))
			}
			return
		case packetInterval:
			interval = number(b)
		case packetSpace:
			space = number(b)
		}
	}
	if interval > 0 {
		d.sampling = uint32(min((interval+min(space, 1<<32))/interval, 1<<20))
	}
}

// number reads up to eight bytes, big endian.
func number(b []byte) uint64 {
	if len(b) > 8 {
		return 0
	}
	n := uint64(0)
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

func counter(n uint64) int64 { return int64(min(n, 1<<62)) }

// address keeps what is known when the other family is not in use: exporters
// with one template for both fill the other with zeros.
func address(known netip.Addr, b []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if !ok || a.IsUnspecified() && known.IsValid() {
		return known
	}
	return a.Unmap()
}

// protoName is what package flow calls a protocol.
func protoName(n uint64) string {
	switch n {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 1:
		return "icmp"
	case 58:
		return "icmp6"
	case 132:
		return "sctp"
	}
	return "ip-" + strconv.FormatUint(n&0xff, 10)
}

func millis(n uint64) time.Time { return time.UnixMilli(int64(min(n, 1<<43))) }

// ntp reads seconds since 1900 and their fraction (RFC 5905).
func ntp(n uint64) time.Time {
	const since1900 = 2208988800
	return time.Unix(int64(n>>32)-since1900, int64((n&0xffffffff)*1e9>>32))
}

// ticks is the clock of an exporter: milliseconds since it began, in 32 bits.
type ticks struct {
	said time.Time // the time of the export; zero: not known
	up   uint32    // and the milliseconds then
}

// newTicks believes what the exporter says of the time, unless its clock is
// wrong.
func newTicks(said time.Time, up uint32, now time.Time) ticks {
	if d := now.Sub(said); d < -time.Hour || d > 24*time.Hour {
		said = now
	}
	return ticks{said, up}
}

// at is when the exporter counted ms. Records lie within 24 days of their
// export, so that a counter that began anew does no harm.
func (t ticks) at(ms uint32) time.Time {
	return t.said.Add(time.Duration(int32(ms-t.up)) * time.Millisecond)
}
