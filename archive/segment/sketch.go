package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sketch tells for each row group of a segment whether a text can occur in it:
// in the original line, in a field or in any column of text. "Can" may be
// wrong, "cannot" never is.
//
// For each row group it holds a bitmap. Every four bytes that follow each other
// in a text (letters A to Z as a to z), and every eight bytes of an IPv4
// address, are hashed to one bit. A text can occur only where all bits of all
// its parts are set. Two bytes an event at most. The sketch of a merged segment
// has the same again for each BlockRows rows; those bitmaps stay in the file
// until they are asked for, see Blocks.
type Sketch struct {
	path  string
	size  int64 // of what is in memory, and of that in the file
	parts []sketchPart
}

type sketchPart struct {
	part   int64
	rows   uint32
	bits   []byte // as in the file; a power of two
	blocks section
}

const (
	sketchMagic   = "SONAESK1"
	sketchHeader  = len(sketchMagic) + 4
	sketchEntry   = 8 + 4 + 1
	maxSketchLog  = 20 // bits of the largest bitmap, as a power of two
	minSketchLog  = 9
	maxSketchSize = 64 << 20
	bitsPerRow    = 16
)

// gram hashes four bytes, address eight; the top bits are used first.
func gram(g uint32) uint32    { return g * 0x9E3779B1 }
func address(g uint64) uint32 { return uint32((g * 0x9E3779B97F4A7C15) >> 32) }

// Classes of bytes.
const (
	isDot     = 1
	isDigit   = 2
	isForeign = 4
)

var folded, class = func() (fold [256]byte, class [256]byte) {
	for c := range 256 {
		fold[c] = byte(c)
		switch {
		case 'A' <= c && c <= 'Z':
			fold[c] = byte(c) + 'a' - 'A'
		case c == '.':
			class[c] = isDot | isDigit
		case '0' <= c && c <= '9':
			class[c] = isDigit
		case c >= 0x80:
			class[c] = isForeign
		}
	}
	return fold, class
}()

// sketcher builds a sketch, row group by row group.
type sketcher struct {
	bits  []uint64 // 1 << maxSketchLog
	last  []string // values that were added last, by place
	parts []sketchPart

	fine   bool // blocks are sketched, too
	block  [1 << maxBlockLog / 64]uint64
	rows   int    // of the block
	blocks []byte // of the row group that are done
	all    [][]byte
}

func (k *sketcher) add(r *Row) {
	if k.bits == nil {
		k.bits = make([]uint64, 1<<maxSketchLog/64)
	}
	if k.fine && k.rows == BlockRows {
		k.endBlock()
	}
	k.rows++
	k.text(r.Raw)
	place := 0
	put := func(s string) {
		if place == len(k.last) {
			k.last = append(k.last, "")
		}
		if s != k.last[place] { // neighbours are alike
			k.last[place] = s
			k.text(s)
		}
		place++
	}
	for i := range hot {
		if hot[i].Text != nil {
			put(*hot[i].Text(r))
		}
	}
	for _, s := range [...]string{r.Site, r.Host, r.Kind, r.Product, r.Category, r.Service} {
		put(s)
	}
	for i := range r.Fields {
		put(r.Fields[i].Value)
	}
}

// text sets the bits of all parts of a text.
func (k *sketcher) text(s string) {
	if k.grams(s)&isForeign != 0 && strings.ContainsAny(s, foldsToASCII) {
		k.grams(foldRare.Replace(s))
	}
}

// Unicode knows three letters outside ASCII that some engine takes for one of
// it when it ignores case: the Kelvin sign and the long s (regular expressions),
// the dotted I (lower).
const foldsToASCII = "\u212A\u017F\u0130"

var foldRare = strings.NewReplacer("\u212A", "k", "\u017F", "s", "\u0130", "i")

func (k *sketcher) grams(s string) (classes byte) {
	if len(s) < 4 {
		return isForeign // too short to matter, unless folding makes it longer, which it does not
	}
	b, block := k.bits, &k.block
	var g uint64
	var run, dots uint
	for i := 0; i < len(s); i++ {
		c := s[i]
		g = g<<8 | uint64(folded[c])
		if i >= 3 {
			h := gram(uint32(g)) >> (32 - maxSketchLog)
			b[h>>6] |= 1 << (h & 63)
			h >>= maxSketchLog - maxBlockLog
			block[h>>6] |= 1 << (h & 63)
		}
		x := class[c]
		classes |= x
		if x&isDigit == 0 {
			run, dots = 0, 0
			continue
		}
		run++
		dots = dots<<1 | uint(x&isDot)
		if run >= 8 && bits.OnesCount8(uint8(dots)) >= 2 {
			h := address(g) >> (32 - maxSketchLog)
			b[h>>6] |= 1 << (h & 63)
			h >>= maxSketchLog - maxBlockLog
			block[h>>6] |= 1 << (h & 63)
		}
	}
	return classes
}

