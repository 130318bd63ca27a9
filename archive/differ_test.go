package archive

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
)

// strange events have what is easily judged wrongly.
func strange() event.Batch {
	b := event.Batch{ID: "ba-strange", Site: "si-2", Host: "ho-strange", SentAt: noon()}
	add := func(raw string, fields ...string) {
		e := event.Event{ID: fmt.Sprintf("ba-strange-%d", len(b.Events)), Time: noon().Add(time.Duration(len(b.Events)%4) * time.Second), Kind: event.KindLog, Raw: raw, Drill: len(b.Events)%3 == 0}
		for i := 0; i < len(fields); i += 2 {
			if e.Fields == nil {
				e.Fields = map[string]string{}
			}
			e.Fields[fields[i]] = fields[i+1]
		}
		b.Events = append(b.Events, e)
	}
	add("患者ID を Ｅxport: Ärger 100% 'quoted' \"x\" a_b \\ end", "User", "Jörg", "Custom", `say "Hello\World"`)
	add("two\nlines\tand\x00nul", "BytesSent", "0", "BytesReceived", "7", "SourcePort", "0", "Level", "12")
	add("", "SourceIp", "2001:db8::1", "DestinationIp", "fe80::1", "LocalIp", "10.0.0.9", "Level", "3.5")
	add("", "SourceIp", "10.1.2.3", "DestinationIp", "192.0.2.77", "LocalIp", "2001:db8:0:1::", "Level", "none", "EventID", "")
	add("connected to 192.0.2.77:443", "SourceIp", "10.200.0.255", "DestinationIp", "::", "Image", `C:\Windows\System32\cmd.EXE`, "CommandLine", "cmd /c DEL * ?x")
	add("first\x1fsecond", "A", "one", "B", "two", "Hashes", "SHA1=AB12,MD5=cd34ef")
	add("%_%", "User", "ROOT", "CommandLine", "%_%", "DestinationPort", "443", "SourcePort", "51413", "BytesSent", "1099511627776")
	add("", "User", "root", "Application", "BitTorrent")
	return b
}

// corpus fills an archive in several ways and returns all of its rows, newest
// first: merged and fresh segments and the tail.
func corpus(t testing.TB) (*Archive, []segment.Row) {
	t.Helper()
	a := open(t, t.TempDir())
	g := archivetest.New(archivetest.Options{Seed: 3, Events: 10_000, PerBatch: 50, From: noon().Add(-12 * time.Hour)})
	var rows []segment.Row
	var pending []event.Batch
	n := 0
	for b := range g.All() {
		if n++; n%7 != 0 {
			continue
		}
		rows = append(rows, segment.Rows(b, noon())...)
		if pending = append(pending, b); len(pending) == 5 {
			appended(t, a, pending...)
			pending = nil
		}
	}
	for i := range 3 {
		b := batchOf(i, 100)
		rows = append(rows, segment.Rows(b, noon())...)
		pending = append(pending, b)
	}
	appended(t, a, strange())
	rows = append(rows, segment.Rows(strange(), noon())...)
	a.Preview(t.Context(), pending)
	slices.SortFunc(rows, func(x, y segment.Row) int {
		return -cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(x.Batch, y.Batch), cmp.Compare(x.Row, y.Row))
	})
	return a, rows
}

// maker makes random queries out of what stands in the events.
type maker struct {
	dice *rand.Rand
	rows []segment.Row
}

func (m *maker) pick(of ...string) string { return of[m.dice.IntN(len(of))] }

// value is some value of some field of some event.
func (m *maker) value() (field, value string) {
	r := &m.rows[m.dice.IntN(len(m.rows))]
	e := r.Event()
	names := []string{"site", "host", "kind", "product", "category", "service", "raw", "id", "batch"}
	if n := m.dice.IntN(len(names) + len(e.Fields)); n < len(names) {
		return names[n], naive{}.text(names[n], r)
	}
	all := make([]string, 0, len(e.Fields))
	for name := range e.Fields {
		all = append(all, name)
	}
	slices.Sort(all)
	name := all[m.dice.IntN(len(all))]
	return name, e.Fields[name]
}

