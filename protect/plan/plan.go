// Package plan keeps the order in which a site comes back: services that need
// one another, with people, steps, keys, data and what is done on paper until
// then (復旧計画).
//
// In: what people write down, and what became of playbooks that were made of
// it. Out: Plan in versions, its layers for a drawing, a playbook in CACAO with
// parallel branches, Timing of every step that people took. Always true: a plan
// that is kept has no cycle and names nothing that is not in it; services stand
// in an order in which each comes after what it needs; every version stays, and
// its digest is in the ledger.
package plan

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
)

// Bounds of a plan.
const (
	MaxServices = 60
	MaxSteps    = 12 // of one service
	maxMachines = 200
	maxText     = 1000
	maxMinutes  = 366 * 24 * 60
)

// Plan is the restore plan of a site.
type Plan struct {
	ID       string      `json:"id"`
	Version  int         `json:"version"` // from 1
	Site     string      `json:"site"`
	Name     detect.Text `json:"name"`
	About    detect.Text `json:"about,omitempty"`
	Why      string      `json:"why,omitempty"` // of this version
	Staff    int         `json:"staff"`         // people who can work at once
	Streams  int         `json:"streams"`       // restores that the hub serves at once
	Hub      float64     `json:"hub"`           // MB/s that the hub can hand out in all; 0: not the limit
	Sources  []Source    `json:"sources"`       // where copies lie
	Services []Service   `json:"services"`      // who comes first gets people and streams first

	At time.Time `json:"at"`
	By string    `json:"by"`
}

// AtHub is the key of the source that is the hub's own repository: what drills
// and restores from it measure is the rate of this source.
const AtHub = "hub"

// Source is a place from which data comes back, and how quickly as long as
// nobody has measured it.
type Source struct {
	Key   string      `json:"key"`
	Name  detect.Text `json:"name"`
	Rate  float64     `json:"rate"`  // MB/s of one stream, assumed
	Files float64     `json:"files"` // files per second of one stream, assumed
}

// Service is one node of the graph.
type Service struct {
	Key     string      `json:"key"`
	Name    detect.Text `json:"name"`
	Owner   detect.Text `json:"owner,omitempty"` // who answers for it
	After   []string    `json:"after,omitempty"` // keys of services that must run first
	Staff   int         `json:"staff"`           // people whom its steps need at once
	Decide  Span        `json:"decide"`          // until somebody has decided that it may begin
	Steps   []Step      `json:"steps,omitempty"` // before its data comes back
	Source  string      `json:"source,omitempty"`
	Bytes   int64       `json:"bytes"`
	Files   int64       `json:"files"`
	Streams int         `json:"streams"` // restores side by side, e.g. machines; at least 1
	Disk    float64     `json:"disk"`    // MB/s that the target can write; 0: not the limit
	Verify  Span        `json:"verify"`  // until somebody has seen that it works
	Fails   float64     `json:"fails"`   // how likely data and check must be repeated, 0 to 0.9
	Keys    detect.Text `json:"keys,omitempty"`
	Paper   detect.Text `json:"paper,omitempty"` // how work goes on until then
	// Where its data lies: what is backed up, drilled and restored of them counts
	// for this service.
	Classes []string `json:"classes,omitempty"` // ids of classes of data
	Hosts   []string `json:"hosts,omitempty"`   // ids of machines
}

// HasData says whether something of the service comes back from a copy.
func (s *Service) HasData() bool { return s.Bytes > 0 || s.Files > 0 }

// Called says whether people call the service by a name, or by its key.
func (s *Service) Called(name string) bool {
	if strings.EqualFold(name, s.Key) {
		return true
	}
	for _, own := range s.Name {
		if name != "" && strings.EqualFold(name, own) {
			return true
		}
	}
	return false
}

// Step is something that people do.
type Step struct {
	Name detect.Text `json:"name"`
	Who  detect.Text `json:"who,omitempty"`
	Span Span        `json:"span"`
}

// Span is how long something takes, in minutes: at best, mostly, at worst.
type Span struct {
	Low  int `json:"low"`
	Mode int `json:"mode"`
	High int `json:"high"`
}

func (s Span) ok() bool {
	return 0 <= s.Low && s.Low <= s.Mode && s.Mode <= s.High && s.High <= maxMinutes
}

// Zero says whether there is nothing to wait for.
func (s Span) Zero() bool { return s.High == 0 }

// Service returns one service, nil when there is none.
func (p *Plan) Service(key string) *Service {
	i := slices.IndexFunc(p.Services, func(s Service) bool { return s.Key == key })
	if i < 0 {
		return nil
	}
	return &p.Services[i]
}

// Source returns one source, nil when there is none.
func (p *Plan) Source(key string) *Source {
	i := slices.IndexFunc(p.Sources, func(s Source) bool { return s.Key == key })
	if i < 0 {
		return nil
	}
	return &p.Sources[i]
}

