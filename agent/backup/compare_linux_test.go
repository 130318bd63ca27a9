package backup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// Every way in which a file can differ from what was saved is told, with the
// file; those of owner, rights and time are no failure.
func TestWhatDiffersIsToldFileByFile(t *testing.T) {
	p := restictest.Newest(t).At(filepath.Join(t.TempDir(), "repository"))
	p.Run(t, "init")
	src := t.TempDir()
	for _, name := range []string{"sound", "missing", "content", "longer", "kind", "mode", "time", "owner"} {
		restictest.Write(t, filepath.Join(src, name), []byte("what was saved of "+name))
	}
	restictest.Write(t, filepath.Join(src, "noise"), restictest.Noise(3<<20))
	if err := os.Symlink("sound", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	p.Run(t, "backup", src)
	to := t.TempDir()
	p.Run(t, "restore", "latest", "--target", to)

	b := bringingOf(t, p.Repo, job.Restoring{Target: to, Verify: true})
	if err := b.compare(t.Context()); err != nil || b.res.Restore.Verified != 9 || b.res.Restore.Files != 9 || len(b.res.Restore.Differ) > 0 {
		t.Fatalf("%+v, %v", b.res.Restore, err)
	}
	at := func(name string) string { return filepath.Join(to, src, name) }
	rewrite := func(name string, change func([]byte) []byte) error { // as an intruder does, who keeps the time
		info, err := os.Stat(at(name))
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(at(name))
		return errors.Join(err, os.WriteFile(at(name), change(raw), 0o644), os.Chtimes(at(name), info.ModTime(), info.ModTime()))
	}
	last := func(raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw }
	owner := os.Chown(at("owner"), 7, 7)
	if err := errors.Join(os.Remove(at("missing")), rewrite("content", last), rewrite("noise", last), rewrite("longer", func(raw []byte) []byte { return append(raw, 'x') }),
		os.Remove(at("kind")), os.Mkdir(at("kind"), 0o755), os.Chmod(at("mode"), 0o600), os.Chtimes(at("time"), time.Time{}, time.Now().Add(-time.Hour)),
		os.Remove(at("link")), os.Symlink("missing", at("link"))); err != nil {
		t.Fatal(err)
	}
	want := map[string]job.Difference{"missing": job.NotThere, "content": job.OtherContent, "noise": job.OtherContent, "longer": job.OtherContent, "kind": job.OtherKind,
		"mode": job.OtherMode, "time": job.OtherTime, "link": job.OtherContent}
	changed := int64(2)
	if owner == nil {
		want["owner"] = job.OtherOwner
		changed++
	}
	b = bringingOf(t, p.Repo, job.Restoring{Target: to, Verify: true})
	if err := b.compare(t.Context()); !errors.Is(err, errDiffer) || b.res.Restore.Wrong != 6 || b.res.Restore.Changed != changed {
		t.Errorf("%+v, %v", b.res.Restore, err)
	}
	got := map[string]job.Difference{}
	for _, d := range b.res.Restore.Differ {
		got[filepath.Base(d.Path)] = d.What
	}
	for name, what := range want {
		if got[name] != what {
			t.Errorf("%s: %q instead of %q", name, got[name], what)
		}
	}
	if len(got) != len(want) || slices.ContainsFunc(b.res.Restore.Differ, func(d job.Differing) bool { return filepath.Dir(d.Path) != src }) {
		t.Errorf("%+v", b.res.Restore.Differ)
	}

	// of every fourth file the content is read, of all whether they are there
	b = bringingOf(t, p.Repo, job.Restoring{Target: to, Verify: true, Every: 4})
	if err := b.compare(t.Context()); !errors.Is(err, errDiffer) || b.res.Restore.Verified != 3 || b.res.Restore.Files != 9 {
		t.Errorf("%+v, %v", b.res.Restore, err)
	}
	// a part of it
	b = bringingOf(t, p.Repo, job.Restoring{Target: to, Verify: true, Include: []string{src + "/sound"}})
	if err := b.compare(t.Context()); err != nil || b.res.Restore.Verified != 1 {
		t.Errorf("%+v, %v", b.res.Restore, err)
	}
}

// bringingOf is a restore of the only snapshot of a repository in a folder.
func bringingOf(t *testing.T, repo string, q job.Restoring) *bringing {
	t.Helper()
	f, err := restic.OpenFolder(repo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	in, err := restic.Open(t.Context(), f, restictest.Password)
	if err == nil {
		err = in.Load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	tree, err := rootOf(t.Context(), in, "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: t.TempDir(), Now: time.Now}
	return &bringing{in: in, tree: tree, work: &work{Runner: &Runner{cfg: cfg}, job: job.Job{ID: "rs-1", Restore: &q}, res: &job.Result{Restore: &job.Restored{}},
		tell: &teller{cfg: cfg}}}
}

// TestLinksDoNotLeadARestoreAway: links that are there already do not stop a
// restore, and one that an intruder put in the place of a file is not followed.
func TestLinksDoNotLeadARestoreAway(t *testing.T) {
	p := restictest.All(t)[0].At(filepath.Join(t.TempDir(), "repository")) // the oldest needs it most
	p.Run(t, "init")
	src := t.TempDir()
	restictest.Write(t, filepath.Join(src, "file"), []byte("ours"))
	restictest.Write(t, filepath.Join(src, "one"), []byte("one file of two names"))
	if err := errors.Join(os.Symlink("file", filepath.Join(src, "link")), os.Link(filepath.Join(src, "one"), filepath.Join(src, "two"))); err != nil {
		t.Fatal(err)
	}
	p.Run(t, "backup", src)
	to, away := t.TempDir(), filepath.Join(t.TempDir(), "shadow")
	restictest.Write(t, away, []byte("theirs"))
	p.Run(t, "restore", "latest", "--target", to)
	at := func(name string) string { return filepath.Join(to, src, name) }
	if err := errors.Join(os.Remove(at("file")), os.Symlink(away, at("file"))); err != nil {
		t.Fatal(err)
	}

	b := bringingOf(t, p.Repo, job.Restoring{Target: to, Verify: true})
	if err := b.clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Run(t, "restore", "latest", "--target", to)
	if err := b.compare(t.Context()); err != nil || b.res.Restore.Verified != 3 || len(b.res.Restore.Differ) > 0 {
		t.Errorf("%+v, %v", b.res.Restore, err)
	}
	if raw, err := os.ReadFile(away); err != nil || string(raw) != "theirs" {
		t.Errorf("what the link led to holds %q, %v", raw, err)
	}
}

// TestTheFolderOfWALIsTheRestoresOwn: one that was interrupted goes on in its folder,
// another finds it taken.
func TestTheFolderOfWALIsTheRestoresOwn(t *testing.T) {
	w := &work{Runner: &Runner{cfg: Config{Dir: t.TempDir(), Now: time.Now}}, job: job.Job{ID: "rs-1"}}
	dir := filepath.Join(t.TempDir(), "back.wal")
	if err := errors.Join(w.claim(dir), os.Mkdir(dir, 0o700), w.claim(dir)); err != nil {
		t.Errorf("an interrupted one: %v", err)
	}
	other := *w
	other.job.ID = "rs-2"
	if err := other.claim(dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("another one: %v", err)
	}
	w.forget()
	if err := w.claim(dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("after its end: %v", err)
	}
}
