package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/event"
)

const ruleUsage = `usage: sonae rule test|list|stats [PATH…]

test   load the rules, and match the events in testdata/RULE/events.json beside them
list   name every rule, and those that cannot be used with the reason
stats  count them

PATH is a folder or file of rules (YAML); without any, Sonae's own rules are meant.
Exit status: 0 all is well, 1 a rule cannot be used or its events do not show what they should, 2 unusable arguments.
`

// ruleCommand tells whoever writes rules what becomes of them.
func ruleCommand(_ context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sonae rule", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, ruleUsage) }
	if len(args) == 0 {
		flags.Usage()
		return 2
	}
	does := map[string]func(io.Writer, detect.Report, *detect.Engine, []string) bool{"test": testRules, "list": listRules, "stats": countRules}[args[0]]
	if does == nil {
		fmt.Fprintf(stderr, "sonae rule: there is no %q\n", args[0])
		flags.Usage()
		return 2
	}
	if status, ok := parsed(flags, args[1:]); !ok {
		return status
	}
	engine, report, err := pack.Load(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "sonae rule:", err)
		return 2
	}
	if len(report.Loaded)+len(report.Rejected) == 0 {
		fmt.Fprintln(stderr, "sonae rule: no rules there (files named .yml or .yaml)")
		return 2
	}
	if !does(stdout, report, engine, flags.Args()) || len(report.Rejected) > 0 {
		return 1
	}
	return 0
}

func rejected(out io.Writer, report detect.Report) {
	for _, r := range report.Rejected {
		what := "rejected"
		if r.Unbuilt {
			what = "not supported"
		}
		fmt.Fprintf(out, "%s %s:%d: %s\n", what, r.File, r.Line, r.Reason)
	}
}

func listRules(out io.Writer, report detect.Report, engine *detect.Engine, _ []string) bool {
	levels := map[string]event.Severity{}
	for _, r := range engine.Rules() {
		levels[r.ID] = r.Level
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range report.Loaded {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s:%d\n", l.ID, levels[l.ID], l.Title, l.File, l.Line)
	}
	_ = table.Flush() // the terminal has gone
	rejected(out, report)
	return true
}

func countRules(out io.Writer, report detect.Report, engine *detect.Engine, _ []string) bool {
	levels := map[event.Severity]int{}
	for _, r := range engine.Rules() {
		levels[r.Level]++
	}
	fmt.Fprintf(out, "loaded %d\n", len(report.Loaded))
	for s := event.Critical; s >= event.Info; s-- {
		if levels[s] > 0 {
			fmt.Fprintf(out, "  %s %d\n", s, levels[s])
		}
	}
	unbuilt := 0
	reasons := map[string]int{}
	for _, r := range report.Rejected {
		if r.Unbuilt {
			unbuilt++
		}
		reasons[r.Reason]++
	}
	fmt.Fprintf(out, "rejected %d, of them not supported %d\n", len(report.Rejected), unbuilt)
	names := make([]string, 0, len(reasons))
	for r := range reasons {
		names = append(names, r)
	}
	slices.Sort(names)
	for _, r := range names {
		fmt.Fprintf(out, "  %d %s\n", reasons[r], r)
	}
	return true
}

// testRules matches the events that lie beside the rules, each folder of them
// with all rules loaded anew, because some rules count.
func testRules(out io.Writer, report detect.Report, _ *detect.Engine, paths []string) bool {
	rejected(out, report)
	good, tested := true, 0
	for _, l := range report.Loaded {
		dir := filepath.Join(filepath.Dir(l.File), "testdata", l.ID)
		text, err := os.ReadFile(filepath.Join(dir, "events.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = testRule(l.ID, dir, text, paths)
		}
		tested++
		if err != nil {
			good = false
			fmt.Fprintf(out, "FAIL %s: %v\n", l.ID, err)
			continue
		}
		fmt.Fprintf(out, "ok   %s\n", l.ID)
	}
	fmt.Fprintf(out, "%d rules loaded, %d rejected, %d tested with events\n", len(report.Loaded), len(report.Rejected), tested)
	return good
}

// shown is what a golden file says of a finding, as far as it matters here.
type shown struct {
	Rule   string   `json:"rule"`
	Events []string `json:"events"`
}

func testRule(id, dir string, text []byte, paths []string) error {
	b := event.Batch{ID: "b1"}
	if err := json.Unmarshal(text, &b.Events); err != nil {
		return fmt.Errorf("events.json: %w", err)
	}
	engine, _, err := pack.Load(paths)
	if err != nil {
		return err
	}
	var got []shown
	hits := 0
	for _, f := range engine.Match(b) {
		s := shown{Rule: f.Rule.ID}
		for _, e := range f.Events {
			s.Events = append(s.Events, e.ID)
		}
		got = append(got, s)
		if s.Rule == id {
			hits++
		}
	}
	if hits == 0 {
		return fmt.Errorf("none of %d events shows it", len(b.Events))
	}
	golden, err := os.ReadFile(filepath.Join(dir, "findings.golden.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var want []shown
	if err := json.Unmarshal(golden, &want); err != nil {
		return fmt.Errorf("findings.golden.json: %w", err)
	}
	if !slices.EqualFunc(got, want, func(a, b shown) bool { return a.Rule == b.Rule && slices.Equal(a.Events, b.Events) }) {
		return fmt.Errorf("findings are %v, findings.golden.json says %v", got, want)
	}
	return nil
}
