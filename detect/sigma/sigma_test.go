package sigma

import (
	"fmt"
	"strings"
	"testing"
)

// rule wraps a detection into the smallest rule.
func rule(detection string) string {
	return "title: t\nid: t\nlogsource: {product: p}\ndetection:\n" + indent(detection)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n"
}

func parseOne(t *testing.T, text string) *Rule {
	t.Helper()
	rules, bad := Parse("t.yml", []byte(text))
	if len(bad) > 0 || len(rules) != 1 {
		t.Fatalf("got %d rules, rejected %v; want 1 rule\n%s", len(rules), bad, text)
	}
	return rules[0]
}

func matches(r *Rule, fields map[string]string, raw string) bool {
	hit := false
	NewSet([]*Rule{r}).Match(Event{Source: Source{Product: "p"}, Fields: fields, Raw: raw}, func(*Rule) { hit = true })
	return hit
}

func TestMatching(t *testing.T) {
	type m = map[string]string
	for name, tt := range map[string]struct {
		detection string
		yes, no   []m
	}{
		"text compares without case": {"s: {F: PowerShell}\ncondition: s",
			[]m{{"F": "powershell"}, {"F": "POWERSHELL"}}, []m{{"F": "powershell.exe"}, {}, {"f": "powershell"}}},
		"also beyond ascii": {"s: {F|contains: ÄRZTE}\ncondition: s", []m{{"F": "die ärzte"}}, []m{{"F": "aerzte"}}},
		"cased does not":    {"s: {F|contains|cased: Ab}\ncondition: s", []m{{"F": "xAbx"}}, []m{{"F": "xabx"}}},
		"a list is any of":  {"s: {F: [a, b]}\ncondition: s", []m{{"F": "a"}, {"F": "B"}}, []m{{"F": "c"}}},
		"all is each of":    {"s: {F|contains|all: [a, b]}\ncondition: s", []m{{"F": "b-a"}}, []m{{"F": "a"}, {"F": "b"}}},
		"a map is and":      {"s: {F: a, G: b}\ncondition: s", []m{{"F": "a", "G": "b"}}, []m{{"F": "a"}, {"G": "b"}}},
		"a list of maps is or": {"s: [{F: a}, {G: b}]\ncondition: s",
			[]m{{"F": "a"}, {"G": "b"}}, []m{{"F": "b"}, {"G": "a"}}},
		"startswith":                  {"s: {F|startswith: ab}\ncondition: s", []m{{"F": "ABc"}, {"F": "ab"}}, []m{{"F": "cab"}}},
		"endswith":                    {"s: {F|endswith: '\\x.exe'}\ncondition: s", []m{{"F": "c:\\X.EXE"}}, []m{{"F": "x.exe"}}},
		"star inside":                 {"s: {F: 'a*c'}\ncondition: s", []m{{"F": "ac"}, {"F": "abbc"}}, []m{{"F": "acb"}}},
		"question mark is one rune":   {"s: {F: 'a?c'}\ncondition: s", []m{{"F": "abc"}, {"F": "aあc"}}, []m{{"F": "ac"}, {"F": "abbc"}}},
		"escaped star is a star":      {"s: {F: 'a\\*'}\ncondition: s", []m{{"F": "a*"}}, []m{{"F": "ab"}, {"F": "a\\b"}}},
		"double backslash then star":  {"s: {F: 'a\\\\*'}\ncondition: s", []m{{"F": "a\\b"}, {"F": "a\\"}}, []m{{"F": "a*"}}},
		"plain backslash":             {"s: {F: 'a\\b'}\ncondition: s", []m{{"F": "a\\b"}}, []m{{"F": "ab"}}},
		"star needs presence":         {"s: {F: '*'}\ncondition: s", []m{{"F": ""}, {"F": "x"}}, []m{{}}},
		"empty is not absent":         {"s: {F: ''}\ncondition: s", []m{{"F": ""}}, []m{{}, {"F": "x"}}},
		"null is absent":              {"s: {F: null}\ncondition: s", []m{{}, {"G": "x"}}, []m{{"F": ""}}},
		"null in a list":              {"s: {F: [null, '']}\ncondition: s", []m{{}, {"F": ""}}, []m{{"F": "x"}}},
		"exists":                      {"s: {F|exists: true}\ncondition: s", []m{{"F": ""}}, []m{{}}},
		"exists not":                  {"s: {F|exists: false}\ncondition: s", []m{{}}, []m{{"F": ""}}},
		"not of an absent field":      {"s: {F: a}\ncondition: not s", []m{{}, {"F": "b"}}, []m{{"F": "a"}}},
		"numbers":                     {"s: {F: 4688}\ncondition: s", []m{{"F": "4688"}}, []m{{"F": "46880"}}},
		"booleans":                    {"s: {F: true}\ncondition: s", []m{{"F": "True"}, {"F": "true"}}, []m{{"F": "1"}}},
		"gt":                          {"s: {F|gt: 10}\ncondition: s", []m{{"F": "10.5"}}, []m{{"F": "10"}, {"F": "x"}, {}}},
		"gte lt lte":                  {"s: {F|gte: 10, G|lt: 3, H|lte: -1}\ncondition: s", []m{{"F": "10", "G": "2", "H": "-1"}}, []m{{"F": "9", "G": "2", "H": "-1"}, {"F": "10", "G": "3", "H": "-1"}, {"F": "10", "G": "2", "H": "0"}}},
		"re minds case":               {"s: {F|re: '^a.c$'}\ncondition: s", []m{{"F": "abc"}}, []m{{"F": "ABC"}, {"F": "xabc"}}},
		"re with i":                   {"s: {F|re|i: 'a.c'}\ncondition: s", []m{{"F": "xABCx"}}, []m{{"F": "ac"}}},
		"cidr 4":                      {"s: {F|cidr: [10.0.0.0/8, 192.0.2.0/24]}\ncondition: s", []m{{"F": "10.9.8.7"}, {"F": "::ffff:192.0.2.1"}}, []m{{"F": "11.0.0.1"}, {"F": "x"}}},
		"cidr 6":                      {"s: {F|cidr: 'fe80::/10'}\ncondition: s", []m{{"F": "fe80::1"}, {"F": "fe80::1%eth0"}}, []m{{"F": "2001:db8::1"}}},
		"windash":                     {"s: {F|contains|windash: ' -enc'}\ncondition: s", []m{{"F": "x /enc"}, {"F": "x –enc"}, {"F": "x -ENC"}}, []m{{"F": "x enc"}}},
		"windash leaves other dashes": {"s: {F|windash: 'a-b'}\ncondition: s", []m{{"F": "a-b"}}, []m{{"F": "a/b"}}},
		"base64offset":                {"s: {F|base64offset|contains: foobar}\ncondition: s", []m{{"F": "Zm9vYmFy"}, {"F": "xxZvb2Jhcxx"}, {"F": "mb29iYX"}}, []m{{"F": "foobar"}}},
		"wide base64":                 {"s: {F|wide|base64offset|contains: ping}\ncondition: s", []m{{"F": "cABpAG4AZw"}}, []m{{"F": "cGluZw"}}},
		"fieldref":                    {"s: {F|fieldref: G}\ncondition: s", []m{{"F": "a", "G": "A"}}, []m{{"F": "a", "G": "b"}, {"F": "a"}, {}}},
		"fieldref endswith":           {"s: {F|fieldref|endswith: G}\ncondition: s", []m{{"F": "xab", "G": "AB"}}, []m{{"F": "abx", "G": "ab"}}},
		"keywords":                    {"k: [foo, 'b?r']\ncondition: k", []m{{"X": "a FOO b"}, {"Y": "xbarx"}}, []m{{"foo": "x"}, {}}},
		"keywords all":                {"k: {'|all': [foo, bar]}\ncondition: k", []m{{"X": "foo", "Y": "bar"}}, []m{{"X": "foo"}}},
		"1 of pattern":                {"s_a: {F: a}\ns_b: {F: b}\nx: {F: c}\ncondition: 1 of s_*", []m{{"F": "a"}, {"F": "b"}}, []m{{"F": "c"}}},
		"all of them":                 {"a: {F: a}\nb: {G: b}\n_x: {H: c}\ncondition: all of them", []m{{"F": "a", "G": "b"}}, []m{{"F": "a"}}},
		"and binds before or":         {"a: {F: a}\nb: {G: b}\nc: {H: c}\ncondition: a or b and c", []m{{"F": "a"}, {"G": "b", "H": "c"}}, []m{{"G": "b"}}},
		"parentheses and not":         {"a: {F: a}\nb: {G: b}\nc: {H: c}\ncondition: (a or b) and not (c)", []m{{"F": "a"}}, []m{{"F": "a", "H": "c"}, {"H": "c"}}},
		"words of any case":           {"a: {F: a}\nb: {G: b}\ncondition: a AND NOT b", []m{{"F": "a"}}, []m{{"F": "a", "G": "b"}}},
		"a list of conditions is or":  {"a: {F: a}\nb: {G: b}\ncondition: [a, b]", []m{{"F": "a"}, {"G": "b"}}, []m{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := parseOne(t, rule(tt.detection))
			for _, f := range tt.yes {
				if !matches(r, f, "") {
					t.Errorf("%v does not match", f)
				}
			}
			for _, f := range tt.no {
				if matches(r, f, "") {
					t.Errorf("%v matches", f)
				}
			}
		})
	}
}

