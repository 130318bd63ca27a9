package search

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing/fstest"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// ruleText is one rule as people write it, understood: one document, or a
// correlation with rules that only it counts.
type ruleText struct {
	id, title string
	level     event.Severity
	ids       []string       // of all documents
	query     string         // finds no fewer events than the rule and those that it counts
	engine    *detect.Engine // of it, and of rules in force that it counts
	counts    bool           // it is a correlation
}

// ruleFile is the name of the text, belowFile of what it refers to.
const (
	ruleFile  = "rule.yml"
	belowFile = "below.yml"
)

// readRule understands exactly one rule. What is wrong with it is Invalid, with
// the line. A correlation may count rules in force.
func (b *Rulebook) readRule(text string) (ruleText, error) {
	files := file(text)
	below, err := b.below(text)
	if err != nil {
		return ruleText{}, err
	}
	if len(below) > 0 {
		files[belowFile] = &fstest.MapFile{Data: []byte(strings.Join(below, "\n---\n"))}
	}
	engine, report, err := detect.Load(files)
	if err != nil {
		return ruleText{}, err
	}
	if len(report.Rejected) > 0 {
		r := report.Rejected[0]
		return ruleText{}, fault.New(fault.Invalid, "rule.rejected", r.Line, r.Reason)
	}
	out := ruleText{engine: engine}
	for _, l := range report.Loaded {
		if l.File == ruleFile {
			out.ids = append(out.ids, l.ID)
		}
	}
	head, err := headOf(engine, out.ids)
	if err != nil {
		return ruleText{}, err
	}
	out.id, out.level, out.counts = head.ID, head.Level, head.Counts != nil
	for _, l := range report.Loaded {
		if l.ID == head.ID {
			out.title = l.Title
		}
	}
	out.query = sourceQuery(head.Looks)
	return out, nil
}

// headOf is the one rule that no other one counts.
func headOf(engine *detect.Engine, ids []string) (detect.Info, error) {
	heads := map[string]detect.Info{}
	for _, id := range ids {
		heads[id], _ = engine.Info(id)
	}
	for _, id := range ids {
		if i, _ := engine.Info(id); i.Counts != nil {
			for _, counted := range i.Counts.Rules {
				delete(heads, counted.ID)
			}
		}
	}
	left := slices.Collect(maps.Values(heads))
	if len(left) != 1 {
		return detect.Info{}, fault.New(fault.Invalid, "rule.one", len(left))
	}
	return left[0], nil
}

// below are the documents of rules in force that a text refers to and does not
// hold itself.
func (b *Rulebook) below(text string) ([]string, error) {
	own, refs := referred(text)
	out := map[string]string{}
	for _, ref := range refs {
		if own[ref] {
			continue
		}
		if err := b.engine.Load().Texts(ref, out); err != nil {
			return nil, fmt.Errorf("rule %s that is counted: %w", ref, err)
		}
	}
	maps.DeleteFunc(out, func(id, _ string) bool { return own[id] })
	var list []string
	for _, id := range slices.Sorted(maps.Keys(out)) {
		list = append(list, out[id])
	}
	return list, nil
}

// referred returns what the documents of a text are called, and what they
// count. What cannot be read is refused by whoever loads it.
func referred(text string) (own map[string]bool, refs []string) {
	own = map[string]bool{}
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var doc struct {
			ID, Name    string
			Correlation struct{ Rules yaml.Node }
		}
		err := d.Decode(&doc)
		var odd *yaml.TypeError
		if err != nil && !errors.As(err, &odd) {
			if !errors.Is(err, io.EOF) {
				return own, nil
			}
			return own, refs
		}
		own[doc.ID], own[doc.Name] = true, true
		rules := doc.Correlation.Rules
		for _, n := range append([]*yaml.Node{&rules}, rules.Content...) {
			if n.Kind == yaml.ScalarNode {
				refs = append(refs, n.Value)
			}
		}
	}
}

func file(text string) fstest.MapFS {
	return fstest.MapFS{ruleFile: &fstest.MapFile{Data: []byte(text)}}
}

// sourceQuery asks for the events of log sources; of all where one of them
// names nothing.
func sourceQuery(sources []sigma.Logsource) string {
	var any lang.Or
	for _, s := range sources {
		var all []lang.Expr
		for _, part := range []struct{ field, value string }{{"product", s.Product}, {"category", s.Category}, {"service", s.Service}} {
			if part.value != "" {
				all = append(all, lang.Match{Field: part.field, Op: lang.In, Values: []string{part.value}})
			}
		}
		switch len(all) {
		case 0:
			return ""
		case 1:
			any.Any = append(any.Any, all[0])
		default:
			any.Any = append(any.Any, lang.And{All: all})
		}
	}
	switch len(any.Any) {
	case 0:
		return ""
	case 1:
		return lang.Query{Where: any.Any[0]}.String()
	}
	return lang.Query{Where: any}.String()
}