// end finishes a row group: the bitmap is folded onto half its size as long as
// it is larger than allowed or nearly empty.
func (k *sketcher) end(part int64, rows int) {
	b := k.bits
	for len(b)*64 > 1<<minSketchLog {
		if len(b)*64 <= rows*bitsPerRow && ones(b)*8 > len(b)*64 {
			break
		}
		b = halved(b)
	}
	k.parts = append(k.parts, sketchPart{part: part, rows: uint32(rows), bits: appendWords(nil, b)})
	clear(k.bits)
	if k.fine {
		k.endBlock()
		k.all = append(k.all, append([]byte(nil), k.blocks...))
	}
	k.blocks, k.rows = k.blocks[:0], 0
	clear(k.block[:])
	clear(k.last)
}

// halved folds a bitmap onto half its size. The index is the top bits of the
// hash: neighbours fall together.
func halved(b []uint64) []uint64 {
	for i := range len(b) / 2 {
		b[i] = squeeze(b[2*i]) | squeeze(b[2*i+1])<<32
	}
	return b[:len(b)/2]
}

func ones(b []uint64) (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// squeeze ors neighbouring bits and packs the 32 results.
func squeeze(x uint64) uint64 {
	x = (x | x>>1) & 0x5555555555555555
	x = (x | x>>1) & 0x3333333333333333
	x = (x | x>>2) & 0x0F0F0F0F0F0F0F0F
	x = (x | x>>4) & 0x00FF00FF00FF00FF
	x = (x | x>>8) & 0x0000FFFF0000FFFF
	return (x | x>>16) & 0x00000000FFFFFFFF
}

// write writes the sketch into a new file and syncs it.
func (k *sketcher) write(path string) (SketchFacts, error) {
	b, head := k.encode()
	sum := sha256.Sum256(b)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return SketchFacts{}, fmt.Errorf("write sketch: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return SketchFacts{}, fmt.Errorf("write sketch: %w", err)
	}
	return SketchFacts{Path: path, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(b)), Head: headOf(b[:head])}, nil
}

func headOf(b []byte) Head { return Head{sha256.Sum256(b), int64(len(b))} }

// encode returns the bytes of the file and how many of them are its head.
func (k *sketcher) encode() (b []byte, head int) {
	magic := sketchMagic
	if k.fine {
		magic = fineMagic
	}
	b = binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(k.parts)))
	for i, p := range k.parts {
		b = binary.LittleEndian.AppendUint64(b, uint64(p.part))
		b = binary.LittleEndian.AppendUint32(b, p.rows)
		b = append(b, byte(bits.Len(uint(len(p.bits)*8))-1))
		if k.fine {
			sum := sha256.Sum256(k.all[i])
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(k.all[i]))), sum[:]...)
		}
	}
	for _, p := range k.parts {
		b = append(b, p.bits...)
	}
	head = len(b)
	for _, blocks := range k.all {
		b = append(b, blocks...)
	}
	return b, head
}

