package flow

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// shareGreeting is what a server of Share EX2 sends first: so many bytes, of
// which the first ten are always the same (JP 2007-133362). Which ones is not
// known here, so that only several servers that agree speak for it.
const (
	shareGreeting = 158
	sharePrefix   = 10
)

// follow watches the shape of a TCP connection that is not recognised.
func (t *Table) follow(i int32, side int, p *packet, seq uint32) {
	s := &t.slots[i]
	d := &s.side[side]
	if !d.known || !s.side[0].syn && !s.side[1].syn {
		return
	}
	rel := int(int32(seq - d.base))
	switch s.shape.state {
	case shapeOpen:
		if rel == 0 && s.shape.flight == 0 && p.plen == shareGreeting && side != int(s.opener) {
			t.greeted(i, p)
		}
		judge := s.shape.see(side, rel, p.payload, p.plen)
		if s.shape.flight == 2 && s.shape.rlpx(int(s.opener)) {
			s.shape.state = shapeRLPx
			t.shaped(i, p)
		}
		if judge {
			s.shape.judge(int(s.opener), p.payload, s.portOf(1-int(s.opener)))
			t.shaped(i, p)
		}
	case shapeFits:
		t.revealed(i, side, p, rel)
	}
}

// hidden reports whether what connection s is said to be rests on its shape
// only, so that plain bytes in it still matter.
func (s *slot) hidden() bool { return s.app == appUnknown || s.rule == ruleMSEHost }

// revealed looks in the fourth flight of an obfuscated handshake for the plain
// one: the two sides may agree to hide the beginning only.
func (t *Table) revealed(i int32, side int, p *packet, rel int) {
	s := &t.slots[i]
	if side == int(s.opener) || rel > int(s.shape.size[1])+mseThird+msePad {
		return
	}
	at := bytes.Index(p.payload, []byte(handshake))
	if at < 0 {
		return
	}
	b := p.payload[at:min(len(p.payload), at+handshakeSize)]
	t.identify(i, &verdict{app: appBitTorrent, rule: ruleMSEPlain, proof: b, at: rel + at})
	t.emit(i, Identified, "")
}

// shaped notes the evidence of a connection whose first three flights are
// there, and decides about its two hosts.
func (t *Table) shaped(i int32, p *packet) {
	s := &t.slots[i]
	switch s.shape.state {
	case shapeFits, shapeStrange:
	case shapeRLPx:
		v := verdict{app: appEthereum, rule: ruleRLPx, sure: probable, proof: binary.BigEndian.AppendUint16(nil, s.shape.head[s.opener])}
		t.label(i, &v)
		t.silence(i, 0)
		t.silence(i, 1)
		return
	default:
		return
	}
	if s.shape.state == shapeFits {
		at := int(s.shape.seen[s.opener]) - p.plen
		t.remember(i, &verdict{proof: p.payload[:min(len(p.payload), MaxProof)], at: max(at, 0)})
	}
	opener, near := int(s.opener), sameNet(s.addrOf(0), s.addrOf(1))
	for side := range 2 {
		h := t.hosts.get(s.addrOf(side), t.now)
		other := partner{addr: s.addrOf(1 - side), at: t.now, a: uint32(s.shape.size[0]), b: uint32(s.shape.size[1]), near: near}
		if s.shape.state == shapeFits {
			t.enter(h, kindMSE, other)
			continue
		}
		t.enter(h, kindStrange, other)
		other.a, other.b = uint32(s.portOf(1-opener)), 0
		k := kindOut
		if side != opener {
			k = kindIn
		}
		t.enter(h, k, other)
		if h.guilty(k, t.now) {
			h.found[kindOut] = t.now
		}
	}
	if s.shape.state == shapeFits {
		t.accuseHosts(i, kindMSE)
	}
}

// enter notes that a connection of h speaks of kind k, here and in the other lanes.
func (t *Table) enter(h *host, k kind, p partner) {
	h.rings[k].add(p)
	if t.board != nil {
		t.board.tell(&news{what: topicPartner, host: h.addr, kind: k, partner: p})
	}
}

