package archive

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// fixture writes a closed archive of a few segments.
func fixture(t *testing.T) (dir string, leaves []leaf.Leaf) {
	t.Helper()
	dir = t.TempDir()
	a := open(t, dir)
	for n := range 6 {
		leaves = append(leaves, appended(t, a, batchOf(2*n, 40), batchOf(2*n+1, 40))...)
	}
	closed(t, a)
	return dir, leaves
}

// named returns the files that r names, each once.
func named(r Report) []string {
	var files []string
	for _, d := range r.Differences {
		files = append(files, d.File)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func TestVerifyNamesEveryChange(t *testing.T) {
	dir, leaves := fixture(t)
	r := checked(t, dir, leaves)
	if len(r.Differences)+len(r.Leftovers) > 0 || r.Checked.Segments != 6 || r.Checked.Events != 480 || r.Checked.Files != 13 {
		t.Fatalf("untouched archive: %+v", r)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 3))
	files := filesOf(t, dir)
	for i := range 200 + len(files) {
		file := manifestName
		switch {
		case i >= 200: // each file at least once
			file = files[i-200]
		case i >= 100:
			file = files[dice.IntN(len(files))]
		}
		flip(t, dir, leaves, file, dice)
	}
	good := get(t, dir, manifestName)
	for at, c := range good { // every line end
		if c == '\n' {
			bad := bytes.Clone(good)
			bad[at] ^= byte(1 + dice.IntN(255))
			put(t, dir, manifestName, bad)
			if got := named(checked(t, dir, leaves)); !slices.Contains(got, manifestName) {
				t.Errorf("line end at %d: named %v", at, got)
			}
		}
	}
	put(t, dir, manifestName, good)
	if r := checked(t, dir, leaves); len(r.Differences) > 0 {
		t.Fatalf("restored archive: %+v", r)
	}
}

func flip(t *testing.T, dir string, leaves []leaf.Leaf, file string, dice *rand.Rand) {
	t.Helper()
	good := get(t, dir, file)
	at := dice.IntN(len(good))
	bad := bytes.Clone(good)
	bad[at] ^= byte(1 + dice.IntN(255))
	put(t, dir, file, bad)
	defer put(t, dir, file, good)
	r := checked(t, dir, leaves)
	got := named(r)
	// A changed path in a line names a segment that is not there, so that one
	// is named besides; a segment stands for itself.
	if !slices.Contains(got, file) || file != manifestName && len(got) != 1 {
		t.Errorf("%s, byte %d %#x → %#x: named %v", file, at, good[at], bad[at], got)
	}
}

// TestVerifyNamesAThousandChanges changes a thousand bytes of an archive that
// has everything: fresh and merged segments, sketches, drops, holds, former
// lines, and some of the first release.
func TestVerifyNamesAThousandChanges(t *testing.T) {
	dir, b, at := t.TempDir(), &books{}, noon()
	a := later(t, dir, b, &at)
	for n := range 16 {
		batch := batchOf(n, 20)
		if n%2 == 0 {
			batch.Events[3].Kind = event.KindHealth
			batch.Events[3].Time = noon().AddDate(0, 0, -n/6)
		}
		b.add(appended(t, a, batch))
		maintained(t, a)
	}
	at = noon().AddDate(0, 0, 92) // drops health
	if err := a.Hold(t.Context(), Hold{Incident: "in-1"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Unhold(t.Context(), "in-1"); err != nil {
		t.Fatal(err)
	}
	a.retention = Retention{ClassHealth: time.Hour, ClassCase: time.Hour}
	maintained(t, a)
	for n := range 12 {
		b.add(appended(t, a, batchOf(100+n, 20)))
		if n < 10 {
			maintained(t, a)
		}
	}
	closed(t, a)
	files := filesOf(t, dir)
	for _, want := range []string{historyName + "/", ".sketch", "/flow/", "segments/2027/02/22/0000"} {
		if !slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, want) }) {
			t.Fatalf("nothing with %s among %v", want, files)
		}
	}
	types := map[string]int{}
	for _, l := range b.leaves {
		types[l.Type]++
	}
	for _, want := range leafTypes() {
		if types[want] == 0 {
			t.Fatalf("no leaf of type %s: %v", want, types)
		}
	}
	sound(t, dir, b)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d files, leaves %v", seed, len(files), types)
	dice := rand.New(rand.NewPCG(seed, 9))
	var special []string
	for _, f := range files {
		if f == manifestName || strings.HasPrefix(f, historyName) {
			special = append(special, f)
		}
	}
	for i := range 1000 {
		file := files[i%len(files)]
		if i%4 == 0 {
			file = special[dice.IntN(len(special))]
		}
		flip(t, dir, b.leaves, file, dice)
	}
	sound(t, dir, b)
}

