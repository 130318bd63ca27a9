package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/minio/minio-go/v7"

	"github.com/sonae/sonae/fault"
)

// partSize is how much of an object is in memory at once. Objects up to it go
// in one request, larger ones in parts of it; maxParts is S3's bound.
const (
	partSize = MaxReplace
	maxParts = 10_000
)

// What the metadata of an object says: who stored it, and the size of its parts
// (empty: in one request), which its checksum follows from.
const (
	markKey = "Sonae-Mark"
	partKey = "Sonae-Part"
)

// checksumHeader carries the SHA-256 of a body or of a part: the storage
// compares it and keeps it.
const checksumHeader = "X-Amz-Checksum-Sha256"

func (b *bucket) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	body := &sized{r, size}
	var err error
	if size <= b.part {
		err = b.putWhole(ctx, name, body, size)
	} else {
		err = b.putParts(ctx, name, body, size)
	}
	if code(err) == minio.PreconditionFailed || IsExists(err) {
		return exists(name)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (b *bucket) putWhole(ctx context.Context, name string, r io.Reader, size int64) error {
	body := make([]byte, size)
	if err := fill(r, body, true); err != nil {
		return err
	}
	_, err := b.store(ctx, name, body, "")
	return err
}

// fill reads all of a part and, if it is the last, that nothing follows.
func fill(r io.Reader, part []byte, last bool) error {
	if _, err := io.ReadFull(r, part); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if last {
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

func (b *bucket) Replace(ctx context.Context, name string, body []byte, tag string) (string, error) {
	if err := checkReplace(name, body); err != nil {
		return "", err
	}
	tag, err := b.store(ctx, name, body, tag)
	if refused(err) {
		return "", changed(name)
	}
	if err != nil {
		return "", fmt.Errorf("replace %s: %w", name, err)
	}
	return tag, nil
}

// store stores a body in one request, on the condition that tag is the present
// one ("": that there is none).
func (b *bucket) store(ctx context.Context, name string, body []byte, tag string) (newTag string, err error) {
	sum := sha256.Sum256(body)
	mark := rand.Text()
	opts := minio.PutObjectOptions{UserMetadata: map[string]string{markKey: mark, checksumHeader: base64.StdEncoding.EncodeToString(sum[:])}}
	b.condition(&opts, tag)
	b.retain(&opts)
	lost := false // whether the answer to an earlier try was
	err = b.try(ctx, func(ctx context.Context) error {
		done, err := b.core.PutObject(ctx, b.bucket, name, bytes.NewReader(body), int64(len(body)), "", hex.EncodeToString(sum[:]), opts)
		newTag = done.ETag
		if refused(err) && lost {
			newTag, err = b.marked(ctx, name, mark, err)
		}
		lost = lost || err != nil && again(err)
		return err
	})
	return newTag, err
}

func (b *bucket) condition(opts *minio.PutObjectOptions, tag string) {
	switch {
	case b.over:
	case tag == "":
		opts.SetMatchETagExcept("*")
	default:
		opts.SetMatchETag(tag)
	}
}

// retain asks for the lock with which an object is born.
func (b *bucket) retain(opts *minio.PutObjectOptions) {
	if !b.until.IsZero() {
		opts.Mode, opts.RetainUntilDate = minio.Compliance, b.until.UTC()
	}
}

// marked looks whether it was an earlier try of ours that stored the object; if
// not, it returns why the storage refused.
func (b *bucket) marked(ctx context.Context, name, mark string, why error) (tag string, err error) {
	info, err := b.core.StatObject(ctx, b.bucket, name, minio.StatObjectOptions{})
	if isMissing(err) {
		return "", why
	}
	if err != nil {
		return "", err
	}
	if info.UserMetadata[markKey] != mark {
		return "", why
	}
	return info.ETag, nil
}

// putParts stores an object that is too large for one request. It can be seen
// when the last request has put its parts together, which is the one that must
// not replace.
func (b *bucket) putParts(ctx context.Context, name string, r io.Reader, size int64) (err error) {
	part := max(b.part, (size+maxParts-1)/maxParts)
	mark := rand.Text()
	opts := minio.PutObjectOptions{UserMetadata: map[string]string{markKey: mark, partKey: strconv.FormatInt(part, 10),
		"X-Amz-Checksum-Algorithm": minio.ChecksumSHA256.String()}} // which the parts carry
	b.retain(&opts)
	if err := b.absent(ctx, name); err != nil && !b.over { // before it costs anything
		return err
	}
	id, err := b.begin(ctx, name, opts)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.abort(ctx, name, id)
		}
	}()
	parts, err := b.sendParts(ctx, name, id, r, size, part)
	if err != nil {
		return err
	}
	return b.complete(ctx, name, id, mark, parts)
}

// absent is nil where no object has the name.
func (b *bucket) absent(ctx context.Context, name string) error {
	_, err := b.stat(ctx, name)
	if err == nil {
		return exists(name)
	}
	if isMissing(err) {
		return nil
	}
	return err
}

// begin opens an upload in parts.
func (b *bucket) begin(ctx context.Context, name string, opts minio.PutObjectOptions) (id string, err error) {
	err = b.try(ctx, func(ctx context.Context) (err error) {
		id, err = b.core.NewMultipartUpload(ctx, b.bucket, name, opts)
		return err
	})
	return id, err
}

func (b *bucket) stat(ctx context.Context, name string) (info minio.ObjectInfo, err error) {
	err = b.try(ctx, func(ctx context.Context) (err error) {
		info, err = b.core.StatObject(ctx, b.bucket, name, minio.StatObjectOptions{})
		return err
	})
	return info, err
}

// abort drops the parts; those of a killed process are dropped by the rule that
// a bucket should have for uploads that were never completed.
func (b *bucket) abort(ctx context.Context, name, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stall)
	defer cancel()
	_ = b.core.AbortMultipartUpload(ctx, b.bucket, name, id) // what failed before is reported
}

