package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

func noon() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }

func open(t testing.TB, dir string) *Archive {
	t.Helper()
	a, err := Open(t.Context(), dir, slog.New(slog.NewTextHandler(t.Output(), nil)), WithClock(noon))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func closed(t testing.TB, a *Archive) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// batchOf makes a batch of n events as agents send them: mostly flows, some
// processes, log lines and health.
func batchOf(number, n int) event.Batch {
	dice := rand.New(rand.NewPCG(uint64(number), 7))
	b := event.Batch{ID: fmt.Sprintf("ba-%012x", number), Site: "si-callcentre", Host: fmt.Sprintf("ho-%d", number%5)}
	b.SentAt = noon().Add(time.Duration(number) * time.Second)
	for i := range n {
		e := event.Event{ID: fmt.Sprintf("%s-%d", b.ID, i), Site: b.Site, Host: b.Host, Time: b.SentAt.Add(time.Duration(i) * 37 * time.Microsecond)}
		switch dice.IntN(10) {
		case 0, 1:
			processEvent(&e, dice)
		case 2, 3:
			logEvent(&e, dice)
		case 4:
			e.Kind, e.Product, e.Service = event.KindHealth, "sonae", "health"
			e.Fields = map[string]string{"Cpu": fmt.Sprintf("%.3f", dice.Float64()), "Memory": "0.412", "Disk": "0.77", "BytesSent": "0"}
		default:
			flowEvent(&e, dice)
		}
		b.Events = append(b.Events, e)
	}
	return b
}

func flowEvent(e *event.Event, dice *rand.Rand) {
	e.Kind, e.Product, e.Category, e.Service = event.KindFlow, "sonae", "network_connection", "flow"
	local, remote := fmt.Sprintf("10.20.%d.%d", dice.IntN(3), dice.IntN(200)), fmt.Sprintf("203.0.113.%d", dice.IntN(250))
	sport, dport := fmt.Sprint(30000+dice.IntN(30000)), []string{"443", "80", "53", "6881", "51413"}[dice.IntN(5)]
	e.Fields = map[string]string{
		event.FieldFlowID: fmt.Sprintf("fl-%016x", dice.Uint64()), event.FieldPhase: "update", event.FieldProtocol: "tcp",
		event.FieldSrcIP: local, event.FieldSrcPort: sport, event.FieldDstIP: remote, event.FieldDstPort: dport,
		event.FieldLocalIP: local, event.FieldLocalPort: sport, event.FieldRemoteIP: remote, event.FieldRemotePort: dport,
		event.FieldInitiated: "true", event.FieldApp: "tls", event.FieldConfidence: "certain",
		event.FieldSent: fmt.Sprint(dice.IntN(1 << 20)), event.FieldReceived: fmt.Sprint(dice.IntN(1 << 24)), event.FieldPackets: fmt.Sprint(dice.IntN(9000)),
		event.FieldFirst: e.Time.Add(-time.Minute).Format(time.RFC3339Nano), event.FieldLast: e.Time.Format(time.RFC3339Nano),
		event.FieldImage: "/usr/bin/transmission-daemon", event.FieldPID: fmt.Sprint(1000 + dice.IntN(3000)), event.FieldUser: "operator",
	}
}

func processEvent(e *event.Event, dice *rand.Rand) {
	e.Kind, e.Product, e.Category = event.KindProcess, "linux", "process_creation"
	e.Fields = map[string]string{
		event.FieldImage: "/usr/bin/" + []string{"bash", "ls", "curl", "python3"}[dice.IntN(4)], "ParentImage": "/usr/bin/bash",
		event.FieldCommand: fmt.Sprintf("curl -fsS https://intranet.example/api/v1/records/%d", dice.IntN(1<<20)),
		event.FieldPID:     fmt.Sprint(dice.IntN(60000)), event.FieldUser: "operator", "CurrentDirectory": "/home/operator", "Hashes": fmt.Sprintf("SHA256=%064x", dice.Uint64()),
	}
}

func logEvent(e *event.Event, dice *rand.Rand) {
	e.Kind, e.Product, e.Service = event.KindLog, "linux", "sshd"
	e.Raw = fmt.Sprintf("Nov 22 12:%02d:%02d pc-%d sshd[%d]: Accepted publickey for operator from 10.20.0.%d port %d ssh2: ED25519 SHA256:%016x%016x",
		dice.IntN(60), dice.IntN(60), dice.IntN(40), dice.IntN(60000), dice.IntN(250), dice.IntN(60000), dice.Uint64(), dice.Uint64())
	e.Fields = map[string]string{"Hostname": fmt.Sprintf("pc-%d", dice.IntN(40)), "Message": e.Raw[20:]}
}

func appended(t testing.TB, a *Archive, batches ...event.Batch) []leaf.Leaf {
	t.Helper()
	leaves, err := a.Append(t.Context(), batches)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return leaves
}

func query(t testing.TB, a *Archive, q Query) []event.Event {
	t.Helper()
	found, err := a.Query(t.Context(), q)
	if err != nil {
		t.Fatalf("query %+v: %v", q, err)
	}
	return found
}

func TestEventsComeBackAsTheyWere(t *testing.T) {
	odd := event.Batch{ID: "ba-odd", Site: "si-1", Host: "ho-odd", Events: []event.Event{
		{ID: "ba-odd-0", Time: noon(), Site: "si-1", Host: "ho-odd", Kind: event.KindLog},
		{ID: "own id", Time: noon().Add(-time.Nanosecond), Site: "si-1", Host: "ho-odd", Kind: event.KindLog, Raw: "a\x00b 患者ID 「七」\n\t'\"\\", Drill: true},
		{ID: "ba-odd-1", Time: noon().Add(-2), Site: "si-1", Host: "ho-odd", Kind: event.KindFlow, Fields: map[string]string{
			event.FieldSent: "0", event.FieldReceived: "007", event.FieldSrcPort: "70000", event.FieldDstPort: "-1", event.FieldUser: "", "": "no name", "x": "",
			event.FieldImage: `C:\Windows\explorer.exe`, "言葉": "値"}},
		{ID: "ba-odd-9", Time: noon().Add(-3), Site: "si-1", Host: "ho-odd", Kind: event.KindFlow, Fields: map[string]string{
			event.FieldSrcPort: "99999999999", event.FieldDstPort: "65535", event.FieldSent: "9223372036854775807", event.FieldReceived: "9223372036854775808"}},
		{ID: "ba-odd-4", Time: time.Date(1969, 7, 20, 20, 17, 0, 5, time.UTC), Site: "si-1", Host: "ho-odd", Kind: "other", Product: "p", Category: "c", Service: "s"},
	}}
	a := open(t, t.TempDir())
	for name, b := range map[string]event.Batch{"usual": batchOf(1, 500), "odd": odd} {
		appended(t, a, b)
		want := slices.Clone(b.Events)
		slices.SortStableFunc(want, func(x, y event.Event) int { return y.Time.Compare(x.Time) })
		got := query(t, a, Query{Host: b.Host, Limit: 1000})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	broken := event.Batch{ID: "ba-\xff", Events: []event.Event{{ID: "i\xff", Kind: "k", Host: "h\xff", Raw: "a\xffb", Fields: map[string]string{"f\xff": "v\xff"}}}}
	appended(t, a, broken)
	got := query(t, a, Query{Host: "h\uFFFD"})
	if len(got) != 1 || got[0].Raw != "a\uFFFDb" || got[0].Fields["f\uFFFD"] != "v\uFFFD" || got[0].Time.Year() != 1677 {
		t.Errorf("broken text and time: %+v", got)
	}
}

func TestBatchesAreStoredOnce(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	first := appended(t, a, batchOf(1, 10), batchOf(2, 10), batchOf(1, 10))
	if len(first) != 1 || first[0].Type != "segment" || first[0].Ref != "segments/2026/11/22/000000000000.parquet" {
		t.Fatalf("leaves: %+v", first)
	}
	if again := appended(t, a, batchOf(2, 10)); !cmp.Equal(first, again) {
		t.Errorf("offered again: %+v, want %+v", again, first)
	}
	both := appended(t, a, batchOf(1, 10), batchOf(3, 10))
	if len(both) != 2 || both[0] != first[0] {
		t.Errorf("old and new: %+v", both)
	}
	if none := appended(t, a, event.Batch{ID: "ba-empty"}); len(none) != 0 {
		t.Errorf("nothing to store: %+v", none)
	}
	if _, err := a.Append(t.Context(), []event.Batch{{Events: batchOf(4, 1).Events}}); fault.Of(err) != fault.Invalid {
		t.Errorf("batch without id: %v", err)
	}
	closed(t, a)
	if _, err := a.Append(t.Context(), nil); err == nil {
		t.Error("closed archive accepted a batch")
	}

	a = open(t, dir)
	if again := appended(t, a, batchOf(3, 10), batchOf(2, 10), batchOf(1, 10)); !cmp.Equal(both, again) {
		t.Errorf("after reopening: %+v, want %+v", again, both)
	}
	if s := a.Stats(); s.Events != 30 || s.Segments != 2 || s.Batches != 3 || s.Bytes == 0 || !s.From.Equal(noon().Add(time.Second)) {
		t.Errorf("stats: %+v", s)
	}
	if got := query(t, a, Query{Limit: 1000}); len(got) != 30 {
		t.Errorf("%d events stored", len(got))
	}
}

func TestForgottenBatchesAreLookedUp(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	var all []leaf.Leaf
	for n := range 10 {
		all = append(all, appended(t, a, batchOf(n, 5))...)
	}
	closed(t, a)
	a, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler), func(a *Archive) { a.keep = 3 })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if s := a.Stats(); s.Batches != 3 {
		t.Fatalf("%d ids in memory", s.Batches)
	}
	for n := range 10 {
		if again := appended(t, a, batchOf(n, 5)); !cmp.Equal(all[n:n+1], again) {
			t.Errorf("batch %d: %+v, want %+v", n, again, all[n])
		}
	}
	late := batchOf(3, 5) // an unknown batch from the same host and time
	late.ID = "ba-late"
	if got := appended(t, a, late); len(got) != 1 || slices.Contains(all, got[0]) {
		t.Errorf("late batch: %+v", got)
	}
	if s := a.Stats(); s.Events != 55 {
		t.Errorf("%d events", s.Events)
	}
}

