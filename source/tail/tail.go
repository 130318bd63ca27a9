// Package tail follows text files through rotation.
//
// In: the name of a file that somebody else writes. Out: its lines as they
// come, and a mark by which to go on after a restart. Always true: a line is
// handed over whole and once, unless it was not taken; a file that was renamed
// is read to its end before the new one; what is held of one line is bounded.
package tail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// MaxLine bounds one line in bytes; the rest of a longer one is cut.
const MaxLine = 64 << 10

// File follows one file. It is not safe for concurrent use.
type File struct {
	path string

	file *os.File
	info os.FileInfo
	at   int64  // offset of the next byte to read
	part []byte // line without an end yet
	skip bool   // inside a line that is too long
}

// New follows a file, which need not be there yet.
func New(path string) *File { return &File{path: path} }

// Path is the name of the file.
func (t *File) Path() string { return t.path }

// Open says whether the file was there when it was looked for last.
func (t *File) Open() bool { return t.file != nil }

// Head returns the first bytes of the file that is followed, at most n.
func (t *File) Head(n int) []byte {
	if t.file == nil {
		return nil
	}
	b := make([]byte, n)
	got, _ := t.file.ReadAt(b, 0) // what is there
	return b[:got]
}

// At is the offset up to which lines were handed over.
func (t *File) At() int64 { return t.at - int64(len(t.part)) }

// Mark is what Resume needs: which file, and how far.
func (t *File) Mark() string { return fmt.Sprintf("%s %d", identity(t.info), t.At()) }

// Resume opens the file where a mark says, or at its end when it is not known.
func (t *File) Resume(mark string) {
	if !t.openFile() {
		return // it does not exist yet: all of it will be new
	}
	t.at = t.info.Size()
	var id string
	var at int64
	if n, err := fmt.Sscanf(mark, "%s %d", &id, &at); err != nil || n != 2 {
		return
	}
	if id != identity(t.info) { // rotated while nobody looked
		t.at = 0
	} else if at >= 0 && at <= t.at {
		t.at = at
	}
}

func (t *File) openFile() bool {
	f, err := os.Open(t.path)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return false
	}
	t.file, t.info, t.at, t.part, t.skip = f, info, 0, nil, false
	return true
}

// Close lets go of the file.
func (t *File) Close() {
	if t.file != nil {
		_ = t.file.Close() // only read
		t.file = nil
	}
}

// Poll reads what is new. A file that was replaced is read to its end first.
func (t *File) Poll(line func(string) bool) {
	if t.file == nil && !t.openFile() {
		return
	}
	if info, err := t.file.Stat(); err == nil && info.Size() < t.at { // truncated in place
		t.at, t.part, t.skip = 0, nil, false
	}
	t.read(line)
	now, err := os.Stat(t.path)
	if err == nil && !os.SameFile(now, t.info) {
		t.read(line)
		t.Close()
		if t.openFile() {
			t.read(line)
		}
	}
}

func (t *File) read(line func(string) bool) {
	r := bufio.NewReaderSize(io.NewSectionReader(t.file, t.at, 1<<62), 32<<10)
	for {
		chunk, err := r.ReadSlice('\n')
		if !t.take(chunk, line) {
			return
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// take adds a piece of the file and hands over the line that it completes. It
// returns false, and has not moved on, when the line was not taken.
func (t *File) take(chunk []byte, line func(string) bool) bool {
	whole := bytes.HasSuffix(chunk, []byte("\n"))
	if !t.skip {
		t.part = append(t.part, chunk...)
		if whole || len(t.part) >= MaxLine {
			s := strings.TrimRight(string(t.part[:min(len(t.part), MaxLine)]), "\r\n")
			if !utf8.ValidString(s) {
				s = strings.ToValidUTF8(s, "\uFFFD")
			}
			if s != "" && !line(s) {
				t.part = t.part[:len(t.part)-len(chunk)]
				return false
			}
			t.part, t.skip = t.part[:0], !whole
		}
		t.at += int64(len(chunk))
		return true
	}
	t.skip = !whole
	t.at += int64(len(chunk))
	return true
}
