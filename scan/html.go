package scan

import (
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
)

//go:embed page.html page.css
var pageFiles embed.FS

// What a page shows at most, so that a browser can open it; what is left out
// is said.
const (
	maxPerRule   = 50
	maxShown     = 2000
	maxPageRows  = 1000
	maxShownKeys = 40
	maxValue     = 400 // characters
)

// page is what the template sees.
type page struct {
	words
	*Result
	*Summary
	Blind   *Blind
	Report  detect.Report
	Style   template.CSS
	Made    time.Time
	Version string
	Groups  []group
	Shown   int
	Authors []string
	Sigma   bool // some of these rules are under the Detection Rule License
	Chart   chart
}

// group is the findings of one rule.
type group struct {
	RuleCount
	Findings []Finding
	Tags     string
}

// parsedPage reads the embedded template once. A template that does not parse
// is a bug of ours, found by every test of the page.
var parsedPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.ParseFS(pageFiles, "page.html"))
})

// writePage writes the report: one page without scripts and without anything
// from elsewhere.
func writePage(w io.Writer, r *Result, report detect.Report, say words, made time.Time, version string) error {
	style, err := pageFiles.ReadFile("page.css")
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	sum, err := r.Summary()
	if err != nil {
		return err
	}
	p := page{words: say, Result: r, Summary: sum, Blind: r.Blind(), Report: report, Style: template.CSS(strings.TrimSpace(string(style))), Made: made, Version: version}
	if err := p.findings(); err != nil {
		return err
	}
	p.authors()
	p.Chart = drawn(sum, say)
	if err := parsedPage().Execute(w, p); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}

// findings takes the first of each rule.
func (p *page) findings() error {
	at := map[string]int{}
	for i, c := range p.Rules {
		at[c.Rule.ID] = i
		p.Groups = append(p.Groups, group{RuleCount: c, Tags: strings.Join(c.Rule.Tags, " ")})
	}
	return p.Each(func(f Finding) error {
		g := &p.Groups[at[f.Rule.ID]]
		if len(g.Findings) < maxPerRule && p.Shown < maxShown {
			g.Findings = append(g.Findings, f)
			p.Shown++
		}
		return nil
	}, nil)
}

// authors names who wrote the rules that found something, as their licences
// ask.
func (p *page) authors() {
	hit := map[string]bool{}
	for _, c := range p.Rules {
		hit[c.Rule.ID] = true
	}
	named := map[string]bool{}
	for _, l := range p.Report.Loaded {
		if hit[l.ID] && l.Author != "" {
			named[l.Author] = true
			p.Sigma = p.Sigma || l.Author != "Sonae"
		}
	}
	p.Authors = slices.Sorted(maps.Keys(named))
}

// Methods of the page that return words.

// Title is the title of a rule in the reader's language.
func (p page) Title(r Rule) string { return printable(r.title(p.lang)) }

// Lang is the language of the page.
func (p page) Lang() string { return p.lang }

// Period is the time that was asked for.
func (p page) Period() string {
	if p.opt.Since.IsZero() && p.opt.Until.IsZero() {
		return p.T("page.any")
	}
	return p.When(p.opt.Since) + " – " + p.When(p.opt.Until)
}

// MinLevel is the lowest level that was asked for.
func (p page) MinLevel() event.Severity { return p.opt.MinLevel }

// LevelNames are all levels, the gravest first.
func (p page) LevelNames() []event.Severity {
	return []event.Severity{event.Critical, event.High, event.Medium, event.Low, event.Info}
}

// Class is the name of a level in the style sheet.
func (p page) Class(s event.Severity) string { return s.String() }

// Span is a duration.
func (p page) Span(d time.Duration) string { return i18n.Length(p.lang, d) }

// Row is a field of a finding.
type Row struct{ Name, Value string }

// Glance is the field that says most.
func (p page) Glance(f Finding) *Row {
	if f.Flow != nil {
		return &Row{p.T("flow"), f.Flow.String()}
	}
	name, value := telling(f.Fields)
	if name == "" {
		return nil
	}
	return &Row{name, shorten(value)}
}

