// Package pack brings rules from where they lie: folders, single files,
// archives and the packs that Sonae writes itself.
//
// In: paths. Out: a detect.Engine with a report that names each rule by a path
// a person can find; packs that are verified, compared and put in place. Always
// true: an archive is read within bounds; a pack takes the place of the one
// before all at once or not at all, and the one before is kept.
package pack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sonae/sonae/detect/pack/box"
)

// Name is the pack in a folder that `sonae rule update` keeps.
const (
	Name     = "rules.pack"
	Previous = "rules.previous.pack"
)

// source is where rules lie: a tree, and how its files are called.
type source struct {
	tree fs.FS
	call func(name string) string
}

// open finds out what path is. A folder with a pack that `sonae rule update`
// put there is that pack.
func open(p string) (source, error) {
	info, err := os.Stat(p)
	if err != nil {
		return source{}, err
	}
	if info.IsDir() {
		if kept := filepath.Join(p, Name); exists(kept) {
			return open(kept)
		}
		return source{os.DirFS(p), func(name string) string { return filepath.Join(p, filepath.FromSlash(name)) }}, nil
	}
	if isRule(p) {
		name := filepath.Base(p)
		return source{single{os.DirFS(filepath.Dir(p)), name}, func(string) string { return p }}, nil
	}
	b, err := readBounded(p)
	if err != nil {
		return source{}, err
	}
	tree, err := unpack(p, b)
	return source{tree, func(name string) string { return p + "!" + name }}, err
}

// unpack opens a pack, whose name tells what it is.
func unpack(name string, b []byte) (fs.FS, error) {
	switch lower := strings.ToLower(name); {
	case strings.HasSuffix(lower, ".zip"):
		return openZip(b)
	case strings.HasSuffix(lower, ".tar.gz"), strings.HasSuffix(lower, ".tgz"):
		return openTar(b)
	}
	if !box.Is(b) {
		return nil, errors.New("no rules there: give a folder, a .yml file, or a pack (.zip, .tar.gz, .pack)")
	}
	return box.Open(b)
}

func exists(p string) bool { _, err := os.Stat(p); return err == nil }

func readBounded(p string) ([]byte, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	return readFile(f)
}

// readFile reads an open file and closes it.
func readFile(f fs.File) ([]byte, error) {
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, box.MaxBytes+1))
	if err == nil && len(b) > box.MaxBytes {
		err = fmt.Errorf("larger than %d bytes", box.MaxBytes)
	}
	return b, err
}

// Tree opens rules for reading: what `sonae rule update` takes.
func Tree(p string) (fs.FS, error) {
	s, err := open(p)
	if err != nil {
		return nil, fmt.Errorf("open rules %s: %w", p, err)
	}
	return s.tree, nil
}

// openZip shows a zip file as it is, once its list keeps within the bounds.
func openZip(b []byte) (fs.FS, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	total := uint64(0)
	for _, m := range z.File {
		total += m.UncompressedSize64 // the zip reader gives out no more than this
	}
	if len(z.File) > box.MaxFiles || total > box.MaxBytes {
		return nil, errLarge
	}
	return z, nil
}

var errLarge = fmt.Errorf("the pack holds more than %d files or %d bytes", box.MaxFiles, box.MaxBytes)

func openTar(b []byte) (fs.FS, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	files, total := map[string][]byte{}, 0
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return tree(files)
		}
		if err != nil {
			return nil, fmt.Errorf("tar: %w", err)
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || !fs.ValidPath(name) {
			continue
		}
		if err := take(files, &total, name, t); err != nil {
			return nil, fmt.Errorf("tar: %s: %w", h.Name, err)
		}
	}
}

func take(files map[string][]byte, total *int, name string, r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, int64(box.MaxBytes-*total)+1))
	if err != nil {
		return err
	}
	if *total += len(b); *total > box.MaxBytes || len(files) == box.MaxFiles {
		return errLarge
	}
	files[name] = b
	return nil
}

// tree shows files as a tree.
func tree(files map[string][]byte) (fs.FS, error) {
	blob, err := box.Encode(files)
	if err != nil {
		return nil, err
	}
	return box.Open(blob)
}

// single is a folder of which only one file is seen.
type single struct {
	fs.FS
	name string
}

// ReadDir lists the one file.
func (s single) ReadDir(name string) ([]fs.DirEntry, error) {
	info, err := fs.Stat(s.FS, s.name)
	if err != nil || name != "." {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(info)}, nil
}
