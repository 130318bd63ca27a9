// Package plan says what is taken from a machine as evidence, and in which
// order: the most volatile first (RFC 3227 §2.1).
//
// In: our own plan (plan.yaml in this package), what a site adds to it
// (forensic.yaml in the agent's folder), and definitions in the public format
// of ForensicArtifacts (artifacts/*.yaml beside it). Out: Plan, stages of
// items. Always true: a plan that is read is bounded; what cannot be read is
// named with file and line, and takes nothing else with it; a command that an
// artifact definition names runs only when the plan or the site allows exactly
// that line.
package plan

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Title is a text in both languages.
type Title struct{ JA, EN string }

// String is both, Japanese first.
func (t Title) String() string {
	if t.EN == "" || t.EN == t.JA {
		return t.JA
	}
	return t.JA + " / " + t.EN
}

// Kind is how an item is taken.
type Kind string

// Kinds of items.
const (
	Collect Kind = "collect" // What names a collector that is built in
	File    Kind = "file"    // What is one path
	Tail    Kind = "tail"    // What is a pattern; the end of each file
	Glob    Kind = "glob"    // What is a pattern; each file whole
	List    Kind = "list"    // What is a pattern; names, sizes and times of what is there
	Command Kind = "command" // Args run, What is Args[0]; the output
	Refused Kind = "refused" // nothing is taken; What says why
)

// Item is one thing to be taken, or several where a pattern fits several files.
type Item struct {
	Kind   Kind
	What   string
	Args   []string
	Stream bool   // a command whose output may be long
	To     string // path in the bag; of a pattern: the folder
	Title  Title
}

// Stage is items of about the same volatility.
type Stage struct {
	ID     string
	Title  Title
	Within time.Duration // after the order at which it should be done; 0: whenever
	Items  []Item
}

// Plan is everything, in order.
type Plan struct {
	Stages    []Stage
	Commands  [][]string // lines that artifact definitions may run
	Memory    *Memory    // nil: no tool for the whole memory was supplied
	Snapshots []Snapshot
}

// Memory is a tool that prints the whole memory of the machine (AVML).
type Memory struct {
	Path     string
	SHA256   string // of the tool, hex
	Source   string // passed on as --source; empty: the tool chooses
	MaxBytes int64  // 0: 32 GiB
}

// Snapshot is a command of the site that keeps the disk or the memory of a
// machine or of a virtual machine somewhere else.
type Snapshot struct {
	Name    string
	Title   Title
	Memory  bool // comes before those of disks
	Args    []string
	Timeout time.Duration
}

// Names of the files of a site, in the agent's folder.
const (
	SiteFile    = "forensic.yaml"
	ArtifactDir = "artifacts"
)

//go:embed plan.yaml
var builtin []byte

// Default is the plan without what a site adds.
func Default() (Plan, error) {
	s, err := parseSite("plan.yaml", builtin)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Commands: s.commands}
	return p, p.add(s, nil)
}

// Load adds to the plan what a site has in its folder. The plan is usable even
// with an error: what could not be read is left out, and the error says what.
func Load(dir string) (Plan, error) {
	p, err := Default()
	if err != nil {
		return p, err
	}
	s, err := readSite(filepath.Join(dir, SiteFile))
	errs := []error{err}
	arts, err := ReadArtifacts(filepath.Join(dir, ArtifactDir))
	errs = append(errs, err)
	p.Commands = append(p.Commands, s.commands...)
	p.Memory, p.Snapshots = s.memory, s.snapshots
	slices.SortStableFunc(p.Snapshots, func(a, b Snapshot) int { // memory is gone first
		switch {
		case a.Memory == b.Memory:
			return 0
		case a.Memory:
			return -1
		}
		return 1
	})
	return p, errors.Join(append(errs, p.add(s, arts))...)
}

