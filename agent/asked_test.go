package agent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

var asking0 = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)

// listener is an asked of the machine 10.0.0.5 whose events are gathered.
func listener() (*asked, *[]event.Event) {
	var got []event.Event
	here := func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.5") }
	return newAsked(here, false, func(e event.Event) { got = append(got, e) }), &got
}

func dns(at time.Time, name string, answer ...string) flow.Message {
	m := flow.Message{Flow: "f", At: at, Proto: "udp", Src: netip.MustParseAddrPort("10.0.0.5:40000"), Dst: netip.MustParseAddrPort("10.0.0.1:53"),
		FromOpener: len(answer) == 0, Label: flow.LabelDNS, Facts: []flow.Fact{{Name: flow.FactQuery, Value: name}, {Name: flow.FactRecordType, Value: "A"}}}
	for _, a := range answer {
		m.Facts = append(m.Facts, flow.Fact{Name: flow.FactAnswer, Value: a})
	}
	return m
}

func TestAQuestionAndItsAnswerAreOneEvent(t *testing.T) {
	a, got := listener()
	a.message(dns(asking0, "pacs.example.jp"))
	a.message(dns(asking0.Add(time.Millisecond), "pacs.example.jp", "192.0.2.4", "192.0.2.5"))
	a.tick(asking0.Add(10 * time.Second))
	if len(*got) != 1 {
		t.Fatalf("%d events, want one", len(*got))
	}
	e := (*got)[0]
	for name, want := range map[string]string{"query": "pacs.example.jp", "record_type": "A", "answer": "192.0.2.4\n192.0.2.5", event.FieldInitiated: "true",
		event.FieldLocalIP: "10.0.0.5", event.FieldRemoteIP: "10.0.0.1", event.FieldRemotePort: "53", flow.FieldFrom: flow.FromServer} {
		if e.Fields[name] != want {
			t.Errorf("%s is %q, want %q", name, e.Fields[name], want)
		}
	}
	if e.Kind != event.KindMessage || e.Category != "dns" || e.Service != "dns" {
		t.Errorf("event %+v", e)
	}
}

func TestTheSameWithinAMinuteIsCounted(t *testing.T) {
	a, got := listener()
	for i := range 30 {
		at := asking0.Add(time.Duration(i) * time.Second)
		a.message(dns(at, "time.example.jp"))
		a.message(dns(at, "time.example.jp", "192.0.2.4"))
		a.tick(at)
	}
	a.tick(asking0.Add(61 * time.Second))
	if len(*got) != 2 || (*got)[0].Fields[flow.FieldTimes] != "" || (*got)[1].Fields[flow.FieldTimes] != "29" {
		t.Errorf("%d events: %v", len(*got), *got)
	}
	if len(a.open) != 0 || a.order.Len() != 0 {
		t.Error("an old question is held")
	}
}

func TestAQuestionWithoutAnAnswerIsToldLate(t *testing.T) {
	a, got := listener()
	a.message(dns(asking0, "gone.example.jp"))
	a.tick(asking0.Add(4 * time.Second))
	if len(*got) != 0 {
		t.Fatal("told before an answer could come")
	}
	a.tick(asking0.Add(5 * time.Second))
	a.message(dns(asking0.Add(6*time.Second), "last.example.jp"))
	a.flush()
	if len(*got) != 2 {
		t.Errorf("%d events, want both questions", len(*got))
	}
}

func TestAFloodIsBoundedAndCounted(t *testing.T) {
	a, got := listener()
	const asked = 20000
	for i := range asked {
		a.message(dns(asking0.Add(time.Duration(i)*time.Millisecond), fmt.Sprint("x", i, ".example.com")))
		if len(a.open) > askedOpen {
			t.Fatalf("%d questions are held", len(a.open))
		}
	}
	a.flush()
	if most := askedBurst + 20*askedPerSecond + 1; len(*got) > most || len(*got) < askedBurst {
		t.Errorf("%d events in 20 s, want at most %d", len(*got), most)
	}
	if uint64(len(*got))+a.left != asked {
		t.Errorf("%d told and %d left out, of %d", len(*got), a.left, asked)
	}
}

func TestWhatOthersAskIsNotTold(t *testing.T) {
	a, got := listener()
	m := dns(asking0, "pacs.example.jp", "192.0.2.4")
	m.Src, m.Dst = netip.MustParseAddrPort("10.0.0.8:40000"), netip.MustParseAddrPort("10.0.0.5:53")
	a.message(m)
	a.flush()
	if len(*got) != 0 {
		t.Error("a name server tells what it is asked")
	}
}
