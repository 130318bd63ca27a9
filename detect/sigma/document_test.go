package sigma

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

func TestWhatARuleSaysOfItselfIsKept(t *testing.T) {
	r := parseOne(t, `title: T
id: i
name: n
related:
    - {id: other, type: derived}
status: test
description: |
    two
    lines
license: DRL-1.1
references: [https://a, https://b]
author: A, B
date: 2024-01-02
modified: 2025/02/03
tags: [attack.t1059]
logsource: {product: windows, category: c, definition: turn it on, volume: high}
detection: {s: {F: a}, condition: s}
fields: [F]
falsepositives: admins
scope: [server]
level: high
taxonomy: ecs
custom: {anything: goes}
`)
	want := Meta{
		ID: "i", Name: "n", Title: "T", Taxonomy: "ecs", Status: "test", Description: "two\nlines\n", License: "DRL-1.1", Author: "A, B",
		Date: "2024-01-02", Modified: "2025/02/03", References: []string{"https://a", "https://b"}, Related: []Related{{"other", "derived"}},
		Tags: []string{"attack.t1059"}, Fields: []string{"F"}, FalsePositives: []string{"admins"}, Scope: []string{"server"}, Level: event.High,
		Logsource:      Logsource{Product: "windows", Category: "c"},
		LogsourceNotes: map[string]string{"definition": "turn it on", "volume": "high"}, File: "t.yml", Line: 1,
	}
	if diff := cmp.Diff(want, r.Meta); diff != "" {
		t.Error(diff)
	}
}

func TestARuleWithoutAnIdHasOneThatStays(t *testing.T) {
	id := func(text string) string { return parseOne(t, strings.Replace(text, "id: t\n", "", 1)).ID }
	first := id(rule("s: {F: a}\ncondition: s"))
	if first == "" || first != id(rule("s: {F: b}\ncondition: s")) {
		t.Errorf("the id %q changes with the detection", first)
	}
	if first == id(strings.Replace(rule("s: {F: a}\ncondition: s"), "title: t", "title: u", 1)) {
		t.Error("two titles have the same id")
	}
	if got := id("name: by_name\n" + rule("s: {F: a}\ncondition: s")); got != "by_name" {
		t.Errorf("got %q, want the name", got)
	}
}

