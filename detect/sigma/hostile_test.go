package sigma

import (
	"runtime"
	"strings"
	"testing"
)

// TestHostileFilesAreRefusedWithoutGreatCost gives Parse what was written to
// exhaust it. Each must come back, with a reason, and without much memory.
func TestHostileFilesAreRefusedWithoutGreatCost(t *testing.T) {
	many := func(s string, n int) string { return strings.Repeat(s, n) }
	for name, text := range map[string]string{
		"open lists":           many("[", 20000),
		"open maps":            many("{a: ", 20000),
		"nested dashes":        many("- ", 5000) + "a",
		"nested selections":    rule("s: " + many("[", 200) + "a" + many("]", 200) + "\ncondition: s"),
		"nested maps":          rule("s: {F: a}\nt: " + many("{a: ", 200) + "b" + many("}", 200) + "\ncondition: s"),
		"many keys":            many("a: b\n", 50000),
		"many documents":       many("---\na\n", 5000),
		"parentheses":          rule("s: {F: a}\ncondition: " + many("(", 50000)),
		"nots":                 rule("s: {F: a}\ncondition: " + many("not ", 50000) + "s"),
		"ors":                  rule("s: {F: a}\ncondition: s" + many(" or s", 50000)),
		"dashes of dashes":     rule("s: {F|windash: [" + strings.TrimSuffix(many("' -a -b -c -d -e',", 5000), ",") + "]}\ncondition: s"),
		"a regex that repeats": rule("s: {F|re: '((a{100}){100}){100}'}\ncondition: s"),
		"regexes of regexes":   rule("s: {F|re: [" + strings.TrimSuffix(many("'(a{900}){1}',", 5000), ",") + "]}\ncondition: s"),
		"one long line":        "title: " + many("x", maxFile-10),
		"nothing but nulls":    many("\x00", 1000),
		"more than a file":     many("x", maxFile+1),
		"merges of merges":     "a: &a {b: c}\n" + "d: {" + strings.TrimSuffix(many("<<: *a, ", 5000), ", ") + "}\n",
		"placeholders":         rule("s: {F|expand: '" + many("%a%", 5000) + "'}\ncondition: s"),
		"letters of UTF-16":    "\xff\xfe" + many("a\x00:\x00\n\x00", 1000),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rules, bad := parsed(text)
		runtime.ReadMemStats(&after)
		if len(rules) > 0 || len(bad) == 0 {
			t.Errorf("%s: %d rules, rejected %v", name, len(rules), bad)
			continue
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 600 {
			t.Errorf("%s: %d MB used for %d bytes", name, used, len(text))
		} else {
			t.Logf("%-22s %7d bytes, %3d MB: %.90s", name, len(text), used, bad[0])
		}
	}
}