func TestKeywordsSearchTheOriginalLine(t *testing.T) {
	r := parseOne(t, rule("k: [segfault]\ncondition: k"))
	if !matches(r, nil, "kernel: SEGFAULT at 0") || matches(r, nil, "kernel: fine") {
		t.Error("a keyword must be looked for in the original line")
	}
}

func TestRejectedWithLineAndReason(t *testing.T) {
	for name, tt := range map[string]struct {
		text, want string
		unbuilt    bool
	}{
		"unknown modifier":        {rule("s:\n  F|contans: a\ncondition: s"), `t.yml:6: unknown modifier "contans"`, false},
		"placeholder":             {rule("s:\n  F|expand: '%a%'\ncondition: s"), "t.yml:6: the placeholder %a% has no values", false},
		"flag without re":         {rule("s: {F|i: a}\ncondition: s"), `modifier "i" belongs behind re`, false},
		"two tests":               {rule("s: {F|contains|re: a}\ncondition: s"), "cannot be used together", false},
		"unknown selection":       {rule("s: {F: a}\ncondition: s and t"), `t.yml:6: condition: there is no selection "t"`, false},
		"pattern without a match": {rule("s: {F: a}\ncondition: 1 of x*"), `no selection is called "x*"`, false},
		"open parenthesis":        {rule("s: {F: a}\ncondition: (s"), "not closed", false},
		"trailing word":           {rule("s: {F: a}\ncondition: s s"), "not expected here", false},
		"ends early":              {rule("s: {F: a}\ncondition: s and"), "ends too early", false},
		"aggregation":             {rule("s: {F: a}\ncondition: s | count() > 5"), "not built: aggregation", true},
		"no condition":            {rule("s: {F: a}"), "no condition", false},
		"empty selection":         {rule("s: {}\ncondition: s"), "the selection is empty", false},
		"empty values":            {rule("s: {F: []}\ncondition: s"), "list of values is empty", false},
		"a map as value":          {rule("s: {F: {a: b}}\ncondition: s"), "a value must be text", false},
		"bad regex":               {rule("s: {F|re: '(?<=a)b'}\ncondition: s"), "re: error parsing", false},
		"too many dashes":         {rule("s: {F|windash: '" + strings.Repeat(" -a", 5000) + "'}\ncondition: s"), "more than 5 dashes", false},
		"too many variants":       {rule("s: {F|" + strings.Repeat("base64offset|", 9) + "contains: a}\ncondition: s"), "more than 4096 variants", false},
		"bad cidr":                {rule("s: {F|cidr: 10.0.0.0}\ncondition: s"), "cidr: ", false},
		"gt of text":              {rule("s: {F|gt: x}\ncondition: s"), "gt needs a number", false},
		"same key twice":          {rule("s: {F: a, F: b}\ncondition: s"), `the key "F" stands twice`, false},
		"an anchor of its own":    {rule("s: {F: &x [*x]}\ncondition: s"), "nested deeper than 64", false},
		"an unknown anchor":       {rule("s: {F: *x}\ncondition: s"), "unknown anchor", false},
		"timeframe":               {rule("s: {F: a}\ntimeframe: 5m\ncondition: s"), "not built: timeframe", true},
		"unknown level":           {"level: red\n" + rule("s: {F: a}\ncondition: s"), `t.yml:1: level: unknown severity "red"`, false},
		"no title":                {"id: t\n", "no title", false},
		"no logsource":            {"title: t\nid: t\ndetection: {}\n", "no logsource", false},
		"empty logsource":         {"title: t\nid: t\nlogsource: {definition: x}\n", "neither product", false},
		"correlation":             {"title: t\ncorrelation: {type: event_count}\n", "not built: correlation", true},
		"deep nesting":            {rule("s: {F: a}\ncondition: " + strings.Repeat("(", 100) + "s" + strings.Repeat(")", 100)), "nested deeper", false},
		"half a translation":      {"sonae: {what: {ja: あ}}\n" + rule("s: {F: a}\ncondition: s"), "in both ja and en", false},
		"unknown sonae key":       {"sonae: {colour: red}\n" + rule("s: {F: a}\ncondition: s"), `unknown key "colour"`, false},
		"threshold without count": {"threshold: {window: 5m}\n" + rule("s: {F: a}\ncondition: s"), "count 0", false},
		"not yaml":                {"a: [b\n", "t.yml:", false},
	} {
		t.Run(name, func(t *testing.T) {
			rules, bad := Parse("t.yml", []byte(tt.text))
			if len(rules) > 0 || len(bad) != 1 {
				t.Fatalf("got %d rules and %v; want one rejection", len(rules), bad)
			}
			if !strings.Contains(bad[0].Error(), tt.want) || bad[0].Unbuilt != tt.unbuilt || bad[0].Line < 1 {
				t.Errorf("got %q (unbuilt %v), want %q (%v)", bad[0], bad[0].Unbuilt, tt.want, tt.unbuilt)
			}
		})
	}
}

