package flow

import (
	"bytes"
	"encoding/binary"
)

// frameLooks is how many segments of each direction of a WebSocket are looked
// at: trackers are told of a client in the first.
const frameLooks = 64

// frameBytes is how much of a frame is unmasked.
const frameBytes = 2048

// frame looks whether a segment begins with a WebSocket frame (RFC 6455
// section 5.2) that speaks of a torrent: what a client announces, what the
// tracker answers, or an offer of another client that it passes on.
func (t *Table) frame(i int32, side int, p *packet) {
	s := &t.slots[i]
	d := &s.side[side]
	if d.looks++; d.looks > frameLooks {
		d.mode = modeOff
		return
	}
	if s.app == appBitTorrent {
		return
	}
	b, ok := t.unmasked(p.payload)
	if !ok {
		return
	}
	at := bytes.Index(b, []byte(`"info_hash"`))
	if at < 0 || b[0] != '{' || !bytes.Contains(b, []byte(`"announce"`)) && !bytes.Contains(b, []byte(`"scrape"`)) && !bytes.Contains(b, []byte(`"offer`)) {
		return
	}
	n := &t.notes.all[s.note]
	name := n.name[:n.nameN]
	v := verdict{app: appBitTorrent, rule: ruleTrackerWS, proof: b[at:min(len(b), at+MaxProof)], at: at, name: bytes.Clone(name)}
	t.identify(i, &v)
	t.emit(i, Identified, "")
	t.announced(i)
}

// unmasked returns the beginning of the text of the frame that b begins with.
// The text stays until the next call.
func (t *Table) unmasked(b []byte) (text []byte, ok bool) {
	if len(b) < 2 || b[0]&0x70 != 0 || b[0]&15 > 2 {
		return nil, false
	}
	at, size := 2, uint64(b[1]&0x7f)
	switch {
	case size == 126 && len(b) >= 4:
		at, size = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127 && len(b) >= 10:
		at, size = 10, binary.BigEndian.Uint64(b[2:])
	case size > 125:
		return nil, false
	}
	var mask [4]byte
	if b[1]&0x80 != 0 {
		if len(b) < at+4 {
			return nil, false
		}
		mask = [4]byte(b[at:])
		at += 4
	}
	n := int(min(size, uint64(len(b)-at), frameBytes))
	for k, c := range b[at : at+n] {
		t.text[k] = c ^ mask[k&3]
	}
	return t.text[:n], n > 16
}

// webTorrentTracker knows the public trackers of WebTorrent by name. Only what
// a host does beside asking for one of them makes it suspect.
func webTorrentTracker(name []byte) bool {
	if colon := bytes.LastIndexByte(name, ':'); colon > 0 {
		name = name[:colon]
	}
	for _, known := range [...]string{"tracker.openwebtorrent.com", "tracker.webtorrent.dev", "tracker.btorrent.xyz", "tracker.fastcast.nz", "tracker.webtorrent.io",
		"tracker.files.fm", "tracker.novage.com.ua", "tracker.sloppyta.co", "tracker.ghostchu-services.top", "tracker.magnetoo.io", "hub.bugout.link", "tracker.gbitt.info"} {
		if equalFoldAll(name, known) {
			return true
		}
	}
	return false
}
