package evtx

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
)

// kind is the type of a value.
type kind uint8

const (
	kindNull     kind = 0x00
	kindString   kind = 0x01 // UTF-16
	kindANSI     kind = 0x02
	kindInt8     kind = 0x03
	kindUint8    kind = 0x04
	kindInt16    kind = 0x05
	kindUint16   kind = 0x06
	kindInt32    kind = 0x07
	kindUint32   kind = 0x08
	kindInt64    kind = 0x09
	kindUint64   kind = 0x0a
	kindFloat    kind = 0x0b
	kindDouble   kind = 0x0c
	kindBool     kind = 0x0d // 4 bytes
	kindBinary   kind = 0x0e
	kindGUID     kind = 0x0f
	kindSize     kind = 0x10 // 4 or 8 bytes
	kindFileTime kind = 0x11
	kindSysTime  kind = 0x12
	kindSID      kind = 0x13
	kindHex32    kind = 0x14
	kindHex64    kind = 0x15
	kindHandle   kind = 0x20
	kindXML      kind = 0x21 // binary
	kindEvtXML   kind = 0x23
	kindArray    kind = 0x80 // of the kind in the other bits
)

// format appends the text of v to the arena, as evtx_dump writes it.
func (d *Decoder) format(v value) string {
	if d.steps += len(v.data) / 16; len(d.arena)+4*len(v.data) > maxArena {
		return "too much text in one record"
	}
	if v.kind&kindArray != 0 {
		return d.formatArray(v)
	}
	d.arena = appendValue(d.arena, v)
	return ""
}

// formatArray is an array amid other text.
func (d *Decoder) formatArray(v value) string {
	for first := true; len(v.data) > 0; first = false {
		one, size := v.first()
		if size == 0 {
			return ""
		}
		if !first {
			d.arena = append(d.arena, ',')
		}
		v.data = v.data[size:]
		d.arena = appendValue(d.arena, one)
	}
	return ""
}

// first returns the first value of an array and how many bytes it takes, 0
// when they are not enough for one.
func (v value) first() (value, int) {
	of := v.kind &^ kindArray
	size := 0
	switch of {
	case kindString:
		text, size := untilZero(v.data)
		return value{kind: of, data: text}, size
	case kindANSI:
		text, _, _ := bytes.Cut(v.data, []byte{0})
		return value{kind: of, data: text}, min(len(text)+1, len(v.data))
	case kindInt8, kindUint8:
		size = 1
	case kindInt16, kindUint16:
		size = 2
	case kindInt32, kindUint32, kindFloat, kindBool, kindHex32:
		size = 4
	case kindInt64, kindUint64, kindDouble, kindFileTime, kindHex64, kindSize, kindHandle:
		size = 8
	case kindGUID, kindSysTime:
		size = 16
	case kindSID:
		size = sidSize(v.data)
	default:
		of, size = kindBinary, len(v.data)
	}
	if size > len(v.data) {
		size = 0
	}
	return value{kind: of, data: v.data[:size]}, size
}

// untilZero cuts wide after its first zero and says how much that takes.
func untilZero(wide []byte) (text []byte, size int) {
	for i := 0; i+1 < len(wide); i += 2 {
		if wide[i] == 0 && wide[i+1] == 0 {
			return wide[:i], i + 2
		}
	}
	return wide, len(wide)
}

// trim removes zeroes from the end of UTF-16: some programs count them in.
func trim(wide []byte) []byte {
	n := len(wide) &^ 1
	for n > 0 && wide[n-1] == 0 && wide[n-2] == 0 {
		n -= 2
	}
	return wide[:n:n]
}

// appendValue appends the text of a value that is no array and no XML. A
// value of the wrong size is written as the bytes it has.
func appendValue(dst []byte, v value) []byte {
	switch v.kind {
	case kindNull, kindXML:
		return dst
	case kindString, kindEvtXML:
		return (&event.Pair{Value: trim(v.data), Enc: event.UTF16}).AppendText(dst)
	case kindANSI:
		return appendANSI(dst, bytes.TrimRight(v.data, "\x00"))
	case kindGUID:
		return appendGUID(dst, v.data)
	case kindSID:
		return appendSID(dst, v.data)
	case kindSysTime:
		return appendSysTime(dst, v.data)
	case kindBinary:
		return appendBinary(dst, v.data)
	}
	n, ok := number(v.data)
	if !ok {
		return appendBinary(dst, v.data)
	}
	return appendNumber(dst, v.kind, n, len(v.data))
}

