package rule

import (
	_ "embed"
	"slices"
	"strings"
	"sync"

	"github.com/sonae/sonae/detect"
)

// Which fields occur for which log source: in public rules and in events of
// real machines. A line is product, category, service and the names, all
// separated by tabs, the names by commas. -update of the test makes it anew.
//
//go:embed fields.tsv
var fieldsTable string

// source is a log source in Sigma's words.
type source struct{ product, category, service string }

// known parses the table once.
var known = sync.OnceValue(func() map[source][]string {
	all := map[source][]string{}
	for line := range strings.Lines(fieldsTable) {
		part := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(part) == 4 {
			all[source{part[0], part[1], part[2]}] = strings.Split(part[3], ",")
		}
	}
	return all
})

// fieldsOf returns the names that are known for a rule's log source, and those
// for wider and narrower ones of the same product; no when the log source
// itself is not known.
func fieldsOf(s detect.Scope) (names map[string]bool, ok bool) {
	names = map[string]bool{}
	want := source{strings.ToLower(s.Product), strings.ToLower(s.Category), strings.ToLower(s.Service)}
	near := func(a, b string) bool { return a == b || a == "" || b == "" }
	for at, list := range known() {
		if !near(at.product, want.product) || !near(at.category, want.category) || !near(at.service, want.service) {
			continue
		}
		ok = ok || at == want
		for _, n := range list {
			names[n] = true
		}
	}
	return names, ok
}

// closest is the known name that is most like an unknown one, "" when none is.
func closest(name string, names map[string]bool) string {
	best, least := "", 3
	for _, n := range slices.Sorted(keys(names)) {
		if d := distance(strings.ToLower(name), strings.ToLower(n), least); d < least {
			best, least = n, d
		}
	}
	return best
}

func keys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// distance is how many letters have to change to make b of a, at most limit.
func distance(a, b string, limit int) int {
	if max(len(a), len(b))-min(len(a), len(b)) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, row[j]+1, last+1)
		}
	}
	return min(row[len(b)], limit)
}
