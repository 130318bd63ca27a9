package sigma

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// weights chooses, for each rule of a class, the items that make it a
// candidate. The choice is made from a guess at first and made again from
// what was seen, at most a few times; it changes what a Set costs and never
// what it finds. Safe for concurrent use.
type weights struct {
	guess []float64
	seen  []atomic.Uint32 // sampled events in which an item was on
	total atomic.Uint32
	watch atomic.Pointer[watch]
	mu    sync.Mutex
	at    uint32 // total of the next choice
}

// watch says which rules an item makes candidates.
type watch struct {
	from   []int32 // rules[from[i]:from[i+1]] for item i
	rules  []int32
	always []int32 // rules without a witness
}

const (
	sampleEvery = 16      // events for one sample
	firstChoice = 64      // samples before the guess is replaced
	lastChoice  = 1 << 20 // samples after which nothing is learned any more
)

func (w *weights) init(c *class) {
	w.seen = make([]atomic.Uint32, c.items)
	w.at = firstChoice
	w.choose(c)
}

func (w *weights) weight(item int32) float64 {
	const trust = 16 // samples that a guess is worth
	return (w.guess[item]*trust + float64(w.seen[item].Load())) / (trust + float64(w.total.Load()))
}

func (w *weights) choose(c *class) {
	next := &watch{}
	lists := make([][]int32, c.items)
	n := 0
	for i := range c.rules {
		found, ok := c.rules[i].when.witness(c, w.weight)
		if !ok {
			next.always = append(next.always, int32(i))
			continue
		}
		for _, item := range found.items {
			lists[item] = append(lists[item], int32(i))
			n++
		}
	}
	next.from, next.rules = make([]int32, 0, c.items+1), make([]int32, 0, n)
	for _, l := range lists {
		next.from = append(next.from, int32(len(next.rules)))
		next.rules = append(next.rules, l...)
	}
	next.from = append(next.from, int32(len(next.rules)))
	w.watch.Store(next)
}

// sample takes note of the items that were on in one event.
func (w *weights) sample(c *class, on []uint64) {
	total := w.total.Load()
	if total >= lastChoice {
		return
	}
	for i, x := range on {
		for ; x != 0; x &= x - 1 {
			w.seen[i*64+bits.TrailingZeros64(x)].Add(1)
		}
	}
	total = w.total.Add(1)
	if total < firstChoice || !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	if total >= w.at {
		w.at *= 8
		w.choose(c)
	}
}
