package archive

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
)

// tail holds the events that came and are not sealed yet, so that queries see
// them at once. It is in memory; queries read it as a few small files, which
// are not synced, as all of it is still on the bus.
type tail struct {
	batches map[string]*pending // by id, as it came
	order   []*pending          // oldest first
	bytes   int64
	full    bool // said so
	chunks  []*chunk
	next    int64 // number of the next chunk, negative
}

// tailAge is how long a batch stays in the tail at most. It is sealed within
// seconds, unless the bus gave it up or another hub has it.
const tailAge = time.Hour

// pending is a batch in the tail.
type pending struct {
	asked
	at    time.Time
	rows  []segment.Row
	bytes int64
	chunk *chunk // nil: in no file yet
	gone  bool   // sealed
}

// chunk is a file with some of the tail. The rows of all chunks are the tail.
type chunk struct {
	number      int64
	path        string
	batches     []*pending
	from, to    time.Time
	rows, bytes int64
	views       int
	gone        bool
}

// Preview makes the events of batches visible to queries before Append seals
// them. What is stored or in view already is left out. It only ever helps: when
// the tail is full, which is said once, or when an old batch cannot be looked
// up, it does nothing, and the events are seen after Append. Returned are the
// ids of the batches that it holds now, which Seal can store.
func (a *Archive) Preview(ctx context.Context, batches []event.Batch) (held []string) {
	at := a.now().UTC()
	for _, b := range batches {
		if a.preview(ctx, b, at) {
			held = append(held, segment.Clean(b.ID))
		}
	}
	return held
}

func (a *Archive) preview(ctx context.Context, b event.Batch, at time.Time) (holds bool) {
	id, size := segment.Clean(b.ID), int64(b.Size())
	if id == "" || len(b.Events) == 0 {
		return false
	}
	if held, fits := a.room(id, size); held || !fits {
		return held
	}
	p := &pending{asked: askedOf(b), at: at, bytes: size}
	if stored, _, err := a.stored(ctx, p.asked); stored || err != nil {
		return false
	}
	p.rows = segment.Rows(b, at)
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.tail.order) > 0 && at.Sub(a.tail.order[0].at) > tailAge {
		a.tail.remove([]string{a.tail.order[0].id})
	}
	if a.index.known[keyOf(id)] != nil || a.closed {
		return false
	}
	if a.tail.batches[id] == nil {
		a.tail.add(p)
	}
	return true
}

// room says whether a batch is in the tail or fits into it.
func (a *Archive) room(id string, size int64) (held, fits bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tail.batches[id] != nil {
		return true, true
	}
	if a.tail.bytes+size <= a.tailLimit {
		return false, true
	}
	if !a.tail.full {
		a.tail.full = true
		a.log.Warn("too much is waiting to be stored: the newest events are seen later", "bytes", a.tail.bytes)
	}
	return false, false
}

func (t *tail) add(p *pending) {
	if t.batches == nil {
		t.batches = map[string]*pending{}
	}
	t.batches[p.id] = p
	t.order = append(t.order, p)
	t.bytes += p.bytes
}

// remove takes sealed batches out; the caller holds mu. Their chunks are made
// anew, without them, by the next query.
func (t *tail) remove(ids []string) {
	if len(t.batches) == 0 {
		return
	}
	for _, id := range ids {
		if p := t.batches[id]; p != nil {
			delete(t.batches, id)
			p.gone = true
			t.bytes -= p.bytes
		}
	}
	t.order = slices.DeleteFunc(t.order, func(p *pending) bool { return p.gone })
	t.full = t.full && len(t.order) > 0
}

// freezeTail returns the files of the tail, and with mu held: what it returns
// and the index together hold every event once.
func (a *Archive) freezeTail(ctx context.Context) ([]*chunk, error) {
	a.encoding.Lock()
	defer a.encoding.Unlock()
	for {
		a.mu.Lock()
		for _, c := range a.tail.chunks {
			if c.stale() {
				a.tail.drop(c)
			}
			a.discardChunk(c)
		}
		a.tail.chunks = slices.DeleteFunc(a.tail.chunks, func(c *chunk) bool { return c.gone })
		batches := a.tail.unwritten()
		if len(batches) == 0 {
			return a.tail.chunks, nil
		}
		a.tail.next--
		number := a.tail.next
		a.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := a.encodeTail(number, batches)
		a.mu.Lock()
		if err != nil { // what is sealed must stay in view, though the disk be full
			a.log.Error("newest events cannot be shown", "err", err)
			return a.tail.chunks, nil
		}
		a.tail.take(c)
		a.mu.Unlock()
	}
}

// stale says that a chunk holds something that is sealed by now.
func (c *chunk) stale() bool {
	return slices.ContainsFunc(c.batches, func(p *pending) bool { return p.gone })
}

// drop takes a chunk apart; what is still pending is written anew.
func (t *tail) drop(c *chunk) {
	c.gone = true
	for _, p := range c.batches {
		if p.chunk == c {
			p.chunk = nil
		}
	}
}

// unwritten returns the batches that the next chunk must hold: those in no
// file, and those of the last files as long as these are not much larger, so
// that there are few files and no batch is written more than a few times.
func (t *tail) unwritten() []*pending {
	var batches []*pending
	rows := int64(0)
	for _, p := range t.order {
		if p.chunk == nil {
			batches, rows = append(batches, p), rows+int64(len(p.rows))
		}
	}
	if len(batches) == 0 {
		return nil
	}
	for _, c := range slices.Backward(t.chunks) {
		if c.rows > 2*rows {
			break
		}
		batches, rows = append(batches, c.batches...), rows+c.rows
	}
	return batches
}

// take adds a chunk in place of those that held its batches before.
func (t *tail) take(c *chunk) {
	for _, p := range c.batches {
		if p.chunk != nil {
			p.chunk.gone = true
		}
	}
	for _, p := range c.batches {
		p.chunk = c
	}
	t.chunks = append(t.chunks, c)
}

func (a *Archive) encodeTail(number int64, batches []*pending) (*chunk, error) {
	c := &chunk{number: number, path: a.full(fmt.Sprintf("%s/%d.parquet", tailName, -number)), batches: batches}
	var rows []segment.Row
	for _, p := range batches {
		rows = append(rows, p.rows...)
	}
	facts, err := segment.WriteQuick(c.path, rows)
	if err != nil {
		return nil, err
	}
	c.from, c.to, c.rows, c.bytes = facts.From, facts.To, facts.Rows, facts.Bytes
	return c, nil
}

// unchunk ends the use of chunks.
func (a *Archive) unchunk(used []*chunk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range used {
		c.views--
		a.discardChunk(c)
	}
}

// discardChunk removes the file of a chunk that nothing needs any more.
func (a *Archive) discardChunk(c *chunk) {
	if !c.gone || c.views > 0 {
		return
	}
	if err := removeIfThere(c.path); err != nil {
		a.log.Error("file with newest events cannot be removed", "err", err)
	}
}

// clearTail removes what an earlier run left.
func (a *Archive) clearTail() error {
	dir := a.full(tailName)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear the newest events: %w", err)
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return fmt.Errorf("clear the newest events: %w", err)
	}
	return nil
}
