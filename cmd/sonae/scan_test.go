package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// captures finds the developers' captures, which stand beside the project and
// are no part of it.
func captures(t *testing.T) string {
	t.Helper()
	root := "../.."
	for range 4 {
		dir := filepath.Join(root, "../shared/data/net/selfmade")
		if _, err := os.Stat(dir); err == nil {
			return dir
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		root = filepath.Join(root, "..")
	}
	t.Skip("the developers' captures are not here: ../shared/data/net/selfmade beside the project")
	return ""
}

// scanFile runs `sonae scan --format jsonl` and returns its findings.
func scanFile(t *testing.T, path string) []foundLine {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run([]string{"scan", "--format", "jsonl", path}, &out, &errs); code != scanned {
		t.Fatalf("%s: exit %d: %s", path, code, &errs)
	}
	var all []foundLine
	for line := range strings.Lines(out.String()) {
		var f foundLine
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, f)
	}
	return all
}

func TestScanFindsFileSharingInRealCaptures(t *testing.T) {
	dir := captures(t)
	for name, host := range map[string]string{
		"bt_default_transmission.pcap": "192.168.50.10", "bt_plain_tcp_transmission.pcap": "192.168.50.10",
		"bt_utp_plain_libtorrent.pcap": "192.168.50.10", "bt_mse_tcp_aria2.pcap": "192.168.50.10",
		"bt_dht_magnet_mse_libtorrent.pcap": "192.168.50.10",
	} {
		found := scanFile(t, filepath.Join(dir, name))
		connections := map[foundFlow]bool{}
		for _, f := range found {
			if f.Rule.ID != "bittorrent-certain" || f.Host != host || f.Flow == nil || f.Flow.Label != "bittorrent" || f.Source.Record == 0 {
				t.Errorf("%s: finding %+v", name, f)
				continue
			}
			key := foundFlow{Src: f.Flow.Src, Sport: f.Flow.Sport, Dst: f.Flow.Dst, Dport: f.Flow.Dport, Proto: f.Flow.Proto}
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
	dir := captures(t)
	for _, name := range []string{"neg_https_highport_multi.pcap", "neg_dicom_hl7_lan.pcap", "neg_ssh_scp_port2222.pcap", "neg_openvpn_static_tcp.pcap"} {
		if found := scanFile(t, filepath.Join(dir, name)); len(found) > 0 {
			t.Errorf("%s: %d findings, the first %+v", name, len(found), found[0])
		}
	}
}

func TestReadEvent(t *testing.T) {
	for _, c := range []struct {
		name, text                            string
		product, category, service, host, day string
		fields                                map[string]string
		kinds                                 int
		wrong                                 bool
	}{
		{name: "own", text: `{"id":"1","time":"2026-01-02T03:04:05Z","host":"h","kind":"process","product":"linux","category":"process_creation","fields":{"Image":"/bin/sh"}}`,
			product: "linux", category: "process_creation", host: "h", day: "2026-01-02", fields: map[string]string{"Image": "/bin/sh"}},
		{name: "nested", text: `{"a":{"b":{"c":1.50}},"n":null,"l":[1,"x"],"t":true,"@timestamp":"2026-01-02 03:04:05.5","hostname":"h"}`,
			host: "h", day: "2026-01-02", fields: map[string]string{"a.b.c": "1.50", "l": `[1,"x"]`, "t": "true"}},
		{name: "sysmon", text: `{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":13,"Hostname":"w","Product":"a vendor's","Source Name":"x"}`,
			product: "windows", category: "", service: "sysmon", host: "w", kinds: 2, fields: map[string]string{"SourceName": "x", "Provider_Name": "x", "Product": "a vendor's"}},
		{name: "security", text: `{"Channel":"Security","EventID":"4688","NewProcessName":"C:\\x.exe"}`,
			product: "windows", service: "security", kinds: 1, fields: map[string]string{"Image": `C:\x.exe`}},
		{name: "two objects", text: `{"a":1}{"b":2}`, wrong: true},
		{name: "no object", text: `[1]`, wrong: true},
		{name: "wrong type", text: `{"kind":"log","fields":{"a":"b"},"time":7}`, wrong: true},
	} {
		e, kinds, err := readEvent([]byte(c.text))
		if (err != nil) != c.wrong {
			t.Errorf("%s: got %v", c.name, err)
		}
		if c.wrong {
			continue
		}
		day := ""
		if !e.Time.IsZero() {
			day = e.Time.Format("2006-01-02")
		}
		if e.Product != c.product || e.Category != c.category || e.Service != c.service || e.Host != c.host || day != c.day || len(kinds) != c.kinds {
			t.Errorf("%s: got %+v in %v", c.name, e, kinds)
		}
		for name, want := range c.fields {
			if e.Fields[name] != want {
				t.Errorf("%s: field %s is %q, want %q", c.name, name, e.Fields[name], want)
			}
		}
	}
}

// FuzzReadEvent wants no panic, and an event for every object.
func FuzzReadEvent(f *testing.F) {
	for _, text := range []string{`{}`, `{"a":{"b":[1,{"c":null}]}}`, `{"kind":"log","fields":{"A":"b"}}`, `{"Channel":"Security","EventID":4688}`, `{"time":"x"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, _, err := readEvent(text)
		if err == nil && e.Fields == nil && e.Kind == "" {
			t.Errorf("%q: neither an event nor an error", text)
		}
	})
}
