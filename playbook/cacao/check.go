package cacao

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	uuidForm     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	variableForm = regexp.MustCompile(`^__[A-Za-z][A-Za-z0-9_-]{0,199}__$`)
)

// checker gathers what is wrong with a playbook.
type checker struct {
	p      *Playbook
	within map[string][]*Step // steps with variables of their own in whose branches a step stands
	found  Problems
}

func (c *checker) say(step, property, format string, args ...any) {
	c.found = append(c.found, Problem{step, property, fmt.Sprintf(format, args...)})
}

// Check returns everything that the published rules forbid, sorted by step and
// property; none means that the playbook can be used. Rules beyond the JSON
// schema are those of the text: references lead somewhere, there is one start,
// every way leads to an end, and nothing repeats but by a while-condition.
func Check(p *Playbook) Problems {
	c := &checker{p: p}
	c.frame()
	c.definitions()
	if len(p.Workflow) > MaxSteps {
		c.say("", "workflow", "has %d steps, more than %d", len(p.Workflow), MaxSteps)
		return c.found
	}
	c.scopes()
	for _, id := range slices.Sorted(maps.Keys(p.Workflow)) {
		c.step(id, p.Workflow[id])
	}
	c.start()
	if len(c.found) == 0 { // the ways can be walked only where they lead somewhere
		c.ways()
	}
	slices.SortStableFunc(c.found, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Step, b.Step), strings.Compare(a.Property, b.Property))
	})
	return c.found
}

// frame checks the playbook's own properties, section 3.
func (c *checker) frame() {
	p := c.p
	if p.Type != "playbook" {
		c.say("", "type", "must be playbook, not %q", p.Type)
	}
	if p.SpecVersion != SpecVersion {
		c.say("", "spec_version", "must be %s, not %q", SpecVersion, p.SpecVersion)
	}
	c.id("", "id", p.ID, "playbook")
	c.id("", "created_by", p.CreatedBy, "identity")
	c.must("", "name", p.Name)
	c.times()
	for name, n := range map[string]*int{"priority": p.Priority, "severity": p.Severity, "impact": p.Impact} {
		if n != nil && (*n < 0 || *n > 100) {
			c.say("", name, "must be a number from 0 to 100")
		}
	}
	c.variables("", "playbook_variables", p.Variables)
	if p.WorkflowException != "" {
		c.leads("", "workflow_exception", p.WorkflowException)
	}
	for _, id := range p.Markings {
		if _, ok := p.DataMarkings[id]; !ok {
			c.say("", "markings", "%s is not among the data_marking_definitions", id)
		}
	}
}

func (c *checker) times() {
	var at [4]time.Time
	for i, t := range []struct{ name, text string }{{"created", c.p.Created}, {"modified", c.p.Modified}, {"valid_from", c.p.ValidFrom}, {"valid_until", c.p.ValidUntil}} {
		if t.text == "" {
			if i < 2 {
				c.say("", t.name, "is required")
			}
			continue
		}
		v, err := time.Parse(time.RFC3339Nano, t.text)
		if err != nil || !strings.HasSuffix(t.text, "Z") {
			c.say("", t.name, "must be a time in UTC such as 2026-11-28T09:00:00Z, not %q", t.text)
			continue
		}
		at[i] = v
	}
	if at[1].Before(at[0]) && !at[1].IsZero() {
		c.say("", "modified", "must not lie before created")
	}
	if at[3].Before(at[2]) && !at[3].IsZero() {
		c.say("", "valid_until", "must not lie before valid_from")
	}
}

// definitions checks the dictionaries whose ids others refer to.
func (c *checker) definitions() {
	for name, all := range map[string]map[string]AgentTarget{"agent_definitions": c.p.Agents, "target_definitions": c.p.Targets} {
		for id, a := range all {
			c.typed(name, id, a.Type)
			if a.Name == "" {
				c.say("", name, "%s needs a name", id)
			}
			if a.Auth != "" {
				if _, ok := c.p.Authentication[a.Auth]; !ok {
					c.say("", name, "authentication_info of %s leads nowhere: %s", id, a.Auth)
				}
			}
		}
	}
	for name, all := range map[string]map[string]Definition{"authentication_info_definitions": c.p.Authentication, "data_marking_definitions": c.p.DataMarkings} {
		for id, d := range all {
			c.typed(name, id, d.Type)
		}
	}
	for id, e := range c.p.ExtensionKinds {
		c.typed("extension_definitions", id, "extension-definition")
		if e.Type != "extension-definition" || e.Name == "" || e.CreatedBy == "" || e.Schema == "" || e.Version == "" {
			c.say("", "extension_definitions", "%s needs type, name, created_by, schema and version", id)
		}
	}
	c.extensions("", "playbook_extensions", c.p.Extensions)
}

