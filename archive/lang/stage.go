package lang

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Limits of tables.
const (
	MaxRows  = 10_000 // of a table
	MaxTop   = 1_000
	maxEvery = 366 * 24 * time.Hour
)

// stage reads what follows a bar.
func (p *parser) stage(q *Query) error {
	p.in.space()
	at := p.in.at
	name := strings.ToLower(p.in.name())
	switch name {
	case "count", "top", "stats", "timeline":
		if q.Group != nil || q.Limit > 0 {
			return p.wrong(at, "search.one-table")
		}
		g := &Group{Kind: name}
		if err := p.group(g); err != nil {
			return err
		}
		if len(g.Aggs) > maxAggs || len(g.By) > maxBy {
			return p.wrong(at, "search.too-many-columns", maxBy, maxAggs)
		}
		q.Group = g
		return nil
	case "limit":
		n, err := p.count(MaxRows)
		if err != nil {
			return err
		}
		if q.Group == nil {
			q.Limit = n
			return nil
		}
		q.Then = append(q.Then, Limit{n})
		return nil
	case "where", "sort":
		if q.Group == nil {
			return p.wrong(at, "search.no-table")
		}
		t, err := p.then(name, q.Group)
		if err != nil {
			return err
		}
		q.Then = append(q.Then, t)
		return nil
	}
	return p.wrong(at, "search.expect-stage")
}

func (p *parser) group(g *Group) error {
	var err error
	switch g.Kind {
	case "count":
		g.Aggs = []Agg{{Func: "count"}}
	case "stats":
		g.Aggs, err = p.aggs()
	case "timeline":
		g.Aggs = []Agg{{Func: "count"}}
		g.Every, err = p.every()
	case "top":
		return p.top(g)
	}
	if err != nil {
		return err
	}
	g.By, err = p.by()
	return err
}

func (p *parser) top(g *Group) error {
	p.in.space()
	g.Top, g.Aggs = 10, []Agg{{Func: "count"}}
	if unicode.IsDigit(p.in.peek(0)) {
		n, err := p.count(MaxTop)
		if err != nil {
			return err
		}
		g.Top = n
	}
	field, err := p.column()
	if err != nil {
		return err
	}
	g.By = []string{field}
	if p.keyword("by") {
		at := p.in.at
		a, err := p.agg()
		if err != nil {
			return err
		}
		if f := Resolve(a.Field); (a.Func == "min" || a.Func == "max") && f.Kind != KindNumber {
			return p.wrong(at, "search.not-number")
		}
		g.Aggs = []Agg{a}
	}
	return nil
}

// keyword moves over a word if it comes next.
func (p *parser) keyword(word string) bool {
	p.in.space()
	at := p.in.at
	if keyword(p.in.name(), word) {
		return true
	}
	p.in.at = at
	return false
}

// count reads a whole number from 1 to most.
func (p *parser) count(most int) (int, error) {
	p.in.space()
	at := p.in.at
	n, err := strconv.Atoi(p.in.word(true))
	if err != nil || n < 1 || n > most {
		return 0, p.wrong(at, "search.expect-count", most)
	}
	return n, nil
}

// every reads the width of a timeline's steps.
func (p *parser) every() (time.Duration, error) {
	p.in.space()
	at := p.in.at
	d, ok := parseSpan(p.in.word(true))
	if !ok || d < time.Second || d > maxEvery {
		return 0, p.wrong(at, "search.expect-span")
	}
	return d, nil
}

// column reads the name of a field to group by.
func (p *parser) column() (string, error) {
	p.in.space()
	at := p.in.at
	name := p.in.name()
	f := Resolve(name)
	if name == "" || f.Kind == KindTime || len(f.either) > 0 {
		return "", p.wrong(at, "search.expect-name")
	}
	return f.Name, nil
}

// by reads the fields of a key, if any.
func (p *parser) by() ([]string, error) {
	if !p.keyword("by") {
		return nil, nil
	}
	var fields []string
	for {
		p.in.space()
		at := p.in.at
		f, err := p.column()
		if err != nil {
			return nil, err
		}
		if slices.Contains(fields, f) {
			return nil, p.wrong(at, "search.twice")
		}
		fields = append(fields, f)
		p.in.space()
		if !p.in.take(',') {
			return fields, nil
		}
	}
}

