package proof

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/bench/guard/tally"
)

// built is the folder of the programs, which all tests use.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sonae-proof-")
		if err == nil {
			defer os.RemoveAll(dir)
			built = dir
			_, _, err = Build("../../..", dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts a volume of its own")
	}
}

// place is a tree of folders×48 files on a volume of its own, and the built programs.
func place(t *testing.T, folders int) *Range {
	t.Helper()
	needRoot(t)
	work := t.TempDir()
	if err := os.Chmod(work, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"sonae-agent", "encsim"} {
		if err := os.Link(filepath.Join(built, program), filepath.Join(work, program)); err != nil {
			t.Fatal(err)
		}
	}
	volume, err := Tmpfs(t.TempDir(), 800)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := volume.Close(); err != nil {
			t.Error(err)
		}
	})
	tree, err := Plant(volume, folders, 48, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &Range{Agent: filepath.Join(work, "sonae-agent"), Encsim: filepath.Join(work, "encsim"), Work: work, Tree: tree}
}

// TestEveryShapeEncryptsEverything holds the simulator to what it is for, and
// the comparison to seeing it: without a guard nothing is left.
func TestEveryShapeEncryptsEverything(t *testing.T) {
	r := place(t, 2)
	for _, shape := range Shapes() {
		t.Run(shape.Name, func(t *testing.T) {
			page, err := tally.Create(r.tally())
			if err != nil {
				t.Fatal(err)
			}
			defer page.Close()
			cmd, err := r.command(shape, 7)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if lost := r.Tree.Lost(); len(lost) != r.Tree.Len() || page.Done() != r.Tree.Len() {
				t.Errorf("%d of %d files lost, %d finished", len(lost), r.Tree.Len(), page.Done())
			}
			if err := r.Tree.Restore(); err != nil {
				t.Fatal(err)
			}
			if lost := r.Tree.Lost(); len(lost) != 0 {
				t.Errorf("%d files are still lost after they were restored", len(lost))
			}
		})
	}
}

func TestTheSimulatorRefusesWhatWasNotMarked(t *testing.T) {
	r := place(t, 1)
	page, err := tally.Create(r.tally())
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	letter := filepath.Join(t.TempDir(), "letter.txt")
	if err := os.WriteFile(letter, []byte("dear ward"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"another folder":     {"-dir", filepath.Dir(letter), "-token", r.Tree.Token, "-tally", r.tally()},
		"a wrong token":      {"-dir", r.Tree.Dir, "-token", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "-tally", r.tally()},
		"a file outside":     {"-dir", r.Tree.Dir, "-token", r.Tree.Token, "-tally", r.tally(), "../../" + filepath.Base(letter)},
		"an absolute path":   {"-dir", r.Tree.Dir, "-token", r.Tree.Token, "-tally", r.tally(), letter},
		"the marker's place": {"-dir", r.Tree.Dir, "-token", r.Tree.Token, "-tally", r.tally(), "."},
	} {
		var failed *exec.ExitError
		if out, err := exec.Command(r.Encsim, args...).CombinedOutput(); !errors.As(err, &failed) {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
	if b, err := os.ReadFile(letter); err != nil || string(b) != "dear ward" {
		t.Errorf("the letter outside: %q %v", b, err)
	}
	if lost := r.Tree.Lost(); len(lost) != 0 || page.Started() != 0 {
		t.Errorf("%d files lost, %d begun", len(lost), page.Started())
	}
}

// TestTheGuardStopsEveryClassOfAttack tries one shape of each class with each
// backend. How few files are lost is measured by make bench-guard on a quiet
// machine; here it is enough that most are saved.
func TestTheGuardStopsEveryClassOfAttack(t *testing.T) {
	r := place(t, 100)
	for _, backend := range []string{"ebpf", "fanotify"} {
		t.Run(backend, func(t *testing.T) {
			needBackend(t, r, backend)
			for _, shape := range Shapes() {
				if shape.Class {
					t.Run(shape.Name, func(t *testing.T) { stops(t, r, shape, backend) })
				}
			}
		})
	}
}

func stops(t *testing.T, r *Range, shape Shape, backend string) {
	res, err := r.Try(t.Context(), shape, backend, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Frozen || res.Lost >= 200 || res.After != 0 {
		t.Errorf("frozen %v, %d of %d files lost, %d begun after the freeze\n%s", res.Frozen, res.Lost, r.Tree.Len(), res.After, strings.Join(res.Lines, "\n"))
	}
	if !res.Key && !shape.Each { // a process for each file may have ended, and its key with it
		t.Error("the key is not in the memory that was kept")
	}
}

// needBackend skips the test where the kernel or the build has no such backend.
func needBackend(t *testing.T, r *Range, backend string) {
	t.Helper()
	g, err := StartGuard(r.Agent, r.Tree.Dir, backend)
	if err != nil && strings.Contains(err.Error(), "refused by the kernel") {
		t.Skipf("no %s here: %v", backend, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Close(), r.Tree.Restore()); err != nil {
		t.Fatal(err)
	}
}
