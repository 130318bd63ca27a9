package guard

import (
	"errors"
	"io"
	"math"

	"hash/maphash"
)

// What is looked at of a file: blocks of 4 KiB, spread from its first byte to
// its last, so that encrypting only some of it is seen.
const (
	blockSize = 4096
	maxBlocks = 6
)

// Sample is what a file holds, in a few numbers.
type Sample struct {
	Size   int64
	Kind   kind             // by its first bytes
	Blocks int              // how many were looked at
	At     [maxBlocks]int64 // their offsets
	Bits   [maxBlocks]float32
	Sum    [maxBlocks]uint64
	Random [maxBlocks]bool // nobody can tell the block from noise
}

// sampler takes samples. It is not safe for concurrent use.
type sampler struct {
	seed maphash.Seed
	buf  [blockSize]byte
}

func newSampler() *sampler { return &sampler{seed: maphash.MakeSeed()} }

// offsets spreads the blocks of a file of some size.
func offsets(size int64) (at [maxBlocks]int64, n int) {
	if size <= 0 {
		return at, 0
	}
	blocks := (size + blockSize - 1) / blockSize
	n = int(min(blocks, maxBlocks))
	for i := range n {
		if n > 1 {
			at[i] = int64(i) * (blocks - 1) / int64(n-1) * blockSize
		}
	}
	return at, n
}

// take looks at a file of some size.
func (s *sampler) take(r io.ReaderAt, size int64) (Sample, error) {
	at, n := offsets(size)
	return s.at(r, size, at, n)
}

// like looks at the same places as an earlier sample.
func (s *sampler) like(r io.ReaderAt, size int64, before Sample) (Sample, error) {
	if before.Blocks == 0 {
		return s.take(r, size)
	}
	return s.at(r, size, before.At, before.Blocks)
}

func (s *sampler) at(r io.ReaderAt, size int64, at [maxBlocks]int64, n int) (Sample, error) {
	out := Sample{Size: size, At: at, Blocks: n}
	for i := range n {
		got, err := r.ReadAt(s.buf[:], at[i])
		if err != nil && !errors.Is(err, io.EOF) {
			return out, err
		}
		b := s.buf[:got]
		if i == 0 {
			out.Kind = kindOf(b)
		}
		out.Sum[i] = maphash.Bytes(s.seed, b)
		out.Bits[i] = bits(b)
		out.Random[i] = random(out.Bits[i], len(b))
	}
	return out, nil
}

// bits is the collision entropy (Rényi, of order 2) of b in bits per byte,
// estimated without bias, so that it means the same for short blocks: about 8
// for noise, 4 to 5 for text.
func bits(b []byte) float32 {
	var counts [256]uint32
	for _, c := range b {
		counts[c]++
	}
	var pairs uint64
	for _, c := range counts {
		pairs += uint64(c) * uint64(max(c, 1)-1)
	}
	n := float64(len(b))
	if n < 2 || pairs == 0 {
		return 0 // too short to say
	}
	return float32(math.Min(8.5, -math.Log2(float64(pairs)/(n*(n-1)))))
}

// shortest is the length from which a block can be told from noise.
const shortest = 64

// random says whether n bytes with that entropy look like noise: four standard
// deviations of the estimate, and a little for the sake of real files.
func random(bits float32, n int) bool {
	return n >= shortest && bits >= 8-0.06-4*32.6/float32(n)
}

// rise is how many bits per byte a block must have gained.
const rise = 0.5

// Why says what became of a file.
type Why string

// What can become of a file.
const (
	WhyNone     Why = ""
	WhyRise     Why = "entropy-rise"   // readable before, noise now
	WhyMagic    Why = "type-lost"      // was of a known type, is noise now
	WhyDamaged  Why = "damaged"        // it begins as its type does, and the rest was exchanged for noise
	WhyName     Why = "not-what-named" // its name says what it must hold, and it holds noise
	WhyDeleted  Why = "copied-deleted" // a copy that is noise was written, this was deleted
	WhyReplaced Why = "replaced"       // another file that is noise took its place
	WhyCanary   Why = "canary"         // a decoy that nobody has a reason to write to
)

// compare says what became of a file that is called name now.
func compare(pre, post Sample, name string) Why {
	if post.Blocks == 0 || post.Kind != kindNone && post.Kind.named(name) {
		return WhyNone // empty, or what its name says: compressed on purpose
	}
	if pre.Blocks == 0 {
		return unlike(post, name)
	}
	up, changed := 0, 0
	for i := range min(pre.Blocks, post.Blocks) {
		if pre.Sum[i] == post.Sum[i] {
			continue
		}
		changed++
		if !pre.Random[i] && post.Random[i] && post.Bits[i]-pre.Bits[i] >= rise {
			up++
		}
	}
	first := pre.Sum[0] != post.Sum[0] && post.Random[0]
	switch {
	case up >= 2, up == 1 && (pre.Blocks <= 2 || first && !pre.Random[0] || pre.Kind == kindNone && readableName(name)):
		return WhyRise
	case changed > 0 && pre.Kind != kindNone && post.Kind != pre.Kind && first:
		return WhyMagic
	}
	return WhyNone
}

// exchanged says whether noise behind the first block of a file, which keeps its
// length and type, has become other noise: it was packed anew, or encrypted.
func exchanged(pre, post Sample) bool {
	if pre.Size != post.Size || pre.Kind == kindNone || pre.Kind != post.Kind {
		return false
	}
	for i := 1; i < min(pre.Blocks, post.Blocks); i++ {
		if pre.Sum[i] != post.Sum[i] && post.Random[i] {
			return true
		}
	}
	return false
}

// unlike says whether a file of which nothing is known from before holds noise
// where its name promises something else.
func unlike(post Sample, name string) Why {
	if promises(name) && post.Kind == kindNone && post.Random[0] {
		return WhyName
	}
	return WhyNone
}

// copied says whether c can be the encrypted copy of what was sampled as pre.
// What a compressor writes is smaller, or says what it is.
func copied(pre, c Sample, name string) bool {
	return sized(pre.Size, c.Size) && compare(pre, c, name) != WhyNone
}

// sized says whether a file of size copy can be the encrypted copy of one of
// size original: not smaller, and not much larger.
func sized(original, copy int64) bool {
	return copy >= original-original/20 && copy <= original+original/4+64<<10
}
