package netflow

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/sonae/sonae/flow"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func words(v ...any) []byte {
	var b []byte
	for _, w := range v {
		b, _ = binary.Append(b, binary.BigEndian, w)
	}
	return b
}

// listener reads without a port.
func listener(t testing.TB, cfg Config) (*Listener, *heard) {
	h := &heard{}
	cfg.Emit, cfg.Log = h.take, slog.New(slog.DiscardHandler)
	cfg = cfg.withDefaults()
	return &Listener{cfg: cfg, exporters: map[netip.Addr]*exporter{}, pairs: newPairs(cfg)}, h
}

// five is a NetFlow 5 datagram of n connections.
func five(n uint16) []byte {
	b := words(uint16(5), n, uint32(5000), uint32(noon.Unix()), uint32(0), uint32(1), uint16(0), uint16(0))
	for i := range n {
		b = append(b, words(uint32(0xc000020a), uint32(0xc6336407), uint32(0), uint16(0), uint16(0), uint32(3), uint32(300), uint32(1000), uint32(2000),
			40000+i, uint16(443), uint16(0x18), byte(6), byte(0), uint32(0), uint32(0))...)
	}
	return b
}

func TestUnknownExportersAreRefused(t *testing.T) {
	l, h := listener(t, Config{Exporters: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}})
	l.Datagram(netip.MustParseAddr("192.0.2.17"), noon, five(1))
	l.Datagram(netip.MustParseAddr("192.0.2.1"), noon, five(2))
	l.tell(noon.Add(time.Minute))
	if s := l.Stats(); s.Refused != 1 || s.Datagrams != 1 || s.Flows != 2 || len(h.all()) != 2 || len(s.Exporters) != 1 {
		t.Errorf("%+v, told %d", s, len(h.all()))
	}
	f := h.all()[0]
	if f.First != noon.Add(-4*time.Second) || f.Last != noon.Add(-3*time.Second) || f.Out != 300 || f.PacketsOut != 3 {
		t.Errorf("told %+v", f)
	}
}

func TestRateAndMemoryAreBounded(t *testing.T) {
	l, h := listener(t, Config{Exporters: loopback, Rate: 100, Held: 10})
	from := netip.MustParseAddr("127.0.0.1")
	for range 10 {
		l.Datagram(from, noon, five(30))
	}
	s := l.Stats()
	if s.Flows != 100 || s.Dropped != 200 || len(l.pairs.held) > 10 || s.Early == 0 {
		t.Errorf("%+v, %d held", s, len(l.pairs.held))
	}
	if l.Datagram(from, noon.Add(time.Second), five(30)); l.Stats().Flows != 130 {
		t.Error("the budget does not come back")
	}
	if l.tell(noon.Add(time.Hour)); len(l.pairs.held) != 0 || len(h.all()) == 0 {
		t.Error("connections stay behind")
	}
}

// TestTemplatesThatWouldNotEnd are those that make much of few bytes.
func TestTemplatesThatWouldNotEnd(t *testing.T) {
	set := func(id uint16, fields ...uint16) []byte {
		b := words(uint16(0), uint16(8+2*len(fields)), id, uint16(len(fields)/2))
		for _, f := range fields {
			b = append(b, words(f)...)
		}
		return b
	}
	head := words(uint16(9), uint16(1), uint32(0), uint32(noon.Unix()), uint32(1), uint32(0))
	d := newDecoder()
	if err := d.datagram(append(head, set(256, 8, 0)...), noon, nil); !errors.Is(err, errBounds) {
		t.Errorf("no bytes: %v", err)
	}
	var many []uint16
	for range maxFields + 1 {
		many = append(many, 8, 4)
	}
	if err := d.datagram(append(head, set(257, many...)...), noon, nil); !errors.Is(err, errBounds) {
		t.Errorf("many fields: %v", err)
	}
	for id := range uint16(maxTemplates + 10) {
		_ = d.datagram(append(head, set(300+id, 8, 4)...), noon, nil)
	}
	if len(d.templates.known) > maxTemplates {
		t.Errorf("%d templates", len(d.templates.known))
	}
	if err := d.datagram(append(head, words(uint16(9999), uint16(8), uint32(0))...), noon, nil); !errors.Is(err, errTemplate) {
		t.Errorf("an unknown template: %v", err)
	}
	sample := words(uint32(5), uint32(1), uint32(0x7f000001), uint32(0), uint32(1), uint32(1), uint32(1),
		uint32(3), uint32(44), uint32(1), uint32(0), uint32(1), uint32(1), uint32(1), uint32(0), uint32(0), uint32(1), uint32(0), uint32(1), uint32(0xffffffff))
	if err := d.datagram(sample, noon, nil); !errors.Is(err, errBounds) {
		t.Errorf("a sample of 4 G records: %v", err)
	}
}

