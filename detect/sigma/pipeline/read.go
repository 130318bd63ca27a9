package pipeline

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

// lineError remembers where in the file an error is.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

// at adds the line of n, which may be nil, to an error that has none yet.
func at(n *yaml.Node, err error) error {
	var known *lineError
	if err == nil || n == nil || errors.As(err, &known) {
		return err
	}
	return &lineError{n.Line, err}
}

// args are the keys of a map, read by name. The first error stays; keys that
// nobody asked for are one.
type args struct {
	n    *yaml.Node
	m    map[string]*yaml.Node
	used map[string]bool
	err  error
}

// real follows an alias. How deep that may go is bounded by what is read: no
// list is within a list.
func real(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func arguments(n *yaml.Node) *args {
	n = real(n)
	a := &args{n: n, m: map[string]*yaml.Node{}, used: map[string]bool{}}
	if n.Kind != yaml.MappingNode {
		a.fail(n, errors.New("a map is expected here"))
		return a
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || a.m[key.Value] != nil {
			a.fail(key, fmt.Errorf("the key %q stands twice or is no plain text", key.Value))
		}
		a.m[key.Value] = real(value)
	}
	return a
}

func (a *args) fail(n *yaml.Node, err error) {
	if a.err == nil {
		a.err = at(n, err)
	}
}

// done returns the first error.
func (a *args) done() error {
	for i := 0; i+1 < len(a.n.Content) && a.n.Kind == yaml.MappingNode; i += 2 {
		if key := a.n.Content[i]; !a.used[key.Value] {
			a.fail(key, fmt.Errorf("unknown key %q", key.Value))
		}
	}
	return a.err
}

// take returns the value of a key, nil when it is not there.
func (a *args) take(key string) *yaml.Node {
	a.used[key] = true
	n := a.m[key]
	if n == nil || n.Tag == "!!null" && n.Kind == yaml.ScalarNode {
		return nil
	}
	return n
}

func (a *args) need(key string) {
	if a.m[key] == nil {
		a.fail(a.n, fmt.Errorf("%s is missing", key))
	}
}

func (a *args) text(key string) string {
	n := a.take(key)
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		a.fail(n, fmt.Errorf("%s must be text", key))
	}
	return n.Value
}

func (a *args) number(key string) int {
	text := a.text(key)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		a.fail(a.m[key], fmt.Errorf("%s must be a number", key))
	}
	return n
}

func (a *args) flag(key string) bool {
	n := a.take(key)
	if n == nil {
		return false
	}
	if n.Tag != "!!bool" {
		a.fail(n, fmt.Errorf("%s must be true or false", key))
	}
	return n.Value == "true"
}

// oneOf reads a word that is one of a few; the first stands for none.
func (a *args) oneOf(key string, words ...string) string {
	text := a.text(key)
	if text == "" {
		return words[0]
	}
	for _, w := range words {
		if w == text {
			return w
		}
	}
	a.fail(a.m[key], fmt.Errorf("%s must be one of %v", key, words))
	return words[0]
}

func (a *args) list(key string) []*yaml.Node {
	n := a.take(key)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		a.fail(n, fmt.Errorf("%s must be a list", key))
	}
	return n.Content
}

// texts reads a list of texts; a single one is a list of one.
func (a *args) texts(key string) []string { return a.textsOf(key, a.take(key)) }

func (a *args) textsOf(key string, n *yaml.Node) []string {
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}
	case n.Kind != yaml.SequenceNode:
		a.fail(n, fmt.Errorf("%s must be a list of texts", key))
		return nil
	}
	var out []string
	for _, c := range n.Content {
		if c = real(c); c.Kind != yaml.ScalarNode {
			a.fail(c, fmt.Errorf("%s must be a list of texts", key))
		}
		out = append(out, c.Value)
	}
	return out
}

// table reads a map of names to one or several texts.
func (a *args) table(key string) map[string][]string {
	n := a.take(key)
	if n == nil {
		return nil
	}
	in := arguments(n)
	out := map[string][]string{}
	for name, value := range in.m {
		out[name] = in.textsOf(name, value)
		if len(out[name]) == 0 {
			in.fail(value, fmt.Errorf("%s stands for nothing", name))
		}
	}
	if in.err != nil {
		a.fail(n, in.err)
	}
	return out
}

// pattern reads a regular expression in RE2 syntax.
func (a *args) pattern(key string) *regexp.Regexp {
	a.need(key)
	re, err := regexp.Compile(a.text(key))
	if err != nil {
		a.fail(a.m[key], err)
		return regexp.MustCompile("")
	}
	return re
}
