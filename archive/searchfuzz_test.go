package archive

import (
	"testing"
	"time"

	"github.com/sonae/sonae/archive/lang"
)

// FuzzTheEngineTakesWhatTheLanguageTakes: no query that Parse accepts may be
// an error of the engine.
func FuzzTheEngineTakesWhatTheLanguageTakes(f *testing.F) {
	a := open(f, f.TempDir())
	a.wall = time.Minute
	appended(f, a, strange())
	appended(f, a, batchOf(1, 40))
	for _, s := range []string{"", "a b OR -c", `user:"x""y" code in (1, 2)`, "「失敗」（a：b）", "a:/b\\/c/i", "ip:10.0.0.0/9 OR LocalIp:2001:db8::/17", "raw:/(?P<n>a|[^\\pN])+?\\z/", "x:/\\x{10FFFF}/",
		"| stats count, p95(x), min(time), max(y), avg(bytes_in), distinct(id) by y, drill, port_x | where p95(x) > 1GB | where y != z | sort -count, min(time)", "x | timeline 5m by kind | limit 3",
		"| top 3 a by avg(b)", "not not a", "a*?b", "time>-1d time<2026-11-22", "or:x in:(y)", "bytes_in=0 port!=0 source_port<1e18", "in in (in)", "bytes_out=99999999999999999999", "| stats distinct(drill), max(ingested) by site", "id:ba-*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := lang.Parse(text); err != nil {
			return
		}
		for _, atOnce := range []int64{0, 1 << 40} {
			a.tables.atOnce = atOnce
			if err := a.Search(t.Context(), Search{Query: text, Limit: 3}, func(Part) error { return nil }); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
	})
}
