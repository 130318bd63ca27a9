package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// lokiModule is the release that is built.
const lokiModule = "github.com/grafana/loki/v3@v3.7.8"

// buildLoki builds Loki from its module into a file. The module replaces some
// of what it needs; a program outside has to repeat that.
func buildLoki(ctx context.Context, to string) error {
	dir, err := os.MkdirTemp("", "sonae-bench-loki-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out, err := goRun(ctx, dir, "mod", "download", "-json", lokiModule)
	if err != nil {
		return err
	}
	var module struct{ GoMod string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	own, err := os.ReadFile(module.GoMod)
	if err != nil {
		return err
	}
	text := "module lokibuild\n\ngo 1.26.0\n"
	for line := range strings.Lines(string(own)) {
		if strings.HasPrefix(line, "replace ") && !strings.Contains(line, "=> ./") || strings.HasPrefix(line, "exclude ") {
			text += "\n" + line
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o644); err != nil {
		return err
	}
	path, _, _ := strings.Cut(lokiModule, "@")
	say("building Loki, this takes minutes")
	for _, args := range [][]string{{"get", path + "/cmd/loki@v3.7.8"}, {"build", "-mod=mod", "-o", to, path + "/cmd/loki"}} {
		if _, err := goRun(ctx, dir, args...); err != nil {
			return err
		}
	}
	return nil
}

func goRun(ctx context.Context, dir string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = dir
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out, nil
}
