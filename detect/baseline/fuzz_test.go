package baseline_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
)

// FuzzOf reads events whose fields machines and other sensors choose, and
// observes what comes of them.
func FuzzOf(f *testing.F) {
	f.Add("sonae", "network_connection", "flow", "LocalIp=10.0.0.5\nLocalPort=1\nRemoteIp=203.0.113.9\nRemotePort=443\nProtocol=tcp\nPhase=end\nBytesSent=99999999\nBytesReceived=1\nPackets=9\nInitiated=true\nOpening=seen")
	f.Add("sonae", "dns", "dns", "LocalIp=10.0.0.5\nRemoteIp=10.0.0.1\nRemotePort=53\nquery=a.b.co.jp\nTimes=9")
	f.Add("zeek", "network_connection", "conn", "id.orig_h=fe80::1%eth0\nid.resp_h=::ffff:192.0.2.1\nid.resp_p=99999\nproto=tcp\nhistory=S\norig_pkts=1\nconn_state=S0")
	f.Add("suricata", "network_connection", "flow", "src_ip=10.0.0.5\ndest_ip=2001:db8::1\nflow.start=2021-06-06T17:34:31.140759+0200\nflow.bytes_toserver=-1\nproto=UDP")
	f.Add("linux", "authentication", "sshd", "Action=failure\nSourceIp=10.0.0.9")
	f.Fuzz(func(t *testing.T, product, category, service, fields string) {
		w := baseline.New(baseline.Config{MaxHosts: 8, MaxThings: 8})
		e := event.Event{Product: product, Category: category, Service: service, Host: "h", Time: time.Unix(int64(len(fields))*1e6, 0), Fields: map[string]string{}}
		for line := range strings.Lines(fields) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			e.Fields[name] = value
		}
		for i := range 30 {
			if o, ok := baseline.Of(&e); ok {
				o.At = o.At.Add(time.Duration(i) * time.Minute)
				for _, b := range w.Observe(o) {
					if b.ID == "" || b.Fields[baseline.FieldReason] == "" || b.Fields[baseline.FieldReasonJa] == "" {
						t.Errorf("%+v does not explain itself", b)
					}
				}
			}
		}
	})
}

// FuzzParsePolicy reads any text as a policy and asks it.
func FuzzParsePolicy(f *testing.F) {
	f.Add("segments:\n  - {name: a, networks: [10.0.0.0/8]}\n  - {name: b, networks: ['fd00::/8']}\nforbid: [{from: a, to: '*', ports: [tcp/445]}]\nallow: []\n")
	f.Add("&a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := baseline.ParsePolicy([]byte(text))
		if (p == nil) == (err == nil) {
			t.Fatalf("%v and %v", p, err)
		}
		if err != nil {
			return
		}
		if _, _, forbidden := p.Forbids(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.1"), "tcp", 445); forbidden {
			t.Error("a segment may not talk to itself")
		}
	})
}
