package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

	"filippo.io/age"

	"github.com/sonae/sonae/blob"
)

// Members of the tar, in their order. Folders hold any number of members.
const (
	memberHead     = "sonae.json"    // that it is one of ours
	memberSchema   = "schema.json"   // migrations that the state had seen
	folderState    = "state/"        // its tables, JSON lines, in portions
	folderBus      = "bus/"          // what waited on the bus, JSON lines, in portions
	folderHub      = "hub/"          // files of the hub's folder
	folderStore    = "store/"        // objects of shared stores
	memberManifest = "manifest.json" // the last: SHA-256 of all before it
)

// format is the version of the layout above.
const format = 1

// portion is about how many bytes of JSON lines a member holds.
const portion = 4 << 20

// head is what the first member says.
type head struct {
	Format int       `json:"format"`
	At     time.Time `json:"at"`
}

// member is what the manifest says of another member.
type member struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// writer writes members and keeps their sums.
type writer struct {
	ctx  context.Context
	tar  *tar.Writer
	at   time.Time
	made []member
}

// write writes the moment into an age file.
func (c *moment) write(ctx context.Context, at time.Time, w io.Writer, lock Lock) error {
	sealed, err := age.Encrypt(w, lock.recipients...)
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	buffered := bufio.NewWriterSize(sealed, 1<<20)
	out := &writer{ctx: ctx, tar: tar.NewWriter(buffered), at: at}
	if err := c.members(ctx, out); err != nil {
		return err
	}
	return errors.Join(out.tar.Close(), buffered.Flush(), sealed.Close())
}

func (c *moment) members(ctx context.Context, out *writer) error {
	if err := out.json(memberHead, head{format, out.at}); err != nil {
		return err
	}
	schema, err := c.rows.Schema(ctx)
	if err != nil {
		return err
	}
	if err := out.json(memberSchema, schema); err != nil {
		return err
	}
	rows := &lines{out: out, folder: folderState}
	if err := errors.Join(c.rows.Dump(ctx, rows.add), rows.flush()); err != nil {
		return err
	}
	if err := c.busMembers(out); err != nil {
		return err
	}
	if err := c.files(out); err != nil {
		return err
	}
	for _, name := range slices.Sorted(mapKeys(c.parts.Stores)) {
		if err := out.objects(name, c.parts.Stores[name]); err != nil {
			return fmt.Errorf("store %s: %w", name, err)
		}
	}
	return out.json(memberManifest, out.made)
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (c *moment) busMembers(out *writer) error {
	f, err := os.Open(c.bus)
	if err != nil {
		return err
	}
	defer f.Close()
	messages := &lines{out: out, folder: folderBus}
	err = eachLine(f, messages.add)
	return errors.Join(err, messages.flush())
}

// files writes the hub's folder: what is pinned from its pin, the rest from
// where it is.
func (c *moment) files(out *writer) error {
	entries, err := os.ReadDir(c.parts.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		root := c.parts.Dir
		if left(e.Name()) {
			continue
		}
		if slices.ContainsFunc(places(), func(p place) bool { return p.dir == e.Name() }) {
			root = c.dir
		}
		if err := out.tree(root, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// tree writes the regular files below a name. One that goes away meanwhile was
// never acknowledged: what is acknowledged stays.
func (w *writer) tree(root, name string) error {
	return filepath.WalkDir(filepath.Join(root, name), func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".incoming" {
			return fs.SkipDir // of evidence that is being received
		}
		rel, err := filepath.Rel(root, p)
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return w.file(folderHub+filepath.ToSlash(rel), p)
	})
}

func (w *writer) file(name, from string) error {
	f, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.member(name, info.Mode().Perm(), info.Size(), f)
}

// objects writes a shared store. Objects are never changed; one that was
// removed meanwhile was not needed any more.
func (w *writer) objects(name string, s blob.Store) error {
	return s.List(w.ctx, "", "", func(i blob.Info) error {
		r, info, err := s.Get(w.ctx, i.Name)
		if err != nil {
			return err
		}
		return errors.Join(w.member(path.Join(folderStore, name, i.Name), 0o600, info.Size, r), r.Close())
	})
}

func (w *writer) json(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.member(name, 0o600, int64(len(b)), bytes.NewReader(b))
}

// member writes exactly size bytes of r: a file that grows is taken as it was.
func (w *writer) member(name string, mode fs.FileMode, size int64, r io.Reader) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode), Size: size, ModTime: w.at, Format: tar.FormatPAX})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(w.tar, sum), r, size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.made = append(w.made, member{name, size, hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// lines puts JSON lines into members of a folder, a portion each.
type lines struct {
	out    *writer
	folder string
	n      int
	buf    bytes.Buffer
}

func (l *lines) add(line []byte) error {
	l.buf.Write(line)
	l.buf.WriteByte('\n')
	if l.buf.Len() < portion {
		return nil
	}
	return l.flush()
}

func (l *lines) flush() error {
	if l.buf.Len() == 0 {
		return nil
	}
	l.n++
	name := fmt.Sprintf("%s%08d.jsonl", l.folder, l.n)
	err := l.out.member(name, 0o600, int64(l.buf.Len()), &l.buf)
	l.buf.Reset()
	return err
}

// maxLine bounds a JSON line: a message of the bus has at most 5 MiB, which
// base64 makes a third longer.
const maxLine = 64 << 20

func eachLine(r io.Reader, f func([]byte) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), maxLine)
	for in.Scan() {
		if err := f(in.Bytes()); err != nil {
			return err
		}
	}
	return in.Err()
}

// prefixed is the part of names that begin with folder.
func prefixed(names []string, folder string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, folder) })
}
