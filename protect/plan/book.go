package plan

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/playbook/cacao"
)

// Phases of a service in a run, in their order.
const (
	Gate    = "gate"    // people see that what it needs is running
	Decide  = "decide"  // somebody decides that it may begin
	Work    = "work"    // steps of people
	Restore = "restore" // its data come back
	Verify  = "verify"  // somebody sees that it works
)

// Card is a step of the playbook as the plan knows it.
type Card struct {
	Service string `json:"service"`
	Phase   string `json:"phase"`
	Step    int    `json:"step"` // of Work, from 1
}

func (c Card) path() string { return c.Service + "/" + c.Phase + "/" + strconv.Itoa(c.Step) }

// space is the namespace of all ids that are made here.
const space = "2f0f5b8a-6d15-4ab1-9f0e-5e0aac0b0008"

func id(kind, of string) string {
	return kind + "--" + uuid.NewSHA1(uuid.MustParse(space), []byte(of)).String()
}

// BookID is the id of the playbook of a plan.
func BookID(plan string) string { return id("playbook", plan) }

// cardID is the id of a step; it is the same in every version of a plan.
func (p *Plan) cardID(c Card) string { return id("action", p.ID+"/"+c.path()) }

// Cards are the steps of the playbook that are of services, by their ids.
func (p *Plan) Cards() map[string]Card {
	all := map[string]Card{}
	for i := range p.Services {
		s := &p.Services[i]
		for _, c := range s.cards(true) {
			all[p.cardID(c)] = c
		}
	}
	return all
}

// cards are the steps of a service in their order.
func (s *Service) cards(gate bool) []Card {
	var all []Card
	add := func(phase string, step int) { all = append(all, Card{s.Key, phase, step}) }
	if gate {
		add(Gate, 0)
	}
	if !s.Decide.Zero() {
		add(Decide, 0)
	}
	for i := range s.Steps {
		add(Work, i+1)
	}
	if s.Bytes > 0 || s.Files > 0 {
		add(Restore, 0)
	}
	add(Verify, 0)
	return all
}

// Book makes a playbook of the plan: a step for each thing that people decide,
// do, start or see, services that do not need one another side by side.
func (p *Plan) Book() ([]byte, error) {
	at := p.At.UTC().Format(time.RFC3339Nano)
	author := id("identity", "sonae")
	percent := 80
	w := &writer{plan: p, book: &cacao.Playbook{Type: "playbook", SpecVersion: cacao.SpecVersion, ID: BookID(p.ID), Name: p.Name.In("en"), Description: p.About.In("en"),
		PlaybookTypes: []string{"remediation"}, CreatedBy: author, Created: at, Modified: at, Labels: []string{"sonae", "restore-plan"}, Severity: &percent, Impact: &percent,
		Workflow: cacao.Workflow{}, Agents: map[string]cacao.AgentTarget{},
		ExtensionKinds: map[string]cacao.Extension{playbook.ExtensionID: {Type: "extension-definition", Name: "Sonae", CreatedBy: author, Version: "1.0.0",
			Schema: "urn:sonae:playbook-extension:1", Description: "Who, until when and why, what to say and what to keep, for steps of people."}},
	}}
	w.book.Extensions = w.extension(playbook.Extension{Name: p.Name, Description: p.About})
	w.book.WorkflowStart = id("start", p.ID)
	w.book.Workflow[w.book.WorkflowStart] = &cacao.Step{Type: cacao.Start, OnCompletion: w.put(p.shaped(), w.end("all"))}
	if w.err != nil {
		return nil, fmt.Errorf("playbook of plan %s: %w", p.ID, w.err)
	}
	return cacao.Emit(w.book)
}

// runnable says whether the playbook of the plan can be run.
func (p *Plan) runnable() error {
	text := *p
	if text.At.IsZero() {
		text.At = time.Unix(0, 0)
	}
	source, err := text.Book()
	if err != nil {
		return err
	}
	if _, err := playbook.Parse(source); err != nil {
		return fault.New(fault.Invalid, "protect.plan.long").With(err)
	}
	return nil
}

type writer struct {
	plan *Plan
	book *cacao.Playbook
	err  error
}

func (w *writer) end(of string) string {
	key := id("end", w.plan.ID+"/"+of)
	w.book.Workflow[key] = &cacao.Step{Type: cacao.End}
	return key
}

func (w *writer) extension(e playbook.Extension) map[string]json.RawMessage {
	raw, err := json.Marshal(e)
	if err != nil {
		w.err = err
	}
	return map[string]json.RawMessage{playbook.ExtensionID: raw}
}

