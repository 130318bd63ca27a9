package copy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// ejectTime bounds the site's own program.
const ejectTime = 5 * time.Minute

// Ejector runs a program of the site with the folder of a medium as its only
// argument; nil where there is no such program: then a person ejects media.
func Ejector(program string) func(ctx context.Context, dir string) error {
	if info, err := os.Stat(program); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return func(ctx context.Context, dir string) error {
		ctx, stop := context.WithTimeout(ctx, ejectTime)
		defer stop()
		if out, err := exec.CommandContext(ctx, program, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("eject %s: %w: %.300q", dir, err, out)
		}
		return nil
	}
}
