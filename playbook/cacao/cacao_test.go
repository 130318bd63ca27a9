package cacao

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func foreign(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/foreign/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d playbooks of others: %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(f)] = b
	}
	return all
}

// same decodes JSON with its numbers as they are written.
func same(t testing.TB, data []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestForeignPlaybooksLoseNothing(t *testing.T) {
	for name, data := range foreign(t) {
		p, err := Parse(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := Emit(p)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(same(t, data), same(t, out)); diff != "" {
			t.Errorf("%s lost or gained something (-read +written):\n%s", name, diff)
		}
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	data := string(foreign(t)["logic.json"])
	for name, tt := range map[string]struct{ old, new, want string }{
		"type":                   {`"type": "playbook"`, `"type": "book"`, `playbook: type: must be playbook`},
		"spec version":           {`"cacao-2.0"`, `"cacao-1.1"`, `playbook: spec_version: must be cacao-2.0`},
		"id":                     {`"id": "playbook--`, `"id": "playbook-`, `playbook: id: must have the form playbook--UUID`},
		"name":                   {`"All logic"`, `""`, `playbook: name: is required`},
		"time":                   {`"2024-03-01T08:00:00.000Z"`, `"2024-03-01"`, `playbook: created: must be a time in UTC`},
		"modified before":        {`"2024-04-01T08:00:00.123Z"`, `"2024-02-01T08:00:00Z"`, `playbook: modified: must not lie before created`},
		"reference":              {`"on_completion": "end--00000021`, `"on_completion": "end--00000099`, `action--00000020-1111-4222-8333-444455556666: on_completion: leads nowhere`},
		"one branch":             {`"next_steps": [`, `"next_steps": [], "x": [`, `parallel--00000002-1111-4222-8333-444455556666: next_steps: needs at least two`},
		"condition about time":   {`[__done__:value != 'true']`, `[__done__:value != 'true'] WITHIN 5 SECONDS`, `while-condition--00000002-1111-4222-8333-444455556666: condition: character 28: WITHIN is not supported`},
		"undeclared variable":    {`"__kind__:value"`, `"__what__:value"`, `switch-condition--00000002-1111-4222-8333-444455556666: switch: __what__ is declared neither`},
		"wrong kind of value":    {`"next_steps": [`, `"next_steps": 7, "x": [`, `parallel--00000002-1111-4222-8333-444455556666: next_steps: is a JSON number`},
		"both ways on":           {`"switch": "`, `"on_success": "end--00000027-1111-4222-8333-444455556666", "switch": "`, `switch-condition--00000002-1111-4222-8333-444455556666: on_completion: must not stand beside`},
		"no agent":               {`"agent": "individual--`, `"agent": "individual--0`, `agent: is not among the agent_definitions`},
		"a property twice":       {`"spec_version"`, `"type": "playbook", "spec_version"`, `property "type" stands twice`},
		"back to an action step": {`"on_completion": "end--00000025`, `"on_completion": "action--00000023`, `goes back to action--00000023`},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(data, tt.old) {
				t.Fatalf("the playbook has no %s", tt.old)
			}
			_, err := Parse([]byte(strings.Replace(data, tt.old, tt.new, 1)))
			found, ok := err.(Problems)
			if !ok {
				t.Fatalf("the error is %v", err)
			}
			var all []string
			for _, p := range found {
				all = append(all, p.String())
			}
			if got := strings.Join(all, "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("problems:\n%s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	values := map[string]string{"__n__:value": "9", "__s__:value": "it's", "__ip__:value": "192.0.2.7", "incident:severity": "high", "__b__:value": "true"}
	look := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	for text, want := range map[string]string{
		`__n__:value = 9`:                               "true",
		`__n__:value > 10`:                              "false",
		`__n__:value >= '09.0'`:                         "true",
		`__s__:value = 'it\'s'`:                         "true",
		`__s__:value LIKE 'i%s'`:                        "true",
		`__s__:value NOT LIKE 'x_'`:                     "true",
		`__ip__:value ISSUBSET '192.0.2.0/24'`:          "true",
		`incident:severity IN ('high', 'critical')`:     "true",
		`NOT (__b__:value = true) OR __n__:value <> 9`:  "false",
		`[__b__:value = true] AND [__n__:value < 10]`:   "true",
		`__none__:value = 1`:                            "unset",
		`__none__:value = 1 OR __b__:value = true`:      "true",
		`__none__:value = 1 AND __b__:value = false`:    "false",
		`NOT __none__:value = 1`:                        "unset",
		`__n__:value =`:                                 "error",
		`'a' = 'a'`:                                     "error",
		`__s__:value MATCHES '.*'`:                      "error",
		`__s__:value = 'open`:                           "error",
		`__n__:value = 9 FOLLOWEDBY __b__:value = true`: "error",
		strings.Repeat("(", 50) + "__n__:value = 1":     "error",
		`__ip__:value ISSUBSET 'here'`:                  "error",
		`[__n__:value = 9] REPEATS 2 TIMES`:             "error",
		`file:hashes[0].value = 'x'`:                    "error",
	} {
		got := "error"
		if c, err := ParseCondition(text); err == nil {
			is, err := c.Eval(look)
			got = map[bool]string{true: "true", false: "false"}[is]
			if err != nil {
				got = "unset"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzParse: what is accepted can be written, is accepted again, and says the
// same; conditions come to an end.
func FuzzParse(f *testing.F) {
	for _, data := range foreign(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		out, err := Emit(p)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(same(t, data), same(t, out)); diff != "" {
			t.Fatalf("lost or gained (-read +written):\n%s", diff)
		}
		if _, err := Parse(out); err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
	})
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"__a__:value = 'x' AND NOT (b:c IN (1, 2) OR d:e LIKE '%')", "[a:b ISSUBSET '10.0.0.0/8']"} {
		f.Add(s, "value")
	}
	f.Fuzz(func(_ *testing.T, text, value string) {
		if c, err := ParseCondition(text); err == nil {
			c.Names()
			_, _ = c.Eval(func(string) (string, bool) { return value, true }) // must not panic
		}
	})
}
