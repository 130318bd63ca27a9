package sigma

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// Bounds of one document after its aliases are followed: a few lines of
// anchors that name each other could else stand for billions of values.
const (
	maxYAMLNodes = 200_000
	maxYAMLDepth = 64
)

// lineError remembers where in the file an error is.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

// at adds the line of n to an error that has none yet.
func at(n *yaml.Node, err error) error { return atLine(n.Line, err) }

func atLine(line int, err error) error {
	var known *lineError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &lineError{line, err}
}

// documents calls each with every document of data. It stops at the first
// syntax error, because the decoder cannot go on behind it, and returns it.
func documents(data []byte, each func(*yaml.Node)) error {
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &lineError{yamlLine(err), err}
		}
		each(&doc)
	}
}

// yamlLine finds the line in the text of a yaml error ("yaml: line 3: …").
func yamlLine(err error) int {
	line := 1
	if _, after, ok := strings.Cut(err.Error(), "line "); ok {
		_, _ = fmt.Sscanf(after, "%d", &line) // without a number it stays 1
	}
	return line
}

// root returns the one value of a document, without aliases and merge keys.
func root(doc *yaml.Node) (*yaml.Node, error) {
	if len(doc.Content) != 1 {
		return nil, errors.New("the document is empty")
	}
	r := resolver{left: maxYAMLNodes}
	return r.resolve(doc.Content[0], 0)
}

// resolver follows aliases and merge keys. Subtrees become shared, so nothing
// behind it may change a node.
type resolver struct{ left int }

func (r *resolver) resolve(n *yaml.Node, depth int) (*yaml.Node, error) {
	if r.left--; r.left < 0 {
		return nil, at(n, fmt.Errorf("the document stands for more than %d values: does an anchor name itself?", maxYAMLNodes))
	}
	if depth > maxYAMLDepth {
		return nil, at(n, fmt.Errorf("nested deeper than %d", maxYAMLDepth))
	}
	if n.Kind == yaml.AliasNode {
		return r.resolve(n.Alias, depth+1)
	}
	merges := false
	for i, c := range n.Content {
		merges = merges || n.Kind == yaml.MappingNode && i%2 == 0 && c.Tag == "!!merge"
		to, err := r.resolve(c, depth+1)
		if err != nil {
			return nil, err
		}
		n.Content[i] = to
	}
	if merges {
		return n, r.merge(n)
	}
	return n, nil
}

// merge replaces the keys "<<" of n by the pairs of the maps they name; a key
// that n has itself wins, and of several maps the first.
func (r *resolver) merge(n *yaml.Node) error {
	has := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		has[n.Content[i].Value] = true
	}
	var out []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag != "!!merge" {
			out = append(out, key, value)
			continue
		}
		from := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			from = value.Content
		}
		for _, m := range from {
			if m.Kind != yaml.MappingNode {
				return at(m, errors.New("<< takes a map or a list of maps"))
			}
			for j := 0; j+1 < len(m.Content); j += 2 {
				if r.left--; r.left < 0 {
					return at(key, fmt.Errorf("the document stands for more than %d values", maxYAMLNodes))
				}
				if k := m.Content[j]; !has[k.Value] {
					has[k.Value] = true
					out = append(out, k, m.Content[j+1])
				}
			}
		}
	}
	n.Content = out
	return nil
}

// mapping returns the values of a map by key. Anything but text keys, and the
// same key twice, is refused: the second would hide the first.
func mapping(n *yaml.Node) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, at(n, errors.New("a map is expected here"))
	}
	m := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			return nil, at(key, errors.New("a key must be plain text"))
		}
		if m[key.Value] != nil {
			return nil, at(key, fmt.Errorf("the key %q stands twice", key.Value))
		}
		m[key.Value] = n.Content[i+1]
	}
	return m, nil
}

// text reads an optional scalar.
func text(m map[string]*yaml.Node, key string, into *string) error {
	n := m[key]
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.ScalarNode {
		return at(n, fmt.Errorf("%s must be text", key))
	}
	*into = n.Value
	return nil
}

// texts reads an optional list of scalars; a single one is a list of one.
func texts(m map[string]*yaml.Node, key string, into *[]string) error {
	n := m[key]
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	list := n.Content
	if n.Kind == yaml.ScalarNode {
		list = []*yaml.Node{n}
	} else if n.Kind != yaml.SequenceNode {
		return at(n, fmt.Errorf("%s must be a list of texts", key))
	}
	for _, v := range list {
		if v.Kind != yaml.ScalarNode {
			return at(v, fmt.Errorf("%s must be a list of texts", key))
		}
		*into = append(*into, v.Value)
	}
	return nil
}