func (b *bucket) sendParts(ctx context.Context, name, id string, r io.Reader, size, part int64) ([]minio.CompletePart, error) {
	var parts []minio.CompletePart
	buffer := make([]byte, part)
	for left := size; left > 0; left -= part {
		buffer = buffer[:min(part, left)]
		if err := fill(r, buffer, left <= part); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(buffer)
		header := http.Header{checksumHeader: {base64.StdEncoding.EncodeToString(sum[:])}}
		var sent minio.ObjectPart
		err := b.try(ctx, func(ctx context.Context) (err error) {
			sent, err = b.core.PutObjectPart(ctx, b.bucket, name, id, len(parts)+1, bytes.NewReader(buffer), int64(len(buffer)),
				minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:]), CustomHeader: header})
			return err
		})
		if err != nil {
			return nil, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: sent.PartNumber, ETag: sent.ETag, ChecksumSHA256: sent.ChecksumSHA256})
	}
	return parts, nil
}

// complete puts the parts together and looks whether that is what is there now:
// a server that was killed while it did so may say later that it has done it
// (versitygw 1.8 does), or call another's object ours.
func (b *bucket) complete(ctx context.Context, name, id, mark string, parts []minio.CompletePart) error {
	var opts minio.PutObjectOptions
	b.condition(&opts, "")
	return b.try(ctx, func(ctx context.Context) error {
		_, err := b.core.CompleteMultipartUpload(ctx, b.bucket, name, id, parts, opts)
		if err != nil && code(err) != minio.PreconditionFailed && code(err) != minio.NoSuchUpload {
			return err
		}
		if err == nil || code(err) == minio.NoSuchUpload {
			err = fault.New(fault.Busy, "blob.unreachable").With(errLost)
		}
		info, e := b.core.StatObject(ctx, b.bucket, name, minio.StatObjectOptions{})
		switch {
		case isMissing(e):
			return err
		case e != nil:
			return e
		case info.UserMetadata[markKey] != mark:
			return exists(name)
		}
		return nil
	})
}

// errLost is an upload of which the storage kept nothing.
var errLost = errors.New("the storage lost the upload")

// probe stores an object in ways that must be refused.
func (b *bucket) probe(ctx context.Context, name string) error {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stall)
		defer cancel()
		_ = b.core.RemoveObject(ctx, b.bucket, name, minio.RemoveObjectOptions{}) // in nobody's way
	}()
	first, err := b.store(ctx, name, []byte("1"), "")
	if err != nil {
		return unconditional(err)
	}
	second, err := b.store(ctx, name, []byte("2"), first)
	if err != nil {
		return unconditional(err)
	}
	for _, tag := range []string{"", first} {
		if _, err := b.store(ctx, name, []byte("3"), tag); !refused(err) {
			return unconditional(err)
		}
	}
	if err := b.putPartsBlindly(ctx, name); !IsExists(err) {
		return unconditional(err)
	}
	if now, err := b.stat(ctx, name); err != nil || now.ETag != second {
		return unconditional(err)
	}
	return nil
}

// putPartsBlindly stores an object in parts, without looking whether it is
// there.
func (b *bucket) putPartsBlindly(ctx context.Context, name string) error {
	id, err := b.begin(ctx, name, minio.PutObjectOptions{UserMetadata: map[string]string{"X-Amz-Checksum-Algorithm": minio.ChecksumSHA256.String()}})
	if err != nil {
		return err
	}
	defer b.abort(ctx, name, id)
	parts, err := b.sendParts(ctx, name, id, bytes.NewReader([]byte("4")), 1, b.part)
	if err != nil {
		return err
	}
	return b.complete(ctx, name, id, rand.Text(), parts)
}

// unconditional is what a probe found; err is why a request failed that should
// not have, nil when one succeeded that should not have.
func unconditional(err error) error {
	if err != nil && (again(err) || fault.Of(err) != "" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return fmt.Errorf("probe the storage: %w", err)
	}
	if code(err) == minio.AccessDenied {
		return fault.New(fault.Denied, "blob.denied", "").With(err)
	}
	return fault.New(fault.Invalid, "blob.unconditional").With(err)
}
