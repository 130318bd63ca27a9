package sigma

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestGramsFindWhatIsContained compares with bytes.Contains on texts of few
// different bytes, zeros among them, so that much nearly matches.
func TestGramsFindWhatIsContained(t *testing.T) {
	for shortest := 4; shortest <= 8; shortest++ {
		r := rand.New(rand.NewPCG(4, uint64(shortest)))
		text := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = []byte{0, 'a', 'b', '\\'}[r.IntN(4)]
			}
			return b
		}
		for range 300 {
			var lits []literalOf
			var which []int32
			for i := range 1 + r.IntN(40) {
				lits = append(lits, literalOf{text: text(shortest + r.IntN(4))})
				which = append(which, int32(i))
			}
			lits[0].text = text(shortest)
			g := newGrams(lits, which, nil)
			for range 20 {
				in := text(r.IntN(60))
				got := g.find(nil, lits, in)
				slices.Sort(got)
				got = slices.Compact(got)
				var want []int32
				for i := range lits {
					if bytes.Contains(in, lits[i].text) {
						want = append(want, int32(i))
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("in %q: got %v, want %v", in, got, want)
				}
			}
		}
	}
}
