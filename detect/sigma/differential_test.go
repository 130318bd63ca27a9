package sigma

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sonae/sonae/event"
)

// recordOf makes a record of an event, its fields in order of their names.
func recordOf(e Event) *event.Record {
	r := &event.Record{Product: e.Product, Service: e.Service, Categories: e.Categories, Raw: []byte(e.Raw)}
	for name, text := range e.Fields {
		r.Add([]byte(name), []byte(text), event.Plain)
	}
	sort.Slice(r.Pairs, func(i, j int) bool { return string(r.Pairs[i].Name) < string(r.Pairs[j].Name) })
	return r
}

// found returns the ids that match calls, sorted.
func found(match func(*event.Record, func(*Rule)), r *event.Record) string {
	var ids []string
	match(r, func(r *Rule) { ids = append(ids, r.ID) })
	sort.Strings(ids)
	return strings.Join(ids, " ")
}

// agree compares both engines on records, each twice: the second time the
// value cache answers.
type agree struct {
	indexed *Matcher
	naive   *Naive
	events  int
	hits    int
}

func newAgree(rules []*Rule) *agree {
	return &agree{indexed: NewSet(rules).NewMatcher(), naive: NewNaive(rules)}
}

func (a *agree) check(t *testing.T, what string, r *event.Record) {
	t.Helper()
	want := found(a.naive.Match, r)
	a.events++
	a.hits += len(strings.Fields(want))
	for _, pass := range []string{"first", "again"} {
		if got := found(a.indexed.Match, r); got != want {
			t.Errorf("%s, %s: indexed %q, naive %q", what, pass, got, want)
		}
	}
}

func TestIndexedAndNaiveAgreeOnRealTelemetry(t *testing.T) {
	rules, _ := corpus(t)
	a := newAgree(rules)
	telemetry(t, func(line int, e Event) {
		if line%every == 0 {
			a.check(t, fmt.Sprintf("line %d", line), recordOf(e))
		}
	})
	t.Logf("%d events, %d hits", a.events, a.hits)
	if a.hits < 700/every/2 {
		t.Errorf("only %d hits in %d events", a.hits, a.events)
	}
}

func TestIndexedAndNaiveAgreeOnRecordedAttacks(t *testing.T) {
	rules, _ := corpus(t)
	a := newAgree(rules)
	attacks(t, func(c regression, e Event) {
		if a.events%every == 0 {
			a.check(t, c.JSON, recordOf(e))
		}
	})
	t.Logf("%d events, %d hits", a.events, a.hits)
	if a.events == 0 {
		t.Error("no events")
	}
}

// TestIndexedAndNaiveAgreeOnBentTelemetry changes real events so that rules
// nearly match: values are cut, joined, doubled, escaped and made UTF-16.
func TestIndexedAndNaiveAgreeOnBentTelemetry(t *testing.T) {
	rules, _ := corpus(t)
	a := newAgree(rules)
	telemetry(t, func(line int, e Event) {
		if line%(20*every) != 0 {
			return
		}
		d := &dice{rand.New(rand.NewPCG(1, uint64(line))).IntN}
		r := recordOf(e)
		for i := range r.Pairs {
			bend(d, r, i, rules)
		}
		a.check(t, fmt.Sprintf("bent line %d", line), r)
	})
	t.Logf("%d events, %d hits", a.events, a.hits)
}

// bend changes a pair, sometimes into what some rule looks for.
func bend(d *dice, r *event.Record, i int, rules []*Rule) {
	p := &r.Pairs[i]
	text := string(p.Value)
	switch d.of(8) {
	case 0:
		text = text[:d.of(len(text)+1)]
	case 1:
		text = strings.ToUpper(text) + "é"
	case 2, 3:
		rule := rules[d.of(len(rules))]
		if texts := rule.items[d.of(len(rule.items))].texts(); len(texts) > 0 {
			text += texts[d.of(len(texts))]
		}
	case 4:
		r.Add(p.Name, []byte(d.text()), event.Plain)
		p = &r.Pairs[i] // it may have moved
	}
	d.encode(p, text)
}

// dice makes choices, from a generator of numbers or from the bytes of a fuzzer.
type dice struct{ next func(int) int }