// piece cuts a part out of a text.
func (m *maker) piece(s string) string {
	r := []rune(s)
	if len(r) < 2 {
		return s
	}
	from := m.dice.IntN(len(r) - 1)
	return string(r[from : from+1+m.dice.IntN(min(12, len(r)-from))])
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func (m *maker) term() string {
	field, value := m.value()
	if m.dice.IntN(4) == 0 {
		value = strings.ToUpper(value)
	}
	switch m.dice.IntN(14) {
	case 0, 1:
		return quoted(m.piece(value))
	case 2:
		return field + "=" + quoted(value)
	case 3:
		return field + "!=" + quoted(value)
	case 4:
		return field + ":" + quoted(m.piece(value)+"*")
	case 5:
		return field + ":" + quoted("*"+m.piece(value)+"*")
	case 6:
		return field + ":" + quoted("*"+m.piece(value)+"?*")
	case 7:
		return field + ":*"
	case 8:
		_, other := m.value()
		return field + " in (" + quoted(value) + ", " + quoted(other) + ")"
	case 9:
		return m.pick("bytes_out", "bytes_in", "source_port", "port", "Level", "LogonType") + m.pick(">", ">=", "<", "<=", "=", "!=") + m.pick("0", "1", "443", "3.5", "12", "10KB", "-1")
	case 10:
		return m.pick("ip", "src", "dst", "LocalIp") + ":" + m.pick("10.0.0.0/8", "10.1.0.0/20", "192.0.2.77", "2001:db8::/31", "fe80::1", "10.0.0.0/0", "::/1", "192.0.2.76/31", "10.0.0.9/32")
	case 11:
		return m.pick("raw", "user", "command", "process", "Custom") + ":/" + m.pick("a.c", "^c", "[0-9]+$", "(?:x|o)o", `\\`, "root") + m.pick("/", "/i")
	case 12:
		return m.pick("drill:true", "drill:false", "drill!=true", "hash:ab12", "hash:*", "a*e", "?oot*", "%_%", "192.0.2.77", "患者", "JÖRG")
	}
	return field + ":" + quoted(value)
}

func (m *maker) filter(depth int) string {
	switch n := m.dice.IntN(8); {
	case depth == 0 || n < 4:
		return m.term()
	case n < 6:
		return "(" + m.filter(depth-1) + " OR " + m.filter(depth-1) + ")"
	case n < 7:
		return "(" + m.filter(depth-1) + " " + m.filter(depth-1) + ")"
	}
	return "NOT " + m.filter(depth-1)
}

// TestSearchFindsWhatNaiveJudgingFinds asks random queries.
func TestSearchFindsWhatNaiveJudgingFinds(t *testing.T) {
	a, rows := corpus(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d events", seed, len(rows))
	m := &maker{dice: rand.New(rand.NewPCG(seed, 1)), rows: rows}
	found := 0
	for n := range 120 {
		text := m.filter(2)
		q, err := lang.Parse(text)
		if err != nil {
			if k, _ := lang.Offset(err); k >= 0 { // a number where text stood, and the like
				continue
			}
			t.Fatal(err)
		}
		var want []string
		for i := range rows {
			if (naive{}).holds(q.Where, &rows[i]) {
				want = append(want, rows[i].Event().ID)
			}
		}
		s := Search{Query: text, Limit: MaxFound}
		if n%5 == 0 {
			s.Limit = 1 + m.dice.IntN(20)
			want = want[:min(len(want), s.Limit)]
		}
		events, _ := searched(t, a, s)
		got := make([]string, len(events))
		for i, e := range events {
			got[i] = e.ID
		}
		if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s\n%s: -want +got\n%s", text, q, diff)
		}
		found += len(got)
	}
	t.Logf("%d events found", found)
}

// TestTablesCountWhatNaiveCountingCounts computes tables at once and by parts.
func TestTablesCountWhatNaiveCountingCounts(t *testing.T) {
	a, rows := corpus(t)
	a.tables.part = 100
	m := &maker{dice: rand.New(rand.NewPCG(7, 1)), rows: rows}
	for n := range 24 {
		filter, by := "", []string{}
		for _, f := range []string{"host", "user", "code", "dst", "bytes_out", "drill", "LogonType", "source_port"} {
			if m.dice.IntN(4) == 0 {
				by = append(by, f)
			}
		}
		if n%3 == 0 {
			filter = m.filter(1)
		}
		text := filter + " | stats count, distinct(src), sum(bytes_out), min(bytes_in), max(user), avg(bytes_in), sum(Level)"
		if len(by) > 0 {
			text += " by " + strings.Join(by, ", ")
		}
		q, err := lang.Parse(text)
		if err != nil {
			continue
		}
		want := tallied(q, rows)
		for _, atOnce := range []int64{0, 1 << 40} {
			a.tables.atOnce = atOnce
			_, last := searched(t, a, Search{Query: text})
			got := map[string][]string{}
			for _, row := range last.Table.Rows {
				got[strings.Join(row[:len(by)], "|")] = row[len(by):]
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Fatalf("%s (%d): -want +got\n%s", text, atOnce, diff)
			}
		}
	}
}

// tallied computes the table of TestTables.
func tallied(q lang.Query, rows []segment.Row) map[string][]string {
	type sums struct {
		count, sum, in, ins int64
		low                 string
		user                string
		level               float64
		sources             map[string]bool
	}
	all := map[string]*sums{}
	if len(q.Group.By) == 0 {
		all[""] = &sums{sources: map[string]bool{}}
	}
	number := func(name string, r *segment.Row) string {
		if n, present := (naive{}).number(lang.Resolve(name), r); present {
			return strconv.FormatInt(n, 10)
		}
		return ""
	}
	for i := range rows {
		r := &rows[i]
		if !(naive{}).holds(q.Where, r) {
			continue
		}
		var key []string
		for _, f := range q.Group.By {
			switch lang.Resolve(f).Kind {
			case lang.KindNumber:
				v := number(f, r)
				if f == "source_port" && v == "0" {
					v = ""
				}
				key = append(key, v)
			case lang.KindBool:
				key = append(key, strconv.FormatBool(r.Drill))
			default:
				key = append(key, naive{}.text(f, r))
			}
		}
		k := strings.Join(key, "|")
		s := all[k]
		if s == nil {
			s = &sums{sources: map[string]bool{}}
			all[k] = s
		}
		s.count++
		s.sum += r.BytesOut
		if in := number("bytes_in", r); in != "" {
			n, _ := strconv.ParseInt(in, 10, 64)
			if low, _ := strconv.ParseInt(s.low, 10, 64); s.low == "" || n < low {
				s.low = in
			}
			s.in, s.ins = s.in+n, s.ins+1
		}
		s.user = max(s.user, r.User)
		if f, err := strconv.ParseFloat(rest(r, "Level"), 64); err == nil {
			s.level += f
		}
		if r.SrcIP != "" {
			s.sources[r.SrcIP] = true
		}
	}
	table := map[string][]string{}
	for k, s := range all {
		average := ""
		if s.ins > 0 {
			average = formatted(float64(s.in) / float64(s.ins))
		}
		table[k] = []string{strconv.FormatInt(s.count, 10), strconv.Itoa(len(s.sources)), strconv.FormatInt(s.sum, 10), s.low, s.user, average, formatted(s.level)}
	}
	return table
}

func formatted(f float64) string { return number(f) }
