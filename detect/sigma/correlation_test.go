package sigma

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/detect/correlate"
	"github.com/sonae/sonae/event"
)

func TestCorrelationIsReadCompletely(t *testing.T) {
	rules, over, bad := Parse("t.yml", []byte(`title: T
id: t
name: n
status: test
description: d
author: A
references: [r]
date: 2026-04-01
modified: 2026-04-01
taxonomy: sigma
tags: [attack.t1110]
falsepositives: [none]
level: high
generate: true
correlation:
  type: value_count
  rules: [a, b]
  group-by: [User, ip]
  timespan: 90m
  aliases:
    ip: {a: SourceIp, b: ClientIp}
  condition: {field: [V, W], gt: 3, lte: 9}
sonae:
  title: {ja: あ, en: A}
  next: {ja: い, en: B}
  propose: isolate
`))
	if len(rules) > 0 || len(bad) > 0 || len(over) != 1 {
		t.Fatalf("%d rules, %v, %d correlations", len(rules), bad, len(over))
	}
	c := over[0]
	want := correlate.Config{Kind: correlate.ValueCount, Rules: 2, Span: 90 * time.Minute, Tests: []correlate.Test{{Op: correlate.GT, N: 3}, {Op: correlate.LTE, N: 9}}}
	if diff := cmp.Diff(want, c.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if c.ID != "t" || c.Name != "n" || c.Level != event.High || c.Author != "A" || !c.Generate || c.Extra.Title["ja"] != "あ" || c.Extra.Propose != "isolate" || len(c.Tags) != 1 || c.File != "t.yml" || c.Line != 1 {
		t.Errorf("got %+v", c)
	}
	for name, want := range map[string][2]string{"ip": {"SourceIp", "ClientIp"}, "User": {"User", "User"}} {
		if got := [2]string{c.FieldOf(name, 0), c.FieldOf(name, 1)}; got != want {
			t.Errorf("%s means %v, want %v", name, got, want)
		}
	}
}

func TestCorrelationWithoutIDGetsOneOfItsContent(t *testing.T) {
	text := "title: T\ncorrelation: {type: temporal, rules: [a, b], timespan: 5m}\n"
	id := func(text string) string {
		_, over, bad := Parse("t.yml", []byte(text))
		if len(bad) > 0 || len(over) != 1 {
			t.Fatal(bad)
		}
		return over[0].ID
	}
	if a, b := id(text), id(strings.Replace(text, "5m", "6m", 1)); a == b || a != id(text) || !strings.HasPrefix(a, "correlation-") {
		t.Errorf("got %q and %q", a, b)
	}
	if got := id("name: n\n" + text); got != "n" {
		t.Errorf("got %q, want the name", got)
	}
}

func TestCorrelationsThatAreRejected(t *testing.T) {
	doc := func(lines ...string) string {
		return "title: t\nid: t\ncorrelation:\n  " + strings.Join(lines, "\n  ") + "\n"
	}
	counts := func(condition string) string {
		return doc("type: event_count", "rules: [a]", "timespan: 5m", "condition: "+condition)
	}
	for name, tt := range map[string]struct {
		text, want string
		unbuilt    bool
	}{
		"unknown type":             {doc("type: event_counts", "rules: [a]"), `t.yml:4: correlation: unknown type "event_counts"`, false},
		"no type":                  {doc("rules: [a]"), `t.yml:4: correlation: unknown type ""`, false},
		"no rules":                 {doc("type: temporal", "timespan: 5m"), "names no rules", false},
		"a rule twice":             {doc("type: temporal", "rules: [a, a]", "timespan: 5m"), `t.yml:5: rules: "a" stands twice`, false},
		"rules of maps":            {doc("type: temporal", "rules: [{a: b}]"), "t.yml:5: rules holds texts", false},
		"unknown key":              {doc("type: temporal", "rules: [a]", "group_by: [F]", "timespan: 5m"), `t.yml:6: correlation: unknown key "group_by"`, false},
		"unknown key beside":       {"titel: x\n" + doc("type: temporal", "rules: [a]", "timespan: 5m"), `t.yml:1: unknown key "titel"`, false},
		"a detection beside":       {"detection: {}\n" + doc("type: temporal", "rules: [a]", "timespan: 5m"), `unknown key "detection"`, false},
		"no timespan":              {doc("type: temporal", "rules: [a]"), "has no timespan", false},
		"timespan without unit":    {doc("type: temporal", "rules: [a]", "timespan: 5"), `t.yml:6: timespan "5" is not`, false},
		"timespan with two parts":  {doc("type: temporal", "rules: [a]", "timespan: 1h30m"), "is not a number and", false},
		"timespan in capitals":     {doc("type: temporal", "rules: [a]", "timespan: 5M"), "is not a number and", false},
		"timespan of a year":       {doc("type: temporal", "rules: [a]", "timespan: 365d"), "up to 30 days", false},
		"timespan that overflows":  {doc("type: temporal", "rules: [a]", "timespan: 4294967295d"), "up to 30 days", false},
		"timespan of nothing":      {doc("type: temporal", "rules: [a]", "timespan: 0s"), "is not between 1s", false},
		"no condition":             {doc("type: event_count", "rules: [a]", "timespan: 5m"), "event_count needs a condition", false},
		"an empty condition":       {counts("{}"), "compares with nothing", false},
		"an unknown comparison":    {counts("{ge: 5}"), `t.yml:7: condition: unknown key "ge"`, false},
		"a comparison with text":   {counts("{gte: many}"), `t.yml:7: a number is expected here, not "many"`, false},
		"a comparison with inf":    {counts("{gte: .inf}"), "a number is expected", false},
		"a condition as text":      {doc("type: temporal", "rules: [a, b]", "timespan: 5m", "condition: a and not b"), "t.yml:7: not built: condition as text", true},
		"a field that is not used": {counts("{gte: 5, field: F}"), "event_count looks at no field", false},
		"no field":                 {doc("type: value_count", "rules: [a]", "timespan: 5m", "condition: {gte: 5}"), "needs a condition with a field", false},
		"two fields to add up":     {doc("type: value_sum", "rules: [a]", "timespan: 5m", "condition: {gte: 5, field: [F, G]}"), "looks at one field", false},
		"a percentile of a sum":    {doc("type: value_sum", "rules: [a]", "timespan: 5m", "condition: {gte: 5, field: F, percentile: 5}"), "percentile is a number", false},
		"a percentile over 100":    {doc("type: value_percentile", "rules: [a]", "timespan: 5m", "condition: {gte: 5, field: F, percentile: 101}"), "percentile 101 is not", false},
		"a count without bound":    {doc("type: value_count", "rules: [a]", "timespan: 5m", "condition: {gte: 10001, field: F}"), "numbers up to 10000", false},
		"an alias of another rule": {doc("type: temporal", "rules: [a]", "timespan: 5m", "aliases: {x: {b: F}}"), `"b" is none of the correlation's rules`, false},
		"an alias of a list":       {doc("type: temporal", "rules: [a]", "timespan: 5m", "aliases: {x: [a]}"), "a map is expected", false},
		"generate as text":         {"generate: 'yes'\n" + doc("type: temporal", "rules: [a]", "timespan: 5m"), "generate must be true or false", false},
		"a half translated title":  {"sonae: {title: {ja: あ}}\n" + doc("type: temporal", "rules: [a]", "timespan: 5m"), "in both ja and en", false},
		"unknown level":            {"level: red\n" + doc("type: temporal", "rules: [a]", "timespan: 5m"), "unknown severity", false},
		"a list":                   {"title: t\nid: t\ncorrelation: [a]\n", "a map is expected", false},
		"too many rules":           {doc("type: temporal", "rules: ["+manyNames(33)+"]", "timespan: 5m"), "1 to 32 rules", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, over, bad := Parse("t.yml", []byte(tt.text))
			if len(over) > 0 || len(bad) != 1 {
				t.Fatalf("got %d correlations and %v; want one rejection", len(over), bad)
			}
			if !strings.Contains(bad[0].Error(), tt.want) || bad[0].Unbuilt != tt.unbuilt {
				t.Errorf("got %q (unbuilt %v), want %q (%v)", bad[0], bad[0].Unbuilt, tt.want, tt.unbuilt)
			}
		})
	}
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = strings.Repeat("r", i+1)
	}
	return strings.Join(names, ", ")
}

