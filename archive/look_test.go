package archive

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
)

// way is an answer that was got in one way.
type way struct {
	Events []event.Event
	Table  *Table
	Next   string
}

func (w *way) take(p Part) error {
	w.Events = append(w.Events, p.Events...)
	w.Table, w.Next = p.Table, p.Next
	return nil
}

// bothWays asks plain code and the engine, over the same files, and compares.
// It says whether plain code answered.
func bothWays(t testing.TB, a *Archive, s Search) (answered bool, next string) {
	t.Helper()
	r, err := a.request(s)
	if err != nil {
		return false, ""
	}
	var plain, engine way
	if err := a.run(t.Context(), r, func(ctx context.Context, files []file) (err error) {
		if answered, err = a.look(ctx, r, files, plain.take); err != nil || !answered {
			return err
		}
		if r.Group != nil {
			return a.searchTable(ctx, r, files, engine.take)
		}
		return a.searchEvents(ctx, r, files, engine.take)
	}); err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	if diff := cmp.Diff(engine, plain, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%+v: -engine +plain\n%s", s, diff)
	}
	return answered, plain.Next
}

// random makes a random search of what is looked up.
func (m *maker) random() Search {
	var terms []string
	for range m.dice.IntN(3) {
		terms = append(terms, m.filter(1))
	}
	s := Search{Query: strings.Join(terms, " "), Limit: 1 + m.dice.IntN(30)}
	if m.dice.IntN(3) == 0 {
		s.Query += " | count"
	}
	at := func() time.Time { return time.Unix(0, m.rows[m.dice.IntN(len(m.rows))].Time).UTC() }
	if m.dice.IntN(3) == 0 {
		s.From = at()
	}
	if m.dice.IntN(3) == 0 {
		s.To = at()
	}
	for m.dice.IntN(3) == 0 {
		s.Sites = append(s.Sites, m.pick("si-2", "si-callcentre", m.rows[m.dice.IntN(len(m.rows))].Site))
	}
	if m.dice.IntN(4) == 0 {
		p := &m.rows[m.dice.IntN(len(m.rows))]
		s.After = position{p.Time, p.Batch, p.Row}.String()
	}
	return s
}

// pages asks for a page and those after it.
func (m *maker) pages(t testing.TB, a *Archive) (answered int) {
	s := m.random()
	for range 3 {
		yes, next := bothWays(t, a, s)
		if yes {
			answered++
		}
		if s.After = next; next == "" {
			break
		}
	}
	return answered
}

// living fills an archive that merges: what is merged, fresh and in the tail.
func living(t testing.TB, options ...Option) (*Archive, *maker) {
	t.Helper()
	a := openEager(t, t.TempDir(), &books{}, options...)
	var rows []segment.Row
	put := func(b event.Batch) event.Batch {
		rows = append(rows, segment.Rows(b, noon())...)
		return b
	}
	g := archivetest.New(archivetest.Options{Seed: 5, Events: 6_000, PerBatch: 50, From: noon().Add(-30 * time.Hour), Span: 30 * time.Hour})
	n := 0
	for b := range g.All() {
		if appended(t, a, put(b)); n%40 == 39 {
			maintained(t, a)
		}
		n++
	}
	appended(t, a, put(strange()))
	maintained(t, a)
	appended(t, a, put(batchOf(7, 300)))
	a.Preview(t.Context(), []event.Batch{put(batchOf(8, 60))})
	return a, &maker{rows: rows}
}

func TestLookUpsAnswerAsTheEngineDoes(t *testing.T) {
	at := noon()
	a, m := living(t, WithClock(func() time.Time { return at }))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d events, %+v", seed, len(m.rows), a.Stats())
	m.dice = rand.New(rand.NewPCG(seed, 2))
	a.stepRows = 300 // the engine goes back in many steps
	answered := 0
	for range 150 {
		answered += m.pages(t, a)
	}
	appended(t, a, batchOf(9, 200), batchOf(8, 60))
	maintained(t, a)
	for range 50 {
		answered += m.pages(t, a)
	}
	at = at.AddDate(0, 0, 91)
	maintained(t, a) // some kinds are over
	for range 50 {
		answered += m.pages(t, a)
	}
	if answered < 60 {
		t.Errorf("only %d of 250 were looked up", answered)
	}
	if s := a.Stats(); s.Merged == 0 || s.Damaged > 0 {
		t.Errorf("%+v", s)
	}
}

