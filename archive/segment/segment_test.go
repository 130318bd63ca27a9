package segment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

func noon() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }

// batchOf makes n events of several kinds and hosts around midnight UTC.
func batchOf(number, n int) event.Batch {
	dice := rand.New(rand.NewPCG(uint64(number), 11))
	b := event.Batch{ID: fmt.Sprintf("ba-%06x", number), Site: "si-1", Host: fmt.Sprintf("ho-%d", number%7)}
	for i := range n {
		e := event.Event{ID: idOf(b.ID, int32(i)), Site: b.Site, Host: b.Host, Kind: []event.Kind{event.KindLog, event.KindFlow, event.KindProcess}[dice.IntN(3)]}
		e.Time = time.Date(2026, 11, 21, 23, 30, 0, 0, time.UTC).Add(time.Duration(dice.Int64N(int64(time.Hour))))
		e.Raw = fmt.Sprintf("Nov 22 host app[%d]: session %x opened for 患者 %d", dice.IntN(60000), dice.Uint64(), dice.IntN(1000))
		e.Fields = map[string]string{event.FieldUser: fmt.Sprintf("u%d", dice.IntN(50)), event.FieldSrcIP: fmt.Sprintf("10.0.%d.%d", dice.IntN(4), dice.IntN(250)),
			event.FieldSrcPort: fmt.Sprint(dice.IntN(60000)), event.FieldSent: fmt.Sprint(dice.IntN(1 << 30)), "Zone": "z", "Alpha": fmt.Sprint(dice.IntN(9))}
		if i%13 == 0 {
			e.Fields = nil
		}
		b.Events = append(b.Events, e)
	}
	return b
}

// odd are events that are easily lost or changed.
func odd() event.Batch {
	return event.Batch{ID: "ba-odd", Site: "si-1", Host: "ho-odd", Events: []event.Event{
		{ID: "ba-odd-0", Time: noon(), Site: "si-1", Host: "ho-odd", Kind: event.KindLog},
		{ID: "own id", Time: noon().Add(-time.Nanosecond), Site: "si-2", Host: "ho-odd", Kind: event.KindLog, Raw: "a\x00b 患者ID 「七」\n\t'\"\\", Drill: true},
		{ID: "ba-odd-01", Time: noon().Add(-2), Site: "si-1", Host: "ho-2", Kind: event.KindFlow, Fields: map[string]string{
			event.FieldSent: "0", event.FieldReceived: "007", event.FieldSrcPort: "70000", event.FieldDstPort: "-1", event.FieldUser: "", "": "no name", "x": "",
			event.FieldImage: `C:\Windows\explorer.exe`, "言葉": "値"}},
		{ID: "ba-odd-+3", Time: noon().Add(-3), Site: "si-1", Host: "ho-odd", Kind: event.KindFlow, Fields: map[string]string{
			event.FieldSrcPort: "99999999999", event.FieldDstPort: "65535", event.FieldSent: "9223372036854775807", event.FieldReceived: "9223372036854775808"}},
		{ID: "", Time: time.Date(1969, 7, 20, 20, 17, 0, 5, time.UTC), Site: "si-1", Host: "ho-odd", Kind: "other", Product: "p", Category: "c", Service: "s"},
	}}
}

