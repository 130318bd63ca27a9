package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic"
)

// slack is how exact times of files are that every file system can keep.
const slack = 2 * time.Second

// compare holds everything that was brought back against the repository. Where
// files differ the restore has failed, and it says which.
func (b *bringing) compare(ctx context.Context) error {
	out, every := b.res.Restore, int64(max(1, b.job.Restore.Every))
	seen, before := int64(0), *out
	err := b.each(ctx, func(at string, n *restic.Node) error {
		if b.kept[at] {
			out.Skipped++
			return nil
		}
		hash := false
		if n.Type == "file" {
			out.Files++
			out.Bytes += int64(n.Size)
			hash = b.job.Restore.Verify && seen%every == 0
			seen++
		}
		what, err := b.differs(ctx, at, n, hash)
		if err != nil {
			return err
		}
		if hash {
			out.Verified++
		}
		b.note(at, what)
		b.tell.status(engine.Status{Files: out.Files - before.Files, Bytes: out.Bytes - before.Bytes, Errors: out.Wrong})
		return nil
	})
	if err == nil && out.Wrong > 0 {
		err = errDiffer
	}
	return err
}

var errDiffer = errors.New("what was brought back is not what was saved")

// note keeps what differs. What only has other rights or another time is told,
// but is all there.
func (b *bringing) note(at string, what job.Difference) {
	out := b.res.Restore
	switch what {
	case "":
		return
	case job.OtherMode, job.OtherOwner, job.OtherTime:
		out.Changed++
	default:
		out.Wrong++
	}
	if len(out.Differ) < job.MaxErrors {
		out.Differ = append(out.Differ, job.Differing{Path: cut(strings.ToValidUTF8(at, "?"), job.MaxError), What: what})
	}
}

// differs says what is not as it was saved. Errors are those of the repository:
// what cannot be read here differs.
func (b *bringing) differs(ctx context.Context, at string, n *restic.Node, hash bool) (job.Difference, error) {
	info, err := os.Lstat(b.place(at))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return job.NotThere, nil
	case err != nil:
		return job.Unreadable, nil
	case kindOf(info.Mode()) != kindOf(modeOf(n)):
		return job.OtherKind, nil
	case n.Type == "file" && info.Size() != int64(n.Size):
		return job.OtherContent, nil
	}
	if n.Type == "symlink" {
		if to, err := os.Readlink(b.place(at)); err != nil || to != n.Target {
			return job.OtherContent, nil
		}
	}
	if hash {
		same, err := b.same(ctx, at, n)
		if errors.Is(err, restic.ErrMissing) || ctx.Err() != nil {
			return "", err
		}
		if err != nil {
			return job.Unreadable, nil
		}
		if !same {
			return job.OtherContent, nil
		}
	}
	return aside(info, n), nil
}

// aside compares what is not content: owner, rights, and of what is no folder
// the time.
func aside(info fs.FileInfo, n *restic.Node) job.Difference {
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	off := info.ModTime().Sub(n.ModTime)
	switch {
	case !owned(info, n.UID, n.GID):
		return job.OtherOwner
	case rights && n.Type != "symlink" && info.Mode()&bits != n.Mode&bits:
		return job.OtherMode
	case n.Type == "file" && (off > slack || off < -slack):
		return job.OtherTime
	}
	return ""
}

// modeOf is the mode that the type of an entry means.
func modeOf(n *restic.Node) fs.FileMode {
	return map[string]fs.FileMode{"dir": fs.ModeDir, "symlink": fs.ModeSymlink, "dev": fs.ModeDevice, "chardev": fs.ModeDevice | fs.ModeCharDevice,
		"fifo": fs.ModeNamedPipe, "socket": fs.ModeSocket, "irregular": fs.ModeIrregular}[n.Type]
}

func kindOf(m fs.FileMode) fs.FileMode { return m.Type() }

// same compares a file on this machine with the snapshot.
func (b *bringing) same(ctx context.Context, at string, n *restic.Node) (bool, error) {
	info, err := os.Lstat(b.place(at))
	if err != nil || !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return false, err
	}
	f, err := os.Open(b.place(at))
	if err != nil {
		return false, err
	}
	defer f.Close()
	return b.in.Same(ctx, n, f)
}
