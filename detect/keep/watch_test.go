package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// house is a Watcher over a folder, whose behaviours are gathered.
type house struct {
	*Watcher
	watch  *baseline.Watch
	found  []event.Batch
	refuse error
	now    time.Time
	log    strings.Builder
}

func openHouse(t *testing.T, dir string) *house {
	t.Helper()
	store, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{watch: baseline.New(baseline.Config{}), now: time.Date(2026, 4, 6, 0, 0, 0, 0, time.UTC)}
	h.Watcher = NewWatcher(WatchDeps{Watch: h.watch, Store: store, Log: slog.New(slog.NewTextHandler(&h.log, nil)), Now: func() time.Time { return h.now },
		Decode: func(_ context.Context, body []byte) (b event.Batch, err error) { return b, json.Unmarshal(body, &b) },
		Publish: func(_ context.Context, b event.Batch) error {
			if h.refuse == nil {
				h.found = append(h.found, b)
			}
			return h.refuse
		}})
	if err := h.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// takeUpload hands over one batch with an upload of 4 MiB.
func (h *house) takeUpload(t *testing.T, i int) {
	t.Helper()
	at := h.now.Add(time.Duration(i) * time.Second)
	e := event.Event{ID: fmt.Sprint("e", i), Time: at, Kind: event.KindFlow, Product: "sonae", Category: "network_connection", Service: "flow", Fields: map[string]string{
		event.FieldFlowID: fmt.Sprint("f", i), event.FieldPhase: string(flow.End), event.FieldProtocol: "tcp", event.FieldInitiated: "true",
		event.FieldLocalIP: "10.0.0.5", event.FieldLocalPort: "40000", event.FieldRemoteIP: "198.51.100.23", event.FieldRemotePort: "443",
		event.FieldSent: fmt.Sprint(4 << 20), event.FieldReceived: "20000", event.FieldPackets: "4000"}}
	body, err := json.Marshal(event.Batch{ID: fmt.Sprint("b", i), Site: "s", Host: "h", Events: []event.Event{e}})
	if err != nil {
		t.Fatal(err)
	}
	h.Take(t.Context(), body)
}

func TestBehavioursAreToldOnceOverRestarts(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	for i := range 3 {
		h.takeUpload(t, i)
	}
	if err := h.Keep(t.Context()); err != nil || len(h.found) > 0 {
		t.Fatal(err, h.found)
	}
	h = openHouse(t, dir)
	for i := range 8 { // the first three come again
		h.takeUpload(t, i)
	}
	if len(h.found) != 1 || len(h.found[0].Events) != 1 {
		t.Fatalf("found %+v", h.found)
	}
	e := h.found[0].Events[0]
	if e.Service != baseline.Exfiltration || e.Host != "h" || e.Site != "s" || e.Fields[event.FieldSent] != fmt.Sprint(16<<20) || h.found[0].ID != "behaviours of b3" {
		t.Errorf("%s: %+v", h.found[0].ID, e)
	}
}

func TestBehavioursWaitForTheBus(t *testing.T) {
	h := openHouse(t, t.TempDir())
	h.refuse = errors.New("the bus is full")
	for i := range 5 {
		h.takeUpload(t, i)
	}
	if err := h.Save(t.Context()); !errors.Is(err, h.refuse) {
		t.Errorf("acknowledged although a behaviour waits: %v", err)
	}
	h.refuse = nil
	if err := h.Save(t.Context()); err != nil || len(h.found) != 1 {
		t.Errorf("%v, %d batches", err, len(h.found))
	}
}

func TestTheStateIsWrittenOnceAMinute(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	h.takeUpload(t, 0)
	if err := h.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := openHouse(t, dir).watch.Stats().Hosts; n != 0 {
		t.Error("written at once")
	}
	h.now = h.now.Add(saveEvery)
	if err := h.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := openHouse(t, dir).watch.Stats().Hosts; n != 1 {
		t.Error("not written after a minute")
	}
}

func TestAnotherHubsBaselinesAreNotUndone(t *testing.T) {
	dir := t.TempDir()
	one, two := openHouse(t, dir), openHouse(t, dir)
	two.takeUpload(t, 0)
	if err := two.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	one.takeUpload(t, 1)
	if err := one.Keep(t.Context()); !blob.IsChanged(err) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestBaselinesOfAnotherVersionAreSaid(t *testing.T) {
	dir := t.TempDir()
	store, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := shelf{store: store, log: slog.New(slog.DiscardHandler), what: "baselines"}
	if err := s.save(t.Context(), []byte("[]\nsonae-baseline of another version")); err != nil {
		t.Fatal(err)
	}
	h := openHouse(t, dir)
	if !strings.Contains(h.log.String(), "learned anew") {
		t.Errorf("log: %s", h.log.String())
	}
	h.takeUpload(t, 0)
	if err := h.Keep(t.Context()); err != nil {
		t.Errorf("cannot be kept again: %v", err)
	}
}
