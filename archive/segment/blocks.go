package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// BlockRows is how many rows of a row group a block has: few enough that what
// is rare is found by reading little, many enough that bitmaps are small. A row
// group has at most 64 blocks.
const BlockRows = rowsPerGroup / 64

const (
	fineMagic   = "SONAESK2"
	fineEntry   = sketchEntry + 4 + sha256.Size
	maxBlockLog = 17
	minBlockLog = 6
)

// section is where the bitmaps of the blocks of a row group lie in the file:
// for each block the size of its bitmap as a power of two, in a byte, and then
// the bitmaps. Without length there is none.
type section struct {
	at, length int64
	sum        [32]byte
}

// place sets where the sections lie, the first one at a place, and returns the
// end of the last.
func (s *Sketch) place(at int64) int64 {
	for i := range s.parts {
		s.parts[i].blocks.at = at
		at += s.parts[i].blocks.length
	}
	return at
}

// endBlock finishes a block: its bitmap is folded until about half of its bits
// are set. A needle of eight letters has five parts, so that one block of
// thirty is read in vain.
func (k *sketcher) endBlock() {
	if k.fine && k.rows > 0 {
		b := k.block[:]
		for len(b)*64 > 1<<minBlockLog && ones(b)*3 <= len(b)*64 {
			b = halved(b)
		}
		k.blocks = append(k.blocks, byte(bits.Len(uint(len(b)*64))-1))
		k.blocks = appendWords(k.blocks, b)
	}
	k.rows = 0
	clear(k.block[:])
	clear(k.last)
}

// Blocks are the blocks of a row group, as bits: the lowest is the first.
type Blocks uint64

// AllBlocks are all blocks of a row group.
const AllBlocks = ^Blocks(0)

// Count returns how many blocks these are.
func (b Blocks) Count() int { return bits.OnesCount64(uint64(b)) }

// Outline tells for each block of a row group whether a text can occur in it.
type Outline struct{ blocks [][]byte }

// Outline reads what is known of the blocks of a row group, nil if there is
// nothing. It holds about a hundredth of what the rows need, uncompressed. What
// was changed behind its back is an error.
func (s *Sketch) Outline(part int64) (*Outline, error) {
	for i := range s.parts {
		if p := &s.parts[i]; p.part == part && p.blocks.length > 0 {
			b, err := s.read(p.blocks)
			if err != nil {
				return nil, fmt.Errorf("read sketch %s: %w", s.path, err)
			}
			return parseOutline(b)
		}
	}
	return nil, nil
}

func (s *Sketch) read(c section) ([]byte, error) {
	f, err := openPlaces(s.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if c.at+c.length > info.Size() {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, c.length)
	if _, err := f.ReadAt(b, c.at); err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != c.sum {
		return nil, fmt.Errorf("byte %d: not what was written", c.at)
	}
	return b, nil
}

// parseOutline reads what endBlock wrote. The outline keeps b.
func parseOutline(b []byte) (*Outline, error) {
	var o Outline
	for at := 0; at < len(b); {
		log := int(b[at])
		at++
		if log < minBlockLog || log > maxBlockLog || 1<<log/8 > len(b)-at || len(o.blocks) == 64 {
			return nil, errors.New("read sketch: a block does not fit")
		}
		o.blocks = append(o.blocks, b[at:at+1<<log/8])
		at += 1 << log / 8
	}
	return &o, nil
}

// Size is about how many bytes of memory it needs.
func (o *Outline) Size() (n int64) {
	for _, b := range o.blocks {
		n += int64(len(b)) + 24
	}
	return n
}

// MayHold returns the blocks that can hold the needle in one text, whatever
// the case of its letters. A nil outline knows nothing.
func (o *Outline) MayHold(needle string) (found Blocks) {
	if o == nil {
		return AllBlocks
	}
	hashes := needleHashes(needle)
	for i, b := range o.blocks {
		if holdsAll(b, hashes) {
			found |= 1 << i
		}
	}
	return found
}