func TestVerifyNamesAMergeThatChangedEvents(t *testing.T) {
	dir, b := t.TempDir(), &books{}
	a := openEager(t, dir, b)
	for n := range 4 {
		b.add(appended(t, a, batchOf(n, 40)))
	}
	maintained(t, a)
	closed(t, a)
	sound(t, dir, b)
	manifest := get(t, dir, manifestName)
	lines := bytes.SplitAfter(bytes.TrimSuffix(manifest, []byte("\n")), []byte("\n"))
	for name, change := range map[string]func([]segment.Row) []segment.Row{
		"one is gone":    func(rows []segment.Row) []segment.Row { return rows[1:] },
		"one is twice":   func(rows []segment.Row) []segment.Row { return append(rows, rows[0]) },
		"one is changed": func(rows []segment.Row) []segment.Row { rows[3].Raw += "x"; return rows },
		"one was moved":  func(rows []segment.Row) []segment.Row { rows[2].Origin = 3 - rows[2].Origin; return rows },
		"one is new":     func(rows []segment.Row) []segment.Row { rows[0].Origin = 77; return rows },
	} {
		t.Run(name, func(t *testing.T) {
			// Whoever merges can write any segment, its digest into the line and
			// the leaf into the ledger: what the events add up to gives it away.
			forged := parsed(t, lines[len(lines)-1])
			e := &forged.Segments[0]
			full := filepath.Join(dir, e.Path)
			good, goodSketch := get(t, dir, e.Path), get(t, dir, sketchOf(e.Path))
			var rows []segment.Row
			if err := segment.Read(t.Context(), full, func(some []segment.Row) error { rows = append(rows, some...); return nil }); err != nil {
				t.Fatal(err)
			}
			facts := rewritten(t, full, change(rows))
			e.take(&facts)
			text, err := forged.encode()
			if err != nil {
				t.Fatal(err)
			}
			put(t, dir, manifestName, append(bytes.Join(lines[:len(lines)-1], nil), append(text, '\n')...))
			leaves := slices.DeleteFunc(slices.Clone(b.leaves), func(l leaf.Leaf) bool { return l.Type == opMerge })
			if got := named(checked(t, dir, append(leaves, forged.leaf(sha256.Sum256(text))))); !slices.Equal(got, []string{e.Path}) {
				t.Errorf("named %v, want %s", got, e.Path)
			}
			put(t, dir, manifestName, manifest)
			put(t, dir, e.Path, good)
			put(t, dir, sketchOf(e.Path), goodSketch)
		})
	}
	sound(t, dir, b)
}

func parsed(t *testing.T, text []byte) *record {
	t.Helper()
	r, err := parseLine(text)
	if err != nil {
		t.Fatal(err)
	}
	if r.Op != opMerge {
		t.Fatalf("last line is not of a merge: %s", text)
	}
	return r
}

