package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/forensic"
	"github.com/sonae/sonae/agent/linktest"
)

// TestEvidenceSurvivesARestartOfTheHub: the hub goes away in the middle of a
// collection; all items arrive, each once.
func TestEvidenceSurvivesARestartOfTheHub(t *testing.T) {
	h := linktest.Start(t)
	client, id := h.Enrol("callcentre")
	do := preserver(forensic.New(forensic.Config{Ring: &recent{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)}), client, time.Now)
	o := order.Order{ID: "or-1", Kind: order.Preserve, Host: id.Host, Action: "ac-1", Bag: "bg-1", PID: os.Getpid(), ExpiresAt: time.Now().Add(time.Hour)}
	var results []order.Result
	var once sync.Once
	var back sync.WaitGroup
	do(t.Context(), o, func(r order.Result) {
		results = append(results, r)
		once.Do(func() {
			h.Stop()
			back.Go(func() { time.Sleep(500 * time.Millisecond); h.Listen(h.Addr) }) // long enough for a try to fail
		})
	})
	back.Wait()
	last := results[len(results)-1]
	if last.Phase != order.Done || len(results) < 5 {
		t.Fatalf("%d results, the last %+v", len(results), last)
	}
	h.Mu.Lock()
	defer h.Mu.Unlock()
	if len(h.Items) < len(results)-1 {
		t.Errorf("%d items for %d steps", len(h.Items), len(results)-1)
	}
	found := false
	for path, b := range h.Items {
		if !strings.HasPrefix(path, id.Host+"/bg-1/") {
			t.Errorf("item %s", path)
		}
		self, err := os.ReadFile("/proc/self/exe")
		found = found || (err == nil && bytes.Equal(b, self))
	}
	if !found {
		t.Error("the executable of the process of interest is missing")
	}
}

func TestCollectionEndsWithTheAgent(t *testing.T) {
	h := linktest.Start(t)
	client, id := h.Enrol("callcentre")
	h.Stop()
	do := preserver(forensic.New(forensic.Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)}), client, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	do(ctx, order.Order{ID: "or-1", Kind: order.Preserve, Host: id.Host, Bag: "bg-1", ExpiresAt: time.Now().Add(time.Hour)}, func(r order.Result) {
		t.Errorf("reported %+v", r)
	})
}
