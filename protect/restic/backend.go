package restic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is a kind of file in a repository.
type Kind string

// Kinds.
const (
	ConfigFile Kind = "config" // one file, which has no name of its own
	Keys       Kind = "keys"
	Locks      Kind = "locks"
	Snapshots  Kind = "snapshots"
	Index      Kind = "index"
	Data       Kind = "data"
)

// Path is where a file lies in the default layout, with "/".
func (k Kind) Path(name string) string {
	switch {
	case k == ConfigFile:
		return string(ConfigFile)
	case k == Data && len(name) > 2:
		return path.Join(string(Data), name[:2], name)
	}
	return path.Join(string(k), name)
}

// Backend is where the files of a repository lie. It is used by many
// goroutines at once.
type Backend interface {
	// List calls each for every file of a kind, in any order. What is no plain
	// file has the size -1. An error of each ends it.
	List(ctx context.Context, kind Kind, each func(name string, size int64) error) error
	// Open opens a file: fs.ErrNotExist when there is none.
	Open(ctx context.Context, kind Kind, name string) (File, error)
}

// File is one open file.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Folder is a repository in a folder of this machine, in the default layout.
type Folder struct{ root *os.Root }

// OpenFolder opens a folder; links that lead out of it are not followed.
func OpenFolder(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Folder{root}, nil
}

// Close frees the folder.
func (f *Folder) Close() error { return f.root.Close() }

// IsRepository says whether a folder looks like a repository.
func IsRepository(dir string) bool {
	for _, name := range []string{string(ConfigFile), string(Keys), string(Data), string(Index), string(Snapshots)} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// List lists the files of a kind.
func (f *Folder) List(ctx context.Context, kind Kind, each func(string, int64) error) error {
	if kind == ConfigFile {
		return nil
	}
	if kind != Data {
		return f.list(ctx, string(kind), each)
	}
	return f.list(ctx, string(kind), func(dir string, size int64) error {
		if size >= 0 || len(dir) != 2 {
			return each(dir, -1) // nothing but the folders of packs belongs here
		}
		return f.list(ctx, path.Join(string(kind), dir), func(name string, size int64) error {
			if !strings.HasPrefix(name, dir) {
				size = -1 // it would not be found under its name
			}
			return each(name, size)
		})
	})
}

// someNames is how many names of a folder are held at a time.
const someNames = 1024

func (f *Folder) list(ctx context.Context, dir string, each func(string, int64) error) error {
	d, err := f.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := d.ReadDir(someNames)
		for _, e := range entries {
			size := int64(-1)
			if e.Type().IsRegular() {
				info, err := e.Info()
				if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
					continue
				}
				if err != nil {
					return err
				}
				size = info.Size()
			}
			if err := each(e.Name(), size); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Open opens a file.
func (f *Folder) Open(_ context.Context, kind Kind, name string) (File, error) {
	at := kind.Path(name)
	info, err := f.root.Lstat(at)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return nil, fmt.Errorf("%s is not a plain file", at)
	}
	file, err := f.root.Open(at)
	if err != nil {
		return nil, err
	}
	return &plain{file, info.Size()}, nil
}

type plain struct {
	*os.File
	size int64
}

func (p *plain) Size() int64 { return p.size }

// named is a file that was listed.
type named struct {
	name string
	size int64
}

// list returns the files of a kind whose name can be one, by name; odd is told
// of the others, unless it is nil.
func list(ctx context.Context, b Backend, kind Kind, odd func(path string)) ([]named, error) {
	var all []named
	err := b.List(ctx, kind, func(name string, size int64) error {
		if _, err := ParseID(name); err == nil && size >= 0 {
			all = append(all, named{name, size})
		} else if odd != nil {
			odd(kind.Path(name))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// readFile reads a whole file of at most limit bytes.
func readFile(ctx context.Context, b Backend, kind Kind, name string, limit int64) ([]byte, error) {
	f, err := b.Open(ctx, kind, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, fmt.Errorf("it has %d bytes, more than the %d that are read", f.Size(), limit)
	}
	raw := make([]byte, f.Size())
	_, err = io.ReadFull(io.NewSectionReader(f, 0, f.Size()), raw)
	return raw, err
}

var errName = errors.New("its name is not the SHA-256 of its bytes")

// readNamed reads a whole file and compares it with its name. The bytes are
// returned with errName too.
func readNamed(ctx context.Context, b Backend, kind Kind, name string) ([]byte, error) {
	raw, err := readFile(ctx, b, kind, name, maxUnpacked)
	if err == nil && Sum(raw).String() != name {
		err = errName
	}
	return raw, err
}
