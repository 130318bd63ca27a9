package flow

import "encoding/binary"

// endpoints is the set of harvested endpoints, bounded and with a lifetime.
// What was named longest ago goes first.
type endpoints struct {
	at        map[endpoint]int32
	all       []named
	free      int32
	head      int32 // longest unnamed
	tail      int32
	most      int
	life      int64
	forgotten uint64
}

// named is one harvested endpoint with the bytes that named it.
type named struct {
	key    endpoint
	proof  [MaxProof]byte
	source [16]byte // ID of the connection in which it was named
	until  int64
	at     uint32
	proofN uint8
	via    rule
	before int32
	after  int32
}

func newEndpoints(most int, life int64) endpoints {
	return endpoints{at: make(map[endpoint]int32), free: none, head: none, tail: none, most: most, life: life}
}

func (s *endpoints) count() int { return len(s.at) }

// find returns the index of a living endpoint, or none.
func (s *endpoints) find(e endpoint, now int64) int32 {
	i, ok := s.at[e]
	if !ok || s.all[i].until < now {
		return none
	}
	return i
}

// renew returns the entry of e, made when there was none alive; fresh says so.
func (s *endpoints) renew(e endpoint, now int64) (n *named, fresh bool) {
	i, ok := s.at[e]
	if ok {
		s.unlink(i)
		fresh = s.all[i].until < now
	} else {
		i, fresh = s.take(), true
		s.all[i] = named{key: e}
		s.at[e] = i
	}
	n = &s.all[i]
	n.until = now + s.life
	n.before, n.after = s.tail, none
	if s.tail != none {
		s.all[s.tail].after = i
	} else {
		s.head = i
	}
	s.tail = i
	// All lives are equally long, so the list is in the order of their ends.
	for h := s.head; h != i && s.all[h].until < now; h = s.head {
		s.remove(h)
	}
	return n, fresh
}

func (s *endpoints) take() int32 {
	if s.free == none && len(s.all) < s.most {
		s.all = append(s.all, named{})
		return int32(len(s.all) - 1)
	}
	if s.free == none {
		s.forgotten++
		s.remove(s.head)
	}
	i := s.free
	s.free = s.all[i].after
	return i
}

func (s *endpoints) unlink(i int32) {
	n := &s.all[i]
	if n.before != none {
		s.all[n.before].after = n.after
	} else {
		s.head = n.after
	}
	if n.after != none {
		s.all[n.after].before = n.before
	} else {
		s.tail = n.before
	}
}

func (s *endpoints) remove(i int32) {
	s.unlink(i)
	delete(s.at, s.all[i].key)
	s.all[i].after = s.free
	s.free = i
}

// name records that side of connection i said that a peer listens at e, proof
// being the bytes at offset at that say so. Connections that already run to e
// get their label now.
func (t *Table) name(i int32, side int, e endpoint, proof []byte, at int, via rule) {
	if !nameable(e, t.slots[i].key.end(side)) {
		return
	}
	n, fresh := t.named.renew(e, t.now)
	if !fresh {
		return
	}
	n.source, n.via, n.at = idOf(&t.slots[i]), via, uint32(at)
	n.proofN = uint8(copy(n.proof[:], proof))
	if t.board != nil {
		t.board.tell(&news{what: topicPeer, peer: *n})
	}
	t.accuse(e)
}

// nameable refuses what cannot be the address of a peer. A message from
// another machine cannot name a port of this one's loopback, nor one from
// outside a private address.
func nameable(e, source endpoint) bool {
	a := addrPort(e)
	ip := a.Addr()
	if a.Port() == 0 || ip.IsUnspecified() || ip.IsMulticast() || binary.BigEndian.Uint32(e[12:]) == 1<<32-1 {
		return false
	}
	from := addrPort(source).Addr()
	if ip.IsPrivate() && !from.IsPrivate() { // who is outside cannot know who is inside, but could accuse him
		return false
	}
	return !ip.IsLoopback() || from.IsLoopback()
}

// accuse marks the running connections to e.
func (t *Table) accuse(e endpoint) {
	for node := t.ends[t.hash(e[:])]; node != none; {
		i, side := node/2, int(node%2)
		s := &t.slots[i]
		node = s.side[side].next
		if s.key.end(side) != e || !s.hidden() || !s.ends(side) {
			continue
		}
		s.suspect = true
		if s.unknown {
			t.harvested(i, certain)
			t.touch(i)
		}
	}
}

// ends reports whether side is an end that a harvested endpoint speaks for: of
// UDP both, of TCP the one that was connected to. The port a TCP client sends
// from is chosen by its system and says nothing.
func (s *slot) ends(side int) bool { return s.proto == protoUDP || side != int(s.opener) }

// suspected returns the harvested endpoint that a connection goes to, or none.
func (t *Table) suspected(s *slot) int32 {
	for side := range 2 {
		if s.ends(side) {
			if j := t.named.find(s.key.end(side), t.now); j != none {
				return j
			}
		}
	}
	return none
}