func TestSelectionsOfAnyShape(t *testing.T) {
	type m = map[string]string
	for name, tt := range map[string]struct {
		detection string
		yes, no   []m
	}{
		"one keyword":               {"k: foo\ncondition: k", []m{{"X": "a foo b"}}, []m{{"X": "fo"}}},
		"a keyword that is number":  {"k: [4688]\ncondition: k", []m{{"X": "id 4688"}}, []m{{"X": "468"}}},
		"a list of lists":           {"k: [[foo, bar], [baz]]\ncondition: k", []m{{"X": "bar"}, {"X": "baz"}}, []m{{"X": "x"}}},
		"lists of maps and words":   {"k: [foo, {F: a, G: b}, [{H: c}]]\ncondition: k", []m{{"X": "foo"}, {"F": "a", "G": "b"}, {"H": "c"}}, []m{{"F": "a"}}},
		"keywords with a modifier":  {"k: {'|startswith': foo}\ncondition: k", []m{{"X": "foo b"}}, []m{{"X": "a foo"}}},
		"all words and a field":     {"k: {'|all': [foo, bar], F: a}\ncondition: k", []m{{"F": "a", "X": "foo bar"}}, []m{{"X": "foo bar"}}},
		"a wildcard in a keyword":   {"k: ['f*o']\ncondition: k", []m{{"X": "xfxxox"}}, []m{{"X": "of"}}},
		"names with any characters": {"sel-1.a: {F: a}\ncondition: sel-1.a", []m{{"F": "a"}}, []m{{}}},
		"nested field names":        {"s: {a.b.c: x}\ncondition: s", []m{{"a.b.c": "x"}}, []m{{"a": "x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := parseOne(t, rule(tt.detection))
			for _, e := range tt.yes {
				if !matches(r, e, "") {
					t.Errorf("%q does not match", e)
				}
			}
			for _, e := range tt.no {
				if matches(r, e, "") {
					t.Errorf("%q matches", e)
				}
			}
		})
	}
}

// TestConditionsAreTheLogicTheySay compares conditions with what they mean
// for every way in which three selections can match.
func TestConditionsAreTheLogicTheySay(t *testing.T) {
	for text, want := range map[string]func(a, b, c bool) bool{
		"sel_a":                                 func(a, _, _ bool) bool { return a },
		"sel_a or sel_b and fil":                func(a, b, c bool) bool { return a || b && c },
		"(sel_a or sel_b) and fil":              func(a, b, c bool) bool { return (a || b) && c },
		"not sel_a or sel_b":                    func(a, b, _ bool) bool { return !a || b },
		"not (sel_a or sel_b)":                  func(a, b, _ bool) bool { return !(a || b) },
		"not not sel_a":                         func(a, _, _ bool) bool { return a },
		"not sel_a and not sel_b and not fil":   func(a, b, c bool) bool { return !a && !b && !c },
		"1 of sel*":                             func(a, b, _ bool) bool { return a || b },
		"1 OF SEL_a or 1 of sel_b":              nil,
		"all of sel*":                           func(a, b, _ bool) bool { return a && b },
		"ALL OF sel*  AND  Not fil":             func(a, b, c bool) bool { return a && b && !c },
		"any of *_b":                            func(_, b, _ bool) bool { return b },
		"1 of s*l_*":                            func(a, b, _ bool) bool { return a || b },
		"1 of them":                             func(a, b, c bool) bool { return a || b || c },
		"all of THEM":                           func(a, b, c bool) bool { return a && b && c },
		"1 of _*":                               func(_, _, _ bool) bool { return false }, // _never
		"not 1 of sel*":                         func(a, b, _ bool) bool { return !(a || b) },
		"not all of sel* or fil":                func(a, b, c bool) bool { return !(a && b) || c },
		"sel_a and(sel_b or(not fil))":          func(a, b, c bool) bool { return a && (b || !c) },
		"((sel_a)) and (1 of sel* and not fil)": func(a, b, c bool) bool { return a && !c },
		"[sel_a, fil]":                          func(a, _, c bool) bool { return a || c },
		"['sel_a and fil', 'not sel_b']":        func(a, b, c bool) bool { return a && c || !b },
	} {
		detection := "sel_a: {A: x}\nsel_b: {B: x}\nfil: {C: x}\n_never: {D: x}\ncondition: " + text
		if want == nil {
			if _, bad := Parse("t.yml", []byte(rule(detection))); len(bad) != 1 {
				t.Errorf("%s: names of selections mind case, want a rejection", text)
			}
			continue
		}
		r := parseOne(t, rule(detection))
		for i := range 8 {
			e := map[string]string{}
			for bit, field := range []string{"A", "B", "C"} {
				if i>>bit&1 == 1 {
					e[field] = "x"
				}
			}
			if got, want := matches(r, e, ""), want(i&1 == 1, i&2 == 2, i&4 == 4); got != want {
				t.Errorf("%s on %v: got %v, want %v", text, e, got, want)
			}
		}
	}
}

func TestAnchorsAliasesAndMergeKeys(t *testing.T) {
	r := parseOne(t, rule("a: &base {F: [x, y], G: z}\nb:\n  <<: *base\n  G: w\nc: {H: &v v, I: *v}\ncondition: b and c"))
	ok := map[string]string{"F": "y", "G": "w", "H": "v", "I": "v"}
	if !matches(r, ok, "") {
		t.Error("aliases and merge keys do not stand for what they name")
	}
	ok["G"] = "z"
	if matches(r, ok, "") {
		t.Error("a key of its own must win over a merged one")
	}
}

func TestAnAliasBombIsRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("x0: &x0 [a,a,a,a,a,a,a,a,a,a]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "x%d: &x%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d,", i-1), 10), ","))
	}
	_, bad := Parse("t.yml", []byte(b.String()+rule("s: {F: a}\ncondition: s")))
	if len(bad) != 1 || !strings.Contains(bad[0].Reason, "stands for more than 200000 values") {
		t.Errorf("got %v", bad)
	}
}

func TestConditionsCannotGrowWithoutEnd(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "s%d: {F: a}\n", i)
	}
	_, bad := Parse("t.yml", []byte(rule(b.String()+"condition: "+strings.Repeat("1 of s* or ", 60)+"s1")))
	if len(bad) != 1 || !strings.Contains(bad[0].Reason, "longer than 4096 parts") {
		t.Errorf("got %v", bad)
	}
}

