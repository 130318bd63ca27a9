package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Artifact is one definition in the format of ForensicArtifacts
// (https://artifacts.readthedocs.io/, "Artifact definition format").
type Artifact struct {
	Name, Doc string
	OS        []string // empty: all
	Sources   []Source
	Where     string // file:line
}

// Source is one place of an artifact. Types that mean nothing on this system
// (registry, WMI …) are kept by name only.
type Source struct {
	Type  string
	OS    []string // empty: those of the artifact
	Paths []string // FILE, PATH, DIRECTORY
	Args  []string // COMMAND: the program and its arguments
	Names []string // ARTIFACT_GROUP
}

// maxArtifacts bounds the definitions of a site.
const maxArtifacts = 5000

// ReadArtifacts reads all definitions of a folder, which need not exist. Those
// that could be read come back even with an error.
func ReadArtifacts(dir string) ([]Artifact, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var all []Artifact
	var errs []error
	for _, f := range files {
		b, err := readFile(f)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			continue
		}
		some, err := ParseArtifacts(f, b)
		errs = append(errs, err)
		all = append(all, some...)
		if len(all) > maxArtifacts {
			return all[:maxArtifacts], errors.Join(append(errs, fmt.Errorf("%s: more than %d artifacts", f, maxArtifacts))...)
		}
	}
	return all, errors.Join(errs...)
}

// ParseArtifacts reads the definitions of one file, one a document. A
// definition that cannot be read is named in the error and left out.
func ParseArtifacts(file string, data []byte) ([]Artifact, error) {
	docs, err := documents(file, data)
	errs := []error{err}
	var out []Artifact
	for _, d := range docs {
		a, err := parseArtifact(d)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, a)
	}
	return out, errors.Join(errs...)
}

func parseArtifact(n node) (Artifact, error) {
	a := Artifact{Where: fmt.Sprintf("%s:%d", n.file, n.Line)}
	err := n.mapping(true, map[string]func(node) error{ // urls, aliases, labels … say nothing about what is taken
		"name":         func(v node) error { return v.text(&a.Name) },
		"doc":          func(v node) error { return v.text(&a.Doc) },
		"supported_os": func(v node) error { return v.texts(&a.OS) },
		"sources":      func(v node) error { return v.each(a.source) },
	})
	switch {
	case err != nil:
		return a, err
	case a.Name == "" || BagPath("", a.Name) != "/"+a.Name:
		return a, n.errorf("an artifact needs a plain name")
	case len(a.Sources) == 0:
		return a, n.errorf("artifact %s has no sources", a.Name)
	}
	return a, nil
}

func (a *Artifact) source(n node) error {
	var s Source
	var cmd string
	var args []string
	attributes := func(v node) error {
		return v.mapping(true, map[string]func(node) error{
			"paths": func(v node) error { return v.texts(&s.Paths) },
			"names": func(v node) error { return v.texts(&s.Names) },
			"cmd":   func(v node) error { return v.text(&cmd) },
			"args":  func(v node) error { return v.texts(&args) },
		})
	}
	err := n.mapping(true, map[string]func(node) error{
		"type":         func(v node) error { return v.text(&s.Type) },
		"attributes":   attributes,
		"supported_os": func(v node) error { return v.texts(&s.OS) },
	})
	if err != nil {
		return err
	}
	switch s.Type {
	case "FILE", "PATH", "DIRECTORY":
		if len(s.Paths) == 0 {
			return n.errorf("%s needs paths", s.Type)
		}
	case "COMMAND":
		if cmd == "" {
			return n.errorf("COMMAND needs cmd")
		}
		s.Args = append([]string{cmd}, args...)
	case "ARTIFACT_GROUP":
		if len(s.Names) == 0 {
			return n.errorf("ARTIFACT_GROUP needs names")
		}
	case "":
		return n.errorf("a source needs a type")
	}
	a.Sources = append(a.Sources, s)
	return nil
}

// linux says whether definitions mean this system.
func linux(os []string) bool { return len(os) == 0 || slices.Contains(os, "Linux") }

// expand makes items of an artifact, and of those that it groups.
func (p *Plan) expand(a Artifact, all []Artifact, above []string) ([]Item, error) {
	if slices.Contains(above, a.Name) || len(above) > maxDepth {
		return nil, fmt.Errorf("artifact %s (%s) contains itself", a.Name, a.Where)
	}
	if !linux(a.OS) {
		return nil, nil
	}
	var out []Item
	for _, s := range a.Sources {
		if !linux(s.OS) {
			continue
		}
		for _, name := range s.Names {
			at := slices.IndexFunc(all, func(o Artifact) bool { return o.Name == name })
			if at < 0 {
				return nil, fmt.Errorf("artifact %s (%s) names %q, which there is not", a.Name, a.Where, name)
			}
			some, err := p.expand(all[at], all, append(above, a.Name))
			if err != nil {
				return nil, err
			}
			if out = append(out, some...); len(out) > maxItems {
				return nil, fmt.Errorf("artifact %s (%s) is more than %d items", a.Name, a.Where, maxItems)
			}
		}
		out = append(out, p.source(a, s)...)
	}
	return out, nil
}

// source makes items of one source.
func (p *Plan) source(a Artifact, s Source) []Item {
	doc, _, _ := strings.Cut(strings.TrimSpace(a.Doc), "\n")
	base := Item{To: "artifact/" + a.Name, Title: Title{JA: "定義 " + a.Name, EN: "artifact " + a.Name + ": " + doc}}
	var out []Item
	if s.Type == "COMMAND" {
		it := base
		it.Kind, it.What, it.Args = Command, s.Args[0], s.Args
		it.To = BagPath(base.To, "command/"+strings.Join(append([]string{filepath.Base(s.Args[0])}, s.Args[1:]...), " ")) + ".txt"
		if !p.Allowed(s.Args) {
			it.Kind, it.What = Refused, fmt.Sprintf("%q is not among the commands that may run", strings.Join(s.Args, " "))
		}
		return []Item{it}
	}
	for _, path := range s.Paths {
		it := base
		it.Kind, it.What = map[string]Kind{"FILE": Glob, "PATH": List, "DIRECTORY": List}[s.Type], path
		switch {
		case !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, homes+"/"), strings.Contains(strings.TrimPrefix(path, homes), "%%"):
			it.Kind, it.To, it.What = Refused, BagPath(base.To, path), fmt.Sprintf("%s: this kind of path is not known", path)
		case it.Kind == List:
			it.To = BagPath(base.To, "list/"+path) + ".jsonl"
		}
		out = append(out, it)
	}
	return out
}

// homes stands for the home of each user at the beginning of a path.
const homes = "%%users.homedir%%"
