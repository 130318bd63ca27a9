package anomaly

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"sync"
	"unicode/utf8"
)

// Kinds of content that are recognised by their first bytes.
const (
	kindText   = "text"
	kindZip    = "zip" // office documents too
	kindGzip   = "gzip"
	kindPNG    = "png"
	kindJPEG   = "jpeg"
	kindPDF    = "pdf"
	kindSQLite = "sqlite"
	kindOLE    = "ole"
	kindSealed = "sealed" // of a program that people encrypt with
	kindDisk   = "disk"   // image of a disk or of a file system
)

// State says whether something about a file is as it must be.
type State int8

// States.
const (
	Unknown State = iota // there is nothing to compare with
	Sound
	Broken
)

// Look is what the bytes of one version of a file say. Entropies are shares of
// what random bytes of that length have, 0 to 1.
type Look struct {
	Kind      string
	Sealed    bool    // encrypted in a form that its program can read
	Structure State   // checksums and tables inside, where all bytes were seen
	Tail      State   // the marker at the end that the kind must have
	Entropy   float64 // the highest of a window of 4 KiB
	Chi2      float64 // against evenly spread bytes, over all that was seen; 255 is what random ones have
	Seen      int     // bytes
}

// magics are the first bytes of kinds of files.
func magics() []struct{ kind, magic string } {
	return []struct{ kind, magic string }{
		{kindZip, "PK\x03\x04"}, {kindZip, "PK\x05\x06"}, {kindGzip, "\x1f\x8b\x08"}, {kindPNG, "\x89PNG\r\n\x1a\n"}, {kindJPEG, "\xff\xd8\xff"},
		{kindPDF, "%PDF-"}, {kindSQLite, "SQLite format 3\x00"}, {kindOLE, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}, {"elf", "\x7fELF"}, {"exe", "MZ"}, {"gif", "GIF8"},
		{"xz", "\xfd7zXZ\x00"}, {"zstd", "\x28\xb5\x2f\xfd"}, {"bzip2", "BZh"}, {"7z", "7z\xbc\xaf\x27\x1c"}, {"rar", "Rar!\x1a\x07"}, {"riff", "RIFF"},
		{"tiff", "II*\x00"}, {"tiff", "MM\x00*"}, {"class", "\xca\xfe\xba\xbe"}, {"ar", "!<arch>\n"}, {"woff", "wOF"}, {"ogg", "OggS"}, {"flac", "fLaC"},
		{"mp3", "ID3"}, {"mo", "\xde\x12\x04\x95"}, {"font", "\x00\x01\x00\x00\x00"}, {"pgdump", "PGDMP"}, {"qcow", "QFI\xfb"}, {"vmdk", "KDMV"}, {"vhdx", "vhdxfile"}, {"bmp", "BM"},
	}
}

// sealedMagics begin what programs write that people encrypt with.
func sealedMagics() []string {
	return []string{"Salted__", "age-encryption.org/v1", "-----BEGIN PGP MESSAGE-----", "-----BEGIN AGE ENCRYPTED FILE-----", "LUKS\xba\xbe", "\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5"}
}

// kindOf recognises a file by its first bytes; "" when nothing fits.
func kindOf(head []byte) string {
	for _, m := range sealedMagics() {
		if bytes.HasPrefix(head, []byte(m)) {
			return kindSealed
		}
	}
	if isOpenPGP(head) {
		return kindSealed
	}
	for _, m := range magics() {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.kind
		}
	}
	switch {
	case len(head) >= 132 && string(head[128:132]) == "DICM":
		return "dicom"
	case len(head) >= 12 && string(head[4:8]) == "ftyp":
		return "mp4"
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return "tar"
	case isText(head[:min(len(head), window)]):
		return kindText
	case isDisk(head):
		return kindDisk
	}
	return ""
}

// isDisk knows a boot sector, and the first blocks of ext4, XFS and LVM.
func isDisk(b []byte) bool {
	at := func(from int, magic string) bool {
		return len(b) >= from+len(magic) && string(b[from:from+len(magic)]) == magic
	}
	return at(510, "\x55\xaa") || at(1080, "\x53\xef") || at(0, "XFSB") || at(512, "LABELONE")
}

// isOpenPGP knows the first packets of RFC 9580 that an encrypted message
// begins with: a key encrypted to somebody, or one made of a passphrase.
func isOpenPGP(b []byte) bool {
	if len(b) < 16 {
		return false
	}
	switch b[0] {
	case 0x8c, 0xc3: // made of a passphrase: version, cipher, how the key is derived
		return b[1] >= 4 && b[1] < 64 && (b[2] == 4 || b[2] == 5 || b[2] == 6) && b[3] >= 1 && b[3] <= 13
	case 0x84, 0xc1: // to somebody
		return b[2] == 3 && b[11] >= 1 && b[11] <= 26 || b[0] == 0xc1 && b[1] >= 192 && b[3] == 3
	case 0x85:
		return b[1] < 8 && b[3] == 3 && b[12] >= 1 && b[12] <= 26
	}
	return false
}

