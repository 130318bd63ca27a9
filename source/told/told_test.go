package told

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sniff"
)

const eveLines = `{"timestamp":"2021-06-06T15:57:37.272281+0200","flow_id":7,"event_type":"flow","src_ip":"192.0.2.132","src_port":1900,"dest_ip":"198.51.100.129","dest_port":443,"proto":"TCP","app_proto":"tls","flow":{"pkts_toserver":12,"pkts_toclient":3,"bytes_toserver":4056,"bytes_toclient":99,"start":"2021-06-06T16:38:55.855844+0200","end":"2021-06-06T16:38:56.963027+0200","state":"closed","reason":"timeout"},"community_id":"1:x","host":"s"}
{"timestamp":"2021-06-06T15:57:37.272281+0200","flow_id":7,"event_type":"tls","src_ip":"192.0.2.132","src_port":1900,"dest_ip":"198.51.100.129","dest_port":443,"proto":"TCP","tls":{"sni":"www.example.com","ja3":{"hash":"ab"}},"host":"s"}
{"timestamp":"2021-06-06T15:57:37.272281+0200","flow_id":8,"event_type":"flow","src_ip":"nowhere","dest_ip":"198.51.100.129","proto":"TCP"}
`

func read(t testing.TB, text string, each func(*event.Record)) {
	t.Helper()
	_, _, err := sniff.Read(t.Context(), strings.NewReader(text), "", source.Options{}, func(r *event.Record) error { each(r); return nil })
	if err != nil {
		t.Fatal(err)
	}
}

func TestSuricata(t *testing.T) {
	var flows []flow.Flow
	var said []flow.Message
	read(t, eveLines, func(r *event.Record) {
		if f, ok := Flow(r); ok {
			flows = append(flows, f)
		}
		if m, ok := Message(r); ok {
			said = append(said, m)
		}
	})
	if len(flows) != 1 || len(said) != 1 {
		t.Fatalf("%d flows, %d messages", len(flows), len(said))
	}
	want := flow.Flow{ID: said[0].Flow, Phase: flow.End, Proto: "tcp", Src: netip.MustParseAddrPort("192.0.2.132:1900"), Dst: netip.MustParseAddrPort("198.51.100.129:443"),
		First: time.Date(2021, 6, 6, 14, 38, 55, 855844000, time.UTC), Last: time.Date(2021, 6, 6, 14, 38, 56, 963027000, time.UTC),
		Out: 4056, In: 99, PacketsOut: 12, PacketsIn: 3, Label: "tls", Confidence: flow.Probable, Rule: "suricata.app", Ended: "fin", Sensor: "suricata"}
	if d := cmp.Diff(want, flows[0], cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if said[0].Value("tls.sni") != "www.example.com" || !said[0].FromOpener || said[0].Label != "tls" {
		t.Errorf("said %+v", said[0])
	}
}

// TestRealLogs counts what becomes of the logs that sensors wrote.
func TestRealLogs(t *testing.T) {
	for name, want := range map[string]struct{ flows, messages int }{
		"test6-malicious.suricata.json":   {3512, 737},
		"port-scans__vertical__conn.log":  {50, 0},
		"test10-mixed-zeek-dir__conn.log": {141, 0},
		"test10-mixed-zeek-dir__dns.log":  {0, 85},
		"test10-mixed-zeek-dir__ssl.log":  {0, 13},
	} {
		path := filepath.Join("../../../shared/data/net/fetched/slips", name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Skip("the developers' data set is not here: ../shared/data/net beside the project")
		}
		flows, messages, bytes := 0, 0, int64(0)
		read(t, string(text), func(r *event.Record) {
			if f, ok := Flow(r); ok {
				flows++
				bytes += f.Out + f.In
			}
			if _, ok := Message(r); ok {
				messages++
			}
		})
		if flows != want.flows || messages != want.messages {
			t.Errorf("%s: %d flows of %d bytes, %d messages, want %+v", name, flows, bytes, messages, want)
		}
	}
}

func FuzzTold(f *testing.F) {
	for _, line := range strings.SplitAfter(eveLines, "\n") {
		f.Add([]byte(line))
	}
	f.Add([]byte("#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tconn_state\n#path\tconn\n1.5\tC\t192.0.2.1\t1\t::1\t2\ttcp\tssl,http\t1e300\t-1\tSF\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, _, _ = sniff.Read(context.Background(), strings.NewReader(string(in)), "", source.Options{}, func(r *event.Record) error {
			if fl, ok := Flow(r); ok && (fl.Last.Before(fl.First) || fl.Out < 0 || fl.In < 0 || fl.Confidence == flow.Certain) {
				t.Errorf("%+v", fl)
			}
			Message(r)
			Event(r, netip.Addr.IsPrivate)
			return nil
		})
	})
}