func readSite(path string) (site, error) {
	b, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return site{}, nil
	}
	if err != nil {
		return site{}, err
	}
	s, err := parseSite(path, b)
	if err != nil {
		return site{}, err
	}
	return s, nil
}

// maxFile bounds one file that is read.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxFile || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: more than %d bytes, or no file", path, maxFile)
	}
	return os.ReadFile(path)
}

// add appends the stages of a file. A stage that the plan has gets its items
// at its end; a new one comes last. arts are the definitions that items name.
func (p *Plan) add(s site, arts []Artifact) error {
	var errs []error
	for _, st := range s.stages {
		at := slices.IndexFunc(p.Stages, func(o Stage) bool { return o.ID == st.ID })
		if at < 0 {
			at = len(p.Stages)
			p.Stages = append(p.Stages, Stage{ID: st.ID, Title: st.Title, Within: st.Within})
		}
		for _, it := range st.items {
			items, err := p.items(it, arts)
			if err != nil {
				errs = append(errs, at1(s.file, it.line, err))
				continue
			}
			for _, n := range items {
				if p.Count() == maxItems {
					return errors.Join(append(errs, fmt.Errorf("%s: more than %d items", s.file, maxItems))...)
				}
				p.Stages[at].Items = append(p.Stages[at].Items, n)
			}
		}
	}
	return errors.Join(errs...)
}

// maxItems bounds the items of a plan.
const maxItems = 2000

// Count is how many items there are.
func (p *Plan) Count() (n int) {
	for _, s := range p.Stages {
		n += len(s.Items)
	}
	return n
}

// items are what one entry of a file stands for.
func (p *Plan) items(it rawItem, arts []Artifact) ([]Item, error) {
	if it.artifact == "" {
		return []Item{it.Item}, nil
	}
	at := slices.IndexFunc(arts, func(a Artifact) bool { return a.Name == it.artifact })
	if at < 0 {
		return nil, fmt.Errorf("there is no artifact %q", it.artifact)
	}
	return p.expand(arts[at], arts, nil)
}

// Allowed says whether artifact definitions may run a line. The folder of the
// program does not count.
func (p *Plan) Allowed(args []string) bool {
	return slices.ContainsFunc(p.Commands, func(c []string) bool {
		return len(c) == len(args) && filepath.Base(c[0]) == filepath.Base(args[0]) && slices.Equal(c[1:], args[1:])
	})
}

// BagPath makes a path in a bag of a path on the machine below a folder of the
// bag: what a bag's path must not contain is written as "=" and its code.
func BagPath(dir, path string) string {
	var b strings.Builder
	b.WriteString(dir)
	depth := strings.Count(dir, "/")
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" {
			continue
		}
		if depth++; depth > maxBagDepth {
			b.WriteString("=2F")
		} else {
			b.WriteByte('/')
		}
		escape(&b, seg)
	}
	s := b.String()
	if len(s) <= maxBagPath {
		return s
	}
	return strings.TrimRight(strings.ToValidUTF8(s[:maxBagPath-9], ""), "/. ") + fmt.Sprintf("=%08x", sum32(path))
}

// Bounds that are tighter than those of a bag.
const (
	maxBagPath  = 400 // bytes
	maxBagDepth = 10
)

func escape(b *strings.Builder, seg string) {
	for i := 0; i < len(seg); {
		r, n := utf8.DecodeRuneInString(seg[i:])
		end := i == 0 || i+n == len(seg)
		if r == utf8.RuneError || !unicode.IsPrint(r) || strings.ContainsRune(`=\%:*?"<>|~`, r) || end && r == ' ' || i+n == len(seg) && r == '.' {
			for _, c := range []byte(seg[i : i+n]) {
				fmt.Fprintf(b, "=%02X", c)
			}
		} else {
			b.WriteString(seg[i : i+n])
		}
		i += n
	}
}

func sum32(s string) (h uint32) { // FNV-1a, to tell long names apart
	h = 2166136261
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}
