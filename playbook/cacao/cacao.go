// Package cacao reads, checks and writes playbooks in the form of the OASIS
// CACAO Security Playbooks specification, version 2.0.
//
// In: the JSON text of a playbook, of any author. Out: Playbook, or Problems
// that name step and property. Always true: what the types do not know, such as
// extensions of others, stands in Rest and is written again; nothing here runs
// anything; memory is bounded by MaxBytes, MaxDepth and MaxSteps.
package cacao

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Bounds of what is read.
const (
	MaxBytes = 1 << 20
	MaxDepth = 32
	MaxSteps = 500
)

// SpecVersion is the version of the specification that is understood.
const SpecVersion = "cacao-2.0"

// StepType is what a workflow step does.
type StepType string

// Types of steps, section 4 of the specification.
const (
	Start          StepType = "start"
	End            StepType = "end"
	Action         StepType = "action"
	PlaybookAction StepType = "playbook-action"
	Parallel       StepType = "parallel"
	If             StepType = "if-condition"
	While          StepType = "while-condition"
	Switch         StepType = "switch-condition"
)

// rest are the properties of an object that its type does not carry.
type rest = map[string]json.RawMessage

// Playbook is the whole object. Times stay as text, so that they are written as
// they were read.
type Playbook struct {
	Type               string                 `json:"type,omitempty"`
	SpecVersion        string                 `json:"spec_version,omitempty"`
	ID                 string                 `json:"id,omitempty"`
	Name               string                 `json:"name,omitempty"`
	Description        string                 `json:"description,omitempty"`
	PlaybookTypes      []string               `json:"playbook_types,omitempty"`
	PlaybookActivities []string               `json:"playbook_activities,omitempty"`
	CreatedBy          string                 `json:"created_by,omitempty"`
	Created            string                 `json:"created,omitempty"`
	Modified           string                 `json:"modified,omitempty"`
	Revoked            bool                   `json:"revoked,omitempty"`
	ValidFrom          string                 `json:"valid_from,omitempty"`
	ValidUntil         string                 `json:"valid_until,omitempty"`
	DerivedFrom        []string               `json:"derived_from,omitempty"`
	Priority           *int                   `json:"priority,omitempty"`
	Severity           *int                   `json:"severity,omitempty"`
	Impact             *int                   `json:"impact,omitempty"`
	IndustrySectors    []string               `json:"industry_sectors,omitempty"`
	Labels             []string               `json:"labels,omitempty"`
	ExternalReferences []ExternalReference    `json:"external_references,omitempty"`
	Markings           []string               `json:"markings,omitempty"`
	Variables          map[string]Variable    `json:"playbook_variables,omitempty"`
	WorkflowStart      string                 `json:"workflow_start,omitempty"`
	WorkflowException  string                 `json:"workflow_exception,omitempty"`
	Workflow           Workflow               `json:"workflow,omitempty"`
	Extensions         rest                   `json:"playbook_extensions,omitempty"`
	Authentication     map[string]Definition  `json:"authentication_info_definitions,omitempty"`
	Agents             map[string]AgentTarget `json:"agent_definitions,omitempty"`
	Targets            map[string]AgentTarget `json:"target_definitions,omitempty"`
	ExtensionKinds     map[string]Extension   `json:"extension_definitions,omitempty"`
	DataMarkings       map[string]Definition  `json:"data_marking_definitions,omitempty"`

	Rest rest `json:"-"`
}

// Workflow are the steps by id.
type Workflow map[string]*Step

// Step is one step of the workflow; which properties count depends on its
// type.
type Step struct {
	Type               StepType            `json:"type,omitempty"`
	Name               string              `json:"name,omitempty"`
	Description        string              `json:"description,omitempty"`
	ExternalReferences []ExternalReference `json:"external_references,omitempty"`
	Delay              *int64              `json:"delay,omitempty"`   // milliseconds
	Timeout            *int64              `json:"timeout,omitempty"` // milliseconds; never applied to people
	Variables          map[string]Variable `json:"step_variables,omitempty"`
	Owner              string              `json:"owner,omitempty"`
	OnCompletion       string              `json:"on_completion,omitempty"`
	OnSuccess          string              `json:"on_success,omitempty"`
	OnFailure          string              `json:"on_failure,omitempty"`
	Extensions         rest                `json:"step_extensions,omitempty"`

	Commands        []Command         `json:"commands,omitempty"`         // action
	Agent           string            `json:"agent,omitempty"`            // action
	Targets         []string          `json:"targets,omitempty"`          // action
	InArgs          []string          `json:"in_args,omitempty"`          // action, playbook-action
	OutArgs         []string          `json:"out_args,omitempty"`         // action, playbook-action
	PlaybookID      string            `json:"playbook_id,omitempty"`      // playbook-action
	PlaybookVersion string            `json:"playbook_version,omitempty"` // playbook-action
	NextSteps       []string          `json:"next_steps,omitempty"`       // parallel
	Condition       string            `json:"condition,omitempty"`        // if, while
	OnTrue          string            `json:"on_true,omitempty"`          // if, while
	OnFalse         string            `json:"on_false,omitempty"`         // if
	Switch          string            `json:"switch,omitempty"`           // switch
	Cases           map[string]string `json:"cases,omitempty"`            // switch: value → step

	Rest rest `json:"-"`
}

