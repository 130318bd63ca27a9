package lang

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestSQL shows what becomes of queries, for whoever reviews a change of it.
func TestSQL(t *testing.T) {
	var b strings.Builder
	for _, in := range []string{
		"", "Mimikatz", "失敗", "a*b", `"say ""x"""`, "user:Root", "user=Root", "user!=Root", "user:adm*", "user:*adm", "user:*adm*", "user:a*b", "user:*",
		"host:HO-1", "code in (4624, Abc)", "raw:*Evil*", "hash:ABCD", "LogonType:3", "LogonType>2", "Custom:*", "bytes_out>10MB", "bytes_out=0", "bytes_out:*", "port:443",
		"destination_port<1024", "bytes_in in (1, 2.5)", "drill:true", "time>=-2h", "time<2026-11-22", `time<"2026-11-22T00:00:00+09:00"`, "src:10.0.0.0/8", "src:10.0.4.0/22",
		"src:10.0.0.0/30", "src:2001:db8::/33", "ip:fe80::1", "id:ba-1-2", "command:/a.c/", "Custom:/a.c/i", "a OR -b (c OR d)",
		"x | count", "x | count by user, bytes_out, LogonType, drill", "| top 5 dst by sum(bytes_out)",
		"| stats count, distinct(src), sum(LogonType), avg(bytes_in), min(time), max(user), p95(port_x) by host | where count > 5 | where host != x | sort -count, host | limit 3 | where min(time) > -1d",
		"| timeline 1h by kind", "| timeline 1w",
	} {
		q := parsed(t, in)
		s := NewBuilder(Options{Now: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC), Zone: time.FixedZone("JST", 9*3600)})
		text := s.Condition(q.Where)
		if q.Group != nil {
			direct := s.Direct(q, "t", text)
			part, merge := s.Part(q, "t", text), s.Merge(q, "p")
			text = direct + "\n  part  " + part + "\n  merge " + merge
		}
		fmt.Fprintf(&b, "%s\n  %s\n", q, text)
		for i, v := range s.Args() {
			fmt.Fprintf(&b, "  $%d %T %#v\n", i+1, v, v)
		}
		b.WriteString("\n")
	}
	const golden = "testdata/sql.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}
