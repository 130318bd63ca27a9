package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/ready/asset"
)

// RestorePlanData is what the page of restore plans shows.
type RestorePlanData struct {
	Nav       []string // pages of the sub-navigation
	Plans     []plan.Plan
	Plan      *plan.Plan // nil: there is none
	Sites     []asset.Site
	Versions  []plan.Plan
	Timings   []plan.Timing
	Incidents []incident.Incident // in which it can be begun
}

// RestoreServiceData is what the form of a service shows.
type RestoreServiceData struct {
	Plan    plan.Plan
	Service plan.Service
	New     bool
	Classes []policy.Class // of the plan's site
	Hosts   []asset.Host
}

// holder is a class of data or a machine that a service may have.
type holder struct{ ID, Name string }

// classHolders are the classes of the site, and those that the service has
// besides.
func (d RestoreServiceData) classHolders() []holder {
	var all []holder
	for _, c := range d.Classes {
		all = append(all, holder{c.ID, c.Name})
	}
	return withOthers(all, d.Service.Classes)
}

func (d RestoreServiceData) hostHolders() []holder {
	var all []holder
	for _, h := range d.Hosts {
		all = append(all, holder{h.ID, h.Name})
	}
	return withOthers(all, d.Service.Hosts)
}

func withOthers(all []holder, has []string) []holder {
	for _, id := range has {
		if !slices.ContainsFunc(all, func(h holder) bool { return h.ID == id }) {
			all = append(all, holder{id, id})
		}
	}
	return all
}

// Measures of the drawing of a plan, in units of its view box.
const (
	boxWide   = 190
	boxTall   = 56
	layerStep = 250
	rowStep   = 80
	planEdge  = 10
)

// planBox is a service in the drawing.
type planBox struct {
	Service plan.Service
	X, Y    int
	Lines   []string // of its name
}

// planGraph is a plan as it is drawn: layers from left to right.
type planGraph struct {
	Box   string // view box
	Boxes []planBox
	Edges []string // paths
}

func planGraphOf(p Page, x plan.Plan) planGraph {
	layers := x.Layers()
	tall := 0
	for _, l := range layers {
		tall = max(tall, len(l))
	}
	g := planGraph{Box: fmt.Sprintf("0 0 %d %d", (len(layers)-1)*layerStep+boxWide+2*planEdge, tall*rowStep-(rowStep-boxTall)+2*planEdge)}
	at := map[string][2]int{}
	for i, layer := range layers {
		above := (tall - len(layer)) * rowStep / 2
		for k, key := range layer {
			at[key] = [2]int{planEdge + i*layerStep, planEdge + above + k*rowStep}
			g.Boxes = append(g.Boxes, planBox{Service: *x.Service(key), X: at[key][0], Y: at[key][1], Lines: twoLines(x.Service(key).Name.In(p.Lang))})
		}
	}
	for _, e := range x.Edges() {
		a, b := at[e[0]], at[e[1]]
		x1, y1, x2, y2 := a[0]+boxWide, a[1]+boxTall/2, b[0], b[1]+boxTall/2
		mid := (x1 + x2) / 2
		g.Edges = append(g.Edges, fmt.Sprintf("M%d %dC%d %d %d %d %d %dM%d %dl-9 -5v10z", x1, y1, mid, y1, mid, y2, x2-8, y2, x2, y2))
	}
	return g
}

// twoLines breaks a name so that it fits its box; what does not fit stands in
// the table below.
func twoLines(name string) []string {
	const most = 22 // half-width characters
	var lines []string
	line, wide := "", 0
	for _, r := range name {
		w := 1
		if r > 0x2e80 {
			w = 2
		}
		if wide+w > most {
			if len(lines) == 1 {
				return append(lines, line+"…")
			}
			at := strings.LastIndex(line, " ")
			if at > 8 {
				lines, line = append(lines, line[:at]), line[at+1:]
			} else {
				lines, line = append(lines, line), ""
			}
			wide = 0
			for _, q := range line {
				wide += 1 + bitOf(q > 0x2e80)
			}
		}
		line, wide = line+string(r), wide+w
	}
	return append(lines, line)
}

func bitOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// firstLine is where the first line of a box stands.
func (b planBox) firstLine() int { return b.Y + boxTall/2 + 5 - (len(b.Lines)-1)*10 }

// needsOf are the names of what a service needs first.
func needsOf(p Page, x plan.Plan, s plan.Service) string {
	if len(s.After) == 0 {
		return p.T("protect.plan.after.none")
	}
	var names []string
	for _, key := range s.After {
		names = append(names, x.Service(key).Name.In(p.Lang))
	}
	return strings.Join(names, p.T("protect.plan.book.and"))
}

func dataOf(p Page, x plan.Plan, s plan.Service) string {
	if s.Bytes == 0 && s.Files == 0 {
		return p.T("protect.plan.data.none")
	}
	from := ""
	if src := x.Source(s.Source); src != nil {
		from = src.Name.In(p.Lang)
	}
	return p.T("protect.plan.data.of", "bytes", i18n.Bytes(s.Bytes), "files", i18n.Count(s.Files), "source", from)
}

func spanOf(p Page, s plan.Span) string {
	if s.Zero() {
		return "—"
	}
	return p.T("protect.plan.span", "low", p.Count(s.Low), "mode", p.Count(s.Mode), "high", p.Count(s.High))
}

// figureOf writes a number for a field.
func figureOf(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// phaseOf names a step that was measured.
func phaseOf(p Page, c plan.Card) string {
	return p.T("protect.plan.phase."+c.Phase, "no", strconv.Itoa(c.Step))
}

// estimateOf is what the plan says about a step.
func estimateOf(p Page, x plan.Plan, c plan.Card) string {
	s := x.Service(c.Service)
	switch {
	case s == nil:
		return "—"
	case c.Phase == plan.Decide:
		return spanOf(p, s.Decide)
	case c.Phase == plan.Verify:
		return spanOf(p, s.Verify)
	case c.Phase == plan.Work && c.Step <= len(s.Steps):
		return spanOf(p, s.Steps[c.Step-1].Span)
	}
	return "—"
}

func serviceName(p Page, x plan.Plan, key string) string {
	if s := x.Service(key); s != nil {
		return s.Name.In(p.Lang)
	}
	return key
}

// stepRows are the steps of the form: those there are, and two empty ones.
func stepRows(s plan.Service) []plan.Step {
	rows := slices.Clone(s.Steps)
	for range 2 {
		if len(rows) < plan.MaxSteps {
			rows = append(rows, plan.Step{})
		}
	}
	return rows
}

func planService(id, service string) string { return "/protect/plan/" + id + "/services/" + service }

func serviceSlug(d RestoreServiceData) string {
	if d.New {
		return "new"
	}
	return d.Service.Key
}

func contains(all []string, one string) bool { return slices.Contains(all, one) }

// percentOf writes a share without what floating point adds to it.
func percentOf(share float64) string {
	return strconv.FormatFloat(share*100, 'g', 6, 64)
}
