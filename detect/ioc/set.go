package ioc

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/event"
)

// ref is an indicator of a list, and the next of the same value.
type ref struct {
	list, indicator int
	next            int32 // in Set.refs; -1: none
}

// digest is a hash with its length, so that it can be looked up without
// allocating.
type digest struct {
	size int
	sum  [32]byte
}

// Set is the lists in force, made for looking up.
type Set struct {
	lists  []List
	refs   []ref
	addrs  map[netip.Addr]int32
	nets   map[netip.Prefix]int32
	four   []int // lengths of the prefixes in nets, the longest first
	six    []int
	names  map[string]int32
	urls   map[string]int32
	hashes map[digest]int32
	prints map[string]int32

	mu   sync.Mutex
	hits map[Counted]Count
}

// Counted names an indicator of a list.
type Counted struct {
	List  string
	Kind  Kind
	Value string
}

// Count is how often one was named since the last Take.
type Count struct {
	Hits int64
	Last time.Time
}

// maxCounted bounds how many indicators are counted apart between two Takes.
const maxCounted = 100_000

// NewSet makes a Set. It keeps the lists, which must not change. Lists that
// are over may be among them.
func NewSet(lists []List) *Set {
	s := &Set{lists: lists, addrs: map[netip.Addr]int32{}, nets: map[netip.Prefix]int32{}, names: map[string]int32{}, urls: map[string]int32{},
		hashes: map[digest]int32{}, prints: map[string]int32{}, hits: map[Counted]Count{}}
	for l := range lists {
		for i := range lists[l].Indicators {
			s.add(l, i)
		}
	}
	longest := func(a, b int) int { return b - a }
	slices.SortFunc(s.four, longest)
	slices.SortFunc(s.six, longest)
	return s
}

func (s *Set) add(list, indicator int) {
	i := &s.lists[list].Indicators[indicator]
	no := int32(len(s.refs))
	r := ref{list, indicator, -1}
	switch i.Kind {
	case IP:
		r.next = put(s.addrs, netip.MustParseAddr(i.Value), no)
	case Net:
		p := netip.MustParsePrefix(i.Value)
		r.next = put(s.nets, p, no)
		lengths := &s.six
		if p.Addr().Is4() {
			lengths = &s.four
		}
		if !slices.Contains(*lengths, p.Bits()) {
			*lengths = append(*lengths, p.Bits())
		}
	case Domain:
		r.next = put(s.names, i.Value, no)
	case URL:
		r.next = put(s.urls, i.Value, no)
	case Hash:
		d, ok := digestOf(i.Value)
		if !ok {
			return
		}
		r.next = put(s.hashes, d, no)
	case JA4:
		r.next = put(s.prints, i.Value, no)
	default:
		return
	}
	s.refs = append(s.refs, r)
}

// put makes no the first of a key and returns the one before, -1 for none.
func put[K comparable](m map[K]int32, k K, no int32) int32 {
	next, ok := m[k]
	if !ok {
		next = -1
	}
	m[k] = no
	return next
}

func digestOf(text string) (d digest, ok bool) {
	if d.size = len(text) / 2; d.size != 16 && d.size != 20 && d.size != 32 || len(text)%2 != 0 {
		return d, false
	}
	var buf [64]byte
	copy(buf[:], text)
	_, err := hex.Decode(d.sum[:], buf[:len(text)])
	return d, err == nil
}

// Len is how many indicators there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.refs)
}

// Take returns what was counted since the last Take.
func (s *Set) Take() map[Counted]Count {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.hits
	s.hits = map[Counted]Count{}
	return out
}

// Event looks whether an event names an indicator that is in force, and counts
// it. When it names several, the one of which its list is surest is told.
func (s *Set) Event(e *event.Event, now time.Time) (Hit, bool) {
	if s.Len() == 0 {
		return Hit{}, false
	}
	l := look{set: s, now: now}
	for name, value := range e.Fields {
		if c := classOf(name); c != noClass && value != "" {
			l.field(c, name, value)
		}
	}
	if l.host != "" && l.path != "" && len(s.urls) > 0 {
		l.url()
	}
	return l.done()
}

// Record is Event for a record that still lies in the buffers of its reader.
// Decoding a value that is looked at may allocate where it is not plain.
func (s *Set) Record(r *event.Record, now time.Time) (Hit, bool) {
	if s.Len() == 0 {
		return Hit{}, false
	}
	l := look{set: s, now: now}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		if c := classOf(string(p.Name)); c != noClass && len(p.Value) > 0 {
			l.field(c, string(p.Name), p.Text())
		}
	}
	if l.host != "" && l.path != "" && len(s.urls) > 0 {
		l.url()
	}
	return l.done()
}

// look is one event that is looked at.
type look struct {
	set        *Set
	now        time.Time
	host, path string // of a request
	pathField  string
	best       Hit
	found      bool
	counted    [8]int32 // refs, so that each counts once for the event
	countedN   int
}

// known reports whether a ref was counted for this event already. Of an event
// that names more than counted holds, some may count again.
func (l *look) known(ref int32) bool {
	if slices.Contains(l.counted[:l.countedN], ref) {
		return true
	}
	if l.countedN < len(l.counted) {
		l.counted[l.countedN] = ref
		l.countedN++
	}
	return false
}

