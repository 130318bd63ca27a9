package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Target is where a hub is made of a backup.
type Target struct {
	Dir    string // must not exist, or be empty
	State  string // address of an empty PostgreSQL database; empty: a SQLite file in Dir
	Stores map[string]blob.Store
	Log    *slog.Logger
}

// Import makes a hub of a backup and says when that was made. Nothing is put in
// place before every member was compared with the manifest; after an error the
// target is as empty as before.
func Import(ctx context.Context, r io.Reader, key Key, to Target) (at time.Time, err error) {
	if err := emptyDir(to.Dir); err != nil {
		return at, err
	}
	parent := filepath.Dir(filepath.Clean(to.Dir))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return at, fmt.Errorf("import: %w", err)
	}
	dir, err := os.MkdirTemp(parent, ".sonae-import-*")
	if err != nil {
		return at, fmt.Errorf("import: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	u := &unpacked{dir: dir, seen: map[string]member{}}
	if err := u.read(ctx, r, key); err != nil {
		return at, err
	}
	if err := u.place(ctx, to); err != nil {
		return at, fmt.Errorf("import: %w", err)
	}
	return u.head.At, nil
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Conflict, "backup.not-empty", dir).With(err)
	}
	if len(entries) > 0 {
		return fault.New(fault.Conflict, "backup.not-empty", dir)
	}
	return nil
}

// unpacked is a backup whose members lie in a folder of their own.
type unpacked struct {
	dir    string
	head   head
	schema []string
	names  []string // of all members, in their order
	seen   map[string]member
}

// read decrypts, unpacks and compares.
func (u *unpacked) read(ctx context.Context, r io.Reader, key Key) error {
	plain, err := age.Decrypt(r, key.identities...)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return fault.New(fault.Denied, "backup.key")
	}
	if err != nil {
		return fault.New(fault.Invalid, "backup.foreign").With(err)
	}
	in := tar.NewReader(plain)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return damaged("", errors.New("it ends before its manifest"))
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return damaged("", err)
		}
		if len(u.names) == 0 && h.Name != memberHead {
			return fault.New(fault.Invalid, "backup.foreign").With(fmt.Errorf("it begins with %q", h.Name))
		}
		if h.Name == memberManifest {
			return u.compare(in, plain)
		}
		if err := u.member(h, in); err != nil {
			return err
		}
	}
}

func damaged(name string, err error) error {
	return fault.New(fault.Invalid, "backup.damaged", name).With(err)
}

