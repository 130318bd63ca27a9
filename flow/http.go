package flow

import (
	"bytes"
	"net/netip"
	"strconv"
)

var methods = [...]string{"GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "}

// classifyHTTP recognises HTTP/1 requests and answers, and among the requests
// those to a BitTorrent tracker.
func classifyHTTP(b []byte, final bool, v *verdict) (more bool) {
	if prefixOf(b, "HTTP/1.") {
		if len(b) < 12 {
			return true
		}
		if (b[7] == '0' || b[7] == '1') && b[8] == ' ' && b[9] >= '1' && b[9] <= '5' {
			*v = verdict{app: appHTTP, rule: ruleOfApp, proof: b[:12]}
		}
		return false
	}
	for _, m := range methods {
		if !prefixOf(b, m) {
			continue
		}
		if len(b) <= len(m) {
			return true
		}
		return request(b, len(m), final, v)
	}
	return false
}

// request reads a request whose target begins at offset at.
func request(b []byte, at int, final bool, v *verdict) (more bool) {
	nl := bytes.IndexByte(b, '\n')
	if nl < 0 {
		line := bytes.TrimSuffix(b, []byte{'\r'}) // as far as it goes
		if !printable(line) {
			return false
		}
		// The line may be longer than what is kept, or the capture was cut.
		if final && (b[at] == '/' || hasPrefix(b[at:], "http://")) {
			*v = verdict{app: appHTTP, rule: ruleOfApp, proof: b[:min(len(b), MaxProof)]}
			announce(b, at, len(b), v)
		}
		return true
	}
	line := bytes.TrimSuffix(b[:nl], []byte{'\r'})
	target := line[min(at, len(line)):]
	if !bytes.HasSuffix(target, []byte(" HTTP/1.1")) && !bytes.HasSuffix(target, []byte(" HTTP/1.0")) || !printable(line) {
		return false
	}
	*v = verdict{app: appHTTP, rule: ruleOfApp, proof: line[:min(len(line), MaxProof)]}
	if b[0] == 'G' && announce(b, at, len(line)-len(" HTTP/1.1"), v) {
		v.name, _ = header(b[nl+1:], "host")
		return false
	}
	name, whole := header(b[nl+1:], "host")
	v.name = name
	seeds(b, nl+1, at, v)
	return !whole || v.app == appHTTP && !final && !bytes.Contains(b, []byte("\r\n\r\n"))
}

// seeds reads in the headers of a request, which begin at from, who asks and
// for what: a file of Gnutella by its URN, a range by a BitTorrent client that
// names itself (BEP 19), or a WebSocket.
func seeds(b []byte, from, target int, v *verdict) {
	h := b[from:]
	if hasPrefix(b[target:], "/uri-res/N2R?urn:") {
		v.app, v.rule = appGnutella, ruleGnutellaGet
		return
	}
	if upgrade, _ := header(h, "upgrade"); equalFoldAll(upgrade, "websocket") {
		v.upgrade = true
		return
	}
	agent, _ := header(h, "user-agent")
	if ranged, _ := header(h, "range"); ranged == nil || !torrentClient(agent) {
		return
	}
	v.app, v.rule, v.sure = appBitTorrent, ruleWebSeed, probable
	v.at = cap(b) - cap(agent) // agent is a part of b
	v.proof = agent[:min(len(agent), MaxProof)]
}

// torrentClient knows the names that BitTorrent clients give themselves. aria2
// is not among them: most use it for plain downloads.
func torrentClient(agent []byte) bool {
	for _, n := range [...]string{"Transmission/", "libtorrent/", "qBittorrent", "Deluge", "uTorrent", "BTWebClient", "BitTorrent", "Azureus", "BiglyBT",
		"rtorrent", "KTorrent", "BitComet", "Tixati", "BitLord", "Tribler", "FrostWire", "WebTorrent"} {
		if hasPrefix(agent, n) {
			return true
		}
	}
	return false
}

