package rules_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/jsonl"
	"github.com/sonae/sonae/source/sniff"
)

// shared opens a file of the developers' data set, which stands beside the
// project and is not part of it.
func shared(t testing.TB, name string) *os.File {
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
	got := map[string]*onTelemetry{}
	report, err := jsonl.Read(t.Context(), z, source.Options{}, matching(t, func(name string, f detect.Finding) { note(got, name, f) }))
	if err != nil || report.BadTotal > 0 || report.Records != 18197 {
		t.Fatalf("read %d events, %d damaged: %v", report.Records, report.BadTotal, err)
	}
	golden(t, filepath.Join("testdata", "telemetry.golden.json"), got)
}

// matching matches what a reader gives with the whole pack, in each of its
// categories as scan does, and tells each finding once, with the rule's name.
func matching(t *testing.T, tell func(name string, f detect.Finding)) func(*event.Record) error {
	t.Helper()
	names := map[string]string{}
	for _, f := range pack(t) {
		for _, r := range f.rules {
			names[r.ID] = r.called()
		}
	}
	engine, told := load(t), map[string]bool{}
	return func(r *event.Record) error {
		e := r.Event("line " + strconv.FormatUint(r.Number, 10))
		categories := r.Categories
		if len(categories) == 0 {
			categories = []string{""}
		}
		for _, e.Category = range categories {
			for _, f := range engine.Match(event.Batch{Events: []event.Event{e}}) {
				if !told[f.ID] { // a rule without a category sees an event in each of its own
					told[f.ID] = true
					tell(names[f.Rule.ID], f)
				}
			}
		}
		return nil
	}
}

// TestPackOnLogs reads logs as machines write them, with the readers that scan
// uses: the rules must fit the names that these give.
func TestPackOnLogs(t *testing.T) {
	logs, err := filepath.Glob("testdata/logs/*.*l*")
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	got := map[string][]string{}
	for _, path := range logs {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		opt := source.Options{Now: time.Date(2026, 4, 2, 0, 0, 0, 0, time.UTC), Host: "sv1"}
		_, report, err := sniff.Read(t.Context(), f, "", opt, matching(t, func(name string, f detect.Finding) {
			got[filepath.Base(path)] = append(got[filepath.Base(path)], f.Events[len(f.Events)-1].ID+": "+name)
		}))
		if err := errors.Join(err, f.Close()); err != nil || report.BadTotal > 0 {
			t.Errorf("%s: %v, damaged %v", path, err, report.Bad)
		}
	}
	golden(t, filepath.Join("testdata", "logs.golden.json"), got)
}

// TestAnOrdinaryDayIsQuiet matches what machines of a hospital do every day.
func TestAnOrdinaryDayIsQuiet(t *testing.T) {
	text, err := os.ReadFile("testdata/ordinary-day/events.json")
	if err != nil {
		t.Fatal(err)
	}
	b := event.Batch{ID: "b1"}
	if err := json.Unmarshal(text, &b.Events); err != nil || len(b.Events) < 200 {
		t.Fatalf("%d events: %v", len(b.Events), err)
	}
	for _, f := range load(t).Match(b) {
		e := f.Events[len(f.Events)-1]
		t.Errorf("%s (%s) for %s: %v", f.Rule.Title["en"], f.Rule.Level, e.ID, e.Fields)
	}
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

// BenchmarkPackOnTelemetry is what the pack costs for one event of Windows.
func BenchmarkPackOnTelemetry(b *testing.B) {
	z, err := gzip.NewReader(shared(b, "otrf-windows.ndjson.gz"))
	if err != nil {
		b.Fatal(err)
	}
	var events []event.Event
	if _, err := jsonl.Read(b.Context(), z, source.Options{}, func(r *event.Record) error {
		events = append(events, r.Event(strconv.FormatUint(r.Number, 10)))
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	engine := load(b)
	b.ResetTimer()
	for i := range b.N {
		engine.Match(event.Batch{Events: events[i%len(events) : i%len(events)+1]})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
