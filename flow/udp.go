package flow

import (
	"encoding/binary"
	"strconv"
)

const (
	search      = "BT-SEARCH * HTTP/1.1\r\n"
	trackerID   = "\x00\x00\x04\x17\x27\x10\x19\x80" // protocol number of BEP 15
	connectSize = 16
)

// datagram looks at one UDP payload. Datagrams stand for themselves, so a
// connection that is not recognised by its first may be by a later one.
func (t *Table) datagram(i int32, side int, p *packet) {
	if len(p.payload) == 0 {
		return
	}
	t.listenDatagram(i, side, p)
	t.recogniseDatagram(i, side, p)
	t.conclude(i)
}

func (t *Table) recogniseDatagram(i int32, side int, p *packet) {
	s := &t.slots[i]
	var v verdict
	if s.app == appDNS && t.conf.Tell != nil {
		t.tellDNS(i, side, p, &v)
	}
	switch s.app {
	case appUnknown, appBitTorrent:
	case appEDonkey:
		t.kadPeers(i, side, p.payload)
		return
	case appEthereum:
		t.neighbours(i, side, p.payload)
		return
	case appSTUN:
		if stun(p.payload, p.plen) && checksPeer(p.payload) {
			t.checks(i)
		}
		return
	default:
		return
	}
	known := t.torrent(i, side, p, &v)
	s = &t.slots[i]
	switch {
	case s.app != appUnknown:
	case known:
		t.label(i, &v)
	default:
		t.other(i, side, p, &v)
	}
	if t.slots[i].app == appBitTorrent && p.payload[0] == utpData {
		t.utpStream(i, side, p)
	}
}

// other looks at a datagram of an unknown connection that is not BitTorrent.
func (t *Table) other(i int32, side int, p *packet, v *verdict) {
	s := &t.slots[i]
	s.looks = min(s.looks+1, weakLooks+1)
	switch {
	case benign(p, v) || usual(p, v):
		t.label(i, v)
		if v.app == appDNS && t.conf.Tell != nil {
			t.tell(i, side, LabelDNS, dnsFacts(p.payload))
		}
		if v.app == appSTUN && len(p.payload) == p.plen && checksPeer(p.payload) {
			t.checks(i)
		}
	case sharing(p.payload, s.looks <= weakLooks, v):
		t.label(i, v)
		switch v.app {
		case appEDonkey:
			t.kadPeers(i, side, p.payload)
		case appEthereum:
			t.neighbours(i, side, p.payload)
		}
	case s.suspect:
		t.harvested(i, certain)
	default:
		s.unknown = true
	}
}

// kadPeers names the contacts of an answer of Kad. The address and the ports
// have their lowest byte first.
func (t *Table) kadPeers(i int32, side int, b []byte) {
	var v verdict
	if len(b) < 19 || b[0] != 0xe4 || b[1] != 0x29 || !kad(b, &v) {
		return
	}
	for at := 19; at+25 <= len(b); at += 25 {
		c := b[at : at+25]
		a := [16]byte{10: 0xff, 11: 0xff, 12: c[19], 13: c[18], 14: c[17], 15: c[16]}
		for _, port := range [2]uint16{binary.LittleEndian.Uint16(c[20:]), binary.LittleEndian.Uint16(c[22:])} {
			t.name(i, side, endpointOf(a, port), c[16:24], at+16, ruleKad)
		}
	}
}

// tellDNS tells a further message on a connection that is known to be DNS.
func (t *Table) tellDNS(i int32, side int, p *packet, v *verdict) {
	if benign(p, v) && v.app == appDNS {
		t.tell(i, side, LabelDNS, dnsFacts(p.payload))
	}
}

func (t *Table) label(i int32, v *verdict) {
	t.identify(i, v)
	t.emit(i, Identified, "")
}