// put writes the steps of a shape before next, and returns the first.
func (w *writer) put(s shape, next string) string {
	switch {
	case s.service != "":
		return w.service(w.plan.Service(s.service), s.gate, next)
	case s.series:
		for i := range s.parts {
			next = w.put(s.parts[len(s.parts)-1-i], next)
		}
		return next
	}
	names := detect.Text{}
	step := &cacao.Step{Type: cacao.Parallel, OnCompletion: next}
	key := ""
	for _, part := range s.parts {
		first := part.first()
		key += "/" + first
		step.NextSteps = append(step.NextSteps, w.put(part, w.end("branch/"+first+"/"+strconv.Itoa(len(w.book.Workflow)))))
	}
	for _, lang := range i18n.Languages() {
		names[lang] = i18n.T(lang, "protect.plan.book.parallel", map[string]string{"count": strconv.Itoa(len(s.parts))})
	}
	step.Name, step.Extensions = names.In("en"), w.extension(playbook.Extension{Name: names})
	at := id("parallel", w.plan.ID+key)
	w.book.Workflow[at] = step
	return at
}

// first is the service that begins a shape.
func (s shape) first() string {
	for s.service == "" {
		s = s.parts[0]
	}
	return s.service
}

func (w *writer) service(s *Service, gate []string, next string) string {
	all := s.cards(len(gate) > 0)
	for i := range all {
		c := all[len(all)-1-i]
		key := w.plan.cardID(c)
		w.book.Workflow[key] = w.step(s, c, gate, next)
		next = key
	}
	return next
}

func (w *writer) step(s *Service, c Card, gate []string, next string) *cacao.Step {
	e := playbook.Extension{Name: detect.Text{}, Description: detect.Text{}, Role: s.Owner}
	span := Span{}
	switch c.Phase {
	case Decide:
		span = s.Decide
	case Verify:
		span = s.Verify
	case Work:
		step := s.Steps[c.Step-1]
		span = step.Span
		if len(step.Who) > 0 {
			e.Role = step.Who
		}
	}
	for _, lang := range i18n.Languages() {
		args := w.words(s, c, gate, lang)
		e.Name[lang] = i18n.T(lang, "protect.plan.book."+c.Phase, args)
		e.Description[lang] = strings.TrimSpace(i18n.T(lang, "protect.plan.book."+c.Phase+".what", args))
	}
	if c.Phase == Work || c.Phase == Restore {
		for _, lang := range i18n.Languages() {
			if keys := s.Keys.In(lang); keys != "" {
				e.Description[lang] += "\n" + i18n.T(lang, "protect.plan.book.keys", map[string]string{"keys": keys})
			}
		}
	}
	if c.Phase != Verify {
		e.PaperForm = s.Paper
	}
	e.Deadline = deadline(span)
	if len(e.Role) == 0 {
		e.Role = detect.Text{"ja": i18n.T("ja", "protect.plan.book.anyone", nil), "en": i18n.T("en", "protect.plan.book.anyone", nil)}
	}
	return &cacao.Step{Type: cacao.Action, Name: e.Name.In("en"), Description: e.Description.In("en"), OnCompletion: next, Agent: w.agent(e.Role),
		Commands: []cacao.Command{{Type: "manual", Command: e.Description.In("en")}}, Extensions: w.extension(e)}
}

// words are what the sentences of a step are filled with.
func (w *writer) words(s *Service, c Card, gate []string, lang string) map[string]string {
	args := map[string]string{"service": s.Name.In(lang), "streams": strconv.Itoa(s.Streams), "bytes": i18n.Bytes(s.Bytes), "files": i18n.Count(s.Files)}
	if from := w.plan.Source(s.Source); from != nil {
		args["source"] = from.Name.In(lang)
	}
	if c.Phase == Work {
		args["step"] = s.Steps[c.Step-1].Name.In(lang)
	}
	var needs []string
	for _, key := range gate {
		needs = append(needs, w.plan.Service(key).Name.In(lang))
	}
	args["needs"] = strings.Join(needs, i18n.T(lang, "protect.plan.book.and", nil))
	return args
}

func (w *writer) agent(role detect.Text) string {
	key := id("group", "role/"+role.In("en"))
	w.book.Agents[key] = cacao.AgentTarget{Type: "group", Name: role.In("en")}
	return key
}

// deadline is when the longest estimate is over: then somebody should look,
// the step stays open.
func deadline(s Span) *playbook.Deadline {
	switch {
	case s.High == 0:
		return nil
	case s.High <= 10000:
		return &playbook.Deadline{Basis: "opened", Calendar: "minutes", Offset: s.High}
	}
	return &playbook.Deadline{Basis: "opened", Calendar: "hours", Offset: (s.High + 59) / 60}
}
