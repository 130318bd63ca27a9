// Package archivetest makes security events of realistic shape, as many as
// wanted and always the same ones, for the tests and benchmarks of everything
// that stores, finds or judges events.
//
// In: Options. Out: event.Batch by number, the counts of what was planted among
// them (Truth), and the answers to questions about all of them (Tally). Always
// true: a batch depends on the options and its number only, so that batches may
// be made in any order and by many goroutines; hosts, users and addresses are
// patterns, never those of real people or machines.
//
// An event is about 630 bytes of JSON. The mix is what a hospital, its call
// centre and its data centre send: connections, names asked for, processes,
// log-ons and registry changes of Windows, log-ons, system log and audit
// records of Linux, and web access. Hosts, users and addresses follow Zipf's
// law, as they do in life: a few are everywhere, most are rare.
package archivetest

import (
	"iter"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
)

// Options says what is made. Zero values are replaced by the defaults.
type Options struct {
	Seed     uint64        // another seed, other events
	Events   int           // 100,000; rounded up to whole batches, at least 10,000
	Hosts    int           // 800
	PerBatch int           // 500 events, all of one host
	From     time.Time     // 2026-11-15 00:00 UTC
	Span     time.Duration // 24 h; batches are spread evenly over it
}

// Generator makes the events. Its methods may be called by many goroutines.
type Generator struct {
	o     Options
	hosts []host
	users []string
	away  []string // addresses of the outside, the most used first

	hostDice, userDice, awayDice zipf

	planted map[int][]plant // by batch, in order of event
	truth   Truth
}

// New prepares a generator; that takes some milliseconds.
func New(o Options) *Generator {
	o = o.withDefaults()
	g := &Generator{o: o, hosts: makeHosts(o.Hosts), users: makeUsers(), away: makeAway()}
	g.hostDice, g.userDice, g.awayDice = newZipf(len(g.hosts), 0.8), newZipf(len(g.users), 1), newZipf(len(g.away), 1)
	g.plant()
	return g
}

func (o Options) withDefaults() Options {
	if o.Events == 0 {
		o.Events = 100_000
	}
	if o.Hosts == 0 {
		o.Hosts = 800
	}
	if o.PerBatch == 0 {
		o.PerBatch = 500
	}
	if o.From.IsZero() {
		o.From = time.Date(2026, 11, 15, 0, 0, 0, 0, time.UTC)
	}
	if o.Span == 0 {
		o.Span = 24 * time.Hour
	}
	batches := (max(o.Events, 10_000) + o.PerBatch - 1) / o.PerBatch
	o.Events = batches * o.PerBatch
	return o
}

// Options returns what the generator works with, defaults filled in.
func (g *Generator) Options() Options { return g.o }

// To returns the time after the newest event.
func (g *Generator) To() time.Time { return g.o.From.Add(g.o.Span + burst) }

// Batches returns how many batches there are.
func (g *Generator) Batches() int { return g.o.Events / g.o.PerBatch }

// All returns all batches in the order of time.
func (g *Generator) All() iter.Seq[event.Batch] {
	return func(yield func(event.Batch) bool) {
		for n := range g.Batches() {
			if !yield(g.Batch(n)) {
				return
			}
		}
	}
}

// burst is the time over which the events of one batch are spread.
const burst = 30 * time.Second

// Batch makes batch n, 0 ≤ n < Batches(). Its events belong to one host and
// are sorted by time, in whole microseconds. Its texts share memory.
func (g *Generator) Batch(n int) event.Batch {
	d := dice{rand.NewPCG(g.o.Seed, uint64(n)+1)}
	h := g.hostOf(n)
	b := event.Batch{ID: "ba-" + hex16(d.Uint64()), Site: h.site, Host: h.id, Events: make([]event.Event, g.o.PerBatch)}
	m := &maker{g: g, h: h, dice: d}
	m.b.Grow(g.o.PerBatch * 560)
	base := g.o.From.Add(time.Duration(float64(g.o.Span) * float64(n) / float64(g.Batches()))).Truncate(time.Microsecond)
	slot, planted := (burst / time.Duration(g.o.PerBatch)).Truncate(time.Microsecond), g.planted[n]
	for i := range b.Events {
		e := &b.Events[i]
		e.Time = base.Add(time.Duration(i)*slot + time.Duration(d.below(int(slot/time.Microsecond)))*time.Microsecond)
		e.Site, e.Host = b.Site, b.Host
		e.ID = m.text(b.ID, "-").num(i).cut()
		m.what = nothing
		if len(planted) > 0 && planted[0].event == i {
			m.what, m.nth, planted = planted[0].what, planted[0].nth, planted[1:]
		}
		m.make(e)
	}
	b.SentAt = base.Add(burst)
	return b
}

func (g *Generator) hostOf(n int) *host {
	return &g.hosts[g.hostDice.pick(mix(g.o.Seed^uint64(n)*0x9e3779b97f4a7c15))]
}

// ProbeHost is a host, not one of the busiest where that can be avoided, that
// has events in the middle of the span, for questions about one host.
func (g *Generator) ProbeHost() string {
	middle := g.Batches()/2 + 1
	for n := middle; n < min(middle+40, g.Batches()); n++ {
		if h := g.hostOf(n); h != &g.hosts[0] && h != &g.hosts[1] {
			return h.id
		}
	}
	return g.hostOf(g.Batches() / 2).id
}

// mix spreads the bits of a number (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func hex16(n uint64) string {
	s := strconv.FormatUint(n, 16)
	return "0000000000000000"[len(s):] + s
}