func (d *dice) of(n int) int { return d.next(n) }

func pick[T any](d *dice, from []T) T { return from[d.of(len(from))] }

// bytesDice makes choices of bytes, and always the first when they are used up.
func bytesDice(data []byte) *dice {
	return &dice{func(n int) int {
		x := 0
		for range 2 {
			if len(data) > 0 {
				x, data = x<<8|int(data[0]), data[1:]
			}
		}
		return x % n
	}}
}

var (
	fieldNames = []string{"F", "G", "Image", "CommandLine"}
	pieces     = []string{
		"a", "b", "ab", "abc", "power", "shell", "powershell.exe", `\`, `\cmd.exe`, ".exe", " -enc ", "-", "/", "é", "K", "k", "s", "ſ", "あい", "\U0001F600", "\n", `"`, "%", "\xff",
		"10.0.0.1", "192.0.2.7", "fe80::1", "42", "4", "1e3", "", "x", "xyzzy", "xyzzyx", "aaaa", "aaaaa", "Ä", "İ", "c:\\windows\\system32\\",
	}
	patterns = []string{`a+b`, `^power`, `shell\.exe$`, `(?i)XYZZY`, `[0-9]{2,}`, `\bcmd\b`, `あ.`, `(abc|xyz)`, `a{3,4}$`, `.{9,}`, `power\s*shell`, `(?i)sys`, `x|`, `^$`, `[^a]b`}
	tests    = []string{"", "|contains", "|startswith", "|endswith", "|contains|all", "|cased", "|contains|cased", "|re", "|re|i", "|cidr", "|gt", "|lte", "|exists", "|fieldref", "|fieldref|contains", "|windash|contains", "|base64offset|contains", "|wide|base64offset|contains", "|endswith|cased", "|neq", "|contains|neq", "|fieldref|neq"}
)

// text makes a value of pieces that rules look for too.
func (d *dice) text() string {
	var b strings.Builder
	for range d.of(4) {
		s := pick(d, pieces)
		if d.of(4) == 0 {
			s = strings.ToUpper(s)
		}
		b.WriteString(s)
	}
	return b.String()
}

// pattern makes a value of a rule, with wildcards now and then.
func (d *dice) pattern() string {
	s := strings.ToValidUTF8(d.text(), "")
	switch d.of(8) {
	case 0:
		return "*" + s
	case 1:
		return s + "*" + strings.ToValidUTF8(d.text(), "")
	case 2:
		return s + "?"
	case 3:
		return s + `\*`
	}
	return s
}

// encode writes text into a pair in one of the encodings.
func (d *dice) encode(p *event.Pair, text string) {
	switch d.of(3) {
	case 0:
		p.Value, p.Enc = []byte(text), event.Plain
	case 1:
		quoted, _ := json.Marshal(text) // a string has no error
		p.Value, p.Enc = quoted[1:len(quoted)-1], event.JSON
	case 2:
		p.Value, p.Enc = nil, event.UTF16
		for _, u := range utf16.Encode([]rune(text)) {
			p.Value = append(p.Value, byte(u), byte(u>>8))
		}
	}
}

// rule makes the text of a rule.
func (d *dice) rule(no int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "title: t\nid: r%d\nlogsource: {%s}\ndetection:\n", no, pick(d, []string{"product: p", "category: c", "product: p, category: c", "service: s", "product: q"}))
	n := 1 + d.of(3)
	for i := range n {
		fmt.Fprintf(&b, "  s%d:", i)
		if d.of(6) == 0 {
			fmt.Fprintf(&b, " [%s, %s]\n", quote(d.pattern()), quote("x"+d.pattern()))
			continue
		}
		b.WriteString("\n")
		for k, name := range fieldNames[:1+d.of(2)] {
			fmt.Fprintf(&b, "    %s\n", d.line(name, k))
		}
	}
	fmt.Fprintf(&b, "  condition: %s\n", d.condition(n, 3))
	return b.String()
}

