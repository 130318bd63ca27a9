// Package playbook keeps checklists and their runs.
//
// In: playbooks in CACAO v2 (package cacao), what people say about steps, and
// what became of actions. Out: Run, requests for actions, and one line of the
// chronology for each transition. Always true: a run keeps the version of the
// playbook that it began with; a transition is one transaction, and happens
// once however often the hub dies on the way; a step of people never ends by
// itself: when its time is over that is shown and told, and it stays open.
package playbook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/playbook/cacao"
)

// ExtensionID is the id under which our extension stands in steps and
// playbooks.
const ExtensionID = "extension-definition--7f3b2c1e-5a4d-4e8b-9c60-50a1e5b00c01"

// Extension is what CACAO lacks for people: who, until when and why, what to
// say, what to keep.
type Extension struct {
	Name        detect.Text   `json:"name,omitempty"`        // in each language
	Description detect.Text   `json:"description,omitempty"` // in each language
	Role        detect.Text   `json:"role_raci,omitempty"`   // who does it
	Deadline    *Deadline     `json:"deadline,omitempty"`
	Evidence    []detect.Text `json:"evidence_required,omitempty"`
	Approval    *Approval     `json:"approval,omitempty"`
	Reversal    detect.Text   `json:"reversal,omitempty"` // how it is undone
	CallScript  detect.Text   `json:"call_script,omitempty"`
	PaperForm   detect.Text   `json:"paper_form,omitempty"`
	Ask         *Question     `json:"decision,omitempty"`
	Action      *Wanted       `json:"action,omitempty"`
	Notify      *Telling      `json:"notify,omitempty"`
	Kinds       []string      `json:"kinds,omitempty"` // of the playbook: ids or tags of rules whose alerts it fits
}

// Deadline says until when a step should be done. It is never CACAO's timeout:
// a person is not a program.
type Deadline struct {
	Basis    string `json:"basis,omitempty"`    // known | began | opened; which moment is counted from
	Calendar string `json:"calendar,omitempty"` // minutes | hours | days
	Offset   int    `json:"offset,omitempty"`
	Clock    string `json:"clock,omitempty"`   // instead: id of a clock of duty
	LawRef   string `json:"law_ref,omitempty"` // article or source
}

// Approval asks for more people behind a step: MofN besides the one who did it.
type Approval struct {
	MofN  int         `json:"m_of_n"`
	Roles detect.Text `json:"roles,omitempty"`
}

// Question asks whoever does the step for the value of a variable.
type Question struct {
	Variable string      `json:"variable"`
	Text     detect.Text `json:"text,omitempty"`
	Options  []Option    `json:"options,omitempty"` // none: any text
}

// Option is one answer.
type Option struct {
	Value string      `json:"value"`
	Text  detect.Text `json:"text,omitempty"`
}

// Telling is a chain of people that a step has called until one of them answers.
type Telling struct {
	Chain string `json:"chain"` // its id or name, or the variable that holds it
}

// Wanted is an action that a step asks for, for each host of the incident.
// Its approval is the action's own. What it is done to stands there as it is,
// or as the name of the variable that holds it.
type Wanted struct {
	Kind      string   `json:"kind"`                // see check
	Host      string   `json:"host,omitempty"`      // only for this host of the incident, by id
	Forbidden string   `json:"forbidden,omitempty"` // isolate: ip:port
	Object    string   `json:"object,omitempty"`    // stop-service, disable-account; cut-site: id of the site, the incident's only one where it is empty
	Targets   []string `json:"targets,omitempty"`   // block-peer: addresses, with or without a port, or names; in a variable with commas
	PID       string   `json:"pid,omitempty"`       // freeze
	Image     string   `json:"image,omitempty"`     // freeze: the program of that process
}

// CutSite is the kind of an action that cuts a site off, see action.Cutting.
const CutSite = "cut-site"

// check says which kinds of actions a step can ask for, and what each one must
// name.
func (a Wanted) check() error {
	missing := ""
	switch action.Kind(a.Kind) {
	case action.Preserve, action.Isolate, CutSite:
	case action.StopService, action.DisableAccount:
		if a.Object == "" {
			missing = "an object"
		}
	case action.BlockPeer:
		if len(a.Targets) == 0 {
			missing = "targets"
		}
	case action.Freeze:
		if a.PID == "" || a.Image == "" {
			missing = "a pid and an image"
		}
	default:
		return fmt.Errorf("action can be preserve, isolate, freeze, block-peer, stop-service, disable-account or cut-site, not %q", a.Kind)
	}
	if missing != "" {
		return fmt.Errorf("action %s needs %s", a.Kind, missing)
	}
	return nil
}

