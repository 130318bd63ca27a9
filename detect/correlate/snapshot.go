package correlate

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Limits of what Restore takes.
const (
	maxKey   = 64 << 10
	maxEvent = 8 << 20
)

// Snapshot appends the state to dst: the groups, the stalest first, then the
// events that may be shown, as JSON. Restore makes the same window of it. The
// caller keeps it whole and together with the Config.
func (w *Window[E]) Snapshot(dst []byte) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(len(w.groups)))
	for i := w.slab[0].prev; i != 0; i = w.slab[i].prev {
		dst = w.slab[i].encode(dst)
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

func (g *group) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(g.key)))
	dst = append(dst, g.key...)
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
	for n := r.count(w.c.MaxGroups); n > 0 && r.err == nil; n-- {
		w.restoreGroup(r)
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
		moved[ref] = w.shown.put(e)
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

func (w *Window[E]) restoreGroup(r *reader) {
	key := string(r.bytes(r.count(maxKey)))
	last, floor, lateRun := r.varint(), r.varint(), uint16(r.uvarint())
	n := r.count(max(w.most, 2*roomy))
	if r.err == nil && n > len(r.data)/minSample {
		r.err = errCut
	}
	if _, twice := w.groups[key]; twice && r.err == nil {
		r.err = errors.New("a group stands twice")
	}
	if r.err != nil {
		return
	}
	i := w.open(key, 0)
	w.touch(i)
	g := &w.slab[i]
	g.last, g.floor, g.lateRun = last, floor, lateRun
	g.samples = make([]sample, 0, n)
	before := int64(0)
	for range n {
		before += r.varint()
		s := sample{at: before, val: r.fixed64(), id: r.fixed32(), ref: uint32(r.uvarint()), n: uint32(r.uvarint()), rule: uint16(r.uvarint()), flags: r.byte()}
		if k := len(g.samples); r.err == nil && (int(s.rule) >= w.c.Rules || k > 0 && s.at < g.samples[k-1].at) {
			r.err = errors.New("a sample is out of order")
		}
		g.samples = append(g.samples, s)
	}
	w.cells += cap(g.samples)
	if r.err == nil {
		w.rebuild(g)
	}
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
