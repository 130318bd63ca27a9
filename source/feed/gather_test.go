package feed

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

func TestEventsGoToTheMachineTheyAreAbout(t *testing.T) {
	var mu sync.Mutex
	got := map[string][]event.Event{}
	refusals := 1
	g := &Gatherer{Site: "hospital", Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Hosts: func(context.Context) (map[netip.Addr]string, error) {
			return map[netip.Addr]string{netip.MustParseAddr("192.168.1.5"): "ho-1"}, nil
		},
		Publish: func(_ context.Context, b event.Batch) error {
			mu.Lock()
			defer mu.Unlock()
			if refusals > 0 {
				refusals--
				return errors.New("full")
			}
			got[b.Host] = append(got[b.Host], b.Events...)
			return nil
		}}
	g.Begin()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	out := netip.MustParseAddrPort("198.51.100.7:443")
	for _, src := range []string{"192.168.1.5:50000", "192.168.1.6:50000", "203.0.113.1:5"} {
		g.Flow(flow.Flow{ID: src, Phase: flow.End, Proto: "tcp", Src: netip.MustParseAddrPort(src), Dst: out, Sensor: "netflow 192.0.2.1", First: time.Now(), Last: time.Now()})
	}
	if !g.Wait(ctx, event.Event{Fields: map[string]string{"src_ip": "198.51.100.9", "dest_ip": "192.168.1.5"}}) {
		t.Error("not taken")
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		mu.Lock()
		n := len(got["ho-1"]) + len(got["ip-192-168-1-6"]) + len(got["sensor"])
		mu.Unlock()
		if n == 4 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %v", got)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if e := got["ho-1"]; len(e) != 2 || e[0].Host != "ho-1" || e[0].Site != "hospital" || e[0].ID == e[1].ID || e[0].Fields["Sensor"] != "netflow 192.0.2.1" {
		t.Errorf("got %+v", e)
	}
}