func TestBothDirectionsAreOneConnection(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:50000"), netip.MustParseAddrPort("198.51.100.1:53")
	for name, c := range map[string]struct {
		records []record
		src     netip.AddrPort
		out, in int64
	}{
		"the first opened":   {[]record{{src: b, dst: a, bytes: 9, first: noon}, {src: a, dst: b, bytes: 5, first: noon.Add(time.Second)}}, b, 9, 5},
		"both at once":       {[]record{{src: b, dst: a, bytes: 9, first: noon}, {src: a, dst: b, bytes: 5, first: noon}}, a, 5, 9},
		"only the answer":    {[]record{{src: b, dst: a, bytes: 9, first: noon}}, a, 0, 9},
		"pieces are summed":  {[]record{{src: a, dst: b, bytes: 1, first: noon}, {src: a, dst: b, bytes: 2, first: noon}}, a, 3, 0},
		"told as one record": {[]record{{src: b, dst: a, bytes: 1, backBytes: 7, first: noon}}, b, 1, 7},
	} {
		var got []flow.Flow
		p := newPairs(Config{Emit: func(f flow.Flow) { got = append(got, f) }}.withDefaults())
		for _, r := range c.records {
			r.proto, r.last = "udp", r.first
			p.add(netip.MustParseAddr("127.0.0.1"), r, noon)
		}
		p.flush(time.Time{})
		if len(got) != 1 || got[0].Src != c.src || got[0].Out != c.out || got[0].In != c.in {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	f.Add(five(2), five(1))
	f.Add(words(uint16(9), uint16(2), uint32(0), uint32(noon.Unix()), uint32(1), uint32(0), uint16(0), uint16(16), uint16(256), uint16(2), uint16(8), uint16(4), uint16(12), uint16(4)),
		words(uint16(9), uint16(1), uint32(0), uint32(noon.Unix()), uint32(1), uint32(0), uint16(256), uint16(12), uint32(1), uint32(2)))
	f.Add(words(uint16(10), uint16(36), uint32(noon.Unix()), uint32(1), uint32(0), uint16(3), uint16(20), uint16(256), uint16(2), uint16(1), uint16(149), uint16(4), uint16(34), uint16(4)),
		words(uint16(10), uint16(28), uint32(noon.Unix()), uint32(1), uint32(0), uint16(256), uint16(12), uint32(1), uint32(2)))
	frame := tcpFrame(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), 2, 0)
	f.Add(append(words(uint32(5), uint32(1), uint32(0x7f000001), uint32(0), uint32(1), uint32(1), uint32(1), uint32(1), uint32(48+len(frame)), uint32(1), uint32(0),
		uint32(100), uint32(1), uint32(0), uint32(0), uint32(0), uint32(1), uint32(1), uint32(16+len(frame)), uint32(1), uint32(len(frame)), uint32(0), uint32(len(frame))), frame...), five(1))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		l, h := listener(t, Config{Exporters: loopback})
		for _, b := range [][]byte{first, second} {
			l.Datagram(netip.MustParseAddr("127.0.0.1"), noon, b)
		}
		l.tell(noon.Add(time.Hour))
		for _, fl := range h.all() {
			if fl.Out < 0 || fl.In < 0 || fl.PacketsOut < 0 || fl.PacketsIn < 0 || fl.Last.Before(fl.First) || !fl.Src.IsValid() || fl.Sensor == "" {
				t.Errorf("%+v", fl)
			}
		}
	})
}

func BenchmarkDatagram(b *testing.B) {
	l, _ := listener(b, Config{Exporters: loopback, Rate: 1 << 40})
	l.pairs.emit = func(flow.Flow) {}
	from, data := netip.MustParseAddr("127.0.0.1"), five(30)
	b.ReportAllocs()
	for b.Loop() {
		l.Datagram(from, noon, data)
	}
	b.ReportMetric(float64(b.N)*30/b.Elapsed().Seconds(), "flows/s")
}
