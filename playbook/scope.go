package playbook

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/playbook/cacao"
)

// A variable belongs to the playbook or to a step. One of a step is known in
// the step and in its branches, and begins anew each time that the run comes
// to the step (CACAO 2.0, section 10.18).

// variableName is the bare name of what a condition or an argument says.
func variableName(text string) string { return strings.TrimSuffix(text, ":value") }

func isVariable(text string) bool { return strings.HasPrefix(text, "__") }

// first are the values that variables have before anything happens.
func first(all map[string]cacao.Variable) map[string]string {
	out := map[string]string{}
	for name, v := range all {
		if text, ok := v.Text(); ok {
			out[name] = text
		}
	}
	return out
}

// owner is the visit whose step declares a variable, as seen from a visit; nil
// when it is the playbook's.
func (b *Book) owner(r *Run, no int, name string) *Visit {
	for v := r.Visit(no); v != nil; v = r.Visit(v.Parent) {
		if _, ok := b.play.Workflow[v.Step].Variables[name]; ok {
			return v
		}
	}
	return nil
}

// Value tells a variable as it is seen from a visit, and whether it is known.
func (b *Book) Value(r *Run, visit int, name string) (string, bool) {
	name = variableName(name)
	if v := b.owner(r, visit, name); v != nil {
		text, ok := v.Values[name]
		return text, ok
	}
	text, ok := r.Values[name]
	return text, ok
}

// declaration is what is said about a variable, as seen from a visit.
func (b *Book) declaration(r *Run, visit int, name string) (cacao.Variable, bool) {
	if v := b.owner(r, visit, name); v != nil {
		return b.play.Workflow[v.Step].Variables[name], true
	}
	d, ok := b.play.Variables[name]
	return d, ok
}

// set gives a variable a value, as seen from a visit. A constant stays.
func (w *walk) set(visit int, name, value string) {
	name = variableName(name)
	d, ok := w.book.declaration(w.run, visit, name)
	if !ok || d.Constant {
		return
	}
	values := w.run.Values
	if v := w.book.owner(w.run, visit, name); v != nil {
		if v.Values == nil {
			v.Values = map[string]string{}
		}
		values = v.Values
	}
	values[name] = value
}

// Named is a variable that a step is given, or that it returns.
type Named struct {
	Name, Type, About string
	Value             string
	Known             bool
}

// Given are the arguments of a visit's step.
func (b *Book) Given(r *Run, visit int) []Named { return b.named(r, visit, cacaoIn) }

// Returned are the variables whose values people are asked for when they have
// done the step: those that it returns, without what it asks as a question.
func (b *Book) Returned(r *Run, visit int) []Named {
	v := r.Visit(visit)
	if v == nil {
		return nil
	}
	c := b.by[v.Step]
	if !c.Human() || v.Child != "" || len(v.Choose) > 0 {
		return nil
	}
	return slices.DeleteFunc(b.named(r, visit, cacaoOut), func(n Named) bool { return c.Ext.Ask != nil && c.Ext.Ask.Variable == n.Name })
}

func cacaoIn(s *cacao.Step) []string  { return s.InArgs }
func cacaoOut(s *cacao.Step) []string { return s.OutArgs }

func (b *Book) named(r *Run, visit int, args func(*cacao.Step) []string) []Named {
	v := r.Visit(visit)
	if v == nil {
		return nil
	}
	var all []Named
	for _, name := range args(b.play.Workflow[v.Step]) {
		name = variableName(name)
		d, _ := b.declaration(r, visit, name)
		n := Named{Name: name, Type: d.Type, About: d.Description}
		n.Value, n.Known = b.Value(r, visit, name)
		all = append(all, n)
	}
	return all
}

// Fill writes the values of variables into a text of a step, such as a
// command; what is not known stays as it is.
func (b *Book) Fill(r *Run, visit int, text string) string {
	for name := range b.names(r, visit) {
		if value, ok := b.Value(r, visit, name); ok {
			text = strings.ReplaceAll(text, name+":value", value)
		}
	}
	return text
}

// names are the variables that can be seen from a visit.
func (b *Book) names(r *Run, visit int) map[string]bool {
	all := map[string]bool{}
	for name := range b.play.Variables {
		all[name] = true
	}
	for v := r.Visit(visit); v != nil; v = r.Visit(v.Parent) {
		for name := range b.play.Workflow[v.Step].Variables {
			all[name] = true
		}
	}
	return all
}

