package decision

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

//go:embed data/criteria.yaml
var data embed.FS

// Kinds of criteria: 規模, 広がり, 情報の機微さ, 診療への影響.
const (
	Scale       = "scale"
	Spread      = "spread"
	Sensitivity = "sensitivity"
	Care        = "care"
)

// Measure is a number that criteria can be about.
type Measure struct {
	ID   string
	Kind string
	Unit string // catalogue key "decision.unit.<unit>"; answer: 1 yes, 0 no; severity: 0–4
}

// Measures lists what criteria can be about, in the order of the page.
func Measures() []Measure {
	return []Measure{
		{"hosts", Scale, "hosts"}, {"service-hosts", Scale, "hosts"}, {"severity", Scale, "severity"},
		{"encrypting", Spread, "alerts"}, {"leaving", Spread, "alerts"}, {"alert-hosts", Spread, "hosts"}, {"alerts-hour", Spread, "alerts"}, {"growth", Spread, "percent"},
		{"reachable", Spread, "hosts"},
		{"persons", Sensitivity, "persons"}, {"sensitive", Sensitivity, "persons"}, {"my-number", Sensitivity, "persons"}, {"public", Sensitivity, "answer"},
		{"bad-intent", Sensitivity, "answer"},
		{"wards", Care, "places"}, {"clinics", Care, "places"}, {"calls", Care, "calls"}, {"yen", Care, "yen"}, {"kept", Care, "hosts"},
	}
}

// MeasureOf finds a measure by its id.
func MeasureOf(id string) (Measure, bool) {
	all := Measures()
	i := slices.IndexFunc(all, func(m Measure) bool { return m.ID == id })
	if i < 0 {
		return Measure{}, false
	}
	return all[i], true
}

// Criterion says from which number on what is called for. One about care calls
// for nothing: it says how far stopping may go at most without other reasons
// (「ここまで」).
type Criterion struct {
	Measure string      `json:"measure" yaml:"measure"`
	AtLeast int64       `json:"at_least" yaml:"at_least"`
	Verdict Verdict     `json:"verdict" yaml:"verdict"`
	Source  detect.Text `json:"source" yaml:"source"` // who set it, by which rule
}

// Kind is that of what it measures.
func (c Criterion) Kind() string {
	m, _ := MeasureOf(c.Measure)
	return m.Kind
}

// Where a sheet comes from.
const (
	Shipped    = "shipped" // comes with Sonae
	AllService = "all"     // written for all services
	OneService = "service" // written for this one
)

// SheetRef names the criteria that were applied.
type SheetRef struct {
	From    string `json:"from"`
	Service string `json:"service"` // key; "" for all
	Version int    `json:"version"` // 0: as shipped
}

// Sheet is one version of the criteria of a service, or of all. It is what the
// ledger binds (type "criteria", ref "<service>/<version>"). Without criteria
// the service has none of its own any more.
type Sheet struct {
	Service  string      `json:"service"` // key; "" for all
	Version  int         `json:"version"`
	At       time.Time   `json:"at"`
	By       string      `json:"by"`
	Why      string      `json:"why"`
	Criteria []Criterion `json:"criteria"`
	Salt     string      `json:"salt"`
}

// Leaf is the line of the ledger that binds the version.
func (s Sheet) Leaf() (leaf.Leaf, error) {
	return leaf.Of("criteria", fmt.Sprintf("%s/%d", s.Service, s.Version), s.At, s)
}

// shippedFile is data/criteria.yaml.
type shippedFile struct {
	Compiled string      `yaml:"compiled"`
	Criteria []Criterion `yaml:"criteria"`
}

// Defaults are the criteria that come with Sonae.
func Defaults() ([]Criterion, error) {
	b, err := data.ReadFile("data/criteria.yaml")
	if err != nil {
		return nil, err
	}
	var f shippedFile
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("criteria that come with Sonae: %w", err)
	}
	return f.Criteria, check(f.Criteria)
}

// maxCriteria and maxNumber bound a sheet.
const (
	maxCriteria = 60
	maxNumber   = 1_000_000_000_000
)

// check says what cannot be right of a sheet.
func check(all []Criterion) error {
	if len(all) > maxCriteria {
		return fault.New(fault.Invalid, "decision.many", maxCriteria)
	}
	type line struct {
		measure string
		verdict Verdict
	}
	seen := map[line]bool{}
	for i, c := range all {
		m, ok := MeasureOf(c.Measure)
		key := line{c.Measure, c.Verdict}
		switch {
		case !ok:
			return fault.New(fault.Invalid, "decision.measure", i+1)
		case !slices.Contains(Verdicts(), c.Verdict) || c.Verdict == Keep && m.Kind != Care || c.Verdict == Stop && m.Kind == Care:
			return fault.New(fault.Invalid, "decision.verdict-line", i+1)
		case c.AtLeast < 1 || c.AtLeast > maxNumber || m.Unit == "answer" && c.AtLeast != 1 || m.Unit == "severity" && c.AtLeast > 4:
			return fault.New(fault.Invalid, "decision.threshold", i+1)
		case c.Source.In("ja") == "" || utf8.RuneCountInString(c.Source.In("ja")) > 500 || utf8.RuneCountInString(c.Source.In("en")) > 500:
			return fault.New(fault.Invalid, "decision.source", i+1)
		case seen[key]:
			return fault.New(fault.Invalid, "decision.twice", i+1)
		}
		seen[key] = true
	}
	return nil
}
