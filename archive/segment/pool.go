package segment

import (
	"container/list"
	"sync"
)

// Pool keeps what was read last of segments, decoded, up to a number of bytes:
// the dictionaries and pages that were used, and outlines. It may be used by
// several goroutines.
type Pool struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	held  map[poolKey]*list.Element // of *pooled
	order list.List                 // what was used last is in front
}

// poolKey names a column of a row group, or its outline.
type poolKey struct {
	owner *Pages
	group int
	leaf  int
}

type pooled struct {
	key   poolKey
	value any
	bytes int64
}

// NewPool returns an empty pool for so many bytes.
func NewPool(limit int64) *Pool { return &Pool{limit: limit, held: map[poolKey]*list.Element{}} }

// get returns what is kept under a key, or else what read returns. Two who ask
// for the same at the same time may both read.
func (p *Pool) get(key poolKey, read func() (value any, bytes int64, err error)) (any, error) {
	p.mu.Lock()
	if e := p.held[key]; e != nil {
		p.order.MoveToFront(e)
		p.mu.Unlock()
		return e.Value.(*pooled).value, nil
	}
	p.mu.Unlock()
	value, bytes, err := read()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.held[key]; e != nil {
		return e.Value.(*pooled).value, nil
	}
	p.held[key] = p.order.PushFront(&pooled{key, value, bytes})
	p.bytes += bytes
	p.trim()
	return value, nil
}

// grow notes that what is kept under a key has become larger.
func (p *Pool) grow(key poolKey, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.held[key]; e != nil {
		e.Value.(*pooled).bytes += bytes
		p.bytes += bytes
		p.trim()
	}
}

// trim lets go of what was not used for longest; who uses it keeps it.
func (p *Pool) trim() {
	for p.bytes > p.limit && p.order.Len() > 1 {
		p.remove(p.order.Back())
	}
}

func (p *Pool) remove(e *list.Element) {
	v := p.order.Remove(e).(*pooled)
	delete(p.held, v.key)
	p.bytes -= v.bytes
}

// drop lets go of everything of one owner.
func (p *Pool) drop(owner *Pages) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, e := range p.held {
		if key.owner == owner {
			p.remove(e)
		}
	}
}