// Whatever is accepted can be counted with.
func FuzzCorrelation(f *testing.F) {
	f.Add("type: value_count\nrules: [a, b]\ngroup-by: [F]\ntimespan: 5m\naliases: {x: {a: F}}\ncondition: {field: [V], gte: 3, lt: 9}", "a", 1.5)
	f.Add("type: temporal_ordered\nrules: [a, b, c]\ntimespan: 1d", "b", 0.0)
	f.Add("type: value_percentile\nrules: a\ntimespan: 90s\ncondition: {field: V, percentile: 99.9, neq: 1}", "", -1.0)
	f.Fuzz(func(t *testing.T, text, value string, num float64) {
		doc := "title: t\nid: t\ncorrelation:\n  " + strings.ReplaceAll(text, "\n", "\n  ") + "\n"
		_, over, bad := Parse("t.yml", []byte(doc))
		for _, e := range bad {
			if e.Reason == "" || e.Line < 1 {
				t.Errorf("rejected without a reason or line: %+v", e)
			}
		}
		for _, c := range over {
			w := correlate.New[string](c.Config)
			for i := range 20 {
				o := correlate.Observation[string]{At: time.Unix(int64(i*i%17), 0), Group: []byte(value), Rule: i % len(c.Refs), Text: value, Num: num}
				c.FieldOf(value, o.Rule)
				for _, f := range w.Add(o, nil) {
					if f.To.Sub(f.From) >= c.Config.Span {
						t.Errorf("a window of %s, longer than %s", f.To.Sub(f.From), c.Config.Span)
					}
				}
			}
		}
	})
}
