package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// crowd is an archive that takes a while to look through.
func crowd(t testing.TB, options ...Option) *Archive {
	t.Helper()
	a := open(t, t.TempDir())
	for _, o := range options {
		o(a)
	}
	for n := range 3 {
		appended(t, a, batchOf(n, 20_000))
	}
	return a
}

// heavy cannot be answered from what is known of segments.
func heavy() Search {
	return Search{Query: "ab OR cd OR ef OR gh OR ij | stats count, distinct(CurrentDirectory), p95(Cpu), avg(ProcessId) by FlowId, ProcessId | sort -p95(Cpu)"}
}

func resident(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("no memory statistics: %v", err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestCancelledSearchesLeaveNothing cancels searches at random moments.
func TestCancelledSearchesLeaveNothing(t *testing.T) {
	a := crowd(t)
	a.tables = tableLimits{atOnce: 0, part: 20_000, kept: 1 << 20}
	searches := []Search{heavy(), {Query: "ab"}, {Query: "| count by FlowId, DestinationIp | limit 3"}, {Query: "zqj"}}
	var cancelled atomic.Int64
	round := func(n int) {
		var all sync.WaitGroup
		for w := range atOnce {
			all.Go(func() {
				dice := rand.New(rand.NewPCG(uint64(w), 1))
				for i := range n / atOnce {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(dice.IntN(30_000))*time.Microsecond)
					err := a.Search(ctx, searches[i%len(searches)], func(Part) error { return nil })
					if errors.Is(err, context.DeadlineExceeded) {
						cancelled.Add(1)
					} else if err != nil {
						t.Errorf("%+v: %v", searches[i%len(searches)], err)
					}
					cancel()
				}
			})
		}
		all.Wait()
		runtime.GC()
	}
	round(40) // what is needed once
	goroutines, memory := runtime.NumGoroutine(), resident(t)
	round(200)
	if got := runtime.NumGoroutine(); got > goroutines+2 {
		t.Errorf("%d goroutines, %d before", got, goroutines)
	}
	if got := resident(t); got > memory+100<<20 {
		t.Errorf("%d MiB in memory, %d before", got>>20, memory>>20)
	}
	if cancelled.Load() < 50 {
		t.Errorf("only %d were cancelled in the middle", cancelled.Load())
	}
	var kept int
	if err := a.db.QueryRowContext(t.Context(), "SELECT count(*) FROM duckdb_tables()").Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d tables are left in the engine, %v", kept, err)
	}
	if _, last := searched(t, a, Search{Query: "| count"}); last.Table.Rows[0][0] != "60000" {
		t.Errorf("afterwards %v are counted", last.Table.Rows)
	}
	t.Logf("%d cancelled, %d MiB, then %d MiB", cancelled.Load(), memory>>20, resident(t)>>20)
}

// TestTenAtOnce lets some of ten searches be cancelled while batches come in.
func TestTenAtOnce(t *testing.T) {
	a := crowd(t)
	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			ctx := t.Context()
			if n%3 == 0 {
				limited, cancel := context.WithTimeout(ctx, time.Duration(n+1)*time.Millisecond)
				defer cancel()
				ctx = limited
			}
			var last Part
			err := a.Search(ctx, heavy(), func(p Part) error { last = p; return nil })
			if n%3 != 0 && (err != nil || !last.Done || len(last.Table.Rows) == 0) {
				t.Errorf("search %d: %v, done %v", n, err, last.Done)
			}
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("search %d: %v", n, err)
			}
		})
	}
	all.Go(func() {
		for n := range 10 {
			appended(t, a, batchOf(500+n, 100))
			b := batchOf(600+n, 100)
			a.Preview(t.Context(), []event.Batch{b})
			if events, _ := searched(t, a, Search{Query: "id=" + b.Events[5].ID}); len(events) != 1 {
				t.Errorf("batch %d is not seen", n)
			}
		}
	})
	all.Wait()
}

func TestTooManyAtOnceAreRefused(t *testing.T) {
	a := open(t, t.TempDir())
	appended(t, a, batchOf(1, 10))
	entered, finish := make(chan struct{}, atOnce), make(chan struct{})
	var all sync.WaitGroup
	block := func() {
		err := a.Search(t.Context(), Search{}, func(p Part) error {
			entered <- struct{}{}
			<-finish
			return errors.New("enough")
		})
		if err == nil || !strings.Contains(err.Error(), "enough") {
			t.Errorf("the error of each is not returned: %v", err)
		}
	}
	for range atOnce {
		all.Go(block)
	}
	for range atOnce {
		<-entered
	}
	waitingCtx, stop := context.WithCancel(t.Context())
	for range waiting {
		all.Go(func() {
			if err := a.Search(waitingCtx, Search{}, func(Part) error { return nil }); !errors.Is(err, context.Canceled) {
				t.Errorf("waiting: %v", err)
			}
		})
	}
	for len(a.searching.queue) < atOnce+waiting {
		runtime.Gosched()
	}
	if err := a.Search(t.Context(), Search{}, func(Part) error { return nil }); fault.Of(err) != fault.Busy {
		t.Errorf("one too many: %v", err)
	}
	appended(t, a, batchOf(2, 10)) // the intake goes on
	stop()
	close(finish)
	all.Wait()
	if events, _ := searched(t, a, Search{}); len(events) != 20 {
		t.Errorf("%d events afterwards", len(events))
	}
}

