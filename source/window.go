package source

import (
	"errors"
	"io"
)

// MaxRecord bounds a line, or a record of several lines, in bytes. What is
// longer is reported and left out.
const MaxRecord = 1 << 20

const firstWindow = 128 << 10

// Window is the part of a stream that its reader looks at. It grows as far as
// its reader asks for, a little beyond MaxRecord.
type Window struct {
	r          io.Reader
	buf        []byte
	start, end int
	offset     int64 // of buf[start] in the stream
	err        error // why nothing more comes
}

// NewWindow begins to look at r. Text in UTF-16 (told by its byte order mark)
// is seen as UTF-8; a byte order mark is not seen.
func NewWindow(r io.Reader) *Window {
	w := &Window{r: r, buf: make([]byte, firstWindow)}
	for w.end < 4 && w.More() {
		continue
	}
	switch b := w.Bytes(); {
	case len(b) >= 3 && string(b[:3]) == "\xef\xbb\xbf":
		w.Skip(3)
	case len(b) >= 2 && (string(b[:2]) == "\xff\xfe" || string(b[:2]) == "\xfe\xff"):
		head := append([]byte(nil), b[2:]...)
		u := &utf16Reader{r: r, raw: head, big: b[0] == 0xfe, err: w.err}
		w.r, w.err, w.start, w.end = u, nil, 0, 0
	}
	return w
}

// Bytes is what is seen now. It is good until More or Skip.
func (w *Window) Bytes() []byte { return w.buf[w.start:w.end] }

// Offset is where Bytes begins, from the beginning of the stream.
func (w *Window) Offset() int64 { return w.offset }

// Seen is how many bytes came so far.
func (w *Window) Seen() int64 { return w.offset + int64(w.end-w.start) }

// Ended says whether nothing follows Bytes.
func (w *Window) Ended() bool { return w.err != nil }

// Record is Bytes as far as one record may reach.
func (w *Window) Record() []byte { return w.buf[w.start:min(w.end, w.start+MaxRecord)] }

// Full says whether Bytes holds more than one record may have.
func (w *Window) Full() bool { return w.end-w.start > MaxRecord }

// Err is what ended the stream before its end.
func (w *Window) Err() error {
	if errors.Is(w.err, io.EOF) {
		return nil
	}
	return w.err
}

// Skip moves the beginning of Bytes.
func (w *Window) Skip(n int) {
	w.start += n
	w.offset += int64(n)
}

// More makes Bytes longer. It says no when the stream has ended, or when Bytes
// is longer than a record may be.
func (w *Window) More() bool {
	if w.err != nil || w.Full() {
		return false
	}
	w.makeRoom()
	for range 100 { // as bufio does with readers that give nothing
		n, err := w.r.Read(w.buf[w.end:])
		w.end += n
		w.err = err
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	w.err = io.ErrNoProgress
	return false
}

// makeRoom leaves at least a quarter of the buffer behind end.
func (w *Window) makeRoom() {
	if w.start > 0 {
		copy(w.buf, w.buf[w.start:w.end])
		w.start, w.end = 0, w.end-w.start
	}
	if w.end <= len(w.buf)*3/4 {
		return
	}
	bigger := make([]byte, 2*len(w.buf))
	copy(bigger, w.buf[:w.end])
	w.buf = bigger
}
