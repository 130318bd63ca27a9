package scan_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/scan"
)

// told are the behaviours that were found, by the name of the file.
func told(t *testing.T, opt scan.Options) map[string][]string {
	t.Helper()
	found, _ := scanned(t, opt)
	out := map[string][]string{}
	for _, f := range found {
		b, name := f.Fields["Behaviour"], filepath.Base(f.Source.Path)
		if b == "" {
			continue
		}
		if f.Host == "" || f.Fields["Reason"] == "" || f.Fields["ReasonJa"] == "" || f.Source.Record == 0 {
			t.Errorf("%s: the finding does not explain itself: %+v", name, f)
		}
		if !slices.Contains(out[name], b) {
			out[name] = append(out[name], b)
		}
	}
	return out
}

func TestBehavioursAreFoundInLogs(t *testing.T) {
	var conn strings.Builder
	conn.WriteString("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
		"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tconn_state\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n")
	for i := range 30 {
		fmt.Fprintf(&conn, "17673230%02d.5\tC%d\t192.168.1.7\t40000\t192.168.1.9\t%d\ttcp\t-\tREJ\tSr\t1\t60\t1\t40\n", i, i, 100+i)
	}
	path := filepath.Join(t.TempDir(), "conn.log")
	if err := os.WriteFile(path, []byte(conn.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := told(t, scan.Options{Paths: []string{path}}); !slices.Equal(got["conn.log"], []string{"scan_vertical"}) {
		t.Errorf("found %v", got)
	}
}

// TestBehavioursInTheDataSet scans all captures and logs at once, as somebody
// does who points scan at a folder.
func TestBehavioursInTheDataSet(t *testing.T) {
	got := told(t, scan.Options{Paths: []string{shared(t, "net")}})
	want := map[string][]string{
		"thr_exfil_https_put.pcap": {"exfiltration"}, "thr_beacon_jitter10.pcap": {"beacon"}, "thr_dns_tunnel_iodine_null.pcap": {"dns_tunnel"},
		"thr_portscan_nmap.pcap": {"scan_vertical"}, "dns-tunnel-iodine.pcap": {"dns_tunnel"}, "dns_exfiltration.pcap": {"dns_tunnel"}, "synscan.pcap": {"scan_vertical"},
		"port-scans__horizontal__conn.log": {"scan_horizontal"}, "port-scans__vertical__conn.log": {"scan_vertical"}, "test6-malicious.suricata.json": {"scan_vertical"},
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s: found %v, want %v", name, got[name], want[name])
		}
	}
	for name := range want {
		if got[name] == nil {
			t.Errorf("%s: found nothing, want %v", name, want[name])
		}
	}
}

// TestBehavioursAreFoundWhereSeveralReadOneLog wants the same of a log that one
// core reads and of the same in pieces.
func TestBehavioursAreFoundWhereSeveralReadOneLog(t *testing.T) {
	path := filepath.Join(shared(t, "net"), "fetched/slips/port-scans__vertical__conn.log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	filler := strings.Repeat(`{"ts":1700828200.1,"uid":"x","id.orig_h":"192.168.1.9","id.orig_p":50820,"id.resp_h":"192.168.1.1","id.resp_p":443,"proto":"tcp","conn_state":"SF","history":"ShADadFf","orig_pkts":9,"orig_ip_bytes":900,"resp_pkts":9,"resp_ip_bytes":9000}`+"\n", 20000)
	var in strings.Builder
	for line := range strings.Lines(string(text)) {
		in.WriteString(line)
		in.WriteString(filler[:len(filler)/40])
	}
	large := filepath.Join(t.TempDir(), "conn.log")
	if err := os.WriteFile(large, []byte(in.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, jobs := range []int{1, 4} {
		if got := told(t, scan.Options{Paths: []string{large}, Jobs: jobs, BigLog: 1 << 20}); !slices.Equal(got["conn.log"], []string{"scan_vertical"}) {
			t.Errorf("%d jobs: found %v", jobs, got)
		}
	}
}
