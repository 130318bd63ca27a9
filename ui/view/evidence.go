package view

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/i18n"
)

// kept are the items whose content is in the bag: those that `sonae verify`
// counts as files.
func kept(list []evidence.Item) []evidence.Item {
	return slices.DeleteFunc(slices.Clone(list), evidence.Item.Missing)
}

// lacking are the items of which there is only the reason why.
func lacking(list []evidence.Item) []evidence.Item {
	return slices.DeleteFunc(slices.Clone(list), func(i evidence.Item) bool { return !i.Missing() })
}

// reasons are parts of what an agent says when it could not take an item, and
// the sentence for it.
var reasons = []struct{ part, key string }{
	{"no such file or directory", "bag.why.absent"},
	{"executable file not found", "bag.why.no-program"},
	{"no such process", "bag.why.process-ended"},
	{"has ended", "bag.why.process-ended"},
	{"ended while its memory was read", "bag.why.ended-midway"},
	{"the process is not stopped", "bag.why.no-registers"},
	{"holds its keys", "bag.why.own-memory"},
	{"not supplied", "bag.why.not-supplied"},
	{"file does not exist", "bag.why.absent"},
	{"no memory of its own", "bag.why.no-memory"},
	{"commands that may run", "bag.why.not-allowed"},
	{"permission denied", "bag.why.forbidden"},
	{"operation not permitted", "bag.why.forbidden"},
	{"is not a regular file", "bag.why.no-file"},
	{"names no process", "bag.why.no-process"},
	{"sensor is not running", "bag.why.no-sensor"},
	{"the collection has reached", "bag.why.full"},
}

var (
	cutAt    = regexp.MustCompile(`cut at (\d+) bytes`)
	onlyLast = regexp.MustCompile(`only the last (\d+) of (\d+) bytes`)
)

// whyLacking says in words why an item is missing or incomplete. What is not
// known is quoted.
func whyLacking(p Page, text string) string {
	if m := onlyLast.FindStringSubmatch(text); m != nil {
		return p.T("bag.why.last", "size", bytesIn(m[1]), "total", bytesIn(m[2]))
	}
	if m := cutAt.FindStringSubmatch(text); m != nil {
		return p.T("bag.why.cut", "size", bytesIn(m[1]))
	}
	for _, r := range reasons {
		if strings.Contains(text, r.part) {
			return p.T(r.key)
		}
	}
	return p.T("bag.why.other", "reason", text)
}

// found are the items in which the antivirus program found something, by path.
func found(scans map[string]evidence.Scan) (out []evidence.Scan) {
	for _, path := range slices.Sorted(maps.Keys(scans)) {
		if s := scans[path]; s.Verdict == antivirus.Infected {
			out = append(out, s)
		}
	}
	return out
}

// seconds says milliseconds as people do.
func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 1, 64) }

func bytesIn(digits string) string {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil { // more than anybody has
		return digits
	}
	return i18n.Bytes(n)
}

// bagName is what a bag is called in a list: its host, or that events were
// picked.
func bagName(p Page, b evidence.Bag) string {
	if b.Picked == nil {
		return p.Host(b.Host)
	}
	return p.T("bag.picked", "count", p.Count(len(b.Picked.IDs)))
}

// BagTitle is the head of the page about a bag.
func BagTitle(p Page, b evidence.Bag) string {
	if b.Picked == nil {
		return p.T("bag.title", "host", p.Host(b.Host))
	}
	return bagName(p, b)
}