func TestOnlyRulesOfTheLogsourceRun(t *testing.T) {
	detection := "detection:\n  s: {F: a}\n  condition: s\n"
	var rules []*Rule
	for _, l := range []string{"{product: linux}", "{product: Linux, category: process_creation}", "{category: process_creation}",
		"{product: linux, service: sshd}", "{service: sshd}", "{product: windows}", "{product: linux, category: x, service: sshd}"} {
		rules = append(rules, parseOne(t, "title: t\nid: '"+l+"'\nlogsource: "+l+"\n"+detection))
	}
	set := NewSet(rules)
	for name, tt := range map[string]struct {
		source Source
		want   int
	}{
		"product only":         {Source{Product: "linux"}, 1},
		"with category":        {Source{Product: "linux", Categories: []string{"process_creation"}}, 3},
		"with service":         {Source{Product: "linux", Service: "sshd"}, 3},
		"category and service": {Source{Product: "linux", Categories: []string{"process_creation"}, Service: "sshd"}, 5},
		"two categories":       {Source{Product: "linux", Categories: []string{"process_creation", "X"}, Service: "sshd"}, 6},
		"without product":      {Source{Categories: []string{"process_creation"}}, 1},
		"nothing":              {Source{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]int{}
			set.Match(Event{Source: tt.source, Fields: map[string]string{"F": "a"}}, func(r *Rule) { seen[r.ID]++ })
			if len(seen) != tt.want {
				t.Errorf("got %v, want %d rules", seen, tt.want)
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("rule %s ran %d times", id, n)
				}
			}
		})
	}
}

