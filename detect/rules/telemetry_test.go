package rules_test

import (
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/jsonl"
)

// shared opens a file of the developers' data set, which stands beside the
// project and is not part of it.
func shared(t *testing.T, name string) *os.File {
	t.Helper()
	for _, root := range []string{"../..", "../../..", "../../../.."} {
		f, err := os.Open(filepath.Join(root, "../shared/data/detect", name))
		if err == nil {
			t.Cleanup(func() { _ = f.Close() })
			return f
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Skipf("the developers' data set is not here: ../shared/data/detect/%s beside the project", name)
	return nil
}

// onTelemetry is what a rule says about 18,197 events of Windows machines, some
// under simulated attack and most at rest.
type onTelemetry struct {
	Level    event.Severity `json:"level"`
	Findings int            `json:"findings"`
	// Of the level high and above every event is listed, by line and by what
	// it was about, so that a false one is seen in review.
	Events []string `json:"events,omitempty"`
}

// TestPackOnTelemetry keeps what the pack finds in public telemetry (OTRF
// Security-Datasets). A finding that is new here is either an attack that was
// simulated there, or noise that a hospital would suffer from.
func TestPackOnTelemetry(t *testing.T) {
	z, err := gzip.NewReader(shared(t, "otrf-windows.ndjson.gz"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, f := range pack(t) {
		for _, r := range f.rules {
			names[r.ID] = r.Name
			if r.Name == "" {
				names[r.ID] = r.ID
			}
		}
	}
	engine, got, told := load(t), map[string]*onTelemetry{}, map[string]bool{}
	report, err := jsonl.Read(t.Context(), z, source.Options{}, func(r *event.Record) error {
		e := r.Event("line " + strconv.FormatUint(r.Number, 10))
		for _, category := range append([]string{""}, r.Categories...) {
			if e.Category = category; category == "" && len(r.Categories) > 0 {
				continue
			}
			for _, f := range engine.Match(event.Batch{Events: []event.Event{e}}) {
				if !told[f.ID] { // a rule without a category sees an event in each of its own
					told[f.ID] = true
					note(got, names[f.Rule.ID], f)
				}
			}
		}
		return nil
	})
	if err != nil || report.BadTotal > 0 || report.Records != 18197 {
		t.Fatalf("read %d events, %d damaged: %v", report.Records, report.BadTotal, err)
	}
	golden(t, filepath.Join("testdata", "telemetry.golden.json"), got)
}

func note(got map[string]*onTelemetry, name string, f detect.Finding) {
	g := got[name]
	if g == nil {
		g = &onTelemetry{Level: f.Rule.Level}
		got[name] = g
	}
	g.Findings++
	if f.Rule.Level < event.High {
		return
	}
	e := f.Events[len(f.Events)-1]
	about := e.ID
	for _, field := range []string{"CommandLine", "SourceImage", "TargetFilename", "ServiceName", "EventID"} {
		if v := e.Fields[field]; v != "" {
			about += ": " + v
			break
		}
	}
	g.Events = append(g.Events, about)
}
