package correlate

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Limits of what Restore takes.
const (
	maxKey   = 64<<10 - 1 // of a group, in bytes
	maxEvent = 8 << 20
)

// Snapshot appends the state to dst: the groups, the stalest first, then the
// events that may be shown, as JSON. Restore makes the same window of it. The
// caller keeps it whole and together with the Config.
func (w *Window[E]) Snapshot(dst []byte) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(w.groups.n))
	for _, i := range w.stalest() {
		dst = w.group(i).encode(dst, w.keyOf(w.group(i)))
	}
	for _, n := range []uint64{w.stats.Late, w.stats.Evicted, w.stats.Crowded, w.stats.Unfit, w.stats.Resets} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = binary.AppendUvarint(dst, uint64(len(w.shown.ring)))
	for n := uint32(len(w.shown.ring)); n > 0; n-- {
		ref := w.shown.next - n + 1
		e, _ := w.shown.get(ref)
		text, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("event of a correlation: %w", err)
		}
		dst = binary.AppendUvarint(dst, uint64(ref))
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return dst, nil
}

// group returns a group with what its samples refer to, until it is called
// again.
func (w *Window[E]) group(i uint32) *group {
	if w.packed == nil {
		return &w.slab[i]
	}
	g := w.unpack(w.packed.cell(i), i)
	w.refer(g)
	return g
}

func (g *group) encode(dst []byte, key string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	dst = binary.AppendVarint(dst, g.last)
	dst = binary.AppendVarint(dst, g.floor)
	dst = binary.AppendUvarint(dst, uint64(g.lateRun))
	dst = binary.AppendUvarint(dst, uint64(len(g.samples)))
	before := int64(0)
	for _, s := range g.samples {
		dst = binary.AppendVarint(dst, s.at-before)
		before = s.at
		dst = binary.LittleEndian.AppendUint64(dst, s.val)
		dst = binary.LittleEndian.AppendUint32(dst, s.id)
		dst = binary.AppendUvarint(dst, uint64(s.ref))
		dst = binary.AppendUvarint(dst, uint64(s.n))
		dst = binary.AppendUvarint(dst, uint64(s.rule))
		dst = append(dst, s.flags&^superseded)
	}
	return dst
}

// Restore reads into an empty window what Snapshot wrote. After an error the
// window must not be used.
func (w *Window[E]) Restore(data []byte) error {
	r := &reader{data: data}
	owners := map[uint32]owner{}
	for n := r.count(w.c.MaxGroups); n > 0 && r.err == nil; n-- {
		w.restoreGroup(r, owners)
	}
	for _, n := range []*uint64{&w.stats.Late, &w.stats.Evicted, &w.stats.Crowded, &w.stats.Unfit, &w.stats.Resets} {
		*n = r.uvarint()
	}
	moved := map[uint32]uint32{}
	for n := r.count(w.c.MaxEvents); n > 0 && r.err == nil; n-- {
		ref := uint32(r.uvarint())
		var e E
		if text := r.bytes(r.count(maxEvent)); r.err == nil {
			r.err = json.Unmarshal(text, &e)
		}
		moved[ref] = w.restoreEvent(e, owners[ref])
	}
	for i := range w.slab {
		for j := range w.slab[i].samples {
			s := &w.slab[i].samples[j]
			s.ref = moved[s.ref]
		}
	}
	if r.err == nil && len(r.data) > 0 {
		r.err = errors.New("bytes behind the end")
	}
	if r.err != nil {
		return fmt.Errorf("state of a correlation: %w", r.err)
	}
	return nil
}

// owner is the packed group that a kept event belongs to, and which sample.
type owner struct {
	cell *cell
	sample
}

func (w *Window[E]) restoreEvent(e E, o owner) uint32 {
	if o.cell == nil {
		return w.shown.put(e, 0, o.sample)
	}
	o.cell.chain = w.shown.put(e, o.cell.chain, o.sample)
	return o.cell.chain
}

func (w *Window[E]) restoreGroup(r *reader, owners map[uint32]owner) {
	key := r.bytes(r.count(maxKey))
	last, floor, lateRun := r.varint(), r.varint(), uint16(r.uvarint())
	n := r.count(max(w.most, 2*roomy))
	if r.err == nil && n > len(r.data)/minSample {
		r.err = errCut
	}
	hash := w.groups.hash(key)
	if _, twice := w.find(hash); twice && r.err == nil {
		r.err = errors.New("a group stands twice")
	}
	if r.err != nil {
		return
	}
	i := w.open(hash, key, 0)
	g := &w.opened
	if w.packed == nil {
		g = &w.slab[i]
	}
	*g = group{hash: hash, key: string(key), last: last, floor: floor, lateRun: lateRun, touched: w.tick(), cell: i, samples: w.restoreSamples(r, n)}
	if r.err != nil {
		return
	}
	w.rebuild(g)
	if w.packed == nil {
		w.cells += cap(g.samples)
		return
	}
	c := w.packed.cell(i)
	c.touched = g.touched
	w.pack(c, g)
	for _, s := range g.samples {
		if s.ref != 0 {
			owners[s.ref] = owner{c, s}
		}
	}
}

func (w *Window[E]) restoreSamples(r *reader, n int) []sample {
	out := make([]sample, 0, n)
	before := int64(0)
	for range n {
		before += r.varint()
		s := sample{at: before, val: r.fixed64(), id: r.fixed32(), ref: uint32(r.uvarint()), n: uint32(r.uvarint()), rule: uint16(r.uvarint()), flags: r.byte()}
		k := len(out)
		if r.err == nil && (int(s.rule) >= w.c.Rules || k > 0 && s.at < out[k-1].at || w.packed != nil && (s.n != 1 || s.id&markFlags != 0)) {
			r.err = errors.New("a sample is out of order")
		}
		out = append(out, s)
	}
	return out
}

// minSample is how many bytes a sample takes at least.
const minSample = 17

var errCut = errors.New("it ends too early")

// reader takes values off data; after the first error all are zero.
type reader struct {
	data []byte
	err  error
}

func (r *reader) bytes(n int) []byte {
	if r.err == nil && n > len(r.data) {
		r.err = errCut
	}
	if r.err != nil {
		return nil
	}
	out := r.data[:n]
	r.data = r.data[n:]
	return out
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if r.err == nil && n <= 0 {
		r.err = errCut
	}
	r.bytes(max(n, 0))
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if r.err == nil && n <= 0 {
		r.err = errCut
	}
	r.bytes(max(n, 0))
	return v
}

// count reads a number of things, of which there may be most.
func (r *reader) count(most int) int {
	n := r.uvarint()
	if r.err == nil && n > uint64(most) {
		r.err = fmt.Errorf("%d are more than %d", n, most)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) fixed64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) fixed32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}
