package source

import (
	"bytes"
	"time"
)

// Stamp reads the time at the head of a line and returns what stands behind it
// and a blank: RFC 3339, or that of RFC 3164 (Jan _2 15:04:05) with or without a
// year or a fraction. Without a year it is the last that makes the time
// lie at most a day after opt.Now; without Now the time is zero.
func Stamp(b []byte, opt Options) (at time.Time, rest []byte, ok bool) {
	if len(b) >= 19 && b[4] == '-' && b[10] == 'T' {
		head, rest, _ := bytes.Cut(b, []byte(" "))
		at, ok = Time(head, opt.Location())
		return at, rest, ok
	}
	if len(b) < len(time.Stamp) {
		return at, b, false
	}
	month, ok := Month(b[:3])
	if !ok || b[3] != ' ' {
		return at, b, false
	}
	day, b, ok := cutNumber(bytes.TrimLeft(b[4:], " "), ' ')
	if !ok || day < 1 || day > 31 {
		return at, b, false
	}
	year := 0
	if y, after, ok := cutNumber(b, ' '); ok && y >= 1970 { // Cisco's, and Fortinet's
		year, b = y, after
	}
	hour, b, ok1 := cutNumber(b, ':')
	minute, b, ok2 := cutNumber(b, ':')
	if !ok1 || !ok2 || len(b) < 2 {
		return at, b, false
	}
	second, ok := two(b)
	if !ok || hour > 23 || minute > 59 || second > 60 {
		return at, b, false
	}
	b = b[2:]
	if len(b) > 0 && b[0] == '.' {
		for b = b[1:]; len(b) > 0 && b[0] >= '0' && b[0] <= '9'; b = b[1:] {
			continue
		}
	}
	at, ok = date(opt, year, month, day, hour, minute, second)
	return at, bytes.TrimPrefix(b, []byte(" ")), ok
}

// date finds the year where the line names none.
func date(opt Options, year int, month time.Month, day, hour, minute, second int) (time.Time, bool) {
	zone := opt.Location()
	guess := year == 0
	if guess && opt.Now.IsZero() {
		return time.Time{}, true
	}
	if guess {
		year = opt.Now.In(zone).Year()
		if time.Date(year, month, day, hour, minute, second, 0, zone).After(opt.Now.Add(24 * time.Hour)) {
			year--
		}
	}
	at := time.Date(year, month, day, hour, minute, second, 0, zone)
	if at.Day() != day { // 30 February; or 29 in a year without it: then it was the leap year before
		for n := 0; guess && month == time.February && day == 29 && n < 8 && at.Day() != day; n++ {
			year--
			at = time.Date(year, month, day, hour, minute, second, 0, zone)
		}
		if at.Day() != day {
			return time.Time{}, false
		}
	}
	return at.UTC(), true
}

// cutNumber cuts a number of at most four digits and the byte behind it.
func cutNumber(b []byte, behind byte) (n int, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && i < 4 && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + int(b[i]-'0')
	}
	if i == 0 || i == len(b) || b[i] != behind {
		return 0, b, false
	}
	return n, b[i+1:], true
}

func two(b []byte) (n int, ok bool) {
	if b[0] < '0' || b[0] > '9' || b[1] < '0' || b[1] > '9' {
		return 0, false
	}
	return int(b[0]-'0')*10 + int(b[1]-'0'), true
}
