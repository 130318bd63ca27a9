package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// each runs a test with every restic of the machine, on a repository of its own.
func each(t *testing.T, f func(t *testing.T, r engine.Restic, repo engine.Repo)) {
	for _, p := range restictest.All(t) {
		t.Run(p.Version, func(t *testing.T) {
			r, err := engine.Find(t.Context(), p.Path)
			if err != nil || r.Version.String() != p.Version {
				t.Fatalf("%v, %v", r, err)
			}
			repo := engine.Repo{URL: filepath.Join(t.TempDir(), "repository"), Password: restictest.Password}
			if err := r.Init(t.Context(), repo); err != nil {
				t.Fatal(err)
			}
			f(t, r, repo)
		})
	}
}

func TestWhatWasSavedComesBack(t *testing.T) {
	each(t, func(t *testing.T, r engine.Restic, repo engine.Repo) {
		if err := r.Init(t.Context(), repo); err != nil {
			t.Errorf("a repository that is there: %v", err)
		}
		src := t.TempDir()
		restictest.Odd(t, src)
		restictest.Write(t, filepath.Join(src, "left out", "x.tmp"), []byte("x"))
		var last engine.Status
		s, said, err := r.Backup(t.Context(), repo, engine.Backup{Hostname: "emr-1", Tags: []string{"policy:p", "job:j"}, Paths: []string{src}, Excludes: []string{"*.tmp"}, Read: 2},
			func(s engine.Status) { last = s })
		if err != nil || !s.Complete || s.Files < 20 || s.Bytes < 14<<20 || s.Added == 0 || len(said.Reasons) > 0 {
			t.Fatalf("%+v, %v, %v", s, said, err)
		}
		if last.TotalFiles == 0 {
			t.Error("no progress was told")
		}
		list, err := r.Snapshots(t.Context(), repo, "policy:p", "job:j")
		if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].ID, s.ID) || list[0].Hostname != "emr-1" {
			t.Errorf("%+v, %v", list, err)
		}
		to := t.TempDir()
		back, err := r.Restore(t.Context(), repo, job.Restoring{Snapshot: s.ID, Target: to, Verify: true}, nil)
		if err != nil {
			t.Fatalf("%+v, %v", back, err)
		}
		same(t, src, filepath.Join(to, src), "x.tmp")
		if _, err := os.Stat(filepath.Join(to, src, "left out", "x.tmp")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was left out is there: %v", err)
		}
		if err := r.Check(t.Context(), repo, true); err != nil {
			t.Error(err)
		}
	})
}

func same(t *testing.T, a, b string, but ...string) {
	t.Helper()
	args := []string{"-r", "--no-dereference"}
	for _, x := range but {
		args = append(args, "--exclude="+x)
	}
	if out, err := exec.Command("diff", append(args, a, b)...).CombinedOutput(); err != nil && !bytes.Contains(out, []byte("is a fifo")) {
		t.Errorf("%v\n%.2000s", err, out)
	}
}

// A machine whose clock is wrong says the time that it is told, also of what is
// streamed, and the snapshot after it finds its parent.
func TestASnapshotHasTheTimeThatItIsTold(t *testing.T) {
	each(t, func(t *testing.T, r engine.Restic, repo engine.Repo) {
		src := t.TempDir()
		restictest.Small(t, src, 3)
		at := time.Now().Add(-31 * time.Hour).Truncate(time.Second)
		whole := func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "dump"); return err }
		for i, b := range []engine.Backup{{Paths: []string{src}}, {Paths: []string{src}}, {Name: "/emr.dump", Stream: whole}} {
			b.Time = at.Add(time.Duration(i) * time.Minute)
			s, _, err := r.Backup(t.Context(), repo, b, nil)
			if err != nil || i == 1 && s.New != 0 {
				t.Fatalf("%+v, %v", s, err)
			}
			list, err := r.Snapshots(t.Context(), repo)
			if err != nil || len(list) != i+1 {
				t.Fatalf("%v, %v", list, err)
			}
			if !slices.ContainsFunc(list, func(l engine.Listed) bool { return strings.HasPrefix(l.ID, s.ID) && l.Time.Equal(b.Time) }) {
				t.Errorf("%+v of %s", list, b.Time)
			}
		}
	})
}

