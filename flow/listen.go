package flow

import (
	"bytes"
	"strings"

	"github.com/sonae/sonae/flow/proto"
)

// listenBytes is how much of each direction of a TCP connection dissectors are
// given. What comes later they see segment by segment, if they want.
const listenBytes = 16 << 10

// looksAtDatagrams is how many datagrams of a connection are looked at before
// dissectors give it up.
const looksAtDatagrams = 8

// factBytes bounds what is kept of one connection's facts.
const factBytes = 4 << 10

// ear says whether dissectors listen to a connection.
type ear uint8

const (
	earOpen   ear = iota // nobody has recognised it yet
	earBusy              // a session follows it
	earClosed            // nothing more is of interest
)

// talk is what dissectors hold of one connection.
type talk struct {
	session proto.Session // TCP
	talk    proto.Talk    // UDP
	watcher proto.Watcher // session, when it goes on after the first bytes
	label   string        // of the messages
	name    string        // the host that the client asked for
	late    *verdict      // what was found while the table had not decided yet
	facts   []byte        // name, zero, value, zero …: one allocation a connection
	side    [2]ears
}

// ears is one direction of a talk.
type ears struct {
	base  uint32 // sequence number of the first byte
	seen  int    // bytes that the session was given
	buf   int32  // in the pool of deep streams, none when nothing is kept
	known bool   // base is known
	done  bool   // no more of the first bytes are wanted
}

// talks holds them by index, so that slots have no pointers.
type talks struct {
	all  []talk
	free []int32
}

func (x *talks) get() int32 {
	fresh := talk{side: [2]ears{{buf: none}, {buf: none}}}
	if n := len(x.free); n > 0 {
		i := x.free[n-1]
		x.free = x.free[:n-1]
		x.all[i] = fresh
		return i
	}
	x.all = append(x.all, fresh)
	return int32(len(x.all) - 1)
}

func (x *talks) put(i int32) {
	x.all[i] = talk{}
	x.free = append(x.free, i)
}

// party says which end of the connection a side is.
func (s *slot) party(side int) proto.Side {
	if side == int(s.opener) {
		return proto.Opener
	}
	return proto.Answerer
}

// listen gives the payload of p, whose first byte has sequence number seq, to
// the dissectors.
func (t *Table) listen(i int32, side int, p *packet, seq uint32) {
	s := &t.slots[i]
	if s.ear == earClosed {
		return
	}
	if s.talk == none {
		s.talk = t.talks.get()
	}
	e := &t.talks.all[s.talk].side[side]
	if !e.known {
		e.base, e.known = seq, true
		if d := &s.side[side]; d.syn {
			e.base = d.isn + 1
		}
	}
	b, rel := p.payload, int(int32(seq-e.base))
	if rel < 0 { // a retransmission that reaches back, or a keep-alive probe
		if -rel >= len(b) {
			return
		}
		b, rel = b[-rel:], 0
	}
	if len(b) == 0 {
		return
	}
	t.hear(i, side, rel, b, len(p.payload) < p.plen)
}

// hear takes b, which stands at offset rel of its stream. cut says that the
// capture left out what follows it in the packet.
func (t *Table) hear(i int32, side, rel int, b []byte, cut bool) {
	s := &t.slots[i]
	x := &t.talks.all[s.talk]
	e := &x.side[side]
	switch {
	case e.done || rel >= listenBytes:
		if x.watcher != nil {
			x.watcher.Segment(s.party(side), b, &t.sink)
			t.drain(i)
			t.better(s, side, rel, b)
		}
		return
	case rel == 0 && e.seen == 0 && e.buf == none: // most conversations begin so
		if !t.offer(i, side, b, cut) {
			return
		}
	}
	prefix := t.gather(i, side, rel, b)
	if len(prefix) > t.talks.all[s.talk].side[side].seen {
		t.offer(i, side, prefix, cut || len(prefix) == listenBytes)
	} else if cut {
		t.deaf(i, side)
	}
}

// gather puts b into its place and returns what is complete from the start.
func (t *Table) gather(i int32, side, rel int, b []byte) []byte {
	e := &t.talks.all[t.slots[i].talk].side[side]
	if e.buf == none {
		n, robbed := t.deep.take(i*2 + int32(side))
		e.buf = n
		if robbed != none {
			r := &t.talks.all[t.slots[robbed/2].talk].side[robbed%2]
			r.buf, r.done = none, true
		}
	}
	st := &t.deep.all[e.buf]
	st.insert(rel, b)
	return st.prefix()
}

// offer shows the dissectors the beginning of one direction and reports
// whether they want more of it.
func (t *Table) offer(i int32, side int, prefix []byte, final bool) (more bool) {
	s := &t.slots[i]
	if s.ear == earOpen {
		more = t.recognise(i, side, prefix, final)
		if s.ear == earOpen && (!more || final) {
			t.hangUp(i)
		}
		if s.ear != earBusy {
			return s.ear == earOpen
		}
		return !t.talks.all[s.talk].side[side].done
	}
	return t.give(i, side, prefix, final)
}