// Variable is a value of a playbook. Value is a JSON string, null, or an object
// for dictionaries.
type Variable struct {
	Type        string          `json:"type,omitempty"`
	Description string          `json:"description,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	Constant    bool            `json:"constant,omitempty"`
	External    bool            `json:"external,omitempty"`

	Rest rest `json:"-"`
}

// Text is the variable's value, and whether it has one.
func (v Variable) Text() (string, bool) {
	var s *string
	if len(v.Value) == 0 || json.Unmarshal(v.Value, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// Command is what an action step does.
type Command struct {
	Type        string `json:"type,omitempty"`
	Command     string `json:"command,omitempty"`
	CommandB64  string `json:"command_b64,omitempty"`
	Description string `json:"description,omitempty"`
	Version     string `json:"version,omitempty"`

	Rest rest `json:"-"`
}

// AgentTarget is who or what does a step, or to whom it is done.
type AgentTarget struct {
	Type        string          `json:"type,omitempty"`
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Contact     json.RawMessage `json:"contact,omitempty"`
	Auth        string          `json:"authentication_info,omitempty"`

	Rest rest `json:"-"`
}

// Definition is an object that Sonae keeps and refers to, but does not read:
// data markings and authentication.
type Definition struct {
	Type string `json:"type,omitempty"`

	Rest rest `json:"-"`
}

// Extension says what an extension of the specification is.
type Extension struct {
	Type        string `json:"type,omitempty"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	CreatedBy   string `json:"created_by,omitempty"`
	Schema      string `json:"schema,omitempty"`
	Version     string `json:"version,omitempty"`

	Rest rest `json:"-"`
}

// ExternalReference points to something outside.
type ExternalReference struct {
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	Source      string `json:"source,omitempty"`
	URL         string `json:"url,omitempty"`
	ID          string `json:"external_id,omitempty"`

	Rest rest `json:"-"`
}

// The plain types have no methods, so that encoding/json reads their fields.
type (
	plainPlaybook  Playbook
	plainStep      Step
	plainVariable  Variable
	plainCommand   Command
	plainAgent     AgentTarget
	plainDef       Definition
	plainExtension Extension
	plainReference ExternalReference
)

// UnmarshalJSON and MarshalJSON of all types keep what the type does not carry.

func (p *Playbook) UnmarshalJSON(b []byte) (err error) {
	p.Rest, err = decode(b, (*plainPlaybook)(p))
	return err
}
func (p Playbook) MarshalJSON() ([]byte, error) { return encode(plainPlaybook(p), p.Rest) }

func (s *Step) UnmarshalJSON(b []byte) (err error) {
	s.Rest, err = decode(b, (*plainStep)(s))
	return err
}
func (s Step) MarshalJSON() ([]byte, error) { return encode(plainStep(s), s.Rest) }

func (v *Variable) UnmarshalJSON(b []byte) (err error) {
	v.Rest, err = decode(b, (*plainVariable)(v))
	return err
}
func (v Variable) MarshalJSON() ([]byte, error) { return encode(plainVariable(v), v.Rest) }

func (c *Command) UnmarshalJSON(b []byte) (err error) {
	c.Rest, err = decode(b, (*plainCommand)(c))
	return err
}
func (c Command) MarshalJSON() ([]byte, error) { return encode(plainCommand(c), c.Rest) }

func (a *AgentTarget) UnmarshalJSON(b []byte) (err error) {
	a.Rest, err = decode(b, (*plainAgent)(a))
	return err
}
func (a AgentTarget) MarshalJSON() ([]byte, error) { return encode(plainAgent(a), a.Rest) }

func (d *Definition) UnmarshalJSON(b []byte) (err error) {
	d.Rest, err = decode(b, (*plainDef)(d))
	return err
}
func (d Definition) MarshalJSON() ([]byte, error) { return encode(plainDef(d), d.Rest) }

func (e *Extension) UnmarshalJSON(b []byte) (err error) {
	e.Rest, err = decode(b, (*plainExtension)(e))
	return err
}
func (e Extension) MarshalJSON() ([]byte, error) { return encode(plainExtension(e), e.Rest) }

func (e *ExternalReference) UnmarshalJSON(b []byte) (err error) {
	e.Rest, err = decode(b, (*plainReference)(e))
	return err
}
func (e ExternalReference) MarshalJSON() ([]byte, error) { return encode(plainReference(e), e.Rest) }

// UnmarshalJSON names the step that cannot be read.
func (w *Workflow) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*w = make(Workflow, len(raw))
	for id, body := range raw {
		s := &Step{}
		if err := json.Unmarshal(body, s); err != nil {
			return &stepError{id, err}
		}
		(*w)[id] = s
	}
	return nil
}

type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return fmt.Sprintf("step %s: %v", e.step, e.err) }
func (e *stepError) Unwrap() error { return e.err }

// decode reads an object into the struct that into points to, and returns the
// properties that would be lost if the struct alone were written again. Unlike
// encoding/json it takes "Name" for another property than "name".
func decode(data []byte, into any) (rest, error) {
	var all rest
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	if all == nil {
		return nil, fmt.Errorf("null instead of an object")
	}
	mine := rest{}
	for _, name := range properties(reflect.TypeOf(into).Elem()) {
		if v, ok := all[name]; ok {
			mine[name] = v
		}
	}
	text, err := json.Marshal(mine)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(into); err != nil {
		return nil, err
	}
	var carried rest
	if err := json.Unmarshal(text, &carried); err != nil {
		return nil, err
	}
	for name := range carried {
		delete(all, name)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// encode writes an object with the properties that its struct does not carry.
func encode(plain any, more rest) ([]byte, error) {
	text, err := json.Marshal(plain)
	if err != nil || len(more) == 0 {
		return text, err
	}
	all := rest{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for name, v := range more {
		if _, ok := all[name]; !ok {
			all[name] = v
		}
	}
	return json.Marshal(all)
}

// properties are the JSON names of a struct's fields.
func properties(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "-" && name != "" {
			names = append(names, name)
		}
	}
	return names
}
