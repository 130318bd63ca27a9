package duty

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/clock"
)

//go:embed data/*.yaml
var data embed.FS

// Rules are the facts of the law, read from data/*.yaml.
type Rules struct {
	Schema       string       `yaml:"schema"`
	Compiled     Date         `yaml:"compiled"`
	Timezone     string       `yaml:"timezone"` // only Asia/Tokyo
	Calendar     Calendar     `yaml:"calendar"`
	Counting     Counting     `yaml:"counting"`
	LegalClasses LegalClasses `yaml:"legal_classes"`
	Regimes      []Regime     `yaml:"regimes"`
	Items        []ReportItem `yaml:"report_items"`
	PersonNotice PersonNotice `yaml:"person_notice"`
	Indicators   []Indicator  `yaml:"indicators"`
	Contacts     []Contact    `yaml:"contacts"`
	Pending      []Pending    `yaml:"pending"`
	Holidays     Holidays     `yaml:"-"` // from holidays.yaml
}

// Origin says where a rule comes from and how sure we are of it.
type Origin struct {
	From       Date     `yaml:"effective_from"`
	Source     string   `yaml:"source"`
	Confidence string   `yaml:"confidence"`         // P, Px, S, I or U
	Inferred   []string `yaml:"inferred,omitempty"` // keys of this rule that are our own reading
}

// Calendar says on which days authorities are closed.
type Calendar struct {
	Weekdays []string `yaml:"closed_weekdays"`
	From     monthDay `yaml:"closed_from"` // both ends included, over the new year
	To       monthDay `yaml:"closed_to"`
	National bool     `yaml:"national_holidays"`
	Origin   `yaml:",inline"`
}

// Counting holds how each kind of clock is counted.
type Counting struct {
	Prompt     Count `yaml:"prompt"`
	Final      Count `yaml:"final"`
	Contractor Count `yaml:"contractor"`
}

// Slide is where a last day goes that is closed.
type Slide string

// Slides. With PreviousOpen the day stays where it is when there is no open
// day since day 1: an alarm before anybody knew would be absurd.
const (
	NextOpen     Slide = "next_open_day"
	PreviousOpen Slide = "previous_open_day"
	Stay         Slide = "stay"
)

// Count is how one kind of clock runs. Day 1 is the day of knowing, closed
// days count.
type Count struct {
	Guide       bool  `yaml:"guide"`
	TargetDay   int   `yaml:"target_day,omitempty"`
	TargetHours int   `yaml:"target_hours,omitempty"`
	LastDay     int   `yaml:"last_day,omitempty"` // 0: stands with the trigger
	Closed      Slide `yaml:"closed_last_day"`
	Origin      `yaml:",inline"`
}

// LegalClasses are the kinds of bodies that the regimes distinguish.
type LegalClasses struct {
	Default string   `yaml:"default"`
	Known   []string `yaml:"known"`
}

// Regime is one law with its triggers.
type Regime struct {
	ID           string        `yaml:"id"`
	Law          string        `yaml:"law"`
	Rule         string        `yaml:"rule"`
	Recipient    string        `yaml:"recipient"`
	Gate         string        `yaml:"gate"` // the fact without which nothing of it applies
	LegalClasses []string      `yaml:"legal_classes"`
	ExemptIf     string        `yaml:"exempt_if"`
	Below        string        `yaml:"below_threshold,omitempty"`
	Until        Date          `yaml:"effective_until,omitempty"` // first day it no longer holds
	Triggers     []TriggerRule `yaml:"triggers"`
	Origin       `yaml:",inline"`
}

// TriggerRule is one category of a regime.
type TriggerRule struct {
	ID         string `yaml:"id"`
	When       string `yaml:"when"` // a fact, or person_count
	MinPersons int    `yaml:"min_persons"`
	FinalDays  int    `yaml:"final_days"`
	BadIntent  bool   `yaml:"bad_intent"` // the one whose longer time wins
}

