package flow_test

import (
	"encoding/csv"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// captures returns the folder of shared captures, or skips the test.
func captures(t testing.TB) string {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "data", "net")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the shared captures are not here (%s): the truth test needs them", dir)
	}
	return dir
}

// run sends a capture through a new table and returns the last word on each
// connection, and all flows in the order of emission.
func run(t testing.TB, path string) (ends, all []flow.Flow) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := flow.New(flow.Config{Emit: func(f flow.Flow) {
		all = append(all, f)
		if f.Phase == flow.End {
			ends = append(ends, f)
		}
	}})
	err = pcap.Read(f, func(p pcap.Packet) error {
		table.Packet(p.At, p.Link, p.Data)
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	table.Flush()
	return ends, all
}

type tuple struct {
	proto    string
	src, dst netip.AddrPort
}

// truth is one line of flows.csv.
type truth struct {
	tuple
	packets, back    int64
	bytes, bytesBack int64
	sharing          bool // the label says so, and the connection reached somebody
}

// shares reports whether a label of flows.csv is one of file sharing.
func shares(label string) bool {
	for _, p := range []string{"bittorrent-", "webtorrent-", "winny-"} {
		if strings.HasPrefix(label, p) {
			return label != "bittorrent-tracker-unreachable"
		}
	}
	return false
}

func readTruth(t *testing.T, dir string) map[string][]truth {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "selfmade", "flows.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	end := func(ip, port string) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(number(port)))
	}
	all := map[string][]truth{}
	for _, r := range rows[1:] {
		proto := map[string]string{"1": "icmp", "6": "tcp", "17": "udp"}[r[1]]
		if proto == "" {
			continue
		}
		all[r[0]] = append(all[r[0]], truth{tuple{proto, end(r[2], r[3]), end(r[4], r[5])}, number(r[6]), number(r[7]), number(r[8]), number(r[9]), shares(r[12])})
	}
	return all
}

// peerToPeer says for each capture how many connections must get a label of
// file sharing or of a coin: the truth of flows.csv and of nDPI's regression
// results, less connections without a byte whose end nobody named. A capture
// that is not here must have none.
var peerToPeer = map[string]map[string]int{
	"bt_default_anacrolix.pcap":               {"bittorrent": 11},
	"bt_default_transmission.pcap":            {"bittorrent": 7},
	"bt_dht_magnet_mse_libtorrent.pcap":       {"bittorrent": 8},
	"bt_dht_only_libtorrent.pcap":             {"bittorrent": 5},
	"bt_lsd_lan_mse_libtorrent.pcap":          {"bittorrent": 3},
	"bt_mse_hdr_plainpayload_libtorrent.pcap": {"bittorrent": 7},
	"bt_mse_tcp_aria2.pcap":                   {"bittorrent": 11},
	"bt_mse_tcp_libtorrent.pcap":              {"bittorrent": 6},
	"bt_plain_tcp_transmission.pcap":          {"bittorrent": 7},
	"bt_utp_mse_libtorrent.pcap":              {"bittorrent": 8},
	"bt_utp_plain_libtorrent.pcap":            {"bittorrent": 8},
	"bt_webtorrent_anacrolix.pcap":            {"bittorrent": 15},
	"bittorrent.pcap":                         {"bittorrent": 24},
	"bittorrent_utp.pcap":                     {"bittorrent": 2},
	"bt-http.pcapng":                          {"bittorrent": 1},
	"bt_search.pcap":                          {"bittorrent": 1},
	"bt-udp.pcap":                             {"bittorrent": 3},
	"bittorrent-dht__input.pcap":              {"bittorrent": 2},
	"winny_synth_11byte.pcap":                 {"winny": 6},
	"winny_synth_zerokey.pcap":                {"winny": 6},
	"gnutella.pcap":                           {"gnutella": 638}, // nDPI: 330
	"gnutella__max-header.pcapng":             {"gnutella": 1},
	"ethereum.pcap":                           {"ethereum": 73}, // nDPI: 73 by port; the other one carries no payload and nobody named its end
}

// sharing holds the labels that peerToPeer speaks of.
var sharing = []string{
	flow.LabelBitTorrent, flow.LabelWinny, flow.LabelShare, flow.LabelPerfectDark, flow.LabelEDonkey, flow.LabelGnutella, flow.LabelSoulseek,
	flow.LabelDirectConnect, flow.LabelBitcoin, flow.LabelEthereum, flow.LabelMining,
}

// benign says how many connections must carry another label.
var benign = map[string]map[string]int{
	"neg_https_highport_multi.pcap":   {"tls": 10},
	"neg_ssh_scp_port2222.pcap":       {"ssh": 1},
	"neg_dicom_hl7_lan.pcap":          {"dicom": 2, "hl7": 1},
	"neg_openvpn_static_tcp.pcap":     {"": 1},
	"neg_shadowsocks_aes.pcap":        {"": 10},
	"thr_beacon_jitter10.pcap":        {"tls": 60},
	"thr_dns_tunnel_iodine_null.pcap": {"dns": 1},
	"thr_exfil_https_put.pcap":        {"tls": 1},
	"thr_portscan_nmap.pcap":          {"": 350},
	"syncthing.pcap":                  {"syncthing": 4},
	"teams.pcap":                      {"stun": 12},
	"netbios.pcap":                    {"netbios": 15},
	"bt_lsd_lan_mse_libtorrent.pcap":  {"icmp": 2},
	"dnscrypt-v2-doh.pcap":            {"tls": 34},
	"ssh.pcap":                        {"ssh": 2},
	"starcraft_battle.pcap":           {"dns": 7},
	"windowsupdate_over_http.pcap":    {"http": 1},
	"dns_exfiltration.pcap":           {"dns": 1},
}

