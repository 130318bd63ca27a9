package evtx

import "bytes"

// maxSpare bounds the operations kept for templates of other chunks.
const maxSpare = 1 << 14

// spares keeps the templates of chunks gone by, for records whose own was
// lost: a provider's template has the same id in every chunk. A nil spares
// keeps and has nothing.
type spares struct {
	programs map[spareKey]program
	ops      int
}

// spareKey holds the number of values too: where that is another, the
// record itself is damaged.
type spareKey struct {
	id     int
	count  int
	kind   placeKind
	prefix string
}

func keyOf(i instance, in place) spareKey {
	return spareKey{i.id, i.count, in.kind, string(in.prefix)}
}

// keep remembers p, which compiled well, in memory of its own.
func (s *spares) keep(i instance, in place, p program) {
	if s == nil || p.reason != "" || s.ops+len(p.ops) > maxSpare {
		return
	}
	key := keyOf(i, in)
	if _, ok := s.programs[key]; ok {
		return
	}
	own := program{borrowed: true, ops: make([]op, len(p.ops))}
	for n, o := range p.ops {
		o.parts = append([]part(nil), o.parts...)
		for m := range o.parts {
			if o.parts[m].kind == partTemplate { // a position in its chunk
				return
			}
			o.parts[m].text = bytes.Clone(o.parts[m].text)
		}
		own.ops[n] = o
	}
	s.programs[key] = own
	s.ops += len(own.ops)
}

// instead returns a template of another chunk, or p where there is none.
func (s *spares) instead(i instance, in place, p program) program {
	if s == nil {
		return p
	}
	if other, ok := s.programs[keyOf(i, in)]; ok {
		return other
	}
	return p
}
