package baseline_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/pcap"
	"github.com/sonae/sonae/source/sniff"
)

// expected is what each capture and log of the developers' data set shows. Every
// file that is not named shows nothing. What is said to be in a file comes from
// the data set's own README, but for test6, a recording of a machine that is open
// to the Internet: what is expected of it are the detector's own findings, of
// which only some were compared with the flow records.
var expected = map[string][]string{
	"selfmade/thr_exfil_https_put.pcap":              {baseline.Exfiltration},
	"selfmade/thr_beacon_jitter10.pcap":              {baseline.Beacon},
	"selfmade/thr_dns_tunnel_iodine_null.pcap":       {baseline.Tunnel},
	"selfmade/thr_portscan_nmap.pcap":                {baseline.ScanVertical},
	"fetched/ndpi/dns-tunnel-iodine.pcap":            {baseline.Tunnel},
	"fetched/ndpi/dns_exfiltration.pcap":             {baseline.Tunnel},
	"fetched/ndpi/synscan.pcap":                      {baseline.ScanVertical},
	"fetched/slips/port-scans__horizontal__conn.log": {baseline.ScanHorizontal},
	"fetched/slips/port-scans__vertical__conn.log":   {baseline.ScanVertical},
	"fetched/slips/test6-malicious.suricata.json":    {baseline.ScanVertical},
}

// dataset is the developers' data set, which stands beside the project.
func dataset(t testing.TB) string {
	for _, root := range []string{"../..", "../../..", "../../../.."} {
		dir := filepath.Join(root, "../shared/data/net")
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	t.Skip("the developers' data set is not here: ../shared/data/net beside the project")
	return ""
}

// TestEachCaptureShowsWhatItHolds looks at all captures and logs of the data
// set as somebody does who has nothing but the file.
func TestEachCaptureShowsWhatItHolds(t *testing.T) {
	dir, files := dataset(t), 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		found := map[string][]string{}
		tell := func(e event.Event) { found[e.Service] = append(found[e.Service], e.Fields[baseline.FieldReason]) }
		switch ext := filepath.Ext(path); {
		case ext == ".pcap" || ext == ".pcapng":
			watchCapture(t, path, tell)
		case ext == ".log" || strings.HasSuffix(path, ".suricata.json"):
			watchLog(t, path, tell)
		default:
			return nil
		}
		files++
		got := slices.Sorted(maps.Keys(found))
		if want := expected[name]; !slices.Equal(got, want) {
			t.Errorf("%s shows %v, want %v: %q", name, got, want, found)
		}
		for _, b := range got {
			t.Log(name, b, len(found[b]), found[b][0])
		}
		return nil
	})
	if err != nil || files < 75 {
		t.Fatalf("%d files: %v", files, err)
	}
}

func local(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() }

func watchCapture(t testing.TB, path string, tell func(event.Event)) {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	w, n := baseline.New(baseline.Config{}), 0
	see := func(e event.Event) {
		n++
		e.ID = fmt.Sprint(n)
		if o, ok := baseline.Of(&e); ok {
			for _, b := range w.Observe(o) {
				tell(b)
			}
		}
	}
	table := flow.New(flow.Config{
		Emit: func(f flow.Flow) { see(flow.Event(f, local)) },
		Tell: func(m flow.Message) {
			if m.FromOpener {
				see(flow.MessageEvent(m, local))
			}
		},
	})
	err = pcap.Read(bufio.NewReader(in), func(p pcap.Packet) error { table.Packet(p.At, p.Link, p.Data); return nil })
	table.Flush()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Logf("%s: %v", path, err)
	}
}

func watchLog(t testing.TB, path string, tell func(event.Event)) {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := bufio.NewReaderSize(in, 1<<16)
	head, _ := r.Peek(4096)
	format, err := sniff.Detect(head)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	read, _ := sniff.Reader(format)
	w := baseline.New(baseline.Config{})
	_, err = read(t.Context(), r, source.Options{}, func(rec *event.Record) error {
		if o, ok := baseline.OfRecord(rec, fmt.Sprint(rec.Number)); ok {
			for _, b := range w.Observe(o) {
				tell(b)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if w.Stats().Observations == 0 && !strings.Contains(path, "ssl.log") {
		t.Errorf("%s: nothing was observed", path)
	}
}