// give hands the beginning of one direction to the session.
func (t *Table) give(i int32, side int, prefix []byte, final bool) (more bool) {
	s := &t.slots[i]
	x := &t.talks.all[s.talk]
	e := &x.side[side]
	more = x.session.Bytes(s.party(side), prefix, e.seen, &t.sink) && !final
	e.seen = len(prefix)
	t.drain(i)
	t.better(s, side, 0, prefix)
	if !more {
		t.deaf(i, side)
	}
	return more
}

// recognise asks whose first bytes these are, and begins a session when
// somebody knows them.
func (t *Table) recognise(i int32, side int, prefix []byte, final bool) (more bool) {
	s := &t.slots[i]
	var b [2][]byte
	for j := range 2 {
		at := s.party(j)
		if b[at] = t.beginning(s, j); j == side {
			b[at] = prefix
		}
	}
	v, more := first(b, final)
	if v.Label == "" {
		return more
	}
	t.found = foundBy(v, b[v.From])
	x := &t.talks.all[s.talk]
	x.label = v.Label
	if x.session = t.sessionOf(v.Label); x.session == nil {
		t.hangUp(i)
		return false
	}
	x.watcher, _ = x.session.(proto.Watcher)
	s.ear = earBusy
	for j := range 2 { // who spoke first is heard first
		if k := (side + 1 + j) % 2; len(b[s.party(k)]) > 0 {
			t.give(i, k, b[s.party(k)], final && k == side)
		}
		if s.ear != earBusy {
			return false
		}
	}
	return true
}

// beginning returns what is complete of one direction.
func (t *Table) beginning(s *slot, side int) []byte {
	if n := t.talks.all[s.talk].side[side].buf; n != none {
		return t.deep.all[n].prefix()
	}
	return nil
}

func foundBy(v proto.Verdict, b []byte) verdict {
	from := min(v.At, len(b))
	w := verdict{app: appOf(v.Label), rule: ruleOfApp, proof: b[from:min(len(b), from+v.Size, from+MaxProof)], at: v.At, sure: certain}
	switch v.Confidence {
	case proto.Probable:
		w.sure = probable
		if w.app == appTor {
			w.rule = ruleTorTLS
		}
	case proto.Hint:
		w.sure = hint
	}
	return w
}

// better takes up that a session has found out more than the first look, in
// b, which stands at offset rel of its stream.
func (t *Table) better(s *slot, side, rel int, b []byte) {
	if v := t.sink.Better; v.Label != "" && v.From == s.party(side) {
		t.found = foundBy(v, b)
		t.found.at += rel
	}
	t.sink.Better = proto.Verdict{}
}

// deaf stops keeping the beginning of one direction. When both are done and
// nobody watches what follows, the session ends.
func (t *Table) deaf(i int32, side int) {
	s := &t.slots[i]
	x := &t.talks.all[s.talk]
	t.release(&x.side[side])
	x.side[side].done = true
	if x.side[0].done && x.side[1].done && x.watcher == nil {
		t.hangUp(i)
	}
}

func (t *Table) release(e *ears) {
	if e.buf != none {
		t.deep.put(e.buf)
		e.buf = none
	}
}

// hangUp ends listening. What was said stays until the connection ends.
func (t *Table) hangUp(i int32) {
	s := &t.slots[i]
	s.ear = earClosed
	if s.talk == none {
		return
	}
	x := &t.talks.all[s.talk]
	t.release(&x.side[0])
	t.release(&x.side[1])
	x.session, x.watcher, x.talk = nil, nil, nil
	if len(x.facts) == 0 && x.name == "" && x.late == nil {
		t.talks.put(s.talk)
		s.talk = none
	}
}

func (t *Table) forgetTalk(i int32) {
	t.hangUp(i)
	if s := &t.slots[i]; s.talk != none {
		t.talks.put(s.talk)
		s.talk = none
	}
}

// listenDatagram gives one datagram to the dissectors.
func (t *Table) listenDatagram(i int32, side int, p *packet) {
	s := &t.slots[i]
	if s.ear == earClosed || len(p.payload) < p.plen && s.ear == earOpen {
		return
	}
	if s.ear == earOpen {
		v := firstDatagram(p.payload)
		if v.Label == "" {
			if s.looked++; s.looked >= looksAtDatagrams {
				s.ear = earClosed
			}
			return
		}
		t.found = foundBy(v, p.payload)
		talk := talkOf(v.Label)
		if talk == nil {
			if s.ear = earClosed; v.Confidence == proto.Hint {
				s.ear = earOpen
			}
			return
		}
		s.talk, s.ear = t.talks.get(), earBusy
		x := &t.talks.all[s.talk]
		x.talk, x.label = talk, v.Label
	}
	more := t.talks.all[s.talk].talk.Datagram(s.party(side), p.payload, &t.sink)
	t.drain(i)
	t.sink.Better.From = s.party(side)
	t.better(s, side, 0, p.payload)
	if !more {
		t.hangUp(i)
	}
}

