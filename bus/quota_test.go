package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
)

const kib = 1 << 10

// gate is a handler that handles as many messages as it is let.
type gate struct {
	record
	let chan struct{}
}

func newGate() *gate { return &gate{let: make(chan struct{}, 1<<20)} }

func (g *gate) handle(ctx context.Context, body []byte) error {
	select {
	case <-g.let:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.add(string(body[:8]))
	return nil
}

func (g *gate) open(n int) {
	for range n {
		g.let <- struct{}{}
	}
}

// offer offers a message of so many bytes that begins with its id.
func offer(ctx context.Context, b *Bus, subject, id string, size int) error {
	body := make([]byte, size)
	copy(body, fmt.Sprintf("%-8s", id))
	return b.Offer(ctx, subject, id, body)
}

// A host that sends fifty times as much as another may put only so many
// messages before it, however long it does so.
func TestNoisyHostDelaysOthersByABoundedNumberOfMessages(t *testing.T) {
	b := openWith(t, Config{Quotas: Quotas{HostWaiting: 64 * kib}})
	g := newGate()
	if err := b.Join(t.Context(), OnBytes("event.>", "detect", g.handle)); err != nil {
		t.Fatal(err)
	}
	const size, rounds = 4 * kib, 12
	ahead := map[string]int{} // how many were handled when the quiet host offered
	accepted := 0
	for r := range rounds {
		for n := range 50 {
			err := offer(t.Context(), b, "event.s.noisy", fmt.Sprintf("n%d/%d", r, n), size)
			if err == nil {
				accepted++
			} else if fault.Of(err) != fault.Busy {
				t.Fatal(err)
			}
		}
		id := fmt.Sprintf("%-8s", fmt.Sprintf("q%d", r))
		ahead[id] = len(g.all())
		if err := offer(t.Context(), b, "event.s.quiet", id, size); err != nil {
			t.Fatalf("the quiet host was refused: %v", err)
		}
		accepted++
		before := len(g.all())
		some := min(6, accepted-before)
		g.open(some)
		until(t, "some more", func() bool { return len(g.all()) == before+some })
	}
	g.open(accepted)
	until(t, "all that was accepted", func() bool { return len(g.all()) == accepted })
	const bound = 64*kib/size + rounds // what the noisy host may have waiting, and all of the quiet one
	for i, id := range g.all() {
		if n, ok := ahead[id]; ok && i-n > bound {
			t.Errorf("%s was handled after %d others, at most %d may be before it", id, i-n, bound)
		}
	}
	if accepted >= rounds*51 {
		t.Error("nothing was refused: the test shows nothing")
	}
}

// When nobody handles anything, what comes is refused with a time to wait
// before the stream is full; what was accepted is handled when somebody does.
func TestStoppedConsumerStopsIntakeBeforeTheBusIsFull(t *testing.T) {
	b := openWith(t, Config{MaxBytes: 2 << 20})
	g := newGate()
	if err := b.Join(t.Context(), OnBytes("event.>", "detect", g.handle)); err != nil {
		t.Fatal(err)
	}
	var accepted []string
	var refused error
	for n := 0; refused == nil; n++ {
		id := fmt.Sprintf("%-8s", fmt.Sprintf("m%d", n))
		if refused = offer(t.Context(), b, fmt.Sprintf("event.s.h%d", n%10), id, 32*kib); refused == nil {
			accepted = append(accepted, id)
		}
	}
	var f *fault.Error
	var wait interface{ RetryAfter() time.Duration }
	if !errors.As(refused, &f) || f.Kind != fault.Busy || f.Key == "bus.full" || !errors.As(refused, &wait) || wait.RetryAfter() <= 0 {
		t.Fatalf("got %v, want a refusal with a time to wait", refused)
	}
	if err := b.Publish(t.Context(), "event.s.own", "own", make([]byte, 64*kib)); err != nil {
		t.Errorf("no room left for the stages: %v", err)
	}
	g.open(len(accepted) + 1)
	until(t, "all that was accepted", func() bool { return len(g.all()) == len(accepted)+1 })
	if got := g.all()[:len(accepted)]; !slices.Equal(got, accepted) {
		t.Errorf("got %q, want %q", got, accepted)
	}
	until(t, "intake again", func() bool { return offer(t.Context(), b, "event.s.h0", "again", 32*kib) == nil })
}

// A site that took everything while it was alone leaves room for one that
// comes later, and a heavier one gets more.
func TestSitesShareWhatMayWait(t *testing.T) {
	b := openWith(t, Config{MaxBytes: 8 << 20, Quotas: Quotas{Waiting: 1 << 20, HostWaiting: 4 << 20, Weights: map[string]int{"big": 3}}})
	if err := b.Join(t.Context(), OnBytes("event.>", "detect", newGate().handle)); err != nil {
		t.Fatal(err)
	}
	fill := func(site string) (n int) {
		for ; n < 200; n++ {
			if err := offer(t.Context(), b, "event."+site+".h", fmt.Sprintf("%s%d", site, n), 16*kib); err != nil {
				return n
			}
		}
		return n
	}
	first, late := fill("first"), fill("late")
	if first < 60 || first > 66 || late < 5 {
		t.Errorf("first took %d, want about 64; late got %d, want some", first, late)
	}
	loads := b.Loads()
	if len(loads) != 2 || loads[0].Site != "first" || loads[0].Refused["bus.lag"] == 0 || loads[0].Waiting < 900*kib || loads[1].Loudest != "h" {
		t.Errorf("loads: %+v", loads)
	}
	m := newMeter(Quotas{Weights: map[string]int{"big": 3}}.filled(4<<20), nil)
	now := time.Now()
	m.account(source{"big", "a"}, now)
	m.account(source{"small", "a"}, now)
	if w := m.weights(); w != 4 {
		t.Errorf("weights: got %d, want 4", w)
	}
}

func TestRateIsBoundedInTheLongRunOnly(t *testing.T) {
	m := newMeter(Quotas{HostRate: 100, SiteRate: 150, Burst: 10}.filled(1<<30), nil)
	m.counted = time.Now().Add(time.Hour) // what waits is not asked for here
	now := m.counted
	send := func(host string, size int64, at time.Duration) string {
		m.counted = now.Add(at)
		err := m.admit(t.Context(), source{"s", host}, size, now.Add(at))
		var f *fault.Error
		if errors.As(err, &f) {
			return f.Key
		}
		return ""
	}
	for _, step := range []struct {
		host string
		size int64
		at   time.Duration
		want string
	}{
		{"a", 1100, 0, ""}, // larger than the burst of 1000: let in, paid for later
		{"a", 1, 0, "bus.rate-host"},
		{"b", 399, 0, ""},
		{"b", 300, 0, ""}, // the site is in debt now
		{"c", 1, 0, "bus.rate-site"},
		{"c", 1, 2 * time.Second, ""},
		{"a", 50, 4 * time.Second, ""}, // 300 of credit, of the site, too
		{"a", 250, 4 * time.Second, ""},
		{"a", 1, 4 * time.Second, "bus.rate-host"},
		{"a", 1, time.Hour, ""},
	} {
		if got := send(step.host, step.size, step.at); got != step.want {
			t.Errorf("%+v: got %q", step, got)
		}
	}
}