func (d *dice) line(name string, k int) string {
	if d.of(2) == 0 {
		name = pick(d, fieldNames[2*k:2*k+2])
	}
	test := pick(d, tests)
	var values []string
	for range 1 + d.of(3) {
		switch {
		case strings.HasPrefix(test, "|re"):
			values = append(values, quote(pick(d, patterns)))
		case test == "|cidr":
			values = append(values, pick(d, []string{"10.0.0.0/8", "192.0.2.0/30", "fe80::/10"}))
		case test == "|gt" || test == "|lte":
			values = append(values, pick(d, []string{"4", "42", "1000"}))
		case test == "|exists":
			return name + test + ": " + pick(d, []string{"true", "false"})
		case strings.HasPrefix(test, "|fieldref"):
			return name + test + ": " + pick(d, fieldNames)
		case test == "" && d.of(6) == 0:
			values = append(values, pick(d, []string{"null", "42", "''"}))
		default:
			values = append(values, quote(d.pattern()))
		}
	}
	return fmt.Sprintf("%s%s: [%s]", name, test, strings.Join(values, ", "))
}

// quote writes a YAML string that may hold anything.
func quote(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

func (d *dice) condition(n, depth int) string {
	name := func() string { return fmt.Sprintf("s%d", d.of(n)) }
	if depth == 0 {
		return name()
	}
	switch d.of(7) {
	case 0:
		return "not " + d.condition(n, depth-1)
	case 1:
		return "(" + d.condition(n, depth-1) + " and " + d.condition(n, depth-1) + ")"
	case 2:
		return "(" + d.condition(n, depth-1) + " or " + d.condition(n, depth-1) + ")"
	case 3:
		return "1 of s*"
	case 4:
		return "all of them"
	}
	return name()
}

// event makes a record.
func (d *dice) event() *event.Record {
	r := &event.Record{Product: pick(d, []string{"p", "P", "", "q"}), Service: pick(d, []string{"", "s"}), Categories: pick(d, [][]string{nil, {"c"}, {"C", "d"}})}
	for range d.of(6) {
		r.Add([]byte(pick(d, append(fieldNames, "Other"))), nil, event.Plain)
		d.encode(&r.Pairs[len(r.Pairs)-1], d.text())
	}
	if d.of(4) == 0 {
		r.Raw = []byte(d.text())
	}
	return r
}

// random checks random rules on random events; it returns how many rules
// could be read.
func random(t *testing.T, d *dice, rules, events int) (read, hits int) {
	t.Helper()
	var texts []string
	for i := range rules {
		texts = append(texts, d.rule(i))
	}
	good, _, _ := Parse("random.yml", []byte(strings.Join(texts, "---\n")))
	a := newAgree(good)
	a.indexed.CacheLimit(1 << 14) // so that it forgets
	for i := range events {
		a.check(t, fmt.Sprint("event ", i), d.event())
	}
	if t.Failed() {
		t.Log(strings.Join(texts, "---\n"))
	}
	return len(good), a.hits
}

func TestIndexedAndNaiveAgreeOnRandomRules(t *testing.T) {
	read, hits := 0, 0
	for seed := range uint64(2000 / every) {
		d := &dice{rand.New(rand.NewPCG(2, seed)).IntN}
		r, h := random(t, d, 10, 40)
		if read, hits = read+r, hits+h; t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d rules, %d hits", read, hits)
	if read < 5000/every || hits < 5000/every {
		t.Errorf("%d rules and %d hits: that proves little", read, hits)
	}
}

func FuzzDifferential(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(3, seed))
		data := make([]byte, 600)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		random(t, bytesDice(data), 4, 6)
	})
}

