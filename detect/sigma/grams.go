package sigma

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// gramSize is how many bytes of a literal are looked for before the rest is
// compared. Shorter literals are left to lazy tests.
const gramSize = 4

// grams finds which of many literals a text contains. Of each literal one
// gram in so many places as the step is wide stands in a filter; the text is
// gone through in steps, and where the filter says so the literals themselves
// are compared. It is read-only once built.
//
// The filter is a bitmap of grams. Where there are literals of one gram only, a
// step of two bytes may pass over them by one; the filter then is a byte for
// each three bytes of text, with a bit for the lowest bits of the fourth, and
// of such a literal also its last three bytes with whatever follows.
type grams struct {
	step   int // 2 or 4
	shift  uint8
	bits   []uint64
	thirds []uint8 // instead of bits
	mask   uint32
	table  []gramSlot
	refs   []gramRef
}

type gramSlot struct {
	gram uint32
	head int32 // into refs, -1: free
}

type gramRef struct {
	lit  int32
	off  int32 // where in the literal the gram stands
	next int32
}

func gramHash(g uint32) uint32 { return g * 0x9E3779B1 }

// newGrams prepares the literals lits[i] for i in which, each of gramSize
// bytes or more; nil when there are none. common tells how often a gram is likely to be met.
func newGrams(lits []literalOf, which []int32, common map[uint32]uint32) *grams {
	if len(which) == 0 {
		return nil
	}
	shortest := 1 << 30
	for _, i := range which {
		shortest = min(shortest, len(lits[i].text))
	}
	g := &grams{step: 2}
	if shortest >= gramSize+3 {
		g.step = 4
	}
	g.room(len(which)*g.step, shortest)
	for _, i := range which {
		text := lits[i].text
		if len(text) == gramSize {
			g.add(i, text, 0)
			g.tail(text)
			continue
		}
		at := rarest(text, g.step, common)
		for k := range g.step {
			g.add(i, text, at+k)
		}
	}
	return g
}

// room makes the tables for n grams.
func (g *grams) room(n, shortest int) {
	if shortest == gramSize {
		width := max(12, min(17, bits.Len(uint(n*4))))
		g.shift = uint8(32 - width)
		g.thirds = make([]uint8, 1<<width)
	} else {
		width := max(15, min(20, bits.Len(uint(n*48))))
		g.shift = uint8(32 - width)
		g.bits = make([]uint64, 1<<width/64)
	}
	size := 1 << bits.Len(uint(n*2))
	g.mask = uint32(size - 1)
	g.table = make([]gramSlot, size)
	for i := range g.table {
		g.table[i].head = -1
	}
}

// rarest returns where the rarest run of step grams begins.
func rarest(text []byte, step int, common map[uint32]uint32) int {
	best, at := uint32(1<<31), 0
	for i := 0; i+gramSize+step-1 <= len(text); i++ {
		sum := uint32(0)
		for k := range step {
			sum += common[binary.LittleEndian.Uint32(text[i+k:])]
		}
		if sum < best {
			best, at = sum, i
		}
	}
	return at
}

func (g *grams) add(lit int32, text []byte, off int) {
	gram := binary.LittleEndian.Uint32(text[off:])
	h := gramHash(gram)
	if g.thirds != nil {
		g.thirds[third(gram)>>g.shift] |= 1 << (gram >> 24 & 7)
	} else {
		bit := h >> g.shift
		g.bits[bit>>6] |= 1 << (bit & 63)
	}
	at := h >> 7 & g.mask
	for g.table[at].head >= 0 && g.table[at].gram != gram {
		at = (at + 1) & g.mask
	}
	g.refs = append(g.refs, gramRef{lit, int32(off), g.table[at].head})
	g.table[at] = gramSlot{gram, int32(len(g.refs) - 1)}
}

// third is the hash of the first three bytes of a gram.
func third(gram uint32) uint32 { return gramHash(gram << 8) }

// tail lets the filter pass where a literal of one gram began a byte before.
func (g *grams) tail(text []byte) {
	gram := uint32(text[1]) | uint32(text[2])<<8 | uint32(text[3])<<16
	g.thirds[third(gram)>>g.shift] = 0xFF
}

// find appends the literals that text contains; one may come several times.
func (g *grams) find(found []int32, lits []literalOf, text []byte) []int32 {
	switch {
	case g.thirds != nil:
		return g.eachThird(found, lits, text)
	case g.step == 2:
		return g.each2(found, lits, text)
	default:
		return g.each4(found, lits, text)
	}
}

