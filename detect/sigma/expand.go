package sigma

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Placeholders gives the values that %name% stands for under the modifier
// expand, by name and case counts. Values may hold wildcards.
type Placeholders map[string][]string

// errPlaceholder names a placeholder that has no values.
type errPlaceholder string

func (e errPlaceholder) Error() string {
	return fmt.Sprintf("the placeholder %%%s%% has no values", string(e))
}

// ReadPlaceholders reads a folder: NAME.txt holds the values of %NAME%, one a
// line, empty lines and those that begin with # left out; a .yml or .yaml file
// is a map of names to a value or a list of values. Values of one name in
// several files add up.
func ReadPlaceholders(dir fs.FS) (Placeholders, error) {
	p := Placeholders{}
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		ext := strings.ToLower(path.Ext(name))
		if ext != ".txt" && ext != ".yml" && ext != ".yaml" {
			return nil
		}
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		if ext == ".txt" {
			base := path.Base(name)
			return p.lines(base[:len(base)-len(ext)], name, data)
		}
		return p.yaml(name, data)
	})
	if err != nil {
		return nil, fmt.Errorf("read placeholders: %w", err)
	}
	return p, nil
}

func (p Placeholders) lines(key, file string, data []byte) error {
	s := bufio.NewScanner(bytes.NewReader(data))
	for s.Scan() {
		line := strings.TrimSpace(strings.TrimPrefix(s.Text(), "\uFEFF"))
		if line != "" && !strings.HasPrefix(line, "#") {
			p[key] = append(p[key], line)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func (p Placeholders) yaml(file string, data []byte) error {
	var failed error
	err := documents(data, func(doc *yaml.Node) {
		if failed == nil {
			failed = p.document(doc)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return rejection(file, 1, err)
	}
	return nil
}

func (p Placeholders) document(doc *yaml.Node) error {
	top, err := root(doc)
	if err != nil {
		return err
	}
	m, err := mapping(top)
	if err != nil {
		return err
	}
	for name := range m {
		var values []string
		if err := texts(m, name, &values); err != nil {
			return err
		}
		p[name] = append(p[name], values...)
	}
	return nil
}

// piece is a part of a value: text, or the name of a placeholder.
type piece struct {
	text string
	name string
}

// pieces cuts a value at its placeholders. A backslash makes a percent sign
// plain.
func pieces(value string) []piece {
	var out []piece
	var text strings.Builder
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '\\':
			if i+1 < len(value) && value[i+1] == '%' {
				text.WriteByte('%')
				i++
				continue
			}
			text.WriteByte('\\')
			if i+1 < len(value) && value[i+1] == '\\' {
				text.WriteByte('\\')
				i++
			}
		case '%':
			name, _, closed := strings.Cut(value[i+1:], "%")
			if closed && placeholderName(name) {
				out = append(out, piece{text: text.String()}, piece{name: name})
				text.Reset()
				i += len(name) + 1
				continue
			}
			text.WriteByte('%')
		default:
			text.WriteByte(value[i])
		}
	}
	return append(out, piece{text: text.String()})
}

func placeholderName(s string) bool {
	for _, r := range s {
		if r != '-' && r != '.' && !wordRune(r) {
			return false
		}
	}
	return s != ""
}

// patterns returns the value with all values of its placeholders.
func (p Placeholders) patterns(value string) ([]pattern, error) {
	return combine(p, value, parsePattern, parsePattern, func(a, b pattern) pattern { return append(slices.Clone(a), b...) })
}

// texts does likewise for what is not compared as text; in a regular
// expression the values stand for themselves.
func (p Placeholders) texts(value string, quote bool) ([]string, error) {
	same := func(s string) string { return s }
	inside := same
	if quote {
		inside = regexp.QuoteMeta
	}
	return combine(p, value, same, inside, func(a, b string) string { return a + b })
}

func combine[T any](p Placeholders, value string, of, inside func(string) T, join func(a, b T) T) ([]T, error) {
	out := []T{of("")}
	for _, part := range pieces(value) {
		add := []T{of(part.text)}
		if part.name != "" {
			if add = nil; len(p[part.name]) == 0 {
				return nil, errPlaceholder(part.name)
			}
			for _, v := range p[part.name] {
				add = append(add, inside(v))
			}
		}
		if len(out)*len(add) > maxVariants {
			return nil, fmt.Errorf("expand makes more than %d variants", maxVariants)
		}
		next := make([]T, 0, len(out)*len(add))
		for _, a := range out {
			for _, b := range add {
				next = append(next, join(a, b))
			}
		}
		out = next
	}
	return out, nil
}
