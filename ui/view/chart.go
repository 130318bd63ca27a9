package view

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/search"
)

// Measures of the charts, in units of their view boxes.
const (
	barWidth   = 20
	chartTall  = 100
	graphWide  = 1000
	graphRow   = 40
	graphAside = 330 // width of the boxes at both sides
)

// bar is one column of a chart.
type bar struct {
	Bucket archive.Bucket
	X      int
	Y, H   string // SVG attributes
}

// bars are the columns of a histogram. A bucket with any event is visible.
func bars(list []archive.Bucket) []bar {
	var most int64 = 1
	for _, b := range list {
		most = max(most, b.Count)
	}
	out := make([]bar, len(list))
	for i, b := range list {
		h := float64(b.Count) / float64(most) * chartTall
		if b.Count > 0 {
			h = max(h, 2)
		}
		out[i] = bar{Bucket: b, X: i * barWidth, Y: decimal(chartTall - h), H: decimal(h)}
	}
	return out
}

// busiest is the highest count of a histogram.
func busiest(list []archive.Bucket) int64 {
	var most int64
	for _, b := range list {
		most = max(most, b.Count)
	}
	return most
}

func decimal(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }

// chartBox is the view box of n columns.
func chartBox(n int) string { return fmt.Sprintf("0 0 %d %d", max(1, n)*barWidth, chartTall) }

// bucketSpan is the time of a column in words; a day is a day.
func bucketSpan(p Page, b archive.Bucket) string {
	end := b.From.Add(b.Width)
	if b.Width.Hours() >= 24 {
		return i18n.Date(p.Lang, b.From)
	}
	if b.Width.Minutes() < 1 {
		return p.Seconds(b.From)
	}
	return p.Time(b.From) + "–" + i18n.Clock(end)
}

// share is the width of a bar that shows n of most, 0 to 100.
func share(n, most int64) string {
	if most <= 0 || n <= 0 {
		return "0"
	}
	return decimal(max(1, 100*float64(n)/float64(most)))
}

// mostOf is the highest count of values.
func mostOf(list []archive.Value) int64 {
	var most int64
	for _, v := range list {
		most = max(most, v.Count)
	}
	return most
}

// columnMost is the highest number of a column of a table.
func columnMost(t *archive.Table, column int) float64 {
	most := 0.0
	for _, r := range t.Rows {
		if v, err := strconv.ParseFloat(r[column], 64); err == nil {
			most = max(most, v)
		}
	}
	return most
}

// shareOf is share for a number of a table.
func shareOf(text string, most float64) string {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || most <= 0 || v <= 0 {
		return "0"
	}
	return decimal(max(1, 100*v/most))
}

// node is a neighbour with its place in the drawing of a graph.
type node struct {
	search.Node
	X, Y       int    // left top of its box
	Line       string // path from the entity to it
	Thick      string
	Left       bool
	Mark, Word string // shape and name of its kind
}

// graph is the drawing of an entity between its neighbours: people and
// programs on the left, machines, addresses and files on the right.
type graph struct {
	Nodes  []node
	Tall   int
	Middle int // centre of the entity's box
}

// mark is the shape of a kind: never colour alone.
func mark(k search.Kind) string {
	switch k {
	case search.Host:
		return "■"
	case search.User:
		return "▲"
	case search.Address:
		return "●"
	case search.Process:
		return "▶"
	}
	return "◆"
}

func graphOf(p Page, e search.Entity) graph {
	var sides [2][]search.Node
	for _, n := range e.Nodes() {
		side := 1
		if n.Kind == search.User || n.Kind == search.Process || e.Kind == search.Address && n.Kind == search.Host {
			side = 0
		}
		sides[side] = append(sides[side], n)
	}
	rows := max(len(sides[0]), len(sides[1]), 3)
	g := graph{Tall: rows*graphRow + 20}
	g.Middle = g.Tall / 2
	var most int64 = 1
	for _, n := range e.Nodes() {
		most = max(most, n.Count)
	}
	for side, list := range sides {
		top := g.Middle - len(list)*graphRow/2
		for i, n := range list {
			d := node{Node: n, X: 0, Y: top + i*graphRow, Left: side == 0, Mark: mark(n.Kind), Word: p.T("entity.kind." + string(n.Kind))}
			from, to := graphAside, 390
			if side == 1 {
				d.X, from, to = graphWide-graphAside, graphWide-graphAside, 610
			}
			y := d.Y + graphRow/2
			d.Line = fmt.Sprintf("M%d %dC%d %d %d %d %d %d", from, y, (from+to)/2, y, (from+to)/2, g.Middle, to, g.Middle)
			d.Thick = decimal(1 + 5*math.Log1p(float64(n.Count))/math.Log1p(float64(most)))
			g.Nodes = append(g.Nodes, d)
		}
	}
	return g
}

// label is a name that fits into a box of the graph.
func label(p Page, k search.Kind, value string) string {
	if k == search.Host {
		value = p.Host(value)
	}
	const most = 30
	r := []rune(value)
	wide := 0
	for i, c := range r {
		if wide++; c > 0x2e7f {
			wide++
		}
		if wide > most {
			return string(r[:max(1, i-1)]) + "…"
		}
	}
	return value
}
