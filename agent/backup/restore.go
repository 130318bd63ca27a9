package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic"
)

// restore brings back what is asked for: restic works, then everything is held
// against the repository by our own reader. Where something is there already, that
// is looked at first.
func (w *work) restore(ctx context.Context) {
	w.tell.step("prepare", "")
	w.res.State, w.res.Restore = job.OK, &job.Restored{Target: w.job.Restore.Target}
	if b, err := w.look(ctx); err != nil {
		w.fail(job.CouldNotRun, err)
	} else if err := b.back(ctx); err != nil {
		w.fail(engine.State(err), err)
	}
	if ctx.Err() == nil { // else it goes on when the agent is back
		w.forget()
	}
}

// back brings back all that the job names, and has a database server load it.
func (b *bringing) back(ctx context.Context) error {
	load := b.job.Restore.Load
	if load != nil {
		if err := b.free(); err != nil {
			return err
		}
	}
	if err := b.bring(ctx); err != nil || load == nil {
		return err
	}
	if load.WAL != nil {
		if err := b.bringWAL(ctx, *load.WAL); err != nil {
			return err
		}
	}
	return b.load(ctx)
}

// bring brings back one snapshot, and compares it.
func (b *bringing) bring(ctx context.Context) (err error) {
	q := *b.job.Restore
	q.Verify = false // our own reader compares
	if q.Overwrite == job.Never {
		if q.Overwrite, err = b.sparing(ctx); err != nil {
			return err
		}
	}
	if !b.empty && q.Overwrite != job.Never && q.Overwrite != job.IfNewer && !q.DryRun {
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	b.tell.expect(b.files, b.bytes)
	b.tell.step("restore", "")
	out, err := b.restic.Restore(ctx, b.repo, q, b.tell.status)
	b.res.Restore.Errors, b.res.Restore.Wrong = append(b.res.Restore.Errors, out.Errors...), b.res.Restore.Wrong+out.Wrong
	if opened := b.opened(); err == nil {
		err = opened
	}
	if err != nil {
		return err
	}
	if q.DryRun {
		b.res.Restore.Files, b.res.Restore.Skipped, b.res.Restore.Bytes = out.Files, out.Skipped, out.Bytes
		return nil
	}
	if b.files == 0 {
		b.tell.expect(out.Files, out.Bytes)
	}
	b.tell.step("verify", "")
	return b.compare(ctx)
}

// forget removes what was remembered of a restore that has ended.
func (w *work) forget() { // a leftover is never read: ids are not used twice
	_ = os.Remove(w.spared())
	_ = os.Remove(w.begunWAL())
}

// spareTime is how long it is remembered what was there before a restore that
// never came to its end.
const spareTime = 30 * 24 * time.Hour

// removeOld removes what is remembered for nothing.
func removeOld(cfg Config) {
	left, _ := filepath.Glob(filepath.Join(cfg.Dir, "spared-*")) // the pattern is right
	for _, name := range left {
		if info, err := os.Lstat(name); err == nil && cfg.Now().Sub(info.ModTime()) > spareTime {
			_ = os.Remove(name) // tried again at the next start
		}
	}
}

// spared is the file that says which files were there before.
func (w *work) spared() string { return filepath.Join(w.cfg.Dir, "spared-"+w.job.ID) }

// bringing is what a restore is about.
type bringing struct {
	*work
	in           *restic.Repository // once opened says so
	tree         restic.ID
	empty        bool            // nothing is there yet where it comes to
	opened       func() error    // waits until the reader is ready
	files, bytes int64           // that are asked for; 0 where restic says so itself
	kept         map[string]bool // paths in the snapshot whose files were there before and stay
}

// look opens the snapshot with our own reader. Where nothing is there yet, restic
// need not wait for that: the key alone takes half a second to derive. Else what is
// asked for is counted, too.
func (w *work) look(ctx context.Context) (*bringing, error) {
	b := &bringing{work: w, empty: w.vacant()}
	opened := make(chan error, 1)
	go func() { opened <- b.open(ctx) }()
	b.opened = sync.OnceValue(func() error { return <-opened })
	if b.empty && !w.restic.Reduced() {
		return b, nil
	}
	if err := b.opened(); err != nil {
		return nil, err
	}
	return b, b.count(ctx)
}

// count counts what is asked for.
func (b *bringing) count(ctx context.Context) error {
	return b.each(ctx, func(_ string, n *restic.Node) error {
		if n.Type == "file" {
			b.files, b.bytes = b.files+1, b.bytes+int64(n.Size)
		}
		return nil
	})
}

func (b *bringing) open(ctx context.Context) (err error) {
	if b.in, err = restic.Open(ctx, b.shelf, b.work.repo.Password); err == nil {
		err = b.in.Load(ctx)
	}
	if err != nil {
		return fmt.Errorf("open the repository: %w", err)
	}
	b.tree, err = rootOf(ctx, b.in, b.job.Restore.Snapshot)
	return err
}

// vacant says whether nothing is at the places that files come to.
func (w *work) vacant() bool {
	q := w.job.Restore
	if len(q.Include) == 0 || slices.Contains(q.Include, "/") {
		there, err := os.ReadDir(q.Target)
		return errors.Is(err, fs.ErrNotExist) || err == nil && len(there) == 0
	}
	return !slices.ContainsFunc(q.Include, func(want string) bool {
		_, err := os.Lstat(filepath.Join(q.Target, filepath.FromSlash(want)))
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// rootOf finds the tree of a snapshot by its id, or the first digits of it.
func rootOf(ctx context.Context, repo *restic.Repository, id string) (restic.ID, error) {
	all, err := repo.Snapshots(ctx)
	if err != nil {
		return restic.ID{}, fmt.Errorf("read the snapshots: %w", err)
	}
	for _, s := range all {
		if strings.HasPrefix(s.ID.String(), id) {
			return *s.Tree, nil
		}
	}
	return restic.ID{}, fmt.Errorf("the repository has no snapshot %s", id)
}

// each walks what is asked for: at is a path in the snapshot.
func (b *bringing) each(ctx context.Context, f func(at string, n *restic.Node) error) error {
	for _, want := range b.job.Restore.Include {
		if want == "/" {
			return b.in.Walk(ctx, b.tree, f)
		}
		n, err := b.find(ctx, want)
		if err == nil {
			err = f(want, n)
		}
		if err == nil && n.Subtree != nil {
			err = b.in.Walk(ctx, *n.Subtree, func(below string, n *restic.Node) error { return f(path.Join(want, below), n) })
		}
		if err != nil && !errors.Is(err, restic.SkipDir) {
			return err
		}
	}
	if len(b.job.Restore.Include) > 0 {
		return nil
	}
	return b.in.Walk(ctx, b.tree, f)
}

var errFound = errors.New("found")

// find goes down to a path.
func (b *bringing) find(ctx context.Context, want string) (found *restic.Node, err error) {
	err = b.in.Walk(ctx, b.tree, func(at string, n *restic.Node) error {
		switch {
		case at == want:
			found = n
			return errFound
		case n.Subtree != nil && !strings.HasPrefix(want, at+"/"):
			return restic.SkipDir
		}
		return nil
	})
	if found != nil {
		return found, nil
	}
	if err == nil {
		err = fmt.Errorf("the snapshot has no %.200q", want)
	}
	return nil, err
}

// place is where a path of the snapshot lies on this machine.
func (b *bringing) place(at string) string {
	return filepath.Join(b.job.Restore.Target, filepath.FromSlash(at))
}

// sparing readies a restore that leaves alone what is there. Which files were
// there is remembered on the disk before the first byte comes back: when the
// restore goes on after an interruption, what it has half written itself must not
// be taken for theirs, and is removed.
func (b *bringing) sparing(ctx context.Context) (job.Overwrite, error) {
	known, err := os.ReadFile(b.spared())
	again := err == nil
	b.kept = map[string]bool{}
	switch {
	case again:
		for at := range strings.SplitSeq(strings.TrimSuffix(string(known), "\x00"), "\x00") {
			if at != "" {
				b.kept[at] = true
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
	case b.empty:
		err = link.WriteFile(b.spared(), nil)
	default:
		err = b.remember(ctx)
	}
	switch {
	case err != nil:
		return "", err
	case len(b.kept) == 0: // nothing to leave alone: restic may go on by content
		return job.Always, nil
	case b.restic.Reduced():
		return "", errors.New("restic before 0.17 replaces everything that is there: choose an empty folder, or say that files are replaced")
	case again:
		err = b.removeHalves(ctx)
	}
	return job.Never, err
}

// clear removes links and the like where a file or a link is to be: what an
// intruder put there would be followed, and restic before 0.17 fails on symbolic
// links that are there already and removes further names of a file instead of
// making them. Folders are left alone, whatever leads to them.
func (b *bringing) clear(ctx context.Context) error {
	return b.each(ctx, func(at string, n *restic.Node) error {
		if n.Type == "dir" {
			return nil
		}
		there, err := os.Lstat(b.place(at))
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			return nil
		case err != nil:
			return err
		case there.IsDir():
			return nil // restic says what it cannot do with it
		case there.Mode().IsRegular() && n.Type == "file" && (n.Links <= 1 || !b.restic.Reduced()):
			return nil // restic replaces it
		}
		return os.Remove(b.place(at))
	})
}

// remember notes what is there.
func (b *bringing) remember(ctx context.Context) error {
	var list strings.Builder
	err := b.each(ctx, func(at string, n *restic.Node) error {
		if n.Type == "dir" {
			return nil
		}
		if _, err := os.Lstat(b.place(at)); err == nil {
			b.kept[at] = true
			list.WriteString(at + "\x00")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return link.WriteFile(b.spared(), []byte(list.String())) // it must outlive a power cut
}

// removeHalves removes what this restore itself wrote and did not end.
func (b *bringing) removeHalves(ctx context.Context) error {
	return b.each(ctx, func(at string, n *restic.Node) error {
		if n.Type != "file" || b.kept[at] {
			return nil
		}
		same, err := b.same(ctx, at, n)
		if errors.Is(err, fs.ErrNotExist) || err == nil && same {
			return nil
		}
		if err != nil {
			return err
		}
		return os.Remove(b.place(at))
	})
}
