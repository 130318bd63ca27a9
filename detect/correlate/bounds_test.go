package correlate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var atLeast3 = Config{Kind: EventCount, Rules: 1, Span: time.Minute, Tests: []Test{{GTE, 3}}}

func TestStalestGroupsGoFirst(t *testing.T) {
	c := atLeast3
	c.MaxGroups = 3
	w := New[string](c)
	for i, g := range []string{"a", "b", "c", "a", "d", "a", "c"} { // b goes for d; a fires; c has two
		got := ids(w.Add(observation(i, time.Duration(i)*time.Second, g), nil))
		if want := i == 5; (len(got) > 0) != want {
			t.Errorf("event %d fired: %v", i, got)
		}
	}
	if s := w.Stats(); s.Groups != 3 || s.Evicted != 1 {
		t.Errorf("got %+v", s)
	}
	if got := ids(w.Add(observation(9, 9*time.Second, "c"), nil)); len(got) != 1 {
		t.Error("c was forgotten although b was staler")
	}
	w.Add(observation(10, time.Hour, "e"), nil)
	if s := w.Stats(); s.Evicted != 1 {
		t.Errorf("a group that did not matter any more counts as evicted: %+v", s)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	for name, c := range cases() {
		t.Run(name, func(t *testing.T) {
			c.MaxGroups, c.MaxSamples, c.MaxEvents = 300, 3000, 100
			w := New[string](c)
			random := rand.New(rand.NewPCG(3, 3))
			for i := range 15_000 {
				group := random.IntN(2000)
				if random.IntN(2) == 0 {
					group = 0 // one that is flooded
				}
				o := observation(i, time.Duration(i)*time.Millisecond*time.Duration(1+random.IntN(2)), fmt.Sprint(group))
				o.Rule, o.Num, o.Text = random.IntN(c.Rules), random.Float64(), fmt.Sprint(i)
				w.Add(o, nil)
				if random.IntN(1000) == 0 {
					w.Add(observation(i, time.Duration(random.IntN(1000))*time.Hour, fmt.Sprint(group)), nil)
				}
			}
			room := 0
			for _, g := range w.slab {
				room += cap(g.samples)
				if len(g.samples) > w.most {
					t.Errorf("%d samples in a group, most are %d", len(g.samples), w.most)
				}
			}
			if w.packed != nil {
				room = packedRoom(t, w)
			}
			if w.groups.n > 300 || room != w.cells || room > 3000+2*w.most || len(w.shown.ring) > 100 || len(w.slab) > 302 {
				t.Errorf("%d groups, room for %d samples (%d known), %d events, %d slots", w.groups.n, room, w.cells, len(w.shown.ring), len(w.slab))
			}
			if w.Stats().Evicted == 0 {
				t.Error("nothing was evicted: the test tests nothing")
			}
		})
	}
}

// packedRoom checks that blocks neither overlap nor get lost, and returns for
// how many samples there is room.
func packedRoom(t *testing.T, w *Window[string]) (room int) {
	t.Helper()
	used := map[uint32]bool{}
	live := 0
	w.groups.each(func(i uint32) {
		c := w.packed.cell(i)
		room += int(c.room)
		live += c.size()
		if int(c.count) > w.most || c.count > c.room || w.find2(string(w.packed.key(nil, c))) != i {
			t.Errorf("group %d: %+v", i, *c)
		}
		for k := range uint32(c.size()) {
			if used[c.block+k] {
				t.Fatal("two groups lie in one place")
			}
			used[c.block+k] = true
		}
	})
	a := &w.packed.arena
	if a.live != live || a.idle < 0 || a.live+a.idle != max(0, len(a.chunks)-1)<<chunkBits+a.end {
		t.Errorf("%d marks are given, %d are used, %d are idle", a.live, live, a.idle)
	}
	if w.packed.used > uint32(w.c.MaxGroups)+2 {
		t.Errorf("%d cells", w.packed.used)
	}
	return room
}

func (w *Window[E]) find2(key string) uint32 {
	i, _ := w.find(w.groups.hash([]byte(key)))
	return i
}

func TestAClockThatGoesBackDoesNotBlindAGroup(t *testing.T) {
	w := New[string](atLeast3)
	w.Add(observation(0, 1000*time.Hour, "g"), nil) // a wrong clock
	var got []string
	for i := 1; i < 40; i++ {
		got = append(got, ids(w.Add(observation(i, time.Duration(i)*time.Second, "g"), nil))...)
	}
	want := fmt.Sprintf("[e%03d]", goneBack+2)
	if s := w.Stats(); fmt.Sprint(got) != want || s.Resets != 1 || s.Late != goneBack {
		t.Errorf("fired at %v, want %s; %+v", got, want, s)
	}
}

func TestWhatCannotBeCountedIsSaid(t *testing.T) {
	w := New[string](Config{Kind: ValueSum, Rules: 1, Span: time.Minute, Tests: []Test{{GT, 1}}})
	for i, num := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		o := observation(i, 0, "g")
		o.Num = num
		w.Add(o, nil)
	}
	w.Add(Observation[string]{Group: []byte("g"), Num: 5}, nil)
	if s := w.Stats(); s.Unfit != 4 || s.Samples != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestEventsAreShownAsLongAsTheyAreKept(t *testing.T) {
	c := atLeast3
	c.MaxEvents = 2
	w := New[string](c)
	w.Add(observation(0, 0, "g"), nil)
	w.Add(observation(1, time.Second, "g"), nil)
	f := w.Add(observation(2, 2*time.Second, "g"), nil)
	if len(f) != 1 || f[0].Count != 3 || len(f[0].Events) != 2 || f[0].Events[1][:4] != "e002" {
		t.Errorf("got %+v", f)
	}
}

func TestAThousandEventsAreOneFiring(t *testing.T) {
	w := New[string](Config{Kind: EventCount, Rules: 1, Span: time.Minute, Tests: []Test{{GTE, 5}}})
	fired := 0
	for i := range 1000 {
		fired += len(w.Add(observation(i, time.Duration(i)*50*time.Millisecond, "g"), nil))
	}
	if fired != 1 {
		t.Errorf("%d firings, want 1", fired)
	}
}

// What is late is left out, counted, and completes nothing; what is in time
// does.
func TestLateness(t *testing.T) {
	c := Config{Kind: EventCount, Rules: 1, Span: 10 * time.Minute, Late: time.Minute, Tests: []Test{{GTE, 3}}}
	for name, tt := range map[string]struct {
		back  time.Duration
		fires int
	}{"in time": {time.Minute, 1}, "late": {time.Minute + time.Nanosecond, 0}} {
		t.Run(name, func(t *testing.T) {
			w := New[string](c)
			w.Add(observation(0, 5*time.Minute, "g"), nil)
			w.Add(observation(1, 5*time.Minute, "g"), nil)
			got := w.Add(observation(2, 5*time.Minute-tt.back, "g"), nil)
			if len(got) != tt.fires || w.Stats().Late != uint64(1-tt.fires) {
				t.Errorf("%d firings, %+v", len(got), w.Stats())
			}
			w.Add(observation(3, time.Hour, "another"), nil)
			if got := w.Add(observation(4, 0, "a third"), nil); got != nil || w.Stats().Late != uint64(1-tt.fires) {
				t.Error("lateness is that of the group")
			}
		})
	}
}

// A window that was restored goes on as if nothing had happened.
func TestRestoredGoesOn(t *testing.T) {
	for name, c := range cases() {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(9, 9))
			for round := range 30 {
				w, again := New[string](c), New[string](c)
				if round%2 == 0 { // crowds, too
					w.calm, again.calm = 3, 3
				}
				all := stream(random, c, 200, 5*time.Second)
				half := random.IntN(len(all))
				for _, o := range all[:half] {
					w.Add(o, nil)
				}
				state, err := w.Snapshot(nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := again.Restore(state); err != nil {
					t.Fatal(err)
				}
				if a, b := w.Stats(), again.Stats(); a != b {
					t.Fatalf("round %d: %+v became %+v", round, a, b)
				}
				for i, o := range all[half:] {
					want, got := w.Add(o, nil), again.Add(o, nil)
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("round %d, event %d: got %v, want %v", round, half+i, got, want)
					}
				}
			}
		})
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	w := New[string](atLeast3)
	for i := range 5 {
		w.Add(observation(i, time.Duration(i)*time.Second, "g"), nil)
	}
	state, err := w.Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(state) {
		if New[string](atLeast3).Restore(state[:n]) == nil {
			t.Errorf("%d bytes of %d were taken for the whole", n, len(state))
		}
	}
	if New[string](atLeast3).Restore(append(slices.Clone(state), 0)) == nil {
		t.Error("a byte too many was not seen")
	}
}

func FuzzRestore(f *testing.F) {
	all := slices.Sorted(func(yield func(string) bool) {
		for name := range cases() {
			if !yield(name) {
				return
			}
		}
	})
	for i, name := range all {
		c := cases()[name]
		w := New[string](c)
		for _, o := range stream(rand.New(rand.NewPCG(1, 1)), c, 30, time.Second) {
			w.Add(o, nil)
		}
		state, err := w.Snapshot(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, state)
	}
	f.Fuzz(func(t *testing.T, which int, state []byte) {
		c := cases()[all[uint(which)%uint(len(all))]]
		w := New[string](c)
		if w.Restore(state) != nil {
			return
		}
		for _, o := range stream(rand.New(rand.NewPCG(2, 2)), c, 30, time.Second) {
			w.Add(o, nil)
		}
	})
}