// TestTruth runs every shared capture through a table: everything that can be
// found is found, nothing else is called file sharing, and the counters of
// every connection are exactly those of flows.csv.
func TestTruth(t *testing.T) {
	dir := captures(t)
	all := readTruth(t, dir)
	seen := map[string]bool{}
	var found, known int
	for _, pattern := range []string{"selfmade/*.pcap", "fetched/*/*.pcap", "fetched/*/*.pcapng"} {
		files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			t.Fatalf("no captures match %s (%v)", pattern, err)
		}
		for _, path := range files {
			name := filepath.Base(path)
			seen[name] = true
			t.Run(name, func(t *testing.T) {
				ends, flows := run(t, path)
				checkLabels(t, name, ends)
				checkPromptness(t, flows)
				if rows := all[name]; rows != nil {
					checkCounters(t, rows, ends)
					n, of := recall(rows, ends)
					found, known = found+n, known+of
				}
			})
		}
	}
	t.Logf("%d of %d connections of file sharing found", found, known)
	if known < 100 || found*100 < known*95 {
		t.Errorf("%d of %d connections of file sharing found, want 95 %%", found, known)
	}
	for name := range peerToPeer {
		if !seen[name] {
			t.Errorf("the capture %s is missing", name)
		}
	}
}

// recall counts the connections that flows.csv calls file sharing, and those of
// them that have such a label.
func recall(rows []truth, ends []flow.Flow) (found, known int) {
	labels := map[tuple]string{}
	for _, f := range ends {
		if slices.Contains(sharing, f.Label) {
			labels[tuple{f.Proto, f.Src, f.Dst}] = f.Label
		}
	}
	for _, r := range rows {
		if !r.sharing {
			continue
		}
		known++
		if labels[r.tuple] != "" {
			found++
		}
	}
	return found, known
}

func checkLabels(t *testing.T, name string, ends []flow.Flow) {
	labels, rules := map[string]map[tuple]bool{}, map[string]int{}
	for _, f := range ends {
		rules[f.Rule]++
		if labels[f.Label] == nil {
			labels[f.Label] = map[tuple]bool{}
		}
		labels[f.Label][tuple{f.Proto, f.Src, f.Dst}] = true
		if f.Label != "" && (f.Confidence == "" || f.Rule == "" || len(f.Proof) == 0) {
			t.Errorf("a label without proof: %+v", f)
		}
	}
	t.Logf("%d connections, by rule %v", len(ends), rules)
	for _, label := range sharing {
		if got, want := len(labels[label]), peerToPeer[name][label]; got != want {
			t.Errorf("%d connections called %s, want %d", got, label, want)
		}
	}
	for label, want := range benign[name] {
		if len(labels[label]) != want {
			t.Errorf("%d connections called %q, want %d", len(labels[label]), label, want)
		}
	}
}

// checkPromptness: an alert must be out 5 s after the first handshake.
func checkPromptness(t *testing.T, flows []flow.Flow) {
	for _, f := range flows {
		if f.Phase == flow.Identified && f.Label == flow.LabelBitTorrent && f.Confidence == flow.Certain && f.Last.Sub(f.First) > time.Second {
			t.Errorf("identified only after %v: %+v", f.Last.Sub(f.First), f)
		}
	}
}

func checkCounters(t *testing.T, rows []truth, ends []flow.Flow) {
	got, want := map[tuple][4]int64{}, map[tuple][4]int64{}
	for _, f := range ends { // the truth joins connections between the same ports
		k := tuple{f.Proto, f.Src, f.Dst}
		n := got[k]
		got[k] = [4]int64{n[0] + f.PacketsOut, n[1] + f.PacketsIn, n[2] + f.Out, n[3] + f.In}
	}
	for _, r := range rows {
		want[r.tuple] = [4]int64{r.packets, r.back, r.bytes, r.bytesBack}
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b tuple) bool { return a == b })); d != "" {
		t.Errorf("packets and bytes, out and in (-truth +got):\n%s", d)
	}
}

// BenchmarkPackets reads captures into memory and measures packets per second.
func BenchmarkPackets(b *testing.B) {
	dir := captures(b)
	for _, name := range []string{"selfmade/bt_plain_tcp_transmission.pcap", "selfmade/thr_exfil_https_put.pcap", "selfmade/bt_utp_mse_libtorrent.pcap", "fetched/ndpi/synscan.pcap"} {
		b.Run(filepath.Base(name), func(b *testing.B) {
			var packets []pcap.Packet
			f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			err = pcap.Read(f, func(p pcap.Packet) error {
				p.Data = append([]byte(nil), p.Data...)
				packets = append(packets, p)
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			table := flow.New(flow.Config{})
			span := packets[len(packets)-1].At.Sub(packets[0].At) + time.Second
			var shift time.Duration // every round comes after the one before
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n == len(packets) {
					n, shift = 0, shift+span
				}
				table.Packet(packets[n].At.Add(shift), packets[n].Link, packets[n].Data)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}
