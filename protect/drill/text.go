package drill

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseChecks reads checks as people write them, one a line:
//
//	emr: SELECT count(*) FROM patient => 1000..
//	emr: SELECT max(version) FROM setting => = 7.2
//
// What follows the last "=>" is a range of numbers, one of whose ends may be
// absent, one number, or "=" and the exact text.
func ParseChecks(text string) ([]Check, error) {
	var out []Check
	for _, l := range lines(text) {
		at := strings.LastIndex(l, "=>")
		database, sql, ok := strings.Cut(l[:max(at, 0)], ":")
		if !ok {
			return nil, refuse("protect.drill.check-line", l)
		}
		c := Check{Query: Query{strings.TrimSpace(database), strings.TrimSpace(sql)}}
		if !c.expect(strings.TrimSpace(l[at+2:])) {
			return nil, refuse("protect.drill.check-line", l)
		}
		out = append(out, c)
	}
	return out, nil
}

// expect reads what the answer must be.
func (c *Check) expect(s string) bool {
	if is, ok := strings.CutPrefix(s, "="); ok {
		c.Is = strings.TrimSpace(is)
		return c.Is != ""
	}
	from, to, ranged := strings.Cut(s, "..")
	if !ranged {
		to = from
	}
	for text, at := range map[string]**float64{"<" + from: &c.Min, ">" + to: &c.Max} {
		if text = strings.TrimSpace(text[1:]); text == "" {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n != n {
			return false
		}
		*at = &n
	}
	return c.Min != nil || c.Max != nil
}

// ChecksText writes what ParseChecks reads.
func ChecksText(all []Check) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "%s: %s => %s\n", c.Database, strings.Join(strings.Fields(c.SQL), " "), c.Want())
	}
	return b.String()
}

// Due is a day and the drills that begin on it.
type Due struct {
	At   time.Time
	Line Line
}

// Calendar lists when drills begin within days from now, as their schedules say,
// the earliest first.
func Calendar(all []Line, now time.Time, days int) []Due {
	var out []Due
	for _, l := range all {
		for at := l.Next; !at.IsZero() && at.Before(now.AddDate(0, 0, days)); at = at.AddDate(0, 0, l.Days) {
			out = append(out, Due{at, l})
		}
	}
	slices.SortStableFunc(out, func(a, b Due) int { return a.At.Compare(b.At) })
	return out
}
