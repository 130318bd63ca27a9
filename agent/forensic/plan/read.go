package plan

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// site is what one file says.
type site struct {
	file      string
	stages    []rawStage
	commands  [][]string
	memory    *Memory
	snapshots []Snapshot
}

type rawStage struct {
	Stage
	items []rawItem
}

// rawItem is an item, or the name of an artifact that stands for some.
type rawItem struct {
	Item
	artifact string
	line     int
}

// Limits of one file.
const (
	maxNodes = 50_000
	maxText  = 4000
	maxArgs  = 100
	maxDepth = 12
)

// at1 puts file and line before an error.
func at1(file string, line int, err error) error { return fmt.Errorf("%s:%d: %w", file, line, err) }

// node is a YAML node with the file that it stands in, for errors.
type node struct {
	*yaml.Node
	file string
}

func (n node) errorf(format string, args ...any) error {
	return at1(n.file, n.Line, fmt.Errorf(format, args...))
}

// documents reads all YAML documents of a file.
func documents(file string, data []byte) ([]node, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: more than %d bytes", file, maxFile)
	}
	var out []node
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	left := maxNodes
	for {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("%s: %w", file, err)
		}
		if err := bounded(&n, &left, maxDepth); err != nil {
			return out, at1(file, max(1, n.Line), err)
		}
		if len(n.Content) > 0 && n.Content[0].Tag != "!!null" {
			out = append(out, node{n.Content[0], file})
		}
	}
}