// isText says whether bytes are some text: control characters are rare in it,
// whatever its encoding; a UTF-16 text begins with its mark.
func isText(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		return bytes.Count(b, []byte{0})*5 > len(b)/2 || !even(b)
	}
	control := 0
	for _, c := range b {
		if c < 9 || c > 13 && c < 32 && c != 27 || c == 127 {
			control++
		}
	}
	if control*200 > len(b) {
		return false
	}
	return utf8.Valid(trimRune(b)) || !even(b)
}

// even says whether bytes are spread as random ones are.
func even(b []byte) bool { return len(b) >= 256 && entropy(b) > 0.97 }

// trimRune cuts off a character whose end is not there.
func trimRune(b []byte) []byte {
	for i := 1; i <= min(3, len(b)); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

const window = 4096 // bytes

// piece is what was read of one version of a file.
type piece struct {
	head, end []byte   // the first bytes and the last ones
	fresh     [][]byte // what the other version does not have, or a part of that
	whole     bool     // head is everything
}

// inspect says what the bytes are.
func inspect(p piece) Look {
	var l Look
	if len(p.head) == 0 {
		return l
	}
	l.Kind = kindOf(p.head)
	var counts [256]int
	for _, b := range p.fresh {
		l.Seen += len(b)
		for at := 0; at < len(b); at += window {
			if w := b[at:min(at+window, len(b))]; len(w) >= 256 {
				l.Entropy = max(l.Entropy, entropy(w))
			}
		}
		for _, c := range b {
			counts[c]++
		}
	}
	l.Chi2 = chi2(&counts, l.Seen)
	l.Tail = tail(l.Kind, p.end)
	if p.whole {
		l.Structure = structure(l.Kind, p.head)
	}
	l.Sealed = l.Kind == kindSealed || sealedInside(l.Kind, p)
	return l
}

func chi2(counts *[256]int, n int) float64 {
	if n == 0 {
		return 0
	}
	want, sum := float64(n)/256, 0.0
	for _, c := range counts {
		d := float64(c) - want
		sum += d * d / want
	}
	return sum
}

// entropy of bytes as a share of what random bytes of that length have.
func entropy(b []byte) float64 {
	var counts [256]int
	for _, c := range b {
		counts[c]++
	}
	n, h := float64(len(b)), 0.0
	for _, c := range counts {
		if c > 0 {
			p := float64(c) / n
			h -= p * math.Log2(p)
		}
	}
	return min(1, h/expected(len(b)))
}

// fullWindow is expected(window), which nearly every call asks for.
var fullWindow = sync.OnceValue(func() float64 { return expect(window) })

// expected is the mean entropy of n random bytes, in bits: below 8, because few
// bytes cannot be spread evenly.
func expected(n int) float64 {
	if n == window {
		return fullWindow()
	}
	return expect(n)
}

// expect takes the counts of each byte as Poisson distributed.
func expect(n int) float64 {
	rate := float64(n) / 256
	p, sum := math.Exp(-rate), 0.0
	for k := 1; k < n && k < int(rate+12*math.Sqrt(rate)+20); k++ {
		p *= rate / float64(k)
		sum += p * float64(k) * math.Log2(float64(k))
	}
	return math.Log2(float64(n)) - 256*sum/float64(n)
}

// tail says whether the end is there that a kind must have.
func tail(kind string, last []byte) State {
	end := last[max(0, len(last)-66_000):]
	has := func(ok bool) State {
		if ok {
			return Sound
		}
		return Broken
	}
	switch kind {
	case kindPNG:
		return has(bytes.Contains(end[max(0, len(end)-64):], []byte("IEND\xaeB`\x82")))
	case kindZip:
		return has(bytes.Contains(end, []byte("PK\x05\x06")))
	case kindPDF:
		return has(bytes.Contains(end[max(0, len(end)-2048):], []byte("%%EOF")))
	case kindJPEG:
		return has(bytes.Contains(end[max(0, len(end)-1024):], []byte{0xff, 0xd9}))
	}
	return Unknown
}

// maxUnpacked bounds what is unpacked of one file to compare checksums.
const maxUnpacked = 64 << 20

// structure compares what a file says about itself with its bytes.
func structure(kind string, b []byte) State {
	switch kind {
	case kindGzip:
		return unpacks(func() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(b)) })
	case kindZip:
		return zipState(b)
	case kindPNG:
		return pngState(b)
	case kindJPEG:
		return jpegState(b)
	case kindPDF:
		return pdfState(b)
	}
	return Unknown
}

func unpacks(open func() (io.Reader, error)) State {
	r, err := open()
	if err != nil {
		return Broken
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxUnpacked))
	switch {
	case err != nil:
		return Broken
	case n == maxUnpacked: // the checksum stands behind what was read
		return Unknown
	}
	return Sound
}