// number reads a little endian number of 1, 2, 4 or 8 bytes.
func number(b []byte) (uint64, bool) {
	switch len(b) {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(le.Uint16(b)), true
	case 4:
		return uint64(le.Uint32(b)), true
	case 8:
		return le.Uint64(b), true
	}
	return 0, false
}

// appendNumber appends the number n of size bytes.
func appendNumber(dst []byte, k kind, n uint64, size int) []byte {
	switch k {
	case kindInt8, kindInt16, kindInt32, kindInt64:
		shift := 64 - 8*size
		return strconv.AppendInt(dst, int64(n<<shift)>>shift, 10)
	case kindUint8, kindUint16, kindUint32, kindUint64, kindSize:
		return strconv.AppendUint(dst, n, 10)
	case kindBool:
		return strconv.AppendBool(dst, n != 0)
	case kindHex32, kindHex64, kindHandle:
		return strconv.AppendUint(append(dst, "0x"...), n, 16)
	case kindFloat:
		return strconv.AppendFloat(dst, float64(math.Float32frombits(uint32(n))), 'f', -1, 32)
	case kindDouble:
		return strconv.AppendFloat(dst, math.Float64frombits(n), 'f', -1, 64)
	case kindFileTime:
		if n <= 1<<62 {
			return appendTime(dst, time.Unix(int64(n/1e7)-until1970, int64(n%1e7)*100).UTC())
		}
	}
	return strconv.AppendUint(append(dst, "0x"...), n, 16)
}

// appendANSI appends text in the code page of the machine that wrote it,
// which the log does not name: UTF-8 when it is that, else Latin-1.
func appendANSI(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return append(dst, b...)
	}
	for _, c := range b {
		dst = utf8.AppendRune(dst, rune(c))
	}
	return dst
}

func appendBinary(dst, b []byte) []byte {
	from := len(dst)
	dst = hex.AppendEncode(dst, b)
	for i := from; i < len(dst); i++ {
		if dst[i] >= 'a' {
			dst[i] -= 'a' - 'A'
		}
	}
	return dst
}

// appendGUID appends a GUID without braces: its first three groups are little
// endian numbers.
func appendGUID(dst, b []byte) []byte {
	if len(b) != 16 {
		return appendBinary(dst, b)
	}
	swapped := [16]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}
	copy(swapped[8:], b[8:])
	for i, group := range [...][]byte{swapped[:4], swapped[4:6], swapped[6:8], swapped[8:10], swapped[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = appendBinary(dst, group)
	}
	return dst
}

// sidSize is how many bytes the SID at the beginning of b has.
func sidSize(b []byte) int {
	if len(b) < 8 {
		return 8
	}
	return 8 + 4*int(b[1])
}

// appendSID appends S-revision-authority-number-number…
func appendSID(dst, b []byte) []byte {
	if len(b) < 8 || len(b) < sidSize(b) {
		return appendBinary(dst, b)
	}
	dst = strconv.AppendUint(append(dst, "S-"...), uint64(b[0]), 10)
	authority := uint64(0)
	for _, c := range b[2:8] {
		authority = authority<<8 | uint64(c)
	}
	dst = strconv.AppendUint(append(dst, '-'), authority, 10)
	for rest := b[8:sidSize(b)]; len(rest) > 0; rest = rest[4:] {
		dst = strconv.AppendUint(append(dst, '-'), uint64(le.Uint32(rest)), 10)
	}
	return dst
}

// appendSysTime appends a SYSTEMTIME: year, month, day of the week, day, hour,
// minute, second, millisecond.
func appendSysTime(dst, b []byte) []byte {
	if len(b) != 16 {
		return appendBinary(dst, b)
	}
	at := func(i int) int { return int(le.Uint16(b[2*i:])) }
	return appendTime(dst, time.Date(at(0), time.Month(at(1)), at(3), at(4), at(5), at(6), at(7)*1e6, time.UTC))
}

func appendTime(dst []byte, t time.Time) []byte {
	return t.AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
}
