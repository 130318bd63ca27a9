package scan

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const eveFile = `{"timestamp":"2026-11-28T10:00:00+0900","flow_id":1,"event_type":"flow","src_ip":"192.168.1.5","src_port":50000,"dest_ip":"198.51.100.7","dest_port":51413,"proto":"TCP","app_proto":"tls","flow":{"pkts_toserver":9,"pkts_toclient":3,"bytes_toserver":900,"bytes_toclient":300,"start":"2026-11-28T09:59:00+0900","end":"2026-11-28T10:00:00+0900","state":"closed","reason":"timeout"}}
{"timestamp":"2026-11-28T10:00:01+0900","flow_id":2,"event_type":"dns","src_ip":"192.168.1.5","src_port":50001,"dest_ip":"192.168.1.1","dest_port":53,"proto":"UDP","dns":{"type":"query","rrname":"x.c2.example.net","rrtype":"A"}}
{"timestamp":"2026-11-28T10:00:02+0900","flow_id":3,"event_type":"alert","src_ip":"192.168.1.5","src_port":50002,"dest_ip":"203.0.113.9","dest_port":80,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":1,"signature":"ET TROJAN Example","category":"A Network Trojan was detected","severity":1}}
`

// TestOtherSensors reads a log of Suricata with a threat list.
func TestOtherSensors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"eve.json": eveFile, "list.txt": "198.51.100.7\nc2.example.net\n10.0.0.1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	status := Command(t.Context(), []string{"--format", "jsonl", "--flows", "--lang", "en", "--ioc", filepath.Join(dir, "list.txt"), filepath.Join(dir, "eve.json")}, &out, &errs)
	if status != Scanned || !strings.Contains(errs.String(), "2 indicators (lines); 1 lines are not looked for") {
		t.Fatalf("%d: %s", status, &errs)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range [][]string{
		{`"flow":{"src":"192.168.1.5","sport":50000,"dst":"198.51.100.7","dport":51413,"proto":"tcp","label":"tls","confidence":"probable"`, `"record":1`},
		{`"A machine speaks with what a threat list names"`, `"IocValue":"198.51.100.7"`, `"record":1`},
		{`"A machine speaks with what a threat list names"`, `"IocValue":"c2.example.net"`, `"record":2`},
		{`"Suricata reports a serious attack"`, `"record":3`},
	} {
		for _, w := range want {
			if i >= len(lines) || !strings.Contains(lines[i], w) {
				t.Errorf("line %d lacks %s:\n%s", i, w, out.String())
				return
			}
		}
	}
	if len(lines) != 4 {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
}
