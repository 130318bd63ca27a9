package flow

// mode says what the table still wants from one direction of a TCP connection.
type mode uint8

const (
	modeFirst  mode = iota // the first bytes, to find out what it is
	modeOff                // nothing
	modeWatch              // the client of an HTTP connection: its next request
	modeAnswer             // what an HTTP tracker answers
	modeFrame              // frames of a WebSocket
	modePeer               // messages between BitTorrent peers
)

func (t *Table) tcp(i int32, side int, p *packet) {
	s := &t.slots[i]
	d := &s.side[side]
	seq := p.seq
	if p.flags&flagSYN != 0 {
		d.isn, d.syn = seq, true
		seq++
		if !d.known {
			d.base, d.known = seq, true
		}
	}
	if p.plen > 0 {
		t.listen(i, side, p, seq) // first, so that a name comes with its facts
		t.segment(i, side, p, seq)
		t.conclude(i)
		if t.slots[i].hidden() {
			t.follow(i, side, p, seq)
		}
	}
	if p.flags&flagFIN != 0 {
		s.side[side].fin = true
	}
	if p.flags&flagRST != 0 {
		s.rst = true
	}
}

// segment looks at the payload of p, whose first byte has sequence number seq.
func (t *Table) segment(i int32, side int, p *packet, seq uint32) {
	d := &t.slots[i].side[side]
	b := p.payload
	switch {
	case d.mode == modeOff:
		return
	case d.mode == modePeer:
		t.peerWire(i, side, p, seq)
		return
	case d.mode == modeFrame:
		t.frame(i, side, p)
		return
	case d.mode == modeWatch:
		if !hasPrefix(b, "GET ") {
			return
		}
		d.mode, d.base, d.known = modeFirst, seq, true
	case !d.known: // the capture began in the middle
		d.base, d.known = seq, true
	}
	rel := int(int32(seq - d.base))
	if rel < 0 { // a retransmission that reaches back, or a keep-alive probe
		if -rel >= len(b) {
			return
		}
		b, rel = b[-rel:], 0
	}
	cut := len(p.payload) < p.plen
	if rel == 0 && d.buf == none {
		if len(b) > 0 && !t.consider(i, side, p, b, cut) {
			return
		}
		if cut { // nothing can follow a hole
			t.silence(i, side)
			return
		}
	}
	t.collect(i, side, p, rel, b, cut)
}

// collect keeps b for later and looks again at what is complete.
func (t *Table) collect(i int32, side int, p *packet, rel int, b []byte, cut bool) {
	d := &t.slots[i].side[side]
	from := t.poolOf(d.mode)
	fresh := d.buf == none
	if fresh {
		if rel >= from.size {
			return
		}
		owner := i*2 + int32(side)
		n, robbed := from.take(owner)
		d.buf = n
		if robbed != none {
			r := &t.slots[robbed/2].side[robbed%2]
			r.buf, r.mode = none, modeOff
		}
	}
	st := &from.all[d.buf]
	before := len(st.prefix())
	st.insert(rel, b)
	if fresh && rel == 0 {
		return // consider has just seen these bytes
	}
	prefix := st.prefix()
	if len(prefix) == before {
		return
	}
	full := len(prefix) == len(st.data) || cut && rel+len(b) >= len(prefix)
	if t.consider(i, side, p, prefix, full) && full {
		t.silence(i, side)
	}
}

func (t *Table) poolOf(m mode) *pool {
	if m == modeAnswer {
		return &t.large
	}
	return &t.small
}

// silence stops looking at one direction.
func (t *Table) silence(i int32, side int) {
	d := &t.slots[i].side[side]
	if d.buf != none {
		t.poolOf(d.mode).put(d.buf)
		d.buf = none
	}
	d.mode = modeOff
}

// consider looks at the first bytes of one direction and reports whether it
// wants more. final says that no more will come.
func (t *Table) consider(i int32, side int, p *packet, data []byte, final bool) bool {
	s := &t.slots[i]
	if s.side[side].mode == modeAnswer {
		if t.answer(i, side, data) && !final {
			return true
		}
		t.silence(i, side)
		return false
	}
	var v verdict
	if t.wants(s, side, data, final, &v) && !final {
		return true
	}
	t.silence(i, side)
	switch {
	case v.app == appUnknown && s.app == appUnknown:
		s.unknown = true
		if s.suspect {
			t.harvested(i, certain)
		}
	case v.rule == ruleTrackerHTTP:
		t.tracker(i, side, p, &v)
	case s.app == appHTTP || s.app == appBitTorrent:
		// A further request on a connection that is already known.
		s.side[side].mode = modeWatch
	case s.app == appUnknown:
		t.identify(i, &v)
		t.silence(i, 1-side)
		if v.app == appHTTP || v.rule == ruleWebSeed {
			t.watchClient(i, side, data)
		}
		t.emit(i, Identified, "")
		if v.app == appTLS || v.upgrade {
			t.lookedFor(i, v.name)
		}
		if v.rule == ruleHandshake {
			t.greet(i, side, p)
		}
		if v.upgrade {
			s.side[0].mode, s.side[1].mode = modeFrame, modeFrame
		}
	}
	return false
}

// wants looks at the first bytes of one direction and reports whether more of
// them could change the verdict.
func (t *Table) wants(s *slot, side int, data []byte, final bool, v *verdict) bool {
	more := classify(data, final, v)
	if v.app != appUnknown || s.app != appUnknown {
		return more
	}
	if len(data) < winnySize {
		return more || !s.suspect
	}
	if classifyWinny(data, v) {
		return false
	}
	if len(data) >= mseKey {
		s.shape.random[side] = random(data[:mseKey])
		return more
	}
	s.unknown = s.unknown || !more
	return more || !s.suspect && s.shape.state == shapeOpen && !printable(data)
}

// watchClient waits for further requests on an HTTP connection, of which side
// sent data.
func (t *Table) watchClient(i int32, side int, data []byte) {
	if hasPrefix(data, "HTTP/") {
		side = 1 - side
	}
	t.slots[i].side[side].mode = modeWatch
}

// tracker notes a request to an HTTP tracker and waits for the answer and for
// the next request.
func (t *Table) tracker(i int32, side int, p *packet, v *verdict) {
	s := &t.slots[i]
	t.silence(i, 1-side)
	if s.app != appBitTorrent {
		t.identify(i, v)
		t.emit(i, Identified, "")
		s = &t.slots[i]
	}
	s.side[side].mode = modeWatch
	if p != nil && p.flags&flagACK != 0 {
		// What the client acknowledged so far came before the answer.
		other := &s.side[1-side]
		other.mode, other.base, other.known = modeAnswer, p.ack, true
	}
	if v.port != 0 {
		e := s.key.end(side)
		t.name(i, side, endpointOf([16]byte(e[:16]), v.port), v.ports, v.portA, ruleTrackerHTTP)
	}
}

// lastLook decides on streams that were still waiting for more bytes.
func (t *Table) lastLook(i int32) {
	for side := range 2 {
		d := &t.slots[i].side[side]
		if d.buf == none || d.mode == modePeer {
			continue
		}
		if prefix := t.poolOf(d.mode).all[d.buf].prefix(); len(prefix) > 0 {
			t.consider(i, side, nil, prefix, true)
		}
	}
}
