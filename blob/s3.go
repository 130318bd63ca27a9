package blob

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/sonae/sonae/fault"
)

// S3 says where a bucket is and who may use it. Secrets come from files or
// from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN), never from here: what is here may be on a command line.
type S3 struct {
	Endpoint string // host or host:port
	Bucket   string // must exist
	Prefix   string // of all names in it; may be empty
	Region   string // empty: us-east-1
	// AccessKeyFile and SecretKeyFile hold the two keys; empty: environment.
	AccessKeyFile, SecretKeyFile string
	CA                           string // PEM file with the roots to trust; empty: those of the system
	Insecure                     bool   // plain HTTP
}

// Bounds of what is waited for.
const (
	tries      = 5                      // of one request, before it is given up
	firstPause = 200 * time.Millisecond // doubled after each try
	stall      = 2 * time.Minute        // without a byte in either direction
)

// bucket keeps objects in S3-compatible storage. Each request is tried a few
// times; a try whose answer was lost may have stored the object, which is then
// told by the mark in its metadata.
type bucket struct {
	core   *minio.Core
	bucket string
	part   int64     // bytes of a part of a large object
	until  time.Time // what is stored is locked until then; zero: it is not
	over   bool      // what is stored goes over whatever there is
}

// OpenS3 opens a bucket and proves with a probe object that the storage honours
// conditional writes: without them two hubs could overwrite each other's work
// unseen, so fault.Invalid "blob.unconditional" refuses it.
func OpenS3(ctx context.Context, c S3) (Store, error) {
	if c.Prefix != "" && !ValidName(c.Prefix) {
		return nil, fault.New(fault.Invalid, "blob.name", c.Prefix)
	}
	keys, err := c.credentials()
	if err != nil {
		return nil, err
	}
	b, err := c.connect(keys)
	if err != nil {
		return nil, err
	}
	if err := b.look(ctx); err != nil {
		return nil, err
	}
	probed := own + "/probe-" + rand.Text()
	if c.Prefix == "" {
		return b, b.probe(ctx, probed)
	}
	return Sub(b, c.Prefix), b.probe(ctx, c.Prefix+"/"+probed)
}

// connect makes the client; nothing is asked yet.
func (c S3) connect(keys *credentials.Credentials) (*bucket, error) {
	if c.Bucket == "" || c.Endpoint == "" || strings.Contains(c.Endpoint, "/") {
		return nil, fault.New(fault.Invalid, "blob.endpoint", c.Endpoint)
	}
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	if c.Region == "" {
		c.Region = "us-east-1" // else each start asks for it
	}
	core, err := minio.NewCore(c.Endpoint, &minio.Options{Creds: keys, Secure: !c.Insecure, Transport: transport, Region: c.Region,
		BucketLookup: minio.BucketLookupPath, TrailingHeaders: true, MaxRetries: 1})
	if err != nil {
		return nil, fault.New(fault.Invalid, "blob.endpoint", c.Endpoint).With(err)
	}
	return &bucket{core: core, bucket: c.Bucket, part: partSize}, nil
}

// look says what is wrong with the way to the bucket, if anything is.
func (b *bucket) look(ctx context.Context) error {
	var there bool
	err := b.try(ctx, func(ctx context.Context) (err error) {
		there, err = b.core.BucketExists(ctx, b.bucket)
		return err
	})
	switch {
	case code(err) == minio.AccessDenied:
		return fault.New(fault.Denied, "blob.denied", b.bucket).With(err)
	case err == nil && !there:
		return fault.New(fault.Missing, "blob.bucket", b.bucket)
	}
	return err
}

func (c S3) credentials() (*credentials.Credentials, error) {
	if c.AccessKeyFile == "" && c.SecretKeyFile == "" {
		id, key := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
		if id == "" || key == "" {
			return nil, fault.New(fault.Invalid, "blob.credentials")
		}
		return credentials.NewStaticV4(id, key, os.Getenv("AWS_SESSION_TOKEN")), nil
	}
	id, err := os.ReadFile(c.AccessKeyFile)
	if err != nil {
		return nil, fault.New(fault.Invalid, "blob.credentials").With(err)
	}
	key, err := os.ReadFile(c.SecretKeyFile)
	if err != nil {
		return nil, fault.New(fault.Invalid, "blob.credentials").With(err)
	}
	return credentials.NewStaticV4(strings.TrimSpace(string(id)), strings.TrimSpace(string(key)), ""), nil
}

