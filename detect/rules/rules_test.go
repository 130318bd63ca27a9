package rules_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack/box"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func load(t testing.TB) *detect.Engine {
	t.Helper()
	e, rep, err := detect.Load(rules.FS)
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatalf("load: %v, rejected %v", err, rep.Rejected)
	}
	return e
}

// file is a rule file of the pack with what stands in it.
type file struct {
	stem  string // the name without .yml: also of its folder in testdata
	rules []rule
}

// rule is a rule or a correlation.
type rule struct {
	sigma.Meta
	over *sigma.Correlation // nil for a rule
	part bool               // nobody sees it: it serves correlations only
}

// pack reads every rule file, by name.
func pack(t *testing.T) []file {
	t.Helper()
	names, err := fs.Glob(rules.FS, "*.yml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	parts := map[string]bool{}
	var out []file
	for _, name := range names {
		data, err := fs.ReadFile(rules.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		f := file{stem: strings.TrimSuffix(name, ".yml")}
		content := sigma.Read(name, data)
		for _, d := range content.Drafts {
			f.rules = append(f.rules, rule{Meta: d.Meta})
		}
		for _, c := range content.Correlations {
			f.rules = append(f.rules, rule{Meta: c.Meta, over: c})
			for _, ref := range c.Refs {
				parts[ref] = !c.Generate
			}
		}
		slices.SortFunc(f.rules, func(a, b rule) int { return a.Line - b.Line })
		out = append(out, f)
	}
	for _, f := range out {
		for i, r := range f.rules {
			f.rules[i].part = parts[r.Name]
		}
	}
	return out
}

// found is a finding without the texts of its rule.
type found struct {
	ID     string         `json:"id"`
	Rule   string         `json:"rule"`
	Level  event.Severity `json:"level"`
	Time   time.Time      `json:"time"`
	Host   string         `json:"host"`
	Drill  bool           `json:"drill,omitempty"`
	Events []string       `json:"events"`
}

// near begins the id of an event that looks like what a rule is about and must
// raise none of the rules of its file.
const near = "near-"

// TestGolden matches the events of testdata/FILE/events.json with the whole
// pack: the findings are reviewed when they change. The events must show each
// rule of the file, and hold a near miss for each.
func TestGolden(t *testing.T) {
	for _, f := range pack(t) {
		t.Run(f.stem, func(t *testing.T) {
			dir := filepath.Join("testdata", f.stem)
			text, err := os.ReadFile(filepath.Join(dir, "events.json"))
			if err != nil {
				t.Fatalf("every rule needs events that show it: %v", err)
			}
			b := event.Batch{ID: "b1"}
			if err := json.Unmarshal(text, &b.Events); err != nil {
				t.Fatal(err)
			}
			all, hits := findings(load(t), b)
			for _, r := range f.rules {
				if r.part {
					continue
				}
				if len(hits[r.ID]) == 0 {
					t.Errorf("nothing shows rule %s %s", r.ID, r.Name)
				}
				if !slices.ContainsFunc(b.Events, func(e event.Event) bool { return strings.HasPrefix(e.ID, near) && r.about(e) }) {
					t.Errorf("no near miss for rule %s %s", r.ID, r.Name)
				}
				for _, id := range hits[r.ID] {
					if strings.HasPrefix(id, near) {
						t.Errorf("the near miss %s raises %s %s", id, r.ID, r.Name)
					}
				}
			}
			golden(t, filepath.Join(dir, "findings.golden.json"), all)
		})
	}
}

// findings matches a batch and returns what was found, and the events of each
// rule.
func findings(e *detect.Engine, b event.Batch) ([]found, map[string][]string) {
	all, hits := []found{}, map[string][]string{}
	for _, f := range e.Match(b) {
		g := found{ID: f.ID, Rule: f.Rule.ID, Level: f.Rule.Level, Time: f.Time, Host: f.Host, Drill: f.Drill}
		for _, e := range f.Events {
			g.Events = append(g.Events, e.ID)
		}
		all = append(all, g)
		hits[g.Rule] = append(hits[g.Rule], g.Events...)
	}
	return all, hits
}

// about tells whether a rule looks at an event; correlations look at any.
func (r rule) about(e event.Event) bool {
	fit := func(want, got string) bool { return want == "" || want == got }
	l := r.Logsource
	return fit(l.Product, e.Product) && fit(l.Category, e.Category) && fit(l.Service, e.Service)
}

func golden(t *testing.T, file string, value any) {
	t.Helper()
	got, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	goldenText(t, file, string(got)+"\n")
}

func goldenText(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), -update rewrites it:\n%s", file, diff)
	}
}

