package lang

import (
	"fmt"
	"strconv"
	"strings"
)

// A table is computed in two ways that give the same: at once over all
// segments, or part by part (Part), with the parts put together (Merge) and
// shown as often as wanted. Percentiles need everything at once.

// Merges says whether the table can be computed part by part.
func (q Query) Merges() bool {
	for _, a := range q.Group.Aggs {
		if a.Func == "p" {
			return false
		}
	}
	return true
}

// key returns the expressions of the key.
func (b *builder) key(g *Group) []string {
	var all []string
	if g.Every > 0 {
		all = append(all, b.step(g.Every))
	}
	for _, name := range g.By {
		f := Resolve(name)
		switch f.Kind {
		case KindNumber:
			all = append(all, b.numeric(f))
		case KindBool:
			all = append(all, "CASE WHEN "+f.Name+" THEN 'true' ELSE 'false' END")
		default:
			all = append(all, b.value(f))
		}
	}
	return all
}

// numeric is a field to compute with; NULL where it is absent.
func (b *builder) numeric(f Field) string {
	switch {
	case f.Kind == KindNumber && strings.HasSuffix(f.Name, "_port"): // nobody sends port 0
		return "nullif(" + f.Name + ", 0)"
	case f.Kind == KindNumber:
		return "CASE WHEN " + f.Name + " <> 0 THEN " + f.Name + " WHEN " + zero(f) + " = 0 THEN 0 END"
	}
	return "try_cast(" + b.value(f) + " AS DOUBLE)"
}

// plain is a field as its values are told apart and ordered; NULL where it is absent.
func (b *builder) plain(f Field) string {
	switch f.Kind {
	case KindNumber:
		return b.numeric(f)
	case KindTime:
		return "epoch_ns(" + f.Name + ")"
	case KindBool:
		return "CASE WHEN " + f.Name + " THEN 'true' ELSE 'false' END"
	}
	return "nullif(" + b.value(f) + ", '')"
}

// summed is a field to add up: its absent values add nothing, so that the map
// of fields need not be read for a known one.
func (b *builder) summed(f Field) string {
	if f.Kind == KindNumber {
		return f.Name
	}
	return b.numeric(f)
}

func (b *builder) direct(a Agg) string {
	f := Resolve(a.Field)
	switch a.Func {
	case "count":
		return "count(*)"
	case "distinct":
		return "count(DISTINCT " + b.plain(f) + ")"
	case "sum":
		return "coalesce(sum(" + b.summed(f) + "), 0)"
	case "avg":
		return "avg(" + b.numeric(f) + ")"
	case "p":
		return "quantile_cont(" + b.numeric(f) + ", " + fmt.Sprintf("0.%02d", a.P) + ")"
	}
	return a.Func + "(" + b.plain(f) + ")"
}

// part returns the columns that a part keeps of an Agg, and how those of many
// parts become one value. The columns are s0, s1, … from first on.
func (b *builder) part(a Agg, first int) (columns []string, merged string) {
	f, s := Resolve(a.Field), "s"+strconv.Itoa(first)
	switch a.Func {
	case "count":
		return []string{"count(*)"}, "coalesce(sum(" + s + "), 0)"
	case "distinct":
		return []string{"list(DISTINCT " + b.plain(f) + ") FILTER (" + b.plain(f) + " IS NOT NULL)"}, "coalesce(len(list_distinct(flatten(list(" + s + ") FILTER (" + s + " IS NOT NULL)))), 0)"
	case "sum":
		return []string{"coalesce(sum(" + b.summed(f) + "), 0)"}, "coalesce(sum(" + s + "), 0)"
	case "avg":
		n := "s" + strconv.Itoa(first+1)
		v := b.numeric(f)
		return []string{"sum(" + v + ")", "count(" + v + ")"}, "sum(" + s + ")::DOUBLE / nullif(sum(" + n + "), 0)"
	}
	return []string{a.Func + "(" + b.plain(f) + ")"}, a.Func + "(" + s + ")"
}