func TestConcurrentAppendsAndQueries(t *testing.T) {
	a := open(t, t.TempDir())
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := range 6 {
				if _, err := a.Append(t.Context(), []event.Batch{batchOf(n, 20), batchOf(100+w, 20)}); err != nil {
					t.Error(err)
				}
				if _, err := a.Query(t.Context(), Query{Kind: event.KindFlow}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if s := a.Stats(); s.Events != 200 {
		t.Errorf("%d events, want 200", s.Events)
	}
}

func TestQuery(t *testing.T) {
	a := open(t, t.TempDir())
	var all []event.Event
	for n := range 40 { // segments overlap in time and are not written in its order
		b := batchOf((n*17)%40, 30)
		if n == 3 {
			b.Site = "si-hospital"
			for i := range b.Events {
				b.Events[i].Site = b.Site
			}
			b.Events[7].Raw = "患者ID を Ｅxport: Ärger 100% 'quoted'"
			b.Events[9].Fields = map[string]string{event.FieldImage: `C:\Temp\Evil.EXE`, "Custom": `say "Hello\World"`}
		}
		all = append(all, b.Events...)
		appended(t, a, b)
	}
	slices.SortStableFunc(all, func(x, y event.Event) int { return y.Time.Compare(x.Time) })
	contains := func(text string) func(event.Event) bool {
		return func(e event.Event) bool {
			hit := strings.Contains(strings.ToLower(e.Raw), text)
			for name, v := range e.Fields {
				number := slices.Contains([]string{event.FieldSrcPort, event.FieldDstPort, event.FieldSent, event.FieldReceived}, name)
				hit = hit || !number && strings.Contains(strings.ToLower(v), text)
			}
			return hit
		}
	}
	at := func(s int) time.Time { return noon().Add(time.Duration(s) * time.Second) }
	for name, tt := range map[string]struct {
		q     Query
		match func(event.Event) bool
	}{
		"newest":           {Query{}, func(event.Event) bool { return true }},
		"as many as asked": {Query{Limit: 7}, func(event.Event) bool { return true }},
		"too many":         {Query{Limit: 1 << 30}, func(event.Event) bool { return true }},
		"from and to":      {Query{From: at(3), To: at(5), Limit: 1000}, func(e event.Event) bool { return !e.Time.Before(at(3)) && e.Time.Before(at(5)) }},
		"host":             {Query{Host: "ho-2", Limit: 1000}, func(e event.Event) bool { return e.Host == "ho-2" }},
		"unknown host":     {Query{Host: "ho-77"}, func(event.Event) bool { return false }},
		"site":             {Query{Site: "si-hospital"}, func(e event.Event) bool { return e.Site == "si-hospital" }},
		"kind":             {Query{Kind: event.KindLog, Limit: 20}, func(e event.Event) bool { return e.Kind == event.KindLog }},
		"japanese":         {Query{Text: "患者id"}, contains("患者id")},
		"folded":           {Query{Text: "ÄRGER"}, contains("ärger")},
		"per cent":         {Query{Text: "100%"}, contains("100%")},
		"quote":            {Query{Text: "'quoted'"}, contains("'quoted'")},
		"windows path":     {Query{Text: `temp\evil.exe`}, contains(`temp\evil.exe`)},
		"other field":      {Query{Text: `"hello\w`}, contains(`"hello\w`)},
		"injection":        {Query{Text: "') OR 1=1 --", Site: "' OR ''='"}, func(event.Event) bool { return false }},
		"common text":      {Query{Text: "TRANSMISSION", Limit: 50, To: at(30)}, func(e event.Event) bool { return e.Time.Before(at(30)) && contains("transmission")(e) }},
		"ids":              {Query{IDs: []string{all[5].ID, all[500].ID, "ba-none-1"}}, func(e event.Event) bool { return e.ID == all[5].ID || e.ID == all[500].ID }},
		"known ids":        {Query{IDs: []string{all[5].ID, all[700].ID}}, func(e event.Event) bool { return e.ID == all[5].ID || e.ID == all[700].ID }},
	} {
		t.Run(name, func(t *testing.T) {
			limit := min(tt.q.Limit, MaxLimit)
			if limit == 0 {
				limit = DefaultLimit
			}
			var want []event.Event
			for _, e := range all {
				if tt.match(e) && len(want) < limit {
					want = append(want, e)
				}
			}
			if diff := cmp.Diff(want, query(t, a, tt.q), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if _, err := a.Query(t.Context(), Query{IDs: make([]string, MaxLimit+1)}); fault.Of(err) != fault.Invalid {
		t.Errorf("too many ids: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Query(gone, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled query: %v", err)
	}
}

func TestDamagedSegmentsDoNotHideTheOthers(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	var all []leaf.Leaf
	for n := range 4 {
		all = append(all, appended(t, a, batchOf(n, 20))...)
	}
	if err := os.Remove(filepath.Join(dir, all[1].Ref)); err != nil {
		t.Fatal(err)
	}
	put(t, dir, all[2].Ref, get(t, dir, all[2].Ref)[:100])
	if got := query(t, a, Query{Limit: 1000}); len(got) != 40 {
		t.Errorf("%d events, want those of two segments", len(got))
	}
	if s := a.Stats(); s.Damaged != 2 || s.Segments != 4 {
		t.Errorf("stats: %+v", s)
	}
	closed(t, a)
	if _, err := a.Query(t.Context(), Query{}); err == nil {
		t.Error("closed archive answers")
	}
	if s := a.Stats(); s.Damaged != 2 {
		t.Errorf("an error of the engine was taken for damage: %+v", s)
	}
}

func TestEngineReachesSegmentsOnly(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	appended(t, a, batchOf(1, 3))
	outside := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(outside, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"SELECT * FROM read_csv('" + outside + "')",
		"SELECT * FROM read_text('" + filepath.Join(dir, manifestName) + "')",
		"COPY (SELECT 1) TO '" + filepath.Join(t.TempDir(), "out.csv") + "'",
		"SET enable_external_access = true",
		"SET memory_limit = '100GB'",
		"INSTALL httpfs",
		"LOAD httpfs",
	} {
		if _, err := a.db.ExecContext(t.Context(), text); err == nil {
			t.Errorf("allowed: %s", text)
		}
	}
}

func TestOpenRefusesAPatternAsFolder(t *testing.T) {
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "a*"), slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	open(t, dir)
	if _, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Conflict {
		t.Errorf("second open: %v", err)
	}
}

// TestFullDisk uses a small file system in memory, which needs root.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	root := filepath.Join(dir, "archive")
	a := open(t, root)
	leaves := appended(t, a, batchOf(0, 100))
	ballast := filepath.Join(dir, "ballast")
	room := func(free int64) { // leaves about that much
		t.Helper()
		var s syscall.Statfs_t
		if err := os.WriteFile(ballast, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ballast, make([]byte, max(0, int64(s.Bavail)*s.Bsize-free)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := batchOf(1, 2000)
	long.ID = strings.Repeat("x", 12<<10) // so that a segment can fit and its line not
	refused := 0
	for free := int64(0); free < 400<<10; free += 8 << 10 {
		room(free)
		more, err := a.Append(t.Context(), []event.Batch{long})
		if err == nil {
			leaves = append(leaves, more...)
			break
		}
		if fault.Of(err) != fault.Busy {
			t.Fatalf("%d bytes free: got %v, want busy", free, err)
		}
		refused++
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if r := checked(t, root, leaves); len(r.Differences)+len(r.Leftovers) > 0 {
			t.Fatalf("%d bytes free: something is left: %+v", free, r)
		}
		if s := a.Stats(); s.Events != 100 {
			t.Fatalf("%d bytes free: %d events are visible", free, s.Events)
		}
	}
	if s := a.Stats(); s.Events != 2100 || refused < 5 {
		t.Errorf("refused %d times, then %d events", refused, s.Events)
	}
}

func checked(t testing.TB, dir string, leaves []leaf.Leaf) Report {
	t.Helper()
	r, err := Verify(t.Context(), dir, func(kind string) []leaf.Leaf {
		if kind != "segment" {
			t.Errorf("asked for leaves of type %q", kind)
		}
		return leaves
	})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return r
}

func filesOf(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func get(t testing.TB, dir, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, dir, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), b, 0o640); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	a := open(b, b.TempDir())
	const events, perBatch = 20_000, 500
	var op [][]event.Batch
	for n := range b.N {
		var batches []event.Batch
		for i := range events / perBatch {
			batches = append(batches, batchOf(n*1000+i, perBatch))
		}
		op = append(op, batches)
	}
	b.ResetTimer()
	b.ReportAllocs()
	for _, batches := range op {
		appended(b, a, batches...)
	}
	s := a.Stats()
	b.ReportMetric(float64(s.Events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(s.Bytes)/float64(s.Events), "bytes/event")
}

func BenchmarkQuery(b *testing.B) {
	a := open(b, b.TempDir())
	for n := range 50 {
		appended(b, a, batchOf(n, 10_000))
	}
	for name, q := range map[string]Query{
		"newest":       {},
		"host":         {Host: "ho-3", Limit: 200},
		"rare text":    {Text: "no such words"},
		"one kind":     {Kind: event.KindProcess, Limit: 200},
		"ids":          {IDs: []string{"ba-000000000007-77"}},
		"five minutes": {From: noon(), To: noon().Add(20 * time.Second), Limit: 1000},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				query(b, a, q)
			}
		})
	}
}
