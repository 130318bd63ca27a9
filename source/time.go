package source

import (
	"math"
	"time"
)

// Time reads the times that logs write with a year: RFC 3339, the same with a
// blank, without a zone (then it is in loc) or with a decimal comma, and
// numbers: seconds since 1970 with or without a fraction, milliseconds,
// microseconds and nanoseconds, told by their size.
func Time(b []byte, loc *time.Location) (time.Time, bool) {
	if len(b) >= 19 && b[4] == '-' && b[7] == '-' {
		return calendar(b, loc)
	}
	return epoch(b)
}

// calendar reads 2006-01-02T15:04:05.999999999Z07:00 and what is near it.
func calendar(b []byte, loc *time.Location) (time.Time, bool) {
	year, ok1 := digits(b[0:4])
	month, ok2 := digits(b[5:7])
	day, ok3 := digits(b[8:10])
	hour, minute, second, ok4 := clockOf(b[11:19])
	if !ok1 || !ok2 || !ok3 || !ok4 || b[10] != 'T' && b[10] != ' ' && b[10] != 't' || month < 1 || month > 12 || day < 1 {
		return time.Time{}, false
	}
	nanos, rest, ok := fraction(b[19:])
	if !ok {
		return time.Time{}, false
	}
	zone, ok := zoneOf(rest, loc)
	if !ok {
		return time.Time{}, false
	}
	leap := time.Duration(0)
	if second == 60 {
		second, leap = 59, time.Second
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone.loc)
	if t.Day() != day { // 30 February
		return time.Time{}, false
	}
	return t.Add(leap - zone.east).UTC(), true
}

// clockOf reads 15:04:05; a leap second counts as the next minute.
func clockOf(b []byte) (hour, minute, second int, ok bool) {
	hour, ok1 := digits(b[0:2])
	minute, ok2 := digits(b[3:5])
	second, ok3 := digits(b[6:8])
	ok = ok1 && ok2 && ok3 && b[2] == ':' && b[5] == ':' && hour < 24 && minute < 60 && second <= 60
	return hour, minute, second, ok
}

// fraction reads .123 or ,123 as nanoseconds.
func fraction(b []byte) (nanos int, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '.' && b[0] != ',' {
		return 0, b, true
	}
	i, unit := 1, 100_000_000
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		nanos += int(b[i]-'0') * unit
		unit /= 10
	}
	return nanos, b[i:], i > 1
}

// zone is a known location, or UTC and how far east of it the clock stands.
type zone struct {
	loc  *time.Location
	east time.Duration
}

func zoneOf(b []byte, loc *time.Location) (zone, bool) {
	if len(b) > 1 && b[0] == ' ' {
		b = b[1:]
	}
	switch {
	case len(b) == 0:
		return zone{loc: loc}, true
	case len(b) == 1 && (b[0] == 'Z' || b[0] == 'z'), string(b) == "UTC":
		return zone{loc: time.UTC}, true
	case len(b) < 5 || b[0] != '+' && b[0] != '-':
		return zone{}, false
	}
	hours, ok1 := digits(b[1:3])
	rest := b[3:]
	if rest[0] == ':' {
		rest = rest[1:]
	}
	if len(rest) != 2 {
		return zone{}, false
	}
	minutes, ok2 := digits(rest)
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return zone{}, false
	}
	east := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if b[0] == '-' {
		east = -east
	}
	return zone{loc: time.UTC, east: east}, true
}

// epoch reads a number of seconds, or of smaller units when it has the digits.
func epoch(b []byte) (time.Time, bool) {
	var whole int64
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if i == 19 {
			return time.Time{}, false
		}
		whole = whole*10 + int64(b[i]-'0')
	}
	if i < 9 || whole > math.MaxInt64-1e9 {
		return time.Time{}, false
	}
	nanos, rest, ok := fraction(b[i:])
	if !ok || len(rest) > 0 {
		return time.Time{}, false
	}
	switch {
	case i <= 11:
		return time.Unix(whole, int64(nanos)).UTC(), true
	case i <= 14:
		return time.UnixMilli(whole).UTC(), true
	case i <= 17:
		return time.UnixMicro(whole).UTC(), true
	}
	return time.Unix(0, whole).UTC(), true
}

// digits reads a number of digits only.
func digits(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(b) > 0
}

// Month reads Jan … Dec.
func Month(b []byte) (time.Month, bool) {
	if len(b) != 3 {
		return 0, false
	}
	const all = "JanFebMarAprMayJunJulAugSepOctNovDec"
	for i := 0; i < len(all); i += 3 {
		if string(b) == all[i:i+3] {
			return time.Month(i/3 + 1), true
		}
	}
	return 0, false
}
