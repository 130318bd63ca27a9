package lang

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// SQL is a text in DuckDB's dialect over the columns of a segment, and the
// values of its parameters $1, $2, …
type SQL struct {
	Text string
	Args []any // string, int64, float64 or bool
}

// Options are what a query means beyond its text.
type Options struct {
	Now  time.Time      // what -2h counts back from
	Zone *time.Location // of times written without one, and of the days of a timeline; nil is UTC
}

// builder makes a text and its parameters. Nothing that somebody typed reaches
// the text: only what arg returns.
type builder struct {
	Options
	args []any
	seen map[any]string
}

// Builder collects the parameters of the parts of one statement.
type Builder struct{ b builder }

// NewBuilder returns an empty builder.
func NewBuilder(o Options) *Builder {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	return &Builder{builder{Options: o, seen: map[any]string{}}}
}

// Arg makes a value a parameter and returns how the text names it.
func (b *Builder) Arg(value any) string { return b.b.arg(value) }

// Args returns the values of all parameters so far.
func (b *Builder) Args() []any { return b.b.args }

// Condition returns a boolean expression that is never NULL; nil is TRUE.
func (b *Builder) Condition(x Expr) string {
	if x == nil {
		return "TRUE"
	}
	return b.b.expr(x)
}

func (b *builder) arg(value any) string {
	if name, ok := b.seen[value]; ok {
		return name
	}
	b.args = append(b.args, value)
	name := "$" + strconv.Itoa(len(b.args))
	b.seen[value] = name
	return name
}

func (b *builder) expr(x Expr) string {
	join := func(of []Expr, sign string) string {
		texts := make([]string, len(of))
		for i, x := range of {
			texts[i] = b.expr(x)
		}
		return "(" + strings.Join(texts, sign) + ")"
	}
	switch x := x.(type) {
	case And:
		return join(x.All, " AND ")
	case Or:
		return join(x.Any, " OR ")
	case Not:
		return "NOT " + b.expr(x.X)
	case Text:
		return b.text(x)
	case Match:
		return "(" + b.match(x) + ")"
	}
	return "FALSE"
}

// cased says whether upper and lower case make a difference in s.
func cased(s string) bool { return strings.ToLower(s) != s || strings.ToUpper(s) != s }

