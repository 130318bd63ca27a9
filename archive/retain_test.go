package archive

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
)

// later makes an archive whose clock can be set.
func later(t *testing.T, dir string, b *books, at *time.Time, more ...Option) *Archive {
	t.Helper()
	return openEager(t, dir, b, append([]Option{WithClock(func() time.Time { return *at })}, more...)...)
}

func kindsIn(t *testing.T, a *Archive) map[event.Kind]int {
	t.Helper()
	found := map[event.Kind]int{}
	for _, e := range query(t, a, Query{Limit: 1000}) {
		found[e.Kind]++
	}
	return found
}

func TestRetentionDropsWhatIsOver(t *testing.T) {
	dir, b, at := t.TempDir(), &books{}, noon()
	a := later(t, dir, b, &at)
	for n := range 4 {
		b.add(appended(t, a, batchOf(n, 40)))
	}
	maintained(t, a)
	all := kindsIn(t, a)
	at = noon().AddDate(0, 0, 90)
	maintained(t, a)
	if diff := cmp.Diff(all, kindsIn(t, a)); diff != "" {
		t.Errorf("after 90 days:\n%s", diff)
	}
	at = noon().AddDate(0, 0, 91)
	maintained(t, a)
	want := map[event.Kind]int{event.KindFlow: all[event.KindFlow], event.KindLog: all[event.KindLog], event.KindProcess: all[event.KindProcess]}
	if diff := cmp.Diff(want, kindsIn(t, a)); diff != "" {
		t.Errorf("after 91 days:\n%s", diff)
	}
	sound(t, dir, b)
	closed(t, a)
	at = noon().AddDate(6, 0, 3)
	a = later(t, dir, b, &at)
	again := appended(t, a, batchOf(1, 40)) // what was stored once is not stored again when it is gone
	maintained(t, a)
	if got := kindsIn(t, a); len(got) > 0 || len(again) != 1 {
		t.Errorf("after six years: %v, %v", got, again)
	}
	r := sound(t, dir, b)
	drops := slices.DeleteFunc(slices.Clone(b.leaves), func(l leaf.Leaf) bool { return l.Type != "drop" })
	if len(drops) != 4 || r.Checked.Segments != 0 {
		t.Errorf("%d drops were recorded; %+v", len(drops), r.Checked)
	}
}

func TestAgeCountsFromArrival(t *testing.T) {
	dir, b, at := t.TempDir(), &books{}, noon()
	a := later(t, dir, b, &at, WithRetention(Retention{ClassNetwork: 48 * time.Hour}))
	old, future := batchOf(1, 5), batchOf(2, 5)
	for i := range old.Events {
		old.Events[i].Kind, future.Events[i].Kind = event.KindFlow, event.KindFlow
		old.Events[i].Time = noon().AddDate(-9, 0, 0)
		future.Events[i].Time = noon().AddDate(90, 0, 0)
	}
	b.add(appended(t, a, old, future))
	b.add(appended(t, a, batchOf(3, 20)))
	b.add(appended(t, a, batchOf(4, 20)))
	maintained(t, a)
	for days, want := range []int{0: 10, 1: 10, 2: 10, 3: 0} {
		at = noon().AddDate(0, 0, days)
		maintained(t, a)
		got := 0
		for _, id := range []string{old.Events[0].ID, old.Events[4].ID, future.Events[0].ID, future.Events[4].ID} {
			got += len(query(t, a, Query{IDs: []string{id}}))
		}
		if got != want*4/10 {
			t.Errorf("after %d days: %d of 4 are there, want %d", days, got, want*4/10)
		}
	}
	if got := kindsIn(t, a); got[event.KindHealth] == 0 || got[event.KindFlow] != 0 {
		t.Errorf("classes without a limit are kept for good: %v", got)
	}
	sound(t, dir, b)
}