func written(t testing.TB, dir string, origin int64, batches ...event.Batch) Facts {
	t.Helper()
	n := 0
	for _, b := range batches {
		n += len(b.Events)
	}
	rows := make([]Row, 0, n)
	for _, b := range batches {
		rows = append(rows, Rows(b, noon())...)
	}
	f, err := Write(filepath.Join(dir, fmt.Sprintf("%012d.parquet", origin)), rows, origin)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// all reads the events of some segments, by id.
func all(t testing.TB, facts ...Facts) map[string]event.Event {
	t.Helper()
	found := map[string]event.Event{}
	for _, f := range facts {
		var last *Row
		err := Read(t.Context(), f.Path, func(rows []Row) error {
			for i := range rows {
				if last != nil && compare(last, &rows[i]) > 0 {
					t.Errorf("%s: rows out of order", f.Path)
				}
				row := rows[i]
				last = &row
				e := rows[i].Event()
				if _, twice := found[e.ID]; twice {
					t.Errorf("%s is there twice", e.ID)
				}
				found[e.ID] = e
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func byID(batches ...event.Batch) map[string]event.Event {
	m := map[string]event.Event{}
	for _, b := range batches {
		for i, e := range b.Events {
			if e.ID == "" {
				e.ID = idOf(b.ID, int32(i))
			}
			m[e.ID] = e
		}
	}
	return m
}

func TestEventsComeBackAsTheyWere(t *testing.T) {
	usual, strange := batchOf(1, 3000), odd()
	f := written(t, t.TempDir(), 5, usual, strange)
	if diff := cmp.Diff(byID(usual, strange), all(t, f)); diff != "" {
		t.Error(diff)
	}
	if f.Rows != 3005 || !slices.Equal(f.Sites, []string{"si-1", "si-2"}) || !slices.Equal(f.Hosts, []string{"ho-1", "ho-2", "ho-odd"}) ||
		!slices.Equal(f.Kinds, []string{"flow", "log", "other", "process"}) || f.From.Year() != 1969 || !f.To.Equal(noon()) {
		t.Errorf("facts: %+v", f)
	}
	info, err := os.Stat(f.Path)
	if err != nil || info.Size() != f.Bytes || digest(t, f.Path) != f.SHA256 || digest(t, f.Sketch.Path) != f.Sketch.SHA256 {
		t.Errorf("file %v %v, facts %+v", info, err, f)
	}
}

func TestBrokenTextAndTime(t *testing.T) {
	b := event.Batch{ID: "ba-\xff", Events: []event.Event{{ID: "i\xff", Kind: "k", Host: "h\xff", Raw: "a\xffb",
		Fields: map[string]string{"f\xff": "v\xff", "f\xfe": "a", event.FieldUser: "\xff"}}, {Time: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}}
	f := written(t, t.TempDir(), 0, b)
	got := all(t, f)
	e := got["i\uFFFD"]
	if e.Host != "h\uFFFD" || e.Raw != "a\uFFFDb" || !maps.Equal(e.Fields, map[string]string{"f\uFFFD": "a", "User": "\uFFFD"}) || e.Time.Year() != 1677 {
		t.Errorf("got %+v", e)
	}
	if last := got["ba-\uFFFD-1"]; last.Time.Year() != 2262 {
		t.Errorf("got %+v", got)
	}
}

// merged merges segments into dir.
func merged(t testing.TB, dir string, first int64, limits Limits, in ...Facts) []Facts {
	t.Helper()
	var paths []string
	for _, f := range in {
		paths = append(paths, f.Path)
	}
	out, err := Merge(t.Context(), paths, func(Partition) string {
		first++
		return filepath.Join(dir, fmt.Sprintf("%012d.parquet", first-1))
	}, limits)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sums adds up what the facts say of origins.
func sums(facts ...Facts) map[int64]string {
	total := map[int64]*Sum{}
	for _, f := range facts {
		for i := range f.Origins {
			o := &f.Origins[i]
			if total[o.Number] == nil {
				total[o.Number] = &Sum{}
			}
			total[o.Number].Add(&o.Sum)
		}
	}
	return digests(total)
}

func digests(sums map[int64]*Sum) map[int64]string {
	all := map[int64]string{}
	for n, s := range sums {
		all[n] = fmt.Sprint(s.Rows, " ", s.Digest())
	}
	return all
}

func TestMergingChangesNothing(t *testing.T) {
	dir := t.TempDir()
	var fresh []Facts
	var batches []event.Batch
	for n := range 5 {
		some := []event.Batch{batchOf(10*n, 700), batchOf(10*n+1, 900), batchOf(10*n+2, 1)}
		fresh, batches = append(fresh, written(t, dir, int64(n), some...)), append(batches, some...)
	}
	batches = append(batches, odd())
	fresh = append(fresh, written(t, dir, 5, odd()))
	once := merged(t, dir, 100, Limits{Rows: 1000}, fresh...)
	twice := merged(t, dir, 200, Limits{}, once...)
	for name, facts := range map[string][]Facts{"once": once, "twice": twice} {
		if diff := cmp.Diff(byID(batches...), all(t, facts...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(sums(fresh...), sums(facts...)); diff != "" {
			t.Errorf("%s: sums\n%s", name, diff)
		}
		total := map[int64]*Sum{}
		for _, f := range facts {
			if len(f.Kinds) != 1 || f.From.Format(time.DateOnly) != f.To.Format(time.DateOnly) {
				t.Errorf("%s: more than one partition in %s: %v %v %v", name, f.Path, f.Kinds, f.From, f.To)
			}
			part, err := Content(t.Context(), f.Path)
			if err != nil {
				t.Fatal(err)
			}
			for n, s := range part {
				if total[n] == nil {
					total[n] = &Sum{}
				}
				total[n].Add(s)
			}
		}
		if diff := cmp.Diff(sums(fresh...), digests(total)); diff != "" {
			t.Errorf("%s: sums of the files\n%s", name, diff)
		}
	}
	if len(twice) != 10 { // log, flow, process on two days, and the odd ones: two kinds on their day, one in 1969
		t.Logf("%d files after the second merge", len(twice))
	}
}

func TestASumTellsEveryChange(t *testing.T) {
	rows := Rows(batchOf(1, 50), noon())
	var m summer
	sum := func(rows []Row) string {
		var s Sum
		for i := range rows {
			if err := m.add(&s, &rows[i]); err != nil {
				t.Fatal(err)
			}
		}
		return s.Digest()
	}
	want := sum(rows)
	shuffled := slices.Clone(rows)
	slices.Reverse(shuffled)
	if sum(shuffled) != want {
		t.Error("the order matters")
	}
	if sum(rows[1:]) == want || sum(append(slices.Clone(rows), rows[0])) == want {
		t.Error("a missing or additional event does not matter")
	}
	for name, change := range map[string]func(*Row){
		"time": func(r *Row) { r.Time++ }, "ingested": func(r *Row) { r.Ingested++ }, "row": func(r *Row) { r.Row++ }, "drill": func(r *Row) { r.Drill = true },
		"id": func(r *Row) { r.ID = "x" }, "raw": func(r *Row) { r.Raw += " " }, "field": func(r *Row) { r.Fields = nil }, "port": func(r *Row) { r.SrcPort++ },
		"moved": func(r *Row) { r.Site, r.Host = r.Host, r.Site }, "user": func(r *Row) { r.User = "" },
	} {
		other := slices.Clone(rows)
		change(&other[20])
		if sum(other) == want {
			t.Errorf("%s does not matter", name)
		}
	}
}

func TestACancelledMergeLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	in := written(t, dir, 1, batchOf(1, 5000))
	before := files(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	n := 10
	_, err := Merge(ctx, []string{in.Path}, func(Partition) string {
		if n++; n == 13 {
			cancel()
		}
		return filepath.Join(dir, fmt.Sprintf("%012d.parquet", n))
	}, Limits{Rows: 300})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Error(diff)
	}
	_, err = Merge(t.Context(), []string{in.Path, filepath.Join(dir, "000000000009.parquet")}, func(Partition) string { return "" }, Limits{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestNumberAndSketchPath(t *testing.T) {
	for path, want := range map[string]int64{"a/000000000042.parquet": 42, "7.parquet.tmp": 7, "x": -1, "": -1, "9223372036854775807.parquet": -1} {
		n, ok := Number(path)
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d %v", path, n, ok)
		}
	}
	for path, want := range map[string]string{"a.parquet/7.parquet": "a.parquet/7.sketch", "7.parquet.tmp": "7.sketch.tmp", "a/7": "a/7.sketch"} {
		if got := SketchPath(path); got != want {
			t.Errorf("%q: %q", path, got)
		}
	}
}

func digest(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
