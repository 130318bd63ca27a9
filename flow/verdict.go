package flow

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// MaxProof is how many bytes of proof a Flow carries at most: a whole
// BitTorrent handshake has 68, an escaped info_hash with its name 70.
const MaxProof = 72

// verdict is what a look at some bytes found. proof and name point into them.
type verdict struct {
	app   app
	rule  rule
	sure  confidence // certain when left out
	proof []byte
	at    int // offset of proof in the stream or datagram
	name  []byte
	port  uint16 // the port on which the client says it listens, HTTP tracker only
	ports []byte // the bytes that say so
	// upgrade: HTTP that asks for a WebSocket
	upgrade bool
	portA   int // and their offset
}

// note keeps the proof of a verdict without pointers.
type note struct {
	proof  [MaxProof]byte
	name   [253]byte // the longest DNS name
	source [16]byte  // ID of the connection that named a harvested endpoint
	at     uint32
	proofN uint8
	nameN  uint8
	via    rule // the rule of the message that named it
	next   int32
}

type notes struct {
	all  []note
	free int32
}

func (n *notes) get() int32 {
	if n.free == none {
		n.all = append(n.all, note{})
		return int32(len(n.all) - 1)
	}
	i := n.free
	n.free = n.all[i].next
	return i
}

func (n *notes) put(i int32) {
	n.all[i].next = n.free
	n.free = i
}

// identify gives a connection its label and emits it. An HTTP connection is
// identified a second time when a later request on it turns out to be for a
// tracker.
func (t *Table) identify(i int32, v *verdict) *note {
	s := &t.slots[i]
	s.app, s.rule, s.confidence = v.app, v.rule, v.sure
	if v.sure == unsure {
		s.confidence = certain
	}
	n := t.remember(i, v)
	t.prove(i)
	return n
}

// remember keeps the proof and the name of a verdict.
func (t *Table) remember(i int32, v *verdict) *note {
	s := &t.slots[i]
	if s.note == none {
		s.note = t.notes.get()
	}
	n := &t.notes.all[s.note]
	*n = note{at: uint32(v.at)}
	n.proofN = uint8(copy(n.proof[:], v.proof))
	if len(v.name) <= len(n.name) { // a shortened name would be another name
		n.nameN = uint8(copy(n.name[:], v.name))
	}
	return n
}

// harvested gives the label to a connection whose end was named as a peer.
// It does nothing when the endpoint has been forgotten meanwhile.
func (t *Table) harvested(i int32, c confidence) {
	s := &t.slots[i]
	j := t.suspected(s)
	if j == none {
		s.suspect = false
		return
	}
	e := &t.named.all[j]
	v := verdict{app: appBitTorrent, rule: ruleHarvested, proof: e.proof[:e.proofN], at: int(e.at), sure: c}
	switch e.via {
	case ruleKad:
		v.app = appEDonkey
	case ruleDiscovery:
		v.app, v.sure = appEthereum, probable // no surer than the message that named it
	}
	n := t.identify(i, &v)
	n.via, n.source = e.via, e.source
	t.silence(i, 0)
	t.silence(i, 1)
	t.emit(i, Identified, "")
}

// end emits the last word on a connection and forgets it.
func (t *Table) end(i int32, why ending) {
	s := &t.slots[i]
	if s.proto == protoTCP {
		t.lastLook(i)
	}
	t.lastWord(i)
	if s.hidden() && s.suspect {
		// Somebody was at least asked for: without a byte exchanged this is
		// an attempt, which a scanner could also have made.
		c := probable
		if s.payload {
			c = certain
		}
		t.harvested(i, c)
	}
	t.settle(i)
	t.emit(i, End, endingNames[why])
	t.drop(i)
}

func (t *Table) emit(i int32, phase Phase, ended string) {
	s := &t.slots[i]
	s.told, s.said = s.last, t.now
	src, dst := int(s.opener), 1-int(s.opener)
	f := Flow{
		ID:         flowID(s),
		Phase:      phase,
		Proto:      s.protoName(),
		Src:        addrPort(s.key.end(src)),
		Dst:        addrPort(s.key.end(dst)),
		First:      unix(s.first),
		Last:       unix(s.last),
		Out:        s.side[src].bytes,
		In:         s.side[dst].bytes,
		PacketsOut: s.side[src].packets,
		PacketsIn:  s.side[dst].packets,
		Label:      s.app.name(),
		Confidence: confidenceNames[s.confidence],
		Rule:       ruleNames[s.rule],
		SYN:        s.proto == protoTCP && s.side[src].syn,
		Ended:      ended,
	}
	if s.rule == ruleOfApp {
		f.Rule = f.Label
	}
	if s.shape.state == shapeFits {
		f.Facts = append(f.Facts, Fact{Name: FactFlights, Value: s.shape.text()})
	}
	if s.note != none && s.app != appUnknown {
		n := &t.notes.all[s.note]
		f.Proof, f.ProofOffset = append([]byte(nil), n.proof[:n.proofN]...), int(n.at)
		f.Name = string(n.name[:n.nameN])
		if s.rule == ruleHarvested {
			f.NamedBy, f.NamedIn = ruleNames[n.via], inHex(n.source)
		}
	}
	t.said(s, &f)
	t.conf.Emit(f)
}

// idOf names a connection for all its phases; two connections between the
// same ports differ in their first packet's time.
func idOf(s *slot) [16]byte {
	var b [len(s.key) + 8]byte
	copy(b[:], s.key[:])
	binary.BigEndian.PutUint64(b[len(s.key):], uint64(s.first))
	sum := sha256.Sum256(b[:])
	return [16]byte(sum[:16])
}

func flowID(s *slot) string {
	return inHex(idOf(s))
}

func inHex(id [16]byte) string {
	var text [32]byte
	hex.Encode(text[:], id[:])
	return string(text[:])
}

func addrPort(e endpoint) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(e[:16])).Unmap(), binary.BigEndian.Uint16(e[16:]))
}