// eachThird tests three places of one load.
func (g *grams) eachThird(found []int32, lits []literalOf, text []byte) []int32 {
	set, shift := g.thirds, g.shift&31
	i := 0
	for ; i+8 <= len(text); i += 6 {
		x := binary.LittleEndian.Uint64(text[i:])
		hit := set[third(uint32(x))>>shift]>>(x>>24&7) | set[third(uint32(x>>16))>>shift]>>(x>>40&7) | set[third(uint32(x>>32))>>shift]>>(x>>56&7)
		if hit&1 != 0 {
			found = g.thirdAt(found, lits, text, i, x)
		}
	}
	for k := max(i-1, 0); k+gramSize <= len(text); k++ {
		found = g.verify(found, lits, text, k)
	}
	return found
}

// thirdAt finds out which of the three places passed the filter.
func (g *grams) thirdAt(found []int32, lits []literalOf, text []byte, i int, x uint64) []int32 {
	for k := range 3 {
		gram, at := uint32(x>>(16*k)), i+2*k
		if g.thirds[third(gram)>>g.shift]>>(gram>>24&7)&1 == 0 {
			continue
		}
		found = g.verify(found, lits, text, at)
		if at > 0 {
			found = g.verify(found, lits, text, at-1)
		}
	}
	return found
}

func (g *grams) each2(found []int32, lits []literalOf, text []byte) []int32 {
	set, shift := g.bits, g.shift&31
	last := uint32(len(set)*64 - 1)
	i := 0
	for ; i+8 <= len(text); i += 4 {
		x := binary.LittleEndian.Uint64(text[i:])
		a := gramHash(uint32(x)) >> shift & last
		c := gramHash(uint32(x>>16)) >> shift & last
		hit := set[a>>6]>>(a&63) | set[c>>6]>>(c&63)
		if hit&1 != 0 {
			found = g.verify(found, lits, text, i)
			found = g.verify(found, lits, text, i+2)
		}
	}
	for ; i+gramSize <= len(text); i += 2 {
		found = g.verify(found, lits, text, i)
	}
	return found
}

func (g *grams) each4(found []int32, lits []literalOf, text []byte) []int32 {
	set, shift := g.bits, g.shift&31
	last := uint32(len(set)*64 - 1)
	for i := 0; i+gramSize <= len(text); i += 4 {
		a := gramHash(binary.LittleEndian.Uint32(text[i:])) >> shift & last
		if set[a>>6]>>(a&63)&1 != 0 {
			found = g.verify(found, lits, text, i)
		}
	}
	return found
}

// verify compares the literals whose gram stands at text[at:].
func (g *grams) verify(found []int32, lits []literalOf, text []byte, at int) []int32 {
	gram := binary.LittleEndian.Uint32(text[at:])
	h := gramHash(gram)
	for i := h >> 7 & g.mask; g.table[i].head >= 0; i = (i + 1) & g.mask {
		if g.table[i].gram != gram {
			continue
		}
		for r := g.table[i].head; r >= 0; r = g.refs[r].next {
			ref := &g.refs[r]
			from := at - int(ref.off)
			if lit := lits[ref.lit].text; from >= 0 && from+len(lit) <= len(text) && bytes.Equal(text[from:from+len(lit)], lit) {
				found = append(found, ref.lit)
			}
		}
		break
	}
	return found
}

// usual are texts that most telemetry is full of: a gram out of them tells
// little about a literal.
var usual = [...]string{
	`c:\windows\system32\`, `c:\windows\syswow64\`, `c:\program files (x86)\`, `c:\programdata\microsoft\`, `\appdata\local\temp\`, `c:\users\`,
	`powershell.exe`, `cmd.exe /c `, `rundll32.exe`, `svchost.exe`, `\software\microsoft\windows nt\currentversion\`, `hklm\system\currentcontrolset\services\`,
	`-noprofile -executionpolicy bypass -command `, `http://`, `https://`, `.com/`, `microsoft`, `\registry\machine\`, `function `, `param(`, `string`, `object`,
	`new-object system.`, `-name `, `-path `, `write-`, `get-`, `set-`, `    `, `true`, `false`, `return`, `/usr/bin/`, `/usr/lib/`, `/etc/`, `/var/log/`, `0000`,
	`system.management.automation`, `invoke-`, `version`, `windowspowershell\v1.0\`, `local`, `user`, `service`, `process`, `name=`, `-enc`, `name`, `value`, `type`,
}

// commonGrams counts grams in what is usual and in the literals of all rules:
// what many literals share is what telemetry is likely to hold.
func commonGrams(texts []string) map[uint32]uint32 {
	common := map[uint32]uint32{}
	count := func(s string, weight uint32) {
		for i := 0; i+gramSize <= len(s); i++ {
			common[binary.LittleEndian.Uint32([]byte(s[i:]))] += weight
		}
	}
	for _, s := range usual {
		count(s, 100)
	}
	for _, s := range texts {
		count(s, 1)
	}
	return common
}
