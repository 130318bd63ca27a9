package baseline_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/flow"
)

// day is what 200 desks do in an hour or so: each talks to the same twenty places
// outside and to three servers.
func day(n int) []baseline.Observation {
	s := newSite(1, baseline.Config{})
	out := make([]baseline.Observation, n)
	for i := range out {
		at := monday.Add(time.Duration(i) * 20 * time.Millisecond)
		host := netip.AddrFrom4([4]byte{10, 0, 1, byte(i % 200)})
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(s.IntN(20))}), 443)
		if i%4 == 0 {
			remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(s.IntN(3))}), 445)
		}
		out[i] = baseline.Observation{Kind: baseline.Connection, ID: fmt.Sprint(i), At: at, First: at.Add(-time.Second), Site: "hospital", Host: host.String(), Flow: fmt.Sprint("f", i),
			Proto: "tcp", Local: netip.AddrPortFrom(host, uint16(40000+i%20000)), Remote: remote, Opened: true, SYN: true, Done: true,
			Sent: 900 + s.Int64N(900), Received: 5000 + s.Int64N(9000), Packets: 20, App: flow.LabelTLS, Times: 1}
		if i%10 == 9 {
			out[i].Kind, out[i].Query = baseline.Question, fmt.Sprintf("www%d.example%d.co.jp", s.IntN(5), s.IntN(40))
		}
	}
	return out
}

func BenchmarkObserve(b *testing.B) {
	all := day(100_000)
	w := baseline.New(baseline.Config{})
	for _, o := range all {
		w.Observe(o)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w.Observe(all[i%len(all)])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "observations/s")
}

// BenchmarkOf reads events as they come from agents and observes them.
func BenchmarkOf(b *testing.B) {
	f := flow.Flow{ID: "00112233445566778899aabbccddeeff", Phase: flow.End, Proto: "tcp", Src: netip.MustParseAddrPort("10.0.0.5:40000"), Dst: netip.MustParseAddrPort("203.0.113.9:443"),
		First: monday, Last: monday.Add(time.Second), Out: 900, In: 5000, PacketsOut: 10, PacketsIn: 10, Label: flow.LabelTLS, Name: "www.example.jp", SYN: true}
	e := flow.Event(f, local)
	e.Site, e.Host = "hospital", "h1"
	w := baseline.New(baseline.Config{})
	b.ReportAllocs()
	for b.Loop() {
		if o, ok := baseline.Of(&e); ok {
			w.Observe(o)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkMemory tells what a host costs in memory and in the state, after two
// weeks of work with forty places outside and fifteen servers.
func BenchmarkMemory(b *testing.B) {
	const hosts = 400
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := newSite(1, baseline.Config{})
		for hour := range 14 * 24 {
			for h := range hosts {
				from := fmt.Sprintf("10.0.%d.%d", h/200, h%200)
				s.connect(monday.Add(time.Duration(hour)*time.Hour), from, fmt.Sprintf("203.0.113.%d:443", (hour+h)%40), 20000, 90000)
				s.connect(monday.Add(time.Duration(hour)*time.Hour), from, fmt.Sprintf("10.0.9.%d:445", (hour+h)%15), 20000, 90000)
			}
		}
		s.found = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		var state bytes.Buffer
		if err := s.Snapshot(&state); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/hosts, "bytes/host")
		b.ReportMetric(float64(state.Len())/hosts, "state-bytes/host")
		runtime.KeepAlive(s)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := newSite(1, baseline.Config{})
	for _, o := range day(100_000) {
		s.Observe(o)
	}
	var state bytes.Buffer
	for b.Loop() {
		state.Reset()
		if err := s.Snapshot(&state); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(state.Len()))
}
