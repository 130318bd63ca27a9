package copy

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// target is where the files of one repository are copied to.
type target interface {
	restic.Backend
	// put stores a file, whole or not at all. over says that there is one that
	// is not right.
	put(ctx context.Context, kind restic.Kind, name string, r io.Reader, size int64, over bool) error
	io.Closer
}

// folder is a target in a folder, in restic's default layout. It uses nothing
// that the file systems of removable media lack: no links, no rights.
type folder struct {
	*restic.Folder
	dir string
}

// partDir holds what is being written; restic never looks there.
const partDir = ".part"

func openFolder(dir string) (target, error) {
	if info, err := os.Stat(filepath.Dir(dir)); err != nil || !info.IsDir() {
		return nil, fault.New(fault.Busy, "protect.copy.no-folder", filepath.Dir(dir)).With(err) // not mounted: never fill what lies below
	}
	for _, kind := range []string{"", partDir, string(restic.Keys), string(restic.Snapshots), string(restic.Index), string(restic.Data), string(restic.Locks)} {
		if err := os.MkdirAll(filepath.Join(dir, kind), 0o700); err != nil {
			return nil, fault.New(fault.Busy, "protect.copy.no-folder", dir).With(err)
		}
	}
	f, err := restic.OpenFolder(dir)
	if err != nil {
		return nil, fault.New(fault.Busy, "protect.copy.no-folder", dir).With(err)
	}
	return &folder{f, dir}, nil
}

func (f *folder) put(_ context.Context, kind restic.Kind, name string, r io.Reader, size int64, _ bool) error {
	part, err := os.CreateTemp(filepath.Join(f.dir, partDir), "new-*")
	if err != nil {
		return err
	}
	n, err := io.Copy(part, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = part.Sync()
	}
	if err = errors.Join(err, part.Close()); err == nil {
		err = f.publish(part.Name(), filepath.Join(f.dir, filepath.FromSlash(kind.Path(name))))
	}
	if err != nil {
		return errors.Join(err, removed(part.Name()))
	}
	return nil
}

func (f *folder) publish(part, to string) error {
	dir := filepath.Dir(to)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = syncDir(filepath.Dir(dir))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return syncDir(dir)
}

func removed(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes the names in a folder durable, where the file system can.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}

// Close frees the folder, and drops what an interrupted run left.
func (f *folder) Close() error {
	return errors.Join(f.Folder.Close(), os.RemoveAll(filepath.Join(f.dir, partDir)))
}
