package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/report/beside"
	"github.com/sonae/sonae/state"
)

// paperExport checks an export of what came on paper: a folder or a zip.
func (c *check) paperExport(path string) error {
	key := c.key
	if key == "" {
		if key = paper.OwnKey(path); key == "" {
			return fmt.Errorf("%s: %w", path, errNoKey)
		}
		fmt.Fprintln(c.out, "key: the export's own (compare it with the hub's printed key, or give --key)")
	}
	r, err := paper.Check(path, key)
	if err != nil {
		return err
	}
	for _, p := range r.Problems {
		c.differ(filepath.Join(path, p))
	}
	fmt.Fprintf(c.out, "export of paper %s: incident %d, %d files, recorded %s\n", r.Export.ID, r.Export.No, r.Files, r.Recorded)
	return nil
}

// paperFile checks one file of an export by its proof; false: the proof beside
// it is about something else.
func (c *check) paperFile(path string) (bool, error) {
	b, err := os.ReadFile(path + beside.Suffix)
	if err != nil || !paper.IsProof(b) {
		return false, err
	}
	key, err := c.keyBeside(path)
	if err != nil {
		return true, err
	}
	l, err := paper.CheckFile(path, key)
	if err != nil {
		c.differ(path + ": " + err.Error())
	}
	fmt.Fprintf(c.out, "%s %s, recorded %s\n", l.Type, l.Ref, l.At.Format("2006-01-02T15:04:05Z07:00"))
	return true, nil
}

// keyBeside is keyFor for a file that may lie in a folder of an export, whose
// key lies above.
func (c *check) keyBeside(path string) (string, error) {
	dir := filepath.Dir(path)
	if _, err := os.Stat(filepath.Join(dir, keyFile)); err != nil {
		dir = filepath.Dir(filepath.Clean(dir))
	}
	return c.keyFor(dir)
}

// keptPaper compares the bytes of pictures and logs that a hub keeps.
func (c *check) keptPaper(ctx context.Context, db *state.DB, open func(name string) (io.ReadCloser, error)) error {
	found, err := paper.VerifyFiles(ctx, db, open)
	if err != nil {
		return err
	}
	for _, d := range found {
		c.differ("pictures and logs: " + d.String())
	}
	return nil
}