// variables are the names of variables that the action is made of.
func (a Wanted) variables() []string {
	all := slices.Concat([]string{a.Host, a.Forbidden, a.Object, a.PID, a.Image}, a.Targets)
	return slices.DeleteFunc(all, func(text string) bool { return !isVariable(text) })
}

// Book is one version of a playbook, ready to run.
type Book struct {
	ID      string
	Version string // SHA-256 of its text
	Own     bool   // Sonae's
	Name    detect.Text
	About   detect.Text
	Kinds   []string
	Cards   []*Card // in the order of reading
	Source  []byte  // as it came, to the byte

	play *cacao.Playbook
	by   map[string]*Card
}

// Card is one step that people see.
type Card struct {
	No    int // from 1, in the order of reading
	ID    string
	Depth int // in how many branches it stands
	Step  *cacao.Step
	Ext   Extension
	Who   string // name of the agent when our extension names no role

	book *Book
}

// Human says whether people do the step.
func (c *Card) Human() bool {
	return c.Step.Type == cacao.Action && !c.Automatic() || c.Step.Type == cacao.PlaybookAction
}

// Automatic says whether the hub does the step.
func (c *Card) Automatic() bool { return c.Ext.Action != nil || c.Ext.Notify != nil }

// Name is what the step is called.
func (c *Card) Name() detect.Text {
	if len(c.Ext.Name) > 0 {
		return c.Ext.Name
	}
	name := c.Step.Name
	for _, other := range []string{c.Step.Description, c.Step.Condition, c.Step.Switch, string(c.Step.Type)} {
		if name == "" {
			name = other
		}
	}
	return plainText(name)
}

// Asked is the question whose answer a variable holds, nil when no step asks
// for it.
func (c *Card) Asked(variable string) *Question {
	for _, o := range c.book.Cards {
		if q := o.Ext.Ask; q != nil && variableName(q.Variable) == variableName(variable) {
			return q
		}
	}
	return nil
}

// About is what the playbook says about a variable, as seen from the step.
func (c *Card) About(variable string) string {
	if d, ok := c.Step.Variables[variableName(variable)]; ok {
		return d.Description
	}
	return c.book.play.Variables[variableName(variable)].Description
}

// Text is what is to be done, in words of people.
func (c *Card) Text() detect.Text {
	if len(c.Ext.Description) > 0 {
		return c.Ext.Description
	}
	return plainText(c.Step.Description)
}

// Role is who does it.
func (c *Card) Role() detect.Text {
	if len(c.Ext.Role) > 0 {
		return c.Ext.Role
	}
	return plainText(c.Who)
}

func plainText(s string) detect.Text { return detect.Text{"ja": s, "en": s} }

// Parse reads a playbook in CACAO v2. The error is fault.Invalid with the first
// problem; Problems has all.
func Parse(source []byte) (*Book, error) {
	p, err := cacao.Parse(source)
	if err != nil {
		return nil, fault.New(fault.Invalid, "playbook.unusable", err.Error()).With(err)
	}
	sum := sha256.Sum256(source)
	b := &Book{ID: p.ID, Version: hex.EncodeToString(sum[:]), Source: slices.Clone(source), play: p, by: map[string]*Card{}}
	ext, err := extension(p.Extensions)
	if err != nil {
		return nil, fault.New(fault.Invalid, "playbook.unusable", "playbook: playbook_extensions: "+err.Error()).With(err)
	}
	b.Name, b.About, b.Kinds = ext.Name, ext.Description, ext.Kinds
	if len(b.Name) == 0 {
		b.Name = plainText(p.Name)
	}
	if len(b.About) == 0 {
		b.About = plainText(p.Description)
	}
	if err := b.cards(); err != nil {
		return nil, fault.New(fault.Invalid, "playbook.unusable", err.Error()).With(err)
	}
	return b, nil
}

func extension(all map[string]json.RawMessage) (Extension, error) {
	var e Extension
	if raw, ok := all[ExtensionID]; ok {
		if err := json.Unmarshal(raw, &e); err != nil {
			return e, err
		}
	}
	return e, e.check()
}