// text looks into the original line and every text field. Where upper and
// lower case matter, long texts are searched by a regular expression, which
// costs half of folding them first; columns with few values are folded, which
// the engine does once for each value.
func (b *builder) text(t Text) string {
	rest := "array_to_string(map_values(fields), chr(31))"
	if strings.Contains(t.Value, "\x1f") || !t.Phrase { // must not reach from one value into the next
		rest = ""
	}
	var parts []string
	for _, f := range table {
		if f.free && f.Name != "raw" {
			parts = append(parts, b.occurs(f.Name, t, false))
		}
	}
	parts = append(parts, b.occurs("raw", t, true))
	if rest != "" {
		parts = append(parts, b.occurs(rest, t, true))
	} else {
		parts = append(parts, "len(list_filter(map_values(fields), lambda v: "+b.occurs("v", t, true)+")) > 0")
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// occurs says that a text is part of an expression. Long ones have so many
// values that to fold each is expensive.
func (b *builder) occurs(of string, t Text, long bool) string {
	switch {
	case long && (cased(t.Value) || !t.Phrase):
		return "regexp_matches(" + of + ", " + b.arg(anyCase(t)) + ")"
	case t.Phrase && !cased(t.Value):
		return "contains(" + of + ", " + b.arg(t.Value) + ")"
	case t.Phrase:
		return "contains(lower(" + of + "), " + b.arg(strings.ToLower(t.Value)) + ")"
	}
	return "lower(" + of + ") LIKE " + b.arg("%"+likePattern(strings.ToLower(t.Value))+"%") + ` ESCAPE '\'`
}

// anyCase is the regular expression that finds the text.
func anyCase(t Text) string {
	p := regexp.QuoteMeta(t.Value)
	if !t.Phrase {
		p = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(p)
	}
	return "(?is)" + p
}

// likePattern turns * and ? into those of LIKE.
func likePattern(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%", "?", "_").Replace(s)
}

// value returns the expression of a field as text; empty where it is absent.
func (b *builder) value(f Field) string {
	switch {
	case f.derived != "":
		return f.derived
	case f.known:
		return f.Name
	}
	return "coalesce(fields[" + b.arg(f.Name) + "], '')"
}

func (b *builder) match(m Match) string {
	f := Resolve(m.Field)
	if len(f.either) > 0 {
		parts := make([]string, len(f.either))
		for i, name := range f.either {
			one := m
			one.Field = name
			parts[i] = "(" + b.match(one) + ")"
		}
		return strings.Join(parts, " OR ")
	}
	switch {
	case f.Kind == KindTime:
		at, _ := parseMoment(m.first())
		if m.Op == Exists {
			return "TRUE"
		}
		return f.Name + " " + m.Op.sql() + " make_timestamp_ns(" + b.arg(at.in(b.Now, b.Zone)) + ")"
	case f.Kind == KindBool:
		return b.boolean(f, m)
	case f.Kind == KindNumber:
		return b.number(f, m)
	case m.Op >= Greater && m.Op <= LessEqual:
		n, _ := Number(m.first())
		return "coalesce(try_cast(" + b.value(f) + " AS DOUBLE) " + m.Op.sql() + " " + b.arg(n) + ", FALSE)"
	}
	return b.textual(f, m)
}

func (m Match) first() string {
	if len(m.Values) == 0 {
		return ""
	}
	return m.Values[0]
}

func (o Op) sql() string {
	return map[Op]string{Equals: "=", Differs: "<>", Greater: ">", GreaterEqual: ">=", Less: "<", LessEqual: "<="}[o]
}

func (b *builder) boolean(f Field, m Match) string {
	if m.Op == Exists {
		return "TRUE"
	}
	var parts []string
	for _, v := range m.Values {
		op := m.Op
		if op == In {
			op = Equals
		}
		parts = append(parts, f.Name+" "+op.sql()+" "+b.arg(v == "true"))
	}
	return strings.Join(parts, " OR ")
}

// zero is the number of a field that was sent as 0: the column says 0 where
// there is none, and then the map of fields has it.
func zero(f Field) string { return "try_cast(fields['" + f.Sigma + "'] AS DOUBLE)" }

func (b *builder) number(f Field, m Match) string {
	if m.Op == Exists {
		return f.Name + " <> 0 OR " + f.Name + " = 0 AND coalesce(" + zero(f) + " = 0, FALSE)"
	}
	op := m.Op
	if op == In {
		op = Equals
	}
	var parts []string
	for _, v := range m.Values {
		n, _ := Number(v)
		var p string
		if i, ok := whole(v); ok {
			p = b.arg(i)
		} else {
			p = b.arg(n)
		}
		test := f.Name + " " + op.sql() + " " + p
		if holds(0, op, n) { // only then the costly look into the map
			test = "(" + f.Name + " <> 0 AND " + test + " OR " + f.Name + " = 0 AND coalesce(" + zero(f) + " = 0, FALSE))"
		}
		parts = append(parts, test)
	}
	return strings.Join(parts, " OR ")
}

func holds(a float64, op Op, c float64) bool {
	switch op {
	case Equals:
		return a == c
	case Differs:
		return a != c
	case Greater:
		return a > c
	case GreaterEqual:
		return a >= c
	case Less:
		return a < c
	}
	return op == LessEqual && a <= c
}

func (b *builder) textual(f Field, m Match) string {
	c := b.value(f)
	switch m.Op {
	case Exists:
		return c + " <> ''"
	case Equals:
		return c + " = " + b.arg(m.first())
	case Differs:
		return c + " <> '' AND " + c + " <> " + b.arg(m.first())
	case In:
		var parts []string
		for _, v := range m.Values {
			parts = append(parts, b.same(f, c, v)...)
		}
		return strings.Join(parts, " OR ")
	case Like:
		return b.like(f, c, m.first())
	case Regex:
		return c + " <> '' AND regexp_matches(" + c + ", " + b.arg(m.first()) + ")"
	case RegexFold:
		return c + " <> '' AND regexp_matches(" + c + ", " + b.arg("(?i:"+m.first()+")") + ")"
	case Network:
		net, err := netip.ParsePrefix(m.first())
		if err != nil {
			return "FALSE"
		}
		return b.network(c, net)
	}
	return "FALSE"
}

// same compares whole values, upper and lower case alike.
func (b *builder) same(f Field, c, v string) []string {
	if f.Kind == KindAddress {
		var parts []string
		for _, spelled := range Spellings(v) {
			parts = append(parts, c+" = "+b.arg(spelled))
		}
		return parts
	}
	if !cased(v) || f.exact {
		return []string{c + " = " + b.arg(v)}
	}
	return []string{"lower(" + c + ") = " + b.arg(strings.ToLower(v))}
}

// Spellings returns how an address may stand in a column: as written, in lower
// case and in its canonical form. Anything else stays as it is.
func Spellings(v string) []string {
	all := []string{v}
	add := func(s string) {
		for _, old := range all {
			if old == s {
				return
			}
		}
		all = append(all, s)
	}
	add(strings.ToLower(v))
	if a, err := netip.ParseAddr(v); err == nil {
		add(a.String())
	}
	return all
}

func (b *builder) like(f Field, c, v string) string {
	if !strings.ContainsAny(v, "*?") {
		if f.Name == "file_hash" { // SHA1=…,MD5=…
			return "contains(lower(" + c + "), " + b.arg(strings.ToLower(v)) + ") AND " + c + " <> ''"
		}
		return strings.Join(b.same(f, c, v), " OR ")
	}
	if middle := strings.Trim(v, "*"); f.Name == "raw" && len(v) > len(middle)+1 && v[0] == '*' && v[len(v)-1] == '*' && !strings.ContainsAny(middle, "*?") && middle != "" {
		return b.occurs(c, Text{middle, true}, true)
	}
	if cased(v) {
		c, v = "lower("+c+")", strings.ToLower(v)
	}
	middle := strings.Trim(v, "*")
	if middle == "" {
		return c + " <> ''"
	}
	if !strings.ContainsAny(middle, "*?") {
		p := b.arg(middle)
		switch head, tail := v[0] == '*', v[len(v)-1] == '*'; {
		case head && tail:
			return "contains(" + c + ", " + p + ")"
		case tail:
			return "starts_with(" + c + ", " + p + ")"
		case head:
			return "suffix(" + c + ", " + p + ")"
		}
	}
	return c + " <> '' AND " + c + " LIKE " + b.arg(likePattern(v)) + ` ESCAPE '\'`
}

// step returns the timeline's time of an event, in nanoseconds.
func (b *builder) step(every time.Duration) string {
	_, offset := b.Now.In(b.Zone).Zone()
	shift := int64(offset) * int64(time.Second)
	if every%(7*24*time.Hour) == 0 { // weeks begin on Monday; 1970 began on a Thursday
		shift += int64(3 * 24 * time.Hour)
	}
	w := b.arg(int64(every))
	s := b.arg(shift)
	// The clock of a host may claim any year; what is near the ends of time
	// would not fit a number any more.
	at := "(greatest(least(epoch_ns(time), 9000000000000000000), -9000000000000000000) + " + s + ")"
	return "(" + at + " - ((" + at + " % " + w + ") + " + w + ") % " + w + " - " + s + ")"
}
