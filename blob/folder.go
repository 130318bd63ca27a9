package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
)

// folder keeps each object in a file of its name. New content is written
// beside, in own, and gets its name when it is whole and synced: by link(2),
// which never replaces, or under the lock of the folder by rename(2).
type folder struct{ dir string }

// abandoned is how old a file of a killed writer must be to be swept.
const abandoned = 24 * time.Hour

// OpenFolder opens a store in a folder, which is made when it is missing.
func OpenFolder(dir string) (Store, error) {
	f := &folder{dir}
	if err := os.MkdirAll(f.own(), 0o700); err != nil {
		return nil, fmt.Errorf("open folder %s: %w", dir, err)
	}
	if err := f.sweep(); err != nil {
		return nil, fmt.Errorf("open folder %s: %w", dir, err)
	}
	return f, nil
}

func (f *folder) own(elem ...string) string {
	return filepath.Join(append([]string{f.dir, own}, elem...)...)
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

// sweep removes what killed writers left behind a day ago.
func (f *folder) sweep() error {
	found, err := filepath.Glob(f.own("new-*"))
	if err != nil {
		return err
	}
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > abandoned {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (f *folder) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := os.Lstat(f.path(name)); err == nil {
		return exists(name) // before it costs anything
	}
	part, err := f.write(ctx, &sized{r, size})
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	defer func() { _ = os.Remove(part) }() // swept later at the latest
	return f.publish(name, part, os.Link)
}

// write stores a body in a file beside, synced.
func (f *folder) write(ctx context.Context, r io.Reader) (path string, err error) {
	file, err := os.CreateTemp(f.own(), "new-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(file, stoppable{ctx, r})
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// publish gives a written file its name; that is durable when it returns.
func (f *folder) publish(name, part string, give func(from, to string) error) error {
	to := f.path(name)
	err := f.makeParents(name)
	if err == nil {
		err = give(part, to)
	}
	if err == nil {
		err = syncDir(filepath.Dir(to))
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return exists(name)
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR):
		return fault.New(fault.Invalid, "blob.name", name).With(err)
	case err != nil:
		return fmt.Errorf("store %s: %w", name, err)
	}
	return nil
}

// makeParents makes the folders of a name; each is durable in the one above.
func (f *folder) makeParents(name string) error {
	dir := f.dir
	segments := strings.Split(name, "/")
	for _, segment := range segments[:len(segments)-1] {
		above := dir
		dir = filepath.Join(dir, segment)
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			err = syncDir(above)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// Replace holds the lock of the folder, so that of several writers with the
// same tag one succeeds.
func (f *folder) Replace(ctx context.Context, name string, body []byte, tag string) (string, error) {
	if err := checkReplace(name, body); err != nil {
		return "", err
	}
	part, err := f.write(ctx, bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("replace %s: %w", name, err)
	}
	defer func() { _ = os.Remove(part) }() // gone already when it was renamed
	unlock, err := f.lock()
	if err != nil {
		return "", fmt.Errorf("replace %s: %w", name, err)
	}
	defer unlock()
	give := os.Rename
	if tag == "" {
		give = os.Link // Put does not ask for the lock
	} else if present, err := f.tag(name); err != nil || present != tag {
		return "", errors.Join(err, changed(name))
	}
	if err := f.publish(name, part, give); IsExists(err) {
		return "", changed(name)
	} else if err != nil {
		return "", err
	}
	return tagOf(body), nil
}

func checkReplace(name string, body []byte) error {
	if len(body) > MaxReplace {
		return fault.New(fault.Invalid, "blob.large", name, MaxReplace>>20)
	}
	return checkName(name)
}

// lock waits for the lock of the folder; the kernel drops it when the process
// ends.
func (f *folder) lock() (unlock func(), err error) {
	file, err := os.OpenFile(f.own("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// tag is that of the present version, "" when there is none.
func (f *folder) tag(name string) (string, error) {
	body, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return tagOf(body), nil
}

func tagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func (f *folder) Get(_ context.Context, name string) (io.ReadCloser, Info, error) {
	if err := checkName(name); err != nil {
		return nil, Info{}, err
	}
	file, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, Info{}, missing(name)
	}
	if err != nil {
		return nil, Info{}, fmt.Errorf("get %s: %w", name, err)
	}
	stat, err := file.Stat()
	if err == nil && stat.IsDir() {
		return nil, Info{}, errors.Join(missing(name), file.Close())
	}
	info := Info{Name: name}
	if err == nil {
		info.Size, info.At = stat.Size(), stat.ModTime()
	}
	if err != nil || info.Size > MaxReplace {
		return file, info, err
	}
	body, err := io.ReadAll(file) // what Replace may replace, whole, for its tag
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, Info{}, fmt.Errorf("get %s: %w", name, err)
	}
	info.Tag = tagOf(body)
	return io.NopCloser(bytes.NewReader(body)), info, nil
}

// List walks in the order of whole names, in which a folder stands where its
// name with a slash does.
func (f *folder) List(ctx context.Context, prefix, after string, each func(Info) error) error {
	if err := f.walk(ctx, "", prefix, after, each); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	return nil
}

func (f *folder) walk(ctx context.Context, dir, prefix, after string, each func(Info) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(f.dir, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := dir + e.Name()
		if e.IsDir() {
			name += "/"
		}
		if e.Name() != own && overlaps(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		isDir := strings.HasSuffix(name, "/")
		switch {
		case name <= after && !(isDir && strings.HasPrefix(after, name)):
			continue
		case isDir:
			err = f.walk(ctx, name, prefix, after, each)
		default:
			err = f.tell(name, each)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overlaps says whether something under name can begin with prefix.
func overlaps(name, prefix string) bool {
	return strings.HasPrefix(name, prefix) || strings.HasSuffix(name, "/") && strings.HasPrefix(prefix, name)
}

func (f *folder) tell(name string, each func(Info) error) error {
	stat, err := os.Stat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	return each(Info{Name: name, Size: stat.Size(), At: stat.ModTime()})
}

// Remove takes the lock of the folder: an object that Replace has just looked
// at must not go away under it.
func (f *folder) Remove(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	unlock, err := f.lock()
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	defer unlock()
	err = unix.Unlink(f.path(name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR) {
		return nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.path(name)))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// stoppable is a reader that ends with a context.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
