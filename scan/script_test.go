package scan_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sonae/sonae/scan"
	"github.com/sonae/sonae/scan/rule"
)

var update = flag.Bool("update", false, "rewrite the golden files and what scripts compare with")

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"sonae": program}) }

// program is as much of the command as these scripts need; cmd/sonae runs them
// with the whole of it.
func program() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) < 2 {
		os.Exit(2)
	}
	switch os.Args[1] {
	case "scan":
		os.Exit(scan.Command(ctx, os.Args[2:], os.Stdout, os.Stderr))
	case "rule":
		os.Exit(rule.Command(ctx, os.Args[2:], os.Stdout, os.Stderr))
	}
	os.Exit(2)
}

func TestScripts(t *testing.T) {
	const dir = "../cmd/sonae/testdata/script"
	var files []string
	for _, pattern := range []string{"scan*.txt", "rule*.txt"} {
		some, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(some) == 0 {
			t.Fatalf("no scripts %s: %v", pattern, err)
		}
		files = append(files, some...)
	}
	rules, err := filepath.Abs("../detect/rules")
	if err != nil {
		t.Fatal(err)
	}
	capture, err := filepath.Abs("../ready/drill/data/torrent-callcentre.pcap")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files:         files,
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("RULES", rules)
			env.Setenv("CAPTURE", capture)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "cut": half},
	})
}

// exits runs a command and wants an exit status: exits STATUS COMMAND….
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// half drops the second half of a file.
func half(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cut FILE")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, b[:len(b)/2], 0o600))
}
