package guard

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"regexp"
	"strconv"
)

// What is compressed looks like noise, encrypted or not. But it has a
// structure behind its first bytes, which encryption destroys: lengths,
// checksums, marks. Files of some types are looked at for that.

// Bounds of one look.
const (
	mostRead    = 1 << 20 // of a file, from its beginning
	mostPacked  = 2 << 20 // that is unpacked
	mostEntries = 4096    // of an archive
	mostParts   = 256     // pages, boxes, sectors
)

// structures are the types whose structure is known, by their first bytes as
// in kinds. A function says whether a file that begins so is broken; where it
// cannot tell, it is not.
var structures = map[string]func(f io.ReaderAt, size int64) bool{
	"\xff\xd8\xff":                     brokenJPEG,
	"\x89PNG\r\n\x1a\n":                brokenPNG,
	"PK\x03\x04":                       brokenZIP,
	"%PDF-":                            brokenPDF,
	"\x1f\x8b\x08":                     brokenGzip,
	"SQLite format 3\x00":              brokenSQLite,
	"ftyp":                             brokenBoxes,
	"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": brokenOLE,
}

// broken says whether a file of a kind lacks what such a file must hold.
func broken(f io.ReaderAt, size int64, k kind) bool {
	if k == kindNone {
		return false
	}
	look := structures[kinds[k-1].bytes]
	return look != nil && look(f, size)
}

func begin(f io.ReaderAt, size int64) *io.SectionReader {
	return io.NewSectionReader(f, 0, min(size, mostRead))
}

// brokenJPEG follows the segments, and looks whether what is packed between
// them holds marks that cannot be (ITU-T T.81, B.1.1).
func brokenJPEG(f io.ReaderAt, size int64) bool {
	r := bufio.NewReader(begin(f, size))
	if _, err := r.Discard(2); err != nil {
		return false
	}
	for {
		if b, err := r.ReadByte(); err != nil || b != 0xff {
			return err == nil
		}
		mark, err := r.ReadByte()
		for err == nil && mark == 0xff { // filling
			mark, err = r.ReadByte()
		}
		switch {
		case err != nil || mark == 0xd9: // the end
			return false
		case mark < 0xc0:
			return true
		case mark >= 0xd0 && mark <= 0xd7:
			continue
		}
		var length [2]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return false
		}
		n := int(binary.BigEndian.Uint16(length[:])) - 2
		if n < 0 {
			return true
		}
		if _, err := r.Discard(n); err != nil {
			return size <= mostRead // there is less than it says
		}
		if mark != 0xda {
			continue
		}
		if wrong, err := brokenScan(r); wrong || err != nil {
			return wrong
		}
	}
}

// brokenScan reads packed data up to the next segment: behind each 0xff stands
// 0, a restart, or the mark of one of the few segments that may follow.
func brokenScan(r *bufio.Reader) (wrong bool, err error) {
	for {
		b, err := r.Peek(2)
		if err != nil {
			return false, err
		}
		switch {
		case b[0] != 0xff:
			_, _ = r.Discard(1)
		case b[1] == 0 || b[1] >= 0xd0 && b[1] <= 0xd7:
			_, _ = r.Discard(2)
		case b[1] == 0xff:
			_, _ = r.Discard(1)
		default:
			return !bytes.Contains([]byte("\xc4\xd9\xda\xdb\xdc\xdd\xfe"), b[1:2]), nil
		}
	}
}

