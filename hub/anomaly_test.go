package hub

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/event"
)

// TestDecoysAreWhatTheGuardTold: those of the machine alone, and those that it
// told of before it began anew.
func TestDecoysAreWhatTheGuardTold(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	a, err := archive.Open(t.Context(), t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	h := &Hub{archive: a, log: log}
	at := time.Now().UTC().Add(-time.Hour)
	told := func(id, host, what, decoys string) event.Event {
		at = at.Add(time.Second)
		return event.Event{ID: id, Time: at, Site: "clinic", Host: host, Kind: event.KindHealth, Product: "sonae", Service: "agent", Fields: map[string]string{"Event": what, "Decoys": decoys}}
	}
	batch := event.Batch{ID: "b", Site: "clinic", Host: "ho-1", Events: []event.Event{told("b-0", "ho-1", "guard-on", "/srv/00_a.csv\n/srv/zz_b.csv"), told("b-1", "ho-2", "guard-on", "/srv/other.csv"),
		told("b-2", "ho-1", "guard-on", ""), told("b-3", "ho-1", "guard-off", "/srv/not.csv")}}
	if _, err := a.Append(t.Context(), []event.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	got, err := h.decoysOf(t.Context(), "ho-1")
	if want := []string{"/srv/00_a.csv", "/srv/zz_b.csv"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("decoys %q, want %q; %v", got, want, err)
	}
}