func TestLimitsOfOneSearch(t *testing.T) {
	a := crowd(t)
	a.wall = time.Millisecond
	if err := a.Search(t.Context(), heavy(), func(Part) error { return nil }); fault.Of(err) != fault.Busy || !strings.Contains(err.Error(), "search.too-long-running") {
		t.Errorf("too long: %v", err)
	}
	a.wall = time.Minute
	small, err := openEngine(t.Context(), a.dir, "24MB", 2)
	if err != nil {
		t.Fatal(err)
	}
	large := a.db
	a.db = small
	err = a.Search(t.Context(), heavy(), func(Part) error { return nil })
	a.db = large
	if err := errors.Join(err, small.Close()); fault.Of(err) != fault.Busy || !strings.Contains(err.Error(), "search.too-much") {
		t.Errorf("too much: %v", err)
	}
	if _, last := searched(t, a, Search{Query: "| count by FlowId, ProcessId"}); !last.Table.More || len(last.Table.Rows) != 10_000 {
		t.Errorf("%d rows, more %v", len(last.Table.Rows), last.Table.More)
	}
	for _, s := range []Search{{Query: "(a"}, {Query: "a", After: "x"},
		{After: position{at: math.MaxInt64}.String()}, {After: position{at: math.MinInt64}.String()}, {After: position{at: math.MinInt64 + 1}.String()}, {Query: "command:/(?P<n>a/"}} {
		if err := a.Search(t.Context(), s, func(Part) error { return nil }); fault.Of(err) != fault.Invalid {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// TestSitesCannotBeEscaped asks for what belongs to another site in every way.
func TestSitesCannotBeEscaped(t *testing.T) {
	a := open(t, t.TempDir())
	mine, other := batchOf(1, 50), batchOf(2, 50)
	other.Site = "si-hospital"
	for i := range other.Events {
		other.Events[i].Site = other.Site
	}
	appended(t, a, mine, other)
	sites := []string{mine.Site}
	for _, q := range []string{"", "a OR site:si-hospital", "site=si-hospital", "NOT site:si-callcentre", "-zzz OR site:*", "kind:flow OR kind:log OR x",
		`"') OR (1=1" OR NOT x`, "id=" + other.Events[0].ID, "host:" + other.Host, "NOT (a b) OR NOT c", "site in (si-hospital, si-callcentre)", "time>-10000d OR drill:false"} {
		err := a.Search(t.Context(), Search{Query: q, Sites: sites, Limit: 1000}, func(p Part) error {
			for _, e := range p.Events {
				if e.Site != mine.Site {
					return fmt.Errorf("an event of %s", e.Site)
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", q, err)
		}
		for _, none := range [][]string{{}, {"si-none"}} {
			events, _ := searched(t, a, Search{Query: q, Sites: none})
			if len(events) != 0 {
				t.Errorf("%s: %d events for %v", q, len(events), none)
			}
		}
		if _, last := searched(t, a, Search{Query: q + " | count by site", Sites: sites}); len(last.Table.Rows) > 1 || len(last.Table.Rows) == 1 && last.Table.Rows[0][0] != mine.Site {
			t.Errorf("%s: %v", q, last.Table.Rows)
		}
	}
	st, err := a.Field(t.Context(), Search{Query: "site:* OR x", Sites: sites}, "site", 5)
	if err != nil || st.Distinct != 1 || st.Present != 50 {
		t.Errorf("field: %+v %v", st, err)
	}
	if got, err := a.Suggest(t.Context(), "site", "", sites, 9); err != nil || len(got) != 1 {
		t.Errorf("suggest: %v %v", got, err)
	}
	n, err := a.Export(t.Context(), Search{Query: "a OR NOT a", Sites: sites}, FormatJSONL, discard{})
	if err != nil || n != 50 {
		t.Errorf("export: %d %v", n, err)
	}
	bars, err := a.Histogram(t.Context(), Search{Sites: sites}, 3)
	total := int64(0)
	for _, b := range bars {
		total += b.Count
	}
	if err != nil || total != 50 {
		t.Errorf("histogram: %v %v", bars, err)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
