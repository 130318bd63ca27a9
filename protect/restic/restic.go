// Package restic reads repositories of the backup program restic, formats 1
// and 2, without restic: a second implementation that only reads.
//
// In: a Backend with the files of a repository, and a password. Out: its
// snapshots, trees and contents, statistics, and a Report of what is damaged.
// Always true: nothing is ever written (the bytes of a new repository, of a
// second key file, and of packs and indexes without what nobody needs, are made
// for whoever keeps the repository); no byte is used before its MAC and its
// SHA-256 were compared; memory is bounded by the number of blobs (about 60
// bytes each) and by the largest blob, whatever the files claim; every refusal
// names the file, and the offset where there is one. What the format is was
// taken from restic's published design document; of its code nothing is used but
// the library that chooses where files of a new repository are cut.
package restic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ID names a file or a blob: the SHA-256 of its bytes.
type ID [sha256.Size]byte

// Sum returns the ID of b.
func Sum(b []byte) ID { return sha256.Sum256(b) }

// ParseID reads 64 lower-case hex digits.
func ParseID(s string) (ID, error) {
	var id ID
	return id, id.UnmarshalText([]byte(s))
}

// String returns 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes what ParseID reads.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads 64 lower-case hex digits.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(id)) {
		return fmt.Errorf("%.80q is not an id of 64 hex digits", b)
	}
	for _, c := range b {
		if c >= 'A' && c <= 'F' { // it would be a second name of the same thing
			return fmt.Errorf("%.80q is not an id of lower-case hex digits", b)
		}
	}
	if _, err := hex.Decode(id[:], b); err != nil {
		return fmt.Errorf("%.80q is not an id: %w", b, err)
	}
	return nil
}

// Errors that a caller tells apart.
var (
	ErrNotRepository = errors.New("not a restic repository: it has no config and no keys")
	ErrPassword      = errors.New("the password opens none of the keys")
	ErrMAC           = errors.New("the MAC does not fit: changed bytes, or another repository's key")
	ErrMissing       = errors.New("no index knows this blob")
)

// maxKeys bounds how many key files are tried: each costs about a second.
const maxKeys = 32

// Repository is one repository whose master key is known. It is safe for
// concurrent use; Load must not run at the same time as other methods.
type Repository struct {
	back  Backend
	key   *Key
	index *index // nil until Load

	pieces sync.Pool // of *[pieceSize]byte, for Same
}

// Open finds the key file that password opens. Key files that cannot be read
// are passed over when another one opens, and named when none does.
func Open(ctx context.Context, b Backend, password string) (*Repository, error) {
	names, err := list(ctx, b, Keys, nil)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, ErrNotRepository
	}
	var bad []error
	for i, f := range names {
		if i == maxKeys {
			bad = append(bad, fmt.Errorf("only the first %d of %d key files were tried", maxKeys, len(names)))
			break
		}
		key, err := tryKey(ctx, b, f.name, password)
		if err == nil {
			return &Repository{back: b, key: key}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !errors.Is(err, ErrPassword) {
			bad = append(bad, fmt.Errorf("%s: %w", Keys.Path(f.name), err))
		}
	}
	return nil, errors.Join(append([]error{ErrPassword}, bad...)...)
}

// OpenWith uses a master key that is known already.
func OpenWith(b Backend, key *Key) *Repository { return &Repository{back: b, key: key} }

func tryKey(ctx context.Context, b Backend, name, password string) (*Key, error) {
	raw, err := readFile(ctx, b, Keys, name, maxKeyFile)
	if err != nil {
		return nil, err
	}
	if Sum(raw).String() != name {
		err = errors.New("its name is not the SHA-256 of its bytes")
	}
	f, parseErr := ParseKeyFile(raw)
	if parseErr != nil {
		return nil, errors.Join(err, parseErr)
	}
	key, openErr := f.Open(password)
	if openErr == nil {
		return key, nil // a changed comment in the file does not keep a site from its data; Verify names it
	}
	if err != nil {
		return nil, err
	}
	return nil, openErr
}

// Key returns the master key.
func (r *Repository) Key() *Key { return r.key }

// Config says which repository it is.
type Config struct {
	Version    int    `json:"version"` // 1 or 2
	ID         ID     `json:"id"`
	Polynomial string `json:"chunker_polynomial"` // hex
}

// Config reads the file config.
func (r *Repository) Config(ctx context.Context) (Config, error) {
	raw, err := readFile(ctx, r.back, ConfigFile, "", maxKeyFile)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	c, err := r.key.Config(raw)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	return c, nil
}

