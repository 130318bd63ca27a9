package scan_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/scan"
)

// shared finds the developers' data, which stands beside the project and is no
// part of it.
func shared(t testing.TB, name string) string {
	t.Helper()
	root := ".."
	for range 4 {
		dir := filepath.Join(root, "../shared/data", name)
		if _, err := os.Stat(dir); err == nil {
			return dir
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		root = filepath.Join(root, "..")
	}
	t.Skipf("the developers' data are not here: ../shared/data/%s beside the project", name)
	return ""
}

// scanned runs a scan and returns its findings.
func scanned(t testing.TB, opt scan.Options) ([]scan.Finding, *scan.Result) {
	t.Helper()
	if opt.Engine == nil {
		engine, _, err := pack.Load(nil)
		if err != nil {
			t.Fatal(err)
		}
		opt.Engine = engine
	}
	if opt.TempDir == "" {
		opt.TempDir = t.TempDir()
	}
	r, err := scan.Run(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		left, err := os.ReadDir(opt.TempDir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	var all []scan.Finding
	if err := r.Each(func(f scan.Finding) error { all = append(all, f); return nil }, nil); err != nil {
		t.Fatal(err)
	}
	if len(all) != r.Stats.Findings {
		t.Errorf("%d findings, the statistics say %d", len(all), r.Stats.Findings)
	}
	return all, r
}

func TestScanFindsFileSharingInRealCaptures(t *testing.T) {
	dir := shared(t, "net/selfmade")
	for name, host := range map[string]string{
		"bt_default_transmission.pcap": "192.168.50.10", "bt_plain_tcp_transmission.pcap": "192.168.50.10",
		"bt_utp_plain_libtorrent.pcap": "192.168.50.10", "bt_mse_tcp_aria2.pcap": "192.168.50.10",
		"bt_dht_magnet_mse_libtorrent.pcap": "192.168.50.10",
	} {
		found, r := scanned(t, scan.Options{Paths: []string{filepath.Join(dir, name)}})
		if r.Failed() {
			t.Errorf("%s: %v", name, r.Damaged)
		}
		connections := map[scan.Flow]bool{}
		for _, f := range found {
			if f.Rule.ID != "bittorrent-certain" || f.Host != host || f.Flow == nil || f.Flow.Label != "bittorrent" || f.Source.Record == 0 {
				t.Errorf("%s: finding %+v", name, f)
				continue
			}
			key := scan.Flow{Src: f.Flow.Src, Sport: f.Flow.Sport, Dst: f.Flow.Dst, Dport: f.Flow.Dport, Proto: f.Flow.Proto}
			if connections[key] {
				t.Errorf("%s: connection %v is reported twice", name, key)
			}
			connections[key] = true
		}
		if len(connections) < 3 {
			t.Errorf("%s: %d connections found, want several", name, len(connections))
		}
	}
}

func TestScanIsSilentAboutBenignCaptures(t *testing.T) {
	dir := shared(t, "net/selfmade")
	for _, name := range []string{"neg_https_highport_multi.pcap", "neg_dicom_hl7_lan.pcap", "neg_ssh_scp_port2222.pcap", "neg_openvpn_static_tcp.pcap"} {
		if found, _ := scanned(t, scan.Options{Paths: []string{filepath.Join(dir, name)}}); len(found) > 0 {
			t.Errorf("%s: %d findings, the first %+v", name, len(found), found[0])
		}
	}
}
