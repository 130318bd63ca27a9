package archive

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
)

func searched(t testing.TB, a *Archive, s Search) (events []event.Event, last Part) {
	t.Helper()
	err := a.Search(t.Context(), s, func(p Part) error {
		if last.Done {
			t.Error("a part after the last one")
		}
		events = append(events, p.Events...)
		last = p
		return nil
	})
	if err != nil {
		t.Fatalf("search %+v: %v", s, err)
	}
	if !last.Done {
		t.Errorf("search %+v: no last part", s)
	}
	return events, last
}

func TestPagesFollowEachOther(t *testing.T) {
	a := open(t, t.TempDir())
	for n := range 10 {
		appended(t, a, batchOf(n, 300), batchOf(100-n, 100))
	}
	all, last := searched(t, a, Search{Limit: MaxFound})
	if len(all) != 4000 || last.Next != "" {
		t.Fatalf("%d events, next %q", len(all), last.Next)
	}
	var paged []event.Event
	pages := 0
	for s := (Search{Limit: 370}); ; pages++ {
		events, last := searched(t, a, s)
		paged = append(paged, events...)
		if last.Next == "" {
			break
		}
		s.After = last.Next
	}
	if diff := cmp.Diff(all, paged); diff != "" || pages != 10 {
		t.Errorf("%d pages:\n%s", pages, diff)
	}
}
