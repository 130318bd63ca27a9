package sigma

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flag"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

var update = flag.Bool("update", false, "write golden files anew")

// explained makes a record of names and values, one after the other.
func explained(raw string, pairs ...string) *event.Record {
	r := &event.Record{Raw: []byte(raw)}
	for i := 0; i+1 < len(pairs); i += 2 {
		r.Add([]byte(pairs[i]), []byte(pairs[i+1]), event.Plain)
	}
	return r
}

func TestExplanationsAreGolden(t *testing.T) {
	files := []File{{"r.yml", []byte(`title: t
id: r
logsource: {product: windows, category: process_creation}
detection:
  selection_img:
    - Image|endswith: ['\cmd.exe', '\powershell.exe']
    - OriginalFileName: PowerShell.EXE
  selection_cli:
    CommandLine|contains|all: [' -enc', 'ÄRZTE']
    ParentImage|neq: 'C:\ok.exe'
  words: [mimikatz, 'f?o']
  filter_main_sys: {User: null}
  condition: all of selection_* and words and not 1 of filter_*
`)}, filterFile("any", "not selection")}
	l := Load(files, Options{})
	if len(l.Rules) != 1 {
		t.Fatal(l.Rejected)
	}
	var got strings.Builder
	for _, rec := range []*event.Record{
		explained("MIMIKATZ", "Image", `C:\Windows\PowerShell.exe`, "CommandLine", `x –ÖÄ ärzte -ENC zz`, "User", "tanaka"),
		explained("", "Image", `C:\a.exe`, "CommandLine", `foo`, "CommandLine", "-enc", "ParentImage", `c:\OK.exe`),
	} {
		b, err := json.MarshalIndent(Explain(l.Rules[0], rec), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		got.Write(append(b, '\n'))
	}
	golden := filepath.Join("testdata", "explain.golden.json")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestExplainMarksWhatMatched(t *testing.T) {
	long := strings.Repeat("あ", 900) + "Needle" + strings.Repeat("い", 900)
	for name, tt := range map[string]struct {
		line string
		rec  *event.Record
		want string // the marked part; "-" where nothing matched
	}{
		"whole":                {"F: abc", explained("", "F", "ABC"), "ABC"},
		"contains":             {"F|contains: b", explained("", "F", "aBc"), "B"},
		"startswith":           {"F|startswith: ab", explained("", "F", "ABc"), "AB"},
		"endswith":             {"F|endswith: bc", explained("", "F", "aBC"), "BC"},
		"beyond ascii":         {"F|contains: ärzte", explained("", "F", "xÄÖÄRZTEy"), "ÄRZTE"},
		"a rune that grows":    {"F|contains: z", explained("", "F", "ȺȺZ"), "Z"}, // Ⱥ has 2 bytes, ⱥ 3
		"broken text":          {"F|contains: z", explained("", "F", "\xff\xc3Z\xff"), "Z"},
		"re":                   {"F|re: 'b+'", explained("", "F", "abbc"), "bb"},
		"cidr":                 {"F|cidr: 10.0.0.0/8", explained("", "F", "10.1.2.3"), "10.1.2.3"},
		"gt":                   {"F|gt: 5", explained("", "F", "7"), "7"},
		"hour":                 {"F|hour: 3", explained("", "F", "2026-01-02T03:00:00Z"), "2026-01-02T03:00:00Z"},
		"fieldref":             {"F|fieldref|endswith: G", explained("", "F", "abC", "G", "BC"), "bC"},
		"a keyword":            {"'|contains': fo", explained("", "X", "a FO b"), "FO"},
		"a keyword in raw":     {"'|contains': fo", explained("a FO b", "X", "y"), "FO"},
		"any of two values":    {"F: b", explained("", "F", "a", "F", "B"), "B"},
		"cased":                {"F|contains|cased: b", explained("", "F", "Bb"), "b"},
		"in a long value":      {"F|contains: needle", explained("", "F", long), "Needle"},
		"no match":             {"F: b", explained("", "F", "a"), "-"},
		"absent":               {"F: b", explained(""), "-"},
		"null":                 {"F: null", explained(""), ""},
		"wildcards inside":     {"F: 'a*c'", explained("", "F", "abc"), "abc"},
		"everything matches *": {"F: '*'", explained("", "F", "abc"), ""},
	} {
		r := parseOne(t, rule("s:\n  "+tt.line+"\ncondition: s"))
		x := Explain(r, tt.rec)
		l := x.Why.Parts[0].Line
		if tt.want == "-" {
			if x.Matched || l.Hit != -1 || l.From != l.To {
				t.Errorf("%s: %+v", name, l)
			}
			continue
		}
		if !x.Matched || l.Hit != 0 || l.Value[l.From:l.To] != tt.want {
			t.Errorf("%s: marks %q, want %q: %+v", name, l.Value[l.From:l.To], tt.want, l)
		}
		if len(l.Value) > maxShown {
			t.Errorf("%s: shows %d bytes", name, len(l.Value))
		}
	}
}

func TestExplanationsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "  - F: 'v%d'\n", i)
	}
	r := parseOne(t, rule("s:\n"+b.String()+"condition: s"))
	x := Explain(r, explained("", "F", "v999"))
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	if !x.Matched || !x.Cut || len(text) > 200_000 {
		t.Errorf("matched %v, cut %v, %d bytes", x.Matched, x.Cut, len(text))
	}
	r = parseOne(t, rule("s: {F: ["+strings.TrimSuffix(strings.Repeat("a,", 500), ",")+", hit]}\ncondition: s"))
	l := Explain(r, explained("", "F", "hit")).Why.Parts[0].Line
	if l.Of != 501 || len(l.Want) != maxWant+1 || l.Want[l.Hit] != "hit" {
		t.Errorf("%+v", l)
	}
}

// TestExplainAgreesWithMatching asks every public rule about real events.
func TestExplainAgreesWithMatching(t *testing.T) {
	rules, _ := corpus(t)
	var events []Event
	telemetry(t, func(line int, e Event) {
		if line%900 == 0 {
			events = append(events, e)
		}
	})
	fired, asked := 0, 0
	for i, r := range rules {
		set := NewSet([]*Rule{r})
		for j, e := range events {
			if (i+j)%every != 0 || (i+j)%5 != 0 { // enough to find a difference
				continue
			}
			e.Source = Source{r.Logsource.Product, []string{r.Logsource.Category}, r.Logsource.Service}
			hit := false
			set.Match(e, func(*Rule) { hit = true })
			var pairs []string
			for k, v := range e.Fields {
				pairs = append(pairs, k, v)
			}
			if got := Explain(r, explained(e.Raw, pairs...)).Matched; got != hit {
				t.Errorf("rule %s on event %d: explained as %v, matched %v", r.ID, j, got, hit)
			}
			if asked++; hit {
				fired++
			}
		}
	}
	t.Logf("%d of %d questions are matches", fired, asked)
}
