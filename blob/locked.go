package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/sonae/sonae/fault"
)

// Locked is a bucket with object lock: until the time that is set for an object
// nobody can remove that version of it, shorten the time or replace the bytes,
// whatever credentials he has (compliance mode). It is safe for concurrent use.
//
// Nothing here removes an object. Who has the credentials can still lay a newer
// version or a delete marker over an object; Versions tells of that, and what
// lies below stays.
type Locked struct{ b *bucket }

// Login is the pair of secrets of a bucket's user.
type Login struct{ ID, Secret string }

// OpenLocked opens a bucket, which must keep versions and know object lock:
// else fault.Invalid "blob.no-lock". The secrets are login's, not the files of
// c; c.Prefix is of no use here.
func OpenLocked(ctx context.Context, c S3, login Login) (*Locked, error) {
	if login.ID == "" || login.Secret == "" {
		return nil, fault.New(fault.Invalid, "blob.credentials")
	}
	b, err := c.connect(credentials.NewStaticV4(login.ID, login.Secret, ""))
	if err != nil {
		return nil, err
	}
	if err := b.look(ctx); err != nil {
		return nil, err
	}
	l := &Locked{b}
	return l, l.capable(ctx)
}

// capable asks the bucket whether it locks objects at all.
func (l *Locked) capable(ctx context.Context) error {
	var lock string
	var versions minio.BucketVersioningConfiguration
	err := l.b.try(ctx, func(ctx context.Context) (err error) {
		lock, _, _, _, err = l.b.core.GetObjectLockConfig(ctx, l.b.bucket)
		if err == nil {
			versions, err = l.b.core.GetBucketVersioning(ctx, l.b.bucket)
		}
		return err
	})
	if err == nil && lock == minio.Enabled && versions.Enabled() {
		return nil
	}
	if err != nil && again(err) {
		return fmt.Errorf("ask bucket %s for its lock: %w", l.b.bucket, err)
	}
	return fault.New(fault.Invalid, "blob.no-lock", l.b.bucket).With(err)
}

// Put stores an object that is locked until a time. It never replaces:
// fault.Conflict "blob.exists".
func (l *Locked) Put(ctx context.Context, name string, r io.Reader, size int64, until time.Time) error {
	b := *l.b
	b.until = until
	return b.Put(ctx, name, r, size)
}

// PutOver lays a locked version over whatever there is. It is for an object
// over which somebody laid a wrong one, or a delete marker.
func (l *Locked) PutOver(ctx context.Context, name string, r io.Reader, size int64, until time.Time) error {
	b := *l.b
	b.until, b.over = until, true
	return b.Put(ctx, name, r, size)
}

// Until says until when the newest version of an object is locked; the zero
// time when it is not, or in a mode that an administrator could lift.
func (l *Locked) Until(ctx context.Context, name string) (time.Time, error) {
	info, err := l.b.stat(ctx, name) // its answer carries the lock; GetObjectRetention's is not the same everywhere
	if isMissing(err) {
		return time.Time{}, missing(name)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read lock of %s: %w", name, err)
	}
	if info.Metadata.Get("X-Amz-Object-Lock-Mode") != string(minio.Compliance) {
		return time.Time{}, nil
	}
	until, err := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("read lock of %s: %w", name, err)
	}
	return until, nil
}

// Extend sets until when the newest version of an object is locked, and reads
// that back: fault.Conflict "blob.lock-lost" when the storage says something
// else afterwards.
func (l *Locked) Extend(ctx context.Context, name string, until time.Time) error {
	if err := l.retain(ctx, name, until); err != nil {
		return fmt.Errorf("extend lock of %s: %w", name, err)
	}
	now, err := l.Until(ctx, name)
	if err != nil {
		return err
	}
	if now.Before(until.Truncate(time.Second)) { // S3 keeps whole seconds
		return fault.New(fault.Conflict, "blob.lock-lost", name).With(fmt.Errorf("it is locked until %s instead of %s", now, until))
	}
	return nil
}

func (l *Locked) retain(ctx context.Context, name string, until time.Time) error {
	mode, until := minio.Compliance, until.UTC()
	return l.b.try(ctx, func(ctx context.Context) error {
		return l.b.core.PutObjectRetention(ctx, l.b.bucket, name, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	})
}

// Versions is what a bucket has under one name.
type Versions struct {
	Name   string
	Size   int64 // of the newest version that is no marker
	Count  int   // versions that are no markers
	Hidden bool  // a delete marker is the newest: readers find nothing
}

// Versions tells of all objects whose names begin with prefix, ascending. What
// they have is in memory until the first is told of: storages tell of versions
// and of markers in orders of their own.
func (l *Locked) Versions(ctx context.Context, prefix string, each func(Versions) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := map[string]*Versions{}
	for o := range l.b.core.ListObjectsIter(ctx, l.b.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, WithVersions: true}) {
		if o.Err != nil {
			return fmt.Errorf("list versions below %s: %w", prefix, o.Err)
		}
		if !strings.HasPrefix(o.Key, prefix) || !ValidName(o.Key) {
			continue // what others keep in the bucket
		}
		if all[o.Key] == nil {
			all[o.Key] = &Versions{Name: o.Key}
		}
		all[o.Key].add(o)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := each(*all[name]); err != nil {
			return err
		}
	}
	return nil
}

