package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/detect/sigma"
)

// Load loads the rules at paths, or Sonae's own without any. The files in the
// report are paths that a person can find; those in an archive are called by
// the archive, "!" and their name there.
func Load(paths []string) (*detect.Engine, detect.Report, error) {
	return LoadWith(sigma.Options{}, paths)
}

// LoadWith is Load with values for placeholders and with transformations.
func LoadWith(opt sigma.Options, paths []string) (*detect.Engine, detect.Report, error) {
	if len(paths) == 0 {
		return detect.LoadWith(opt, rules.FS)
	}
	var all union
	for _, p := range paths {
		s, err := open(p)
		if err != nil {
			return nil, detect.Report{}, fmt.Errorf("load rules: %s: %w", p, plain(err))
		}
		all = append(all, s)
	}
	engine, report, err := detect.LoadWith(opt, all)
	for i := range report.Loaded {
		report.Loaded[i].File = all.path(report.Loaded[i].File)
	}
	for i := range report.Rejected {
		report.Rejected[i].File = all.path(report.Rejected[i].File)
		report.Rejected[i].Reason = all.inReason(report.Rejected[i].Reason)
	}
	return engine, report, err
}

// plain leaves out the path that is said already.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// union shows several sources as one tree: the n-th stands under the name n,
// so that what is said of a rule can be traced back to its path.
type union []source

// Open opens a file of one of the sources; "." is a folder that holds them all.
func (u union) Open(name string) (fs.File, error) {
	if i, rest, ok := u.find(name); ok {
		return u[i].tree.Open(rest)
	}
	if name == "." && len(u) > 0 {
		return u[0].tree.Open(".") // only asked whether it is a folder
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir lists a folder of one of the sources, or the sources.
func (u union) ReadDir(name string) ([]fs.DirEntry, error) {
	if i, rest, ok := u.find(name); ok {
		return fs.ReadDir(u[i].tree, rest)
	}
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var list []fs.DirEntry
	for i, s := range u {
		info, err := fs.Stat(s.tree, ".")
		if err != nil {
			return nil, err
		}
		list = append(list, rootEntry{fs.FileInfoToDirEntry(info), strconv.Itoa(i)})
	}
	return list, nil
}

// find takes a name apart into the number of a source and a name there.
func (u union) find(name string) (i int, rest string, ok bool) {
	number, rest, _ := strings.Cut(name, "/")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(u) {
		return 0, "", false
	}
	if rest == "" {
		rest = "."
	}
	return i, rest, true
}

// path is where a name of the common tree really is.
func (u union) path(name string) string {
	if i, rest, ok := u.find(name); ok {
		return u[i].call(rest)
	}
	return name
}

// inReason puts the path into a reason that ends in another file's name.
func (u union) inReason(s string) string {
	const taken = "the id is taken by "
	if name, ok := strings.CutPrefix(s, taken); ok {
		return taken + u.path(name)
	}
	return s
}

// rootEntry is a source under its number.
type rootEntry struct {
	fs.DirEntry
	name string
}

// Name is the number.
func (e rootEntry) Name() string { return e.name }