// member unpacks one member. Its name must lead nowhere else.
func (u *unpacked) member(h *tar.Header, in io.Reader) error {
	if !filepath.IsLocal(h.Name) || filepath.ToSlash(filepath.Clean(h.Name)) != h.Name || h.Typeflag != tar.TypeReg || !known(h.Name) {
		return damaged(h.Name, errors.New("it is no member of a backup"))
	}
	to := filepath.Join(u.dir, filepath.FromSlash(h.Name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return damaged(h.Name, errors.New("it is there twice"))
	}
	if err != nil {
		return err
	}
	sum := sha256.New()
	var n int64
	if n, err = io.Copy(onlyWriter{io.MultiWriter(f, sum)}, in); err != nil {
		return errors.Join(damaged(h.Name, err), f.Close())
	}
	if err := errors.Join(f.Chmod(fs.FileMode(h.Mode).Perm()|0o400), f.Sync(), f.Close()); err != nil {
		return err
	}
	u.names = append(u.names, h.Name)
	u.seen[h.Name] = member{h.Name, n, hex.EncodeToString(sum.Sum(nil))}
	if h.Name == memberHead {
		return u.readHead()
	}
	return nil
}

// onlyWriter keeps io.Copy from asking for more.
type onlyWriter struct{ io.Writer }

func known(name string) bool {
	return name == memberHead || name == memberSchema || slices.ContainsFunc([]string{folderState, folderBus, folderHub, folderStore},
		func(folder string) bool { return strings.HasPrefix(name, folder) })
}

// readHead refuses a format that is younger than this program, before all the
// rest is read.
func (u *unpacked) readHead() error {
	if err := u.json(memberHead, &u.head); err != nil || u.head.Format < 1 {
		return fault.New(fault.Invalid, "backup.foreign").With(err)
	}
	if u.head.Format > format {
		return fault.New(fault.Invalid, "state.newer", fmt.Sprint(u.head.Format))
	}
	return nil
}

func (u *unpacked) json(name string, v any) error {
	b, err := os.ReadFile(filepath.Join(u.dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// compare reads the manifest, which must be the last, and to the end of the age
// file, whose last portion proves that nothing was cut off.
func (u *unpacked) compare(in io.Reader, plain io.Reader) error {
	var manifest []member
	if err := json.NewDecoder(in).Decode(&manifest); err != nil {
		return damaged(memberManifest, err)
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return damaged(memberManifest, err)
	}
	if len(manifest) != len(u.seen) {
		return damaged(memberManifest, fmt.Errorf("it lists %d members, %d are there", len(manifest), len(u.seen)))
	}
	for _, m := range manifest {
		if u.seen[m.Name] != m {
			return damaged(m.Name, errors.New("it is not what the manifest says"))
		}
	}
	if err := u.json(memberSchema, &u.schema); err != nil {
		return damaged(memberSchema, err)
	}
	return nil
}

// place makes the hub of what was unpacked.
func (u *unpacked) place(ctx context.Context, to Target) (err error) {
	undo, err := u.objects(ctx, to.Stores)
	defer func() {
		if err != nil {
			err = errors.Join(err, undo())
		}
	}()
	if err != nil {
		return err
	}
	hub := filepath.Join(u.dir, strings.TrimSuffix(folderHub, "/"))
	if err := os.MkdirAll(hub, 0o700); err != nil {
		return err
	}
	if to.State == "" {
		if err := u.load(ctx, filepath.Join(hub, "state.db"), to.Log); err != nil {
			return err
		}
	}
	if err := syncTree(hub); err != nil {
		return err
	}
	if err := os.Remove(to.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder is in the way
		return fault.New(fault.Conflict, "backup.not-empty", to.Dir).With(err)
	}
	if err := os.Rename(hub, to.Dir); err != nil {
		return err
	}
	if to.State != "" {
		if err := u.load(ctx, to.State, to.Log); err != nil {
			return errors.Join(err, os.RemoveAll(to.Dir))
		}
	}
	return syncDir(filepath.Dir(filepath.Clean(to.Dir)))
}

func (u *unpacked) load(ctx context.Context, at string, log *slog.Logger) error {
	return state.Load(ctx, at, state.Content{Schema: u.schema, Lines: u.lines(folderState), Messages: u.messages()}, log)
}

// lines are those of the members of a folder.
func (u *unpacked) lines(folder string) iter.Seq2[[]byte, error] {
	stop := errors.New("enough")
	return func(yield func([]byte, error) bool) {
		for _, name := range prefixed(u.names, folder) {
			f, err := os.Open(filepath.Join(u.dir, filepath.FromSlash(name)))
			if err == nil {
				err = eachLine(f, func(line []byte) error {
					if !yield(line, nil) {
						return stop
					}
					return nil
				})
				err = errors.Join(err, f.Close())
			}
			if errors.Is(err, stop) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

func (u *unpacked) messages() iter.Seq2[state.Message, error] {
	return func(yield func(state.Message, error) bool) {
		for line, err := range u.lines(folderBus) {
			var m state.Message
			if err == nil {
				err = json.Unmarshal(line, &m)
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// objects puts objects into their stores, which must be named and empty. undo
// removes those that were put.
func (u *unpacked) objects(ctx context.Context, stores map[string]blob.Store) (undo func() error, err error) {
	var put []func() error
	undo = func() error {
		var errs []error
		for _, remove := range put {
			errs = append(errs, remove())
		}
		return errors.Join(errs...)
	}
	checked := map[string]bool{}
	for _, member := range prefixed(u.names, folderStore) {
		which, name, _ := strings.Cut(strings.TrimPrefix(member, folderStore), "/")
		s := stores[which]
		if s == nil {
			return undo, fault.New(fault.Invalid, "backup.store", which)
		}
		if !checked[which] {
			checked[which] = true
			if err := s.List(ctx, "", "", func(blob.Info) error { return fault.New(fault.Conflict, "backup.not-empty", which) }); err != nil {
				return undo, err
			}
		}
		if err := u.object(ctx, s, name, member); err != nil {
			return undo, err
		}
		put = append(put, func() error { return s.Remove(context.WithoutCancel(ctx), name) })
	}
	return undo, nil
}

func (u *unpacked) object(ctx context.Context, s blob.Store, name, member string) error {
	f, err := os.Open(filepath.Join(u.dir, filepath.FromSlash(member)))
	if err != nil {
		return err
	}
	return errors.Join(s.Put(ctx, name, f, u.seen[member].Bytes), f.Close())
}

// syncTree makes the names in all folders durable; the files are.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncDir(p)
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