// brokenPNG compares the checksums of the chunks (ISO/IEC 15948, 5.3).
func brokenPNG(f io.ReaderAt, size int64) bool {
	r := begin(f, size)
	for at := int64(8); ; {
		var head [8]byte
		if _, err := r.ReadAt(head[:], at); err != nil {
			return size <= mostRead // it ends before its end
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if at+12+n > size {
			return true
		}
		if at+12+n > mostRead {
			return false
		}
		sum := crc32.NewIEEE()
		_, err := io.Copy(sum, io.NewSectionReader(r, at+4, n+4))
		var want [4]byte
		if err == nil {
			_, err = r.ReadAt(want[:], at+8+n)
		}
		if err != nil {
			return false
		}
		if sum.Sum32() != binary.BigEndian.Uint32(want[:]) {
			return true
		}
		if string(head[4:]) == "IEND" {
			return false
		}
		at += 12 + n
	}
}

// zipEnd is the longest end of an archive: its record and a comment.
const zipEnd = 22 + 1<<16

// brokenZIP looks for the directory and compares checksums of what it lists
// (APPNOTE.TXT 4.3).
func brokenZIP(f io.ReaderAt, size int64) bool {
	tail := make([]byte, min(size, zipEnd))
	if n, err := f.ReadAt(tail, size-int64(len(tail))); n < len(tail) {
		return !errors.Is(err, io.EOF)
	}
	at := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if at < 0 || len(tail)-at < 22 {
		return true
	}
	if binary.LittleEndian.Uint16(tail[at+10:]) > mostEntries || binary.LittleEndian.Uint32(tail[at+12:]) > mostRead {
		return false
	}
	z, err := zip.NewReader(f, size)
	if err != nil {
		return errors.Is(err, zip.ErrFormat)
	}
	left := int64(mostPacked)
	for _, e := range z.File {
		if e.Flags&1 != 0 || left <= 0 { // encrypted on purpose
			continue
		}
		r, err := e.Open()
		if errors.Is(err, zip.ErrAlgorithm) {
			continue
		}
		if err != nil {
			return true
		}
		n, err := io.Copy(io.Discard, io.LimitReader(r, left))
		_ = r.Close() // it was read, not written
		if left -= n; err != nil {
			return true
		}
	}
	return false
}

var (
	streamWord = []byte("stream")
	flateOnly  = regexp.MustCompile(`/Filter ?/FlateDecode`)
	lengthOf   = regexp.MustCompile(`/Length (\d{1,9})( \d+ R)?`)
	tableAt    = regexp.MustCompile(`startxref\s{1,4}(\d{1,12})`)
	pdfEnd     = []byte("%%EOF")
	encrypted  = []byte("/Encrypt")
)

// brokenPDF looks for the end mark, and unpacks streams (ISO 32000-1, 7.3.8
// and 7.5.5).
func brokenPDF(f io.ReaderAt, size int64) bool {
	tail := make([]byte, min(size, blockSize))
	if n, _ := f.ReadAt(tail, size-int64(len(tail))); n < len(tail) {
		return false // it becomes shorter just now
	}
	if !bytes.Contains(tail, pdfEnd) {
		return true
	}
	b := make([]byte, min(size, mostRead))
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	if b = b[:n]; sealedPDF(f, b, tail) {
		return false // its streams are noise rightly
	}
	left := int64(mostPacked)
	for at := 0; left > 0; {
		i := bytes.Index(b[at:], streamWord)
		if i < 0 {
			return false
		}
		at += i + len(streamWord)
		body, ok := flateStream(b, at)
		if !ok {
			continue
		}
		got, wrong := brokenDeflate(body, left)
		if wrong {
			return true
		}
		left -= got
	}
	return false
}

// sealedPDF says whether a PDF is encrypted as its format provides for.
func sealedPDF(f io.ReaderAt, begin, tail []byte) bool {
	if bytes.Contains(tail, encrypted) || bytes.Contains(begin, encrypted) {
		return true
	}
	m := tableAt.FindSubmatch(tail)
	if m == nil {
		return false
	}
	at, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return false
	}
	table := make([]byte, blockSize)
	n, _ := f.ReadAt(table, at) // a table that is not there says nothing
	return bytes.Contains(table[:n], encrypted)
}