// A restore that was interrupted goes on, and what was changed meanwhile, even
// with size and time kept, is put right.
func TestARestoreIsCarriedOnByContent(t *testing.T) {
	each(t, func(t *testing.T, r engine.Restic, repo engine.Repo) {
		src := t.TempDir()
		restictest.Small(t, src, 50)
		restictest.Write(t, filepath.Join(src, "noise"), restictest.Noise(3<<20))
		s, _, err := r.Backup(t.Context(), repo, engine.Backup{Paths: []string{src}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		q := job.Restoring{Snapshot: s.ID, Target: t.TempDir(), Verify: true}
		if _, err := r.Restore(t.Context(), repo, q, nil); err != nil {
			t.Fatal(err)
		}
		damaged := filepath.Join(q.Target, src, "noise")
		info, err := os.Stat(damaged)
		if err != nil {
			t.Fatal(err)
		}
		b := bytes.Repeat([]byte("z"), 3<<20)
		if err := errors.Join(os.WriteFile(damaged, b, 0o644), os.Chtimes(damaged, info.ModTime(), info.ModTime())); err != nil {
			t.Fatal(err)
		}
		back, err := r.Restore(t.Context(), repo, q, nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, src, filepath.Join(q.Target, src))
		if !r.Reduced() && (back.Files == 0 || back.Skipped+back.Files < 51) {
			t.Errorf("%+v", back)
		}
		one := job.Restoring{Snapshot: s.ID, Target: t.TempDir(), Include: []string{src + "/noise"}}
		if _, err := r.Restore(t.Context(), repo, one, nil); err != nil {
			t.Error(err)
		}
		if names, err := os.ReadDir(filepath.Join(one.Target, src)); err != nil || len(names) != 1 || names[0].Name() != "noise" {
			t.Errorf("%v, %v", names, err)
		}
	})
}

func TestAnOldResticSaysWhatItCannotDo(t *testing.T) {
	each(t, func(t *testing.T, r engine.Restic, repo engine.Repo) {
		_, err := r.Restore(t.Context(), repo, job.Restoring{Snapshot: strings.Repeat("a", 64), Target: t.TempDir(), Overwrite: job.Never}, nil)
		if r.Reduced() != (engine.CauseOf(err) == engine.Unable) {
			t.Errorf("reduced %v: %v", r.Reduced(), err)
		}
		if r.Reduced() && len(r.Lacks()) < 4 {
			t.Errorf("lacks %v", r.Lacks())
		}
	})
}

// A file that cannot be read makes a snapshot that is partial, and never ok.
func TestUnreadableIsNeverOK(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a file that root cannot read")
	}
	each(t, func(t *testing.T, r engine.Restic, repo engine.Repo) {
		src := t.TempDir()
		restictest.Small(t, src, 3)
		unreadable(t, filepath.Join(src, "never"))
		s, said, err := r.Backup(t.Context(), repo, engine.Backup{Paths: []string{src}}, nil)
		if engine.State(err) != job.Partial || s.ID == "" || s.Complete {
			t.Fatalf("%+v, %v", s, err)
		}
		if said.All == 0 || len(said.Reasons) == 0 || !strings.Contains(said.Reasons[0], "never") {
			t.Errorf("reasons %+v", said)
		}
	})
}

// unreadable makes a file whose reading fails even for root: the memory of a
// process at its address 0.
func unreadable(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("/proc/self/mem", path, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
}

func TestStreams(t *testing.T) {
	each(t, func(t *testing.T, r engine.Restic, repo engine.Repo) {
		body := restictest.Noise(5 << 20)
		write := func(_ context.Context, w io.Writer) error { _, err := w.Write(body); return err }
		s, _, err := r.Backup(t.Context(), repo, engine.Backup{Name: "/emr.dump", Stream: write}, nil)
		if err != nil || s.Path != "/emr.dump" || s.Bytes != int64(len(body)) {
			t.Fatalf("%+v, %v", s, err)
		}
		q := job.Restoring{Snapshot: s.ID, Target: t.TempDir(), Verify: true}
		if _, err := r.Restore(t.Context(), repo, q, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(q.Target, "emr.dump")); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}

		broke := errors.New("the database went away")
		half := func(_ context.Context, w io.Writer) error {
			_, err := w.Write(body[:3<<20])
			return errors.Join(err, broke)
		}
		_, _, err = r.Backup(t.Context(), repo, engine.Backup{Name: "/emr.dump", Stream: half}, nil)
		if engine.CauseOf(err) != engine.Broken || !errors.Is(err, broke) || engine.State(err) != job.Failed {
			t.Errorf("half a dump: %v", err)
		}
		if list, err := r.Snapshots(t.Context(), repo); err != nil || len(list) != 1 {
			t.Errorf("half a dump is a snapshot: %+v, %v", list, err)
		}
	})
}

func TestAWrongPasswordAndNoRepository(t *testing.T) {
	each(t, func(t *testing.T, r engine.Restic, repo engine.Repo) {
		other := repo
		other.Password = "another"
		if err := r.Open(t.Context(), other); engine.CauseOf(err) != engine.WrongPassword || engine.State(err) != job.CouldNotRun {
			t.Errorf("wrong password: %v", err)
		}
		if err := r.Init(t.Context(), other); engine.CauseOf(err) != engine.WrongPassword {
			t.Errorf("a repository of another password: %v", err)
		}
		other = repo
		other.URL = filepath.Join(t.TempDir(), "none")
		if _, _, err := r.Backup(t.Context(), other, engine.Backup{Paths: []string{"/etc/hostname"}}, nil); engine.CauseOf(err) != engine.NoRepository {
			t.Errorf("no repository: %v", err)
		}
	})
}

// While restic runs, the password is in no argument and in no environment; when
// it is stopped it leaves no lock, and no snapshot.
func TestNothingIsToldWhileItRunsAndItCanBeStopped(t *testing.T) {
	each(t, func(t *testing.T, r engine.Restic, repo engine.Repo) {
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		seen := false
		endless := func(ctx context.Context, w io.Writer) error {
			for ctx.Err() == nil {
				if _, err := w.Write(restictest.Noise(1 << 20)); err != nil {
					return err
				}
				if !seen {
					seen = looked(t, r.Path, repo)
					cancel(enough)
				}
			}
			return ctx.Err()
		}
		began := time.Now()
		_, _, err := r.Backup(ctx, repo, engine.Backup{Name: "/endless", Stream: endless}, nil)
		if engine.State(err) != job.Cancelled || !errors.Is(err, enough) {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if !seen {
			t.Error("restic was not looked at")
		}
		if list, err := r.Snapshots(t.Context(), repo); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		if locks, err := os.ReadDir(filepath.Join(repo.URL, "locks")); err != nil || len(locks) > 0 {
			t.Errorf("locks are left: %v, %v", locks, err)
		}
	})
}

// looked finds the child that is restic and reads what others could read of it.
func looked(t *testing.T, path string, repo engine.Repo) bool {
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, exe := range all {
		to, err := os.Readlink(exe)
		if err != nil || filepath.Base(to) != filepath.Base(path) {
			continue
		}
		dir := filepath.Dir(exe)
		env, err1 := os.ReadFile(dir + "/environ")
		args, err2 := os.ReadFile(dir + "/cmdline")
		if err1 != nil || err2 != nil || !bytes.Contains(env, []byte("RESTIC_REPOSITORY="+repo.URL)) {
			continue
		}
		if bytes.Contains(env, []byte(repo.Password)) || bytes.Contains(args, []byte(repo.Password)) || bytes.Contains(args, []byte(repo.URL)) {
			t.Errorf("arguments %q or environment tell the password or the address", args)
		}
		return true
	}
	return false
}

func TestCopying(t *testing.T) {
	each(t, func(t *testing.T, r engine.Restic, from engine.Repo) {
		src := t.TempDir()
		restictest.Small(t, src, 5)
		if _, _, err := r.Backup(t.Context(), from, engine.Backup{Paths: []string{src}}, nil); err != nil {
			t.Fatal(err)
		}
		to := engine.Repo{URL: filepath.Join(t.TempDir(), "copy"), Password: "of the copy"}
		if err := errors.Join(r.InitLike(t.Context(), to, from), r.Copy(t.Context(), from, to), r.Check(t.Context(), to, true)); err != nil {
			t.Fatal(err)
		}
		if list, err := r.Snapshots(t.Context(), to); err != nil || len(list) != 1 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestNoResticIsSaid(t *testing.T) {
	if _, err := engine.Find(t.Context(), filepath.Join(t.TempDir(), "restic")); !errors.Is(err, engine.ErrNone) {
		t.Error(err)
	}
	if _, err := engine.Find(t.Context(), "/bin/true"); !errors.Is(err, engine.ErrNone) {
		t.Error(err)
	}
}

func TestRelativePathsAreRefused(t *testing.T) {
	nothing := func(context.Context, io.Writer) error { return nil }
	r := engine.Restic{Path: "/nowhere/restic", Version: engine.Version{Minor: 18}}
	for _, b := range []engine.Backup{{}, {Paths: []string{"etc"}}, {Name: "dump", Stream: nothing}, {Name: "/db/dump", Stream: nothing}} {
		if _, _, err := r.Backup(t.Context(), engine.Repo{}, b, nil); engine.CauseOf(err) != engine.Unable {
			t.Errorf("%+v: %v", b, err)
		}
	}
}