func TestMatchAllocatesNothingOnceWarm(t *testing.T) {
	set := NewSet([]*Rule{parseOne(t, rule("s: {Image|endswith: '\\x.exe', C|contains: [' -enc', 'foo*bar']}\nn: {A|cidr: 10.0.0.0/8}\nk: [zzz]\ncondition: s or n or k"))})
	e := Event{Source: Source{Product: "p"}, Fields: map[string]string{"Image": `C:\X.EXE`, "C": "powershell -NOP fooXbaz", "A": "192.0.2.1"}, Raw: "Raw LINE"}
	hits := 0
	hit := func(*Rule) { hits++ }
	m := set.NewMatcher() // not from the pool, which drops some at random when races are looked for
	if n := testing.AllocsPerRun(200, func() { m.matchEvent(e, hit) }); n > 0 {
		t.Errorf("%v allocations per event, want none", n)
	}
	if hits != 0 {
		t.Errorf("%d hits, want none", hits)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(rule("s: {F|contains|all: [a, 'b*c'], G|re|i: 'x.*'}\nk: [foo]\ncondition: 1 of s* and not k")))
	f.Add([]byte(rule("s: {F|windash: ' -a -b', G|base64offset|contains: xyz, H|cidr: 10.0.0.0/8}\ncondition: s")))
	f.Add([]byte("title: t\nid: t\nlogsource: {category: c}\nthreshold: {count: 3, window: 5m, by: [F]}\ndetection:\n  s: [{F: null}, {G|fieldref: F}]\n  condition: [s]\n---\na: &x [*x]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, bad := Parse("f.yml", data)
		for _, e := range bad {
			if e.Reason == "" {
				t.Error("rejected without a reason")
			}
		}
		set := NewSet(rules)
		for _, r := range rules {
			e := Event{Source: Source{Product: r.Logsource.Product, Categories: []string{r.Logsource.Category}, Service: r.Logsource.Service},
				Fields: map[string]string{"F": "aあ\xff", "G": "10.0.0.1"}, Raw: string(data[:min(len(data), 64)])}
			set.Match(e, func(*Rule) {})
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "aXXbYc")
	f.Add("*a*a*a*a*b", strings.Repeat("a", 50))
	f.Fuzz(func(t *testing.T, p, v string) {
		if len(p) > 12 || len(v) > 24 {
			return
		}
		got := parsePattern(p).compile(false)
		value := fold(nil, v)
		if want := slowGlob(foldedPattern(p), []rune(string(value))); got.matches(value) != want {
			t.Errorf("%q on %q: got %v, want %v", p, v, !want, want)
		}
	})
}

// foldedPattern folds a pattern the plain way.
func foldedPattern(p string) pattern {
	out := parsePattern(p)
	for i, r := range out {
		if r >= 0 {
			out[i] = []rune(string(fold(nil, string(r))))[0]
		}
	}
	return out
}

// slowGlob is the obvious, exponential comparison.
func slowGlob(p pattern, v []rune) bool {
	switch {
	case len(p) == 0:
		return len(v) == 0
	case p[0] == anyText:
		return slowGlob(p[1:], v) || len(v) > 0 && slowGlob(p, v[1:])
	case len(v) == 0:
		return false
	}
	return (p[0] == anyRune || p[0] == v[0]) && slowGlob(p[1:], v[1:])
}

func ExampleError() {
	_, bad := Parse("my-rule.yml", []byte("title: t\nid: t\nlogsource: {product: linux}\ndetection:\n  s:\n    Image|contians: x\n  condition: s\n"))
	fmt.Println(bad[0])
	// Output: my-rule.yml:6: unknown modifier "contians"
}
