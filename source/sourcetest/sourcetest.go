// Package sourcetest helps the tests of readers.
//
// In: a reader and bytes. Out: the events as text that a test can compare, and
// the developers' data. Always true: only tests import it.
package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// Event is a record as text, for comparing.
type Event struct {
	Time   string // RFC 3339, empty when there is none
	Host   string
	Number uint64
	Offset int64
	Source string // product/service/category+category
	Fields map[string]string
	Raw    string
}

// Of copies a record. Values of one name are joined by " | ".
func Of(r *event.Record) Event {
	e := Event{Host: r.Host, Number: r.Number, Offset: r.Offset, Fields: map[string]string{}, Raw: string(r.Raw)}
	if !r.Time.IsZero() {
		e.Time = r.Time.Format(time.RFC3339Nano)
	}
	e.Source = r.Product + "/" + r.Service + "/" + strings.Join(r.Categories, "+")
	for i := range r.Pairs {
		text := r.Pairs[i].Text()
		if before, several := e.Fields[string(r.Pairs[i].Name)]; several {
			text = before + " | " + text
		}
		e.Fields[string(r.Pairs[i].Name)] = text
	}
	return e
}

// Read reads all of in, in pieces of several sizes, and wants the same each
// time.
func Read(t testing.TB, read source.Reader, opt source.Options, in string) ([]Event, source.Report) {
	t.Helper()
	events, report := once(t, read, opt, strings.NewReader(in))
	again, report2 := once(t, read, opt, &small{[]byte(in)})
	if len(events) != len(again) || report.Records != report2.Records || report.BadTotal != report2.BadTotal || !slices.Equal(report.Bad, report2.Bad) {
		t.Fatalf("read at once: %d events, %+v; in small pieces: %d events, %+v", len(events), report, len(again), report2)
	}
	for i := range events {
		if events[i].Number != again[i].Number || events[i].Offset != again[i].Offset || len(events[i].Fields) != len(again[i].Fields) {
			t.Fatalf("read at once: %+v; in small pieces: %+v", events[i], again[i])
		}
	}
	if report.Bytes > uint64(len(in))*2 || uint64(len(events)) != report.Records || report.BadTotal < uint64(len(report.Bad)) {
		t.Fatalf("%d events, %d bytes, report %+v", len(events), len(in), report)
	}
	return events, report
}

func once(t testing.TB, read source.Reader, opt source.Options, r io.Reader) ([]Event, source.Report) {
	t.Helper()
	var events []Event
	report, err := read(context.Background(), r, opt, func(r *event.Record) error {
		events = append(events, Of(r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return events, report
}

// small gives seven bytes at a time.
type small struct{ b []byte }

// Read implements io.Reader.
func (s *small) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 7)], s.b)
	s.b = s.b[n:]
	return n, nil
}

// Shared opens a file of the developers' data, which stands beside the project
// and is no part of it; without it the test is skipped.
func Shared(t testing.TB, name string) *os.File {
	t.Helper()
	root := "."
	for range 8 {
		f, err := os.Open(filepath.Join(root, "../shared/data", name))
		if err == nil {
			t.Cleanup(func() { _ = f.Close() }) // only read
			return f
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		root = filepath.Join(root, "..")
	}
	t.Skipf("the developers' data is not here: ../shared/data/%s beside the project", name)
	return nil
}

// Fuzz reads in and wants that the reader ends, counts what it gives, and
// keeps its word about bounds.
func Fuzz(t *testing.T, read source.Reader, opt source.Options, in []byte) {
	t.Helper()
	n := uint64(0)
	report, err := read(context.Background(), bytes.NewReader(in), opt, func(r *event.Record) error {
		n++
		if r.Offset < 0 || r.Number == 0 {
			t.Fatalf("record %d at %d", r.Number, r.Offset)
		}
		for i := range r.Pairs {
			if len(r.Pairs[i].Name) == 0 && len(r.Pairs[i].Value) == 0 {
				continue
			}
			_ = r.Pairs[i].Text()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n != report.Records || len(report.Bad) > source.MaxBad || uint64(len(report.Bad)) > report.BadTotal {
		t.Fatalf("%d records, report %+v", n, report)
	}
}

// Bench reads in again and again and reports events and bytes per second.
func Bench(b *testing.B, read source.Reader, opt source.Options, in []byte) {
	b.Helper()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		report, err := read(context.Background(), bytes.NewReader(in), opt, func(*event.Record) error { return nil })
		if err != nil || report.BadTotal > 0 {
			b.Fatalf("%v, %+v", err, report)
		}
		n += report.Records
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}
