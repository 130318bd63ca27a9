package flow

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// TestMemoryOfManyConnections holds 100,000 connections at once, a fifth of
// each kind that costs most, and measures what they keep.
func TestMemoryOfManyConnections(t *testing.T) {
	const n, most = 100_000, 200 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := New(Config{MaxFlows: n, IdleOpening: time.Hour, UpdateEvery: time.Hour})
	hello := []byte(clientHello("www.example.jp"))
	at := start
	for i := range n {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 40000)
		at = at.Add(100 * time.Microsecond)
		switch i % 5 {
		case 0:
			w.Packet(at, LinkRaw, tcpIP(a, peer, 2, 9, flagACK, []byte(btHandshake())))
		case 1:
			w.Packet(at, LinkRaw, tcpIP(a, peer, 2, 9, flagACK, hello))
		case 2:
			w.Packet(at, LinkRaw, tcpIP(a, peer, 2, 9, flagACK, hello[:20])) // waits for more
		case 3:
			w.Packet(at, LinkRaw, tcpIP(a, peer, 1, 0, flagSYN, nil))
		case 4:
			w.Packet(at, LinkRaw, udpIP(a, peer, []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06sample\x03com\x00\x00\x01\x00\x01")))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if st := w.Stats(); st.Flows != n || st.Evicted != 0 {
		t.Errorf("%+v", st)
	}
	held := after.HeapAlloc - before.HeapAlloc
	t.Logf("%d connections keep %.1f MB", n, float64(held)/1e6)
	if held > most {
		t.Errorf("%d bytes are held, want at most %d", held, most)
	}
	runtime.KeepAlive(w)
}
