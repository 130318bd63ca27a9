package html

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/report"
)

// Bounds of a template and of what it makes, in bytes.
const (
	maxTemplate = 1 << 20
	maxBody     = 16 << 20
)

// body renders the body of a page with the site's template, or with the one
// that comes with Sonae where the site has none or a faulty one; then the page
// says so.
func (p Pages) body(v *view) error {
	name, text, err := p.own(v.kind.Template, v.Lang)
	if err == nil && text != "" {
		if v.Body, err = execute(name, text, v); err == nil {
			return nil
		}
	}
	if err != nil {
		v.Fault, v.asked = err.Error(), nil
	}
	name, text, err = shipped(v.kind.Template, v.Lang)
	if err != nil {
		return err
	}
	v.Body, err = execute(name, text, v)
	return err
}

// names are the files in which a template may stand, the one for the language
// first.
func names(template, lang string) []string {
	return []string{template + "." + lang + ".html", template + ".html"}
}

func shipped(template, lang string) (name, text string, err error) {
	for _, name := range names(template, lang) {
		b, err := files.ReadFile("templates/" + name)
		if err == nil {
			return name, string(b), nil
		}
	}
	return "", "", fmt.Errorf("no template %s in %s", template, lang)
}

// own reads the site's template; text is empty when it has none.
func (p Pages) own(template, lang string) (name, text string, err error) {
	if p.Dir == "" {
		return "", "", nil
	}
	for _, name := range names(template, lang) {
		text, err := readTemplate(filepath.Join(p.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return name, "", report.Problem{File: name, What: err.Error()}
		}
		return name, text, nil
	}
	return "", "", nil
}

func readTemplate(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", errors.New("not a file")
	case info.Size() > maxTemplate:
		return "", fmt.Errorf("longer than %d bytes", maxTemplate)
	}
	b, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(b)) == 0 {
		err = errors.New("the file is empty")
	}
	return string(b), err
}

// foreign is what a page must not hold: it stands alone, runs nothing, and the
// places of digest and proof are the shell's.
var foreign = regexp.MustCompile(`(?i)<\s*(script|link|iframe|object|embed|base|meta|form|/?body|/?html|/?main|/?style)\b|\bsrc\s*=\s*["']?(?:https?:)?//|url\(|@import|sonae-(digest|words|qr|checkpoint)|javascript:`)

// execute renders a body. The error is a report.Problem with its line.
func execute(name, text string, v *view) (template.HTML, error) {
	if at := foreign.FindStringIndex(text); at != nil {
		return "", report.Problem{File: name, Line: 1 + strings.Count(text[:at[0]], "\n"), What: strconv.Quote(text[at[0]:at[1]]) + " must not stand in a template"}
	}
	t, err := template.New("parts.html").ParseFS(files, "templates/parts.html")
	if err != nil {
		return "", err
	}
	if err := calls(t, name, text); err != nil {
		return "", err
	}
	if t, err = t.New(name).Parse(text); err != nil {
		return "", problem(name, err)
	}
	out := &bounded{left: maxBody}
	if err := t.Execute(out, v); err != nil {
		return "", problem(name, err)
	}
	if place := holds(out.Bytes()); place != "" {
		return "", report.Problem{File: name, What: "it makes what looks like the place of the " + place}
	}
	return template.HTML(strings.TrimSpace(out.String())), nil
}

var (
	defining = regexp.MustCompile(`\{\{-?\s*(define|block)\b`)
	calling  = regexp.MustCompile("\\btemplate\\s+[\"`]([^\"`]*)[\"`]")
)

// calls refuses a template that calls others than the parts that pages are put
// together of: one that calls itself would keep the hub busy for minutes.
func calls(parts *template.Template, name, text string) error {
	line := func(at int) int { return 1 + strings.Count(text[:at], "\n") }
	if at := defining.FindStringIndex(text); at != nil {
		return report.Problem{File: name, Line: line(at[0]), What: "a template must not define others"}
	}
	for _, m := range calling.FindAllStringSubmatchIndex(text, -1) {
		if part := text[m[2]:m[3]]; part == "parts.html" || parts.Lookup(part) == nil {
			return report.Problem{File: name, Line: line(m[0]), What: "there is no part " + strconv.Quote(part)}
		}
	}
	return nil
}

// bounded is a buffer that does not grow beyond what a page may have.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, fmt.Errorf("the page has more than %d bytes", maxBody)
	}
	return b.Buffer.Write(p)
}

// errorPlace is how the template engine begins its errors.
var errorPlace = regexp.MustCompile(`^(?:html/)?template: ?([^:\s]+):(\d+)(?::\d+)?: ?`)

func problem(name string, err error) error {
	text := err.Error()
	p := report.Problem{File: name, What: text}
	if m := errorPlace.FindStringSubmatch(text); m != nil {
		p.File, p.What = m[1], text[len(m[0]):]
		p.Line, _ = strconv.Atoi(m[2]) // digits, as the expression says
	}
	return p
}

// Problems looks at every file in the folder of the site's templates: each is
// tried with a made-up document of its kind. Nothing is wrong with a folder
// that is not there.
func (p Pages) Problems() ([]report.Problem, error) {
	out := []report.Problem{}
	if p.Dir == "" {
		return out, nil
	}
	entries, err := os.ReadDir(p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), "~") {
			continue
		}
		if err := p.try(e.Name()); err != nil {
			var found report.Problem
			if !errors.As(err, &found) {
				found = report.Problem{File: e.Name(), What: err.Error()}
			}
			out = append(out, found)
		}
	}
	return out, nil
}

// try renders one file of the site with sample data.
func (p Pages) try(name string) error {
	kind, lang, err := meant(name)
	if err != nil {
		return err
	}
	text, err := readTemplate(filepath.Join(p.Dir, name))
	if err != nil {
		return report.Problem{File: name, What: err.Error()}
	}
	_, err = execute(name, text, &view{Data: report.Sample(kind), Lang: lang, kind: kind})
	return err
}

// meant says for which kind and language a file is.
func meant(name string) (report.Kind, string, error) {
	for _, k := range report.Kinds() {
		for _, lang := range i18n.Languages() {
			if slices.Contains(names(k.Template, lang), name) {
				return k, lang, nil
			}
		}
	}
	return report.Kind{}, "", report.Problem{File: name, What: "no document has a template of this name"}
}

// Shipped returns the template that comes with Sonae, to begin one's own with.
// Missing: there is none of this name.
func (Pages) Shipped(name string) ([]byte, error) {
	b, err := files.ReadFile("templates/" + name)
	if _, _, unknown := meant(name); err != nil || unknown != nil {
		return nil, fault.New(fault.Missing, "report.no-template", name)
	}
	return b, nil
}
