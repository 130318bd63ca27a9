package sensor

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

var start = time.Date(2026, 11, 21, 9, 0, 0, 1, time.UTC)

// contents writes the ring and reads it back.
func contents(t *testing.T, r *ring) []pcap.Packet {
	t.Helper()
	var b bytes.Buffer
	n, err := r.write(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	var got []pcap.Packet
	if err := pcap.Read(&b, func(p pcap.Packet) error {
		p.Data = bytes.Clone(p.Data)
		got = append(got, p)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != len(got) {
		t.Errorf("%d packets written, %d read", n, len(got))
	}
	return got
}

func TestRingKeepsTheNewestInOrder(t *testing.T) {
	const limit = 1 << 20
	r := newRing(limit)
	if got := contents(t, r); len(got) != 0 {
		t.Errorf("an empty ring holds %d packets", len(got))
	}
	const total = 5000
	for i := range total {
		link := flow.LinkEthernet
		if i%2 == 1 {
			link = flow.LinkRaw
		}
		r.add(start.Add(time.Duration(i)*time.Millisecond), link, bytes.Repeat([]byte{byte(i)}, 1000), 1500)
		held := cap(r.filled)
		for _, c := range r.full {
			held += cap(c)
		}
		if held > limit {
			t.Fatalf("after %d packets the ring holds %d bytes, more than %d", i+1, held, limit)
		}
	}
	got := contents(t, r)
	if min := limit * 3 / 4 / 1020; len(got) < min {
		t.Errorf("%d packets kept, want at least %d", len(got), min)
	}
	for i, p := range got {
		n := total - len(got) + i
		want := flow.LinkEthernet
		if n%2 == 1 {
			want = flow.LinkRaw
		}
		if !p.At.Equal(start.Add(time.Duration(n)*time.Millisecond)) || p.Link != want || p.Length != 1500 || len(p.Data) != 1000 || p.Data[0] != byte(n) {
			t.Fatalf("packet %d is %v link %d, %d of %d bytes", n, p.At, p.Link, len(p.Data), p.Length)
		}
	}
}

func TestRingWithoutRoom(t *testing.T) {
	r := newRing(-1)
	r.add(start, flow.LinkEthernet, []byte("x"), 1)
	if got := contents(t, r); len(got) != 0 {
		t.Errorf("a ring that keeps nothing holds %d packets", len(got))
	}
	small := newRing(1)
	small.add(start, flow.LinkEthernet, make([]byte, 200<<10), 200<<10)
	if got := contents(t, small); len(got) != 1 || got[0].Length != 200<<10 || len(got[0].Data) >= 64<<10 {
		t.Errorf("%d packets", len(got))
	}
}

func TestRingIsWrittenWhileItFills(t *testing.T) {
	r := newRing(1 << 20)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			r.add(start.Add(time.Duration(i)), flow.LinkEthernet, bytes.Repeat([]byte{byte(i)}, 100+i%900), 0)
		}
	}()
	for range 50 {
		last := time.Time{}
		for _, p := range contents(t, r) {
			if !p.At.After(last) || len(p.Data) > 0 && (p.Data[0] != p.Data[len(p.Data)-1] || p.Data[0] != byte(p.At.Sub(start))) {
				t.Fatalf("packet %v is torn or out of order", p.At)
			}
			last = p.At
		}
	}
	stop()
	<-done
	if _, err := r.write(ctx, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}
