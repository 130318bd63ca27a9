package pipeline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/detect/sigma"
)

// ruleText is a rule whose detection and log source are given.
func ruleText(logsource, detection string) string {
	return "title: t\nid: r\ntags: [attack.t1]\nlogsource: " + logsource + "\nfields: [F, H]\nthreshold: {count: 2, window: 5m, by: [F]}\ndetection:\n  " +
		strings.ReplaceAll(strings.TrimSpace(detection), "\n", "\n  ") + "\n"
}

func mustParse(t testing.TB, text string) *Pipeline {
	t.Helper()
	p, err := Parse("p.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// transform loads one rule through a pipeline.
func transform(t *testing.T, p *Pipeline, rule string) *sigma.Rule {
	t.Helper()
	l := sigma.Load([]sigma.File{{Name: "r.yml", Data: []byte(rule)}}, sigma.Options{Transforms: []sigma.Transform{p.Transform}})
	if len(l.Rules) != 1 {
		t.Fatalf("got %d rules, rejected %v", len(l.Rules), l.Rejected)
	}
	return l.Rules[0]
}

func matches(r *sigma.Rule, fields map[string]string) (hit bool) {
	s := sigma.Source{Product: r.Logsource.Product, Categories: []string{r.Logsource.Category}, Service: r.Logsource.Service}
	sigma.NewSet([]*sigma.Rule{r}).Match(sigma.Event{Source: s, Fields: fields}, func(*sigma.Rule) { hit = true })
	return hit
}

func steps(text string) string { return "name: p\ntransformations:\n" + text }

func TestTransformations(t *testing.T) {
	type m = map[string]string
	for name, tt := range map[string]struct {
		pipeline, detection string
		yes, no             []m
	}{
		"a name becomes another": {"- {type: field_name_mapping, mapping: {F: X}}", "s: {F|contains: a}\ncondition: s",
			[]m{{"X": "bab"}}, []m{{"F": "bab"}}},
		"one of several": {"- {type: field_name_mapping, mapping: {F: [X, Y]}}", "s: {F: a, G: b}\ncondition: s",
			[]m{{"X": "a", "G": "b"}, {"Y": "a", "G": "b"}}, []m{{"F": "a", "G": "b"}, {"X": "a"}}},
		"absent in all of several": {"- {type: field_name_mapping, mapping: {F: [X, Y]}}", "s: {F: null}\ncondition: s",
			[]m{{"F": "a"}}, []m{{"X": "a"}, {"Y": ""}}},
		"absent or such": {"- {type: field_name_mapping, mapping: {F: [X, Y]}}", "s: {F: [null, a]}\ncondition: s",
			[]m{{}, {"X": "a"}, {"X": "b", "Y": "a"}}, []m{{"X": "b"}}},
		"exists in none": {"- {type: field_name_mapping, mapping: {F: [X, Y]}}", "s: {F|exists: false}\ncondition: s",
			[]m{{}}, []m{{"Y": ""}}},
		"different in all": {"- {type: field_name_mapping, mapping: {F: [X, Y]}}", "s: {F|neq: a}\ncondition: s",
			[]m{{"X": "b"}, {}}, []m{{"X": "b", "Y": "a"}, {"X": "a"}}},
		"several under not": {"- {type: field_name_mapping, mapping: {F: [X, Y]}}", "s: {G: b}\nf: {F: a}\ncondition: s and not f",
			[]m{{"G": "b", "X": "b"}}, []m{{"G": "b", "Y": "a"}}},
		"what a field refers to": {"- {type: field_name_mapping, mapping: {F: X, G: Y}}", "s: {F|fieldref: G}\ncondition: s",
			[]m{{"X": "a", "Y": "a"}}, []m{{"F": "a", "G": "a"}}},
		"keywords have no name": {"- {type: field_name_prefix, prefix: p.}", "s: [foo]\ncondition: s", []m{{"X": "foo"}}, []m{{}}},
		"prefix":                {"- {type: field_name_prefix, prefix: p.}", "s: {F: a}\ncondition: s", []m{{"p.F": "a"}}, []m{{"F": "a"}}},
		"suffix":                {"- {type: field_name_suffix, suffix: .s}", "s: {F: a}\ncondition: s", []m{{"F.s": "a"}}, []m{{"F": "a"}}},
		"prefix mapping": {"- {type: field_name_prefix_mapping, mapping: {a.: b., a.c.: [d., e.]}}", "s: {a.x: 1, a.c.y: 2}\ncondition: s",
			[]m{{"b.x": "1", "d.y": "2"}, {"b.x": "1", "e.y": "2"}}, []m{{"b.x": "1", "b.c.y": "2"}}},
		"only included fields": {"- {type: field_name_suffix, suffix: s, field_name_conditions: [{type: include_fields, fields: [F]}]}", "s: {F: a, G: b}\ncondition: s",
			[]m{{"Fs": "a", "G": "b"}}, []m{{"Fs": "a", "Gs": "b"}}},
		"all but excluded fields": {"- {type: field_name_suffix, suffix: s, field_name_conditions: [{type: exclude_fields, fields: ['F.*'], mode: re}]}", "s: {F1: a, G: b}\ncondition: s",
			[]m{{"F1": "a", "Gs": "b"}}, []m{{"F1s": "a", "Gs": "b"}}},
		"dropped": {"- {type: drop_detection_item, field_name_conditions: [{type: include_fields, fields: F}]}", "s: {F: a, G: b}\ncondition: s",
			[]m{{"G": "b"}}, []m{{"F": "a"}}},
		"dropped if null": {"- {type: drop_detection_item, detection_item_conditions: [{type: is_null}]}", "s: {F: null, G: b}\ncondition: s",
			[]m{{"F": "x", "G": "b"}}, []m{{}}},
		"an added condition": {"- {type: add_condition, conditions: {X: [1, two], Y|startswith: z}}", "s: {F: a}\nt: {G: b}\ncondition: s or t",
			[]m{{"F": "a", "X": "1", "Y": "zz"}, {"G": "b", "X": "TWO", "Y": "z"}}, []m{{"F": "a"}, {"X": "1", "Y": "z"}}},
		"an added not":            {"- {type: add_condition, negated: true, conditions: {X: 1}}", "s: {F: a}\ncondition: s", []m{{"F": "a"}}, []m{{"F": "a", "X": "1"}}},
		"from the rule":           {"- {type: add_condition, template: true, conditions: {X: 'i-$product-$category'}}", "s: {F: a}\ncondition: s", []m{{"F": "a", "X": "i-p-c"}}, []m{{"F": "a"}}},
		"replaced text":           {"- {type: replace_string, regex: '^C:\\\\(\\w+)', replacement: 'D:\\\\\\1'}", "s: {F: 'C:\\dir\\*'}\ncondition: s", nil, []m{{"F": `C:\dir\x`}}},
		"replaced group":          {"- {type: replace_string, regex: '(a)(b)', replacement: '\\g<2>\\1'}", "s: {F: xab}\ncondition: s", []m{{"F": "xba"}}, []m{{"F": "xab"}}},
		"replaced, wildcards too": {"- {type: replace_string, regex: '.*', replacement: 'x'}", "s: {F: 'a*b'}\ncondition: s", []m{{"F": "x"}}, []m{{"F": "axb"}}},
		"wildcards left alone": {"- {type: replace_string, skip_special: true, regex: '[ab]', replacement: 'x'}", "s: {F: 'a*b'}\ncondition: s",
			[]m{{"F": "xzzx"}}, []m{{"F": "azzb"}}},
		"a match decides": {"- {type: replace_string, regex: a, replacement: b, detection_item_conditions: [{type: match_string, cond: any, pattern: 'x.*'}]}", "s: {F: xa, G: a}\ncondition: s",
			[]m{{"F": "xb", "G": "a"}}, []m{{"F": "xb", "G": "b"}}},
		"values of placeholders": {"- {type: value_placeholders, include: [v]}\nvars: {v: [a, 'b*'], w: c}", "s: {F|expand: '%v%', G: '%v%'}\ncondition: s",
			[]m{{"F": "bx", "G": "%v%"}}, []m{{"F": "c", "G": "%v%"}}},
		"any value for a placeholder": {"- {type: wildcard_placeholders}", "s: {F|expand: 'a%v%'}\ncondition: s", []m{{"F": "ab"}}, []m{{"F": "b"}}},
		"the log source decides": {"- {type: field_name_prefix, prefix: p., rule_conditions: [{type: logsource, product: q}]}", "s: {F: a}\ncondition: s",
			[]m{{"F": "a"}}, []m{{"p.F": "a"}}},
		"one of two conditions": {"- {type: field_name_prefix, prefix: p., rule_cond_op: or, rule_conditions: [{type: logsource, product: q}, {type: tag, tag: attack.t1}]}", "s: {F: a}\ncondition: s",
			[]m{{"p.F": "a"}}, []m{{"F": "a"}}},
		"not a condition": {"- {type: field_name_prefix, prefix: p., rule_cond_not: true, rule_conditions: [{type: logsource, product: q}]}", "s: {F: a}\ncondition: s",
			[]m{{"p.F": "a"}}, []m{{"F": "a"}}},
		"the id decides": {"- {type: field_name_prefix, prefix: p., rule_conditions: [{type: rule_attribute, attribute: id, op: in, value: [x, r]}]}", "s: {F: a}\ncondition: s",
			[]m{{"p.F": "a"}}, []m{{"F": "a"}}},
		"a value decides": {"- {type: field_name_prefix, prefix: p., rule_conditions: [{type: contains_detection_item, field: F, value: A}, {type: contains_field, field: F}]}", "s: {F: [b, a]}\ncondition: s",
			[]m{{"p.F": "a"}}, []m{{"F": "a"}}},
		"an earlier step decides": {"- {id: one, type: field_name_prefix, prefix: p., rule_conditions: [{type: logsource, product: q}]}\n- {type: field_name_suffix, suffix: .s, rule_conditions: [{type: processing_item_applied, processing_item_id: one}]}", "s: {F: a}\ncondition: s",
			[]m{{"F": "a"}}, []m{{"F.s": "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := transform(t, mustParse(t, steps(tt.pipeline)), ruleText("{product: p, category: c}", tt.detection))
			for _, e := range tt.yes {
				if !matches(r, e) {
					t.Errorf("%q does not match", e)
				}
			}
			for _, e := range tt.no {
				if matches(r, e) {
					t.Errorf("%q matches", e)
				}
			}
		})
	}
}

func TestNamesAroundTheDetectionChangeToo(t *testing.T) {
	p := mustParse(t, steps("- {type: field_name_mapping, mapping: {F: [X, Y]}}\n- {type: change_logsource, product: q, service: z}"))
	r := transform(t, p, ruleText("{product: p, category: c}", "s: {F: a}\ncondition: s"))
	if diff := cmp.Diff([]string{"X", "Y", "H"}, r.Fields); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"X"}, r.Threshold.By); diff != "" {
		t.Error(diff)
	}
	if r.Logsource != (sigma.Logsource{Product: "q", Service: "z"}) {
		t.Errorf("log source %+v", r.Logsource)
	}
}

func TestARuleThatCannotBeTransformedIsRejected(t *testing.T) {
	for name, tt := range map[string]struct{ pipeline, want string }{
		"rule failure": {"- {type: rule_failure, message: not here}", "pipeline p, line 3: not here"},
		"item failure": {"- {type: detection_item_failure, message: no F, field_name_conditions: [{type: include_fields, fields: [F]}]}", "pipeline p, line 3: no F"},
		"nothing left": {"- {type: drop_detection_item}", "line 3: drop_detection_item leaves nothing of selection s"},
		"no values":    {"- {type: value_placeholders}", "the placeholder v has no values"},
		"bad addition": {"- {type: add_condition, conditions: {F|re: '('}}", "pipeline p: re: "},
	} {
		text := ruleText("{product: p}", "s: {F|expand: '%v%'}\ncondition: s")
		p := mustParse(t, steps(tt.pipeline))
		l := sigma.Load([]sigma.File{{Name: "r.yml", Data: []byte(text)}}, sigma.Options{Transforms: []sigma.Transform{p.Transform}})
		want := strings.ReplaceAll(tt.want, "placeholder v", "placeholder %v%")
		if name == "bad addition" {
			l = sigma.Load([]sigma.File{{Name: "r.yml", Data: []byte(strings.ReplaceAll(text, "|expand", ""))}}, sigma.Options{Transforms: []sigma.Transform{p.Transform}})
		}
		if len(l.Rules) != 0 || len(l.Rejected) != 1 || !strings.Contains(l.Rejected[0].Reason, want) || l.Rejected[0].ID != "r" {
			t.Errorf("%s: got %v, want %q", name, l.Rejected, want)
		}
	}
	p := mustParse(t, steps("- {type: detection_item_failure, message: no F, field_name_conditions: [{type: include_fields, fields: [G]}]}"))
	transform(t, p, ruleText("{product: p}", "s: {F: a}\ncondition: s"))
}

func TestVariantsStandBesideTheRule(t *testing.T) {
	p := mustParse(t, steps("- {type: field_name_mapping, mapping: {F: X}, rule_conditions: [{type: logsource, product: p}]}\n- {type: rule_failure, message: never, rule_conditions: [{type: logsource, product: bad}]}"))
	var files []sigma.File
	for _, product := range []string{"p", "q", "bad"} {
		files = append(files, sigma.File{Name: product + ".yml", Data: []byte(ruleText("{product: "+product+"}", "s: {F: a}\ncondition: s"))})
	}
	l := sigma.Load(files, sigma.Options{Variants: []sigma.Variant{{Name: "other", Transform: p.Transform}}})
	var got []string
	for _, r := range l.Rules {
		got = append(got, r.Logsource.Product+" "+r.Variant)
	}
	if diff := cmp.Diff([]string{"p ", "p other", "q ", "bad "}, got); diff != "" {
		t.Error(diff)
	}
	if !matches(l.Rules[0], map[string]string{"F": "a"}) || !matches(l.Rules[1], map[string]string{"X": "a"}) || matches(l.Rules[1], map[string]string{"F": "a"}) {
		t.Error("a variant changed the rule itself")
	}
	if len(l.Rejected) != 1 || !strings.HasPrefix(l.Rejected[0].Reason, "variant other: pipeline p, line 4: never") {
		t.Errorf("rejected %v", l.Rejected)
	}
}

func TestPipelinesThatAreWrongAreRefused(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"empty":                      {"", "p.yml:1: the file is empty"},
		"not yaml":                   {"a: [", "p.yml:1: yaml: "},
		"not a map":                  {"[]", "p.yml:1: a map is expected"},
		"no name":                    {"transformations: [{type: drop_detection_item}]", "p.yml:1: a pipeline has a name"},
		"nothing to do":              {"name: p", "p.yml:1: a pipeline has a name and transformations"},
		"unknown key":                {"name: p\npostprocessing: []\ntransformations: [{type: drop_detection_item}]", `p.yml:2: unknown key "postprocessing"`},
		"unknown transformation":     {steps("- id: x\n  type: set_state"), `p.yml:4: unknown transformation "set_state"`},
		"no type":                    {steps("- {id: x}"), `p.yml:3: unknown transformation ""`},
		"unknown key of a step":      {steps("- {type: field_name_prefix, prefix: a,\n   prefixes: b}"), `p.yml:4: unknown key "prefixes"`},
		"missing":                    {steps("- {type: field_name_prefix}"), "p.yml:3: prefix is missing"},
		"unknown rule condition":     {steps("- type: drop_detection_item\n  rule_conditions:\n  - {type: moon}"), `p.yml:5: unknown condition "moon" in rule_conditions`},
		"unknown name condition":     {steps("- {type: drop_detection_item, field_name_conditions: [{type: logsource}]}"), `unknown condition "logsource" in field_name_conditions`},
		"unknown item condition":     {steps("- {type: drop_detection_item, detection_item_conditions: [{type: tag}]}"), `unknown condition "tag" in detection_item_conditions`},
		"expression of conditions":   {steps("- {type: drop_detection_item, rule_cond_expression: a and b}"), `unknown key "rule_cond_expression"`},
		"bad operator":               {steps("- {type: drop_detection_item, rule_cond_op: xor}"), "rule_cond_op must be one of [and or]"},
		"bad regex":                  {steps("- {type: replace_string, regex: '(', replacement: x}"), "p.yml:3: error parsing regexp"},
		"bad attribute":              {steps("- {type: drop_detection_item, rule_conditions: [{type: rule_attribute, attribute: mood, value: x}]}"), `unknown rule attribute "mood"`},
		"a name for nothing":         {steps("- {type: field_name_mapping, mapping: {F: []}}"), "F stands for nothing"},
		"twice":                      {steps("- {type: field_name_mapping, mapping: {F: a, F: b}}"), `the key "F" stands twice`},
		"no log source":              {steps("- {type: change_logsource}"), "names neither product"},
		"a map for a value":          {steps("- {type: add_condition, conditions: {F: {a: b}}}"), "a value must be text"},
		"two documents":              {"name: p\n---\nname: q", "a file holds one pipeline"},
		"a number that is no number": {"name: p\npriority: high\ntransformations: [{type: drop_detection_item}]", "p.yml:2: priority must be a number"},
		"a list that holds itself":   {steps("- &a [*a]"), "a map is expected here"},
	} {
		_, err := Parse("p.yml", []byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

func TestPrioritiesGiveTheOrder(t *testing.T) {
	var list []*Pipeline
	for _, text := range []string{"name: b\npriority: 20\n", "name: c\npriority: 20\n", "name: a\npriority: -5\n"} {
		list = append(list, mustParse(t, text+"transformations: [{type: drop_detection_item}]"))
	}
	Sort(list)
	if got := list[0].Name + list[1].Name + list[2].Name; got != "abc" {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	files, err := builtin.ReadDir("builtin")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := builtin.ReadFile("builtin/" + file.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(steps("- {type: field_name_mapping, mapping: &a {F: *a}}")))
	f.Add([]byte(steps("- {type: replace_string, regex: '(a|b)', replacement: '\\1*', skip_special: true}\n- {type: drop_detection_item, detection_item_conditions: [{type: is_null}]}")))
	rule := []byte(ruleText("{product: windows, category: process_creation}", "s: [{F|expand|contains: ['%a%', 'b*'], G|neq: [null, 1]}, {H|fieldref: F}, word]\ncondition: s"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("p.yml", data)
		if err != nil {
			return
		}
		l := sigma.Load([]sigma.File{{Name: "r.yml", Data: rule}}, sigma.Options{Transforms: []sigma.Transform{p.Transform}, Workers: 1})
		if len(l.Rules)+len(l.Rejected) != 1 {
			t.Errorf("%d rules, %v", len(l.Rules), l.Rejected)
		}
	})
}
