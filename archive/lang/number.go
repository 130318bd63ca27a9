package lang

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// units multiply a number: sizes to bytes, spans of time to seconds.
var units = []struct {
	name   string
	factor float64
}{
	{"", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 7 * 86400}, {"%", 0.01},
}

// Number reads a decimal number with an optional unit: 10MB is 10,000,000,
// 5m is 300 (seconds).
func Number(text string) (float64, bool) {
	i := len(text)
	for i > 0 && !(text[i-1] >= '0' && text[i-1] <= '9') && text[i-1] != '.' {
		i--
	}
	digits, unit := text[:i], text[i:]
	if digits == "" || strings.Trim(digits, "+-0123456789.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
		return 0, false
	}
	for _, u := range units {
		if u.name == unit || len(u.name) > 1 && strings.EqualFold(u.name, unit) {
			return n * u.factor, true
		}
	}
	return 0, false
}

// whole returns the number as an integer where it is one.
func whole(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, ok := Number(text)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// parseSpan reads 30s, 5m, 1h, 1d or 1w.
func parseSpan(text string) (time.Duration, bool) {
	if len(text) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	if err != nil {
		return 0, false
	}
	unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[text[len(text)-1]]
	if unit == 0 || n > uint64(math.MaxInt64/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

func spanText(d time.Duration) string {
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if d%u.d == 0 {
			return strconv.FormatInt(int64(d/u.d), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// moment is a time as people write it: a point, by a zone where none is
// written, or so long ago.
type moment struct {
	at    time.Time // as if written in UTC, unless fixed
	fixed bool      // the zone was written
	ago   time.Duration
}

func parseMoment(text string) (moment, bool) {
	if text == "now" {
		return moment{}, true
	}
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		d, ok := parseSpan(rest)
		return moment{ago: d}, ok
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return moment{at: t, fixed: true}, inside(t)
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006/01/02", "2006/01/02 15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return moment{at: t}, inside(t)
		}
	}
	return moment{}, false
}

// inside says whether an archive can hold events of that time.
func inside(t time.Time) bool { return t.Year() > 1678 && t.Year() < 2262 }

// in returns the nanoseconds since 1970.
func (m moment) in(now time.Time, zone *time.Location) int64 {
	switch {
	case m.at.IsZero():
		return now.Add(-m.ago).UnixNano()
	case m.fixed:
		return m.at.UnixNano()
	}
	t := m.at
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone).UnixNano()
}