// torrent reports whether p is BitTorrent for certain, and names the peers in
// it whether or not the connection has its label already.
func (t *Table) torrent(i int32, side int, p *packet, v *verdict) bool {
	b := p.payload
	cut := len(b) < p.plen
	*v = verdict{app: appBitTorrent, proof: b[:min(len(b), MaxProof)]}
	switch {
	case b[0] == 'd' && len(b) > 12:
		var k krpc
		v.rule = ruleDHT
		if cut {
			return cutKRPC(b)
		}
		if parseKRPC(b, &k) {
			t.krpcPeers(i, side, b, &k)
			return true
		}
	case hasPrefix(b, search):
		v.rule = ruleLSD
		t.searchPort(i, side, b)
		return true
	case len(b) == connectSize && !cut && hasPrefix(b, trackerID) && binary.BigEndian.Uint32(b[8:]) == 0:
		v.rule = ruleTrackerUDP
		return true
	case t.slots[i].rule == ruleTrackerUDP:
		t.trackerUDP(i, side, b)
	case t.slots[i].app == appUnknown && t.slots[i].utp.answered(side, b, p.plen):
		v.rule, v.proof = ruleUTP, b[:utpHeader]
		return true
	case b[0] == utpData && t.slots[i].app == appUnknown && utpGreeting(b): // the capture began in the middle
		v.at = len(b) - len(utpBody(b))
		v.rule, v.proof = ruleHandshake, b[v.at:v.at+handshakeSize]
		return true
	}
	*v = verdict{}
	return false
}

// searchPort names the port that local service discovery tells (BEP 14).
func (t *Table) searchPort(i int32, side int, b []byte) {
	value, ok := header(b[len(search):], "port")
	if !ok {
		return
	}
	port, err := strconv.ParseUint(string(value[:min(len(value), 8)]), 10, 16)
	if err != nil {
		return
	}
	e := t.slots[i].key.end(side)
	at := cap(b) - cap(value) // value is a part of b
	t.name(i, side, endpointOf([16]byte(e[:16]), uint16(port)), value, at, ruleLSD)
}

// trackerUDP reads announces and their answers on a connection that began with
// the protocol number of UDP trackers (BEP 15).
func (t *Table) trackerUDP(i int32, side int, b []byte) {
	s := &t.slots[i]
	fromClient := side == int(s.opener)
	e := s.key.end(side)
	switch {
	case fromClient && len(b) >= 98 && binary.BigEndian.Uint32(b[8:]) == 1:
		if port := binary.BigEndian.Uint16(b[96:]); port != 0 {
			t.name(i, side, endpointOf([16]byte(e[:16]), port), b[96:98], 96, ruleTrackerUDP)
		}
	case !fromClient && len(b) >= 20 && binary.BigEndian.Uint32(b) == 1:
		size := 18
		if isIPv4(e) {
			size = 6
		}
		if (len(b)-20)%size == 0 {
			t.compact(i, side, b[20:], 20, size, ruleTrackerUDP)
		}
	}
}

func isIPv4(e endpoint) bool {
	return e[10] == 0xff && e[11] == 0xff && binary.BigEndian.Uint64(e[:]) == 0 && e[8]|e[9] == 0
}

// benign recognises DNS in a datagram.
func benign(p *packet, v *verdict) bool {
	app := appDNS
	switch {
	case groupIs(p.dst, 224, 251, 0xfb):
		if app = appMDNS; !multicastDNS(p.payload) {
			return false
		}
	case !dnsMessage(p.payload, len(p.payload) < p.plen):
		return false
	case groupIs(p.dst, 224, 252, 3):
		app = appLLMNR
	}
	*v = verdict{app: app, rule: ruleOfApp, proof: p.payload[:min(len(p.payload), MaxProof)]}
	return true
}

// groupIs reports whether a is the link-local group 224.0.0.low or ff02::six
// (for 252 ff02::1:3).
func groupIs(a [16]byte, first, low, six byte) bool {
	if a == [16]byte{10: 0xff, 11: 0xff, 12: first, 15: low} {
		return true
	}
	want := [16]byte{0: 0xff, 1: 0x02, 15: six}
	if low == 252 {
		want[13] = 1
	}
	return a == want
}