// rewritten writes rows, each with its origin, in place of a segment.
func rewritten(t *testing.T, full string, rows []segment.Row) segment.Facts {
	t.Helper()
	scratch := t.TempDir()
	byOrigin := map[int64][]segment.Row{}
	for _, r := range rows {
		byOrigin[r.Origin] = append(byOrigin[r.Origin], r)
	}
	var in []string
	for n, some := range byOrigin {
		in = append(in, filepath.Join(scratch, fmt.Sprintf("%d.parquet", n)))
		if _, err := segment.Write(in[len(in)-1], some, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{full, segment.SketchPath(full)} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	facts, err := segment.Merge(t.Context(), in, func(segment.Partition) string { return full }, segment.Limits{})
	if err != nil || len(facts) != 1 {
		t.Fatalf("%d segments, %v", len(facts), err)
	}
	return facts[0]
}

func TestVerifyNamesWhatIsMissingOrForeign(t *testing.T) {
	dir, leaves := fixture(t)
	second := leaves[1].Ref
	manifest := get(t, dir, manifestName)
	lines := bytes.SplitAfter(manifest, []byte("\n"))
	lines = lines[:len(lines)-1]
	segment := get(t, dir, second)
	extra := "segments/2026/11/22/000000000099.parquet"
	forged := bytes.Replace(bytes.Replace(lines[1], []byte("000000000001"), []byte("000000000006"), 1), []byte(`"number":1,`), []byte(`"number":6,`), 1)
	for name, tt := range map[string]struct {
		change func()
		want   []string
	}{
		"a segment is gone":    {func() { os.Remove(filepath.Join(dir, second)) }, []string{second}},
		"a segment is cut":     {func() { put(t, dir, second, segment[:len(segment)/2]) }, []string{second}},
		"a segment is longer":  {func() { put(t, dir, second, append(bytes.Clone(segment), 0)) }, []string{second}},
		"a segment is another": {func() { put(t, dir, second, get(t, dir, leaves[2].Ref)) }, []string{second}},
		"a foreign segment":    {func() { put(t, dir, extra, segment) }, []string{extra}},
		"a foreign file":       {func() { put(t, dir, "note.txt", nil) }, []string{"note.txt"}},
		"a line is gone":       {func() { put(t, dir, manifestName, bytes.Join(slices.Delete(slices.Clone(lines), 1, 2), nil)) }, []string{manifestName}},
		"line and segment gone": {func() {
			put(t, dir, manifestName, bytes.Join(slices.Delete(slices.Clone(lines), 1, 2), nil))
			os.Remove(filepath.Join(dir, second))
		}, []string{manifestName, second}},
		"the last line is gone": {func() { put(t, dir, manifestName, bytes.Join(lines[:5], nil)) }, []string{manifestName}},
		"lines change places": {func() {
			put(t, dir, manifestName, bytes.Join([][]byte{lines[1], lines[0], lines[2], lines[3], lines[4], lines[5]}, nil))
		}, []string{manifestName}},
		"a line twice":           {func() { put(t, dir, manifestName, bytes.Join(append(slices.Clone(lines), lines[5]), nil)) }, []string{manifestName}},
		"an empty line":          {func() { put(t, dir, manifestName, append(bytes.Clone(manifest), '\n')) }, []string{manifestName}},
		"spaces in a line":       {func() { put(t, dir, manifestName, bytes.Replace(manifest, []byte(`,"rows"`), []byte(`, "rows"`), 1)) }, []string{manifestName}},
		"a foreign line between": {func() { put(t, dir, manifestName, slices.Concat(lines[0], forged, bytes.Join(lines[1:], nil))) }, []string{manifestName, "segments/2026/11/22/000000000006.parquet", "segments/2026/11/22/000000000006.sketch"}},
		"the manifest is gone":   {func() { os.Remove(filepath.Join(dir, manifestName)) }, []string{manifestName}},
		"a segment is no file":   {func() { os.Remove(filepath.Join(dir, second)); os.Symlink("/dev/null", filepath.Join(dir, second)) }, []string{second}},
		"line and digest changed": {func() {
			put(t, dir, manifestName, bytes.Replace(manifest, []byte(`"rows":80`), []byte(`"rows":81`), 1))
		}, []string{manifestName}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.change()
			if diff := cmp.Diff(tt.want, named(checked(t, dir, leaves))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, file := range []string{extra, "note.txt", second} {
				os.Remove(filepath.Join(dir, file))
			}
			put(t, dir, second, segment)
			put(t, dir, manifestName, manifest)
			if r := checked(t, dir, leaves); len(r.Differences)+len(r.Leftovers) > 0 {
				t.Fatalf("restored archive: %+v", r)
			}
		})
	}
	if _, err := Verify(t.Context(), t.TempDir(), func(string) []leaf.Leaf { return nil }); fault.Of(err) != fault.Invalid {
		t.Errorf("no archive: %v", err)
	}
}

func TestNotYetRecordedSegmentsAreLeftovers(t *testing.T) {
	dir, leaves := fixture(t)
	r := checked(t, dir, leaves[:4])
	if len(r.Differences) > 0 || len(r.Leftovers) != 2 {
		t.Errorf("two not recorded: %+v", r)
	}
	if got := named(checked(t, dir, slices.Concat(leaves[:2], leaves[3:]))); !slices.Equal(got, []string{manifestName}) {
		t.Errorf("a gap in the ledger: named %v", got)
	}
}

func TestInterruptedWritesAreCleanedUp(t *testing.T) {
	dir, leaves := fixture(t)
	manifest := get(t, dir, manifestName)
	next := "segments/2026/11/22/000000000006.parquet"
	put(t, dir, next, get(t, dir, leaves[0].Ref))
	put(t, dir, next+temporary, []byte("PAR1"))
	put(t, dir, manifestName, append(bytes.Clone(manifest), `{"path":"segments/20`...))
	if r := checked(t, dir, leaves); len(r.Differences) > 0 || len(r.Leftovers) != 3 {
		t.Fatalf("before opening: %+v", r)
	}
	a := open(t, dir)
	if r := checked(t, dir, leaves); len(r.Differences)+len(r.Leftovers) > 0 {
		t.Errorf("after opening: %+v", r)
	}
	leaves = append(leaves, appended(t, a, batchOf(50, 10))...)
	if r := checked(t, dir, leaves); len(r.Differences)+len(r.Leftovers) > 0 || r.Checked.Segments != 7 {
		t.Errorf("after the next segment: %+v", r)
	}
}

func TestOpenKeepsSegmentsThatADamagedManifestLost(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"a byte in the last line":   func(b []byte) []byte { b[len(b)-20] ^= 1; return b },
		"a byte in the first line":  func(b []byte) []byte { b[20] ^= 1; return b },
		"all lines but one are cut": func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] },
		"no line is left":           func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir, leaves := fixture(t)
			put(t, dir, manifestName, damage(get(t, dir, manifestName)))
			a := open(t, dir)
			more := appended(t, a, batchOf(60, 10))
			files := filesOf(t, dir)
			for _, l := range leaves {
				if !slices.Contains(files, l.Ref) {
					t.Errorf("%s was removed", l.Ref)
				}
			}
			if got := query(t, a, Query{Host: batchOf(60, 10).Host, Limit: 10}); len(got) != 10 || !strings.HasPrefix(got[0].ID, batchOf(60, 0).ID) {
				t.Errorf("new events: %d", len(got))
			}
			if got := named(checked(t, dir, append(leaves, more...))); !slices.Contains(got, manifestName) {
				t.Errorf("named %v", got)
			}
		})
	}
}

