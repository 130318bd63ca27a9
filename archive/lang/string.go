package lang

import (
	"strconv"
	"strings"
)

// String writes the query so that Parse reads the same again.
func (q Query) String() string {
	var b strings.Builder
	if q.Where != nil {
		write(&b, q.Where, 0)
	}
	if q.Group != nil {
		b.WriteString(" | " + q.Group.String())
		columns := q.Group.Columns()
		for _, t := range q.Then {
			b.WriteString(" | " + thenString(t, columns))
		}
	}
	if q.Limit > 0 {
		b.WriteString(" | limit " + strconv.Itoa(q.Limit))
	}
	return strings.TrimPrefix(b.String(), " ")
}

// How tightly an expression binds: an inner one that binds less or the same
// stands in parentheses.
const (
	inOr = iota + 1
	inAnd
	inNot
)

func write(b *strings.Builder, x Expr, within int) {
	list := func(of []Expr, sign string, level int) {
		if within >= level {
			b.WriteByte('(')
		}
		for i, x := range of {
			if i > 0 {
				b.WriteString(sign)
			}
			write(b, x, level)
		}
		if within >= level {
			b.WriteByte(')')
		}
	}
	switch x := x.(type) {
	case And:
		list(x.All, " ", inAnd)
	case Or:
		list(x.Any, " OR ", inOr)
	case Not:
		b.WriteString("NOT ")
		write(b, x.X, inNot)
	case Text:
		if x.Phrase {
			b.WriteString(quote(x.Value))
		} else {
			b.WriteString(x.Value)
		}
	case Match:
		b.WriteString(x.String())
	}
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// String writes the operator as in a query; those with a syntax of their own
// are named.
func (o Op) String() string {
	names := [...]string{"", ":", "=", "!=", ">", ">=", "<", "<=", " in ", "/", "/i", ":", ":*"}
	if o < 1 || int(o) >= len(names) {
		return "op(" + strconv.Itoa(int(o)) + ")"
	}
	return names[o]
}

// String writes the condition as in a query.
func (m Match) String() string {
	switch m.Op {
	case Exists:
		return m.Field + ":*"
	case Network:
		return m.Field + ":" + m.Values[0]
	case Regex, RegexFold:
		s := m.Field + ":/" + escapeSlashes(m.Values[0]) + "/"
		if m.Op == RegexFold {
			s += "i"
		}
		return s
	case In:
		quoted := make([]string, len(m.Values))
		for i, v := range m.Values {
			quoted[i] = plainOrQuoted(v)
		}
		return m.Field + " in (" + strings.Join(quoted, ", ") + ")"
	}
	return m.Field + m.Op.String() + plainOrQuoted(m.Values[0])
}

// escapeSlashes writes a slash that does not follow an escape as \/.
func escapeSlashes(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern):
			b.WriteByte(c)
			i++
			b.WriteByte(pattern[i])
		case c == '/':
			b.WriteString(`\/`)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// plainOrQuoted leaves out quotes around what is certainly one word.
func plainOrQuoted(v string) string {
	for i, r := range v {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.'
		if !letter && (i == 0 || r != '-' && r != ':' && r != '/') {
			return quote(v)
		}
	}
	if v == "" || strings.EqualFold(v, "or") {
		return quote(v)
	}
	return v
}

// String writes the stage as in a query, without its bar.
func (g *Group) String() string {
	by := ""
	if len(g.By) > 0 {
		by = " by " + strings.Join(g.By, ", ")
	}
	switch g.Kind {
	case "top":
		s := "top " + strconv.Itoa(g.Top) + " " + g.By[0]
		if g.Aggs[0].Func != "count" {
			s += " by " + g.Aggs[0].String()
		}
		return s
	case "timeline":
		return "timeline " + spanText(g.Every) + by
	case "stats":
		aggs := make([]string, len(g.Aggs))
		for i, a := range g.Aggs {
			aggs[i] = a.String()
		}
		return "stats " + strings.Join(aggs, ", ") + by
	}
	return g.Kind + by
}

// String is also the name of the column.
func (a Agg) String() string {
	switch a.Func {
	case "count":
		return "count"
	case "p":
		return "p" + strconv.Itoa(a.P) + "(" + a.Field + ")"
	}
	return a.Func + "(" + a.Field + ")"
}

func thenString(t Then, columns []Column) string {
	switch t := t.(type) {
	case Having:
		return "where " + columns[t.Column].Name + " " + t.Op.String() + " " + plainOrQuoted(t.Value)
	case Sort:
		keys := make([]string, len(t.Keys))
		for i, k := range t.Keys {
			if k.Desc {
				keys[i] = "-"
			}
			keys[i] += columns[k.Column].Name
		}
		return "sort " + strings.Join(keys, ", ")
	case Limit:
		return "limit " + strconv.Itoa(t.N)
	}
	return ""
}
