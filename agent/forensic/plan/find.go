package plan

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Limits of looking for files.
const (
	maxFound   = 1000
	maxVisited = 50_000
	maxLevels  = 10 // of "**"
	usualDepth = 3  // of "**" without a number
)

// Found is what a pattern fits.
type Found struct {
	Paths []string // sorted
	More  bool     // there were more than are looked at
}

// Find looks for what a pattern fits: "*", "?" and "[…]" within a name, "**"
// for up to three levels of folders, "**N" for N, and a leading
// %%users.homedir%% for the home of each user (passwd is what /etc/passwd
// says). It follows no symbolic link to a folder, does not look into what the
// kernel makes (/proc, /sys), and visits a bounded number of names.
func Find(ctx context.Context, pattern, passwd string) Found {
	f := finder{ctx: ctx}
	for _, p := range Homes(pattern, passwd) {
		f.walk("/", strings.Split(strings.Trim(filepath.ToSlash(p), "/"), "/"))
	}
	slices.Sort(f.out)
	f.out = slices.Compact(f.out)
	if len(f.out) > maxFound {
		f.out, f.more = f.out[:maxFound], true
	}
	return Found{f.out, f.more}
}

// Homes puts the home of each user for %%users.homedir%%.
func Homes(pattern, passwd string) []string {
	rest, ok := strings.CutPrefix(pattern, homes)
	if !ok {
		return []string{pattern}
	}
	var out []string
	for l := range strings.Lines(passwd) {
		f := strings.Split(l, ":")
		if len(f) < 7 || !strings.HasPrefix(f[5], "/") || f[5] == "/" || slices.Contains(out, f[5]+rest) || strings.ContainsAny(f[5], "*?[") {
			continue
		}
		if out = append(out, f[5]+rest); len(out) == maxFound {
			break
		}
	}
	return out
}

type finder struct {
	ctx     context.Context
	visited int
	out     []string
	more    bool
}

// full says whether to look no further.
func (f *finder) full() bool {
	f.more = f.more || len(f.out) > maxFound || f.visited > maxVisited
	return f.more || f.ctx.Err() != nil
}

// walk looks below dir for the rest of a pattern.
func (f *finder) walk(dir string, rest []string) {
	if f.full() {
		return
	}
	if len(rest) == 0 {
		f.out = append(f.out, dir)
		return
	}
	if n, ok := levels(rest[0]); ok {
		f.below(dir, rest[1:], n)
		return
	}
	if !strings.ContainsAny(rest[0], "*?[") {
		f.visited++
		next := filepath.Join(dir, rest[0])
		if st, err := os.Lstat(next); err == nil && (len(rest) == 1 || st.IsDir() || st.Mode()&fs.ModeSymlink != 0) {
			f.walk(next, rest[1:])
		}
		return
	}
	for _, e := range f.names(dir) {
		if ok, err := filepath.Match(rest[0], e.Name()); err == nil && ok && (len(rest) == 1 || e.IsDir()) {
			f.walk(filepath.Join(dir, e.Name()), rest[1:])
		}
	}
}

// below is "**": the rest in dir and in up to n levels of folders below. As the
// last part it fits every name there.
func (f *finder) below(dir string, rest []string, n int) {
	last := len(rest) == 0
	if !last {
		f.walk(dir, rest)
	}
	if n == 0 || f.full() {
		return
	}
	for _, e := range f.names(dir) {
		next := filepath.Join(dir, e.Name())
		if last {
			f.walk(next, nil)
		}
		if e.IsDir() && !f.full() && next != "/proc" && next != "/sys" {
			f.below(next, rest, n-1)
		}
	}
}

// levels reads "**" and "**N".
func levels(part string) (int, bool) {
	number, ok := strings.CutPrefix(part, "**")
	if !ok {
		return 0, false
	}
	if number == "" {
		return usualDepth, true
	}
	n, err := strconv.Atoi(number)
	return min(n, maxLevels), err == nil && n > 0
}

// names lists a folder; one that cannot be read is empty.
func (f *finder) names(dir string) []os.DirEntry {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	all, _ := d.ReadDir(maxVisited - f.visited + 1) // what was read counts
	_ = d.Close()                                   // it was only read
	f.visited += len(all)
	slices.SortFunc(all, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all
}
