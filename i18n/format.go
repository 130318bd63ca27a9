package i18n

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/clock"
)

var weekdays = [...]string{"日", "月", "火", "水", "木", "金", "土"}

// Time writes a moment in Japan Standard Time to the minute: 11月22日(日) 14:02
// or Sun 22 Nov 14:02. The zero time is "—".
func Time(lang string, t time.Time) string { return moment(lang, t, "15:04") }

// TimeSeconds is Time to the second, for chronologies only.
func TimeSeconds(lang string, t time.Time) string { return moment(lang, t, "15:04:05") }

func moment(lang string, t time.Time, layout string) string {
	if t.IsZero() {
		return "—"
	}
	return day(lang, t, false) + " " + t.In(clock.Tokyo()).Format(layout)
}

// Date writes the day with its year: 2026年11月22日(日) or Sun 22 Nov 2026.
func Date(lang string, t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return day(lang, t, true)
}

func day(lang string, t time.Time, year bool) string {
	t = t.In(clock.Tokyo())
	if lang == English {
		if year {
			return t.Format("Mon 2 Jan 2006")
		}
		return t.Format("Mon 2 Jan")
	}
	s := fmt.Sprintf("%d月%d日(%s)", int(t.Month()), t.Day(), weekdays[t.Weekday()])
	if year {
		s = fmt.Sprintf("%d年", t.Year()) + s
	}
	return s
}

// Clock writes the time of day in Japan to the minute, 24 hours.
func Clock(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.In(clock.Tokyo()).Format("15:04")
}

// Span writes a duration in its two largest units: 2時間14分, 3 d 4 h. It is
// cut, not rounded: "1 h left" must never mean 59 minutes. A negative duration
// reads as its size.
func Span(lang string, d time.Duration) string {
	if d < 0 {
		d = -d
	}
	units := [...]struct {
		size   time.Duration
		ja, en string
	}{{24 * time.Hour, "日", " d"}, {time.Hour, "時間", " h"}, {time.Minute, "分", " min"}, {time.Second, "秒", " s"}}
	for i, u := range units {
		if d < u.size && i < len(units)-1 {
			continue
		}
		out := strconv.Itoa(int(d/u.size)) + pick(lang, u.ja, u.en)
		if rest := d % u.size; i+1 < len(units)-1 && rest >= units[i+1].size { // seconds only when nothing larger is there
			next := units[i+1]
			out += pick(lang, "", " ") + strconv.Itoa(int(rest/next.size)) + pick(lang, next.ja, next.en)
		}
		return out
	}
	return ""
}

// Length writes a limit: as Span, but whole hours up to two days stay hours, as
// people say them of a lease.
func Length(lang string, d time.Duration) string {
	if d >= time.Hour && d <= 48*time.Hour && d%time.Hour == 0 {
		return strconv.Itoa(int(d/time.Hour)) + pick(lang, "時間", " h")
	}
	return Span(lang, d)
}

// Offset writes how far a clock is from another: 1.4秒遅れ, 1.4 s slow. d is
// that clock minus the other one; less than a tenth of a second is nothing that
// people could act on.
func Offset(lang string, d time.Duration) string {
	size := d.Abs()
	if size < 100*time.Millisecond {
		return pick(lang, "0.1秒未満", "less than 0.1 s")
	}
	text := Span(lang, size)
	if size < time.Minute {
		text = strconv.FormatFloat(size.Seconds(), 'f', 1, 64) + pick(lang, "秒", " s")
	}
	if d < 0 {
		return text + pick(lang, "遅れ", " slow")
	}
	return text + pick(lang, "進み", " fast")
}

// Args names the arguments of a sentence {0}, {1} …; durations are written in
// the language.
func Args(lang string, args []any) map[string]string {
	out := make(map[string]string, len(args))
	for i, a := range args {
		if d, ok := a.(time.Duration); ok {
			out[strconv.Itoa(i)] = Length(lang, d)
			continue
		}
		out[strconv.Itoa(i)] = fmt.Sprint(a)
	}
	return out
}

// Ago writes the distance from t to now, as an addition to the time itself:
// 3分前, あと2時間14分; 3 min ago, in 2 h 14 min.
func Ago(lang string, t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	if d >= 0 && d < time.Minute {
		return pick(lang, "たった今", "just now")
	}
	if d > 0 {
		return pick(lang, Span(lang, d)+"前", Span(lang, d)+" ago")
	}
	return pick(lang, "あと"+Span(lang, d), "in "+Span(lang, d))
}

// Bytes writes a size with decimal units and at most one decimal: 512 B,
// 1.2 MB.
func Bytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), 0
	for v >= 999.95 && unit < 5 {
		v /= 1000
		unit++
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + [...]string{"B", "kB", "MB", "GB", "TB", "PB"}[unit]
}

// Count writes a whole number with a comma after every three digits.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Percent writes a share from 0 to 1 as a whole percentage.
func Percent(share float64) string { return strconv.Itoa(int(share*100+0.5)) + " %" }

func pick(lang, ja, en string) string {
	if lang == English {
		return en
	}
	return ja
}