// field looks at one value. Several values of a name stand on lines.
func (l *look) field(c class, name, value string) {
	if c == pathClass {
		l.path, l.pathField = value, name
		return
	}
	if c == hostClass {
		l.host = value
	}
	for value != "" {
		one := value
		if i := strings.IndexAny(value, "\n,; "); i >= 0 {
			one, value = value[:i], value[i+1:]
		} else {
			value = ""
		}
		if one != "" {
			l.value(c, name, one)
		}
	}
}

func (l *look) value(c class, name, v string) {
	switch c {
	case addrClass:
		l.addr(name, v)
	case nameClass, hostClass:
		if digits(v[len(v)-1]) || v[0] == '[' {
			l.addr(name, v)
			return
		}
		l.name(name, v)
	case answerClass:
		if digits(v[len(v)-1]) || strings.IndexByte(v, ':') >= 0 {
			l.addr(name, v)
			return
		}
		l.name(name, v)
	case hashClass:
		if i := strings.IndexByte(v, '='); i >= 0 { // "SHA256=…" of Sysmon
			v = v[i+1:]
		}
		if len(l.set.hashes) > 0 {
			if d, ok := digestOf(v); ok {
				l.at(l.set.hashes[d], has(l.set.hashes, d), name)
			}
		}
	case printClass:
		l.at(l.set.prints[v], has(l.set.prints, v), name)
	}
}

func has[K comparable](m map[K]int32, k K) bool { _, ok := m[k]; return ok }

func digits(c byte) bool { return c >= '0' && c <= '9' || c == ']' }

func (l *look) addr(name, v string) {
	s := l.set
	if len(s.addrs) == 0 && len(s.nets) == 0 {
		return
	}
	a, err := netip.ParseAddr(v)
	if err != nil {
		return
	}
	a = a.Unmap()
	if a.IsPrivate() || a.IsLoopback() {
		return // no indicator is
	}
	if no, ok := s.addrs[a]; ok {
		l.at(no, true, name)
	}
	lengths := s.six
	if a.Is4() {
		lengths = s.four
	}
	for _, bits := range lengths {
		p, err := a.Prefix(bits)
		if err != nil {
			continue
		}
		if no, ok := s.nets[p]; ok {
			l.at(no, true, name)
		}
	}
}

// name looks for a name and all above it.
func (l *look) name(field, v string) {
	names := l.set.names
	if len(names) == 0 || len(v) > maxName+1 {
		return
	}
	var buf [maxName + 1]byte
	b := buf[:len(v)]
	for i := range len(v) {
		c := v[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b[i] = c
	}
	if b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	for {
		if no, ok := names[string(b)]; ok {
			l.at(no, true, field)
		}
		i := 0
		for i < len(b) && b[i] != '.' {
			i++
		}
		if i >= len(b) {
			return
		}
		b = b[i+1:]
	}
}

// url looks for a request: host and path, with and without what follows "?".
func (l *look) url() {
	path := l.path
	if _, rest, ok := strings.Cut(path, "://"); ok { // proxies write all of it
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			path = rest[i:]
		}
	}
	if !strings.HasPrefix(path, "/") || len(l.host)+len(path) > maxURL {
		return
	}
	var buf [maxURL]byte
	b := append(buf[:0], l.host...)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	b = append(b, path...)
	for i, c := range b {
		if c == '#' {
			b = b[:i]
			break
		}
	}
	if no, ok := l.set.urls[string(b)]; ok {
		l.at(no, true, l.pathField)
		return
	}
	for i, c := range b {
		if c == '?' {
			l.at(l.set.urls[string(b[:i])], has(l.set.urls, string(b[:i])), l.pathField)
			return
		}
	}
}

// at takes an indicator and those of other lists with the same value.
func (l *look) at(no int32, ok bool, field string) {
	if !ok {
		return
	}
	for ; no >= 0; no = l.set.refs[no].next {
		r := l.set.refs[no]
		list := &l.set.lists[r.list]
		h := Hit{List: list, Indicator: &list.Indicators[r.indicator], Field: field, Lists: l.best.Lists + 1}
		if over(list.Until, l.now) || over(h.Indicator.Until, l.now) {
			continue
		}
		if l.known(no) { // the same address stands in several fields of a connection
			continue
		}
		l.set.count(h, l.now)
		if !l.found || h.Confidence() > l.best.Confidence() || h.Confidence() == l.best.Confidence() && h.Indicator.Value < l.best.Indicator.Value {
			l.best.List, l.best.Indicator, l.best.Field = h.List, h.Indicator, field
		}
		l.found, l.best.Lists = true, h.Lists
	}
}

func over(until, now time.Time) bool { return !until.IsZero() && !now.Before(until) }

func (l *look) done() (Hit, bool) { return l.best, l.found }

func (s *Set) count(h Hit, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := Counted{h.List.ID, h.Indicator.Kind, h.Indicator.Value}
	c, known := s.hits[k]
	if !known && len(s.hits) >= maxCounted {
		return
	}
	s.hits[k] = Count{c.Hits + 1, now}
}

// Holds says whether a list of the Set holds an indicator.
func (s *Set) Holds(i Indicator) bool {
	if s.Len() == 0 {
		return false
	}
	switch i.Kind {
	case IP:
		a, err := netip.ParseAddr(i.Value)
		return err == nil && has(s.addrs, a)
	case Net:
		p, err := netip.ParsePrefix(i.Value)
		return err == nil && has(s.nets, p)
	case Domain:
		return has(s.names, i.Value)
	case URL:
		return has(s.urls, i.Value)
	case Hash:
		d, ok := digestOf(i.Value)
		return ok && has(s.hashes, d)
	case JA4:
		return has(s.prints, i.Value)
	}
	return false
}
