package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sonae/sonae/hub/hubtest"
)

// asProgram makes the test binary be the program itself.
const asProgram = "SONAE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"sonae": main})
}

// program is the program with arguments, to be run as a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// served is `sonae serve` on a folder.
func served(t *testing.T, dir string, args ...string) *hubtest.Hub {
	t.Helper()
	return hubtest.Process(t, dir, program(t, append([]string{"serve", "--dir", dir, "--listen", "127.0.0.1:0", "--local", "127.0.0.1:0",
		"--agents", "127.0.0.1:0", "--min-free", "16777216"}, args...)...))
}
