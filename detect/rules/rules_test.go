package rules_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack/box"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func load(t *testing.T) *detect.Engine {
	t.Helper()
	e, rep, err := detect.Load(rules.FS)
	if err != nil || len(rep.Rejected) > 0 {
		t.Fatalf("load: %v, rejected %v", err, rep.Rejected)
	}
	return e
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

// TestGolden matches the events of testdata/RULE/events.json with the whole
// pack: the findings are reviewed when they change.
func TestGolden(t *testing.T) {
	for _, r := range load(t).Rules() {
		t.Run(r.ID, func(t *testing.T) {
			dir := filepath.Join("testdata", r.ID)
			text, err := os.ReadFile(filepath.Join(dir, "events.json"))
			if err != nil {
				t.Fatalf("every rule needs events that show it: %v", err)
			}
			b := event.Batch{ID: "b1"}
			if err := json.Unmarshal(text, &b.Events); err != nil {
				t.Fatal(err)
			}
			hit := false
			all := []found{}
			for _, f := range load(t).Match(b) {
				g := found{ID: f.ID, Rule: f.Rule.ID, Level: f.Rule.Level, Time: f.Time, Host: f.Host, Drill: f.Drill}
				for _, e := range f.Events {
					g.Events = append(g.Events, e.ID)
				}
				all = append(all, g)
				hit = hit || g.Rule == r.ID
			}
			if !hit || len(all) == len(b.Events) {
				t.Errorf("the events must show both what the rule finds and what it leaves alone: %d findings of %d events", len(all), len(b.Events))
			}
			golden(t, filepath.Join(dir, "findings.golden.json"), all)
		})
	}
}

func golden(t *testing.T, file string, value any) {
	t.Helper()
	got, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
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
