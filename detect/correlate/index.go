package correlate

import "hash/maphash"

// index finds groups by two hashes of their key, with seeds that nobody knows.
// That keys differ whose 128 bits are the same is left out of account: it
// saves a look at the key itself, which lies far away from what is counted.
// The zero index is empty.
type index struct {
	seeds   [2]maphash.Seed
	entries []entry // a power of two of them, at most half full
	n       int
}

type entry struct {
	hash uint64
	at   uint32 // in the slab, plus 1; 0: free
}

// print is both hashes of a key.
type print struct{ place, check uint64 }

func newIndex() index { return index{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}} }

func (x *index) print(key []byte) print {
	return print{maphash.Bytes(x.seeds[0], key), maphash.Bytes(x.seeds[1], key)}
}

// find returns where the group lies in the slab.
func (x *index) find(p print, slab []group) (at uint32, known bool) {
	if x.n == 0 {
		return 0, false
	}
	for k := p.place; ; k++ {
		e := &x.entries[k&uint64(len(x.entries)-1)]
		if e.at == 0 {
			return 0, false
		}
		if e.hash == p.place && slab[e.at-1].check == p.check {
			return e.at - 1, true
		}
	}
}

// add puts a group in that is not there.
func (x *index) add(p print, at uint32) {
	if 2*(x.n+1) > len(x.entries) {
		old := x.entries
		x.entries, x.n = make([]entry, max(16, 2*len(old))), 0
		for _, e := range old {
			if e.at != 0 {
				x.put(e)
			}
		}
	}
	x.put(entry{p.place, at + 1})
}

func (x *index) put(e entry) {
	k := e.hash
	for x.entries[k&uint64(len(x.entries)-1)].at != 0 {
		k++
	}
	x.entries[k&uint64(len(x.entries)-1)] = e
	x.n++
}

// remove takes a group out and moves up what its place had pushed on.
func (x *index) remove(hash uint64, at uint32) {
	mask := uint64(len(x.entries) - 1)
	k := hash & mask
	for x.entries[k].at != at+1 {
		k = (k + 1) & mask
	}
	x.n--
	for next := k; ; {
		next = (next + 1) & mask
		e := x.entries[next]
		if e.at == 0 {
			x.entries[k] = entry{}
			return
		}
		if (next-e.hash)&mask >= (next-k)&mask { // it may stand at k as well
			x.entries[k], k = e, next
		}
	}
}

// each calls f with the place of every group in the slab.
func (x *index) each(f func(at uint32)) {
	for _, e := range x.entries {
		if e.at != 0 {
			f(e.at - 1)
		}
	}
}
