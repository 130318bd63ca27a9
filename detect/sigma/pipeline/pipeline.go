// Package pipeline changes Sigma rules so that they fit how events name things.
//
// In: pipelines in the YAML form of pySigma, and sigma.Draft. Out: the draft
// with other field names, values, conditions or log source. Always true: a
// pipeline is either understood completely or refused with file and line; what
// it cannot do to a rule rejects the rule and never leaves it half changed in
// use; a Pipeline is read-only and safe for concurrent use.
package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/detect/sigma"
)

// Pipeline is an ordered list of transformations.
type Pipeline struct {
	Name     string
	Priority int // lower ones are applied first
	File     string

	steps []step
	vars  sigma.Placeholders
}

// step is one transformation and when it is applied.
type step struct {
	id   string
	line int
	rule group[ruleCondition]
	name group[nameCondition]
	item group[itemCondition]
	do   transformation
}

// transformation changes a draft. What it changes it notes in the run.
type transformation interface {
	apply(*run) error
}

// run is one draft on its way through a pipeline.
type run struct {
	draft   *sigma.Draft
	vars    sigma.Placeholders
	by      string // the name of the pipeline
	step    *step
	applied map[string]bool // ids of steps whose rule conditions held
	changed bool
}

// Transform applies the pipeline to a draft, and says whether that changed
// anything. After an error the draft must not be used.
func (p *Pipeline) Transform(d *sigma.Draft) (changed bool, err error) {
	r := run{draft: d, vars: p.vars, by: p.Name, applied: map[string]bool{}}
	for i := range p.steps {
		r.step = &p.steps[i]
		if !r.step.rule.holds(func(c ruleCondition) bool { return c.fits(&r) }) {
			continue
		}
		if err := r.step.do.apply(&r); err != nil {
			return r.changed, fmt.Errorf("pipeline %s, line %d: %w", p.Name, r.step.line, err)
		}
		if r.step.id != "" {
			r.applied[r.step.id] = true
		}
	}
	return r.changed, nil
}

// Sort puts pipelines into the order in which they are applied.
func Sort(list []*Pipeline) {
	slices.SortStableFunc(list, func(a, b *Pipeline) int { return a.Priority - b.Priority })
}

// maxFile bounds a pipeline file.
const maxFile = 1 << 20

// Parse reads a pipeline. An error is a *sigma.Error with file and line.
func Parse(file string, data []byte) (*Pipeline, error) {
	p, err := parse(data)
	if err != nil {
		e := &sigma.Error{File: file, Line: 1, Reason: err.Error()}
		var at *lineError
		if errors.As(err, &at) {
			e.Line, e.Reason = at.line, at.err.Error()
		}
		return nil, e
	}
	p.File = file
	return p, nil
}

func parse(data []byte) (*Pipeline, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	} else if err != nil {
		return nil, err
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("a file holds one pipeline")
	}
	a := arguments(doc.Content[0])
	p := &Pipeline{Name: a.text("name"), Priority: a.number("priority"), vars: a.table("vars")}
	steps := a.list("transformations")
	a.list("allowed_backends") // of converters; we are none
	if err := a.done(); err != nil {
		return nil, err
	}
	if p.Name == "" || len(steps) == 0 {
		return nil, errors.New("a pipeline has a name and transformations")
	}
	for _, n := range steps {
		s, err := parseStep(n)
		if err != nil {
			return nil, at(n, err)
		}
		p.steps = append(p.steps, s)
	}
	return p, nil
}

func parseStep(n *yaml.Node) (step, error) {
	a := arguments(n)
	s := step{id: a.text("id"), line: n.Line}
	s.rule = groupOf(a, "rule_conditions", "rule_cond", ruleConditions())
	s.name = groupOf(a, "field_name_conditions", "field_name_cond", nameConditions())
	s.item = groupOf(a, "detection_item_conditions", "detection_item_cond", itemConditions())
	kind := a.text("type")
	of, known := transformations()[kind]
	if a.err != nil {
		return s, a.err
	}
	if !known {
		return s, at(a.m["type"], fmt.Errorf("unknown transformation %q", kind))
	}
	s.do = of(a)
	return s, a.done()
}