func keyForm() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`) }

// Check puts the services into an order in which each comes after what it
// needs, and refuses what cannot be run. Of the services that could come next,
// the one that was named first comes first.
//
// Errors, all Invalid: "protect.plan.name", "protect.plan.numbers", "protect.plan.services",
// "protect.plan.key", "protect.plan.double", "protect.plan.unknown", "protect.plan.source", "protect.plan.staff",
// "protect.plan.steps", "protect.plan.span", "protect.plan.text", "protect.plan.service", "protect.plan.machines", "protect.plan.long", and
// "protect.plan.cycle" with the way round.
func (p *Plan) Check() error {
	if p.Name.In("ja") == "" {
		return fault.New(fault.Invalid, "protect.plan.name")
	}
	if p.Staff < 1 || p.Staff > 500 || p.Streams < 1 || p.Streams > 64 || p.Hub < 0 || p.Hub > 1e6 || len(p.Sources) > 10 {
		return fault.New(fault.Invalid, "protect.plan.numbers")
	}
	if len(p.Services) == 0 || len(p.Services) > MaxServices {
		return fault.New(fault.Invalid, "protect.plan.services", fmt.Sprint(MaxServices))
	}
	if err := p.keys(); err != nil {
		return err
	}
	for i := range p.Services {
		if err := p.checkService(&p.Services[i]); err != nil {
			return err
		}
	}
	if way := p.cycle(); way != nil {
		return fault.New(fault.Invalid, "protect.plan.cycle", strings.Join(way, " → "))
	}
	p.sort()
	return p.runnable()
}

// keys says whether services and sources can be told apart.
func (p *Plan) keys() error {
	form, seen := keyForm(), map[string]bool{}
	for _, s := range p.Sources {
		if !form.MatchString(s.Key) || s.Name.In("ja") == "" || s.Rate <= 0 || s.Rate > 1e6 || s.Files <= 0 || s.Files > 1e9 {
			return fault.New(fault.Invalid, "protect.plan.source-wrong", s.Key)
		}
		if seen["source/"+s.Key] {
			return fault.New(fault.Invalid, "protect.plan.double", s.Key)
		}
		seen["source/"+s.Key] = true
	}
	for _, s := range p.Services {
		if !form.MatchString(s.Key) {
			return fault.New(fault.Invalid, "protect.plan.key", s.Key)
		}
		if seen[s.Key] {
			return fault.New(fault.Invalid, "protect.plan.double", s.Key)
		}
		seen[s.Key] = true
	}
	return nil
}

func (p *Plan) checkService(s *Service) error {
	name := s.Name.In("ja")
	if name == "" {
		return fault.New(fault.Invalid, "protect.plan.service-name", s.Key)
	}
	for _, need := range s.After {
		if p.Service(need) == nil {
			return fault.New(fault.Invalid, "protect.plan.unknown", name, need)
		}
	}
	slices.Sort(s.After)
	s.After = slices.Compact(s.After)
	s.Classes, s.Hosts = ids(s.Classes), ids(s.Hosts)
	if s.Streams == 0 {
		s.Streams = 1
	}
	switch {
	case s.HasData() && p.Source(s.Source) == nil:
		return fault.New(fault.Invalid, "protect.plan.source", name)
	case s.Staff < 0 || s.Staff > p.Staff:
		return fault.New(fault.Invalid, "protect.plan.staff", name, fmt.Sprint(p.Staff))
	case s.Bytes < 0 || s.Bytes > 1<<60 || s.Files < 0 || s.Files > 1e13 || s.Streams < 1 || s.Streams > 64 || s.Disk < 0 || s.Disk > 1e6 || !(s.Fails >= 0 && s.Fails <= 0.9):
		return fault.New(fault.Invalid, "protect.plan.service", name)
	case len(s.Steps) > MaxSteps:
		return fault.New(fault.Invalid, "protect.plan.steps", name, fmt.Sprint(MaxSteps))
	case len(s.Classes) > maxMachines || len(s.Hosts) > maxMachines:
		return fault.New(fault.Invalid, "protect.plan.machines", name, fmt.Sprint(maxMachines))
	case !s.Decide.ok() || !s.Verify.ok():
		return fault.New(fault.Invalid, "protect.plan.span", name)
	}
	for _, step := range s.Steps {
		if step.Name.In("ja") == "" || !step.Span.ok() {
			return fault.New(fault.Invalid, "protect.plan.span", name)
		}
	}
	for _, t := range append([]detect.Text{s.Name, s.Owner, s.Keys, s.Paper}, stepTexts(s.Steps)...) {
		for text := range maps.Values(t) {
			if utf8.RuneCountInString(text) > maxText {
				return fault.New(fault.Invalid, "protect.plan.text", name, fmt.Sprint(maxText))
			}
		}
	}
	return nil
}

// ids are each once, in one order, none where there is none.
func ids(all []string) []string {
	all = slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == "" || len(id) > 100 })
	slices.Sort(all)
	return slices.Compact(all)
}

func stepTexts(steps []Step) []detect.Text {
	var all []detect.Text
	for _, s := range steps {
		all = append(all, s.Name, s.Who)
	}
	return all
}
