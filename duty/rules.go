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
	Schema       string        `yaml:"schema"`
	Compiled     Date          `yaml:"compiled"`
	Timezone     string        `yaml:"timezone"` // only Asia/Tokyo
	Calendar     Calendar      `yaml:"calendar"`
	Counting     Counting      `yaml:"counting"`
	LegalClasses LegalClasses  `yaml:"legal_classes"`
	Regimes      []Regime      `yaml:"regimes"`
	Items        []ReportItem  `yaml:"report_items"`
	PersonNotice PersonNotice  `yaml:"person_notice"`
	Indicators   []Indicator   `yaml:"indicators"`
	Contacts     []Contact     `yaml:"contacts"`
	Tables       []Table       `yaml:"tables"`
	Exemption    ExemptionRule `yaml:"exemption"`
	Pending      []Pending     `yaml:"pending"`
	Holidays     Holidays      `yaml:"-"` // from holidays.yaml
}

// Origin says where a rule comes from and how sure we are of it.
type Origin struct {
	From       Date     `yaml:"effective_from"`
	Until      Date     `yaml:"effective_until,omitempty"` // first day it no longer holds
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
	Prompt     Counts `yaml:"prompt"`
	Final      Counts `yaml:"final"`
	Contractor Counts `yaml:"contractor"`
}

// Counts are the versions of one count, each for its time.
type Counts []Count

// on is the count that held at a time: the first one for times before all.
func (c Counts) on(t time.Time) Count {
	for _, one := range c {
		if one.holds(t) {
			return one
		}
	}
	return c[0]
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
	Source     string `yaml:"source"`
	Confidence string `yaml:"confidence"`
}

// Pending is a rule that is coming but not applied: nothing is ever computed
// from it, whatever its date says.
type Pending struct {
	ID         string `yaml:"id" json:"id"`
	Law        string `yaml:"law" json:"law"`
	Note       string `yaml:"note" json:"note"`
	From       Date   `yaml:"effective_from,omitempty" json:"effective_from"` // as announced; zero: not known
	Source     string `yaml:"source" json:"source"`
	Confidence string `yaml:"confidence" json:"confidence"`
}

// Due says that the announced date is over: a person must look whether it is
// in force, and for whom.
func (p Pending) Due(now time.Time) bool { return !p.From.IsZero() && !now.Before(p.From.Time) }

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
	case !o.Until.IsZero() && !o.From.Before(o.Until.Time):
		return fmt.Errorf("%s ends before it begins", what)
	}
	return nil
}

// holds says whether the rule is in force at a time.
func (o Origin) holds(t time.Time) bool {
	return !t.Before(o.From.Time) && (o.Until.IsZero() || t.Before(o.Until.Time))
}

// overlaps says whether two versions of one rule hold at the same time.
func (o Origin) overlaps(other Origin) bool {
	return (other.Until.IsZero() || o.From.Before(other.Until.Time)) && (o.Until.IsZero() || other.From.Before(o.Until.Time))
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
	for name, versions := range map[string]Counts{"prompt": r.Counting.Prompt, "final": r.Counting.Final, "contractor": r.Counting.Contractor} {
		if err := versions.check(name); err != nil {
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
	return errors.Join(r.checkItems(), r.checkVersions(), r.checkTables(), r.checkContacts(), r.Exemption.check(), r.Calendar.Origin.check("calendar"), r.PersonNotice.check())
}

// checkVersions refuses two versions of one regime that hold at the same time.
func (r Rules) checkVersions() error {
	for i, a := range r.Regimes {
		for _, b := range r.Regimes[:i] {
			if a.ID == b.ID && a.overlaps(b.Origin) {
				return fmt.Errorf("regime %s: two versions hold at the same time", a.ID)
			}
		}
	}
	return nil
}

func (r Rules) checkTables() error {
	seen := map[string]bool{}
	for _, t := range r.Tables {
		if err := t.check(seen); err != nil {
			return err
		}
	}
	return nil
}

func (r Rules) checkContacts() error {
	seen := map[string]bool{}
	for _, c := range r.Contacts {
		if c.ID == "" || c.ID == "new" || seen[c.ID] || c.Source == "" || !slices.Contains(confidences, c.Confidence) {
			return fmt.Errorf("contact %q: an id of its own, source and confidence are needed", c.ID)
		}
		seen[c.ID] = true
	}
	for _, p := range r.Pending {
		if p.ID == "" || p.Law == "" || p.Source == "" || !slices.Contains(confidences, p.Confidence) {
			return fmt.Errorf("pending %q: id, law, source and confidence are needed", p.ID)
		}
		if slices.ContainsFunc(r.Regimes, func(g Regime) bool { return g.ID == p.ID }) {
			return fmt.Errorf("pending %s: it is a regime that is applied", p.ID)
		}
	}
	return nil
}

func (n PersonNotice) check() error {
	if n.ReviewHours < 1 || n.ReviewHours > maxDays*24 {
		return fmt.Errorf("person_notice: review_every_hours %d", n.ReviewHours)
	}
	return n.Origin.check("person_notice")
}

func (c Counts) check(name string) error {
	if len(c) == 0 {
		return fmt.Errorf("counting %s: missing", name)
	}
	for i, one := range c {
		if err := one.check(name); err != nil {
			return err
		}
		for _, other := range c[:i] {
			if one.overlaps(other.Origin) {
				return fmt.Errorf("counting %s: two versions hold at the same time", name)
			}
		}
	}
	return nil
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
	if !known(r.Gate) || r.ExemptIf != "encrypted" {
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
		if t.When != personCount && !known(t.When) || t.MinPersons < 1 || t.FinalDays < 1 || t.FinalDays > maxDays {
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