// bounded refuses what is too much, and aliases, which can stand for more than
// a file shows.
func bounded(n *yaml.Node, left *int, depth int) error {
	if *left--; *left < 0 || depth == 0 {
		return errors.New("too much, or nested too deeply")
	}
	if n.Kind == yaml.AliasNode {
		return fmt.Errorf("line %d: aliases are not read", n.Line)
	}
	if len(n.Value) > maxText {
		return fmt.Errorf("line %d: a text of more than %d bytes", n.Line, maxText)
	}
	for _, c := range n.Content {
		if err := bounded(c, left, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// mapping calls the function of each key; a key without one is an error,
// unless others is set.
func (n node) mapping(others bool, keys map[string]func(node) error) error {
	if n.Kind != yaml.MappingNode {
		return n.errorf("keys and values are wanted here")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := node{n.Content[i], n.file}, node{n.Content[i+1], n.file}
		f := keys[k.Value]
		switch {
		case seen[k.Value]:
			return k.errorf("%q stands here twice", k.Value)
		case f == nil && others:
			continue
		case f == nil:
			return k.errorf("%q is not known here", k.Value)
		}
		seen[k.Value] = true
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

// each calls f for each value of a list.
func (n node) each(f func(node) error) error {
	if n.Kind != yaml.SequenceNode {
		return n.errorf("a list is wanted here")
	}
	for _, c := range n.Content {
		if err := f(node{c, n.file}); err != nil {
			return err
		}
	}
	return nil
}

func (n node) text(to *string) error {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		return n.errorf("a text is wanted here")
	}
	*to = n.Value
	return nil
}

func (n node) texts(to *[]string) error {
	return n.each(func(c node) error {
		if len(*to) == maxArgs {
			return c.errorf("more than %d texts", maxArgs)
		}
		var s string
		err := c.text(&s)
		*to = append(*to, s)
		return err
	})
}

func (n node) flag(to *bool) error {
	if n.Decode(to) != nil {
		return n.errorf("true or false is wanted here")
	}
	return nil
}

func (n node) span(to *time.Duration) error {
	d, err := time.ParseDuration(n.Value)
	if err != nil || d <= 0 || d > 24*time.Hour {
		return n.errorf("a time such as 30s or 10m is wanted here, at most 24h")
	}
	*to = d
	return nil
}

func (n node) title(to *Title) error {
	if n.Kind == yaml.ScalarNode {
		return n.text(&to.JA)
	}
	if err := n.mapping(false, map[string]func(node) error{
		"ja": func(v node) error { return v.text(&to.JA) }, "en": func(v node) error { return v.text(&to.EN) },
	}); err != nil {
		return err
	}
	if to.JA == "" {
		return n.errorf("a title needs ja")
	}
	return nil
}

// parseSite reads a plan or what a site adds to it.
func parseSite(file string, data []byte) (site, error) {
	s := site{file: file}
	docs, err := documents(file, data)
	if err != nil || len(docs) == 0 {
		return s, err
	}
	if len(docs) > 1 {
		return s, docs[1].errorf("one document is enough")
	}
	return s, docs[0].mapping(false, map[string]func(node) error{
		"stages":    func(v node) error { return v.each(s.stage) },
		"commands":  func(v node) error { return v.each(s.command) },
		"memory":    s.tool,
		"snapshots": func(v node) error { return v.each(s.snapshot) },
	})
}

func (s *site) command(n node) error {
	var args []string
	if err := n.texts(&args); err != nil {
		return err
	}
	if len(args) == 0 {
		return n.errorf("a command is wanted here")
	}
	s.commands = append(s.commands, args)
	return nil
}

func (s *site) stage(n node) error {
	var st rawStage
	err := n.mapping(false, map[string]func(node) error{
		"id":     func(v node) error { return v.text(&st.ID) },
		"title":  func(v node) error { return v.title(&st.Title) },
		"within": func(v node) error { return v.span(&st.Within) },
		"items":  func(v node) error { return v.each(st.item) },
	})
	if err == nil && st.ID == "" {
		err = n.errorf("a stage needs an id")
	}
	s.stages = append(s.stages, st)
	return err
}

func (st *rawStage) item(n node) error {
	it := rawItem{line: n.Line}
	var each []string
	kind := func(k Kind) func(node) error {
		return func(v node) error {
			if it.Kind != "" || it.artifact != "" {
				return v.errorf("an item is one of collect, file, tail, glob, list, command, artifact")
			}
			it.Kind = k
			if k != Command {
				return v.text(&it.What)
			}
			if err := v.texts(&it.Args); err != nil {
				return err
			}
			if len(it.Args) == 0 {
				return v.errorf("a command is wanted here")
			}
			it.What = it.Args[0]
			return nil
		}
	}
	err := n.mapping(false, map[string]func(node) error{
		"collect": kind(Collect), "file": kind(File), "tail": kind(Tail), "glob": kind(Glob), "list": kind(List), "command": kind(Command),
		"artifact": func(v node) error { return v.text(&it.artifact) },
		"to":       func(v node) error { return v.text(&it.To) },
		"title":    func(v node) error { return v.title(&it.Title) },
		"stream":   func(v node) error { return v.flag(&it.Stream) },
		"each":     func(v node) error { return v.texts(&each) },
	})
	if err != nil {
		return err
	}
	return st.take(n, it, each)
}

// take checks an item and appends it, once for each text of each.
func (st *rawStage) take(n node, it rawItem, each []string) error {
	if err := it.check(n); err != nil {
		return err
	}
	if each == nil {
		st.items = append(st.items, it)
		return nil
	}
	for _, e := range each {
		one := it
		fill := func(s string) string { return strings.ReplaceAll(s, "{}", e) }
		one.What, one.To, one.Title = fill(it.What), fill(it.To), Title{fill(it.Title.JA), fill(it.Title.EN)}
		st.items = append(st.items, one)
	}
	return nil
}

func (it rawItem) check(n node) error {
	switch {
	case it.artifact != "":
		if it.Kind != "" || it.To != "" || it.Title.JA != "" {
			return n.errorf("an artifact brings its own path and title")
		}
		return nil
	case it.Kind == "":
		return n.errorf("an item is one of collect, file, tail, glob, list, command, artifact")
	case it.Title.JA == "":
		return n.errorf("an item needs a title")
	case it.To == "" && it.Kind != Collect || it.To != "" && BagPath("", path.Clean(it.To)) != "/"+it.To:
		return n.errorf("an item needs a plain path in the bag (to)")
	case it.Kind != Collect && it.Kind != Command && !strings.HasPrefix(it.What, "/") && !strings.HasPrefix(it.What, "%%users.homedir%%/"):
		return n.errorf("%q is no whole path", it.What)
	}
	return nil
}

func (s *site) tool(n node) error {
	m := &Memory{}
	err := n.mapping(false, map[string]func(node) error{
		"path":   func(v node) error { return v.text(&m.Path) },
		"sha256": func(v node) error { return v.text(&m.SHA256) },
		"source": func(v node) error { return v.text(&m.Source) },
		"max-gib": func(v node) error {
			var g int64
			if v.Decode(&g) != nil || g < 1 || g > 1024 {
				return v.errorf("a number from 1 to 1024 is wanted here")
			}
			m.MaxBytes = g << 30
			return nil
		},
	})
	if err != nil {
		return err
	}
	m.SHA256 = strings.ToLower(m.SHA256)
	if !path.IsAbs(m.Path) || len(m.SHA256) != 64 || strings.Trim(m.SHA256, "0123456789abcdef") != "" {
		return n.errorf("memory needs the whole path of the tool and its sha256")
	}
	s.memory = m
	return nil
}

func (s *site) snapshot(n node) error {
	sn := Snapshot{Timeout: 10 * time.Minute}
	err := n.mapping(false, map[string]func(node) error{
		"name":    func(v node) error { return v.text(&sn.Name) },
		"title":   func(v node) error { return v.title(&sn.Title) },
		"memory":  func(v node) error { return v.flag(&sn.Memory) },
		"command": func(v node) error { return v.texts(&sn.Args) },
		"timeout": func(v node) error { return v.span(&sn.Timeout) },
	})
	if err != nil {
		return err
	}
	if sn.Name == "" || BagPath("", sn.Name) != "/"+sn.Name || len(sn.Args) == 0 || !path.IsAbs(sn.Args[0]) {
		return n.errorf("a snapshot needs a plain name and a command with the whole path of its program")
	}
	if sn.Title.JA == "" {
		sn.Title.JA = sn.Name
	}
	s.snapshots = append(s.snapshots, sn)
	return nil
}
