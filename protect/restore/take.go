package restore

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// Format is how a folder leaves as one stream.
type Format string

// Formats.
const (
	TarZst Format = "tar.zst" // owners, rights, times and links are kept
	Zip    Format = "zip"     // for Windows: rights and times are kept, owners are not
)

// Download writes the content of one file, once it was looked at. Its bytes are
// compared with their SHA-256 before they are written; begin is called before the
// first one.
func (d *Desk) Download(ctx context.Context, t Taking, begin func(Entry), out io.Writer) error {
	at, err := clean(t.Path)
	if err != nil {
		return err
	}
	repo, root, err := d.tree(ctx, t.Where)
	if err != nil {
		return err
	}
	n, _, err := find(ctx, repo, root, at)
	if err != nil {
		return err
	}
	if n == nil || n.Type != "file" {
		return fault.New(fault.Invalid, "protect.restore.no-plain-file")
	}
	content := func(w io.Writer) error { return repo.Content(ctx, n, w) }
	if t.Despite != "" {
		err = d.despite(ctx, t)
	} else {
		err = d.inspect(ctx, at, content)
	}
	if err != nil {
		return err
	}
	begin(entry(at, n))
	if err := content(out); err != nil {
		return fmt.Errorf("read %s: %w", at, err)
	}
	return nil
}

// sink takes the entries of a folder. rel is the path below it, with "/".
type sink interface {
	add(rel string, n *restic.Node, content func(io.Writer) error) error
	Close() error
}

// Archive writes a folder, or one file, as one stream; no file of it before it was
// looked at. What is no file, folder or link (pipes, sockets, devices) is left out.
func (d *Desk) Archive(ctx context.Context, t Taking, format Format, begin func(), out io.Writer) error {
	at, err := clean(t.Path)
	if err != nil {
		return err
	}
	if format != TarZst && format != Zip {
		return fault.New(fault.Invalid, "protect.restore.format")
	}
	repo, root, err := d.tree(ctx, t.Where)
	if err != nil {
		return err
	}
	n, tree, err := find(ctx, repo, root, at)
	if err != nil {
		return err
	}
	guarded := func(to sink) sink { return to }
	if t.Despite != "" {
		err = d.despite(ctx, t)
	} else {
		guarded, err = d.guard(ctx, repo, at, n, tree)
	}
	if err != nil {
		return err
	}
	begin()
	to, err := newSink(format, out)
	if err != nil {
		return err
	}
	to = guarded(to)
	if err := pack(ctx, repo, n, tree, to); err != nil {
		return fmt.Errorf("pack %s: %w", at, err) // without its end, so that nobody takes it for whole
	}
	return to.Close()
}

func pack(ctx context.Context, repo *restic.Repository, n *restic.Node, tree restic.ID, to sink) error {
	base := ""
	if n != nil {
		base = n.Name
		if err := one(ctx, repo, base, n, to); err != nil || n.Subtree == nil {
			return err
		}
	}
	return repo.Walk(ctx, tree, func(below string, n *restic.Node) error {
		return one(ctx, repo, strings.TrimPrefix(path.Join(base, below), "/"), n, to)
	})
}

func one(ctx context.Context, repo *restic.Repository, rel string, n *restic.Node, to sink) error {
	switch n.Type {
	case "file", "dir", "symlink":
		return to.add(rel, n, func(w io.Writer) error { return repo.Content(ctx, n, w) })
	}
	return nil
}

func newSink(format Format, out io.Writer) (sink, error) {
	if format == Zip {
		return &zipSink{zip.NewWriter(out)}, nil
	}
	z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &tarSink{tar.NewWriter(z), z, map[link]string{}}, nil
}

// tarSink keeps hard links: the content of a file goes out once.
type tarSink struct {
	t     *tar.Writer
	z     *zstd.Encoder
	links map[link]string
}

type link struct{ device, inode uint64 }

// maxLinks bounds the hard links that are remembered; further ones become files
// of their own.
const maxLinks = 1 << 20

func (s *tarSink) add(rel string, n *restic.Node, content func(io.Writer) error) error {
	h := &tar.Header{Format: tar.FormatPAX, Name: rel, Mode: tarMode(n.Mode), Uid: int(n.UID), Gid: int(n.GID), Uname: n.User, Gname: n.Group, ModTime: n.ModTime}
	if strings.ContainsRune(rel, 0) || strings.ContainsRune(n.User+n.Group+n.Target, 0) {
		return fault.New(fault.Invalid, "protect.restore.path")
	}
	switch n.Type {
	case "dir":
		h.Typeflag, h.Name = tar.TypeDir, rel+"/"
	case "symlink":
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.Target
	default:
		h.Typeflag, h.Size = tar.TypeReg, int64(n.Size)
		at := link{n.DeviceID, n.Inode}
		if first, ok := s.links[at]; ok && n.Links > 1 {
			h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, first
		} else if n.Links > 1 && len(s.links) < maxLinks {
			s.links[at] = rel
		}
	}
	if err := s.t.WriteHeader(h); err != nil {
		return fmt.Errorf("%.200q: %w", rel, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return content(s.t)
}

// tarMode is a mode as tar writes it.
func tarMode(m fs.FileMode) int64 {
	bits := int64(m.Perm())
	for flag, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

func (s *tarSink) Close() error { return errors.Join(s.t.Close(), s.z.Close()) }

type zipSink struct{ z *zip.Writer }

func (s *zipSink) add(rel string, n *restic.Node, content func(io.Writer) error) error {
	h := &zip.FileHeader{Name: text(rel), Modified: inZip(n.ModTime), Method: zip.Deflate}
	h.SetMode(mode(n))
	if n.Type == "dir" {
		h.Name, h.Method = h.Name+"/", zip.Store
	}
	w, err := s.z.CreateHeader(h)
	if err != nil {
		return fmt.Errorf("%.200q: %w", rel, err)
	}
	switch n.Type {
	case "symlink":
		_, err = io.WriteString(w, n.Target)
	case "file":
		err = content(w)
	}
	return err
}

// inZip is a time that a zip can hold.
func inZip(t time.Time) time.Time {
	if first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC); t.Before(first) {
		return first
	}
	return t.UTC()
}

func (s *zipSink) Close() error { return s.z.Close() }
