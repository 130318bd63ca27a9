package hub_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/search/threat"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/source/feed"
)

const (
	suricataAlert = `{"timestamp":"2026-11-28T10:00:02.000000+0900","flow_id":3,"event_type":"alert","src_ip":"192.168.1.5","src_port":50002,"dest_ip":"203.0.113.9","dest_port":80,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":1,"signature":"ET TROJAN Example","severity":1}}` + "\n"
	networkRule   = "0d7a3c52-6f0e-4d3b-9a0b-6a3d8e0c7f11"
	suricataRule  = "3a9f6c0e-8e0b-4b1c-9d65-2f6c5b7a1e01"
)

// netflowOf is a NetFlow 5 datagram of one connection to 198.51.100.7.
func netflowOf(now time.Time) []byte {
	var b []byte
	for _, v := range []any{uint16(5), uint16(1), uint32(5000), uint32(now.Unix()), uint32(0), uint32(1), uint32(0),
		uint32(0xc0a80106), uint32(0xc6336407), uint32(0), uint32(0), uint32(3), uint32(300), uint32(1000), uint32(2000),
		uint16(40000), uint16(443), uint16(0x18), byte(6), byte(0), uint32(0), uint32(0)} {
		b, _ = binary.Append(b, binary.BigEndian, v)
	}
	return b
}

// TestOtherSensorsAndThreatLists has a hub read Suricata's file and NetFlow,
// and raise alerts by both, by a rule of its own and by a threat list.
func TestOtherSensorsAndThreatLists(t *testing.T) {
	t.Parallel()
	eve := filepath.Join(t.TempDir(), "eve.json")
	if err := os.WriteFile(eve, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := hubtest.Start(t, func(c *hub.Config) {
		c.Sensors = hub.Sensors{Site: "hospital", EVE: []string{eve}, Flows: "127.0.0.1:0", Exporters: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	})
	admin := h.FirstAdmin()
	h.Site("hospital", "hospital")
	time.Sleep(time.Second) // the file is open

	var d threat.Draft
	admin.Must("POST", "/threat-list-drafts", map[string]any{"text": "198.51.100.7\n10.0.0.1\n"}, &d)
	if d.Count != 1 || d.Reasons[ioc.Internal] != 1 {
		t.Fatalf("draft %+v", d)
	}
	var l threat.List
	admin.Must("POST", "/threat-list-drafts/"+d.ID+"/import", map[string]any{"name": "試験", "source": "NPA", "confidence": 80, "days": 30}, &l)
	f, err := os.OpenFile(eve, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(suricataAlert); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	c, err := net.Dial("udp", h.Addresses().Flows)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var one, two alert.Alert
	for end := time.Now().Add(90 * time.Second); one.ID == "" || two.ID == ""; time.Sleep(500 * time.Millisecond) {
		if _, err := c.Write(netflowOf(time.Now())); err != nil { // until the list is in force
			t.Fatal(err)
		}
		for _, a := range hubtest.List[alert.Alert](admin, "/alerts") {
			switch a.Rule.ID {
			case suricataRule:
				one = a
			case networkRule:
				two = a
			}
		}
		if time.Now().After(end) {
			t.Fatalf("alerts: %+v %+v", one, two)
		}
	}
	if one.Host != "ip-192-168-1-5" || two.Host != "ip-192-168-1-6" || one.Site != "hospital" {
		t.Errorf("alerts about %s and %s", one.Host, two.Host)
	}
}

// TestWhatAMirrorOverhearsIsAboutTheMachineThatDidIt: nobody may cut off the
// sensor for what another machine did.
func TestWhatAMirrorOverhearsIsAboutTheMachineThatDidIt(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	one := h.FirstAdmin()
	h.Site("callcentre", "contractor")
	sensor, pc := h.Enrol("callcentre", "mirror"), h.Enrol("callcentre", "pc-7")
	h.Site("clinic", "hospital")
	elsewhere := h.Enrol("clinic", "same-address")
	for _, a := range []*hubtest.Agent{elsewhere, pc} {
		if _, err := a.Heartbeat(t.Context(), wire.Heartbeat{At: time.Now(), Addresses: []string{"192.168.1.5"}}); err != nil {
			t.Fatal(err)
		}
	}
	talk := func(id, src string) event.Event {
		e := flow.Event(flow.Flow{ID: id, Phase: flow.Identified, Proto: "tcp", Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort("203.0.113.7:6881"),
			Label: flow.LabelBitTorrent, Confidence: flow.Certain, Rule: flow.RuleHandshake, Proof: []byte("\x13BitTorrent protocol"), Sensor: agent.SensorMirror,
			First: time.Now(), Last: time.Now()}, feed.Private)
		return e
	}
	sensor.Report(talk("fl-1", "192.168.1.5:50000"), talk("fl-2", "192.168.1.6:50000"))
	hosts := map[string]bool{}
	h.Await("two alerts", func() bool {
		for _, a := range hubtest.List[alert.Alert](one, "/alerts") {
			hosts[a.Host] = true
		}
		return len(hosts) >= 2
	})
	if len(hosts) != 2 || !hosts[pc.Identity().Host] || !hosts["ip-192-168-1-6"] {
		t.Errorf("alerts about %v, want %s and ip-192-168-1-6", hosts, pc.Identity().Host)
	}
}

// TestWhatIsCertainIsBlockedByItself where an approver said so beforehand: at
// the gateway, for a machine that has no agent, and for nobody else.
func TestWhatIsCertainIsBlockedByItself(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	one := h.FirstAdmin()
	h.Site("callcentre", "contractor")
	gateway := h.Enrol("callcentre", "gateway")
	if _, err := gateway.Heartbeat(t.Context(), wire.Heartbeat{At: time.Now(), Addresses: []string{"192.168.1.1"}, Hub: "192.168.10.5:8444", Health: wire.Health{Gateway: true}}); err != nil {
		t.Fatal(err)
	}
	approver := h.Person("approver", "", auth.Administrator, auth.Approver)
	approver.Must("PUT", "/sites/callcentre/blocks", map[string]any{"protected": []action.Protected{}, "auto": true, "via": gateway.Identity().Host, "lease_seconds": 600}, nil)
	e := flow.Event(flow.Flow{ID: "fl-1", Phase: flow.Identified, Proto: "tcp", Src: netip.MustParseAddrPort("192.168.1.6:50000"), Dst: netip.MustParseAddrPort("203.0.113.7:6881"),
		Label: flow.LabelBitTorrent, Confidence: flow.Certain, Rule: flow.RuleHandshake, Proof: []byte("\x13BitTorrent protocol"), Sensor: agent.SensorMirror, First: time.Now(), Last: time.Now()}, feed.Private)
	gateway.Report(e)
	var a action.Action
	h.Await("a block", func() bool {
		for _, x := range hubtest.List[action.Action](one, "/actions") {
			if x.Kind == action.Block {
				a = x
			}
		}
		return a.ID != ""
	})
	if a.Via != gateway.Identity().Host || len(a.Targets) != 1 || a.Targets[0] != "192.168.1.6" || !strings.HasPrefix(a.Auto, "block-limits callcentre/") || a.Alert == "" || a.Incident == "" {
		t.Errorf("blocked %v by %s for alert %q, incident %q", a.Targets, a.Via, a.Auto, a.Incident)
	}
}
