// Package blob keeps objects by name, in a folder or in S3-compatible
// storage, so that several hubs can share what is too large for the state.
//
// In: names and bytes. Out: the same bytes, or an error. Always true: what Put
// or Replace acknowledged is durable; Put never replaces and Replace only the
// version that the caller has seen, whoever else writes at the same time, also
// from other machines; a reader sees a whole object or none; a killed writer
// leaves nothing that can be seen. Two names must not stand to each other as a
// folder to what is in it ("a" and "a/b"): not every storage can have both.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/fault"
)

// Store is objects by name. It is safe for concurrent use, also by several
// processes on the same folder or bucket.
type Store interface {
	// Put stores size bytes under name, durably. It never replaces:
	// fault.Conflict "blob.exists". A body of another size is an error, and
	// nothing is stored then.
	Put(ctx context.Context, name string, r io.Reader, size int64) error
	// Replace stores body under name if the present version has tag ("" = must
	// not exist yet) and returns the new tag. fault.Conflict "blob.changed" when
	// somebody was quicker. The body has at most MaxReplace bytes. After any
	// other error it may or may not have been stored: look again.
	Replace(ctx context.Context, name string, body []byte, tag string) (newTag string, err error)
	// Get opens an object: fault.Missing "blob.missing". A damaged one is
	// fault.Conflict "blob.damaged" at the latest instead of io.EOF, where the
	// storage keeps checksums.
	Get(ctx context.Context, name string) (io.ReadCloser, Info, error)
	// List tells of the objects whose names begin with prefix and are greater
	// than after, ascending by their bytes. An error of each ends it.
	List(ctx context.Context, prefix, after string, each func(Info) error) error
	// Remove removes an object for good; one that is absent is no error.
	Remove(ctx context.Context, name string) error
}

// Info says what is known of an object.
type Info struct {
	Name string
	Size int64
	// Tag changes with the content. Get sets it for objects of at most
	// MaxReplace bytes; List may leave it empty.
	Tag string
	At  time.Time // when it was stored, by the storage's clock
}

// MaxReplace bounds what Replace takes, in bytes.
const MaxReplace = 16 << 20

// Limits of names, in bytes: what file systems and S3 have in common.
const (
	maxName    = 900
	maxSegment = 240
)

// own is the folder for what the package itself needs; no name lies in it.
const own = ".blob"

// ValidName says whether a name may be used: it means the same in a folder and
// in a bucket, and leads nowhere else.
func ValidName(name string) bool {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.Contains(name, `\`) {
		return false
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." || segment == ".." || segment == own || len(segment) > maxSegment {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
}

func checkName(name string) error {
	if !ValidName(name) {
		return fault.New(fault.Invalid, "blob.name", name)
	}
	return nil
}

func missing(name string) error { return fault.New(fault.Missing, "blob.missing", name) }

func exists(name string) error { return fault.New(fault.Conflict, "blob.exists", name) }

func changed(name string) error { return fault.New(fault.Conflict, "blob.changed", name) }

// IsExists says whether Put refused because the name is taken.
func IsExists(err error) bool { return has(err, "blob.exists") }

// IsChanged says whether Replace refused because somebody was quicker.
func IsChanged(err error) bool { return has(err, "blob.changed") }

func has(err error, key string) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Key == key
}

// sized reads exactly size bytes: fewer are io.ErrUnexpectedEOF, more an error.
type sized struct {
	r    io.Reader
	left int64
}

func (s *sized) Read(p []byte) (int, error) {
	if s.left == 0 {
		var one [1]byte
		n, err := io.ReadFull(s.r, one[:])
		if n > 0 {
			return 0, errors.New("the body is longer than was said")
		}
		return 0, err // io.EOF, or what really ended it
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF && s.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil // the next call says so
	}
	return n, err
}

// Sub is the part of a store whose names begin with prefix and a slash; names
// inside it are without them.
func Sub(s Store, prefix string) Store { return &sub{s, strings.TrimSuffix(prefix, "/") + "/"} }

type sub struct {
	s      Store
	prefix string
}

func (b *sub) name(name string) (string, error) {
	if err := checkName(name); err != nil { // alone, before the prefix could hide what is wrong
		return "", err
	}
	return b.prefix + name, nil
}

func (b *sub) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	full, err := b.name(name)
	if err != nil {
		return err
	}
	return b.s.Put(ctx, full, r, size)
}

func (b *sub) Replace(ctx context.Context, name string, body []byte, tag string) (string, error) {
	full, err := b.name(name)
	if err != nil {
		return "", err
	}
	return b.s.Replace(ctx, full, body, tag)
}

func (b *sub) Get(ctx context.Context, name string) (io.ReadCloser, Info, error) {
	full, err := b.name(name)
	if err != nil {
		return nil, Info{}, err
	}
	r, info, err := b.s.Get(ctx, full)
	info.Name = name
	return r, info, err
}

func (b *sub) List(ctx context.Context, prefix, after string, each func(Info) error) error {
	if after != "" {
		after = b.prefix + after
	}
	return b.s.List(ctx, b.prefix+prefix, after, func(i Info) error {
		name, ok := strings.CutPrefix(i.Name, b.prefix)
		if !ok {
			return fmt.Errorf("list %s: the storage names %s", b.prefix, i.Name)
		}
		i.Name = name
		return each(i)
	})
}

func (b *sub) Remove(ctx context.Context, name string) error {
	full, err := b.name(name)
	if err != nil {
		return err
	}
	return b.s.Remove(ctx, full)
}
