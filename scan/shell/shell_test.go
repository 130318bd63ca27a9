package shell

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/sonae/sonae/scan"
)

func commands() []Command {
	return []Command{
		{Name: "scan", Say: "look at logs", Flags: scan.Flags()},
		{Name: "rule", Say: "rules: it's [all] here", Below: []Command{{Name: "list", Say: "list"}, {Name: "update", Say: "update", Flags: []scan.Flag{{Name: "key", Arg: "KEY", Path: true}}}}},
		{Name: "serve", Say: "run"},
	}
}

func script(t *testing.T, shell string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, shell, "sonae", commands()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBashCompletes asks bash itself what it would offer.
func TestBashCompletes(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not here")
	}
	for line, want := range map[string]string{
		"sonae s":                       "scan serve",
		"sonae rule ":                   "list update",
		"sonae scan --min-level h":      "high",
		"sonae scan --format ":          "text jsonl html csv",
		"sonae scan --ti":               "--timeline",
		"sonae rule update --k":         "--key",
		"sonae scan --rules x --no-pro": "--no-progress",
	} {
		words := strings.Split(line, " ")
		test := script(t, "bash") + "\nCOMP_WORDS=('" + strings.Join(words, "' '") + "')\nCOMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_sonae\necho \"${COMPREPLY[*]}\"\n"
		out, err := exec.Command("bash", "-c", test).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", line, got, err, want)
		}
	}
}

func TestScriptsAreUnderstoodByTheirShells(t *testing.T) {
	for _, shell := range Shells() {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(shell + " is not here")
			}
			cmd := exec.Command(shell, "-n")
			if shell == "fish" {
				cmd = exec.Command(shell, "--no-execute", "/dev/stdin")
			}
			cmd.Stdin = strings.NewReader(script(t, shell))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestEveryFlagIsOffered(t *testing.T) {
	for _, shell := range Shells() {
		text := script(t, shell)
		for _, f := range scan.Flags() {
			name := "--" + f.Name
			if shell == "fish" {
				name = "-l " + f.Name
			}
			if !strings.Contains(text, name) {
				t.Errorf("%s does not know %s", shell, name)
			}
		}
	}
}

func TestDangerousNamesAreRefused(t *testing.T) {
	for _, c := range []Command{{Name: "a;b"}, {Name: "ok", Flags: []scan.Flag{{Name: "$(x)"}}}, {Name: "ok", Below: []Command{{Name: "`x`"}}}} {
		if err := Write(&bytes.Buffer{}, "bash", "sonae", []Command{c}); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	if err := Write(&bytes.Buffer{}, "tcsh", "sonae", nil); err == nil {
		t.Error("an unknown shell was taken")
	}
}