func (e Extension) check() error {
	if d := e.Deadline; d != nil && d.Clock == "" && d.Basis != "" {
		if !slices.Contains([]string{"known", "began", "opened"}, d.Basis) || !slices.Contains([]string{"minutes", "hours", "days"}, d.Calendar) || d.Offset < 0 || d.Offset > 10000 {
			return fmt.Errorf("deadline needs a clock, or basis known, began or opened, calendar minutes, hours or days, and an offset from 0 to 10000")
		}
	}
	if a := e.Approval; a != nil && (a.MofN < 1 || a.MofN > 5) {
		return fmt.Errorf("approval needs an m_of_n from 1 to 5")
	}
	if e.Action != nil {
		if err := e.Action.check(); err != nil {
			return err
		}
	}
	if n := e.Notify; n != nil && (n.Chain == "" || e.Action != nil) {
		return fmt.Errorf("notify needs a chain, and no action beside it")
	}
	if q := e.Ask; q != nil && (!strings.HasPrefix(q.Variable, "__") || slices.ContainsFunc(q.Options, func(o Option) bool { return o.Value == "" })) {
		return fmt.Errorf("decision needs a variable, and options with a value")
	}
	return nil
}

// cards puts the steps in the order of reading: what a step leads into, then
// where it goes on.
func (b *Book) cards() error {
	var walk func(id string, depth int) error
	walk = func(id string, depth int) error {
		s := b.play.Workflow[id]
		if s == nil || s.Type == cacao.End || b.by[id] != nil {
			return nil
		}
		if s.Type != cacao.Start {
			ext, err := extension(s.Extensions)
			if err != nil {
				return fmt.Errorf("%s: step_extensions: %w", id, err)
			}
			if err := b.declares(s, ext); err != nil {
				return fmt.Errorf("%s: step_extensions: %w", id, err)
			}
			c := &Card{No: len(b.Cards) + 1, ID: id, Depth: depth, Step: s, Ext: ext, Who: b.play.Agents[s.Agent].Name, book: b}
			b.Cards, b.by[id] = append(b.Cards, c), c
		}
		in, on := inside(s)
		for _, to := range in {
			if err := walk(to, depth+1); err != nil {
				return err
			}
		}
		for _, to := range on {
			if err := walk(to, depth); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(b.play.WorkflowStart, 0); err != nil {
		return err
	}
	return walk(b.play.WorkflowException, 0)
}

// declares says whether the variables of an extension exist.
func (b *Book) declares(s *cacao.Step, e Extension) error {
	var all []string
	if e.Ask != nil {
		all = append(all, e.Ask.Variable)
	}
	if e.Action != nil {
		all = append(all, e.Action.variables()...)
	}
	if e.Notify != nil && isVariable(e.Notify.Chain) {
		all = append(all, e.Notify.Chain)
	}
	for _, name := range all {
		name = variableName(name)
		d, here := s.Variables[name]
		if !here {
			if d, here = b.play.Variables[name]; !here {
				return fmt.Errorf("%s is not among the playbook_variables", name)
			}
		}
		if e.Ask != nil && name == variableName(e.Ask.Variable) && d.Constant {
			return fmt.Errorf("%s is a constant, which nothing can change", name)
		}
	}
	return nil
}

// inside returns the first steps of the branches of a step, and the steps that
// come after it.
func inside(s *cacao.Step) (in, on []string) {
	for _, id := range s.Next() {
		switch id {
		case s.OnCompletion, s.OnSuccess, s.OnFailure:
			on = append(on, id)
		default:
			in = append(in, id)
		}
	}
	return in, on
}

// Card returns the card of a step, nil when there is none.
func (b *Book) Card(step string) *Card { return b.by[step] }

// Fits says whether the playbook is for alerts of one of the rules.
func (b *Book) Fits(rules []detect.Rule) bool {
	return slices.ContainsFunc(rules, func(r detect.Rule) bool {
		return slices.ContainsFunc(b.Kinds, func(k string) bool {
			return k == r.ID || slices.Contains(r.Tags, k)
		})
	})
}

// Names says whether the playbook is meant for one of the rules by its id, not
// only by a tag that other rules share.
func (b *Book) Names(rules []detect.Rule) bool {
	return slices.ContainsFunc(rules, func(r detect.Rule) bool { return slices.Contains(b.Kinds, r.ID) })
}

// Modified is when the author last changed it, as the text says.
func (b *Book) Modified() string { return b.play.Modified }

// Code is a short name of a step in one run, for paper: the number of its card
// and a letter that shows most slips of the pen.
func (b *Book) Code(run string, c *Card) string {
	const letters = "ACDEFHJKLMNPRTUVWXY" // a prime number of them, none that looks like another
	sum := 0
	for _, x := range []byte(run) {
		sum = (sum*31 + int(x)) % 65521
	}
	return fmt.Sprintf("%02d%c", c.No, letters[(sum+c.No*7)%len(letters)])
}

// Coded returns the card that a code names in a run, nil when it names none.
func (b *Book) Coded(run, code string) *Card {
	code = strings.ToUpper(strings.TrimSpace(code))
	for _, c := range b.Cards {
		if b.Code(run, c) == code || "0"+code == b.Code(run, c) {
			return c
		}
	}
	return nil
}
