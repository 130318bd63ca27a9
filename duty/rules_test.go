package duty

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/clock"
)

func TestUnknownAndWrongThingsAreRefusedWithTheLine(t *testing.T) {
	good, err := os.ReadFile("data/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	days, err := os.ReadFile("data/holidays.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ old, new, want string }{
		"unknown key":           {"last_day: 5\n", "last_day: 5\n      lastday: 6\n", "line 22: field lastday not found"},
		"key given twice":       {"last_day: 5\n", "last_day: 5\n      last_day: 6\n", "line 22: mapping key \"last_day\" already defined"},
		"text for a number":     {"target_day: 3", "target_day: three", "line 20: cannot unmarshal"},
		"no such day":           {"compiled: 2026-11-21", "compiled: 2026-02-30", "line 5: \"2026-02-30\""},
		"unknown fact":          {"when: sensitive,", "when: sensitve,", `trigger "appi_1"`},
		"unknown slide":         {"closed_last_day: next_open_day", "closed_last_day: next", `closed_last_day "next"`},
		"no source":             {"source: 施行規則第8条第2項、ガイドライン（通則編）3-5-3-4", "source: ''", "has no source"},
		"no confidence":         {"    confidence: U\n", "    confidence: sure\n", `confidence "sure"`},
		"every day closed":      {"[saturday, sunday]", "[saturday, sunday, monday, tuesday, wednesday, thursday, friday]", "closed weekdays"},
		"unknown class":         {"legal_classes: [administrative_organ]", "legal_classes: [city]", `legal class "city"`},
		"unknown field":         {"fields: [secondary]", "fields: [second]", `unknown field "second"`},
		"huge days":             {"final_days: 60, bad_intent: true}", "final_days: 999999, bad_intent: true}", "cannot be used"},
		"two versions at once":  {"  final:                 # 確報; the number of days stands with each trigger\n", "  final:\n    - {guide: false, closed_last_day: stay, effective_from: 2022-04-01, source: x, confidence: P}\n", "two versions hold"},
		"ends before it begins": {"    effective_from: 2024-04-01\n    source: 規則", "    effective_from: 2024-04-01\n    effective_until: 2024-03-31\n    source: 規則", "ends before"},
		"a table's odd answer":  {`then: {personal: "yes", public: "yes"}`, `then: {personal: "yes", public: "maybe"}`, `answer "public"`},
		"a table's odd fact":    {`if: {p2p: "yes", shared: "yes"}`, `if: {p2p: "yes", shred: "yes"}`, `condition "shred"`},
		"an odd proof":          {"never_if: [by_attacker]", "never_if: [by_hacker]", `unknown part "by_hacker"`},
		"a pending law applied": {"{id: appi_2026,", "{id: appi_26,", "is a regime that is applied"},
		"a contact twice":       {"{id: ceptoar,", "{id: jpcert,", `contact "jpcert"`},
		"a decision never due":  {"review_every_hours: 72", "review_every_hours: 0", "review_every_hours 0"},
		"two documents":         {"schema:", "--- {}\n---\nschema:", "more than one document"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(good), tt.old) {
				t.Fatalf("the rules no longer contain %q", tt.old)
			}
			_, err := ParseRules([]byte(strings.Replace(string(good), tt.old, tt.new, 1)), days)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	for name, text := range map[string]string{
		"holiday in the wrong year": strings.Replace(string(days), "2026-01-01", "2025-01-01", 1),
		"unknown status":            strings.Replace(string(days), "status: assumed", "status: maybe", 1),
		"second document":           string(days) + "\n---\nschema: x\n",
		"too long":                  string(days) + strings.Repeat("#", maxRules),
	} {
		if _, err := ParseRules(good, []byte(text)); err == nil || !strings.Contains(err.Error(), "holidays.yaml") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// lawful computes the holidays of a year from the law itself, as a check on
// the data: fixed days, the Mondays of the Happy Monday law, the equinoxes by
// the usual approximation (1980–2099), then 第3条第2項 and 第3項.
func lawful(year int) map[string]bool {
	on := func(m time.Month, d int) time.Time { return time.Date(year, m, d, 0, 0, 0, 0, clock.Tokyo()) }
	monday := func(m time.Month, n int) time.Time {
		first := on(m, 1)
		return first.AddDate(0, 0, (8-int(first.Weekday()))%7+7*(n-1))
	}
	equinox := func(base float64) int {
		return int(math.Floor(base + 0.242194*float64(year-1980) - math.Floor(float64(year-1980)/4)))
	}
	named := map[time.Time]bool{}
	for _, d := range []time.Time{on(1, 1), monday(1, 2), on(2, 11), on(2, 23), on(3, equinox(20.8431)), on(4, 29), on(5, 3), on(5, 4), on(5, 5),
		monday(7, 3), on(8, 11), monday(9, 3), on(9, equinox(23.2488)), monday(10, 2), on(11, 3), on(11, 23)} {
		named[dayOf(d)] = true
	}
	has := func(d time.Time) bool {
		for n := range named {
			if n.Equal(d) {
				return true
			}
		}
		return false
	}
	all := map[string]bool{}
	for d := on(1, 1); d.Year() == year; d = d.AddDate(0, 0, 1) {
		if !has(d) {
			if has(d.AddDate(0, 0, -1)) && has(d.AddDate(0, 0, 1)) && d.Weekday() != time.Sunday {
				all[d.Format(time.DateOnly)] = true
			}
			continue
		}
		all[d.Format(time.DateOnly)] = true
		if d.Weekday() == time.Sunday {
			s := d.AddDate(0, 0, 1)
			for has(s) {
				s = s.AddDate(0, 0, 1)
			}
			all[s.Format(time.DateOnly)] = true
		}
	}
	return all
}

func TestHolidaysFollowTheLaw(t *testing.T) {
	h := rules(t).Holidays
	for year := 2025; year <= 2030; year++ {
		got := map[string]bool{}
		for d := range h.days {
			if strings.HasPrefix(d, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Format("2006")) {
				got[d] = true
			}
		}
		if diff := cmp.Diff(lawful(year), got); diff != "" {
			t.Errorf("%d (-law +data):\n%s", year, diff)
		}
		if known, announced := h.Covers(year); !known || announced != (year <= 2027) {
			t.Errorf("%d: known %v, announced %v", year, known, announced)
		}
	}
	// the two that are easily missed in 2026
	for day, want := range map[string]string{"2026-05-06": "休日（祝日法第3条第2項）", "2026-09-22": "休日（祝日法第3条第3項）", "2026-09-24": ""} {
		if got := h.Name(at(t, day+" 12:00")); got != want {
			t.Errorf("%s is %q, want %q", day, got, want)
		}
	}
}

func TestClosedDays(t *testing.T) {
	r := rules(t)
	for day, want := range map[string]bool{"2026-12-28": false, "2026-12-29": true, "2026-12-31": true, "2027-01-01": true, "2027-01-03": true, "2027-01-04": false,
		"2026-11-21": true, "2026-11-22": true, "2026-11-23": true, "2026-11-24": false} {
		if got := r.Closed(at(t, day+" 23:59").UTC()); got != want {
			t.Errorf("%s closed: %v, want %v", day, got, want)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	good, err := os.ReadFile("data/rules.yaml")
	if err != nil {
		f.Fatal(err)
	}
	days, err := os.ReadFile("data/holidays.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, days)
	f.Add([]byte("a: &a [*a]"), []byte("years: [{year: 2026, status: announced, days: [{date: 2026-01-01, name: x}]}]"))
	f.Fuzz(func(t *testing.T, rules, holidays []byte) {
		if r, err := ParseRules(rules, holidays); err == nil { // whatever is accepted can be evaluated
			Evaluate(r, patients(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)), time.Time{})
		}
	})
}
