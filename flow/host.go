package flow

import (
	"encoding/binary"
	"slices"
)

// hostPartners is how many different partners of a host are remembered for one
// kind of evidence; three of them are enough to judge.
const hostPartners = 8

// hostWindow is how long evidence about a host counts.
const hostWindow = int64(600e9)

// kind is what evidence about a host speaks of.
type kind uint8

const (
	kindMSE     kind = iota // connections that open like an obfuscated handshake
	kindShare               // servers that greet with 158 bytes
	kindOut                 // random from the first byte, opened by the host
	kindIn                  // the same, opened by the other side
	kindRTC                 // peers that exchange connectivity checks with it
	kindStrange             // random, of another shape: speaks against kindMSE
	kinds       = int(kindStrange) + 1
)

// partner is what one connection says about the host at its other end.
type partner struct {
	addr  [16]byte
	at    int64
	a, b  uint32 // what must differ or agree: sizes of flights, the hash of a greeting, ports
	times uint32 // connections with it
	near  bool   // a neighbour, which counts for nothing
}

// ring holds the newest partners of one kind.
type ring struct {
	all [hostPartners]partner
	n   uint8
}

// add enters p in place of what was known of the same partner, else of the oldest.
func (r *ring) add(p partner) {
	p.times = 1
	oldest := 0
	for i := range r.n {
		if r.all[i].addr == p.addr {
			p.times = r.all[i].times + 1
			r.all[i] = p
			return
		}
		if r.all[i].at < r.all[oldest].at {
			oldest = int(i)
		}
	}
	if int(r.n) < hostPartners {
		r.all[r.n] = p
		r.n++
		return
	}
	r.all[oldest] = p
}

// since returns the partners that still count.
func (r *ring) since(now int64, into []partner) []partner {
	for _, p := range r.all[:r.n] {
		if now-p.at <= hostWindow && !p.near {
			into = append(into, p)
		}
	}
	return into
}

// host is what the connections of one address say together. It holds no
// pointers.
type host struct {
	addr      [16]byte
	last      int64
	rings     [kinds]ring
	proved    [lastPeerApp]int64 // when it last opened a connection of that label for certain; zero for never
	found     [kinds]int64       // when it was last found guilty of a kind
	wss       int64              // when it last asked for a known WebTorrent tracker by name
	announced int64              // when it last announced itself to one in the clear
	before    int32
	after     int32
}

// hosts is the set of hosts with evidence, bounded: who was quiet longest goes first.
type hosts struct {
	at        map[[16]byte]int32
	all       []host
	order     chain
	most      int
	forgotten uint64
}

// chain is a list through hosts, longest quiet first.
type chain struct{ head, tail int32 }

func newHosts(most int) hosts {
	return hosts{at: make(map[[16]byte]int32), order: chain{none, none}, most: most}
}

// find returns a host with evidence, or nil.
func (s *hosts) find(addr [16]byte) *host {
	if i, ok := s.at[addr]; ok {
		return &s.all[i]
	}
	return nil
}

// get returns the host of addr, made when there was none.
func (s *hosts) get(addr [16]byte, now int64) *host {
	i, ok := s.at[addr]
	switch {
	case ok:
		s.unlink(i)
	case len(s.all) < s.most:
		s.all = append(s.all, host{addr: addr})
		i = int32(len(s.all) - 1)
		s.at[addr] = i
	default:
		i = s.order.head
		s.unlink(i)
		delete(s.at, s.all[i].addr)
		s.all[i] = host{addr: addr}
		s.at[addr] = i
		s.forgotten++
	}
	h := &s.all[i]
	h.last = now
	h.before, h.after = s.order.tail, none
	if s.order.tail != none {
		s.all[s.order.tail].after = i
	} else {
		s.order.head = i
	}
	s.order.tail = i
	return h
}

func (s *hosts) unlink(i int32) {
	h := &s.all[i]
	if h.before != none {
		s.all[h.before].after = h.after
	} else {
		s.order.head = h.after
	}
	if h.after != none {
		s.all[h.after].before = h.before
	} else {
		s.order.tail = h.before
	}
}

// recent reports whether something happened within the window.
func recent(at, now int64) bool { return at != 0 && now-at <= hostWindow }

// sameNet reports whether two addresses are neighbours (the same /24 or /64):
// what they say to each other says nothing about a network of strangers.
func sameNet(a, b [16]byte) bool {
	if isIPv4(endpointOf(a, 0)) && isIPv4(endpointOf(b, 0)) {
		return a[12] == b[12] && a[13] == b[13] && a[14] == b[14]
	}
	return [8]byte(a[:8]) == [8]byte(b[:8])
}

// addrOf returns the address of one side of a connection.
func (s *slot) addrOf(side int) [16]byte { return [16]byte(s.key[side*18:]) }

func (s *slot) portOf(side int) uint16 { return binary.BigEndian.Uint16(s.key[side*18+16:]) }

// guilty decides whether the evidence of one kind about h is enough.
func (h *host) guilty(k kind, now int64) bool {
	var room, other [hostPartners]partner
	all := h.rings[k].since(now, room[:0])
	switch k {
	case kindMSE:
		strange := h.rings[kindStrange].since(now, other[:0])
		all = slices.DeleteFunc(all, func(p partner) bool { // a proxy's server: the same, but of any size
			return slices.ContainsFunc(strange, func(s partner) bool { return s.addr == p.addr })
		})
		return len(all) >= 3 && 4*len(strange) <= len(all) && padded(all)
	case kindOut, kindIn:
		in := h.rings[kindIn].since(now, other[:0])
		out := h.rings[kindOut].since(now, room[:0])
		return len(in) >= 3 && len(out) >= 3 && ports(out) >= 3
	case kindRTC:
		n := uint32(0)
		for _, p := range all {
			n += p.times // clients open several to the same partner
		}
		return n >= 3
	}
	return false
}

// again reports whether more than one connection of a kind went to addr: peers
// need one, the clients of a server make many.
func (h *host) again(k kind, addr [16]byte) bool {
	r := &h.rings[k]
	for _, p := range r.all[:r.n] {
		if p.addr == addr {
			return p.times > 1
		}
	}
	return false
}

// padded reports whether the sizes of the first two flights vary as random
// padding makes them: a hello of a fixed size is something else. A first
// flight of exactly a key is that of a client that does not pad.
func padded(all []partner) bool {
	var first, second []uint32
	var a, b [hostPartners]uint32
	first, second = a[:0], b[:0]
	bare := 0
	for _, p := range all {
		if p.a == mseKey {
			bare++
		} else if !slices.Contains(first, p.a) {
			first = append(first, p.a)
		}
		if !slices.Contains(second, p.b) {
			second = append(second, p.b)
		}
	}
	return len(first)+bare >= len(all)-1 && len(second) >= len(all)-1
}

// agree returns how many partners that still count have a.
func (r *ring) agree(a uint32, now int64) (n int) {
	var room [hostPartners]partner
	for _, p := range r.since(now, room[:0]) {
		if p.a == a {
			n++
		}
	}
	return n
}

// ports counts the different ports of partners.
func ports(all []partner) int {
	var room [hostPartners]uint32
	seen := room[:0]
	for _, p := range all {
		if !slices.Contains(seen, p.a) {
			seen = append(seen, p.a)
		}
	}
	return len(seen)
}