func (c *checker) extensions(step, property string, all rest) {
	for id := range all {
		if kind, _, _ := strings.Cut(id, "--"); kind != "extension-definition" {
			c.say(step, property, "%q is no id of an extension-definition", id)
		}
	}
}

// typed checks the key of a dictionary against the type that stands in it.
func (c *checker) typed(property, id, kind string) {
	if kind == "" {
		c.say("", property, "%s needs a type", id)
		return
	}
	c.id("", property, id, kind)
}

func (c *checker) id(step, property, id, kind string) {
	switch got, uuid, ok := strings.Cut(id, "--"); {
	case id == "":
		c.say(step, property, "is required")
	case !ok || got != kind || !uuidForm.MatchString(uuid):
		c.say(step, property, "must have the form %s--UUID, not %q", kind, id)
	}
}

func (c *checker) must(step, property, text string) {
	if text == "" {
		c.say(step, property, "is required")
	}
}

func (c *checker) variables(step, property string, all map[string]Variable) {
	for name, v := range all {
		if !variableForm.MatchString(name) {
			c.say(step, property, "%q is no name of a variable: two underscores before and behind", name)
		}
		if v.Type == "" {
			c.say(step, property, "%s needs a type", name)
		}
	}
}

// leads checks a reference to a step.
func (c *checker) leads(step, property, to string) {
	if to == "" {
		c.say(step, property, "is required")
	} else if c.p.Workflow[to] == nil {
		c.say(step, property, "leads nowhere: %s", to)
	}
}

// step checks one step, section 4.
func (c *checker) step(id string, s *Step) {
	if s == nil {
		c.say(id, "", "is null")
		return
	}
	if s.Type == "" {
		c.say(id, "type", "is required")
		return
	}
	c.id(id, "id", id, string(s.Type))
	c.onward(id, s)
	c.variables(id, "step_variables", s.Variables)
	c.extensions(id, "step_extensions", s.Extensions)
	for name, n := range map[string]*int64{"delay": s.Delay, "timeout": s.Timeout} {
		if n != nil && *n < 0 {
			c.say(id, name, "must not be negative")
		}
	}
	switch s.Type {
	case Start, End:
	case Action:
		c.action(id, s)
	case PlaybookAction:
		c.id(id, "playbook_id", s.PlaybookID, "playbook")
		c.args(id, s)
	case Parallel:
		c.parallel(id, s)
	case If, While:
		c.condition(id, s)
	case Switch:
		c.cases(id, s)
	default:
		c.say(id, "type", "%q is no type of a step", s.Type)
	}
}

// onward checks where a step goes on. Steps that hold others may leave that
// to the ends of those.
func (c *checker) onward(id string, s *Step) {
	for name, to := range map[string]string{"on_completion": s.OnCompletion, "on_success": s.OnSuccess, "on_failure": s.OnFailure} {
		switch {
		case to == "":
		case s.Type == End:
			c.say(id, name, "an end goes nowhere")
		case c.p.Workflow[to] != nil && c.p.Workflow[to].Type == Start:
			c.say(id, name, "nothing goes back to the start")
		default:
			c.leads(id, name, to)
		}
	}
	if s.OnCompletion != "" && (s.OnSuccess != "" || s.OnFailure != "") {
		c.say(id, "on_completion", "must not stand beside on_success or on_failure")
	}
	if s.OnCompletion == "" && s.OnSuccess == "" && slices.Contains([]StepType{Start, Action, PlaybookAction}, s.Type) {
		c.say(id, "on_completion", "is required: every way leads to an end")
	}
}

func (c *checker) action(id string, s *Step) {
	if len(s.Commands) == 0 {
		c.say(id, "commands", "is required")
	}
	for i, cmd := range s.Commands {
		if cmd.Type == "" {
			c.say(id, fmt.Sprintf("commands[%d].type", i), "is required")
		}
	}
	if s.Agent == "" {
		c.say(id, "agent", "is required")
	} else if _, ok := c.p.Agents[s.Agent]; !ok {
		c.say(id, "agent", "is not among the agent_definitions: %s", s.Agent)
	}
	for _, t := range s.Targets {
		if _, ok := c.p.Targets[t]; !ok {
			c.say(id, "targets", "is not among the target_definitions: %s", t)
		}
	}
	c.args(id, s)
}