// accuseHosts judges both ends of connection i by their evidence of kind k and
// gives the label to the connections it speaks of: to all of a host when it is
// found guilty, to this one when it was before.
func (t *Table) accuseHosts(i int32, k kind) {
	for side := range 2 {
		addr := t.slots[i].addrOf(side)
		h := t.hosts.find(addr)
		if h == nil {
			continue
		}
		switch {
		case t.known(h, k):
			t.convict(i, k)
		case t.enough(h, k):
			h.found[k] = t.now
			t.convictAll(addr, k)
		}
	}
}

// enough reports whether the evidence of kind k convicts the host.
func (t *Table) enough(h *host, k kind) bool {
	return h.guilty(k, t.now) && (k != kindRTC || recent(h.wss, t.now))
}

// known reports whether the host needs no more evidence of kind k.
func (t *Table) known(h *host, k kind) bool {
	if recent(h.found[k], t.now) && (k != kindMSE || h.guilty(k, t.now)) { // what came since may speak against it
		h.found[k] = t.now
		return true
	}
	switch k {
	case kindMSE:
		return recent(h.proved[appBitTorrent], t.now)
	case kindRTC:
		return recent(h.announced, t.now)
	}
	return false
}

// speaksOf reports whether evidence of kind k is about connection s.
func (s *slot) speaksOf(k kind) bool {
	switch k {
	case kindMSE:
		return s.app == appUnknown && s.shape.state == shapeFits
	case kindRTC:
		return s.app == appSTUN && s.checked
	case kindShare:
		return s.app == appUnknown && s.greeting != 0
	}
	return false
}

// convict gives connection i the label that evidence of kind k about one of its
// hosts earns it.
func (t *Table) convict(i int32, k kind) {
	s := &t.slots[i]
	if !s.speaksOf(k) {
		return
	}
	switch k {
	case kindMSE:
		s.app, s.rule, s.confidence = appBitTorrent, ruleMSEHost, probable
	case kindRTC:
		s.app, s.rule, s.confidence = appBitTorrent, ruleWebRTC, probable
	case kindShare:
		s.app, s.rule, s.confidence = appShare, ruleShare, probable
	}
	if s.proto == protoTCP {
		t.silence(i, 0)
		t.silence(i, 1)
	}
	t.emit(i, Identified, "")
	t.touch(i)
}

// convictAll gives the label to all living connections of addr.
func (t *Table) convictAll(addr [16]byte, k kind) {
	for c := range t.lists {
		for i := t.lists[c].head; i != none; {
			next := t.slots[i].after
			if s := &t.slots[i]; s.speaksOf(k) && (s.addrOf(0) == addr || s.addrOf(1) == addr) && (k != kindShare || t.agrees(s)) {
				t.convict(i, k)
			}
			i = next
		}
	}
}

// greeted notes that a server spoke first with as many bytes as one of Share.
func (t *Table) greeted(i int32, p *packet) {
	s := &t.slots[i]
	if len(p.payload) < shareGreeting || !random(p.payload[sharePrefix:]) || s.portOf(1-int(s.opener)) < 1024 || sameNet(s.addrOf(0), s.addrOf(1)) {
		return
	}
	t.remember(i, &verdict{proof: p.payload[:MaxProof]})
	h := t.hosts.get(s.addrOf(int(s.opener)), t.now)
	s.greeting = uint32(maphash.Bytes(t.seed, p.payload[:sharePrefix])) | 1
	t.enter(h, kindShare, partner{addr: s.addrOf(1 - int(s.opener)), at: t.now, a: s.greeting})
	switch {
	case !t.agrees(s):
	case recent(h.found[kindShare], t.now):
		t.convict(i, kindShare)
	default:
		h.found[kindShare] = t.now
		t.convictAll(h.addr, kindShare)
	}
}

// agrees reports whether enough servers greeted the opener of s as this one did.
func (t *Table) agrees(s *slot) bool {
	h := t.hosts.find(s.addrOf(int(s.opener)))
	return h != nil && h.rings[kindShare].agree(s.greeting, t.now) >= 3
}

// prove notes that the opener of connection i speaks a network of file sharing
// for certain, so that its unrecognised connections are seen in that light.
func (t *Table) prove(i int32) {
	s := &t.slots[i]
	if !s.app.ofInterest() || s.confidence != certain {
		return
	}
	addr := s.addrOf(int(s.opener))
	if s.proto == protoUDP && s.rule != ruleTrackerUDP && s.rule != ruleLSD && s.rule != ruleKad && t.hosts.find(addr) == nil {
		return // strangers' datagrams must not push out the evidence about others
	}
	h := t.hosts.get(addr, t.now)
	if t.board != nil && t.now-h.proved[s.app] > proofStale {
		t.board.tell(&news{what: topicProved, host: addr, app: s.app, at: t.now})
	}
	t.proven(h, s.app, t.now)
}

