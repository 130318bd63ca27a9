package playbook

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/playbook/cacao"
)

// books are Sonae's own playbooks in a form that is short to write; Own makes
// CACAO of them, and that is what runs, is shown and is exported.
//
//go:embed books/*.yaml
var books embed.FS

// draft is one file of books.
type draft struct {
	Name      detect.Text            `yaml:"name"`
	About     detect.Text            `yaml:"about"`
	Modified  string                 `yaml:"modified"`
	Types     []string               `yaml:"types"`
	Kinds     []string               `yaml:"kinds"`
	Severity  int                    `yaml:"severity"`
	Impact    int                    `yaml:"impact"`
	Variables map[string]detect.Text `yaml:"variables"`
	Initial   map[string]string      `yaml:"initial"` // values of variables
	Steps     []draftStep            `yaml:"steps"`
}

// draftStep is a step of people, or one with branches: then one of All, If,
// While and Switch is set.
type draftStep struct {
	Name     detect.Text   `yaml:"name"`
	Do       detect.Text   `yaml:"do"`
	Who      string        `yaml:"who"`
	Due      string        `yaml:"due"` // known+30m, began+1h, opened+2d, or the id of a clock
	Law      string        `yaml:"law"`
	Call     detect.Text   `yaml:"call"`
	Keep     []detect.Text `yaml:"keep"`
	Paper    detect.Text   `yaml:"paper"`
	Undo     detect.Text   `yaml:"undo"`
	Ask      *draftAsk     `yaml:"ask"`
	Action   string        `yaml:"action"`
	Approval *struct {
		MofN  int         `yaml:"m_of_n"`
		Roles detect.Text `yaml:"roles"`
	} `yaml:"approval"`

	All    [][]draftStep          `yaml:"all"`
	If     string                 `yaml:"if"`
	While  string                 `yaml:"while"`
	Then   []draftStep            `yaml:"then"`
	Else   []draftStep            `yaml:"else"`
	Switch string                 `yaml:"switch"`
	Cases  map[string][]draftStep `yaml:"cases"`
}

type draftAsk struct {
	Variable string      `yaml:"variable"`
	Text     detect.Text `yaml:"text"`
	Options  []struct {
		Value string      `yaml:"value"`
		Text  detect.Text `yaml:"text"`
	} `yaml:"options"`
}

// Own are the playbooks that come with Sonae, sorted by the names of their
// files.
func Own() ([]*Book, error) {
	files, err := fs.Glob(books, "books/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("own playbooks: %w", err)
	}
	roles, err := ownRoles()
	if err != nil {
		return nil, err
	}
	var all []*Book
	for _, name := range files {
		if strings.HasSuffix(name, "/roles.yaml") {
			continue
		}
		b, err := ownBook(name, roles)
		if err != nil {
			return nil, fmt.Errorf("own playbook %s: %w", path.Base(name), err)
		}
		all = append(all, b)
	}
	return all, nil
}

func ownRoles() (map[string]detect.Text, error) {
	text, err := books.ReadFile("books/roles.yaml")
	if err != nil {
		return nil, fmt.Errorf("own playbooks: %w", err)
	}
	var roles map[string]detect.Text
	if err := strict(text, &roles); err != nil {
		return nil, fmt.Errorf("own playbooks: roles: %w", err)
	}
	return roles, nil
}

func ownBook(name string, roles map[string]detect.Text) (*Book, error) {
	text, err := books.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var d draft
	if err := strict(text, &d); err != nil {
		return nil, err
	}
	w := &writer{key: strings.TrimSuffix(path.Base(name), ".yaml"), roles: roles}
	p, err := w.playbook(d)
	if err != nil {
		return nil, err
	}
	source, err := cacao.Emit(p)
	if err != nil {
		return nil, err
	}
	b, err := Parse(source)
	if err != nil {
		return nil, err
	}
	b.Own = true
	return b, nil
}

func strict(text []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	return d.Decode(into)
}

// writer makes CACAO of a draft. Ids follow from the place of a step, so that
// they are the same on every hub.
type writer struct {
	key   string
	roles map[string]detect.Text
	p     *cacao.Playbook
	err   error
}

// sonae is the namespace of all ids that are made here.
const sonae = "6c1d5e0a-90f7-4c3e-8a52-5e0aac0b0001"

func (w *writer) id(kind, of string) string {
	return kind + "--" + uuid.NewSHA1(uuid.MustParse(sonae), []byte(of)).String()
}