// args checks that arguments are names of variables that exist.
func (c *checker) args(id string, s *Step) {
	for name, all := range map[string][]string{"in_args": s.InArgs, "out_args": s.OutArgs} {
		for _, a := range all {
			if a = strings.TrimSuffix(a, ":value"); !variableForm.MatchString(a) {
				c.say(id, name, "%q is no name of a variable", a)
			} else if all := c.declared(id, a); len(all) == 0 {
				c.say(id, name, "%s is declared neither in the step nor in the playbook", a)
			} else if name == "out_args" && all[0].Constant {
				c.say(id, name, "%s is a constant, which nothing can change", a)
			}
		}
	}
}

func (c *checker) parallel(id string, s *Step) {
	if len(s.NextSteps) < 2 {
		c.say(id, "next_steps", "needs at least two steps")
	}
	for i, to := range s.NextSteps {
		c.leads(id, "next_steps", to)
		if slices.Contains(s.NextSteps[:i], to) {
			c.say(id, "next_steps", "names %s twice", to)
		}
	}
}

func (c *checker) condition(id string, s *Step) {
	c.leads(id, "on_true", s.OnTrue)
	if s.OnFalse != "" {
		c.leads(id, "on_false", s.OnFalse)
	}
	if s.Condition == "" {
		c.say(id, "condition", "is required")
		return
	}
	cond, err := ParseCondition(s.Condition)
	if err != nil {
		c.say(id, "condition", "%v", err)
		return
	}
	for _, name := range cond.Names() {
		if strings.HasPrefix(name, "__") && len(c.declared(id, strings.TrimSuffix(name, ":value"))) == 0 {
			c.say(id, "condition", "%s is declared neither in the step nor in the playbook", name)
		}
	}
}

func (c *checker) cases(id string, s *Step) {
	if len(s.Cases) == 0 {
		c.say(id, "cases", "is required")
	}
	for value, to := range s.Cases {
		c.leads(id, "cases["+value+"]", to)
	}
	switch name := strings.TrimSuffix(s.Switch, ":value"); {
	case s.Switch == "":
		c.say(id, "switch", "is required")
	case !variableForm.MatchString(name):
		c.say(id, "switch", "%q is no name of a variable", s.Switch)
	case len(c.declared(id, name)) == 0:
		c.say(id, "switch", "%s is declared neither in the step nor in the playbook", name)
	}
}

func (c *checker) start() {
	var starts []string
	for id, s := range c.p.Workflow {
		if s != nil && s.Type == Start {
			starts = append(starts, id)
		}
	}
	slices.Sort(starts)
	switch {
	case len(c.p.Workflow) == 0:
		c.say("", "workflow", "is required")
	case len(starts) != 1:
		c.say("", "workflow", "needs exactly one start step, and has %d", len(starts))
	case c.p.WorkflowStart != starts[0]:
		c.say("", "workflow_start", "must be the start step %s, not %q", starts[0], c.p.WorkflowStart)
	}
}

// Next are the steps that may follow a step at once, those of its branches
// included.
func (s *Step) Next() []string {
	all := []string{s.OnCompletion, s.OnSuccess, s.OnFailure, s.OnTrue, s.OnFalse}
	all = append(all, s.NextSteps...)
	for _, value := range slices.Sorted(maps.Keys(s.Cases)) {
		all = append(all, s.Cases[value])
	}
	return slices.DeleteFunc(all, func(id string) bool { return id == "" })
}

// ways walks the steps from the start: no way comes back to where it was but
// to a while-condition, and no step is forgotten.
func (c *checker) ways() {
	const under, done = 1, 2
	state := map[string]int{}
	var walk func(id string)
	walk = func(id string) {
		state[id] = under
		for _, to := range c.p.Workflow[id].Next() {
			switch state[to] {
			case under:
				if c.p.Workflow[to].Type != While {
					c.say(id, "", "goes back to %s: only a while-condition repeats", to)
				}
			case 0:
				walk(to)
			}
		}
		state[id] = done
	}
	walk(c.p.WorkflowStart)
	if c.p.WorkflowException != "" && state[c.p.WorkflowException] == 0 {
		walk(c.p.WorkflowException)
	}
	ends := 0
	for _, id := range slices.Sorted(maps.Keys(c.p.Workflow)) {
		if state[id] == 0 {
			c.say(id, "", "no way leads to this step")
		} else if c.p.Workflow[id].Type == End {
			ends++
		}
	}
	if ends == 0 {
		c.say("", "workflow", "no way leads to an end")
	}
}
