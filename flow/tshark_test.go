package flow_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgainstWireshark compares fingerprints and names with those that tshark
// finds in the same captures. It runs where SONAE_TSHARK names the program.
// Ours may be more: tshark by itself does not turn segments that came out of
// their order.
func TestAgainstWireshark(t *testing.T) {
	program := os.Getenv("SONAE_TSHARK")
	if program == "" {
		t.Skip("SONAE_TSHARK does not name tshark")
	}
	dir := captures(t)
	for _, name := range []string{"ndpi/443-curl.pcap", "ndpi/zoom.pcap", "ndpi/teams.pcap", "ndpi/tor.pcap", "ndpi/anydesk.pcapng", "sv/ja4-quic__input.pcap",
		"sv/ja4-tls__input.pcap", "ndpi/quic-mvfst-22.pcap", "ndpi/whatsapp_login_call.pcap", "ndpi/dnscrypt-v2-doh.pcap", "ndpi/tls_heur__shadowsocks-tcp.pcapng"} {
		path := filepath.Join(dir, "fetched", filepath.FromSlash(name))
		got := facts(t, path)
		out, err := exec.Command(program, "-r", path, "-Y", "tls.handshake.type==1 || (tls.handshake.type==2 && tcp)", "-T", "fields", "-E", "aggregator=|",
			"-e", "tls.handshake.ja3", "-e", "tls.handshake.ja3s", "-e", "tls.handshake.extensions_server_name").Output()
		if err != nil {
			t.Fatalf("tshark: %v", err)
		}
		n := 0
		for l := range strings.Lines(string(out)) {
			for i, v := range strings.Split(strings.TrimRight(l, "\n"), "\t") {
				v, _, _ = strings.Cut(v, "|")
				label := [...]string{"tls.ja3.hash: ", "tls.ja3s.hash: ", "tls.sni: "}[i]
				if v == "" {
					continue
				}
				if n++; !strings.Contains(got, label+strings.ToLower(v)+"\n") {
					t.Errorf("%s: no %s%s", name, label, v)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s: tshark found nothing", name)
		}
	}
}
