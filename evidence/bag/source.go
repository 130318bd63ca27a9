package bag

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxFiles bounds how many files a bag can have.
const maxFiles = 1_000_000

// file is one file of a bag.
type file struct {
	size int64
	open func() (io.ReadCloser, error)
}

func (f *file) hash(w io.Writer) error {
	r, err := f.open()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if e := r.Close(); err == nil {
		err = e
	}
	return err
}

// source is a bag in a folder or in a zip.
type source struct {
	files       map[string]*file // by path from the bag's folder
	differences []Difference     // what the container itself shows
	close       func() error
	container   func(*Report) error // checks the bytes around the files
}

func (s *source) names() []string {
	out := make([]string, 0, len(s.files))
	for n := range s.files {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func open(name string) (*source, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("verify bag: %w", err)
	}
	if st.IsDir() {
		return openFolder(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("verify bag: %w", err)
	}
	s, err := openZip(f, st.Size())
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.close = f.Close
	return s, nil
}

func openFolder(dir string) (*source, error) {
	s := &source{files: map[string]*file{}, close: func() error { return nil }, container: func(*Report) error { return nil }}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if !d.Type().IsRegular() { // a link could lead anywhere
			s.differences = append(s.differences, Difference{rel, "is not a regular file"})
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if len(s.files) >= maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		s.files[rel] = &file{size: info.Size(), open: func() (io.ReadCloser, error) { return os.Open(p) }}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify bag: %w", err)
	}
	return s, nil
}

// openZip reads a zip that has the bag in one folder.
func openZip(r io.ReaderAt, size int64) (*source, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotABag, err)
	}
	if len(z.File) > maxFiles {
		return nil, fmt.Errorf("verify bag: more than %d files", maxFiles)
	}
	s := &source{files: map[string]*file{}, close: func() error { return nil }}
	root := ""
	for _, f := range z.File {
		top, rel, ok := strings.Cut(f.Name, "/")
		if root == "" {
			root = top
		}
		switch {
		case !ok || top != root || !fs.ValidPath(rel) || f.Mode()&fs.ModeType != 0:
			s.differences = append(s.differences, Difference{f.Name, "cannot be a file of the bag"})
		case s.files[rel] != nil:
			s.differences = append(s.differences, Difference{rel, "is there twice"})
		case f.Method != zip.Store: // also bounds what reading can cost
			s.differences = append(s.differences, Difference{rel, "is compressed, which the hub does not do"})
		default:
			s.files[rel] = &file{size: int64(min(f.UncompressedSize64, 1<<62)), open: f.Open}
		}
	}
	s.container = func(rep *Report) error { return s.sameZip(rep, r, size, root) }
	return s, nil
}

// Zip writes files, given in any order, as the one zip that Verify expects:
// sorted, not compressed, without times. dir is the folder inside.
func Zip(w io.Writer, dir string, names []string, open func(name string) (io.ReadCloser, error)) error {
	names = slices.Clone(names)
	slices.Sort(names)
	z := zip.NewWriter(w)
	for _, n := range names {
		h := &zip.FileHeader{Name: path.Join(dir, n), Method: zip.Store, Modified: zipTime}
		out, err := z.CreateHeader(h)
		if err != nil {
			return fmt.Errorf("zip %s: %w", n, err)
		}
		in, err := open(n)
		if err != nil {
			return fmt.Errorf("zip %s: %w", n, err)
		}
		_, err = io.Copy(out, in)
		if e := in.Close(); err == nil {
			err = e
		}
		if err != nil {
			return fmt.Errorf("zip %s: %w", n, err)
		}
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("zip: %w", err)
	}
	return nil
}

// zipTime is the earliest moment a zip can express.
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// sameZip writes the zip again and compares it byte for byte, so that changes
// between the files are named as well.
func (s *source) sameZip(rep *Report, r io.ReaderAt, size int64, root string) error {
	if len(rep.Differences) > 0 { // a file that differs is the better name
		return nil
	}
	c := &comparer{want: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16)}
	err := Zip(c, root, s.names(), func(n string) (io.ReadCloser, error) { return s.files[n].open() })
	if err == nil {
		if _, e := c.want.ReadByte(); e == nil {
			err = errDiffers
		}
	}
	if errors.Is(err, errDiffers) {
		rep.Differences = append(rep.Differences, Difference{"(zip)", fmt.Sprintf("byte %d is not as the hub writes it; the files inside are intact", c.at)})
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify bag: %w", err)
	}
	return nil
}

var errDiffers = errors.New("differs")

// comparer is a writer that compares with what should be written.
type comparer struct {
	want *bufio.Reader
	at   int64
}

func (c *comparer) Write(p []byte) (int, error) {
	for n, b := range p {
		w, err := c.want.ReadByte()
		if err != nil || w != b {
			return n, errDiffers
		}
		c.at++
	}
	return len(p), nil
}