// announce looks in the query of the target b[at:to] for a 20-byte info_hash.
func announce(b []byte, at, to int, v *verdict) bool {
	q := bytes.IndexByte(b[at:to], '?')
	if q < 0 {
		return false
	}
	found := false
	for from := at + q + 1; from < to; {
		n := bytes.IndexByte(b[from:to], '&')
		if n < 0 {
			n = to - from
		}
		p := b[from : from+n]
		switch {
		case hasPrefix(p, "info_hash=") && decoded(p[10:]) == 20 && !found:
			found = true
			v.app, v.rule, v.proof, v.at = appBitTorrent, ruleTrackerHTTP, p[:min(n, MaxProof)], from
		case hasPrefix(p, "port=") && n <= 10:
			if port, err := strconv.ParseUint(string(p[5:]), 10, 16); err == nil {
				v.port, v.ports, v.portA = uint16(port), p, from
			}
		}
		from += n + 1
	}
	return found
}

// decoded counts the bytes of a percent-encoded value, -1 when it is malformed.
func decoded(s []byte) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return -1
			}
			i += 2
		}
		n++
	}
	return n
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// header returns the value of a header field; whole says that looking at more
// bytes would not change the answer. name is in lower case.
func header(b []byte, name string) (value []byte, whole bool) {
	for len(b) > 0 {
		nl := bytes.IndexByte(b, '\n')
		if nl < 0 {
			return nil, false
		}
		line := bytes.TrimSuffix(b[:nl], []byte{'\r'})
		if len(line) == 0 {
			return nil, true
		}
		if len(line) > len(name) && line[len(name)] == ':' && equalFold(line[:len(name)], name) {
			value = bytes.TrimSpace(line[len(name)+1:])
			if !printable(value) {
				return nil, true
			}
			return value, true
		}
		b = b[nl+1:]
	}
	return nil, false
}

func equalFold(b []byte, lower string) bool {
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// answer reads what an HTTP tracker answers, as far as data goes, and names
// the peers in it. It reports whether more bytes may hold more peers.
func (t *Table) answer(i int32, side int, data []byte) (more bool) {
	if !prefixOf(data, "HTTP/1.") {
		return false
	}
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		return true
	}
	if len(data) < 12 || data[9] != '2' {
		return false
	}
	body := end + 4
	if v, _ := header(data[:end+2], "transfer-encoding"); equalFoldAll(v, "chunked") {
		// Trackers answer in one chunk; its size line is all that is in the way.
		nl := bytes.IndexByte(data[body:], '\n')
		if nl < 0 {
			return len(data)-body < 20
		}
		body += nl + 1
	}
	b := bencode{data: data, pos: body}
	for b.open('d'); b.more(); {
		key, _ := b.text()
		if b.bad {
			break
		}
		switch {
		case is(key, "peers") && b.kind() == 'l':
			t.peerList(i, side, &b)
		case is(key, "peers") || is(key, "peers6"):
			s, at := b.text()
			t.compact(i, side, s, at, 6+12*(len(key)-5), ruleTrackerHTTP)
		default:
			b.skip()
		}
	}
	return b.cut
}

func equalFoldAll(b []byte, lower string) bool { return len(b) == len(lower) && equalFold(b, lower) }

// compact names peers of size bytes each: address and port (BEP 23, BEP 7).
func (t *Table) compact(i int32, side int, s []byte, at, size int, r rule) {
	for ; len(s) >= size; s, at = s[size:], at+size {
		if e, ok := compactEndpoint(s[:size]); ok {
			t.name(i, side, e, s[:size], at, r)
		}
	}
}

func compactEndpoint(s []byte) (e endpoint, ok bool) {
	switch len(s) {
	case 6:
		e[10], e[11] = 0xff, 0xff
		copy(e[12:], s)
	case 18:
		copy(e[:], s)
	default:
		return e, false
	}
	return e, true
}

// peerList names peers of the older form, a list of dictionaries (BEP 3).
func (t *Table) peerList(i int32, side int, b *bencode) {
	for b.open('l'); b.more(); {
		start := b.pos
		var ip []byte
		var port int64
		for b.open('d'); b.more(); {
			key, _ := b.text()
			switch {
			case is(key, "ip"):
				ip, _ = b.text()
			case is(key, "port"):
				port = b.integer()
			default:
				b.skip()
			}
		}
		if b.bad {
			return
		}
		a, err := netip.ParseAddr(string(ip[:min(len(ip), 64)])) // host names cannot be matched with packets
		if err == nil && port > 0 && port < 1<<16 {
			t.name(i, side, endpointOf(a.As16(), uint16(port)), b.data[start:b.pos], start, ruleTrackerHTTP)
		}
	}
}
