package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Markers of the page between which the tables stand.
const (
	begin = "<!-- measured: begin -->\n"
	end   = "<!-- measured: end -->\n"
)

// put writes text between the markers of a page, or prints it.
func put(path, text string) error {
	if path == "" {
		_, err := fmt.Print(text)
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(old), begin)
	_, tail, both := strings.Cut(rest, end)
	if !ok || !both {
		return errors.New(path + " has no markers for the tables")
	}
	return os.WriteFile(path, []byte(head+begin+text+end+tail), 0o644)
}

func version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "restic", "version").Output()
	if err != nil {
		return "?"
	}
	return strings.Fields(strings.TrimPrefix(string(out), "restic "))[0]
}
