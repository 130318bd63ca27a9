package flow

import (
	"math/rand/v2"
	"testing"
)

// TestInsertAgreesWithOneByteAtATime compares the merging of spans with the
// plainest model there is: the first byte to arrive at each position stays.
func TestInsertAgreesWithOneByteAtATime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 20000 {
		size := 1 + r.IntN(64)
		s := stream{data: make([]byte, size)}
		model, have := make([]byte, size), make([]bool, size)
		for range r.IntN(12) {
			from, b := r.IntN(size+4), make([]byte, r.IntN(20))
			for i := range b {
				b[i] = byte(1 + r.IntN(255))
			}
			s.insert(from, b)
			if !accepted(&s, from, b) {
				continue // too many gaps; the model must not learn it either
			}
			for i, c := range b {
				if at := from + i; at < size && !have[at] {
					model[at], have[at] = c, true
				}
			}
		}
		n := 0
		for n < size && have[n] {
			n++
		}
		if got := string(s.prefix()); got != string(model[:n]) {
			t.Fatalf("round %d: prefix %x, want %x", round, got, model[:n])
		}
		for i := 1; i < s.n; i++ {
			if s.have[i-1][1] >= s.have[i][0] {
				t.Fatalf("round %d: spans %v touch or are out of order", round, s.have[:s.n])
			}
		}
	}
}

func accepted(s *stream, from int, b []byte) bool {
	to := min(from+len(b), len(s.data))
	if from >= to {
		return true
	}
	for _, h := range s.have[:s.n] {
		if h[0] <= from && to <= h[1] {
			return true
		}
	}
	return false
}
