package sigma

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// partTest compares a part of a date, as it is written and in no other time
// zone: hour of "2026-01-02T03:04:05+09:00" is 3.
type partTest struct {
	part string
	compareTest
}

// datePart makes the test of minute, hour, day, week (ISO 8601), month, year.
func (s spec) datePart(text string) (test, error) {
	limits := map[string][2]int{"minute": {0, 59}, "hour": {0, 23}, "day": {1, 31}, "week": {1, 53}, "month": {1, 12}, "year": {0, 9999}}[s.part]
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%s needs a whole number: %w", s.part, err)
	}
	if n < limits[0] || n > limits[1] {
		return nil, fmt.Errorf("%s is between %d and %d, not %d", s.part, limits[0], limits[1], n)
	}
	op := s.test
	if op == "" {
		op = "eq"
	}
	return partTest{s.part, compareTest{op, float64(n)}}, nil
}

func (t partTest) holds(s string) bool {
	when, ok := readTime(s)
	if !ok {
		return false
	}
	n := 0
	switch t.part {
	case "minute":
		n = when.Minute()
	case "hour":
		n = when.Hour()
	case "day":
		n = when.Day()
	case "week":
		_, n = when.ISOWeek()
	case "month":
		n = int(when.Month())
	default:
		n = when.Year()
	}
	return t.compare(float64(n))
}

func (t partTest) match(v *view, slot, _ int) bool {
	c := v.cell(slot)
	return c.present && t.holds(c.text)
}

func (t partTest) keyword(*view) bool { return false } // refused when loading

// readTime understands RFC 3339 with a space for the T and without a zone,
// dates alone, and numbers as seconds since 1970 (milliseconds from 1e11 on).
func readTime(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if len(s) < 8 || len(s) > 40 {
		return time.Time{}, false
	}
	if s[4] != '-' && s[4] != '/' {
		return readEpoch(s)
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z0700",
		"2006-01-02 15:04:05 Z0700", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02", "2006/01/02 15:04:05", "2006/01/02"} {
		if t, err := time.Parse(layout, s); err == nil { // a fraction of a second is read without being asked for
			return t, true
		}
	}
	return time.Time{}, false
}

func readEpoch(s string) (time.Time, bool) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 0 || n > 1e14 {
		return time.Time{}, false
	}
	if n >= 1e11 {
		n /= 1000
	}
	whole, part := math.Modf(n)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), true
}