func TestCollectionsOfOldShareACommonPart(t *testing.T) {
	rules, bad := Parse("t.yml", []byte(`action: global
title: common
id: g
author: A
level: high
detection: {s: {F: a}, condition: s}
---
logsource: {product: linux, service: x}
---
logsource: {product: windows}
detection: {s: {F: b}}
---
action: repeat
id: own
logsource: {category: c}
---
action: reset
---
title: alone
id: alone
logsource: {product: macos}
detection: {s: {F: a}, condition: s}
---
action: fly
`))
	var got []string
	for _, r := range rules {
		got = append(got, fmt.Sprintf("%s %s %s %v %d", r.ID, r.Title, r.Author, r.Logsource, r.Line))
	}
	want := []string{"g common A {linux  x} 8", "g-2 common A {windows  } 10", "own common A {windows c } 13", "alone alone  {macos  } 19"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(rules) == 4 && (!matchesOn(rules[1], Source{Product: "windows"}, "b") || matchesOn(rules[1], Source{Product: "windows"}, "a")) {
		t.Error("a line of the rule must win over one of the common part")
	}
	if len(bad) != 1 || bad[0].Line != 24 || !strings.Contains(bad[0].Reason, `unknown action "fly"`) {
		t.Errorf("rejected: %v", bad)
	}
}

func matchesOn(r *Rule, s Source, f string) (hit bool) {
	NewSet([]*Rule{r}).Match(Event{Source: s, Fields: map[string]string{"F": f}}, func(*Rule) { hit = true })
	return hit
}

const filterText = `title: Known administrators
logsource: {category: process_creation, product: windows}
filter:
    rules: %s
    selection: {User|startswith: 'adm_'}
    condition: %s
`

func filterFile(rules, condition string) File {
	return File{"filters/admins.yml", fmt.Appendf(nil, filterText, rules, condition)}
}

func TestFilters(t *testing.T) {
	ruleOf := func(id, name, logsource string) File {
		return File{id + ".yml", []byte("title: t\nid: " + id + "\nname: " + name + "\nlogsource: " + logsource + "\ndetection:\n  selection: {F: a}\n  condition: selection\n")}
	}
	files := []File{
		ruleOf("one", "first", "{product: windows, category: process_creation}"),
		ruleOf("two", "second", "{product: Windows, category: process_creation, service: sysmon}"),
		ruleOf("three", "third", "{product: linux, category: process_creation}"),
	}
	for name, tt := range map[string]struct {
		rules, condition string
		applied, missing []string
		keeps            bool
	}{
		"by id":                      {"[one]", "not selection", []string{"one"}, nil, false},
		"by name":                    {"[second, one]", "not selection", []string{"two", "one"}, nil, false},
		"a single one":               {"one", "not selection", []string{"one"}, nil, false},
		"any":                        {"any", "not selection", []string{"one", "two"}, nil, false},
		"ALL":                        {"ALL", "not selection", []string{"one", "two"}, nil, false},
		"an empty list":              {"[]", "not 1 of sel*", []string{"one", "two"}, nil, false},
		"another log source":         {"[three]", "not selection", nil, []string{"three"}, false},
		"a rule that is not there":   {"[four, one]", "not selection", []string{"one"}, []string{"four"}, false},
		"without not, it is a limit": {"[one]", "selection", []string{"one"}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := Load(append([]File{filterFile(tt.rules, tt.condition)}, files...), Options{})
			if len(l.Rules) != 3 || len(l.Rejected) > 0 {
				t.Fatalf("got %d rules, rejected %v", len(l.Rules), l.Rejected)
			}
			want := []Applied{{Title: "Known administrators", File: "filters/admins.yml", Line: 1, Rules: tt.applied, Missing: tt.missing, Keeps: tt.keeps}}
			if diff := cmp.Diff(want, l.Filters); diff != "" {
				t.Error(diff)
			}
			for _, r := range l.Rules {
				narrowed := len(r.Filters) > 0
				for user, want := range map[string]bool{"adm_x": !narrowed || tt.keeps, "tanaka": !narrowed || !tt.keeps} {
					hit := false
					NewSet([]*Rule{r}).Match(Event{Source: Source{r.Logsource.Product, []string{r.Logsource.Category}, r.Logsource.Service},
						Fields: map[string]string{"F": "a", "User": user}}, func(*Rule) { hit = true })
					if hit != want {
						t.Errorf("rule %s, user %s: got %v, want %v", r.ID, user, hit, want)
					}
				}
			}
		})
	}
}

