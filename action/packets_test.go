package action

import (
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

func TestPacketsOfAConnection(t *testing.T) {
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	phase := func(last time.Duration) event.Event {
		return event.Event{Host: "ho-1", Fields: map[string]string{event.FieldProtocol: "tcp", event.FieldSrcIP: "2001:db8::1", event.FieldSrcPort: "1", event.FieldDstIP: "2001:db8::2",
			event.FieldDstPort: "80", event.FieldFirst: at.Format(time.RFC3339Nano), event.FieldLast: at.Add(last).Format(time.RFC3339Nano)}}
	}
	q, err := PacketsOf([]event.Event{phase(time.Second), phase(time.Hour)})
	if err != nil || q.Host != "ho-1" || !q.Packets.Only || len(q.Packets.Flows) != 1 || q.Packets.Flows[0] != (order.Flow{Proto: "tcp", A: "[2001:db8::1]:1", B: "[2001:db8::2]:80"}) ||
		!q.Packets.From.Equal(at.Add(-aroundIt)) || !q.Packets.To.Equal(at.Add(time.Hour+aroundIt)) {
		t.Errorf("%+v %+v %v", q, q.Packets, err)
	}
	broken := phase(0)
	broken.Fields[event.FieldDstPort] = "x"
	other := phase(0)
	other.Host = "ho-2"
	for name, list := range map[string][]event.Event{"nothing": nil, "no port": {broken}, "two hosts": {phase(0), other}, "no flow": {{Host: "ho-1"}}} {
		if _, err := PacketsOf(list); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: error %v, want Invalid", name, err)
		}
	}
}
