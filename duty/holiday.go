package duty

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/japanese"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Holiday is one day that is closed by law.
type Holiday struct {
	Day  string `json:"day"` // 2006-01-02
	Name string `json:"name"`
}

// HolidayUpdate is a list of holidays as the Cabinet Office published it; it
// replaces the years that it has. It is what the ledger binds (type
// "holidays", ref "<no>").
type HolidayUpdate struct {
	No     int       `json:"no"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Source string    `json:"source"`          // where the file came from
	SHA256 string    `json:"sha256"`          // of the file
	Days   []Holiday `json:"days"`            // from the first of January 2020 on: nothing is counted before
	Moved  []Moved   `json:"moved,omitempty"` // clocks of incidents that were open
	Salt   string    `json:"salt"`
}

// Leaf is the line of the ledger that binds the update.
func (h HolidayUpdate) Leaf() (leaf.Leaf, error) {
	return leaf.Of("holidays", fmt.Sprint(h.No), h.At, h)
}

// HolidayChange is one day on which a new list differs from what was known.
type HolidayChange struct {
	Day string `json:"day"`
	Was string `json:"was"` // "": no holiday
	Is  string `json:"is"`  // "": no holiday any more
}

// Bounds of a file of holidays.
const (
	maxHolidayBytes = 1 << 20
	maxHolidays     = 6000 // two hundred years
	maxHolidayName  = 40
	firstHoliday    = 1948 // the law is of July of that year
	lastHoliday     = 2199
	keptFrom        = "2020-01-01"
)

// errHolidays says what about a file cannot be right.
func errHolidays(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...))
}

// ParseHolidayCSV reads the list of holidays in the Cabinet Office's format
// (syukujitsu.csv: Shift_JIS or UTF-8, a line of titles, then day and name).
// It refuses, with the line, what cannot be a list of Japan's holidays: a day
// that does not exist or comes twice, a name that is none, a year without the
// holidays that are always there or with too few or too many, a gap between
// years. It reads at most 1 MiB.
func ParseHolidayCSV(in io.Reader) ([]Holiday, error) {
	raw, err := io.ReadAll(io.LimitReader(in, maxHolidayBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read holidays: %w", err)
	}
	if len(raw) > maxHolidayBytes {
		return nil, fmt.Errorf("holidays: more than %d bytes", maxHolidayBytes)
	}
	text, err := decodeJapanese(raw)
	if err != nil {
		return nil, err
	}
	days, err := holidayLines(text)
	if err != nil {
		return nil, err
	}
	return days, checkYears(days)
}

func decodeJapanese(raw []byte) ([]byte, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if utf8.Valid(raw) {
		return raw, nil
	}
	text, err := japanese.ShiftJIS.NewDecoder().Bytes(raw)
	if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
		return nil, errors.New("holidays: neither UTF-8 nor Shift_JIS")
	}
	return text, nil
}

func holidayLines(text []byte) ([]Holiday, error) {
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	days, seen := []Holiday{}, map[string]bool{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("holidays: %w", err)
		}
		line, _ := r.FieldPos(0)
		if len(row) != 2 {
			return nil, errHolidays(line, "%d columns, want day and name", len(row))
		}
		if line == 1 && !startsWithDigit(row[0]) { // titles
			continue
		}
		h, err := parseHoliday(line, row[0], row[1])
		if err != nil {
			return nil, err
		}
		if seen[h.Day] {
			return nil, errHolidays(line, "%s comes twice", h.Day)
		}
		if len(days) == maxHolidays {
			return nil, errHolidays(line, "more than %d days", maxHolidays)
		}
		seen[h.Day] = true
		days = append(days, h)
	}
	slices.SortFunc(days, func(a, b Holiday) int { return strings.Compare(a.Day, b.Day) })
	return days, nil
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

func parseHoliday(line int, day, name string) (Holiday, error) {
	t, err := time.Parse("2006/1/2", day)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, day); err != nil {
			return Holiday{}, errHolidays(line, "%.40q is not a day like 2026/1/1", day)
		}
	}
	if t.Year() < firstHoliday || t.Year() > lastHoliday {
		return Holiday{}, errHolidays(line, "the year %d cannot be", t.Year())
	}
	name = strings.TrimSpace(name)
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	japanese := func(r rune) bool { return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) }
	if n := utf8.RuneCountInString(name); n == 0 || n > maxHolidayName || strings.ContainsFunc(name, odd) || !strings.ContainsFunc(name, japanese) {
		return Holiday{}, errHolidays(line, "%.60q is not the name of a holiday", name)
	}
	return Holiday{Day: t.Format(time.DateOnly), Name: name}, nil
}

// always are holidays that every full year since 1949 has on the same day
// (国民の祝日に関する法律 第2条).
var always = [...]string{"01-01", "05-03", "11-03", "11-23"}

// checkYears refuses a list that cannot be one of whole years.
func checkYears(days []Holiday) error {
	if len(days) == 0 {
		return errors.New("holidays: no day at all")
	}
	count, has := map[string]int{}, map[string]bool{}
	for _, h := range days {
		count[h.Day[:4]]++
		has[h.Day] = true
	}
	years := slices.Sorted(maps.Keys(count))
	for i, y := range years {
		if i > 0 && before(y) != years[i-1] {
			return fmt.Errorf("holidays: nothing between %s and %s", years[i-1], y)
		}
		if y <= "1949" {
			continue
		}
		low := 9 // as many as the law had at first
		if y >= "2016" {
			low = 16
		}
		if n := count[y]; n < low || n > 25 {
			return fmt.Errorf("holidays: %d days in %s cannot be", n, y)
		}
		for _, d := range always {
			if !has[y+"-"+d] {
				return fmt.Errorf("holidays: %s-%s is missing", y, d)
			}
		}
	}
	return nil
}

func before(year string) string {
	var n int
	fmt.Sscan(year, &n)
	return fmt.Sprintf("%04d", n-1)
}

// With returns the holidays with those of a newer list, which replaces the
// years that it has.
func (h Holidays) With(u HolidayUpdate) Holidays {
	out := Holidays{Source: u.Source, days: map[string]string{}, years: maps.Clone(h.years)}
	replaced := map[string]bool{}
	for _, d := range u.Days {
		replaced[d.Day[:4]] = true
		out.days[d.Day] = d.Name
	}
	for day, name := range h.days {
		if !replaced[day[:4]] {
			out.days[day] = name
		}
	}
	for y := range replaced {
		var n int
		fmt.Sscan(y, &n)
		out.years[n] = true
	}
	return out
}

// Diff tells on which days two lists differ, of the years that the newer one
// has, in order.
func (h Holidays) Diff(newer []Holiday) []HolidayChange {
	years, is := map[string]bool{}, map[string]string{}
	for _, d := range newer {
		if d.Day >= keptFrom {
			years[d.Day[:4]], is[d.Day] = true, d.Name
		}
	}
	changes := []HolidayChange{}
	for day, name := range is {
		if h.days[day] != name {
			changes = append(changes, HolidayChange{day, h.days[day], name})
		}
	}
	for day, name := range h.days {
		if _, ok := is[day]; !ok && years[day[:4]] {
			changes = append(changes, HolidayChange{day, name, ""})
		}
	}
	slices.SortFunc(changes, func(a, b HolidayChange) int { return strings.Compare(a.Day, b.Day) })
	return changes
}

// List returns all holidays, sorted.
func (h Holidays) List() []Holiday {
	var all []Holiday
	for _, day := range slices.Sorted(maps.Keys(h.days)) {
		all = append(all, Holiday{day, h.days[day]})
	}
	return all
}

// Years returns the years that are known, and whether each was announced.
func (h Holidays) Years() map[int]bool { return maps.Clone(h.years) }

// HolidaysNow returns the holidays that deadlines are counted with now, and
// the updates that made them, oldest first.
func (d *Desk) HolidaysNow(ctx context.Context) (Holidays, []HolidayUpdate, error) {
	updates, err := d.updates(ctx, d.db.Query)
	if err != nil {
		return Holidays{}, nil, fmt.Errorf("holidays: %w", err)
	}
	h := d.rules.Holidays
	for _, u := range updates {
		h = h.With(u)
	}
	return h, updates, nil
}

// holidays are those known at a time.
func (d *Desk) holidays(ctx context.Context, q query, at time.Time) (Holidays, error) {
	updates, err := d.updates(ctx, q)
	h := d.rules.Holidays
	for _, u := range updates {
		if !u.At.After(at) {
			h = h.With(u)
		}
	}
	return h, err
}

func (d *Desk) updates(ctx context.Context, q query) ([]HolidayUpdate, error) {
	all := []HolidayUpdate{}
	err := each(ctx, q, func(row scanner) error {
		var body string
		var u HolidayUpdate
		err := errors.Join(row.Scan(&body), json.Unmarshal([]byte(body), &u))
		all = append(all, u)
		return err
	}, `SELECT body FROM duty_holidays ORDER BY no`)
	return all, err
}

// maxMoved is how many days of one announced year a new list may say
// otherwise. The Olympic games of 2020 moved three holidays: six differences.
const maxMoved = 8

// UpdateHolidays records a newer list and counts with it from now on. It
// returns on which days it differs, and which clocks of open incidents it moved;
// both stand on record with it.
//
// Errors: Invalid when it contradicts what was announced before too much,
// Conflict when nothing is new.
func (d *Desk) UpdateHolidays(ctx context.Context, u HolidayUpdate) (HolidayEffect, error) {
	u, err := d.newest(u)
	if err != nil {
		return HolidayEffect{}, err
	}
	var e HolidayEffect
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		n, effect, err := d.effect(ctx, tx.QueryContext, u)
		if err != nil {
			return err
		}
		e = effect
		u.No, u.Moved = n+1, e.Moved
		if len(u.Moved) == 0 {
			u.Moved = nil // one form only, so that the digest is the same after reading
		}
		return storeHolidays(ctx, tx, u)
	})
	if err != nil {
		return HolidayEffect{}, fmt.Errorf("update holidays: %w", err)
	}
	return e, nil
}

// newest makes a list ready to be compared and stored.
func (d *Desk) newest(u HolidayUpdate) (HolidayUpdate, error) {
	if err := checkYears(u.Days); err != nil {
		return u, fault.New(fault.Invalid, "duty.holidays", err.Error())
	}
	u.Days = slices.DeleteFunc(slices.Clone(u.Days), func(h Holiday) bool { return h.Day < keptFrom })
	u.At, u.Salt, u.Source = state.Time(state.Nanos(d.now())), leaf.Salt(), tidyText(u.Source)
	return u, nil
}

// announced says whether all years of a list were announced before.
func (h Holidays) announced(days []Holiday) bool {
	for _, d := range days {
		t, err := time.ParseInLocation(time.DateOnly, d.Day, clock.Tokyo())
		if err != nil || !h.years[t.Year()] {
			return false
		}
	}
	return true
}

func (h Holidays) plausible(changes []HolidayChange) error {
	moved := map[string]int{}
	for _, c := range changes {
		t, err := time.ParseInLocation(time.DateOnly, c.Day, clock.Tokyo())
		if err != nil {
			return fault.New(fault.Invalid, "duty.holidays", err.Error())
		}
		if h.years[t.Year()] && (c.Was == "" || c.Is == "") { // another name for the same day is nothing
			moved[c.Day[:4]]++
		}
	}
	for year, n := range moved {
		if n > maxMoved {
			return fault.New(fault.Invalid, "duty.holidays-contradict", year, n)
		}
	}
	return nil
}

func storeHolidays(ctx context.Context, tx *state.Tx, u HolidayUpdate) error {
	l, err := u.Leaf()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO duty_holidays (no, body) VALUES ($1, $2)`, u.No, state.JSON(u)); err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record.holidays", "record.holidays:"+l.Ref, l); err != nil {
		return err
	}
	return tellMoved(ctx, tx, u)
}
