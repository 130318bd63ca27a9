package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/note"
)

// TestScripts runs the program as people do. Scripts find what a practised hub
// left behind in $HUB, $BAG (id), $BAGZIP, $REPORT and $KEY; the key of
// another ledger in $OTHERKEY; and Sonae's rules in $RULES.
func TestScripts(t *testing.T) {
	t.Parallel()
	p := practise(t)
	rules, err := filepath.Abs("../../detect/rules")
	if err != nil {
		t.Fatal(err)
	}
	capture, err := filepath.Abs("../../ready/drill/data/torrent-callcentre.pcap")
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{"HUB": p.dir, "BAG": p.Bag.ID, "BAGZIP": p.bag, "REPORT": p.report, "KEY": p.key,
				"RULES": rules, "CAPTURE": capture, "OTHERKEY": other} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "flip": flip, "cut": cutFile},
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

// flip changes one bit in the middle of a file.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(path, b, 0o600))
}

// cutFile drops the second half of a file.
func cutFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cut FILE")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, b[:len(b)/2], 0o600))
}
