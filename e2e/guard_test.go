//go:build e2e

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/bench/guard/proof"
)

// TestOrdinaryWorkIsNotTakenForRansomware lets real programs do what looks
// most like an attack under the guard's eyes, and shows at the end that the
// same guard does stop one. The whole suite is make bench-guard.
func TestOrdinaryWorkIsNotTakenForRansomware(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts a volume of its own")
	}
	site, encsim := guardedSite(t)
	attack := &proof.Range{Agent: site.Agent, Encsim: encsim, Work: site.Work, Tree: site.Tree}
	for _, backend := range []string{"ebpf", "fanotify"} {
		t.Run(backend, func(t *testing.T) {
			guard, err := proof.StartGuard(site.Agent, site.Volume.Dir, backend)
			if err != nil && strings.Contains(err.Error(), "refused by the kernel") {
				t.Skipf("no %s here: %v", backend, err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(guard.Close(), site.Tree.Restore()); err != nil {
				t.Fatal(err)
			}
			for _, c := range proof.Chores() {
				if c.Short {
					t.Run(c.Name, func(t *testing.T) { isLeftAlone(t, site, c, backend) })
				}
			}
			res, err := attack.Try(t.Context(), proof.Shapes()[0], backend, 1)
			if err != nil || !res.Frozen {
				t.Errorf("the attack that came last: frozen %v, %d files lost, %v", res.Frozen, res.Lost, err)
			}
		})
	}
}

func isLeftAlone(t *testing.T, site *proof.Site, c proof.Chore, backend string) {
	if missing := site.Missing(c); len(missing) > 0 {
		t.Skipf("missing: %v", missing)
	}
	cost, err := site.Do(t.Context(), c, backend)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range cost.Frozen {
		t.Errorf("frozen: %s", f.Text)
	}
	if lost := site.Tree.Lost(); len(lost) > 0 {
		t.Errorf("%d files of the tree changed", len(lost))
	}
}

// guardedSite is a department's files on a volume of their own, and the built
// simulator.
func guardedSite(t *testing.T) (site *proof.Site, encsim string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sonae-guard-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	site = &proof.Site{Work: filepath.Join(dir, "work")}
	// PostgreSQL's user must get through.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(site.Work, 0o755)); err != nil {
		t.Fatal(err)
	}
	if site.Root, err = filepath.Abs(".."); err != nil {
		t.Fatal(err)
	}
	if site.Agent, encsim, err = proof.Build(site.Root, dir); err != nil {
		t.Fatal(err)
	}
	if site.Volume, err = proof.Tmpfs(dir, 1000); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Volume.Close(); err != nil {
			t.Error(err)
		}
	})
	if site.Tree, err = proof.Plant(site.Volume, 20, 48, 1); err != nil {
		t.Fatal(err)
	}
	return site, encsim
}