func FuzzManifest(f *testing.F) {
	sum := strings.Repeat("ab", 32)
	fresh := entry{Number: 7, Path: pathOf(7, noon(), ""), SHA256: sum, Bytes: 9, Rows: 1, From: noon(), To: noon(), Arrived: noon(), Hosts: []string{"ho-1"}}
	made := fresh
	made.Number, made.Source, made.Kinds, made.Sketch = mergedFrom+1, "none", []string{""}, &sketch{sum, 7, nil}
	made.Path = pathOf(made.Number, noon(), made.Source)
	for _, r := range []record{
		{V: 1, Op: opAdd, At: noon(), Segments: []entry{fresh}, Batches: []string{"ba-1"}},
		{V: 2, Op: opAdd, At: noon(), Segments: []entry{fresh}, Batches: []string{"ba-1"}},
		{V: 2, Op: opMerge, Seq: 2, At: noon(), Segments: []entry{made}, Gone: []int64{7}, Contents: []content{{7, []part{{"2026-11-22", "", 1, sum}}}}},
		{V: 2, Op: opDrop, Seq: 3, At: noon(), Gone: []int64{made.Number}, Class: ClassHealth, Reason: "old"},
		{V: 2, Op: opHold, Seq: 4, At: noon(), Hold: &Hold{Incident: "in-1", Hosts: []string{"ho-1"}}},
		{V: 2, Op: opHistory, Seq: 5, At: noon(), History: &history{Path: historyPath(5), SHA256: sum, Bytes: 9, Lines: 2, Newest: noon()}},
	} {
		good, err := r.encode()
		if err != nil {
			f.Fatal(err)
		}
		if _, err := parseLine(good); err != nil {
			f.Fatalf("%s: %v", good, err)
		}
		f.Add(append(good, '\n'))
	}
	f.Add([]byte("\n{}\n{\"path\":\"segments/../x\"}"))
	f.Add([]byte(`{"path":"segments/2026/02/30/000000000001.parquet"}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole []byte
		lines := 0
		err := eachLine(bytes.NewReader(b), func(raw rawLine) error {
			lines++
			if raw.number != lines || raw.offset != int64(len(whole)) {
				return fmt.Errorf("line %d at %d: number %d, offset %d", lines, len(whole), raw.number, raw.offset)
			}
			whole = append(whole, raw.bytes...)
			if raw.ended {
				whole = append(whole, '\n')
			}
			l, err := parseLine(raw.bytes)
			if err != nil {
				return nil
			}
			if again, err := l.encode(); err != nil || !bytes.Equal(again, raw.bytes) {
				return fmt.Errorf("accepted %q, writes %q", raw.bytes, again)
			}
			for _, e := range l.Segments {
				if strings.Contains(e.Path, "..") || !strings.HasPrefix(e.Path, "segments/") {
					return fmt.Errorf("accepted path %q", e.Path)
				}
			}
			return nil
		})
		if err != nil || !bytes.Equal(whole, b) {
			t.Errorf("%v; %d of %d bytes", err, len(whole), len(b))
		}
	})
}

func TestManifestReaderHoldsOneLine(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 3*maxLine)
	input := slices.Concat([]byte("a\n"), long, []byte("\nb\n"), long)
	var got []string
	err := eachLine(bytes.NewReader(input), func(raw rawLine) error {
		got = append(got, fmt.Sprintf("%d@%d %q %v", raw.number, raw.offset, raw.bytes, raw.ended))
		return nil
	})
	want := []string{`1@0 "a" true`, `2@2 "" true`, fmt.Sprintf(`3@%d "b" true`, 3+len(long)), fmt.Sprintf(`4@%d "" false`, 5+len(long))}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}
