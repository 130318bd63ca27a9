package rule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/event"
)

// test matches the events that lie beside the rules, each folder of them with
// all rules loaded anew, because some rules count.
func (c *call) test() int {
	_, report, ok := c.load()
	if !ok {
		return unusable
	}
	status, tested := c.rejected(report), 0
	for _, l := range report.Loaded {
		dir := filepath.Join(filepath.Dir(l.File), "testdata", l.ID)
		text, err := os.ReadFile(filepath.Join(dir, "events.json"))
		if errors.Is(err, fs.ErrNotExist) || err != nil && !exists(dir) {
			continue
		}
		if err == nil {
			err = testRule(l.ID, dir, text, c.paths)
		}
		tested++
		if err != nil {
			status = bad
			fmt.Fprintf(c.out, "FAIL %s: %v\n", l.ID, err)
			continue
		}
		fmt.Fprintf(c.out, "ok   %s\n", l.ID)
	}
	fmt.Fprintf(c.out, "%d rules loaded, %d rejected, %d tested with events\n", len(report.Loaded), len(report.Rejected), tested)
	return status
}

func exists(p string) bool { _, err := os.Stat(p); return err == nil }

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
