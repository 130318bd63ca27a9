package restic_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/restic/chunker"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// begun makes a repository in a folder, and returns it and the name of its key.
func begun(t *testing.T, dir string) (*restic.Repository, string) {
	t.Helper()
	key, config, err := restic.Begin(restictest.Password, "hub", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	name := restic.Sum(key).String()
	restictest.Write(t, filepath.Join(dir, "keys", name), key)
	restictest.Write(t, filepath.Join(dir, "config"), config)
	for _, sub := range []string{"data", "index", "locks", "snapshots"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir), name
}

// A repository that was begun here is one to every restic, and a second key that
// is made from the first opens it too.
func TestResticWorksWithWhatWasBegunHere(t *testing.T) {
	for _, p := range restictest.All(t) {
		t.Run(p.Version, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "repo")
			_, name := begun(t, dir)
			p := p.At(dir)
			src := t.TempDir()
			restictest.Odd(t, src)
			p.Run(t, "backup", src)
			restictest.Write(t, filepath.Join(src, "large"), restictest.Noise(20<<20))
			p.Run(t, "backup", src)
			p.Run(t, "check", "--read-data")
			to := t.TempDir()
			p.Run(t, "restore", "latest", "--target", to)
			if a, err := os.ReadFile(filepath.Join(to, src, "large")); err != nil || len(a) != 20<<20 {
				t.Errorf("%d bytes came back: %v", len(a), err)
			}
			r, all := load(t, dir)
			if len(all) != 2 {
				t.Errorf("our reader sees %d snapshots", len(all))
			}
			if c, err := r.Config(t.Context()); err != nil || c.Version != 2 {
				t.Errorf("%+v, %v", c, err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, "keys", name))
			if err != nil {
				t.Fatal(err)
			}
			f, err := restic.ParseKeyFile(raw)
			if err != nil {
				t.Fatal(err)
			}
			second, err := f.Again(restictest.Password, "for the safe", "escrow", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			restictest.Write(t, filepath.Join(dir, "keys", restic.Sum(second).String()), second)
			p.Env = []string{"RESTIC_PASSWORD=for the safe"}
			p.Run(t, "cat", "config")
		})
	}
}

// Each repository is another one, opens with no other password, and cuts files
// where no other does.
func TestEachIsAnother(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		dir := filepath.Join(t.TempDir(), "repo")
		r, _ := begun(t, dir)
		c, err := r.Config(t.Context())
		if err != nil || seen[c.ID.String()] || seen[c.Polynomial] {
			t.Fatalf("%+v, %v", c, err)
		}
		seen[c.ID.String()], seen[c.Polynomial] = true, true
		var cut chunker.Pol
		if err := cut.UnmarshalJSON([]byte(`"` + c.Polynomial + `"`)); err != nil || cut.Deg() != 53 || !cut.Irreducible() {
			t.Errorf("files are cut at %s: %v", c.Polynomial, err)
		}
		f, err := restic.OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := restic.Open(t.Context(), f, "another password"); !errors.Is(err, restic.ErrPassword) {
			t.Errorf("another password: %v", err)
		}
	}
}
