package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sonae/sonae/protect/restic"
)

// repository reads a whole restic repository without restic.
func (c *check) repository(ctx context.Context, path string) error {
	if !restic.IsRepository(path) {
		return fmt.Errorf("%s: %w", path, errOther)
	}
	password, err := os.ReadFile(c.password)
	if err != nil {
		return fmt.Errorf("--password-file: %w", err)
	}
	folder, err := restic.OpenFolder(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	r, err := restic.Open(ctx, folder, strings.TrimRight(string(password), "\r\n"))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	report, err := r.Verify(ctx, restic.Options{Progress: c.far(time.Now)})
	if report != nil {
		c.damages(report)
	}
	return err
}

// damages says what a repository lacks.
func (c *check) damages(r *restic.Report) {
	for _, d := range r.Damages {
		c.differ(d.Error())
	}
	if r.More > 0 {
		c.differ(fmt.Sprintf("%d further damages", r.More))
	}
	for _, l := range r.Leftovers {
		c.note(l + ": no file of a repository")
	}
	if r.Unindexed > 0 {
		c.note(fmt.Sprintf("%d packs that no index names, as an interrupted backup leaves them", r.Unindexed))
	}
	for _, s := range r.Snapshots {
		word := "sound"
		if !s.Sound {
			word = "DAMAGED"
		}
		fmt.Fprintf(c.out, "snapshot %.8s of %s, host %s: %s\n", s.ID, s.Time.Format(time.RFC3339), s.Hostname, word)
	}
	fmt.Fprintf(c.out, "restic repository %.8s: %d snapshots, %d packs, %d blobs, %d bytes\n", r.Config.ID, len(r.Snapshots), r.Packs, r.Blobs, r.Bytes)
}

// far says every few seconds how far a long reading is.
func (c *check) far(now func() time.Time) func(restic.Progress) {
	last := now()
	return func(p restic.Progress) {
		if t := now(); t.Sub(last) > 5*time.Second {
			last = t
			fmt.Fprintf(c.progress, "read %d of %d MB\n", p.Bytes>>20, p.OfBytes>>20)
		}
	}
}
