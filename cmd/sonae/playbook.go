package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/playbook/cacao"
)

// playbookCommand checks playbooks before they are imported: exit 0 when all
// can be used, 1 when one cannot, 2 for unusable arguments.
func playbookCommand(_ context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) < 2 || args[0] != "check" {
		fmt.Fprintln(stderr, "usage: sonae playbook check FILE…")
		return 2
	}
	bad := 0
	for _, name := range args[1:] {
		if err := checkPlaybook(name, stdout); err != nil {
			bad = 1
			var all cacao.Problems
			if !errors.As(err, &all) {
				fmt.Fprintf(stdout, "%s: %v\n", name, err)
			}
			for _, p := range all {
				fmt.Fprintf(stdout, "%s: %s\n", name, p)
			}
		}
	}
	return bad
}

func checkPlaybook(name string, out io.Writer) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, cacao.MaxBytes+1))
	if err != nil {
		return err
	}
	b, err := playbook.Parse(text)
	if err == nil {
		fmt.Fprintf(out, "%s: can be used: %s, %d steps\n", name, b.Name.In("en"), len(b.Cards))
	}
	return err
}
