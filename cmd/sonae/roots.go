package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
)

// roots shows several folders and files as one: the n-th stands under the name
// n, so that what is said of a rule can be traced back to its path.
type roots []string

// loadRules loads the rules below paths, or Sonae's own without any. The files
// in the report are paths that a person can open.
func loadRules(paths []string) (*detect.Engine, detect.Report, error) {
	if len(paths) == 0 {
		return detect.Load(rules.FS)
	}
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return nil, detect.Report{}, fmt.Errorf("load rules: %w", err)
		}
	}
	r := roots(paths)
	engine, report, err := detect.Load(r)
	for i := range report.Loaded {
		report.Loaded[i].File = r.path(report.Loaded[i].File)
	}
	for i := range report.Rejected {
		report.Rejected[i].File = r.path(report.Rejected[i].File)
		report.Rejected[i].Reason = r.inReason(report.Rejected[i].Reason)
	}
	return engine, report, err
}

// Open opens a file of one of the roots; "." is a folder that holds them all.
func (r roots) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return os.Open(".") // only asked whether it is a folder
	}
	return os.Open(r.path(name))
}

// ReadDir lists a folder of one of the roots, or the roots.
func (r roots) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return os.ReadDir(r.path(name))
	}
	var list []fs.DirEntry
	for i, p := range r {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		name := strconv.Itoa(i)
		if !info.IsDir() {
			name += path.Ext(filepath.ToSlash(p))
		}
		list = append(list, rootEntry{fs.FileInfoToDirEntry(info), name})
	}
	return list, nil
}

// path is where a name of the common folder really is.
func (r roots) path(name string) string {
	first, rest, _ := strings.Cut(name, "/")
	number, _, _ := strings.Cut(first, ".")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(r) {
		return name
	}
	return filepath.Join(cmp.Or(r[i], "."), filepath.FromSlash(rest))
}

// inReason puts the path into a reason that ends in another file's name.
func (r roots) inReason(s string) string {
	const taken = "the id is taken by "
	if name, ok := strings.CutPrefix(s, taken); ok {
		return taken + r.path(name)
	}
	return s
}

// rootEntry is a root under its number.
type rootEntry struct {
	fs.DirEntry
	name string
}

// Name is the number, with the extension of a file.
func (e rootEntry) Name() string { return e.name }