// proofStale is how old the proof that another lane has may become.
const proofStale = hostWindow / 10

// proven notes that h spoke the network a at the time at.
func (t *Table) proven(h *host, a app, at int64) {
	before := h.proved[a]
	h.proved[a] = at
	if a == appBitTorrent && h.rings[kindMSE].n > 0 && !recent(before, t.now) {
		t.convictAll(h.addr, kindMSE)
	}
}

// lookedFor notes that the opener of connection i asked for name.
func (t *Table) lookedFor(i int32, name []byte) {
	if len(name) == 0 || !webTorrentTracker(name) {
		return
	}
	s := &t.slots[i]
	h := t.hosts.get(s.addrOf(int(s.opener)), t.now)
	if t.board != nil {
		t.board.tell(&news{what: topicTracker, host: h.addr, at: t.now})
	}
	t.looked(h, t.now)
}

// looked notes that h asked for a WebTorrent tracker at the time at.
func (t *Table) looked(h *host, at int64) {
	h.wss = at
	if h.guilty(kindRTC, t.now) && !recent(h.found[kindRTC], t.now) {
		h.found[kindRTC] = t.now
		t.convictAll(h.addr, kindRTC)
	}
}

// announced notes that the opener of connection i announced itself to a
// WebTorrent tracker.
func (t *Table) announced(i int32) {
	s := &t.slots[i]
	h := t.hosts.get(s.addrOf(int(s.opener)), t.now)
	h.announced = t.now
	if t.board != nil {
		t.board.tell(&news{what: topicAnnounced, host: h.addr, at: t.now})
	}
	t.convictAll(h.addr, kindRTC)
}

// checks notes a connectivity check between two peers.
func (t *Table) checks(i int32) {
	s := &t.slots[i]
	if s.checked {
		return
	}
	s.checked = true
	for side := range 2 {
		h := t.hosts.get(s.addrOf(side), t.now)
		t.enter(h, kindRTC, partner{addr: s.addrOf(1 - side), at: t.now})
	}
	t.accuseHosts(i, kindRTC)
}

// control enters an ICMP message: what two hosts tell each other by it is one
// connection without ports.
func (t *Table) control(i int32, p *packet) {
	if t.slots[i].app == appUnknown {
		t.label(i, &verdict{app: appICMP, rule: ruleOfApp, proof: p.payload[:min(len(p.payload), 8)]})
	}
}

// settle gives what is left a hint when it ends: one connection that looks like
// something is no more than that.
func (t *Table) settle(i int32) {
	s := &t.slots[i]
	if s.app != appUnknown || s.proto != protoTCP {
		return
	}
	if s.shape.state == shapeOpen && s.shape.flight == 1 && s.shape.rlpx(int(s.opener)) { // nobody answered
		s.shape.state = shapeRLPx
		t.shaped(i, nil)
		return
	}
	if s.shape.state < shapeStrange {
		return
	}
	opener := t.hosts.find(s.addrOf(int(s.opener)))
	server := t.hosts.find(s.addrOf(1 - int(s.opener)))
	either := func(f func(*host) bool) bool { return opener != nil && f(opener) || server != nil && f(server) }
	switch {
	case s.shape.state == shapeFits && either(func(h *host) bool { return t.known(h, kindMSE) }):
		s.app, s.rule, s.confidence = appBitTorrent, ruleMSEHost, probable
	case either(func(h *host) bool { return recent(h.proved[appEDonkey], t.now) }) && s.portOf(1-int(s.opener)) >= 1024:
		s.app, s.rule, s.confidence = appEDonkey, ruleEDonkeyHost, hint
	case s.shape.state == shapeRLPx:
	case s.shape.state == shapeFits && opener != nil && !opener.again(kindMSE, s.addrOf(1-int(s.opener))):
		s.app, s.rule, s.confidence = appBitTorrent, ruleMSEShape, hint
	case s.shape.state == shapeStrange && either(func(h *host) bool { return recent(h.found[kindOut], t.now) }):
		s.app, s.rule, s.confidence = appPerfectDark, rulePerfectDark, hint
	}
}