func appendWords(b []byte, words []uint64) []byte {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// OpenSketch reads the sketch in a file, which must have the given SHA-256
// (hexadecimal): a changed sketch would hide events. It holds two bytes an
// event in memory, and returns what is known of these as head: OpenHead then
// need not read the rest.
func OpenSketch(path, sha string) (s *Sketch, head Head, err error) {
	b, err := readSketch(path, maxSketchSize)
	if err != nil {
		return nil, head, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != sha {
		return nil, head, fmt.Errorf("open sketch: %s is not what was written", path)
	}
	_, n, err := parseSketch(b, int64(len(b)))
	if err != nil {
		return nil, head, fmt.Errorf("open sketch %s: %w", path, err)
	}
	if s, _, err = parseSketch(bytes.Clone(b[:n]), int64(len(b))); err != nil { // the rest need not stay in memory
		return nil, head, fmt.Errorf("open sketch %s: %w", path, err)
	}
	s.path = path
	return s, headOf(b[:n]), nil
}

// OpenHead reads a sketch without what it leaves in the file; bytes is the size
// of the file.
func OpenHead(path string, head Head, bytes int64) (*Sketch, error) {
	b, err := readSketch(path, head.Bytes)
	if err != nil {
		return nil, err
	}
	if headOf(b) != head {
		return nil, fmt.Errorf("open sketch: %s is not what was written", path)
	}
	s, _, err := parseSketch(b, bytes)
	if err != nil {
		return nil, fmt.Errorf("open sketch %s: %w", path, err)
	}
	s.path = path
	return s, nil
}

// readSketch reads the beginning of a file, at most limit bytes, at once.
func readSketch(path string, limit int64) ([]byte, error) {
	f, err := openPlaces(path)
	if err != nil {
		return nil, fmt.Errorf("open sketch: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open sketch: %w", err)
	}
	b := make([]byte, max(0, min(info.Size(), limit)))
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("open sketch: %w", err)
	}
	return b, nil
}

// parseSketch reads what encode wrote, of which b is the beginning and size
// the length, and returns how much of b it needs. The sketch keeps b.
func parseSketch(b []byte, size int64) (*Sketch, int, error) {
	if len(b) < sketchHeader || string(b[:len(sketchMagic)]) != sketchMagic && string(b[:len(fineMagic)]) != fineMagic {
		return nil, 0, errors.New("byte 0: not a sketch")
	}
	entry := sketchEntry
	if string(b[:len(fineMagic)]) == fineMagic {
		entry = fineEntry
	}
	n := int(binary.LittleEndian.Uint32(b[len(sketchMagic):]))
	if n > (len(b)-sketchHeader)/entry {
		return nil, 0, fmt.Errorf("byte %d: %d row groups do not fit into the file", len(sketchMagic), n)
	}
	s := &Sketch{parts: make([]sketchPart, 0, n)}
	at := sketchHeader + n*entry
	for i := range n {
		e := b[sketchHeader+i*entry:]
		log := int(e[12])
		if log < minSketchLog || log > maxSketchLog || 1<<log/8 > len(b)-at {
			return nil, 0, fmt.Errorf("byte %d: a bitmap of 2^%d bits does not fit", sketchHeader+i*entry+12, log)
		}
		p := sketchPart{part: int64(binary.LittleEndian.Uint64(e)), rows: binary.LittleEndian.Uint32(e[8:]), bits: b[at : at+1<<log/8]}
		if entry == fineEntry {
			p.blocks = section{length: int64(binary.LittleEndian.Uint32(e[13:])), sum: [32]byte(e[17:49])}
		}
		at += len(p.bits)
		s.parts = append(s.parts, p)
	}
	s.size = int64(at)
	end := s.place(s.size)
	if end != size {
		return nil, 0, fmt.Errorf("byte %d: the file has %d bytes", end, size)
	}
	return s, at, nil
}

// Size is how many bytes of memory it needs, about.
func (s *Sketch) Size() int64 { return s.size }

// Parts returns all row groups, as the column part names them.
func (s *Sketch) Parts() []int64 {
	all := make([]int64, len(s.parts))
	for i := range s.parts {
		all[i] = s.parts[i].part
	}
	return all
}

// MayHold returns the row groups, as the column part names them, that can hold
// the needle in one text, whatever the case of its letters. A needle shorter
// than four bytes may be anywhere.
func (s *Sketch) MayHold(needle string) []int64 {
	hashes := needleHashes(needle)
	found := make([]int64, 0, len(s.parts))
	for i := range s.parts {
		if p := &s.parts[i]; holdsAll(p.bits, hashes) {
			found = append(found, p.part)
		}
	}
	return found
}

// holdsAll says whether the bits of all hashes are set, in a bitmap as it
// stands in the file.
func holdsAll(b []byte, hashes []uint32) bool {
	shift := 32 - (bits.Len(uint(len(b)*8)) - 1)
	for _, h := range hashes {
		if h >>= shift; b[h>>3]&(1<<(h&7)) == 0 {
			return false
		}
	}
	return true
}

// needleHashes returns the hashes of all parts of a needle.
func needleHashes(needle string) []uint32 {
	var all []uint32
	for _, s := range strings.FieldsFunc(strings.ToValidUTF8(needle, "\uFFFD"), hasForeignCase) {
		var g uint64
		var run, dots uint
		for i := 0; i < len(s); i++ {
			g = g<<8 | uint64(folded[s[i]])
			if i >= 3 {
				all = append(all, gram(uint32(g)))
			}
			x := class[s[i]]
			if x&isDigit == 0 {
				run, dots = 0, 0
				continue
			}
			run++
			dots = dots<<1 | uint(x&isDot)
			if run >= 8 && bits.OnesCount8(uint8(dots)) >= 2 {
				all = append(all, address(g))
			}
		}
	}
	return all
}

// hasForeignCase says that a letter outside ASCII is written in several ways;
// nothing is known of it, as only ASCII is folded.
func hasForeignCase(r rune) bool {
	return r >= utf8.RuneSelf && (unicode.ToLower(r) != r || unicode.ToUpper(r) != r || unicode.SimpleFold(r) != r)
}