func (p *parser) aggs() ([]Agg, error) {
	var all []Agg
	for {
		p.in.space()
		at := p.in.at
		a, err := p.agg()
		if err != nil {
			return nil, err
		}
		if slices.Contains(all, a) {
			return nil, p.wrong(at, "search.twice")
		}
		all = append(all, a)
		p.in.space()
		if !p.in.take(',') {
			return all, nil
		}
	}
}

// agg reads count, or a function of a field.
func (p *parser) agg() (Agg, error) {
	p.in.space()
	at := p.in.at
	a, ok := aggOf(strings.ToLower(p.in.name()))
	if !ok {
		return Agg{}, p.wrong(at, "search.expect-function")
	}
	p.in.space()
	if a.Func == "count" {
		if p.in.next() == '(' {
			p.in.at++
			p.in.space()
			if !p.in.take(')') {
				return Agg{}, p.wrong(p.in.at, "search.expect-close")
			}
		}
		return a, nil
	}
	if !p.in.take('(') {
		return Agg{}, p.wrong(p.in.at, "search.expect-open")
	}
	p.in.space()
	at = p.in.at
	name := p.in.name()
	f := Resolve(name)
	if name == "" || len(f.either) > 0 {
		return Agg{}, p.wrong(at, "search.expect-name")
	}
	if f.Kind == KindTime && a.Func != "min" && a.Func != "max" || f.Kind == KindBool && a.Func != "distinct" {
		return Agg{}, p.wrong(at, "search.not-number")
	}
	a.Field = f.Name
	p.in.space()
	if !p.in.take(')') {
		return Agg{}, p.wrong(p.in.at, "search.expect-close")
	}
	return a, nil
}

func aggOf(name string) (Agg, bool) {
	switch name {
	case "count", "distinct", "sum", "avg", "min", "max":
		return Agg{Func: name}, true
	}
	if digits, ok := strings.CutPrefix(name, "p"); ok && len(digits) <= 2 && digits != "" && digits[0] != '0' {
		if n, err := strconv.Atoi(digits); err == nil && n > 0 {
			return Agg{Func: "p", P: n}, true
		}
	}
	return Agg{}, false
}

func (p *parser) then(name string, g *Group) (Then, error) {
	if name == "where" {
		return p.having(g)
	}
	var keys []Key
	for {
		p.in.space()
		k := Key{Desc: p.in.peek(0) == '-'}
		if k.Desc || p.in.peek(0) == '+' {
			p.in.at++
		}
		var err error
		if k.Column, err = p.columnOf(g); err != nil {
			return nil, err
		}
		keys = append(keys, k)
		p.in.space()
		if !p.in.take(',') {
			return Sort{keys}, nil
		}
		if len(keys) == maxBy {
			return nil, p.wrong(p.in.at, "search.too-many-columns", maxBy, maxAggs)
		}
	}
}

// columnOf reads the name of a column of the table.
func (p *parser) columnOf(g *Group) (int, error) {
	p.in.space()
	at := p.in.at
	columns := g.Columns()
	find := func(name string) int {
		return slices.IndexFunc(columns, func(c Column) bool { return c.Name == name })
	}
	if a, err := p.agg(); err == nil {
		if i := find(a.String()); i >= 0 {
			return i, nil
		}
	}
	p.in.at = at
	if name := p.in.name(); name != "" {
		if i := find(Resolve(name).Name); i >= 0 {
			return i, nil
		}
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return 0, p.wrong(at, "search.expect-column", strings.Join(names, ", "))
}

func (p *parser) having(g *Group) (Then, error) {
	column, err := p.columnOf(g)
	if err != nil {
		return nil, err
	}
	p.in.space()
	at := p.in.at
	op, ok := p.in.operator()
	if !ok {
		return nil, p.wrong(at, "search.expect-operator")
	}
	if op == Like {
		op = Equals
	}
	p.in.space()
	at = p.in.at
	value, err := p.text(false)
	if err != nil {
		return nil, err
	}
	switch kind := g.Columns()[column].Kind; {
	case kind == KindTime:
		if _, ok := parseMoment(value); !ok {
			return nil, p.wrong(at, "search.expect-time")
		}
	case kind == KindNumber:
		if _, ok := Number(value); !ok {
			return nil, p.wrong(at, "search.expect-number")
		}
	}
	return Having{column, op, value}, nil
}
