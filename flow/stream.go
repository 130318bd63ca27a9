package flow

// spans bounds how many separate pieces of a stream may wait for a gap to close.
const spans = 8

// stream puts the first bytes of one direction of a TCP connection together.
// Where segments overlap the bytes that came first stay, as most receivers do.
type stream struct {
	data  []byte
	have  [spans][2]int // [from, to) in order, not touching
	n     int
	owner int32 // slot*2+side, none when free
}

// pool holds at most max streams of one size. When all are in use the one in
// use longest is taken away from its owner; the table must be told by disown.
type pool struct {
	size   int
	max    int
	all    []stream
	free   []int32
	hand   int32 // next to be taken away
	stolen uint64
}

func newPool(size, most int) pool { return pool{size: size, max: most} }

// take returns a stream for owner and whom it was taken from, none if nobody.
func (p *pool) take(owner int32) (i, from int32) {
	from = none
	switch {
	case len(p.free) > 0:
		i = p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
	case len(p.all) < p.max:
		p.all = append(p.all, stream{data: make([]byte, p.size)})
		i = int32(len(p.all) - 1)
	default:
		i = p.hand
		p.hand = (p.hand + 1) % int32(len(p.all))
		from = p.all[i].owner
		p.stolen++
	}
	p.all[i].n, p.all[i].owner = 0, owner
	return i, from
}

func (p *pool) put(i int32) {
	p.all[i].owner = none
	p.free = append(p.free, i)
}

// prefix returns the bytes that are complete from the start.
func (s *stream) prefix() []byte {
	if s.n == 0 || s.have[0][0] != 0 {
		return nil
	}
	return s.data[:s.have[0][1]]
}

// insert adds b at offset from the start of the stream. Bytes beyond the
// buffer, and pieces that would make too many gaps, are left out.
func (s *stream) insert(from int, b []byte) {
	if from >= len(s.data) || len(b) == 0 {
		return
	}
	to := min(from+len(b), len(s.data))
	first, last := 0, 0 // spans[first:last] touch the new one
	for first < s.n && s.have[first][1] < from {
		first++
	}
	for last = first; last < s.n && s.have[last][0] <= to; last++ {
	}
	if first == last && s.n == spans {
		return
	}
	s.fill(from, to, b, first, last)
	lo, hi := from, to
	if first < last {
		lo, hi = min(lo, s.have[first][0]), max(hi, s.have[last-1][1])
		copy(s.have[first+1:], s.have[last:s.n])
		s.n -= last - first - 1
	} else {
		copy(s.have[first+1:], s.have[first:s.n])
		s.n++
	}
	s.have[first] = [2]int{lo, hi}
}

// fill copies b into the places between from and to that spans[first:last] do
// not cover yet.
func (s *stream) fill(from, to int, b []byte, first, last int) {
	at := from
	for _, h := range s.have[first:last] {
		if at < h[0] {
			copy(s.data[at:min(h[0], to)], b[at-from:])
		}
		at = max(at, h[1])
	}
	if at < to {
		copy(s.data[at:to], b[at-from:])
	}
}