func (w *writer) playbook(d draft) (*cacao.Playbook, error) {
	author := w.id("identity", "sonae")
	w.p = &cacao.Playbook{Type: "playbook", SpecVersion: cacao.SpecVersion, ID: w.id("playbook", w.key), Name: d.Name.In("en"), Description: d.About.In("en"),
		PlaybookTypes: d.Types, CreatedBy: author, Created: "2026-11-28T00:00:00Z", Modified: d.Modified, Labels: []string{"sonae", "ja", "en"},
		Severity: &d.Severity, Impact: &d.Impact,
		Variables: map[string]cacao.Variable{}, Workflow: cacao.Workflow{}, Agents: map[string]cacao.AgentTarget{},
		ExtensionKinds: map[string]cacao.Extension{ExtensionID: {Type: "extension-definition", Name: "Sonae", CreatedBy: author, Version: "1.0.0",
			Schema: "urn:sonae:playbook-extension:1", Description: "Who, until when and why, what to say and what to keep, for steps of people."}},
	}
	w.p.Extensions = w.extension(Extension{Name: d.Name, Description: d.About, Kinds: d.Kinds})
	for name, text := range d.Variables {
		v := cacao.Variable{Type: "string", Description: text.In("en")}
		if first, ok := d.Initial[name]; ok {
			v.Value = json.RawMessage(strconv.Quote(first))
		}
		w.p.Variables[name] = v
	}
	w.p.WorkflowStart = w.id("start", w.key+"/start")
	w.p.Workflow[w.p.WorkflowStart] = &cacao.Step{Type: cacao.Start, OnCompletion: w.chain("", d.Steps)}
	return w.p, w.err
}

func (w *writer) extension(e Extension) map[string]json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		w.err = err
	}
	return map[string]json.RawMessage{ExtensionID: bytes.TrimSpace(b.Bytes())}
}

// chain puts steps behind one another, with an end behind the last, and
// returns the id of the first.
func (w *writer) chain(at string, steps []draftStep) string {
	next := w.id("end", w.key+at+"/end")
	w.p.Workflow[next] = &cacao.Step{Type: cacao.End}
	for i, s := range slices.Backward(steps) {
		next = w.step(at+"/"+strconv.Itoa(i), s, next)
	}
	return next
}

func (w *writer) step(at string, d draftStep, next string) string {
	s := &cacao.Step{Name: d.Name.In("en"), Description: d.Do.In("en"), OnCompletion: next}
	switch {
	case len(d.All) > 0:
		s.Type = cacao.Parallel
		for i, branch := range d.All {
			s.NextSteps = append(s.NextSteps, w.chain(at+"/all"+strconv.Itoa(i), branch))
		}
	case d.If != "":
		s.Type, s.Condition, s.OnTrue = cacao.If, d.If, w.chain(at+"/then", d.Then)
		if len(d.Else) > 0 {
			s.OnFalse = w.chain(at+"/else", d.Else)
		}
	case d.While != "":
		s.Type, s.Condition, s.OnTrue = cacao.While, d.While, w.chain(at+"/then", d.Then)
	case d.Switch != "":
		s.Type, s.Switch, s.Cases = cacao.Switch, d.Switch, map[string]string{}
		for value, branch := range d.Cases {
			s.Cases[value] = w.chain(at+"/case-"+value, branch)
		}
	default:
		s.Type, s.Agent = cacao.Action, w.agent(d.Who)
		s.Commands = []cacao.Command{{Type: "manual", Command: d.Do.In("en")}}
	}
	s.Extensions = w.extension(w.words(d))
	id := w.id(string(s.Type), w.key+at)
	w.p.Workflow[id] = s
	return id
}

func (w *writer) agent(role string) string {
	text, ok := w.roles[role]
	if !ok {
		w.err = fmt.Errorf("no role %q", role)
	}
	id := w.id("group", "role/"+role)
	w.p.Agents[id] = cacao.AgentTarget{Type: "group", Name: text.In("en")}
	return id
}

func (w *writer) words(d draftStep) Extension {
	e := Extension{Name: d.Name, Description: d.Do, Role: w.roles[d.Who], Evidence: d.Keep, CallScript: d.Call, PaperForm: d.Paper, Reversal: d.Undo}
	if d.Due != "" || d.Law != "" {
		e.Deadline = w.deadline(d.Due, d.Law)
	}
	if d.Approval != nil {
		e.Approval = &Approval{MofN: d.Approval.MofN, Roles: d.Approval.Roles}
	}
	if d.Action != "" {
		e.Action = &Wanted{Kind: d.Action}
	}
	if q := d.Ask; q != nil {
		e.Ask = &Question{Variable: q.Variable, Text: q.Text}
		for _, o := range q.Options {
			e.Ask.Options = append(e.Ask.Options, Option{o.Value, o.Text})
		}
	}
	return e
}

// deadline reads known+30m; anything without a plus is a clock of duty.
func (w *writer) deadline(due, law string) *Deadline {
	basis, span, ok := strings.Cut(due, "+")
	if !ok || span == "" {
		return &Deadline{Clock: due, LawRef: law}
	}
	last := len(span) - 1
	n, err := strconv.Atoi(span[:last])
	unit := map[byte]string{'m': "minutes", 'h': "hours", 'd': "days"}[span[last]]
	if err != nil || unit == "" {
		w.err = fmt.Errorf("deadline %q", due)
	}
	return &Deadline{Basis: basis, Calendar: unit, Offset: n, LawRef: law}
}
