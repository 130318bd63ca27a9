package sigma

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// Filter is a global filter: a condition that the matches of other rules must
// hold besides. A filter that leaves events out says "not selection", as
// pySigma reads the specification.
type Filter struct {
	Meta
	All   bool     // every rule whose log source fits
	Rules []string // ids or names
	Block Block
}

// Applied says what became of a filter.
type Applied struct {
	Title string
	File  string
	Line  int
	Rules []string // ids of the rules it narrows
	// Missing are the rules it names that are not loaded or have another log
	// source: a filter in vain is often a mistyped id.
	Missing []string
	// Keeps is true when the condition holds no "not": the rules then fire on
	// nothing but what the filter selects, which is seldom meant.
	Keeps bool
}

func parseFilter(m map[string]*yaml.Node) (*Filter, error) {
	f := &Filter{}
	for _, key := range []string{"detection", "level"} {
		if m[key] != nil {
			return nil, at(m[key], fmt.Errorf("a filter has no %s", key))
		}
	}
	if err := parseMeta(&f.Meta, m); err != nil {
		return nil, err
	}
	parts, err := mapping(m["filter"])
	if err != nil {
		return nil, err
	}
	if err := f.target(parts["rules"]); err != nil {
		return nil, at(m["filter"], err)
	}
	if f.Block, err = parseBlock(m["filter"], "rules"); err != nil {
		return nil, at(m["filter"], err)
	}
	f.Block.Name = "filter " + f.Title
	c := builder{rule: &Rule{}, known: nil}
	var missing errPlaceholder
	if _, err = c.block(&f.Block); err != nil && !errors.As(err, &missing) { // its rules are rejected then
		return nil, at(m["filter"], err)
	}
	return f, nil
}

// target reads which rules are meant. "any" and "all" stand for every rule,
// and so does an empty list.
func (f *Filter) target(n *yaml.Node) error {
	switch {
	case n == nil:
		return errors.New("the filter does not say which rules it is for")
	case n.Kind == yaml.ScalarNode && (strings.EqualFold(n.Value, "any") || strings.EqualFold(n.Value, "all")):
		f.All = true
		return nil
	}
	if err := texts(map[string]*yaml.Node{"rules": n}, "rules", &f.Rules); err != nil {
		return err
	}
	f.All = len(f.Rules) == 0
	return nil
}

// fits says whether the rule's log source has all that the filter's names.
func (f *Filter) fits(d *Draft) bool {
	same := func(want, has string) bool { return want == "" || strings.EqualFold(want, has) }
	return same(f.Logsource.Product, d.Logsource.Product) && same(f.Logsource.Category, d.Logsource.Category) && same(f.Logsource.Service, d.Logsource.Service)
}

// applyFilters adds each filter to the drafts it is for.
func applyFilters(filters []*Filter, drafts []*Draft, by map[*Draft][]string) []Applied {
	out := make([]Applied, len(filters))
	byName := map[string][]*Draft{}
	for _, d := range drafts {
		byName[d.ID] = append(byName[d.ID], d)
		if d.Name != "" && d.Name != d.ID {
			byName[d.Name] = append(byName[d.Name], d)
		}
	}
	for i, f := range filters {
		a := Applied{Title: f.Title, File: f.File, Line: f.Line, Keeps: f.keeps()}
		narrow := func(some []*Draft) (hit bool) {
			for _, d := range some {
				if f.fits(d) {
					d.Blocks = append(d.Blocks, f.Block.clone())
					by[d] = append(by[d], f.Title)
					a.Rules = append(a.Rules, d.ID)
					hit = true
				}
			}
			return hit
		}
		if f.All {
			narrow(drafts)
		}
		for _, name := range f.Rules {
			if !narrow(byName[name]) {
				a.Missing = append(a.Missing, name)
			}
		}
		out[i] = a
	}
	return out
}

func (f *Filter) keeps() bool {
	for _, c := range f.Block.Conditions {
		for _, word := range conditionWords(c.Text) {
			if strings.EqualFold(word, "not") {
				return false
			}
		}
	}
	return true
}