// Rows are the fields of a finding by name.
func (p page) Rows(f Finding) []Row {
	var rows []Row
	for _, name := range slices.Sorted(maps.Keys(f.Fields)) {
		if len(rows) == maxShownKeys {
			break
		}
		rows = append(rows, Row{cut(printable(name), 60), shorten(f.Fields[name])})
	}
	return rows
}

// MoreRows is how many fields are not shown.
func (p page) MoreRows(f Finding) int { return max(0, len(f.Fields)-maxShownKeys) }

func shorten(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return []rune(printable(string(r)))[0]
	}, s)
	if n := []rune(s); len(n) > maxValue {
		return string(n[:maxValue]) + "…"
	}
	return s
}

// Some is at most maxPageRows of a list, and More how many are left out.
func (p page) Some(list []Input) []Input           { return list[:min(len(list), maxPageRows)] }
func (p page) SomeProblems(l []Problem) []Problem  { return l[:min(len(l), maxPageRows)] }
func (p page) SomeHosts(l []HostCount) []HostCount { return l[:min(len(l), maxPageRows)] }
func (p page) More(n int) int                      { return max(0, n-maxPageRows) }

// Reason is what was wrong with a file, without its name.
func (p page) Reason(x Problem) string {
	return printable(strings.TrimPrefix(strings.ReplaceAll(x.Err.Error(), "\n", "; "), x.Path+": "))
}

// Join writes names one after the other.
func (p page) Join(names []string) string { return printable(strings.Join(names, ", ")) }

// chart is the timeline as numbers for an SVG of 960 by 200.
type chart struct {
	Bars  []bar
	Marks []mark
	Top   string // the highest column
}

// bar is a part of a column.
type bar struct {
	X, Y, W, H int
	Level      string
	Title      string
}

// mark is a time below the columns.
type mark struct {
	X      int
	Anchor string
	Text   string
}

// Size of the drawing.
const (
	chartWidth  = 960
	chartHeight = 160
)

func drawn(s *Summary, say words) chart {
	var c chart
	most := 0
	for _, st := range s.Steps {
		most = max(most, st.Findings())
	}
	if most == 0 {
		return c
	}
	c.Top = say.N(most)
	wide := chartWidth / max(len(s.Steps), 1)
	for i, st := range s.Steps {
		c.column(i*wide, max(1, min(wide, 40)-2), most, st, say)
	}
	for _, i := range []int{0, len(s.Steps) / 2, len(s.Steps) - 1} {
		anchor := [...]string{"start", "middle"}[min(i, 1)]
		if i == len(s.Steps)-1 && i > 0 {
			anchor = "end"
		}
		m := mark{min(chartWidth, i*wide+min(wide, 40)/2), anchor, say.When(s.Steps[i].At)[:16]}
		if i == 0 {
			m.X = 0
		}
		if len(c.Marks) == 0 || m.X-c.Marks[len(c.Marks)-1].X > 250 {
			c.Marks = append(c.Marks, m)
		}
	}
	return c
}

// column draws one step, the gravest level at the bottom, where columns are
// compared best.
func (c *chart) column(x, wide, most int, st Step, say words) {
	y := chartHeight
	for l := event.Critical; l >= event.Info; l-- {
		n := st.Levels[l]
		if n == 0 {
			continue
		}
		h := max(2, n*(chartHeight-10)/most) // nothing that was found is too small to be seen
		y = max(0, y-h)
		c.Bars = append(c.Bars, bar{x, y, wide, h, l.String(), say.When(st.At) + "  " + say.Sign(l) + " " + say.Level(l) + ": " + say.N(n)})
	}
}

// Rejected names the rules that cannot be used, those of one reason together.
func (p page) Rejected() []detect.Rejected {
	list := slices.Clone(p.Report.Rejected)
	slices.SortFunc(list, func(a, b detect.Rejected) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.File, b.File))
	})
	return list[:min(len(list), maxPageRows)]
}
