package antivirus

import (
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{"stream: OK", "stream: Eicar FOUND", "INSTREAM size limit exceeded. ERROR", "stream: x ERROR", "OK", "stream: \xff FOUND"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		r, err := parse(reply)
		switch {
		case err != nil && r.Verdict != "":
			t.Fatalf("%+v with %v", r, err)
		case r.Verdict == Clean && strings.TrimSpace(string(reply)) != "stream: OK":
			t.Fatalf("%q is clean", reply)
		case r.Verdict == Infected && r.Signature == "":
			t.Fatalf("%q has no name", reply)
		}
	})
}
