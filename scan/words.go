package scan

import (
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/i18n"
)

// words says things in one language and one time zone.
type words struct {
	lang string
	zone *time.Location
}

// T is a sentence of the catalogue below "scan."; pairs are the names and
// values of its placeholders.
func (w words) T(key string, pairs ...string) string { return w.sentence("scan."+key, pairs...) }

func (w words) sentence(key string, pairs ...string) string {
	args := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		args[pairs[i]] = pairs[i+1]
	}
	return i18n.T(w.lang, key, args)
}

// N is a number.
func (w words) N(n int) string { return i18n.Count(int64(n)) }

// U is a number.
func (w words) U(n uint64) string { return i18n.Count(int64(n)) }

// Level is the word for a severity.
func (w words) Level(s event.Severity) string { return i18n.T(w.lang, "severity."+s.String(), nil) }

// Sign is the shape of a severity, so that nobody needs to see colours.
func (w words) Sign(s event.Severity) string {
	return [...]string{"○", "●", "■", "▲", "◆"}[min(max(s, event.Info), event.Critical)]
}

// When is a time to the second, "—" when there is none.
func (w words) When(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.In(w.zone).Format(time.DateTime)
}

// Zone names the time zone, with its offset at t.
func (w words) Zone(t time.Time) string {
	name, offset := t.In(w.zone).Format("MST"), t.In(w.zone).Format("-07:00")
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "UTC+") || strings.HasPrefix(name, "UTC-") {
		return "UTC" + offset
	}
	return name + " (UTC" + offset + ")"
}

// Host names a machine.
func (w words) Host(h string) string {
	if h == "" {
		return w.T("host.none")
	}
	return printable(h)
}

// Clean is foreign text without what could command a terminal or a reader.
func (w words) Clean(s string) string { return printable(s) }

// At says where a record stands.
func (w words) At(s Source) string {
	return w.T("at."+recordName(s.Kind), "path", printable(s.Path), "n", strconv.FormatUint(s.Record, 10))
}

// Size is a number of bytes.
func (w words) Size(n int64) string { return i18n.Bytes(n) }

// sourceName names a log source: product, category and service, as far as they
// are known.
func sourceName(parts ...string) string {
	var known []string
	for _, p := range parts {
		if p != "" {
			known = append(known, p)
		}
	}
	if len(known) == 0 {
		return "?"
	}
	return strings.Join(known, " / ")
}

// Name names the log source for people.
func (s Seen) Name() string { return sourceName(s.Product, strings.Join(s.Categories, " "), s.Service) }
