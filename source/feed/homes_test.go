package feed

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

func TestWhatASensorOverheardIsGivenToItsMachine(t *testing.T) {
	asked := 0
	h := Homes{Now: time.Now, Log: slog.New(slog.DiscardHandler), Hosts: func(_ context.Context, site string) (map[netip.Addr]string, error) {
		asked++
		switch site {
		case "callcentre":
			return map[netip.Addr]string{netip.MustParseAddr("192.168.1.5"): "ho-cc"}, nil
		case "hospital":
			return map[netip.Addr]string{netip.MustParseAddr("192.168.1.5"): "ho-hospital"}, nil
		}
		return nil, errors.New("no such site")
	}}
	talk := func(src, dst, sensor string) event.Event {
		f := flow.Flow{Proto: "tcp", Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst), Sensor: sensor}
		e := flow.Event(f, Private)
		e.Host = "ho-sensor"
		return e
	}
	for _, c := range []struct {
		name, site string
		e          event.Event
		want       string
	}{
		{"an enrolled machine", "callcentre", talk("192.168.1.5:50000", "203.0.113.7:6881", "mirror"), "ho-cc"},
		{"the same address at another site", "hospital", talk("203.0.113.7:50000", "192.168.1.5:443", "mirror"), "ho-hospital"},
		{"a machine without an agent", "callcentre", talk("192.168.1.6:50000", "203.0.113.7:6881", "suricata"), "ip-192-168-1-6"},
		{"two strangers", "callcentre", talk("198.51.100.1:50000", "203.0.113.7:6881", "mirror"), "ho-sensor"},
		{"the machine's own", "callcentre", talk("192.168.1.5:50000", "203.0.113.7:6881", ""), "ho-sensor"},
		{"a site that cannot be asked", "else", talk("192.168.1.5:50000", "203.0.113.7:6881", "mirror"), "ip-192-168-1-5"},
	} {
		b := event.Batch{Site: c.site, Host: "ho-sensor", Events: []event.Event{c.e}}
		h.Settle(t.Context(), &b)
		if got := b.Events[0].Host; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if asked != 3 {
		t.Errorf("asked %d times, want once for each site", asked)
	}
}