// TestLookUps names what must not be left to the engine, or must.
func TestLookUps(t *testing.T) {
	a, m := living(t)
	host := m.rows[0].Host
	for query, want := range map[string]bool{
		"": true, "host=" + host: true, "raw:/Invoke-Mimikatz/ | count": true, `"Invoke-Mimikatz" | count`: true, "Invoke-Mimikatz": true, "患者 | count": true, `"患者情報を" | count`: true,
		"destination_ip:192.0.2.77": true, "ip:192.0.2.77 | count": true, "192.0.2.77 | count": true, "hash=SHA1=AB12": true, "NOT kind=flow": true, "user:root OR user:ROOT": true,
		"bytes_out>3": false, "user:ro*": false, "abc": false, "| count": false, "user=root | count by host": false, "Custom=x": false, "raw:/a.c/": false, "user:Jörg": false,
	} {
		if got, _ := bothWays(t, a, Search{Query: query}); got != want {
			t.Errorf("%s: looked up is %v", query, got)
		}
	}
	if yes, _ := bothWays(t, a, Search{Limit: MaxFound}); yes {
		t.Error("many events are looked up")
	}
}

// TestADamagedSegmentIsLookedUpByTheEngine: and so it is found out and left
// out, however it is asked.
func TestADamagedSegmentIsLookedUpByTheEngine(t *testing.T) {
	dir, b := t.TempDir(), &books{}
	a := openEager(t, dir, b)
	for n := range 4 {
		b.add(appended(t, a, batchOf(n, 200)))
	}
	maintained(t, a)
	before := len(query(t, a, Query{Limit: MaxLimit}))
	closed(t, a)
	i := slices.IndexFunc(filesOf(t, dir), func(f string) bool { return strings.HasSuffix(f, ".parquet") })
	name := filesOf(t, dir)[i]
	whole := get(t, dir, name)
	put(t, dir, name, append(slices.Clone(whole[:len(whole)/4]), make([]byte, len(whole)-len(whole)/4)...))
	a = openEager(t, dir, b)
	after := len(query(t, a, Query{Limit: MaxLimit}))
	if after == 0 || after >= before || a.Stats().Damaged != 1 {
		t.Errorf("%d events of %d, %+v", after, before, a.Stats())
	}
}

// TestAChangedSketchIsNotUsed: it would hide events. In the manifest of an
// earlier release the heads of sketches are not known.
func TestAChangedSketchIsNotUsed(t *testing.T) {
	dir, b := t.TempDir(), &books{}
	a := openEager(t, dir, b)
	for n := range 4 {
		b.add(appended(t, a, batchOf(n, 200)))
	}
	maintained(t, a)
	s := Search{Query: "transmission-daemon", Limit: MaxLimit}
	want, _ := searched(t, a, s)
	var facts *sealed
	for _, g := range a.index.segments {
		if isMerged(g.number) && len(a.sketchOf(a.fileOf(g)).MayHold(s.Query)) > 0 {
			facts = g
		}
	}
	closed(t, a)
	name, now := sketchOf(facts.path), get(t, dir, manifestName)
	whole, head := get(t, dir, name), int(facts.head.Bytes)
	if head == 0 || head >= len(whole) || len(want) == 0 {
		t.Fatalf("a head of %d bytes of %d, %d events", head, len(whole), len(want))
	}
	before := regexp.MustCompile(`,"head":\{[^}]*\}`).ReplaceAll(now, nil)
	for _, tt := range []struct {
		name     string
		manifest []byte
		at       int // byte that is changed; none if negative
		said     bool
	}{
		{"as it was", now, -1, false}, {"head", now, head - 1, true}, {"blocks", now, len(whole) - 1, true},
		{"as it was, earlier release", before, -1, false}, {"head, earlier release", before, head - 1, true}, {"blocks, earlier release", before, len(whole) - 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sketch := slices.Clone(whole)
			if tt.at >= 0 {
				sketch[tt.at] ^= 1
			}
			put(t, dir, manifestName, tt.manifest)
			put(t, dir, name, sketch)
			var said bytes.Buffer
			a, err := Open(t.Context(), dir, slog.New(slog.NewTextHandler(&said, nil)), eager(b)...)
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, a)
			for range 2 {
				if got, _ := searched(t, a, s); !cmp.Equal(want, got) {
					t.Errorf("%d events, %d before", len(got), len(want))
				}
			}
			if got := strings.Contains(said.String(), filepath.Base(name)); got != tt.said {
				t.Errorf("the file is named: %v; %s", got, said.String())
			}
		})
	}
}

// FuzzLookUp asks for whatever a number makes.
func FuzzLookUp(f *testing.F) {
	a, m := living(f)
	for seed := range uint64(8) {
		f.Add(seed, "")
	}
	f.Add(uint64(1), `user:/root/ OR "\x{212A}"`)
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		m := &maker{dice: rand.New(rand.NewPCG(seed, 3)), rows: m.rows}
		s := m.random()
		if text != "" {
			s.Query = text
		}
		bothWays(t, a, s)
	})
}

func BenchmarkNewestTimes(b *testing.B) {
	top := newest{n: 101}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		top.offer(int64(i*7919) % 100_003)
	}
}