// drain takes what a session has put into the sink. Better stays.
func (t *Table) drain(i int32) {
	if len(t.sink.Facts) == 0 && len(t.sink.Messages) == 0 && t.sink.Name == "" {
		return
	}
	s := &t.slots[i]
	x := &t.talks.all[s.talk]
	for _, f := range t.sink.Facts {
		x.remember(f)
	}
	if t.sink.Name != "" && x.name == "" {
		x.name = t.sink.Name
	}
	if t.conf.Tell != nil {
		for _, m := range t.sink.Messages {
			side := int(s.opener)
			if m.From == proto.Answerer {
				side = 1 - side
			}
			t.tell(i, side, x.label, m.Facts)
		}
	}
	better := t.sink.Better
	t.sink.Reset()
	t.sink.Better = better
}

// remember keeps a fact of the connection, once.
func (x *talk) remember(f Fact) {
	entry := make([]byte, 0, 256)
	entry = append(append(append(append(entry, f.Name...), 0), f.Value...), 0)
	if len(x.facts)+len(entry) > factBytes {
		return
	}
	if at := bytes.Index(x.facts, entry); at == 0 || at > 0 && x.facts[at-1] == 0 {
		return
	}
	if x.facts == nil {
		x.facts = make([]byte, 0, 384) // what a handshake of TLS tells
	}
	x.facts = append(x.facts, entry...)
}

// said adds to f what dissectors have learned.
func (t *Table) said(s *slot, f *Flow) {
	if s.talk == none {
		return
	}
	x := &t.talks.all[s.talk]
	if f.Name == "" {
		f.Name = x.name
	}
	if len(x.facts) == 0 {
		return
	}
	text := string(x.facts)
	all := make([]Fact, 0, len(f.Facts)+strings.Count(text, "\x00")/2)
	all = append(all, f.Facts...)
	for text != "" {
		var fact Fact
		fact.Name, text, _ = strings.Cut(text, "\x00")
		fact.Value, text, _ = strings.Cut(text, "\x00")
		all = append(all, fact)
	}
	f.Facts = all
}

// conclude gives the connection the name that dissectors have found with this
// packet, where the table has none or a more general one.
func (t *Table) conclude(i int32) {
	s := &t.slots[i]
	v := t.found
	switch {
	case v.app != appUnknown:
		t.found = verdict{}
	case s.talk == none || t.talks.all[s.talk].late == nil:
		return
	default:
		v = *t.talks.all[s.talk].late
	}
	if v.app < appDissected && t.deciding(s) {
		t.postpone(s, v)
		return
	}
	if s.talk != none {
		t.talks.all[s.talk].late = nil
	}
	if !s.app.general() || v.app == s.app && s.confidence <= v.sure || s.app >= appDissected && v.app < appDissected {
		return
	}
	if s.note != none { // the name that the table has read stays
		v.name = append([]byte(nil), t.notes.all[s.note].text()...)
	}
	t.identify(i, &v)
	t.emit(i, Identified, "")
}

// text is the name that is kept.
func (n *note) text() []byte { return n.name[:n.nameN] }

// deciding reports whether the table itself still waits for bytes that could
// tell what a connection is.
func (t *Table) deciding(s *slot) bool {
	return s.app == appUnknown && s.proto == protoTCP && (s.side[0].buf != none || s.side[1].buf != none)
}

// postpone keeps a verdict until the table has decided.
func (t *Table) postpone(s *slot, v verdict) {
	if s.talk == none {
		s.talk = t.talks.get()
	}
	if x := &t.talks.all[s.talk]; x.late == nil {
		v.proof = append([]byte(nil), v.proof...)
		x.late = &v
	}
}

// general reports whether a dissector may say more of a connection than its
// label does.
func (a app) general() bool {
	return a == appUnknown || a == appTLS || a == appHTTP || a == appNetBIOS || a >= appDissected
}

// ender is a session that has something to say when the connection ends.
type ender interface{ End(*proto.Sink) }

// lastWord lets the dissectors decide on what there is.
func (t *Table) lastWord(i int32) {
	s := &t.slots[i]
	if s.talk == none || s.proto != protoTCP {
		return
	}
	for side := range 2 {
		if s.ear == earOpen {
			if b := t.beginning(s, side); len(b) > 0 {
				t.offer(i, side, b, true)
			}
		}
		if s.talk == none {
			break
		}
	}
	if s.talk != none {
		if e, ok := t.talks.all[s.talk].session.(ender); ok {
			e.End(&t.sink)
			t.drain(i)
		}
	}
	t.conclude(i)
}