// zipState reads every member, whose checksum must fit. What cannot be read
// without a password is left out.
func zipState(b []byte) State {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return Broken
	}
	left := int64(maxUnpacked)
	for _, f := range z.File {
		if f.Flags&1 != 0 || f.Method != zip.Store && f.Method != zip.Deflate {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return Broken
		}
		n, err := io.Copy(io.Discard, io.LimitReader(r, left+1))
		r.Close()
		if left -= n; left < 0 {
			return Unknown
		}
		if err != nil {
			return Broken
		}
	}
	return Sound
}

// pngState compares the checksum of each chunk.
func pngState(b []byte) State {
	for at := 8; ; {
		if at+12 > len(b) {
			return Broken
		}
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n < 0 || n > len(b)-at-12 {
			return Broken
		}
		body := b[at+4 : at+8+n]
		if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(b[at+8+n:]) {
			return Broken
		}
		if string(body[:4]) == "IEND" {
			return Sound
		}
		at += 12 + n
	}
}

// jpegState walks the segments, and looks for what cannot stand in coded data:
// an 0xff is followed by 0, by a restart, or by the next segment.
func jpegState(b []byte) State {
	at := 2
	for {
		for at+1 < len(b) && b[at] == 0xff && b[at+1] == 0xff {
			at++
		}
		if at+4 > len(b) || b[at] != 0xff || b[at+1] < 0xc0 {
			return Broken
		}
		if b[at+1] == 0xd9 {
			return Sound
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 || at+2+n > len(b) || b[at+1] == 0xc4 && !huffman(b[at+4:at+2+n]) {
			return Broken
		}
		coded := b[at+1] == 0xda
		if at += 2 + n; coded {
			if at = scanEnd(b, at); at < 0 {
				return Broken
			}
		}
	}
}

// huffman says whether the tables of a segment add up.
func huffman(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 17 {
			return false
		}
		n := 17
		for _, c := range b[1:17] {
			n += int(c)
		}
		if n > len(b) || b[0]&0xee != 0 && b[0]&0xec != 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// scanEnd returns where coded data ends, -1 when it holds what it cannot.
func scanEnd(b []byte, at int) int {
	for ; at+1 < len(b); at++ {
		if b[at] != 0xff {
			continue
		}
		switch m := b[at+1]; {
		case m == 0, m >= 0xd0 && m <= 0xd7:
			at++
		case m == 0xff: // filling
		case m == 0xd9, m == 0xda, m == 0xc4, m == 0xdb, m == 0xdc, m == 0xdd, m == 0xfe, m >= 0xe0 && m <= 0xef:
			return at
		default:
			return -1
		}
	}
	return -1
}

// pdfState unpacks the streams that are compressed the usual way. The last one
// may be cut off; one before it whose bytes make no sense is broken.
func pdfState(b []byte) State {
	state, left, bad := Unknown, int64(maxUnpacked), false
	for rest := b; ; {
		at := bytes.Index(rest, []byte("stream"))
		if at < 0 || left <= 0 {
			return state
		}
		head := rest[max(0, at-512):at]
		if from := bytes.LastIndex(head, []byte("obj")); from >= 0 {
			head = head[from:]
		}
		over := bytes.HasSuffix(rest[:at], []byte("end"))
		rest = rest[at+len("stream"):]
		if over || !bytes.Contains(head, []byte("FlateDecode")) || bytes.Contains(head, []byte("Encrypt")) {
			continue
		}
		if bad {
			return Broken
		}
		n, err := inflate(rest, left)
		if bad = err != nil; !bad {
			state = Sound
		}
		left -= n
	}
}

// inflate unpacks what stands behind the word stream and its end of line.
func inflate(b []byte, most int64) (int64, error) {
	for range 2 {
		if len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
			b = b[1:]
		}
	}
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	return io.Copy(io.Discard, io.LimitReader(z, most))
}

// sealedInside says whether a container keeps its content behind a password.
func sealedInside(kind string, p piece) bool {
	head, last := p.head, p.end
	switch kind {
	case kindZip:
		return len(head) >= 8 && head[6]&1 != 0
	case "7z":
		return bytes.Contains(last[max(0, len(last)-4096):], []byte{0x06, 0xf1, 0x07, 0x01})
	case kindPDF:
		return p.whole && bytes.Contains(head, []byte("/Encrypt ")) && bytes.Contains(head, []byte("/Standard"))
	case kindOLE:
		return bytes.Contains(head, utf16("EncryptedPackage"))
	}
	return false
}

func utf16(s string) []byte {
	b := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		b = append(b, s[i], 0)
	}
	return b
}

// packed says whether content of a kind has no slack left, so that it looks
// random as it should.
func packed(kind string) bool {
	return slices.Contains([]string{kindZip, kindGzip, kindPNG, kindJPEG, kindPDF, "gif", "xz", "zstd", "bzip2", "7z", "rar", "mp4", "mp3", "ogg", "flac", "woff", "pgdump", "riff"}, kind)
}
