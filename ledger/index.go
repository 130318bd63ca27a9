package ledger

import (
	"maps"
	"sync"
)

// index finds the place of a leaf by its key: in a file for the leaves that
// the table covers, in memory (about 50 bytes for each) for those that came
// since. The zero value is empty.
type index struct {
	mu     sync.RWMutex
	table  *table
	recent map[key]uint64
	grown  chan struct{} // closed when a leaf was added, for those who wait
}

// find returns the place of a leaf. An error means that nobody knows whether
// it is in the log.
func (x *index) find(k key) (place uint64, known bool, err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i, known := x.recent[k]; known {
		return i, true, nil
	}
	return x.table.find(k)
}

// add notes a leaf, unless an equal one stands before it.
func (x *index) add(k key, place uint64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, twice, err := x.table.find(k); twice || err != nil {
		return err
	}
	x.put(k, place)
	if x.grown != nil {
		close(x.grown)
		x.grown = nil
	}
	return nil
}

// put notes a leaf that the table does not know. x.mu is held.
func (x *index) put(k key, place uint64) {
	if x.recent == nil {
		x.recent = map[key]uint64{}
	}
	if _, twice := x.recent[k]; !twice {
		x.recent[k] = place
	}
}

// growth returns a channel that is closed when the next leaf is added.
func (x *index) growth() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.grown == nil {
		x.grown = make(chan struct{})
	}
	return x.grown
}

// set replaces all.
func (x *index) set(t *table, recent map[key]uint64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.table
	x.table, x.recent = t, recent
	if old == t {
		return nil
	}
	return old.Close()
}

// rebase puts a larger table in the place of the present one and forgets what
// it covers.
func (x *index) rebase(t *table) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.table
	x.table = t
	rest := map[key]uint64{} // anew: a map never shrinks
	for k, place := range x.recent {
		if place >= t.size {
			rest[k] = place
		}
	}
	x.recent = rest
	return old.Close()
}

// cut forgets the leaves from size on.
func (x *index) cut(size uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.recent, func(_ key, place uint64) bool { return place >= size })
}

// waiting is the number of leaves in memory.
func (x *index) waiting() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.recent)
}
