package detect

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/detect/sigma"
)

// Report says what became of each rule that was to be loaded.
type Report struct {
	Loaded   []Loaded   `json:"loaded"`
	Rejected []Rejected `json:"rejected"`
	// Filters are those that were read, with the rules that each narrows.
	Filters []sigma.Applied `json:"filters,omitempty"`
}

// Loaded is a rule in force.
type Loaded struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Author string `json:"author,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
}

// Rejected is a rule that is not in force, and why.
type Rejected struct {
	ID      string `json:"id,omitempty"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Unbuilt bool   `json:"unbuilt"` // valid, but this version has no such feature
	Reason  string `json:"reason"`
}

// loading is what Load has read so far.
type loading struct {
	rep          Report
	rules        []*sigma.Rule
	correlations []*sigma.Correlation
	taken        map[string]string            // id → file
	sources      map[string][sha256.Size]byte // id → digest of its file and of the filters that narrow it
	places       map[string]source            // id → where it was read from
}

// Load reads every *.yml and *.yaml file below the roots. A rule that cannot
// be understood, or whose id is taken, is left out and named in the Report, as
// is a correlation that refers to such a rule; an error means that files could
// not be read at all. A filter narrows the rules of all roots, so that a site
// quiets a rule of the pack without changing it.
func Load(roots ...fs.FS) (*Engine, Report, error) { return LoadWith(sigma.Options{}, roots...) }

// LoadWith is Load with values for placeholders and with transformations that
// fit rules to how events name things.
func LoadWith(opt sigma.Options, roots ...fs.FS) (*Engine, Report, error) {
	l := &loading{taken: map[string]string{}, sources: map[string][sha256.Size]byte{}, places: map[string]source{}}
	var files []sigma.File
	for at, root := range roots {
		err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !ruleFile(name) {
				return err
			}
			data, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			files = append(files, sigma.File{Name: rooted(at, name), Data: data})
			return nil
		})
		if err != nil {
			return nil, l.rep, fmt.Errorf("load rules: %w", err)
		}
	}
	l.read(files, opt)
	plan := l.plan()
	e := build(l.rules, plan)
	e.book = l.book(roots, plan)
	return e, l.rep, nil
}

// rooted names a file so that those of several roots stay apart.
func rooted(root int, name string) string { return strconv.Itoa(root) + ":" + name }

// unrooted undoes rooted.
func unrooted(file string) (root int, name string) {
	number, name, _ := strings.Cut(file, ":")
	root, err := strconv.Atoi(number)
	if err != nil {
		return 0, file
	}
	return root, name
}

func ruleFile(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".yml" || ext == ".yaml"
}

func (l *loading) read(files []sigma.File, opt sigma.Options) {
	digests, place := map[string][sha256.Size]byte{}, map[string]int{}
	for i, f := range files {
		digests[f.Name], place[f.Name] = sha256.Sum256(f.Data), i
	}
	made := sigma.Load(files, opt)
	for i := range made.Filters {
		_, made.Filters[i].File = unrooted(made.Filters[i].File)
	}
	if len(made.Filters) > 0 {
		l.rep.Filters = made.Filters
	}
	slices.SortStableFunc(made.Rejected, func(a, b *sigma.Error) int { return place[a.File] - place[b.File] })
	for _, e := range made.Rejected {
		_, file := unrooted(e.File)
		l.rep.Rejected = append(l.rep.Rejected, Rejected{e.ID, file, e.Line, e.Unbuilt, e.Reason})
	}
	for _, r := range made.Rules {
		if l.take(r, digests[r.File]) {
			l.rules = append(l.rules, r)
			l.loaded(r)
		}
	}
	for _, c := range made.Correlations {
		if l.take(&c.Rule, digests[c.File]) {
			l.correlations = append(l.correlations, c)
		}
	}
}

// narrowed is the digest of a rule with the filters that narrow it: what was
// counted without a filter does not count with it.
func narrowed(rule [sha256.Size]byte, filters []string) [sha256.Size]byte {
	if len(filters) == 0 {
		return rule
	}
	return sha256.Sum256(append(rule[:], strings.Join(filters, "\x00")...))
}

// take refuses an id that is taken. digest is that of the file.
func (l *loading) take(r *sigma.Rule, digest [sha256.Size]byte) bool {
	root, file := unrooted(r.File)
	r.File = file
	if first, taken := l.taken[r.ID]; taken {
		l.reject(r, "the id is taken by "+first)
		return false
	}
	l.taken[r.ID] = r.File
	l.sources[r.ID] = narrowed(digest, r.Filters)
	l.places[r.ID] = source{root, digest}
	return true
}

func (l *loading) loaded(r *sigma.Rule) {
	l.rep.Loaded = append(l.rep.Loaded, Loaded{r.ID, r.Title, r.Author, r.File, r.Line})
}

func (l *loading) reject(r *sigma.Rule, reason string) {
	l.rep.Rejected = append(l.rep.Rejected, Rejected{ID: r.ID, File: r.File, Line: r.Line, Reason: reason})
}
