package restic_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// everyKind makes a small repository with every kind of file in it: two keys,
// two snapshots, packs of data and of trees, and a lock.
func everyKind(t *testing.T, p restictest.Program, format string) restictest.Program {
	t.Helper()
	p = p.At(filepath.Join(t.TempDir(), "repo"))
	src := t.TempDir()
	restictest.Small(t, src, 30)
	restictest.Write(t, filepath.Join(src, "noise"), restictest.Random(rand.NewChaCha8([32]byte{2}), 100_000))
	p.Run(t, "init", "--repository-version", format)
	p.Run(t, "backup", src)
	restictest.Write(t, filepath.Join(src, "later"), []byte("later"))
	p.Run(t, "backup", src)
	pw := filepath.Join(t.TempDir(), "pw")
	restictest.Write(t, pw, []byte("escrow\n"))
	p.Run(t, "key", "add", "--new-password-file", pw)
	leaveLock(t, p)
	return p
}

// leaveLock kills a restic that waits for its input, so that its lock stays.
func leaveLock(t *testing.T, p restictest.Program) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := p.Command(t.Context(), "backup", "--stdin", "--stdin-filename", "x")
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if locks, _ := os.ReadDir(filepath.Join(p.Repo, "locks")); len(locks) == 1 && !strings.Contains(locks[0].Name(), "tmp") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("restic made no lock")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

func TestAFlippedByteAnywhereIsFound(t *testing.T) {
	for _, p := range restictest.All(t) {
		for _, format := range []string{"1", "2"} {
			t.Run("restic "+p.Version+" format "+format, func(t *testing.T) {
				p := everyKind(t, p, format)
				key := open(t, p.Repo).Key()
				flipped := map[string]int{}
				err := filepath.WalkDir(p.Repo, func(path string, d fs.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return err
					}
					rel, err := filepath.Rel(p.Repo, path)
					if err != nil {
						return err
					}
					kind, _, _ := strings.Cut(rel, "/")
					flipped[kind] += flip(t, p.Repo, rel, key)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, kind := range []string{"config", "keys", "locks", "snapshots", "index", "data"} {
					if flipped[kind] < 20 {
						t.Errorf("%d bytes of %s were flipped: %v", flipped[kind], kind, flipped)
					}
				}
				t.Logf("flipped bytes, all found: %v", flipped)
			})
		}
	}
}

// flip changes bytes of one file, one at a time, each of which must be named.
func flip(t *testing.T, repo, rel string, key *restic.Key) int {
	t.Helper()
	path := filepath.Join(repo, rel)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	places := map[int]bool{0: true, len(sound) - 1: true, len(sound) - 2: true, len(sound) - 3: true, len(sound) - 4: true, len(sound) - 5: true, 15: true, 16: true}
	for range 25 {
		places[rand.IntN(len(sound))] = true
	}
	for at := range places {
		broken := append([]byte(nil), sound...)
		broken[at] ^= 1 << rand.IntN(8)
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		named(t, repo, rel, at, key)
	}
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	return len(places)
}

// named checks that the damage at one byte of one file is named.
func named(t *testing.T, repo, rel string, at int, key *restic.Key) {
	t.Helper()
	f, err := restic.OpenFolder(repo)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	report, err := restic.OpenWith(f, key).Verify(t.Context(), restic.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	offset, found := int64(-1), false
	for _, d := range report.Damages {
		if d.File == rel {
			found, offset = true, max(offset, d.Offset)
		}
	}
	data := strings.HasPrefix(rel, "data/")
	if !found || data && (offset < 0 || offset > int64(at)) {
		t.Errorf("byte %d of %s was flipped; damages: %v", at, rel, report.Damages)
	}
	if data && len(report.Damages) != 1 {
		t.Errorf("byte %d of %s was flipped; one damage became %v", at, rel, report.Damages)
	}
}

// What is lost as a whole is named too, and what does not need it stays sound.
func TestLostFilesAreNamed(t *testing.T) {
	p := everyKind(t, restictest.Newest(t), "2")
	key := open(t, p.Repo).Key()
	packs, err := filepath.Glob(filepath.Join(p.Repo, "data", "*", "*"))
	if err != nil || len(packs) < 4 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	unsound := 0
	for _, path := range packs {
		if err := os.Rename(path, path+"~"); err != nil {
			t.Fatal(err)
		}
		f, err := restic.OpenFolder(p.Repo)
		if err != nil {
			t.Fatal(err)
		}
		report, err := restic.OpenWith(f, key).Verify(t.Context(), restic.Options{})
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(p.Repo, path)
		if len(report.Damages) != 1 || report.Damages[0].File != rel || report.Damages[0].What != restic.Missing || len(report.Leftovers) != 1 {
			t.Errorf("without %s: %v, leftovers %v", rel, report.Damages, report.Leftovers)
		}
		if report.Snapshots[1].Sound {
			t.Errorf("without %s the newest snapshot, which needs all, is said to be sound", rel)
		}
		if !report.Snapshots[0].Sound {
			unsound++
		}
		if err := errors.Join(f.Close(), os.Rename(path+"~", path)); err != nil {
			t.Fatal(err)
		}
	}
	if unsound == 0 || unsound == len(packs) {
		t.Errorf("the first snapshot needs some of the %d packs, not %d", len(packs), unsound)
	}
}
