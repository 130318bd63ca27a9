package ring

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segment is one file of the ring, named by its first page.
type segment struct {
	seq         uint64
	size        int64 // bytes
	first, last int64 // ns since 1970, of its packets
	known       bool  // first and last are exact; otherwise they are guesses from the first block and the file
}

const suffix = ".ring"

func (r *Ring) path(seq uint64) string {
	return filepath.Join(r.conf.Dir, fmt.Sprintf("%016x%s", seq, suffix))
}

// segments lists the files of a folder, oldest first. Empty ones are removed.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []segment
	for _, e := range entries {
		name, ours := strings.CutSuffix(e.Name(), suffix)
		seq, err := strconv.ParseUint(name, 16, 64)
		if !ours || err != nil || len(name) != 16 {
			continue
		}
		g, err := look(filepath.Join(dir, e.Name()), seq)
		if err != nil {
			return nil, err
		}
		if g.size > 0 {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b segment) int { return int(min(max(int64(a.seq-b.seq), -1), 1)) })
	return all, nil
}

// look returns what a file says at a glance, and removes one that says nothing.
func look(path string, seq uint64) (segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return segment{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return segment{}, err
	}
	h, err := headAt(f, 0, seq)
	if err != nil {
		return segment{}, os.Remove(path)
	}
	return segment{seq: seq, size: info.Size(), first: h.first, last: info.ModTime().UnixNano()}, nil
}

// Reasons why a block cannot be had.
var (
	errHead = errors.New("no block here")
	errBody = errors.New("damaged block")
)

// headAt reads the head of the block at an offset of a segment. io.EOF says
// that there is nothing more.
func headAt(f io.ReaderAt, at int64, segment uint64) (head, error) {
	page := make([]byte, headSize)
	if n, err := f.ReadAt(page, at); n == 0 && errors.Is(err, io.EOF) {
		return head{}, io.EOF
	} else if n < headSize {
		return head{}, errHead
	}
	h, ok := readHead(page)
	if !ok || h.seq != segment+uint64(at/align) {
		return head{}, errHead
	}
	return h, nil
}

// walk calls f for every head of a segment. It ends at the first that cannot
// be read, which after a crash is the block that was being written: what may
// follow is not searched, because packets could be made to look like blocks.
func (r *Ring) walk(g *segment, f func(at int64, h head)) error {
	file, err := os.Open(r.path(g.seq))
	if err != nil {
		return err
	}
	defer file.Close()
	first, last := int64(1<<63-1), int64(-1<<63)
	for at := int64(0); at < g.size; {
		h, err := headAt(file, at, g.seq)
		if err != nil {
			break
		}
		first, last = min(first, h.first), max(last, h.last)
		f(at, h)
		at += int64(h.size)
	}
	g.first, g.last, g.known = first, last, true
	return nil
}
