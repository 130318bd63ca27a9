package correlate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// unpacked makes a window that keeps its groups as the other kinds do.
func unpacked(c Config) *Window[string] {
	w := New[string](c)
	w.packed = nil
	return w
}

// same feeds both kinds of windows with what data says, four bytes an event,
// and fails where they differ. Both go through a snapshot now and then.
func same(t *testing.T, data []byte) (firings int, s Stats) {
	if len(data) == 0 {
		return 0, s
	}
	c := Config{Kind: EventCount, Rules: 1, Span: 10 * time.Second, Late: 6 * time.Second, MaxGroups: 8, MaxEvents: 64,
		Tests: []Test{{[]Op{GTE, GT, LT, LTE, EQ, NEQ}[data[0]&7%6], float64(data[0] >> 3 & 15)}}}
	a, b := New[string](c), unpacked(c)
	a.clock, b.clock = never32-40, never32-40 // begins anew under way
	at := time.Duration(0)
	for n := 1; n+4 <= len(data); n += 4 {
		d := data[n : n+4]
		at += time.Duration(d[1]&15) * 200 * time.Millisecond
		if d[3] == 254 { // a clock goes back
			at -= time.Minute
		}
		o := observation(int(d[2]&31), at-time.Duration(max(0, int(d[1]>>4)-8))*time.Second, strings.Repeat("g", int(d[0]>>4)*5)+fmt.Sprint(d[0]&15))
		if d[2]&32 != 0 {
			o.ID = ""
		}
		o.Event = fmt.Sprint(n)
		x, y := a.Add(o, nil), b.Add(o, nil)
		if fmt.Sprint(x) != fmt.Sprint(y) {
			t.Fatalf("event %d, %+v of %+v: packed %v, else %v", n/4, o, c, x, y)
		}
		firings += len(x)
		if d[3] == 255 {
			a, b = restored(t, a, New[string](c)), restored(t, b, unpacked(c))
		}
	}
	x, y := a.Stats(), b.Stats()
	if x.Samples, y.Samples = 0, 0; x != y { // what is too old may go at different times
		t.Fatalf("packed %+v, else %+v", x, y)
	}
	if room := packedRoom(t, a); room != a.cells {
		t.Fatalf("room for %d, %d known", room, a.cells)
	}
	return firings, a.Stats()
}

func restored(t *testing.T, w, into *Window[string]) *Window[string] {
	t.Helper()
	state, err := w.Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := into.Restore(state); err != nil {
		t.Fatal(err)
	}
	into.clock = w.clock
	return into
}

func TestPackedSameAsUnpacked(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	firings := 0
	var sum Stats
	for range 300 {
		data := make([]byte, 1+4*(1+random.IntN(600)))
		groups := byte(1<<(1+random.IntN(8)) - 1)
		for i := range data {
			data[i] = byte(random.Uint32())
			if i%4 == 1 {
				data[i] &= groups
			}
		}
		n, s := same(t, data)
		firings += n
		sum.Add(s)
	}
	if firings < 1000 || sum.Late < 100 || sum.Evicted < 100 || sum.Resets < 10 {
		t.Errorf("%d firings, %+v: the rounds test nothing", firings, sum)
	}
}

func FuzzPacked(f *testing.F) {
	random := rand.New(rand.NewPCG(6, 6))
	for range 20 {
		data := make([]byte, 1+4*random.IntN(100))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { same(t, data[:min(len(data), 4000)]) })
}

// Memory that groups of other sizes leave behind is used again.
func TestBlocksAreSqueezed(t *testing.T) {
	c := Config{Kind: EventCount, Rules: 1, Span: time.Minute, MaxGroups: 2000, MaxEvents: 1, Tests: []Test{{GTE, 30}}}
	w := New[string](c)
	for i := range 300_000 {
		key := fmt.Sprint(strings.Repeat("k", i/30_000*17), i%2500)
		w.Add(Observation[string]{At: noon.Add(time.Duration(i) * time.Millisecond), Group: []byte(key)}, nil)
	}
	packedRoom(t, w)
	a := &w.packed.arena
	if most := a.live*3/2 + 4<<chunkBits; len(a.chunks)<<chunkBits > most {
		t.Errorf("%d marks are used, memory is held for %d", a.live, len(a.chunks)<<chunkBits)
	}
}

func TestAGroupTooLongToKeepIsUnfit(t *testing.T) {
	w := New[string](atLeast3)
	for _, n := range []int{maxKey, maxKey + 1} {
		w.Add(Observation[string]{At: noon, Group: make([]byte, n)}, nil)
	}
	if s := w.Stats(); s.Unfit != 1 || s.Groups != 1 {
		t.Errorf("got %+v", s)
	}
	restored(t, w, New[string](atLeast3))
}

func TestLongKeysAreBoundedToo(t *testing.T) {
	for _, c := range []Config{atLeast3, {Kind: ValueCount, Rules: 1, Span: time.Minute, Tests: []Test{{GTE, 3}}}} {
		c.MaxSamples = 20_000
		w := New[string](c)
		key := make([]byte, 30_000)
		for i := range 100 {
			key[0] = byte(i)
			w.Add(Observation[string]{At: noon.Add(time.Duration(i) * time.Second), Group: key}, nil)
		}
		if s := w.Stats(); s.Groups > 9 || s.Evicted < 50 {
			t.Errorf("%s: %+v", c.Kind, s)
		}
	}
}
