package flow

import "time"

// none is the index that means "no slot".
const none = int32(-1)

// class sorts connections by how long they may stay quiet, so that within one
// class the connection that ends next stands first in its list.
type class uint8

const (
	classClosing class = iota // both FIN or a RST were seen
	classOpening              // TCP that only one side has spoken in
	classUDP
	classTCP
	classOfInterestUDP // forgotten last when the table is full
	classOfInterestTCP
	classes = int(classOfInterestTCP) + 1
)

// ending says why a connection ended.
type ending uint8

const (
	endIdle ending = iota
	endFIN
	endRST
	endEvicted
	endFlush
)

var endingNames = [...]string{"idle", "fin", "rst", "evicted", "flush"}

// slot is one connection. It holds no pointers, so that the garbage collector
// never looks at the table.
type slot struct {
	key        key
	proto      uint8
	opener     uint8 // the side that opened it
	class      class
	app        app
	rule       rule
	confidence confidence
	suspect    bool // one end is a harvested endpoint
	unknown    bool // payload was seen that is no protocol we know
	payload    bool // any payload was seen
	rst        bool
	checked    bool   // a STUN connectivity check was seen
	greeting   uint32 // a hash of how the server's first bytes begin, when they are as many as those of Share
	looks      uint8
	utp        utpState
	shape      shape
	first      int64
	last       int64
	told       int64 // time of the newest packet already emitted
	said       int64 // table time of the last emission
	side       [2]half
	next       int32 // in the index, or in the free list
	before     int32 // in the list of its class
	after      int32
	note       int32 // proof and name, none until identified
	talk       int32 // what is being listened to and what was said, none when nothing
	ear        ear
	looked     uint8 // datagrams looked at without being recognised
}

// half is what one side sent.
type half struct {
	bytes   int64
	packets int64
	base    uint32 // sequence number of the first byte of interest
	isn     uint32
	buf     int32 // stream buffer, none when not reassembling
	prev    int32 // nodes with an endpoint of the same hash
	next    int32
	mode    mode
	looks   uint8 // segments looked at, modeFrame only
	known   bool  // base is known
	syn     bool
	fin     bool
}

// ending returns why a connection that is no longer held ended.
func (s *slot) ending() ending {
	switch {
	case s.rst:
		return endRST
	case s.side[0].fin && s.side[1].fin:
		return endFIN
	}
	return endIdle
}

func (s *slot) classNow() class {
	tcp := s.proto == protoTCP
	switch {
	case s.rst || s.side[0].fin && s.side[1].fin:
		return classClosing
	case s.app.ofInterest() && tcp:
		return classOfInterestTCP
	case s.app.ofInterest():
		return classOfInterestUDP
	case !tcp:
		return classUDP
	case s.payload || s.side[0].packets > 0 && s.side[1].packets > 0:
		return classTCP
	}
	return classOpening
}

func (t *Table) quiet(c class) int64 {
	switch c {
	case classClosing:
		return int64(t.conf.Linger)
	case classOpening:
		return int64(t.conf.IdleOpening)
	case classUDP, classOfInterestUDP:
		return int64(t.conf.IdleUDP)
	}
	return int64(t.conf.IdleTCP)
}

// list is a doubly linked list through slots, longest quiet first.
type list struct{ head, tail int32 }

func (l *list) push(slots []slot, i int32) {
	slots[i].before, slots[i].after = l.tail, none
	if l.tail != none {
		slots[l.tail].after = i
	} else {
		l.head = i
	}
	l.tail = i
}

func (l *list) remove(slots []slot, i int32) {
	b, a := slots[i].before, slots[i].after
	if b != none {
		slots[b].after = a
	} else {
		l.head = a
	}
	if a != none {
		slots[a].before = b
	} else {
		l.tail = b
	}
}