// ReportItem is one of the nine items of a report.
type ReportItem struct {
	No         int      `yaml:"no"`
	ID         string   `yaml:"id"`
	Label      string   `yaml:"label"` // the official title
	LabelEN    string   `yaml:"label_en"`
	LabelMyN   string   `yaml:"label_my_number,omitempty"` // title under the My Number Act
	LabelMyNEN string   `yaml:"label_my_number_en,omitempty"`
	ToPerson   bool     `yaml:"to_person"` // belongs into the notice to the person
	Fields     []string `yaml:"fields"`    // ids as in Assessment.Missing
}

// PersonNotice is the notice to the persons concerned, which has no day count.
type PersonNotice struct {
	Items       []int    `yaml:"items"`
	MayWaitIf   []string `yaml:"may_wait_if"`
	Substitute  []string `yaml:"substitute"`
	ReviewHours int      `yaml:"review_every_hours"`
	Origin      `yaml:",inline"`
}

// Indicator is a sign that data may have leaked.
type Indicator struct {
	ID         string `yaml:"id"`
	Confidence string `yaml:"confidence"`
}

// Contact is an authority's number as of a day; check it at installation.
type Contact struct {
	ID         string `yaml:"id"`
	Phone      string `yaml:"phone"`
	Mail       string `yaml:"mail,omitempty"`
	AsOf       Date   `yaml:"as_of"`
	Confidence string `yaml:"confidence"`
}

// Pending is a rule that is coming but not applied.
type Pending struct {
	ID         string `yaml:"id"`
	Note       string `yaml:"note"`
	Confidence string `yaml:"confidence"`
}

// Date is a day of the calendar in Asia/Tokyo.
type Date struct{ time.Time }

// UnmarshalYAML accepts YYYY-MM-DD only.
func (d *Date) UnmarshalYAML(n *yaml.Node) error {
	t, err := time.ParseInLocation(time.DateOnly, n.Value, clock.Tokyo())
	if err != nil {
		return fmt.Errorf("line %d: %q is not a day like 2026-11-21", n.Line, n.Value)
	}
	d.Time = t
	return nil
}

// monthDay is a day of every year, month*100 + day.
type monthDay int

func (m *monthDay) UnmarshalYAML(n *yaml.Node) error {
	t, err := time.Parse("2006-01-02", "2024-"+n.Value) // a leap year
	if err != nil {
		return fmt.Errorf("line %d: %q is not a day like 12-29", n.Line, n.Value)
	}
	*m = ofYear(t)
	return nil
}

func ofYear(t time.Time) monthDay { return monthDay(int(t.Month())*100 + t.Day()) }

// LoadRules reads the embedded rules and holidays. An error is a mistake in
// our own data and names file and line.
func LoadRules() (Rules, error) {
	rules, err := data.ReadFile("data/rules.yaml")
	if err != nil {
		return Rules{}, fmt.Errorf("load rules: %w", err)
	}
	holidays, err := data.ReadFile("data/holidays.yaml")
	if err != nil {
		return Rules{}, fmt.Errorf("load rules: %w", err)
	}
	return ParseRules(rules, holidays)
}

// maxRules bounds what is read, for rules that come from elsewhere.
const maxRules = 1 << 20

// ParseRules reads rules and holidays from YAML. Unknown keys, repeated keys,
// a second document and values that cannot be right are errors with the line.
func ParseRules(rules, holidays []byte) (Rules, error) {
	var r Rules
	if err := strict(rules, &r); err != nil {
		return Rules{}, fmt.Errorf("rules.yaml: %w", err)
	}
	if err := r.check(); err != nil {
		return Rules{}, fmt.Errorf("rules.yaml: %w", err)
	}
	var err error
	if r.Holidays, err = parseHolidays(holidays); err != nil {
		return Rules{}, fmt.Errorf("holidays.yaml: %w", err)
	}
	return r, nil
}

