package hub_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/hub/hubtest"
)

// Ids of rules of behaviours.
const (
	ruleExfiltration = "e2a214e8-bbe9-4675-9d52-490575ffc53d"
	ruleBorder       = "6cc3ba50-3183-4d1d-b933-dffe9f578985"
)

// sent is a connection of an agent that ended.
func sent(i int, to, port string, bytes int64) event.Event {
	at := time.Now().UTC().Add(-time.Minute).Add(time.Duration(i) * time.Second)
	return event.Event{Time: at, Kind: event.KindFlow, Product: "sonae", Category: "network_connection", Service: "flow", Fields: map[string]string{
		event.FieldFlowID: fmt.Sprint("f", i), event.FieldPhase: string(flow.End), event.FieldProtocol: "tcp", event.FieldInitiated: "true",
		event.FieldSrcIP: "192.168.10.31", event.FieldLocalIP: "192.168.10.31", event.FieldLocalPort: "40000", event.FieldRemoteIP: to, event.FieldRemotePort: port,
		event.FieldDstIP: to, event.FieldDstPort: port, event.FieldSent: strconv.FormatInt(bytes, 10), event.FieldReceived: "20000", event.FieldPackets: "4000"}}
}

// TestWhatAHostDoesRaisesAnAlert sends connections as an agent does, and waits
// for the alerts of the behaviours they add up to.
func TestWhatAHostDoesRaisesAnAlert(t *testing.T) {
	t.Parallel()
	dir := hubtest.Folder(t)
	policy := "segments:\n  - {name: wards, networks: [192.168.10.0/24]}\n  - {name: devices, networks: [192.168.20.0/24]}\nforbid:\n  - {from: wards, to: devices}\n"
	if err := os.WriteFile(filepath.Join(dir, "segments.yml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	h := hubtest.Start(t, hubtest.Dir(dir))
	h.Site("clinic", "hospital")
	agent, admin := h.Enrol("clinic", "pc-1"), h.FirstAdmin()
	agent.Report(sent(1, "198.51.100.23", "443", 200<<20), sent(2, "192.168.20.9", "104", 2000))
	found := h.Alert(admin, ruleBorder)
	if found.Host != agent.Identity().Host || len(found.Peers) != 1 || found.Peers[0].Address != "192.168.20.9:104" {
		t.Errorf("alert %+v", found)
	}
	h.Idle()
	for _, a := range hubtest.List[alert.Alert](admin, "/alerts") {
		if a.Rule.ID == ruleExfiltration {
			t.Errorf("200 MB of a host that is not known yet are told: %+v", a)
		}
	}
	agent.Report(sent(3, "198.51.100.23", "443", 70<<20))
	found = h.Alert(admin, ruleExfiltration)
	if found.Sent != 270<<20 {
		t.Errorf("the alert says %d bytes, want what went in both connections", found.Sent)
	}
}