func TestEveryRuleAnswersTheThreeQuestions(t *testing.T) {
	for _, r := range load(t).Rules() {
		for name, text := range map[string]detect.Text{"title": r.Title, "what": r.What, "affects": r.Affects, "next": r.Next} {
			for _, lang := range []string{"ja", "en"} {
				if text[lang] == "" {
					t.Errorf("rule %s: no %s in %s", r.ID, name, lang)
				}
			}
		}
		if r.Propose != "isolate" && r.Propose != "preserve" {
			t.Errorf("rule %s proposes %q, which is no action", r.ID, r.Propose)
		}
	}
}

// The pack in the program must be what people review. -update makes it anew.
func TestPackIsMadeOfTheFilesBesideIt(t *testing.T) {
	names, err := filepath.Glob("*.yml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		blob, err := box.Encode(files)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("rules.pack", blob, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	blob, err := os.ReadFile("rules.pack")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := box.Open(blob)
	if err != nil {
		t.Fatal(err)
	}
	got, err := box.Files(tree)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("rules.pack is out of date, `go generate ./detect/rules` makes it anew (-files +pack):\n%s", diff)
	}
	if bytes.Contains(blob, []byte("systemctl")) {
		t.Error("the pack can be read by antivirus")
	}
}

// first are the ids that were given before rules had ids of their own kind.
// Alerts, drills and the ledger of running hubs hold them, so they stay.
var first = []string{"agent-log-tamper", "bittorrent-certain", "login-failures", "p2p-many-peers", "p2p-process"}

var (
	uuid4     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	technique = regexp.MustCompile(`^attack\.t\d{4}(\.\d{3})?$`)
	japanese  = regexp.MustCompile(`\p{Hiragana}|\p{Katakana}|\p{Han}`)
)

// TestEveryRuleIsComplete holds what a rule must say besides the answers.
func TestEveryRuleIsComplete(t *testing.T) {
	ids, names := map[string]string{}, map[string]string{}
	for _, f := range pack(t) {
		for _, r := range f.rules {
			say := func(format string, args ...any) {
				t.Helper()
				t.Errorf("%s, rule %s %s: "+format, append([]any{f.stem, r.ID, r.Name}, args...)...)
			}
			if ids[r.ID] != "" || (r.Name != "" && names[r.Name] != "") {
				say("id or name is taken by %s%s", ids[r.ID], names[r.Name])
			}
			ids[r.ID], names[r.Name] = f.stem, f.stem
			switch {
			case slices.Contains(first, r.ID):
			case !uuid4.MatchString(r.ID):
				say("the id is no UUID of version 4")
			case r.Name == "" || r.Status == "" || r.Description == "" || r.Author == "":
				say("name, status, description and author are needed")
			case len(r.References) == 0 && !r.part:
				say("references to public sources are needed")
			}
			if r.part {
				continue
			}
			for _, l := range r.References {
				if !strings.HasPrefix(l, "https://") {
					say("reference %q", l)
				}
			}
			if !slices.ContainsFunc(r.Tags, technique.MatchString) || len(r.FalsePositives) == 0 {
				say("a technique of ATT&CK and false positives are needed")
			}
			for name, text := range map[string]detect.Text{"title": r.Extra.Title, "what": r.Extra.What, "affects": r.Extra.Affects, "next": r.Extra.Next, "quiet": r.Extra.Quiet} {
				if !japanese.MatchString(text["ja"]) || text["en"] == "" || japanese.MatchString(text["en"]) {
					say("%s is needed in Japanese and English", name)
				}
				if strings.Contains(text["ja"], ". ") && name != "next" {
					say("%s in Japanese holds English sentences", name)
				}
			}
			if !strings.HasPrefix(r.Extra.Next["ja"], "1. ") || !strings.HasPrefix(r.Extra.Next["en"], "1. ") ||
				strings.Count(r.Extra.Next["ja"], "\n") != strings.Count(r.Extra.Next["en"], "\n") {
				say("what to do next is numbered, and has the same steps in both languages")
			}
		}
	}
}