// Config decrypts and checks the file config.
func (k *Key) Config(raw []byte) (Config, error) {
	var c Config
	if err := k.document(raw, &c); err != nil {
		return Config{}, err
	}
	if c.Version != 1 && c.Version != 2 {
		return Config{}, fmt.Errorf("version %d of the format: only 1 and 2 are known", c.Version)
	}
	if c.ID == (ID{}) {
		return Config{}, errors.New("it names no id")
	}
	return c, nil
}

// Snapshot is the state of some folders at one time.
type Snapshot struct {
	ID       ID        `json:"-"`
	Time     time.Time `json:"time"` // by the clock of the machine that made it
	Tree     *ID       `json:"tree"`
	Paths    []string  `json:"paths"`
	Hostname string    `json:"hostname"`
	Username string    `json:"username"`
	Tags     []string  `json:"tags"`
	Parent   *ID       `json:"parent"`
	Original *ID       `json:"original"`
	Program  string    `json:"program_version"`
}

// Snapshot decrypts and checks a file of snapshots/.
func (k *Key) Snapshot(raw []byte) (Snapshot, error) {
	s := Snapshot{ID: Sum(raw)}
	if err := k.document(raw, &s); err != nil {
		return Snapshot{}, err
	}
	if s.Tree == nil {
		return Snapshot{}, errors.New("it names no tree")
	}
	if s.Time.IsZero() {
		return Snapshot{}, errors.New("it names no time")
	}
	return s, nil
}

// Snapshots reads all snapshots, in the order of their names. It ends at the
// first damaged one; Verify names all of them.
func (r *Repository) Snapshots(ctx context.Context) ([]Snapshot, error) {
	files, err := list(ctx, r.back, Snapshots, nil)
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	for _, f := range files {
		raw, err := readNamed(ctx, r.back, Snapshots, f.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Snapshots.Path(f.name), err)
		}
		s, err := r.key.Snapshot(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Snapshots.Path(f.name), err)
		}
		all = append(all, s)
	}
	return all, nil
}

// Lock says that a program is at work in the repository.
type Lock struct {
	Time      time.Time `json:"time"`
	Exclusive bool      `json:"exclusive"`
	Hostname  string    `json:"hostname"`
	Username  string    `json:"username"`
	PID       int       `json:"pid"`
}

// Lock decrypts and checks a file of locks/.
func (k *Key) Lock(raw []byte) (Lock, error) {
	var l Lock
	if err := k.document(raw, &l); err != nil {
		return Lock{}, err
	}
	if l.Time.IsZero() {
		return Lock{}, errors.New("it names no time")
	}
	return l, nil
}

// Load reads all indexes, so that blobs can be found. It ends at the first
// damaged one; Verify names all of them.
func (r *Repository) Load(ctx context.Context) error {
	var first error
	ix, err := loadIndex(ctx, r.back, r.key, func(d Damage) {
		if first == nil {
			first = d
		}
	}, nil)
	if err != nil {
		return err
	}
	if first != nil {
		return first
	}
	r.index = ix
	return nil
}

// Blob returns the bytes of a blob, checked against its id. dst may be reused.
// ErrMissing when no index knows it.
func (r *Repository) Blob(ctx context.Context, kind BlobKind, id ID, dst []byte) ([]byte, error) {
	lo, hi := r.index.find(kind, id)
	if lo == hi {
		return nil, fmt.Errorf("%s blob %s: %w", kind, id, ErrMissing)
	}
	var errs []error
	for i := lo; i < hi; i++ { // a second copy may be sound where the first is not
		e := &r.index.entries[i]
		b, err := r.read(ctx, r.index.packs[e.pack], e.blob(), dst)
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// read reads one blob out of a pack.
func (r *Repository) read(ctx context.Context, pack ID, b Blob, dst []byte) ([]byte, error) {
	raw, err := r.box(ctx, pack, b)
	if err == nil {
		raw, err = r.key.blob(raw, b, dst)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: offset %d: %w", Data.Path(pack.String()), b.Offset, err)
	}
	return raw, nil
}

// box reads the encrypted bytes of a blob.
func (r *Repository) box(ctx context.Context, pack ID, b Blob) ([]byte, error) {
	f, err := r.back.Open(ctx, Data, pack.String())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if int64(b.Offset)+int64(b.Length) > f.Size() {
		return nil, fmt.Errorf("it ends behind the end of the pack at %d", f.Size())
	}
	raw := make([]byte, b.Length)
	_, err = io.ReadFull(io.NewSectionReader(f, int64(b.Offset), int64(b.Length)), raw)
	return raw, err
}

// Content writes the content of a file to w.
func (r *Repository) Content(ctx context.Context, n *Node, w io.Writer) error {
	var buf []byte
	for _, id := range n.Content {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := r.Blob(ctx, DataBlob, id, buf[:0])
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		buf = b
	}
	return nil
}
