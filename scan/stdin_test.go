package scan_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/sonae/sonae/scan"
)

// TestStandardInputIsReadLikeAFile gives the same bytes as a file and as
// standard input.
func TestStandardInputIsReadLikeAFile(t *testing.T) {
	capture, err := os.ReadFile(filepath.Join("..", "..", "shared", "data", "net", "selfmade", "bt_plain_tcp_transmission.pcap"))
	if err != nil {
		t.Skip("the shared captures are not here")
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(capture); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	log := []byte(`{"EventID": 1, "Channel": "Microsoft-Windows-Sysmon/Operational", "Image": "C:\\x.exe"}` + "\n")
	for name, b := range map[string][]byte{"capture": capture, "packed": packed.Bytes(), "log": log} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			want, file := scanned(t, scan.Options{Paths: []string{path}, Hash: true})
			got, r := scanned(t, scan.Options{Paths: []string{scan.Stdin}, Stdin: bytes.NewReader(b), Hash: true})
			if len(got) != len(want) || r.Stats.Packets != file.Stats.Packets || r.Stats.Events != file.Stats.Events || r.Stats.Bytes != int64(len(b)) || r.Failed() {
				t.Errorf("%d findings and %+v, from a file %d and %+v", len(got), r.Stats, len(want), file.Stats)
			}
			if r.Inputs[0].SHA256 != file.Inputs[0].SHA256 || r.Inputs[0].Kinds[0] != file.Inputs[0].Kinds[0] {
				t.Errorf("%+v, from a file %+v", r.Inputs[0], file.Inputs[0])
			}
		})
	}
	if _, r := scanned(t, scan.Options{Paths: []string{scan.Stdin}, Stdin: bytes.NewReader([]byte("\x00\x01\x02"))}); !r.Failed() {
		t.Error("rubbish on standard input is no failure")
	}
	if _, r := scanned(t, scan.Options{Paths: []string{scan.Stdin}, Stdin: bytes.NewReader(capture[:len(capture)-3])}); !r.Failed() || r.Stats.Packets == 0 {
		t.Errorf("a capture that breaks off: %+v", r.Stats)
	}
}
