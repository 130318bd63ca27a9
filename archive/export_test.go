package archive

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

func exported(t testing.TB, a *Archive, s Search, format string) (text string, rows int64) {
	t.Helper()
	var b bytes.Buffer
	rows, err := a.Export(t.Context(), s, format, &b)
	if err != nil {
		t.Fatalf("export %s: %v", format, err)
	}
	return b.String(), rows
}

func TestExport(t *testing.T) {
	a := open(t, t.TempDir())
	for n := range 4 {
		appended(t, a, batchOf(n, 100))
	}
	appended(t, a, strange())
	want, _ := searched(t, a, Search{Limit: MaxFound})

	text, rows := exported(t, a, Search{}, FormatJSONL)
	var got []event.Event
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var e event.Event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if diff := cmp.Diff(want, got); diff != "" || rows != int64(len(want)) || strings.Count(text, "\n") != len(want) {
		t.Errorf("jsonl: %d rows\n%s", rows, diff)
	}

	text, rows = exported(t, a, Search{}, FormatCSVBOM)
	text, mark := strings.CutPrefix(text, "\uFEFF")
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || !mark || len(records) != len(want)+1 || rows != int64(len(want)) {
		t.Fatalf("csv: %v, mark %v, %d records, %d rows", err, mark, len(records), rows)
	}
	raw := slices.Index(records[0], "raw")
	for i, e := range want {
		if strings.TrimPrefix(records[i+1][raw], "'") != strings.ReplaceAll(e.Raw, "\r\n", "\n") {
			t.Errorf("csv row %d: %q, want %q", i, records[i+1][raw], e.Raw)
		}
	}

	text, rows = exported(t, a, Search{Query: "kind:flow | limit 7"}, FormatParquet)
	path := filepath.Join(a.dir, tailName, "export.parquet")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var n int64
	if err := a.db.QueryRowContext(t.Context(), "SELECT count(*) FROM read_parquet("+literal(path)+") WHERE kind = 'flow' AND source_ip <> ''").Scan(&n); err != nil || n != 7 || rows != 7 {
		t.Errorf("parquet: %d of %d rows, %v", n, rows, err)
	}
	if left, _ := filepath.Glob(filepath.Join(a.dir, tailName, "export-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	text, _ = exported(t, a, Search{Query: "| count by kind"}, FormatCSV)
	if !strings.HasPrefix(text, "kind,count\r\nflow,") {
		t.Errorf("table: %s", text)
	}
	for _, s := range []struct{ query, format string }{{"| count", FormatJSONL}, {"", "xlsx"}, {"(", FormatCSV}} {
		if _, err := a.Export(t.Context(), Search{Query: s.query}, s.format, discard{}); fault.Of(err) != fault.Invalid {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestCellsAreHarmless(t *testing.T) {
	for in, want := range map[string]string{"": "", "a=b": "a=b", "=1+1": "'=1+1", "+1": "'+1", "-cmd": "'-cmd", "@x": "'@x", "\tx": "'\tx", " =x": "' =x", "＝x": "'＝x", "　＠x": "'　＠x", "'=x": "'=x"} {
		if got := harmless(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestEventsStream(t *testing.T) {
	a := open(t, t.TempDir())
	for n := range 5 {
		appended(t, a, batchOf(n*400, 500))
	}
	want, _ := searched(t, a, Search{Query: "kind:flow", Limit: MaxFound})
	var got []event.Event
	if err := a.Events(t.Context(), Search{Query: "kind:flow"}, func(e event.Event) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = nil
	if err := a.Events(t.Context(), Search{Query: "kind:flow", Limit: 700, From: noon().Add(400 * time.Second)}, func(e event.Event) error { got = append(got, e); return nil }); err != nil || len(got) != 700 {
		t.Errorf("%d events, %v", len(got), err)
	}
}

func TestHistogramFieldAndSuggestions(t *testing.T) {
	a := open(t, t.TempDir())
	for n := range 5 {
		appended(t, a, batchOf(n*60, 100)) // one a minute
	}
	bars, err := a.Histogram(t.Context(), Search{Query: "kind:* | count", From: noon(), To: noon().Add(5 * time.Minute)}, 5)
	if err != nil || len(bars) != 5 {
		t.Fatalf("%v %v", bars, err)
	}
	for i, b := range bars {
		if b.Count != 100 || b.Width != time.Minute || !b.From.Equal(noon().Add(time.Duration(i)*time.Minute)) {
			t.Errorf("bar %d: %+v", i, b)
		}
	}
	if bars, err = a.Histogram(t.Context(), Search{Query: "zqjxyz"}, 3); err != nil || len(bars) != 3 || bars[0].Count+bars[1].Count+bars[2].Count != 0 {
		t.Errorf("nothing: %v %v", bars, err)
	}
	if _, err := a.Histogram(t.Context(), Search{}, 0); fault.Of(err) != fault.Invalid {
		t.Errorf("no bars: %v", err)
	}
	all, _ := searched(t, a, Search{Limit: MaxFound})
	ports, sum, n := map[string]int64{}, int64(0), int64(0)
	for _, e := range all {
		if p := e.Fields[event.FieldDstPort]; p != "" {
			ports[p]++
			n++
		}
	}
	st, err := a.Field(t.Context(), Search{}, "DestinationPort", 2)
	if err != nil || st.Field != "destination_port" || st.Present != n || st.Distinct != int64(len(ports)) || len(st.Top) != 2 || st.Min != "53" || st.Max != "51413" || st.Average == "" {
		t.Errorf("port: %+v %v", st, err)
	}
	for _, v := range st.Top {
		if sum += v.Count; ports[v.Text] != v.Count {
			t.Errorf("port %s: %d, want %d", v.Text, v.Count, ports[v.Text])
		}
	}
	if st, err = a.Field(t.Context(), Search{Query: "kind:health"}, "Memory", 5); err != nil || st.Distinct != 1 || st.Top[0].Text != "0.412" {
		t.Errorf("memory: %+v %v", st, err)
	}
	got, err := a.Suggest(t.Context(), "process", "/USR/bin/b", nil, 5)
	if err != nil || !slices.Equal(got, []string{"/usr/bin/bash"}) {
		t.Errorf("suggested %v %v", got, err)
	}
}

// TestParts looks at what arrives on the way.
func TestParts(t *testing.T) {
	a := open(t, t.TempDir())
	for n := range 6 {
		appended(t, a, batchOf(n*7200, 200))
	}
	a.tables = tableLimits{atOnce: 0, part: 300, kept: 1 << 20}
	var tables, done int
	var last int64
	err := a.Search(t.Context(), Search{Query: "| stats count, distinct(src) by kind"}, func(p Part) error {
		tables++
		if p.Done {
			done++
		}
		if p.Progress.RowsDone < last || p.Progress.Rows != 1200 || p.Progress.Segments != 6 {
			t.Errorf("progress %+v after %d rows", p.Progress, last)
		}
		last = p.Progress.RowsDone
		return nil
	})
	if err != nil || done != 1 || last != 1200 {
		t.Errorf("%d tables, %d done, %d rows: %v", tables, done, last, err)
	}
	a.tables.kept = 3 // too many groups: all at once
	_, part := searched(t, a, Search{Query: "| count by FlowId"})
	if len(part.Table.Rows) < 100 {
		t.Errorf("%d rows", len(part.Table.Rows))
	}
	var back time.Time
	err = a.Search(t.Context(), Search{Query: "kind:log OR kind:flow", Limit: MaxFound}, func(p Part) error {
		for i, e := range p.Events {
			if i > 0 && e.Time.After(p.Events[i-1].Time) || !back.IsZero() && !e.Time.Before(back) {
				t.Errorf("%v after %v was looked at", e.Time, back)
			}
		}
		back = p.Progress.Back
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