// touch moves a connection to the tail of the list it belongs to now.
func (t *Table) touch(i int32) {
	s := &t.slots[i]
	c := s.classNow()
	if c == s.class && t.lists[c].tail == i {
		return
	}
	t.lists[s.class].remove(t.slots, i)
	s.class = c
	t.lists[c].push(t.slots, i)
}

// take returns an unused slot, ending another connection when there is none.
func (t *Table) take() int32 {
	if t.free == none && len(t.slots) < t.conf.MaxFlows {
		t.slots = append(t.slots, slot{})
		return int32(len(t.slots) - 1)
	}
	if t.free == none {
		t.stats.Evicted++
		t.end(t.victim(), endEvicted)
	}
	i := t.free
	t.free = t.slots[i].next
	return i
}

// victim chooses what to forget: closed before half-open, then whichever of
// the unremarkable is quiet longest, connections of interest only when nothing
// else is left. A flood of SYNs therefore cannot push them out.
func (t *Table) victim() int32 {
	for _, c := range []class{classClosing, classOpening} {
		if h := t.lists[c].head; h != none {
			return h
		}
	}
	if i := t.older(classUDP, classTCP); i != none {
		return i
	}
	return t.older(classOfInterestUDP, classOfInterestTCP)
}

func (t *Table) older(a, b class) int32 {
	x, y := t.lists[a].head, t.lists[b].head
	if x == none || y != none && t.slots[y].last < t.slots[x].last {
		return y
	}
	return x
}

// drop unlinks a connection and frees its slot.
func (t *Table) drop(i int32) {
	s := &t.slots[i]
	t.silence(i, 0)
	t.silence(i, 1)
	t.forgetTalk(i)
	t.unlink(i, 0)
	t.unlink(i, 1)
	h := t.hash(s.key[:])
	if t.index[h] == i {
		t.index[h] = s.next
	} else {
		for j := t.index[h]; j != none; j = t.slots[j].next {
			if t.slots[j].next == i {
				t.slots[j].next = s.next
				break
			}
		}
	}
	t.lists[s.class].remove(t.slots, i)
	if s.note != none {
		t.notes.put(s.note)
	}
	s.next = t.free
	t.free = i
	t.stats.Flows--
}

// link enters one side of a connection into the index by endpoint.
func (t *Table) link(i int32, side int) {
	e := t.slots[i].key.end(side)
	h := t.hash(e[:])
	node := i*2 + int32(side)
	d := &t.slots[i].side[side]
	d.prev, d.next = none, t.ends[h]
	if d.next != none {
		t.slots[d.next/2].side[d.next%2].prev = node
	}
	t.ends[h] = node
}

func (t *Table) unlink(i int32, side int) {
	d := &t.slots[i].side[side]
	if d.next != none {
		t.slots[d.next/2].side[d.next%2].prev = d.prev
	}
	if d.prev != none {
		t.slots[d.prev/2].side[d.prev%2].next = d.next
		return
	}
	e := t.slots[i].key.end(side)
	t.ends[t.hash(e[:])] = d.next
}

// expire ends what was quiet for too long.
func (t *Table) expire() {
	for c := range classes {
		limit := t.now - t.quiet(class(c))
		for {
			i := t.lists[c].head
			if i == none || t.slots[i].last > limit {
				break
			}
			t.end(i, t.slots[i].ending())
		}
	}
}

// update emits the connections of interest whose counters changed. before is
// the time of the last update: what was quiet for long then has been told.
func (t *Table) update(before int64) {
	for _, c := range [2]class{classOfInterestUDP, classOfInterestTCP} {
		for i := t.lists[c].tail; i != none; i = t.slots[i].before {
			s := &t.slots[i]
			if s.last < before-int64(t.conf.UpdateEvery) {
				break
			}
			if s.last > s.told && t.now-s.said >= int64(t.conf.UpdateEvery) {
				t.emit(i, Update, "")
			}
		}
	}
}

func unix(ns int64) time.Time { return time.Unix(0, ns).UTC() }