func TestFiltersThatAreWrongAreRejected(t *testing.T) {
	for name, tt := range map[string]struct{ from, to, want string }{
		"no rules":         {"    rules: any\n", "", "filters/admins.yml:4: the filter does not say which rules"},
		"no condition":     {"    condition: not selection\n", "", "filters/admins.yml:4: the detection has no condition"},
		"unknown name":     {"not selection", "not other", `filters/admins.yml:6: condition: there is no selection "other"`},
		"unknown modifier": {"startswith", "beginswith", `filters/admins.yml:5: unknown modifier "beginswith"`},
		"no logsource":     {"logsource:", "x:", "filters/admins.yml:1: the rule has no logsource"},
		"a level":          {"title:", "level: high\ntitle:", "filters/admins.yml:1: a filter has no level"},
	} {
		f := filterFile("any", "not selection")
		f.Data = []byte(strings.Replace(string(f.Data), tt.from, tt.to, 1))
		l := Load([]File{f}, Options{})
		if len(l.Rejected) != 1 || !strings.HasPrefix(l.Rejected[0].Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, l.Rejected, tt.want)
		}
	}
	f := filterFile("any", "not selection")
	f.Data = []byte(strings.Replace(string(f.Data), "startswith: 'adm_'", "expand: '%x%'", 1))
	l := Load([]File{f, {"r.yml", []byte(rule("s: {F: a}\ncondition: s"))}, {"w.yml", []byte(strings.Replace(rule("s: {F: a}\ncondition: s"), "{product: p}", "{product: windows, category: process_creation}", 1))}}, Options{})
	if len(l.Rules) != 1 || len(l.Rejected) != 1 || l.Rejected[0].Error() != "w.yml:1: filter Known administrators: the placeholder %x% has no values" || l.Rejected[0].Placeholder != "x" {
		t.Errorf("a rule whose filter cannot be applied must not run without it: %d rules, %v", len(l.Rules), l.Rejected)
	}
}

// TestTheSpecificationsExamplesLoad reads the example files that come with the
// specification. Its filters have no "not", which the reference
// implementation takes literally, and so do we; the report says so.
func TestTheSpecificationsExamplesLoad(t *testing.T) {
	var files []File
	for r := tar.NewReader(unzip(t, shared(t, "sigma-spec-schemas-and-tests.tar.gz"))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Name, "tests/schema/rules") || strings.Contains(h.Name, "tests/schema/filter") {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, File{h.Name, data})
		}
	}
	l := Load(files, Options{})
	if len(files) != 4 || len(l.Rules) != 2 || len(l.Filters) != 2 || len(l.Rejected) > 0 {
		t.Fatalf("%d files: %d rules, %d filters, rejected %v", len(files), len(l.Rules), len(l.Filters), l.Rejected)
	}
	for _, f := range l.Filters {
		if !f.Keeps || len(f.Missing) != 2 {
			t.Errorf("%+v", f)
		}
	}
	for _, r := range l.Rules {
		if strings.HasSuffix(r.File, "rule_ecs.yml") && r.Taxonomy != "ecs" {
			t.Error("the taxonomy is lost")
		}
	}
}

func TestClonesShareNothingThatChanges(t *testing.T) {
	c := Read("t.yml", []byte(rule("s: [{F: a, G|re: [b, c]}, {H: d}]\nk: [x, [y]]\ncondition: s or k")))
	d := c.Drafts[0]
	before := d.Clone()
	copied := d.Clone()
	copied.Blocks[0].Selections[0].Part.Leaves(func(l *Leaf) {
		l.Field += "!"
		l.Values[0].Text = "!"
		for i := range l.Modifiers {
			l.Modifiers[i] = "!"
		}
	})
	copied.Blocks[0].Conditions[0].Text = "!"
	copied.Blocks[0].Selections[0].Name = "!"
	if !reflect.DeepEqual(before, d) {
		t.Error("changing a clone changed the draft")
	}
}

func FuzzCondition(f *testing.F) {
	for _, text := range []string{"a", "1 of a*", "not (a or b) and all of them", "((((a))))", "not not not a", "1 of", "any of *", "a AND b Or c", "a | count() > 5", "of of of"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names := []string{"a", "b", "ab", "_c", "of", "1"}
		c, err := parseCondition(text, names)
		if err != nil {
			return
		}
		selections := map[string]node{}
		for _, name := range names {
			selections[name] = andNode{}
		}
		var walk func(*clause, int) int
		walk = func(c *clause, depth int) int {
			n := 1
			for _, p := range c.parts {
				n += walk(p, depth+1)
			}
			if depth > 4*maxDepth {
				t.Fatal("too deep")
			}
			if c.op == "" && selections[c.name] == nil {
				t.Fatalf("names %q, which is no selection", c.name)
			}
			return n
		}
		if n := walk(c, 0); n > maxClauses {
			t.Fatalf("%d parts", n)
		}
		c.node(selections).eval(nil)
	})
}
