package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// put writes the text of a part between its markers of a page, or prints it.
func put(path, part, text string) error {
	if path == "" {
		_, err := fmt.Print(text)
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+part+": begin -->\n", "<!-- "+part+": end -->\n"
	head, rest, ok := strings.Cut(string(old), begin)
	_, tail, both := strings.Cut(rest, end)
	if !ok || !both {
		return fmt.Errorf("%s has no markers for the tables of %s", path, part)
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
