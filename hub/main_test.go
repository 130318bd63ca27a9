package hub_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is the program that a hospital runs. Linking it takes longer than some
// tests do, so it is built once for all of them, when the first needs it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) { os.Exit(withProgram(m)) }

func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sonae-program")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.dir = dir
	return m.Run()
}

// sonaeProgram is the path of the program that a hospital runs.
func sonaeProgram(t *testing.T) string {
	t.Helper()
	out := filepath.Join(built.dir, "sonae")
	built.once.Do(func() {
		if b, err := exec.Command("go", "build", "-ldflags=-s", "-o", out, "../cmd/sonae").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build: %w: %s", err, b)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return out
}
