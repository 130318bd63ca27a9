package witness

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const (
	someHash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
	someNote = "sonae\n20\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— sonae Az3grlgtzPICa5OS8npVmf1Myq/5IZni\n"
)

func TestParseRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		body  string
		proof int // -1: refused
	}{
		"first":             {"old 0\n\n" + someNote, 0},
		"with proof":        {"old 7\n" + someHash + someHash + "\n" + someNote, 2},
		"longest proof":     {"old 7\n" + strings.Repeat(someHash, 63) + "\n" + someNote, 63},
		"extension":         {"old 0\n\n" + strings.Replace(someNote, "\n\n", "\nmore\n\n", 1), 0},
		"too long a proof":  {"old 7\n" + strings.Repeat(someHash, 64) + "\n" + someNote, -1},
		"nothing":           {"", -1},
		"no old":            {"\n" + someNote, -1},
		"leading zero":      {"old 07\n\n" + someNote, -1},
		"negative":          {"old -1\n\n" + someNote, -1},
		"beyond 64 bits":    {"old 18446744073709551616\n\n" + someNote, -1},
		"two spaces":        {"old  7\n\n" + someNote, -1},
		"carriage return":   {"old 7\r\n\r\n" + someNote, -1},
		"no base64":         {"old 7\n!!!\n\n" + someNote, -1},
		"short hash":        {"old 7\nAAAA\n\n" + someNote, -1},
		"proof has no end":  {"old 7\n" + someHash, -1},
		"no checkpoint":     {"old 7\n\n", -1},
		"size not decimal":  {"old 7\n\n" + strings.Replace(someNote, "20", "0x14", 1), -1},
		"size with zero":    {"old 7\n\n" + strings.Replace(someNote, "20", "020", 1), -1},
		"root of odd bytes": {"old 7\n\n" + strings.Replace(someNote, "CsUY", "", 1), -1},
		"far too long":      {"old 0\n\n" + someNote + strings.Repeat("x", maxRequest), -1},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := parseRequest([]byte(tt.body))
			if tt.proof < 0 {
				if !errors.Is(err, errRequest) {
					t.Errorf("got %v, want it refused", err)
				}
				return
			}
			if err != nil || len(r.proof) != tt.proof || r.head.Origin != "sonae" || r.head.Size != 20 || string(r.format()) != tt.body {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}

// FuzzParseRequest: what is understood is understood in one way only.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("old 0\n\n" + someNote))
	f.Add([]byte("old 7\n" + someHash + someHash + "\n" + someNote))
	f.Add([]byte("old 7\n\n\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRequest(body)
		if err != nil {
			if !errors.Is(err, errRequest) {
				t.Errorf("refused as %v", err)
			}
			return
		}
		if !bytes.Equal(r.format(), body) || len(r.proof) > maxProof || len(r.head.Hash) != 32 {
			t.Errorf("%q was read as %q", body, r.format())
		}
	})
}