func strict(b []byte, into any) error {
	if len(b) > maxRules {
		return fmt.Errorf("%d bytes, at most %d are read", len(b), maxRules)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

var confidences = []string{"P", "Px", "S", "I", "U"}

func (o Origin) check(what string) error {
	switch {
	case o.From.IsZero():
		return fmt.Errorf("%s has no effective_from", what)
	case o.Source == "":
		return fmt.Errorf("%s has no source", what)
	case !slices.Contains(confidences, o.Confidence):
		return fmt.Errorf("%s has confidence %q", what, o.Confidence)
	}
	return nil
}

func (r Rules) check() error {
	if r.Schema != "sonae.duty.rules/1" || r.Timezone != "Asia/Tokyo" || r.Compiled.IsZero() {
		return fmt.Errorf("schema %q, timezone %q, compiled %v: not understood", r.Schema, r.Timezone, r.Compiled)
	}
	for _, day := range r.Calendar.Weekdays {
		if !slices.Contains(weekdays[:], day) {
			return fmt.Errorf("calendar: unknown weekday %q", day)
		}
	}
	if len(r.Calendar.Weekdays) > 5 { // with all days closed no slide would end
		return errors.New("calendar: more than five closed weekdays")
	}
	for name, c := range map[string]Count{"prompt": r.Counting.Prompt, "final": r.Counting.Final, "contractor": r.Counting.Contractor} {
		if err := c.check(name); err != nil {
			return err
		}
	}
	if !slices.Contains(r.LegalClasses.Known, r.LegalClasses.Default) {
		return fmt.Errorf("legal class %q is not known", r.LegalClasses.Default)
	}
	for _, regime := range r.Regimes {
		if err := regime.check(r.LegalClasses.Known); err != nil {
			return err
		}
	}
	if len(r.Regimes) == 0 {
		return errors.New("no regimes")
	}
	return errors.Join(r.checkItems(), r.Calendar.Origin.check("calendar"), r.PersonNotice.Origin.check("person_notice"))
}

func (c Count) check(name string) error {
	if !slices.Contains([]Slide{NextOpen, PreviousOpen, Stay}, c.Closed) {
		return fmt.Errorf("counting %s: closed_last_day %q", name, c.Closed)
	}
	if (c.LastDay < 1 || c.LastDay > maxDays) && name != "final" || c.TargetDay < 0 || c.TargetDay > c.LastDay || c.TargetHours < 0 {
		return fmt.Errorf("counting %s: target %d, last day %d", name, c.TargetDay, c.LastDay)
	}
	return c.Origin.check("counting " + name)
}

// maxDays bounds what a rule may ask for: nothing in these laws is longer than
// a year.
const maxDays = 366

func (r Regime) check(classes []string) error {
	if r.ID == "" || r.Law == "" || len(r.Triggers) == 0 {
		return fmt.Errorf("regime %q: id, law and triggers are needed", r.ID)
	}
	if !slices.Contains(factNames[:], r.Gate) || !slices.Contains(factNames[:], r.ExemptIf) {
		return fmt.Errorf("regime %s: gate %q, exempt_if %q", r.ID, r.Gate, r.ExemptIf)
	}
	for _, c := range r.LegalClasses {
		if !slices.Contains(classes, c) {
			return fmt.Errorf("regime %s: unknown legal class %q", r.ID, c)
		}
	}
	if !slices.Contains([]string{"", tryToReport}, r.Below) {
		return fmt.Errorf("regime %s: below_threshold %q", r.ID, r.Below)
	}
	for _, t := range r.Triggers {
		if t.When != personCount && !slices.Contains(factNames[:], t.When) || t.MinPersons < 1 || t.FinalDays < 1 || t.FinalDays > maxDays {
			return fmt.Errorf("regime %s: trigger %q cannot be used", r.ID, t.ID)
		}
	}
	return r.Origin.check("regime " + r.ID)
}

func (r Rules) checkItems() error {
	for i, it := range r.Items {
		if it.No != i+1 || it.Label == "" || it.LabelEN == "" {
			return fmt.Errorf("report item %d: number, label and label_en are needed", i+1)
		}
		for _, f := range it.Fields {
			if _, ok := (Items{}).Field(f); !ok && f != FieldPersons {
				return fmt.Errorf("report item %d: unknown field %q", it.No, f)
			}
		}
	}
	return nil
}

// Name says which rules were used, for the assessment.
func (r Rules) Name() string {
	return strings.Join([]string{r.Schema, r.Compiled.Format(time.DateOnly)}, " ")
}
