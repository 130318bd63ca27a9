package duty

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/japanese"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/state"
)

// official is the list as the Cabinet Office would publish it, of all years up
// to one that Sonae only assumes.
func official(t testing.TB, r Rules, last int) []Holiday {
	t.Helper()
	return slices.DeleteFunc(r.Holidays.List(), func(h Holiday) bool { return h.Day[:4] > fmt.Sprint(last) })
}

// sheet writes a list in the format of syukujitsu.csv.
func sheet(t testing.TB, days []Holiday) []byte {
	t.Helper()
	var b strings.Builder
	b.WriteString("国民の祝日・休日月日,国民の祝日・休日名称\r\n")
	for _, h := range days {
		d, err := time.Parse(time.DateOnly, h.Day)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s,%s\r\n", d.Format("2006/1/2"), h.Name)
	}
	out, err := japanese.ShiftJIS.NewEncoder().Bytes([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestHolidaysInTheFormatOfTheCabinetOffice(t *testing.T) {
	want := official(t, rules(t), 2028)
	sjis := sheet(t, want)
	utf, err := japanese.ShiftJIS.NewDecoder().Bytes(sjis)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"Shift_JIS": sjis, "UTF-8": utf, "UTF-8 with a mark": append([]byte("\xef\xbb\xbf"), utf...)} {
		got, err := ParseHolidayCSV(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	good := string(utf)
	for name, tt := range map[string]struct{ old, new, want string }{
		"no such day":      {"2026/2/11", "2026/2/31", "line 23: \"2026/2/31\""},
		"a day twice":      {"2026/2/11,", "2026/1/12,", "line 23: 2026-01-12 comes twice"},
		"no name":          {"2026/2/11,建国記念の日", "2026/2/11,", "not the name"},
		"a name of markup": {"2026/2/11,建国記念の日", "2026/2/11,<script>", "not the name"},
		"three columns":    {"2026/2/11,建国記念の日", "2026/2/11,建国記念の日,x", "line 23: 3 columns"},
		"no year":          {"2026/2/11", "0026/2/11", "line 23"},
		"no new year":      {"2026/1/1,元日\r\n", "", "2026-01-01 is missing"},
		"a cut year":       {"2026/9/21,敬老の日\r\n2026/9/22,休日（祝日法第3条第3項）\r\n2026/9/23,秋分の日\r\n", "", "15 days in 2026"},
	} {
		if !strings.Contains(good, tt.old) {
			t.Fatalf("%s: %q is not there", name, tt.old)
		}
		if _, err := ParseHolidayCSV(strings.NewReader(strings.Replace(good, tt.old, tt.new, 1))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	for name, text := range map[string]string{"empty": "", "titles only": "a,b\n", "a page": "<html><body>404</body></html>", "binary": "\xff\xfe\x00\x01", "too long": strings.Repeat("x", maxHolidayBytes+1)} {
		if _, err := ParseHolidayCSV(strings.NewReader(text)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// TestNewHolidaysMoveDeadlines: 2028 is only assumed until its list comes, and
// the past is counted with what was known then.
func TestNewHolidaysMoveDeadlines(t *testing.T) {
	x := newRoom(t, "2028-01-07 10:00", "")
	x.must(x.state("", func(f *Facts) { f.Personal, f.Sensitive, f.MyNumber, f.BadIntent = Yes, Yes, No, No }))
	// Day 30 is the fifth of February; say the new list makes the Monday after it a holiday.
	due := func() string { return day(find(t, x.assess(), "appi_26.final").Due) }
	if due() != "2028-02-07" {
		t.Fatalf("due %s", due())
	}
	days := append(official(t, x.rules, 2028), Holiday{"2028-02-07", "休日"})
	x.now = x.now.Add(time.Hour)
	effect, err := x.UpdateHolidays(t.Context(), HolidayUpdate{By: anna.ID, Source: "syukujitsu.csv", Days: days})
	x.must(err)
	if diff := cmp.Diff([]HolidayChange{{"2028-02-07", "", "休日"}}, effect.Changes); diff != "" || due() != "2028-02-08" {
		t.Errorf("due %s; %s", due(), diff)
	}
	h, updates, err := x.HolidaysNow(t.Context())
	x.must(err)
	if known, announced := h.Covers(2028); !known || !announced || len(updates) != 1 || updates[0].By != anna.ID {
		t.Errorf("%+v", updates)
	}
	a, _, err := x.At(t.Context(), x.in.ID, x.now.Add(-time.Minute))
	x.must(err)
	if got := day(find(t, a, "appi_26.final").Due); got != "2028-02-07" {
		t.Errorf("before the list it was due %s", got)
	}
	if _, err := x.UpdateHolidays(t.Context(), HolidayUpdate{Days: days}); fault.Of(err) != fault.Conflict {
		t.Errorf("the same again: %v", err)
	}
	moved := slices.Clone(days)
	for i := range moved {
		if strings.HasPrefix(moved[i].Day, "2028-0") && !strings.HasSuffix(moved[i].Day, "01-01") && !strings.HasSuffix(moved[i].Day, "05-03") {
			moved[i].Day = moved[i].Day[:8] + "27"
		}
	}
	if _, err := x.UpdateHolidays(t.Context(), HolidayUpdate{Days: moved}); fault.Of(err) != fault.Invalid {
		t.Errorf("a list that contradicts what was announced: %v", err)
	}
}

func FuzzHolidayCSV(f *testing.F) {
	r, err := LoadRules()
	if err != nil {
		f.Fatal(err)
	}
	good := sheet(f, official(f, r, 2028))
	f.Add(good)
	f.Add([]byte("国民の祝日・休日月日,国民の祝日・休日名称\n2026/1/1,元日\n"))
	f.Add([]byte("\"a\n2026-01-01,\"\"\"x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		days, err := ParseHolidayCSV(bytes.NewReader(text))
		if err != nil {
			return
		}
		if len(days) == 0 || len(days) > maxHolidays || !slices.IsSortedFunc(days, func(a, b Holiday) int { return strings.Compare(a.Day, b.Day) }) {
			t.Fatalf("%d days", len(days))
		}
		h := r.Holidays.With(HolidayUpdate{Source: "x", Days: days})
		if changes := h.Diff(days); len(changes) != 0 { // what was taken over is no news
			t.Fatalf("still %v", changes)
		}
	})
}

// TestANewListSaysFirstWhatItWouldMove: the preview names old and new end with
// the article and changes nothing; taking it does the same, tells it once for
// each open incident, and an incident that ended stays as it is.
func TestANewListSaysFirstWhatItWouldMove(t *testing.T) {
	x := newRoom(t, "2028-01-07 10:00", "")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	cases := incident.New(x.db, func() time.Time { return x.now }, log)
	open := func() incident.Incident {
		in, err := cases.Open(t.Context(), incident.NewIncident{Title: "名簿", Severity: event.High, KnownAt: x.now.Add(-time.Hour)}, anna)
		x.must(err)
		x.must(x.Start(t.Context(), in, ""))
		return in
	}
	first, ended, calm := open(), open(), open()
	for _, in := range []incident.Incident{first, ended} {
		x.in = in
		x.must(x.state("", func(f *Facts) { f.Personal, f.Sensitive, f.MyNumber, f.BadIntent = Yes, Yes, No, No }))
	}
	x.in = calm
	x.must(x.state("", func(f *Facts) { f.Personal, f.MyNumber, f.Misuse = No, No, No }))
	x.must(x.db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE incident SET state = $1 WHERE id = $2`, string(incident.Ended), ended.ID)
		return err
	}))
	days := append(official(t, x.rules, 2028), Holiday{"2028-02-07", "休日"})
	e, err := x.PreviewHolidays(t.Context(), days)
	x.must(err)
	if len(e.Changes) != 1 || len(e.Moved) != 1 || e.Moved[0].Incident != first.ID || len(e.Moved[0].Clocks) != 1 {
		t.Fatalf("it would do %+v", e)
	}
	m := e.Moved[0].Clocks[0]
	if m.Clock != "appi_26.final" || day(m.From) != "2028-02-07" || day(m.To) != "2028-02-08" || !strings.Contains(m.Basis, "第8条第2項") || m.Fact != "duty.fact.known" {
		t.Errorf("the move is %+v", m)
	}
	if _, updates, err := x.HolidaysNow(t.Context()); err != nil || len(updates) != 0 {
		t.Errorf("the preview kept something: %v, %v", updates, err)
	}
	done, err := x.UpdateHolidays(t.Context(), HolidayUpdate{By: anna.ID, Source: "syukujitsu.csv", Days: days})
	x.must(err)
	if diff := cmp.Diff(e, done); diff != "" {
		t.Errorf("it did something else than it said: %s", diff)
	}
	_, updates, err := x.HolidaysNow(t.Context())
	x.must(err)
	if len(updates) != 1 || cmp.Diff(e.Moved, updates[0].Moved) != "" {
		t.Errorf("the record says %+v", updates)
	}
	var told int
	x.must(x.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM outbox WHERE subject = $1`, SubjectHolidays).Scan(&told))
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	for name, bad := range map[string]struct {
		days []Holiday
		kind fault.Kind
	}{"the same": {days, fault.Conflict}, "a part": {days[:5], fault.Invalid}} {
		if _, err := x.PreviewHolidays(t.Context(), bad.days); fault.Of(err) != bad.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}
