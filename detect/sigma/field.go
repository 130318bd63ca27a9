package sigma

import "bytes"

// literalOf is a literal of one field and the items that it turns on.
type literalOf struct {
	text  []byte
	shape shape
	items []int32
	next  int32 // the next literal with the same key, -1: none
}

// field finds the literals of all rules of a class in the values of one field.
// It is read-only once built.
type field struct {
	always   []int32 // items that are on whenever the field is there
	lits     []literalOf
	mask     uint64
	keys     []keySlot
	equals   bool  // there are whole literals
	prefixes []int // lengths of the keys of prefix literals, 1 to 8
	suffixes []int
	within   *grams
}

type keySlot struct {
	key  uint64
	head int32 // into lits, -1: free
}

// fieldBuilder collects literals, each text once for a shape.
type fieldBuilder struct {
	always []int32
	lits   []literalOf
	known  map[string]int32
}

func (b *fieldBuilder) add(l literal, item int32) {
	if len(l.text) == 0 && l.shape != whole { // anything that is present
		b.always = append(b.always, item)
		return
	}
	if b.known == nil {
		b.known = map[string]int32{}
	}
	key := string(rune(l.shape)) + string(l.text)
	i, ok := b.known[key]
	if !ok {
		i = int32(len(b.lits))
		b.known[key] = i
		b.lits = append(b.lits, literalOf{text: l.text, shape: l.shape, next: -1})
	}
	b.lits[i].items = append(b.lits[i].items, item)
}

func (b *fieldBuilder) build(common map[uint32]uint32) *field {
	f := &field{always: b.always, lits: b.lits}
	size := 4
	for size < 3*len(f.lits) {
		size *= 2
	}
	var inside []int32
	for i := range f.lits {
		if f.lits[i].shape == within {
			inside = append(inside, int32(i))
		}
	}
	if len(inside) > 0 {
		f.within = newGrams(f.lits, inside, common)
	}
	if len(inside) == len(f.lits) {
		return f
	}
	f.mask = uint64(size - 1)
	f.keys = make([]keySlot, size)
	for i := range f.keys {
		f.keys[i].head = -1
	}
	for i := range f.lits {
		f.index(int32(i))
	}
	return f
}

// Marks that keep keys of different kinds apart.
const (
	prefixMark = 0x5000
	suffixMark = 0xA000
)

func (f *field) index(i int32) {
	l := &f.lits[i]
	first, last := ends(l.text)
	n := len(l.text)
	k := min(n, 8)
	var key uint64
	switch l.shape {
	case whole:
		key, f.equals = keyOf(first, last, n), true
	case prefix:
		key, f.prefixes = keyOf(first, prefixMark, k), with(f.prefixes, k)
	case suffix:
		key, f.suffixes = keyOf(last>>(64-8*k), suffixMark, k), with(f.suffixes, k)
	default:
		return
	}
	at := key & f.mask
	for f.keys[at].head >= 0 && f.keys[at].key != key {
		at = (at + 1) & f.mask
	}
	l.next = f.keys[at].head
	f.keys[at] = keySlot{key, i}
}

func with(list []int, n int) []int {
	for _, x := range list {
		if x == n {
			return list
		}
	}
	return append(list, n)
}

// find appends the literals that the folded text matches.
func (f *field) find(found []int32, text []byte) []int32 {
	if f.keys != nil {
		found = f.probeAll(found, text)
	}
	if f.within != nil && len(text) >= gramSize {
		found = f.within.find(found, f.lits, text)
	}
	return found
}

func (f *field) probeAll(found []int32, text []byte) []int32 {
	first, last := ends(text)
	n := len(text)
	if f.equals {
		found = f.probe(found, keyOf(first, last, n), text)
	}
	for _, k := range f.suffixes {
		if k <= n {
			found = f.probe(found, keyOf(last>>(uint(64-8*k)&63), suffixMark, k), text)
		}
	}
	for _, k := range f.prefixes {
		if k <= n {
			cut := uint(64-8*k) & 63
			found = f.probe(found, keyOf(first<<cut>>cut, prefixMark, k), text)
		}
	}
	return found
}

func (f *field) probe(found []int32, key uint64, text []byte) []int32 {
	for at := key & f.mask; f.keys[at].head >= 0; at = (at + 1) & f.mask {
		if f.keys[at].key != key {
			continue
		}
		for i := f.keys[at].head; i >= 0; i = f.lits[i].next {
			if l := &f.lits[i]; l.fits(text) {
				found = append(found, i)
			}
		}
		break
	}
	return found
}

func (l *literalOf) fits(text []byte) bool {
	switch l.shape {
	case whole:
		return bytes.Equal(text, l.text)
	case prefix:
		return bytes.HasPrefix(text, l.text)
	default:
		return bytes.HasSuffix(text, l.text)
	}
}
