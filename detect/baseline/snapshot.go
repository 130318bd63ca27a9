package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// version is that of the format; a state of another one is not read.
const version = 1

// magic begins a state.
const magic = "sonae-baseline"

// ErrState says that a state is damaged or of another version.
var ErrState = errors.New("the state of baselines cannot be read")

// Snapshot writes what is remembered: about 2 kB for a host. What is observed
// meanwhile waits.
func (w *Watch) Snapshot(out io.Writer) error {
	w.mu.Lock()
	var e encoder
	e.b = append(e.b, magic...)
	e.number(version)
	e.number(int64(w.hosts.len()))
	w.hosts.each(e.host)
	for _, l := range w.things {
		e.number(int64(l.len()))
		l.each(e.thing)
	}
	w.mu.Unlock()
	e.b = binary.BigEndian.AppendUint32(e.b, crc32.ChecksumIEEE(e.b))
	if _, err := out.Write(e.b); err != nil {
		return fmt.Errorf("write the state of baselines: %w", err)
	}
	return nil
}

// Restore makes the Watch remember what a Snapshot holds, and nothing else.
// After an error, ErrState among them, it remembers nothing.
func (w *Watch) Restore(in io.Reader) error {
	b, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read the state of baselines: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clear()
	if err := w.restore(b); err != nil {
		w.clear()
		return err
	}
	return nil
}

// Forget makes the Watch know nothing.
func (w *Watch) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clear()
}

func (w *Watch) restore(b []byte) error {
	n := len(b) - 4
	if n < len(magic) || string(b[:len(magic)]) != magic || crc32.ChecksumIEEE(b[:n]) != binary.BigEndian.Uint32(b[n:]) {
		return ErrState
	}
	d := decoder{b: b[len(magic):n]}
	if d.number() != version {
		return ErrState
	}
	for range d.count() {
		h, _ := w.hosts.get(d.text())
		d.host(h)
	}
	for _, l := range w.things {
		for range d.count() {
			t, _ := l.get(d.text())
			d.thing(t)
		}
	}
	if d.bad || len(d.b) > 0 {
		return ErrState
	}
	return nil
}

// encoder appends numbers as varints and texts with their length.
type encoder struct{ b []byte }

func (e *encoder) number(n int64) { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) text(s string) {
	e.number(int64(len(s)))
	e.b = append(e.b, s...)
}

// numbers writes a list as the differences of its members: times and hashes in
// order are close.
func (e *encoder) numbers(list []int64) {
	e.number(int64(len(list)))
	before := int64(0)
	for _, n := range list {
		e.number(n - before)
		before = n
	}
}

func (e *encoder) host(key string, h *host) {
	e.text(key)
	for _, n := range []int64{h.first, h.last, int64(h.active), h.hour, h.sent, h.day, h.daily, h.dayMax, int64(h.outside), h.newest} {
		e.number(n)
	}
	for _, n := range h.hours {
		e.number(int64(n))
	}
	e.number(int64(len(h.known)))
	for _, k := range h.known {
		e.b = binary.BigEndian.AppendUint64(e.b, k.hash)
		e.number(int64(k.first))
		e.number(int64(k.last))
	}
}

func (e *encoder) thing(key string, t *thing) {
	e.text(key)
	for _, n := range []int64{t.from, t.last, t.count, t.out, t.in} {
		e.number(n)
	}
	e.number(int64(len(t.seen)))
	for _, id := range t.seen {
		e.b = binary.BigEndian.AppendUint64(e.b, id)
	}
	e.numbers(t.times)
	e.numbers(t.sizes)
	e.number(int64(len(t.flows)))
	for _, f := range t.flows {
		e.text(f)
	}
}

// decoder undoes encoder. Once something is bad it gives zeros and no members,
// so that a damaged state costs no more than its own size.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() int64 {
	n, used := binary.Varint(d.b)
	if used <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[used:]
	return n
}

// count reads how many members follow, each of at least a byte.
func (d *decoder) count() int {
	n := d.number()
	if n < 0 || n > int64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

// most is count with a bound of its own.
func (d *decoder) most(bound int) int {
	n := d.count()
	if n > bound {
		d.bad, d.b = true, nil
		return 0
	}
	return n
}

func (d *decoder) text() []byte {
	n := d.count()
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

func (d *decoder) hash() uint64 {
	if len(d.b) < 8 {
		d.bad, d.b = true, nil
		return 0
	}
	n := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return n
}

func (d *decoder) numbers() []int64 {
	n := d.most(maxTimes)
	if n == 0 {
		return nil
	}
	list, before := make([]int64, n), int64(0)
	for i := range list {
		before += d.number()
		list[i] = before
	}
	return list
}

func (d *decoder) host(h *host) {
	*h = host{}
	var active, outside int64
	for _, n := range []*int64{&h.first, &h.last, &active, &h.hour, &h.sent, &h.day, &h.daily, &h.dayMax, &outside, &h.newest} {
		*n = d.number()
	}
	h.active, h.outside = unsigned(active), unsigned(outside)
	for i := range h.hours {
		h.hours[i] = unsigned(d.number())
	}
	for range d.most(maxKnown) {
		k := known{hash: d.hash(), first: uint16(d.number()), last: uint16(d.number())}
		if n := len(h.known); n > 0 && h.known[n-1].hash >= k.hash {
			d.bad = true // it is searched by halves
		}
		h.known = append(h.known, k)
	}
	// Counters that overflow would be wrong for ever, times only once.
	d.bad = d.bad || h.sent < 0 || h.daily < 0 || h.dayMax < 0 || h.hour < 0
}

func unsigned(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

func (d *decoder) thing(t *thing) {
	*t = thing{}
	for _, n := range []*int64{&t.from, &t.last, &t.count, &t.out, &t.in} {
		*n = d.number()
	}
	for range d.most(maxSeen) {
		t.seen = append(t.seen, d.hash())
	}
	t.times, t.sizes = d.numbers(), d.numbers()
	for range d.most(maxFlows) {
		t.flows = append(t.flows, string(d.text()))
	}
	d.bad = d.bad || len(t.times) != len(t.sizes)
	for i := 1; i < len(t.times); i++ {
		d.bad = d.bad || t.times[i] < t.times[i-1]
	}
}
