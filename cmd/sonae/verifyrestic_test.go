package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/protect/restic/restictest"
)

// A restic repository is verified without restic: intact, with one byte
// changed, and what is said when it cannot be verified.
func TestVerifyReadsAResticRepository(t *testing.T) {
	t.Parallel()
	p, src := restictest.All(t)[0].At(filepath.Join(t.TempDir(), "repo")), t.TempDir()
	restictest.Small(t, src, 20)
	p.Run(t, "init")
	p.Run(t, "backup", src)
	password := filepath.Join(t.TempDir(), "password")
	restictest.Write(t, password, []byte(restictest.Password+"\n"))
	wrong := filepath.Join(t.TempDir(), "password")
	restictest.Write(t, wrong, []byte("another"))
	verify := func(want int, says string, args ...string) {
		t.Helper()
		var out, errs strings.Builder
		if got := run(append([]string{"verify"}, args...), &out, &errs); got != want || !strings.Contains(out.String()+errs.String(), says) {
			t.Errorf("verify %v: exit %d, want %d and %q:\n%s%s", args, got, want, says, out.String(), errs.String())
		}
	}
	verify(intact, "1 snapshots", "--password-file", password, p.Repo)
	verify(notVerified, "--password-file", p.Repo)
	verify(notVerified, "opens none of the keys", "--password-file", wrong, p.Repo)
	verify(notVerified, "not a restic repository", "--password-file", password, src)

	packs, err := filepath.Glob(filepath.Join(p.Repo, "data", "*", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	b, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[20] ^= 1
	if err := os.Chmod(packs[0], 0o600); err != nil {
		t.Fatal(err)
	}
	restictest.Write(t, packs[0], b)
	verify(differs, filepath.Base(packs[0])+": offset 0: mac", "--password-file", password, p.Repo)
	verify(differs, "DAMAGED", "--password-file", password, p.Repo)
}