// Direct returns the statement of the whole table over a relation (a text of
// the caller, for example read_parquet(…)) and a condition of this builder.
// Rows are bounded by MaxRows + 1, so that the caller sees that there are more.
func (b *Builder) Direct(q Query, relation, condition string) string {
	keys := b.b.key(q.Group)
	columns := make([]string, 0, len(keys)+len(q.Group.Aggs))
	for _, k := range keys {
		columns = append(columns, k+" AS c"+strconv.Itoa(len(columns)))
	}
	for _, a := range q.Group.Aggs {
		columns = append(columns, b.b.direct(a)+" AS c"+strconv.Itoa(len(columns)))
	}
	return b.stages(q, "SELECT "+strings.Join(columns, ", ")+" FROM "+relation+" WHERE "+condition+groupBy(len(keys)))
}

// Part returns the statement of what one part contributes: columns k0, … and
// s0, ….
func (b *Builder) Part(q Query, relation, condition string) string {
	keys := b.b.key(q.Group)
	var columns []string
	for i, k := range keys {
		columns = append(columns, k+" AS k"+strconv.Itoa(i))
	}
	n := 0
	for _, a := range q.Group.Aggs {
		states, _ := b.b.part(a, n)
		for _, s := range states {
			columns = append(columns, s+" AS s"+strconv.Itoa(n))
			n++
		}
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + relation + " WHERE " + condition + groupBy(len(keys))
}

// Merge returns the statement of the table out of a relation that holds the
// rows of all parts so far.
func (b *Builder) Merge(q Query, relation string) string {
	keys := q.Group.keys()
	var columns []string
	for i := range keys {
		columns = append(columns, "k"+strconv.Itoa(i)+" AS c"+strconv.Itoa(i))
	}
	n := 0
	for _, a := range q.Group.Aggs {
		// The parameters of the states are not used here: a builder of its own.
		states, merged := (&builder{Options: b.b.Options, seen: map[any]string{}}).part(a, n)
		columns = append(columns, merged+" AS c"+strconv.Itoa(len(columns)))
		n += len(states)
	}
	return b.stages(q, "SELECT "+strings.Join(columns, ", ")+" FROM "+relation+groupBy(keys))
}

func groupBy(keys int) string {
	if keys == 0 {
		return ""
	}
	n := make([]string, keys)
	for i := range n {
		n[i] = strconv.Itoa(i + 1)
	}
	return " GROUP BY " + strings.Join(n, ", ")
}

// order is the first order of a table: a timeline by time, any other by its
// first computed column, largest first; then by key, so that it is the same
// each time.
func (g *Group) order() string {
	keys := g.keys()
	var by []string
	if g.Every == 0 && keys > 0 {
		by = append(by, "c"+strconv.Itoa(keys)+" DESC NULLS LAST")
	}
	for i := range keys {
		by = append(by, "c"+strconv.Itoa(i)+" NULLS LAST")
	}
	return strings.Join(by, ", ")
}

// stages puts what follows Group around its statement.
func (b *Builder) stages(q Query, text string) string {
	order := q.Group.order()
	limited := func(n int) {
		text = "SELECT * FROM (" + text + ")"
		if order != "" {
			text += " ORDER BY " + order
		}
		text += " LIMIT " + strconv.Itoa(n)
	}
	if q.Group.Kind == "top" {
		limited(q.Group.Top)
	}
	columns := q.Group.Columns()
	for _, t := range q.Then {
		switch t := t.(type) {
		case Having:
			text = "SELECT * FROM (" + text + ") WHERE " + b.having(t, columns[t.Column])
		case Sort:
			by := make([]string, len(t.Keys))
			for i, k := range t.Keys {
				by[i] = "c" + strconv.Itoa(k.Column)
				if k.Desc {
					by[i] += " DESC"
				}
				by[i] += " NULLS LAST"
			}
			if order != "" {
				by = append(by, order)
			}
			order = strings.Join(by, ", ")
		case Limit:
			limited(t.N)
		}
	}
	limited(MaxRows + 1)
	return text
}

func (b *Builder) having(h Having, c Column) string {
	name := "c" + strconv.Itoa(h.Column) + " " + h.Op.sql() + " "
	switch c.Kind {
	case KindTime:
		at, _ := parseMoment(h.Value)
		return name + b.b.arg(at.in(b.b.Now, b.b.Zone))
	case KindNumber:
		if n, ok := whole(h.Value); ok {
			return name + b.b.arg(n)
		}
		n, _ := Number(h.Value)
		return name + b.b.arg(n)
	}
	return name + b.b.arg(h.Value)
}

// Value returns the expression of a field's value; NULL where it is absent.
func (b *Builder) Value(f Field) string { return b.b.plain(f) }