func (c S3) transport() (*http.Transport, error) {
	var roots *x509.CertPool // nil: those of the system
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fault.New(fault.Invalid, "blob.ca", c.CA).With(err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return nil, fault.New(fault.Invalid, "blob.ca", c.CA)
		}
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return impatient{conn}, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     stall / 4,
		DisableCompression:  true, // bytes as they were stored
	}, nil
}

// impatient is a connection that breaks when nothing moves on it.
type impatient struct{ net.Conn }

func (c impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c impatient) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stall)); err != nil { // the answer has as long again
		return 0, err
	}
	return c.Conn.Write(p)
}

// try runs a request until it was answered, at most a few times. When the last
// try failed as the first, the fault is Busy: the storage may be back later.
func (b *bucket) try(ctx context.Context, request func(context.Context) error) error {
	pause := firstPause
	for n := 1; ; n++ {
		err := request(ctx)
		if err == nil || ctx.Err() != nil || !again(err) {
			return err
		}
		if n == tries {
			return fault.New(fault.Busy, "blob.unreachable").With(err)
		}
		wait, e := rand.Int(rand.Reader, big.NewInt(int64(pause)))
		if e != nil {
			return e
		}
		select {
		case <-time.After(pause/2 + time.Duration(wait.Int64())): // hubs that failed together do not come back together
		case <-ctx.Done():
			return err
		}
		pause *= 2
	}
}

// again says whether a request that ended with err may be tried once more: it
// was not answered, or the storage said that it is not able to now.
func again(err error) bool {
	var said minio.ErrorResponse
	if errors.As(err, &said) {
		switch said.Code {
		case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict":
			return true
		}
		return said.StatusCode >= 500 && said.StatusCode != http.StatusNotImplemented || said.StatusCode == http.StatusTooManyRequests
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var transport *url.Error
	var network net.Error
	if errors.As(err, &unknown) || errors.As(err, &name) {
		return false
	}
	return errors.As(err, &transport) || errors.As(err, &network) || errors.Is(err, errCut)
}

// code is what S3 calls the error.
func code(err error) string {
	var said minio.ErrorResponse
	if errors.As(err, &said) {
		return said.Code
	}
	return ""
}

func isMissing(err error) bool { return code(err) == minio.NoSuchKey || code(err) == "NotFound" }

// refused says whether a condition of the request did not hold. If-Match on an
// object that is gone is "no such key".
func refused(err error) bool { return code(err) == minio.PreconditionFailed || isMissing(err) }

func (b *bucket) Remove(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	err := b.try(ctx, func(ctx context.Context) error {
		return b.core.RemoveObject(ctx, b.bucket, name, minio.RemoveObjectOptions{})
	})
	if err != nil && !isMissing(err) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func (b *bucket) List(ctx context.Context, prefix, after string, each func(Info) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing when each does
	defer cancel()
	err := b.try(ctx, func(ctx context.Context) (err error) {
		after, err = b.list(ctx, prefix, after, each) // a further try goes on where the last one ended
		return err
	})
	var stop callerError
	if errors.As(err, &stop) {
		return stop.error
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	return nil
}

// callerError is one that each returned: not to be tried again.
type callerError struct{ error }

// list tells of what comes after a name and returns the last that it told of.
func (b *bucket) list(ctx context.Context, prefix, after string, each func(Info) error) (string, error) {
	for o := range b.core.ListObjectsIter(ctx, b.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: after}) {
		if o.Err != nil {
			return after, o.Err
		}
		if o.Key <= after || !strings.HasPrefix(o.Key, prefix) || !ValidName(o.Key) {
			continue // what others keep in the bucket
		}
		if err := each(Info{Name: o.Key, Size: o.Size, Tag: o.ETag, At: o.LastModified}); err != nil {
			return after, callerError{err}
		}
		after = o.Key
	}
	return after, ctx.Err()
}
