package sigma

import "encoding/binary"

// Odd constants that spread bits when multiplied with; any others would do.
const (
	mixA = 0x9E3779B97F4A7C15
	mixB = 0xC2B2AE3D27D4EB4F
	mixC = 0xD6E8FEB86659FD93
)

// slots numbers the field names that rules use, from 0. Names come from events
// many times for each event, so the table is one load and one comparison.
// It is read-only once built.
type slots struct {
	names []string
	table []int32 // open addressing; slot+1, 0 = free
	known map[string]int
}

// of returns the number of a name and adds it when it is new; -1 for "".
func (s *slots) of(name string) int {
	if name == "" {
		return -1
	}
	if n, ok := s.known[name]; ok {
		return n
	}
	if s.known == nil {
		s.known = map[string]int{}
	}
	n := len(s.names)
	s.known[name] = n
	s.names = append(s.names, name)
	return n
}

// index makes find work. Names added later are not found.
func (s *slots) index() {
	size := 16
	for size < 4*len(s.names) {
		size *= 2
	}
	s.table = make([]int32, size)
	for i, name := range s.names {
		at := nameHash([]byte(name)) & uint64(size-1)
		for s.table[at] != 0 {
			at = (at + 1) & uint64(size-1)
		}
		s.table[at] = int32(i + 1)
	}
}

// find returns the number of a name, or -1.
func (s *slots) find(name []byte) int {
	mask := uint64(len(s.table) - 1)
	for at := nameHash(name) & mask; ; at = (at + 1) & mask {
		n := s.table[at]
		if n == 0 {
			return -1
		}
		if s.names[n-1] == string(name) {
			return int(n - 1)
		}
	}
}

func nameHash(b []byte) uint64 {
	first, last := ends(b)
	return keyOf(first, last, len(b)) >> 20
}

// ends returns the first and the last eight bytes. Of fewer bytes the first
// stand at the low end of a word, the last at its high end, the rest is zero.
func ends(b []byte) (first, last uint64) {
	n := len(b)
	if n >= 8 {
		return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	}
	if n >= 4 {
		first = uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<(8*(n-4))
		return first, first << (8 * (8 - n))
	}
	if n == 0 {
		return 0, 0
	}
	first = uint64(b[0]) | uint64(b[n/2])<<(8*(n/2)) | uint64(b[n-1])<<(8*(n-1))
	return first, first << (8 * (8 - n))
}

func keyOf(first, last uint64, n int) uint64 {
	x := (first ^ uint64(n)*mixC) * mixA
	x ^= x>>32 ^ last*mixB
	x *= mixC
	return x ^ x>>29
}