func (v *Versions) add(o minio.ObjectInfo) {
	if o.IsDeleteMarker {
		v.Hidden = v.Hidden || o.IsLatest
		return
	}
	if v.Count++; v.Count == 1 || o.IsLatest { // the newest comes first
		v.Size = o.Size
	}
}

// Prove tries on one object of the caller's own what the lock must refuse:
// to shorten the time, to remove the version, and to store over it with a
// condition. A storage that gives in is fault.Invalid "blob.no-lock". The
// object is made when it is missing, locked until a time.
func (l *Locked) Prove(ctx context.Context, name string, until time.Time) error {
	err := l.Put(ctx, name, strings.NewReader(proofText), int64(len(proofText)), until)
	if err != nil && !IsExists(err) {
		return err
	}
	if err != nil {
		if err := l.Extend(ctx, name, until); err != nil {
			return err
		}
	}
	info, err := l.b.stat(ctx, name)
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	for what, attempt := range map[string]func() error{
		"the time could be shortened":   func() error { return l.retain(ctx, name, until.Add(-time.Minute)) },
		"the version could be removed":  func() error { return l.destroy(ctx, name, info.VersionID) },
		"the object could be overlaid":  func() error { return l.Put(ctx, name, strings.NewReader(""), 0, until) },
		"the lock could be made weaker": func() error { return l.weaken(ctx, name, until) },
	} {
		err := attempt()
		if err == nil {
			return fault.New(fault.Invalid, "blob.no-lock", l.b.bucket).With(errors.New(what))
		}
		if fault.Of(err) == fault.Busy || ctx.Err() != nil { // not an answer
			return err
		}
	}
	return nil
}

// proofText is what the object of Prove says to who finds it.
const proofText = "Sonae tries on this object whether the lock holds.\n"

func (l *Locked) destroy(ctx context.Context, name, version string) error {
	return l.b.try(ctx, func(ctx context.Context) error {
		return l.b.core.RemoveObject(ctx, l.b.bucket, name, minio.RemoveObjectOptions{VersionID: version, GovernanceBypass: true})
	})
}

func (l *Locked) weaken(ctx context.Context, name string, until time.Time) error {
	mode, until := minio.Governance, until.UTC()
	return l.b.try(ctx, func(ctx context.Context) error {
		return l.b.core.PutObjectRetention(ctx, l.b.bucket, name, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until, GovernanceBypass: true})
	})
}

// Open opens the newest version of an object for reading at any place:
// fault.Missing "blob.missing" when there is none.
func (l *Locked) Open(ctx context.Context, name string) (*Object, error) {
	info, err := l.b.stat(ctx, name)
	if isMissing(err) {
		return nil, missing(name)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &Object{ctx: ctx, b: l.b, name: name, tag: info.ETag, size: info.Size}, nil
}

// Object is one version of an object. Reads one after the other go on in the
// same answer; another place costs a request. It is safe for concurrent use,
// but not quicker by it.
type Object struct {
	ctx  context.Context
	b    *bucket
	name string
	tag  string
	size int64

	mu   sync.Mutex
	body io.ReadCloser
	at   int64
}

// Size is the length in bytes.
func (o *Object) Size() int64 { return o.size }

// Close ends an open answer.
func (o *Object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leave()
}

func (o *Object) leave() error {
	if o.body == nil {
		return nil
	}
	err := o.body.Close()
	o.body = nil
	return err
}

// ReadAt reads like every io.ReaderAt.
func (o *Object) ReadAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	want := p
	if off >= o.size {
		return 0, io.EOF
	}
	if off+int64(len(p)) > o.size {
		want = p[:o.size-off]
	}
	n := 0
	for cut := 0; n < len(want); {
		if o.body == nil || o.at != off+int64(n) {
			if err := o.seek(off + int64(n)); err != nil {
				return n, fmt.Errorf("read %s at byte %d: %w", o.name, off+int64(n), err)
			}
		}
		m, err := o.body.Read(want[n:])
		n, o.at = n+m, o.at+int64(m)
		if err == nil || n == len(want) {
			continue
		}
		_ = o.leave() // it was cut, or is at its end
		if cut++; cut == tries || o.ctx.Err() != nil {
			return n, fmt.Errorf("read %s at byte %d: %w", o.name, off+int64(n), errors.Join(errCut, err))
		}
	}
	if len(want) < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// seek asks for the bytes from a place on.
func (o *Object) seek(at int64) error {
	_ = o.leave() // what it had read ahead is not needed
	opts := minio.GetObjectOptions{}
	if err := opts.SetMatchETag(o.tag); err != nil {
		return err
	}
	if at > 0 {
		if err := opts.SetRange(at, 0); err != nil {
			return err
		}
	}
	return o.b.try(o.ctx, func(ctx context.Context) error {
		body, _, _, err := o.b.core.GetObject(ctx, o.b.bucket, o.name, opts)
		if err == nil {
			o.body, o.at = body, at
		}
		return err
	})
}