// FuzzFold compares the fast folding with decoding and folding one by one.
func FuzzFold(f *testing.F) {
	for _, s := range []string{`C:\\Windows\\SYSTEM32`, `a\u00C9\ud83d\ude00 \"Q\" \/`, "ABCDEFGHIJKLMNOP", "日本語のテキストÄ", "\xff\xfeA", `\`, `\u12`, `\É`, "A\x00B\x00\xc9\x00", `ABCDEFG\nHIJK\tLMNOPQRS\\TUVWXYZ`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		for _, enc := range []event.Encoding{event.Plain, event.JSON, event.UTF16} {
			p := event.Pair{Value: v, Enc: enc}
			want := fold([]byte("before"), p.Text())
			if got := foldPair([]byte("before"), &p); !bytes.Equal(got, want) {
				t.Errorf("encoding %d of %q: got %q, want %q", enc, v, got, want)
			}
		}
	})
}

func TestSeveralValuesOfAName(t *testing.T) {
	for name, tt := range map[string]struct {
		detection string
		values    []string // of F
		want      bool
	}{
		"any may match":                     {"s: {F: b}\ncondition: s", []string{"a", "b"}, true},
		"none matches":                      {"s: {F: b}\ncondition: s", []string{"a", "c"}, false},
		"all may be met by different ones":  {"s: {F|contains|all: [one, two]}\ncondition: s", []string{"x one", "two x"}, true},
		"a regex looks at each":             {"s: {F|re: '^b$'}\ncondition: s", []string{"a", "b"}, true},
		"a network looks at each":           {"s: {F|cidr: 10.0.0.0/8}\ncondition: s", []string{"x", "10.1.1.1"}, true},
		"a comparison looks at each":        {"s: {F|gt: 5}\ncondition: s", []string{"1", "9"}, true},
		"a field is compared with each":     {"s: {G|fieldref: F}\ncondition: s", []string{"a", "g"}, true},
		"no value of the other is equal":    {"s: {G|fieldref: F}\ncondition: s", []string{"a", "b"}, false},
		"null is no value at all":           {"s: {F: null}\ncondition: s", []string{"", ""}, false},
		"short literals look at each":       {"s: {F|contains: zz}\ncondition: s", []string{"a", "xzzx"}, true},
		"not is the opposite of any":        {"s: {F: b}\ncondition: not s", []string{"a", "b"}, false},
		"a glob looks at each":              {"s: {F: 'abcd*ef'}\ncondition: s", []string{"a", "abcd ef"}, true},
		"a cased literal looks at each one": {"s: {F|cased: Ab}\ncondition: s", []string{"ab", "Ab"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			rules := []*Rule{parseOne(t, rule(tt.detection))}
			r := &event.Record{Product: "p"}
			r.Add([]byte("G"), []byte("g"), event.Plain)
			for _, v := range tt.values {
				r.Add([]byte("F"), []byte(v), event.Plain)
			}
			for engine, match := range map[string]func(*event.Record, func(*Rule)){"indexed": NewSet(rules).NewMatcher().Match, "naive": NewNaive(rules).Match} {
				if got := found(match, r) != ""; got != tt.want {
					t.Errorf("%s: got %v, want %v", engine, got, tt.want)
				}
			}
		})
	}
}

func TestStatsCountHitsAndTime(t *testing.T) {
	set := NewSet([]*Rule{parseOne(t, rule("s: {F: a}\ncondition: s")), parseOne(t, strings.ReplaceAll(rule("s: {F: b}\ncondition: s"), "id: t", "id: u"))})
	e := Event{Source: Source{Product: "p"}, Fields: map[string]string{"F": "a"}}
	m := set.NewMatcher()
	for range 10 * costEvery {
		m.matchEvent(e, func(*Rule) {})
	}
	s := set.Stats()
	if s[0].Rule.ID != "t" || s[0].Hits != 10*costEvery || s[0].Runs != 10*costEvery || s[1].Hits != 0 || s[1].Runs != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestManyGoroutinesShareASet(t *testing.T) {
	var rules []*Rule
	for i := range 50 {
		rules = append(rules, parseOne(t, strings.ReplaceAll(rule(fmt.Sprintf("s: {F|contains: value%02d, G|re: 'x+%d'}\ncondition: s", i, i)), "id: t", fmt.Sprintf("id: t%02d", i))))
	}
	set := NewSet(rules)
	done := make(chan string)
	for range 8 {
		go func() {
			var ids []string
			for i := range 50 {
				e := Event{Source: Source{Product: "p"}, Fields: map[string]string{"F": fmt.Sprintf("a value%02d", i), "G": fmt.Sprintf("xx%d", i)}}
				for range 5 * sampleEvery {
					set.Match(e, func(r *Rule) { ids = append(ids, r.ID) })
				}
			}
			ids = slices.Compact(ids)
			done <- strings.Join(ids, " ")
		}()
	}
	for range 8 {
		if got := <-done; len(strings.Fields(got)) != 50 {
			t.Errorf("got %d rules in order, want 50: %s", len(strings.Fields(got)), got)
		}
	}
}
