package blobtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/sonae/sonae/blob"
)

// lockedBucket is the bucket of ServeLocked.
const lockedBucket = "locked"

// ServeLocked starts an S3 server that keeps versions, with a bucket that has
// object lock.
func ServeLocked(t testing.TB) *Server {
	t.Helper()
	s := serve(t, func(dir string) []string {
		versions := filepath.Join(dir, "versions")
		if err := os.Mkdir(versions, 0o700); err != nil {
			t.Fatal(err)
		}
		return []string{"--versioning-dir", versions}
	})
	if err := s.client().MakeBucket(t.Context(), lockedBucket, minio.MakeBucketOptions{ObjectLocking: true}); err != nil {
		t.Fatal(err)
	}
	return s
}

// LockedConfig is how the bucket of ServeLocked is opened, but for the log-in.
func (s *Server) LockedConfig() blob.S3 {
	return blob.S3{Endpoint: s.Endpoint, Bucket: lockedBucket, Insecure: true}
}

// Login is that of the bucket's owner, who is the administrator too.
func (s *Server) Login() blob.Login {
	return blob.Login{ID: s.secret("access"), Secret: s.secret("secret")}
}

func (s *Server) secret(name string) string {
	b, err := os.ReadFile(s.key(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// OpenLocked opens the bucket of ServeLocked.
func (s *Server) OpenLocked() *blob.Locked {
	s.t.Helper()
	l, err := blob.OpenLocked(s.t.Context(), s.LockedConfig(), s.Login())
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

func (s *Server) client() *minio.Client {
	l := s.Login()
	c, err := minio.New(s.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(l.ID, l.Secret, ""), BucketLookup: minio.BucketLookupPath, Region: "us-east-1"})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// Attack does everything that a thief with the bucket's log-in can try against
// every object whose name begins with prefix, and returns what the storage
// let him do of what it must refuse. hide leaves markers and wrong versions on
// top, which no lock forbids.
func (s *Server) Attack(prefix string, hide bool) (succeeded []string) {
	s.t.Helper()
	ctx, c := s.t.Context(), s.client()
	attempt := func(what string, err error) {
		if err == nil {
			succeeded = append(succeeded, what)
		}
	}
	var all []minio.ObjectInfo
	for o := range c.ListObjectsIter(ctx, lockedBucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, WithVersions: true}) {
		if o.Err != nil {
			s.t.Fatal(o.Err)
		}
		if !o.IsDeleteMarker {
			all = append(all, o)
		}
	}
	if len(all) == 0 {
		s.t.Fatalf("there is nothing below %q to attack", prefix)
	}
	for i, o := range all {
		s.attackOne(ctx, c, o, attempt)
		if !hide {
			continue
		}
		if i%2 == 0 {
			err := c.RemoveObject(ctx, lockedBucket, o.Key, minio.RemoveObjectOptions{}) // a marker, which is allowed
			if err != nil {
				s.t.Fatalf("remove %s: %v", o.Key, err)
			}
			continue
		}
		wrong := strings.NewReader(rand.Text())
		if _, err := c.PutObject(ctx, lockedBucket, o.Key, wrong, wrong.Size(), minio.PutObjectOptions{}); err != nil {
			s.t.Fatalf("overlay %s: %v", o.Key, err)
		}
	}
	attempt("the bucket was removed", c.RemoveBucket(ctx, lockedBucket))
	attempt("the bucket was removed by force", c.RemoveBucketWithOptions(ctx, lockedBucket, minio.RemoveBucketOptions{ForceDelete: true}))
	attempt("versions were suspended", c.SuspendVersioning(ctx, lockedBucket))
	return succeeded
}

func (s *Server) attackOne(ctx context.Context, c *minio.Client, o minio.ObjectInfo, attempt func(string, error)) {
	for _, bypass := range []bool{false, true} {
		attempt(fmt.Sprintf("%s: its version was removed (bypass %v)", o.Key, bypass),
			c.RemoveObject(ctx, lockedBucket, o.Key, minio.RemoveObjectOptions{VersionID: o.VersionID, GovernanceBypass: bypass}))
		for _, mode := range []minio.RetentionMode{minio.Compliance, minio.Governance} {
			soon := time.Now().Add(time.Minute).UTC()
			attempt(fmt.Sprintf("%s: its lock was shortened (%s, bypass %v)", o.Key, mode, bypass),
				c.PutObjectRetention(ctx, lockedBucket, o.Key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &soon, VersionID: o.VersionID, GovernanceBypass: bypass}))
		}
		attempt(fmt.Sprintf("%s: its lock was taken away (bypass %v)", o.Key, bypass),
			c.PutObjectRetention(ctx, lockedBucket, o.Key, minio.PutObjectRetentionOptions{VersionID: o.VersionID, GovernanceBypass: bypass}))
	}
	opts := minio.PutObjectOptions{}
	opts.SetMatchETagExcept("*")
	_, err := c.PutObject(ctx, lockedBucket, o.Key, strings.NewReader("x"), 1, opts)
	attempt(o.Key+": it was overlaid with a condition", err)
}
