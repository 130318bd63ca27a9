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
// gram, or as many neighbours as the step is wide, stands in a bitmap; the
// text is gone through in steps, and where the bitmap says so the literals
// themselves are compared. It is read-only once built.
type grams struct {
	step  int
	shift uint8
	bits  []uint64
	mask  uint32
	table []gramSlot
	refs  []gramRef
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
// bytes or more. common tells how often a gram is likely to be met.
func newGrams(lits []literalOf, which []int32, common map[uint32]uint32) *grams {
	shortest := 1 << 30
	for _, i := range which {
		shortest = min(shortest, len(lits[i].text))
	}
	g := &grams{step: 1}
	for g.step < 4 && shortest >= gramSize-1+2*g.step {
		g.step *= 2
	}
	n := len(which) * g.step
	width := max(15, min(20, bits.Len(uint(n*24))))
	g.shift = uint8(32 - width)
	g.bits = make([]uint64, 1<<width/64)
	size := 1 << bits.Len(uint(n*2))
	g.mask = uint32(size - 1)
	g.table = make([]gramSlot, size)
	for i := range g.table {
		g.table[i].head = -1
	}
	for _, i := range which {
		at := rarest(lits[i].text, g.step, common)
		for k := range g.step {
			g.add(i, lits[i].text, at+k)
		}
	}
	return g
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
	bit := h >> g.shift
	g.bits[bit>>6] |= 1 << (bit & 63)
	at := h >> 7 & g.mask
	for g.table[at].head >= 0 && g.table[at].gram != gram {
		at = (at + 1) & g.mask
	}
	g.refs = append(g.refs, gramRef{lit, int32(off), g.table[at].head})
	g.table[at] = gramSlot{gram, int32(len(g.refs) - 1)}
}

// find appends the literals that text contains; one may come several times.
func (g *grams) find(found []int32, lits []literalOf, text []byte) []int32 {
	switch g.step {
	case 1:
		return g.each1(found, lits, text)
	case 2:
		return g.each2(found, lits, text)
	default:
		return g.each4(found, lits, text)
	}
}

// each1 tests every gram, four of one load.
func (g *grams) each1(found []int32, lits []literalOf, text []byte) []int32 {
	set, shift := g.bits, g.shift&31
	last := uint32(len(set)*64 - 1)
	i := 0
	for ; i+8 <= len(text); i += 4 {
		x := binary.LittleEndian.Uint64(text[i:])
		a := gramHash(uint32(x)) >> shift & last
		b := gramHash(uint32(x>>8)) >> shift & last
		c := gramHash(uint32(x>>16)) >> shift & last
		d := gramHash(uint32(x>>24)) >> shift & last
		hit := set[a>>6]>>(a&63) | set[b>>6]>>(b&63) | set[c>>6]>>(c&63) | set[d>>6]>>(d&63)
		if hit&1 != 0 {
			for k := range 4 {
				found = g.verify(found, lits, text, i+k)
			}
		}
	}
	for ; i+gramSize <= len(text); i++ {
		found = g.verify(found, lits, text, i)
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
	bit := h >> g.shift
	if g.bits[bit>>6]>>(bit&63)&1 == 0 {
		return found
	}
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
