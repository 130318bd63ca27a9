package archive

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/archive/segment"
)

// naive judges events one by one, as plainly as possible, to be compared with
// what the engine says.
type naive struct{}

func (n naive) holds(x lang.Expr, r *segment.Row) bool {
	switch x := x.(type) {
	case nil:
		return true
	case lang.And:
		return !slices.ContainsFunc(x.All, func(y lang.Expr) bool { return !n.holds(y, r) })
	case lang.Or:
		return slices.ContainsFunc(x.Any, func(y lang.Expr) bool { return n.holds(y, r) })
	case lang.Not:
		return !n.holds(x.X, r)
	case lang.Text:
		return slices.ContainsFunc(n.texts(r), func(s string) bool { return n.occurs(x, s) })
	case lang.Match:
		return n.matches(x, r)
	}
	panic(fmt.Sprintf("%T", x))
}

// texts are the texts that free text looks into.
func (naive) texts(r *segment.Row) []string {
	all := []string{r.Raw}
	for _, h := range segment.Hot() {
		if h.Text != nil {
			all = append(all, *h.Text(r))
		}
	}
	for _, f := range r.Fields {
		all = append(all, f.Value)
	}
	return all
}

func (naive) occurs(x lang.Text, in string) bool {
	if x.Phrase {
		return strings.Contains(strings.ToLower(in), strings.ToLower(x.Value))
	}
	return wild("*"+x.Value+"*", in)
}

// wild compares with * and ?, upper and lower case alike.
func wild(pattern, s string) bool {
	p := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(strings.ToLower(pattern)))
	return regexp.MustCompile("(?s)^" + p + "$").MatchString(strings.ToLower(s))
}

func rest(r *segment.Row, name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// text is the value of a field of text.
func (naive) text(name string, r *segment.Row) string {
	own := map[string]string{"site": r.Site, "host": r.Host, "kind": r.Kind, "product": r.Product, "category": r.Category, "service": r.Service,
		"batch": r.Batch, "raw": r.Raw, "id": r.Event().ID}
	if v, is := own[name]; is {
		return v
	}
	for _, h := range segment.Hot() {
		if h.Column == name {
			return *h.Text(r)
		}
	}
	return rest(r, name)
}

// number is the value of a field of numbers.
func (naive) number(f lang.Field, r *segment.Row) (int64, bool) {
	n := map[string]int64{"source_port": int64(r.SrcPort), "destination_port": int64(r.DstPort), "bytes_out": r.BytesOut, "bytes_in": r.BytesIn}[f.Name]
	return n, n != 0 || rest(r, f.Sigma) == "0"
}

func (n naive) matches(m lang.Match, r *segment.Row) bool {
	f := lang.Resolve(m.Field)
	if either := f.Either(); len(either) > 0 {
		return slices.ContainsFunc(either, func(name string) bool { return n.matches(lang.Match{Field: name, Op: m.Op, Values: m.Values}, r) })
	}
	if f.Kind == lang.KindNumber {
		have, present := n.number(f, r)
		return present && (m.Op == lang.Exists || slices.ContainsFunc(m.Values, func(v string) bool { return compares(float64(have), m.Op, v) }))
	}
	if f.Kind == lang.KindBool {
		return m.Op == lang.Exists || (m.Values[0] == strconv.FormatBool(r.Drill)) == (m.Op != lang.Differs)
	}
	have := n.text(f.Name, r)
	if m.Op >= lang.Greater && m.Op <= lang.LessEqual {
		f, err := strconv.ParseFloat(have, 64)
		return err == nil && compares(f, m.Op, m.Values[0])
	}
	if have == "" { // absent is the same as empty
		return slices.Contains(m.Values, "") && (m.Op == lang.Equals || m.Op == lang.In || m.Op == lang.Like && f.Name != "file_hash")
	}
	return n.textual(f, m, have)
}

func compares(have float64, op lang.Op, text string) bool {
	want, _ := lang.Number(text)
	switch op {
	case lang.Equals, lang.In:
		return have == want
	case lang.Differs:
		return have != want
	case lang.Greater:
		return have > want
	case lang.GreaterEqual:
		return have >= want
	case lang.Less:
		return have < want
	}
	return have <= want
}

func (naive) textual(f lang.Field, m lang.Match, have string) bool {
	exact := slices.Contains([]string{"site", "host", "kind", "batch", "id"}, f.Name)
	same := func(v string) bool {
		if f.Kind == lang.KindAddress {
			return slices.Contains(lang.Spellings(v), have)
		}
		return have == v || !exact && lower(have) == lower(v)
	}
	switch m.Op {
	case lang.Exists:
		return true
	case lang.Equals:
		return have == m.Values[0]
	case lang.Differs:
		return have != m.Values[0]
	case lang.In:
		return slices.ContainsFunc(m.Values, same)
	case lang.Regex:
		return regexp.MustCompile(m.Values[0]).MatchString(have)
	case lang.RegexFold:
		return regexp.MustCompile("(?i)" + m.Values[0]).MatchString(have)
	case lang.Network:
		a, err := netip.ParseAddr(have)
		return err == nil && netip.MustParsePrefix(m.Values[0]).Contains(a.WithZone(""))
	}
	switch v := m.Values[0]; {
	case strings.ContainsAny(v, "*?"):
		return wild(v, have)
	case f.Name == "file_hash":
		return strings.Contains(strings.ToLower(have), strings.ToLower(v))
	default:
		return same(v)
	}
}

// lower is how the engine compares; strings.EqualFold takes more for equal.
func lower(s string) string { return strings.ToLower(s) }
