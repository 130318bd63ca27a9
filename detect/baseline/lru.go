package baseline

// lru is a map that forgets what was used longest ago when it is full.
type lru[V any] struct {
	most        int
	nodes       map[string]*node[V]
	first, last *node[V] // first was used last
	lost        uint64
}

type node[V any] struct {
	key          string
	value        V
	newer, older *node[V]
}

func newLRU[V any](most int) *lru[V] { return &lru[V]{most: most, nodes: map[string]*node[V]{}} }

func (l *lru[V]) len() int { return len(l.nodes) }

// get returns the value of a key, which is made when there is none. It
// allocates only then.
func (l *lru[V]) get(key []byte) (v *V, fresh bool) {
	n := l.nodes[string(key)]
	if n != nil {
		l.unlink(n)
		l.link(n)
		return &n.value, false
	}
	if len(l.nodes) >= l.most {
		old := l.last
		l.unlink(old)
		delete(l.nodes, old.key)
		l.lost++
	}
	n = &node[V]{key: string(key)}
	l.nodes[n.key] = n
	l.link(n)
	return &n.value, true
}

// peek returns the value of a key, nil when there is none.
func (l *lru[V]) peek(key []byte) *V {
	if n := l.nodes[string(key)]; n != nil {
		return &n.value
	}
	return nil
}

func (l *lru[V]) drop(key []byte) {
	if n := l.nodes[string(key)]; n != nil {
		l.unlink(n)
		delete(l.nodes, n.key)
	}
}

func (l *lru[V]) link(n *node[V]) {
	n.newer, n.older = nil, l.first
	if l.first != nil {
		l.first.newer = n
	}
	l.first = n
	if l.last == nil {
		l.last = n
	}
}

func (l *lru[V]) unlink(n *node[V]) {
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		l.first = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		l.last = n.newer
	}
}

// each calls f from what was used longest ago to what was used last.
func (l *lru[V]) each(f func(key string, v *V)) {
	for n := l.last; n != nil; n = n.newer {
		f(n.key, &n.value)
	}
}
