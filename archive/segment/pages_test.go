package segment

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

// mergedSegments are merged out of events of realistic shape and strange ones.
func mergedSegments(t testing.TB, events int) []Facts {
	t.Helper()
	dir := t.TempDir()
	var in []string
	g := archivetest.New(archivetest.Options{Seed: 11, Events: events, PerBatch: 500})
	for b := range g.All() {
		in = append(in, written(t, dir, int64(len(in)+1), b, odd()).Path)
	}
	n := 1000
	out, err := Merge(t.Context(), in, func(Partition) string { n++; return filepath.Join(dir, fmt.Sprintf("%d.parquet", n)) }, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func rowsOf(t testing.TB, f Facts) (rows []Row) {
	t.Helper()
	if err := Read(t.Context(), f.Path, func(some []Row) error { rows = append(rows, some...); return nil }); err != nil {
		t.Fatal(err)
	}
	return rows
}

func opened(t testing.TB, path string, pool *Pool) *Pages {
	t.Helper()
	p, err := OpenPages(path, pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestPagesGiveTheRowsThatReadGives(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 1))
	for _, limit := range []int64{1, 64 << 20} {
		pool := NewPool(limit)
		for _, f := range mergedSegments(t, 9000) {
			rows, p := rowsOf(t, f), opened(t, f.Path, pool)
			start := 0
			for g, of := range p.Groups() {
				var lines []int
				for line := range of.Rows {
					if dice.IntN(40) == 0 {
						lines = append(lines, line)
					}
				}
				got, err := p.Rows(g, lines)
				if err != nil {
					t.Fatal(err)
				}
				for i, line := range lines {
					if diff := cmp.Diff(rows[start+line], got[i]); diff != "" {
						t.Fatalf("%s, row %d:\n%s", f.Path, start+line, diff)
					}
				}
				start += of.Rows
			}
			if start != len(rows) {
				t.Errorf("%d rows of %d", start, len(rows))
			}
		}
		if pool.bytes > 2<<20 && limit == 1 {
			t.Errorf("the pool keeps %d bytes", pool.bytes)
		}
	}
}

func TestMarksAreTheRowsThatFulfilATest(t *testing.T) {
	pool := NewPool(8 << 20)
	for _, f := range mergedSegments(t, 5000) {
		rows, p := rowsOf(t, f), opened(t, f.Path, pool)
		for _, name := range []string{"host", "user_name", "raw", "process_command_line", "file_hash", "id", AnyField} {
			for _, part := range []string{"a", "kizuki", "\\", "1", ""} {
				test := func(s string) bool { return strings.Contains(s, part) && s != "" }
				for _, in := range []Blocks{AllBlocks, 1, 0b1010} {
					got, err := p.Mark(0, name, in, test)
					if err != nil {
						t.Fatal(err)
					}
					var want Marks
					for i := range rows[:p.Groups()[0].Rows] {
						if in>>(i/BlockRows)&1 != 0 && rows[i].Holds(name, test) {
							want.Set(i)
						}
					}
					if got != want {
						t.Errorf("%s %q: %d rows, want %d", name, part, got.Count(), want.Count())
					}
				}
			}
		}
	}
}

func TestTimesComeFromTheEnd(t *testing.T) {
	for _, f := range mergedSegments(t, 5000) {
		rows, p := rowsOf(t, f), opened(t, f.Path, NewPool(8<<20))
		var m Marks
		m.MarkAll(AllBlocks, p.Groups()[0].Rows)
		since := rows[len(rows)/2].Time
		var want, got []int
		for i := range slices.Backward(rows) {
			if rows[i].Time >= since {
				want = append(want, i)
			}
		}
		if err := p.Times(0, &m, since, func(line int, at int64) int64 {
			if at != rows[line].Time {
				t.Errorf("row %d: %d, want %d", line, at, rows[line].Time)
			}
			got = append(got, line)
			return since
		}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d rows of %d, %v", len(got), len(want), err)
		}
	}
}

func TestAnOutlineHidesNothingAndLeavesMostOut(t *testing.T) {
	for _, f := range mergedSegments(t, 9000) {
		s, head, err := OpenSketch(f.Sketch.Path, f.Sketch.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		again, err := OpenHead(f.Sketch.Path, f.Sketch.Head, f.Sketch.Bytes)
		if err != nil || head != f.Sketch.Head || !slices.Equal(again.Parts(), s.Parts()) {
			t.Fatalf("opened again: %v", err)
		}
		rows, p := rowsOf(t, f), opened(t, f.Path, NewPool(8<<20))
		o, err := p.Outline(again, 0)
		if err != nil || o == nil {
			t.Fatalf("outline %v: %v", o, err)
		}
		for i := 0; i < p.Groups()[0].Rows; i += 7 {
			e := rows[i].Event()
			for _, text := range append(slices.Collect(valuesOf(e)), e.Raw, e.Host) {
				if o.MayHold(text)>>(i/BlockRows)&1 == 0 {
					t.Fatalf("row %d is hidden from %q", i, text)
				}
			}
		}
		if got := o.MayHold("nowhere-to-be-found"); got.Count() > 1 {
			t.Errorf("an absent text may be in %d blocks", got.Count())
		}
		if f.Sketch.Bytes > 16*f.Rows+4096 {
			t.Errorf("%d bytes for %d events", f.Sketch.Bytes, f.Rows)
		}
	}
}

func valuesOf(e event.Event) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name, v := range e.Fields {
			if h := hotOf(name); (h == nil || h.Text != nil) && !yield(v) {
				return
			}
		}
	}
}

func FuzzOutline(f *testing.F) {
	k := sketcher{fine: true}
	for i := range 600 {
		k.add(&Row{Raw: fmt.Sprintf("Invoke-Mimikatz %d from 203.0.113.77", i)})
	}
	k.end(1, 600)
	f.Add(k.all[0], "mimikatz")
	f.Add(k.all[0][:7], "x")
	f.Fuzz(func(t *testing.T, b []byte, needle string) {
		o, err := parseOutline(b)
		if err != nil {
			return
		}
		if o.Size() > int64(len(b))*32 {
			t.Errorf("%d bytes of memory for %d", o.Size(), len(b))
		}
		o.MayHold(needle)
	})
}

// FuzzPages reads a segment in which a few bytes are changed: it is refused or
// gives something, and does not fall over.
func FuzzPages(f *testing.F) {
	facts := mergedSegments(f, 500)[0]
	whole, err := os.ReadFile(facts.Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(len(whole)-100), []byte{1})
	f.Add(uint32(40), []byte("\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, at uint32, with []byte) {
		b := slices.Clone(whole)
		copy(b[int(at)%len(b):], with)
		path := filepath.Join(t.TempDir(), "1.parquet")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := OpenPages(path, NewPool(1<<20))
		if err != nil {
			return
		}
		defer p.Close()
		for g, of := range p.Groups() {
			m, _ := p.Mark(g, "raw", AllBlocks, func(s string) bool { return strings.Contains(s, "a") })
			_, _ = p.Mark(g, AnyField, AllBlocks, func(s string) bool { return s == "x" })
			_ = p.Times(g, &m, 0, func(int, int64) int64 { return 0 })
			_, _ = p.Rows(g, []int{0, of.Rows / 2, of.Rows - 1})
		}
	})
}

func BenchmarkMark(b *testing.B) {
	f := mergedSegments(b, 40_000)[0]
	p := opened(b, f.Path, NewPool(64<<20))
	for _, name := range []string{"host", "raw"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Mark(0, name, AllBlocks, func(s string) bool { return s == "nobody" }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
