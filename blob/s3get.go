package blob

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/sonae/sonae/fault"
)

// errCut is an answer that ended early.
var errCut = errors.New("the storage's answer was cut")

func (b *bucket) Get(ctx context.Context, name string) (io.ReadCloser, Info, error) {
	if err := checkName(name); err != nil {
		return nil, Info{}, err
	}
	d := &download{ctx: ctx, b: b, name: name}
	if err := d.open(); isMissing(err) {
		return nil, Info{}, missing(name)
	} else if err != nil {
		return nil, Info{}, fmt.Errorf("get %s: %w", name, err)
	}
	return d, Info{Name: name, Size: d.size, Tag: d.tag, At: d.info.LastModified}, nil
}

// download reads one version of an object, also over several answers, and
// compares its checksum with the one that the storage keeps.
type download struct {
	ctx    context.Context
	b      *bucket
	name   string
	info   minio.ObjectInfo // of the first answer
	size   int64
	tag    string
	body   io.ReadCloser
	offset int64
	resets int
	sum    *checksum // nil: the storage keeps none
}

// open asks for what was not read yet.
func (d *download) open() error {
	return d.b.try(d.ctx, func(ctx context.Context) error {
		opts := minio.GetObjectOptions{}
		if d.offset > 0 {
			if err := errors.Join(opts.SetRange(d.offset, 0), opts.SetMatchETag(d.tag)); err != nil {
				return err
			}
		} else {
			opts.Set("x-amz-checksum-mode", "ENABLED")
		}
		body, info, _, err := d.b.core.GetObject(ctx, d.b.bucket, d.name, opts)
		if err != nil {
			return err
		}
		if d.body = body; d.offset == 0 {
			d.info, d.size, d.tag = info, info.Size, info.ETag
			d.sum = newChecksum(info)
		}
		return nil
	})
}

func (d *download) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := d.body.Read(p)
		d.offset += int64(n)
		if d.sum != nil {
			d.sum.write(p[:n])
		}
		if n > 0 {
			return n, nil // an error comes again
		}
		switch {
		case err == nil:
			continue
		case d.offset == d.size && errors.Is(err, io.EOF):
			return 0, d.end()
		case d.offset >= d.size || d.ctx.Err() != nil || d.resets == tries:
			return 0, fmt.Errorf("get %s at byte %d of %d: %w", d.name, d.offset, d.size, errors.Join(errCut, err))
		}
		d.resets++
		_ = d.body.Close() // it was cut
		if err := d.open(); err != nil {
			return 0, fmt.Errorf("get %s at byte %d of %d: %w", d.name, d.offset, d.size, err)
		}
	}
}

// end is io.EOF, or that what was read is not what was stored.
func (d *download) end() error {
	if d.sum != nil && !d.sum.right() {
		return fault.New(fault.Conflict, "blob.damaged", d.name).With(errors.New("its SHA-256 is not the one it was stored with"))
	}
	return io.EOF
}

func (d *download) Close() error { return d.body.Close() }

// checksum follows S3's rules: the SHA-256 of the object, or that of the
// SHA-256s of its parts with their number behind.
type checksum struct {
	want    string
	part    int64 // 0: the whole object at once
	whole   hash.Hash
	current hash.Hash
	filled  int64
	parts   int
}

func newChecksum(info minio.ObjectInfo) *checksum {
	c := &checksum{want: info.ChecksumSHA256, whole: sha256.New(), current: sha256.New()}
	if c.want == "" {
		return nil
	}
	if text := info.UserMetadata[partKey]; text != "" {
		part, err := strconv.ParseInt(text, 10, 64)
		if err != nil || part <= 0 {
			return nil // not from here
		}
		c.part = part
	} else if strings.Contains(c.want, "-") {
		return nil // in parts that only whoever stored it knows
	}
	return c
}

func (c *checksum) write(p []byte) {
	if c.part == 0 {
		c.whole.Write(p)
		return
	}
	for len(p) > 0 {
		n := min(int64(len(p)), c.part-c.filled)
		c.current.Write(p[:n])
		p, c.filled = p[n:], c.filled+n
		if c.filled == c.part {
			c.next()
		}
	}
}

func (c *checksum) next() {
	c.whole.Write(c.current.Sum(nil))
	c.current.Reset()
	c.filled = 0
	c.parts++
}

func (c *checksum) right() bool {
	if c.part > 0 && c.filled > 0 {
		c.next()
	}
	got := base64.StdEncoding.EncodeToString(c.whole.Sum(nil))
	want, number, composite := strings.Cut(c.want, "-")
	return got == want && (!composite || number == strconv.Itoa(c.parts))
}
