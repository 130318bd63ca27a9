package correlate

import "hash/maphash"

// index finds groups by a hash of their key, with a seed that nobody knows.
// That keys differ whose 64 bits are the same is left out of account, one pair
// in some 3 billion times 100,000 groups: it saves a look at the key itself,
// which lies far away from what is counted. Half of the hash stands here, the
// whole in the group.
type index struct {
	seed    maphash.Seed
	entries []entry // a power of two of them, at most three quarters full
	n       int
}

type entry struct {
	part uint32 // of the hash
	at   uint32 // place of the group, plus 1; 0: free
}

func newIndex() index { return index{seed: maphash.MakeSeed()} }

func (x *index) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) }

func partOf(hash uint64) uint32 { return uint32(hash >> 32) }

// find returns the place of the group with a hash.
func (w *Window[E]) find(hash uint64) (at uint32, known bool) {
	x := &w.groups
	if x.n == 0 {
		return 0, false
	}
	part, mask := partOf(hash), uint32(len(x.entries)-1)
	for k := part & mask; ; k = (k + 1) & mask {
		e := x.entries[k]
		if e.at == 0 {
			return 0, false
		}
		if e.part == part && w.hashOf(e.at-1) == hash {
			return e.at - 1, true
		}
	}
}

func (w *Window[E]) hashOf(i uint32) uint64 {
	if w.packed != nil {
		return w.packed.cell(i).hash
	}
	return w.slab[i].hash
}

// add puts a group in that is not there.
func (x *index) add(hash uint64, at uint32) {
	if 4*(x.n+1) > 3*len(x.entries) {
		old := x.entries
		x.entries, x.n = make([]entry, max(16, 2*len(old))), 0
		for _, e := range old {
			if e.at != 0 {
				x.put(e)
			}
		}
	}
	x.put(entry{partOf(hash), at + 1})
}

func (x *index) put(e entry) {
	mask := uint32(len(x.entries) - 1)
	k := e.part & mask
	for x.entries[k].at != 0 {
		k = (k + 1) & mask
	}
	x.entries[k] = e
	x.n++
}

// remove takes a group out and moves up what its place had pushed on.
func (x *index) remove(hash uint64, at uint32) {
	mask := uint32(len(x.entries) - 1)
	k := partOf(hash) & mask
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
		if (next-e.part)&mask >= (next-k)&mask { // it may stand at k as well
			x.entries[k], k = e, next
		}
	}
}

// each calls f with the place of every group.
func (x *index) each(f func(at uint32)) {
	for _, e := range x.entries {
		if e.at != 0 {
			f(e.at - 1)
		}
	}
}