func TestHeldEventsStay(t *testing.T) {
	dir, b, at := t.TempDir(), &books{}, noon()
	a := later(t, dir, b, &at)
	for n := range 5 { // each of another host and day
		batch := batchOf(n, 30)
		for i := range batch.Events {
			batch.Events[i].Time = batch.Events[i].Time.AddDate(0, 0, n)
		}
		b.add(appended(t, a, batch))
	}
	held := Hold{Incident: "in-1", Hosts: []string{"ho-2", "ho-1", "ho-2"}, From: noon().AddDate(0, 0, 2), To: noon().AddDate(0, 0, 3)}
	for range 2 {
		if err := a.Hold(t.Context(), held); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Hold(t.Context(), Hold{Incident: "in-2", Sites: []string{"si-nowhere"}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Hold(t.Context(), Hold{}); fault.Of(err) != fault.Invalid {
		t.Errorf("hold of no incident: %v", err)
	}
	if got := a.Holds(); len(got) != 2 || !cmp.Equal(got[0].Hosts, []string{"ho-1", "ho-2"}) {
		t.Errorf("holds: %+v", got)
	}
	maintained(t, a)
	closed(t, a)
	at = noon().AddDate(6, 1, 0)
	a = later(t, dir, b, &at)
	maintained(t, a)
	left := query(t, a, Query{Limit: 1000})
	if len(left) != 30 || left[0].Host != "ho-2" {
		t.Errorf("%d events are left", len(left))
	}
	sound(t, dir, b)
	if err := a.Unhold(t.Context(), "in-1"); err != nil {
		t.Fatal(err)
	}
	maintained(t, a)
	if got := query(t, a, Query{Limit: 1000}); len(got) != 30 {
		t.Errorf("%d events of a case that is over are left, want all for seven years", len(got))
	}
	at = noon().AddDate(7, 1, 0)
	maintained(t, a)
	if got := query(t, a, Query{Limit: 1000}); len(got) != 0 {
		t.Errorf("%d events are left after seven years", len(got))
	}
	sound(t, dir, b)
	if got := a.Holds(); len(got) != 1 {
		t.Errorf("holds: %+v", got)
	}
}

// TestArchiveOfTheFirstRelease opens, extends, merges and checks what the first
// release wrote.
func TestArchiveOfTheFirstRelease(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/v1")); err != nil {
		t.Fatal(err)
	}
	b := &books{}
	old, err := os.ReadFile("testdata/v1-leaves.json")
	if err == nil {
		err = json.Unmarshal(old, &b.leaves)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r := sound(t, dir, b); r.Checked.Events != 120 || r.Checked.Segments != 4 {
		t.Errorf("before opening: %+v", r)
	}
	before := slices.Clone(b.leaves)
	a := openEager(t, dir, b)
	var batches []event.Batch
	for n := range 8 {
		batches = append(batches, batchOf(n, 15))
	}
	if again := appended(t, a, batches...); !cmp.Equal(again, before) {
		t.Errorf("leaves of old batches: %+v, want %+v", again, before)
	}
	batches = append(batches, batchOf(8, 15))
	b.add(appended(t, a, batches[8]))
	want := newestFirstEvents(batches...)
	for _, step := range []string{"unmerged", "merged", "merged again"} {
		if diff := cmp.Diff(want, query(t, a, Query{Limit: 1000})); diff != "" {
			t.Errorf("%s:\n%s", step, diff)
		}
		sound(t, dir, b)
		maintained(t, a)
	}
	if s := a.Stats(); s.Merged != s.Segments || s.Events != 135 {
		t.Errorf("stats: %+v", s)
	}
	for n := range 30 { // so that the lines of the first release leave the manifest
		b.add(appended(t, a, batchOf(100+n, 5)))
		maintained(t, a)
	}
	if len(a.index.histories) == 0 {
		t.Error("nothing was compacted")
	}
	sound(t, dir, b)
	closed(t, a)
	a = openEager(t, dir, b)
	if again := appended(t, a, batches...); a.Stats().Events != 285 {
		t.Errorf("old batches were stored again: %+v", again)
	}
}

func TestAFullDiskUndoesAMerge(t *testing.T) {
	dir, b := t.TempDir(), &books{}
	a := openEager(t, dir, b, func(a *Archive) { a.policy.reserve = 1 << 60 })
	for n := range 4 {
		b.add(appended(t, a, batchOf(n, 20)))
	}
	if err := a.maintain(t.Context()); fault.Of(err) != fault.Busy {
		t.Errorf("got %v, want busy", err)
	}
	if s := a.Stats(); s.Merged != 0 || s.Events != 80 {
		t.Errorf("stats: %+v", s)
	}
	sound(t, dir, b)
	a.policy.reserve = 0
	maintained(t, a)
	if s := a.Stats(); s.Merged == 0 || s.Events != 80 {
		t.Errorf("stats: %+v", s)
	}
	sound(t, dir, b)
}

func TestTheLedgerIsToldAgainAfterAFailure(t *testing.T) {
	dir, b := t.TempDir(), &books{}
	a, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler), append(eager(b), WithLedger(nil))...)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		b.add(appended(t, a, batchOf(n, 20)))
	}
	maintained(t, a)
	if err := a.Hold(t.Context(), Hold{Incident: "in-1"}); err != nil {
		t.Fatal(err)
	}
	closed(t, a)
	if r := checked(t, dir, b.leaves); len(r.Leftovers) != 2 || len(r.Differences) != 0 {
		t.Errorf("not recorded: %+v", r)
	}
	a = openEager(t, dir, b)
	maintained(t, a)
	sound(t, dir, b)
	fmt.Fprintln(t.Output(), len(b.leaves), "leaves")
}
