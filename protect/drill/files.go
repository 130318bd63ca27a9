package drill

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sonae/sonae/protect/restic"
)

// files restores and compares with what our own reader finds in the snapshot:
// every entry by kind and size, each n-th file by its hash.
func (t *trial) files(ctx context.Context) error {
	if err := t.restore(ctx); err != nil {
		return err
	}
	return t.phase(ctx, phaseCompare, func(p *Phase) error {
		if err := t.compare(ctx, p, max(1, t.n.Every)); err != nil {
			return damaged(err)
		}
		if t.r.Compared == 0 {
			return wrong{"no file was compared"}
		}
		return nil
	})
}

func (t *trial) compare(ctx context.Context, p *Phase, every int) error {
	seen := 0
	return t.each(ctx, t.snap, t.n.Paths, func(at string, n *restic.Node) error {
		info, err := os.Lstat(t.restored(at))
		if errors.Is(err, os.ErrNotExist) {
			t.r.problem(phaseCompare, at+": was not restored")
			return nil
		}
		if err != nil {
			return err
		}
		switch n.Type {
		case "dir":
			if !info.IsDir() {
				t.r.problem(phaseCompare, at+": is no folder")
			}
		case "symlink":
			if to, err := os.Readlink(t.restored(at)); err != nil || to != n.Target {
				t.r.problem(phaseCompare, at+": leads elsewhere")
			}
		case "file":
			if !info.Mode().IsRegular() || info.Size() != int64(n.Size) {
				t.r.problem(phaseCompare, fmt.Sprintf("%s: %d bytes, not %d", at, info.Size(), n.Size))
				return nil
			}
			if seen++; (seen-1)%every != 0 {
				return nil
			}
			return t.same(ctx, p, at, n)
		}
		return nil
	})
}

// same compares the content of one file.
func (t *trial) same(ctx context.Context, p *Phase, at string, n *restic.Node) error {
	f, err := os.Open(t.restored(at))
	if err != nil {
		return err
	}
	defer f.Close()
	got, want := sha256.New(), sha256.New()
	if _, err := io.Copy(got, stoppable{ctx, f}); err != nil {
		return err
	}
	if err := t.repo.Reader().Content(ctx, n, want); err != nil {
		if ctx.Err() != nil {
			return err
		}
		t.r.problem(phaseCompare, at+": "+err.Error())
		return nil
	}
	t.r.Compared++
	p.Files, p.Bytes = p.Files+1, p.Bytes+int64(n.Size)
	if g, w := got.Sum(nil), want.Sum(nil); string(g) != string(w) {
		t.r.problem(phaseCompare, fmt.Sprintf("%s: content %x, not %x", at, g[:8], w[:8]))
	}
	return nil
}

// stoppable reads until ctx ends.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}