// flateStream is the packed part behind the word that ends at a place of b.
func flateStream(b []byte, at int) ([]byte, bool) {
	const longest = 512
	head := bytes.TrimRight(b[:at-len(streamWord)], "\r\n \t")
	dict := head[max(0, len(head)-longest):]
	open := bytes.LastIndex(dict, []byte("<<"))
	if open < 0 || !bytes.HasSuffix(dict, []byte(">>")) || !flateOnly.Match(dict[open:]) {
		return nil, false
	}
	m := lengthOf.FindSubmatch(dict[open:])
	if m == nil || len(m[2]) > 0 {
		return nil, false
	}
	n, err := strconv.Atoi(string(m[1]))
	body := bytes.TrimPrefix(bytes.TrimPrefix(b[at:], []byte("\r")), []byte("\n"))
	if err != nil || n > len(body) {
		return nil, false
	}
	return body[:n], true
}

func brokenDeflate(b []byte, most int64) (n int64, wrong bool) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return 0, errors.Is(err, zlib.ErrHeader)
	}
	n, err = io.Copy(io.Discard, io.LimitReader(z, most))
	return n, corrupt(err)
}

func corrupt(err error) bool {
	var c flate.CorruptInputError
	return errors.As(err, &c) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, zlib.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF)
}

func brokenGzip(f io.ReaderAt, size int64) bool {
	z, err := gzip.NewReader(bufio.NewReader(io.NewSectionReader(f, 0, size)))
	if err != nil {
		return false
	}
	z.Multistream(false)
	_, err = io.Copy(io.Discard, io.LimitReader(z, mostPacked))
	return corrupt(err)
}

// brokenSQLite looks at the beginning of pages: it says what they are, or
// which page comes next (sqlite.org/fileformat2.html).
func brokenSQLite(f io.ReaderAt, size int64) bool {
	var head [100]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return false
	}
	page := int64(binary.BigEndian.Uint16(head[16:]))
	if page == 1 {
		page = 1 << 16
	}
	if page < 512 || page&(page-1) != 0 {
		return true
	}
	pages := size / page
	each := max(1, pages/mostParts)
	looked, wrong := 0, 0
	for p := int64(1); p < pages && looked < mostParts; p += each {
		var b [4]byte
		if _, err := f.ReadAt(b[:], p*page); err != nil {
			return false
		}
		looked++
		switch b[0] {
		case 1, 2, 3, 4, 5, 10, 13: // a tree, or where pages belong
		default:
			if int64(binary.BigEndian.Uint32(b[:])) > pages {
				wrong++
			}
		}
	}
	return wrong > 0 && wrong*16 >= looked
}

// brokenBoxes follows the boxes of a film or picture (ISO/IEC 14496-12, 4.2).
func brokenBoxes(f io.ReaderAt, size int64) bool {
	at := int64(0)
	for range mostParts {
		var b [16]byte
		if n, _ := f.ReadAt(b[:], at); n < 8 {
			return false
		}
		for _, c := range b[4:8] {
			if c != 0xa9 && (c < ' ' || c > '~') {
				return true
			}
		}
		n := int64(binary.BigEndian.Uint32(b[:]))
		switch {
		case n == 0:
			return false // to the end
		case n == 1:
			n = int64(min(binary.BigEndian.Uint64(b[8:]), 1<<62))
		}
		if n < 8 {
			return true
		}
		if n >= size-at {
			return false
		}
		at += n
	}
	return false
}

// brokenOLE looks at the table of sectors, each entry of which names another
// sector or is one of a few marks ([MS-CFB] 2.3).
func brokenOLE(f io.ReaderAt, size int64) bool {
	var head [512]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return false
	}
	shift := binary.LittleEndian.Uint16(head[30:])
	if shift != 9 && shift != 12 {
		return true
	}
	sector := int64(1) << shift
	table := make([]byte, sector)
	for i := range min(binary.LittleEndian.Uint32(head[44:]), 109) {
		n := int64(binary.LittleEndian.Uint32(head[76+4*i:]))
		if got, _ := f.ReadAt(table, (n+1)*sector); int64(got) < sector {
			return false
		}
		wrong := 0
		for e := 0; e < len(table); e += 4 {
			if v := binary.LittleEndian.Uint32(table[e:]); v < 0xfffffffa && int64(v) > size/sector {
				wrong++
			}
		}
		if wrong*8 > len(table)/4 {
			return true
		}
	}
	return false
}
