package flow

import (
	"testing"
	"time"
)

// TestLanesTellWithoutAllocating passes evidence between lanes while packets come.
func TestLanesTellWithoutAllocating(t *testing.T) {
	g := NewGroup(2, Config{UpdateEvery: time.Hour})
	a, b := g.Lane(0), g.Lane(1)
	frame := udpIP(pc, tracker, []byte("unknown to everybody, not even DNS"))
	at, n := start, byte(0)
	step := func() {
		at, n = at.Add(time.Millisecond), n+1
		a.Packet(at, LinkRaw, frame)
		h := a.table.hosts.get(pc.Addr().As16(), a.table.now)
		a.table.enter(h, kindStrange, partner{addr: peer.Addr().As16(), at: a.table.now, a: uint32(n)})
		b.Packet(at, LinkRaw, frame)
	}
	step()
	if n := testing.AllocsPerRun(3*boardSize, step); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	r := &b.table.hosts.find(pc.Addr().As16()).rings[kindStrange]
	if p := r.all[0]; r.n != 1 || p.a != uint32(n) || p.times < 3*boardSize || a.Stats().Untold != 0 {
		t.Errorf("the other lane knows %+v, %d untold", p, a.Stats().Untold)
	}
}

// TestLaneThatDoesNotListenIsNotWaitedFor: what it misses is counted, and it
// hears the rest when it comes back.
func TestLaneThatDoesNotListenIsNotWaitedFor(t *testing.T) {
	g := NewGroup(3, Config{})
	for i := range boardSize + 10 {
		a := g.Lane(0).table
		a.enter(a.hosts.get(pc.Addr().As16(), 1), kindStrange, partner{addr: peer.Addr().As16(), at: int64(i)})
		g.Lane(1).Tick(start)
	}
	if n := g.Lane(0).Stats().Untold; n != 10 {
		t.Errorf("%d untold, want 10", n)
	}
	g.Lane(2).Tick(start)
	if p := g.Lane(2).table.hosts.find(pc.Addr().As16()).rings[kindStrange].all[0]; p.times != boardSize {
		t.Errorf("heard %d, want %d", p.times, boardSize)
	}
	a := g.Lane(0).table
	a.enter(a.hosts.find(pc.Addr().As16()), kindStrange, partner{addr: peer.Addr().As16()})
	if n := a.Stats().Untold; n != 10 {
		t.Errorf("%d untold after the lane came back, want 10", n)
	}
}

// BenchmarkLane measures a packet that only counts, in a table alone and in one
// of four lanes.
func BenchmarkLane(b *testing.B) {
	frame := udpIP(pc, tracker, []byte("unknown to everybody, not even DNS"))
	for _, n := range []int{1, 4} {
		b.Run(string('0'+rune(n)), func(b *testing.B) {
			l := NewGroup(n, Config{}).Lane(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.Packet(start.Add(time.Duration(i)), LinkRaw, frame)
			}
		})
	}
}
