package engine

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// heard is what a call hears of an output that comes in pieces.
func heard(text []byte, piece int) (types map[string]int, last message, said string, skipped int) {
	types = map[string]int{}
	c := &call{each: func(m message) {
		types[m.Type]++
		if m.Type == "summary" || m.Type == "error" {
			last = m
		}
	}}
	l := &lines{each: c.hear}
	for len(text) > 0 {
		n := min(piece, len(text))
		_, _ = l.Write(text[:n]) // never fails
		text = text[n:]
	}
	l.end()
	if c.exit.Type != "" {
		types[c.exit.Type]++
	}
	return types, last, c.said.String(), l.skipped
}

// The lines in testdata were written by restic itself: a backup with a file that
// could not be read, one that was whole, a restore, one that failed, no folder,
// a wrong password, no repository.
func TestEachVersionIsUnderstood(t *testing.T) {
	for version, want := range map[string]struct{ summaries, errors int }{"0.14.0": {2, 1}, "0.18.0": {4, 2}} {
		text, err := os.ReadFile("testdata/" + version + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range []int{1, 7, 1 << 20} {
			types, _, said, skipped := heard(text, piece)
			if types["summary"] != want.summaries || types["error"] != want.errors || types["status"] == 0 || skipped != 0 {
				t.Errorf("%s in pieces of %d: %v, skipped %d", version, piece, types, skipped)
			}
			if !strings.Contains(said, "wrong password or no key found") || judge("backup", 1, said) != WrongPassword {
				t.Errorf("%s: said %q", version, said)
			}
		}
		backup, _, _ := bytes.Cut(text, []byte(`"summary"`))
		_, last, _, _ := heard(backup, len(backup))
		if got := last.text(200); !strings.Contains(got, "/tmp/sonae-rec/src/never") || !strings.Contains(got, "no such process") {
			t.Errorf("%s: the file that could not be read: %q", version, got)
		}
	}
}

func TestALineThatIsTooLongIsLeftOut(t *testing.T) {
	long := `{"message_type":"status","current_files":["` + strings.Repeat("x", maxLine) + `"]}`
	text := fmt.Sprintf("%s\n{\"message_type\":\"summary\",\"snapshot_id\":\"ab\"}\r\n%s\n{\"message_type\":\"summary\"}", long, long[:2<<20])
	for _, piece := range []int{4 << 10, 1 << 30} {
		types, _, _, skipped := heard([]byte(text), piece)
		if types["summary"] != 2 || skipped != 1 {
			t.Errorf("%v, skipped %d", types, skipped)
		}
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]string{
		"restic 0.14.0 compiled with go1.19.8 on linux/amd64\n": "0.14.0",
		"restic 0.18.1 compiled with go1.24.4 on windows/amd64": "0.18.1",
		"restic 1.0.0 (v1.0.0-0-gabcdef) compiled":              "1.0.0",
		"restic 0.99999.0": "", "rustic 0.9.3": "", "": "",
	} {
		v, ok := parseVersion([]byte(text))
		if ok != (want != "") || ok && v.String() != want {
			t.Errorf("%q: %v %v, want %q", text, v, ok, want)
		}
	}
}

func FuzzLines(f *testing.F) {
	for _, v := range []string{"0.14.0", "0.18.0"} {
		text, err := os.ReadFile("testdata/" + v + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			f.Add(line, 5)
		}
	}
	f.Add([]byte(`{"message_type":"error","error":{"Op":"open","Path":"/x","Err":13},"item":"/x"}`), 1)
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		if piece < 1 {
			piece = 1
		}
		a, last, said, _ := heard(text, piece)
		b, _, again, _ := heard(text, len(text)+1)
		if fmt.Sprint(a) != fmt.Sprint(b) || said != again {
			t.Errorf("pieces change what is heard: %v %v, %q %q", a, b, said, again)
		}
		if s := last.text(100); len(s) > 100 || strings.ContainsAny(s, "\n\x00\x1b") {
			t.Errorf("%q", s)
		}
		if len(said) > 2*maxSaid {
			t.Errorf("%d bytes are kept", len(said))
		}
	})
}