// take checks what people returned from a step, and sets it. It says in one
// text what was returned. What nobody knows may be left out.
func (w *walk) take(v *Visit, given map[string]string) (string, error) {
	wanted := w.book.Returned(w.run, v.No)
	var said []string
	for _, n := range wanted {
		value := strings.TrimSpace(given[n.Name])
		if value == "" {
			continue
		}
		d, _ := w.book.declaration(w.run, v.No, n.Name)
		if !d.Takes(value) || utf8.RuneCountInString(value) > 1000 {
			return "", fault.New(fault.Invalid, "playbook.value", n.Name, n.Type)
		}
		said = append(said, fmt.Sprintf("%s = %s", n.Name, value))
	}
	for name := range given {
		if !slices.ContainsFunc(wanted, func(n Named) bool { return n.Name == name }) {
			return "", fault.New(fault.Invalid, "playbook.value-unknown", name)
		}
	}
	for _, n := range wanted {
		if value := strings.TrimSpace(given[n.Name]); value != "" {
			w.set(v.No, n.Name, value)
		}
	}
	return strings.Join(said, ", "), nil
}

// fillIn writes what an action is done to into a request. It says false when a
// variable of it has no value yet, or is none that fits.
func (b *Book) fillIn(q *action.NewRequest, a Wanted, r *Run, visit int, hosts *[]string) bool {
	known := true
	value := func(text string) string {
		if !isVariable(text) {
			return text
		}
		text, ok := b.Value(r, visit, text)
		known = known && ok && text != ""
		return text
	}
	q.Forbidden, q.Object = value(a.Forbidden), value(a.Object)
	for _, t := range a.Targets {
		for _, one := range strings.Split(value(t), ",") {
			q.Targets = append(q.Targets, strings.TrimSpace(one))
		}
	}
	if a.PID != "" {
		pid, err := strconv.Atoi(value(a.PID))
		known = known && err == nil
		q.Process = &order.Process{PID: pid, Image: value(a.Image)}
	}
	if host := value(a.Host); host != "" {
		*hosts = slices.DeleteFunc(slices.Clone(*hosts), func(id string) bool { return id != host })
	}
	return known
}

// passed are the arguments of a step that another playbook takes: those of its
// variables that are external.
func (b *Book) passed(r *Run, visit int, to *Book) map[string]string {
	all := map[string]string{}
	for _, n := range b.Given(r, visit) {
		if d, ok := to.play.Variables[n.Name]; ok && d.External && n.Known {
			all[n.Name] = n.Value
		}
	}
	return all
}

// receive takes over what the other playbook of a step returned.
func (w *walk) receive(v *Visit, other Run) {
	for _, name := range w.book.play.Workflow[v.Step].OutArgs {
		if value, ok := other.Values[variableName(name)]; ok {
			w.set(v.No, name, value)
		}
	}
}

// External are the variables of the playbook that come from outside: whoever
// begins a run is asked for them.
func (b *Book) External() []Named {
	var all []Named
	for _, name := range slices.Sorted(maps.Keys(b.play.Variables)) {
		if d := b.play.Variables[name]; d.External {
			n := Named{Name: name, Type: d.Type, About: d.Description}
			n.Value, n.Known = d.Text()
			all = append(all, n)
		}
	}
	return all
}

// external checks values that a run is begun with; empty ones are left out.
func (b *Book) external(given map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for name, value := range given {
		d, ok := b.play.Variables[variableName(name)]
		if !ok || !d.External {
			return nil, fault.New(fault.Invalid, "playbook.value-unknown", name)
		}
		if value = strings.TrimSpace(value); value == "" {
			continue
		}
		if !d.Takes(value) || utf8.RuneCountInString(value) > 1000 {
			return nil, fault.New(fault.Invalid, "playbook.value", variableName(name), d.Type)
		}
		out[variableName(name)] = value
	}
	return out, nil
}

// saidOf is one text of values.
func saidOf(values map[string]string) string {
	var said []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		said = append(said, fmt.Sprintf("%s = %s", name, values[name]))
	}
	return strings.Join(said, ", ")
}

// Written reads the values that a step returns as they stand on paper: in the
// order of the boxes, between semicolons; an empty place is a value that nobody
// knows. More values than boxes are Invalid.
func (b *Book) Written(r *Run, visit int, text string) (map[string]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	wanted := b.Returned(r, visit)
	values := strings.Split(strings.ReplaceAll(text, "；", ";"), ";")
	if len(values) > len(wanted) {
		return nil, fault.New(fault.Invalid, "playbook.values-many", len(wanted), len(values))
	}
	out := map[string]string{}
	for i, v := range values {
		if v = strings.TrimSpace(v); v != "" {
			out[wanted[i].Name] = v
		}
	}
	return out, nil
}
