package task

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/i18n"
)

// Stay is that somebody was on duty in an incident, from when to when.
type Stay struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	Person   string    `json:"person"` // id
	Role     string    `json:"role"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`    // zero: still on duty; the same as From: was not on duty at all
	Corrects string    `json:"corrects"` // id of the stay in whose place this one counts
	Reason   string    `json:"reason"`   // of the correction
}

// end is when it ended, or now.
func (s Stay) end(now time.Time) time.Time {
	if s.Until.IsZero() {
		return now
	}
	return s.Until
}

// Long is how long it lasted by now.
func (s Stay) Long(now time.Time) time.Duration { return max(0, s.end(now).Sub(s.From)) }

// Counted are the stays that count: those that no other corrects, in the order
// in which they began.
func Counted(stays []Stay) []Stay {
	corrected := map[string]bool{}
	for _, s := range stays {
		corrected[s.Corrects] = true
	}
	out := slices.DeleteFunc(slices.Clone(stays), func(s Stay) bool { return corrected[s.ID] })
	slices.SortStableFunc(out, func(a, b Stay) int { return a.From.Compare(b.From) })
	return out
}

// Sum is how long somebody was on duty in a role.
type Sum struct {
	Person string        `json:"person"`
	Role   string        `json:"role"` // "" for all roles together
	Time   time.Duration `json:"nanoseconds"`
	Now    bool          `json:"now"` // is on duty
}

// Sums adds up the stays that count: of each person in each role, then of that
// person in all, ordered by person.
func Sums(stays []Stay, now time.Time) []Sum {
	by := map[[2]string]*Sum{}
	for _, s := range Counted(stays) {
		for _, role := range []string{s.Role, ""} {
			k := [2]string{s.Person, role}
			if by[k] == nil {
				by[k] = &Sum{Person: s.Person, Role: role}
			}
			by[k].Time += s.Long(now)
			by[k].Now = by[k].Now || s.Until.IsZero()
		}
	}
	out := make([]Sum, 0, len(by))
	for _, s := range by {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Sum) int {
		switch {
		case a.Person != b.Person:
			return strings.Compare(a.Person, b.Person)
		case (a.Role == "") != (b.Role == ""):
			return before(a.Role != "")
		}
		return strings.Compare(a.Role, b.Role)
	})
	return out
}

// Somebody who was on duty for tiredAfter within tiredWithin makes mistakes and
// is to be relieved. Counting within a day also finds whoever comes and goes. The
// value is Sonae's proposal.
const (
	tiredAfter  = 12 * time.Hour
	tiredWithin = 24 * time.Hour
)

// Tired returns who is on duty now and was so for twelve hours or more within
// the last 24, and for how long.
func Tired(stays []Stay, now time.Time) map[string]time.Duration {
	since, all, here := now.Add(-tiredWithin), map[string]time.Duration{}, map[string]bool{}
	for _, s := range Counted(stays) {
		from, until := s.From, s.end(now)
		if from.Before(since) {
			from = since
		}
		all[s.Person] += max(0, until.Sub(from))
		here[s.Person] = here[s.Person] || s.Until.IsZero()
	}
	for p, d := range all {
		if d < tiredAfter || !here[p] {
			delete(all, p)
		}
	}
	return all
}

// WriteCSV writes all stays, also those that were corrected, for the accounts:
// person, role, from, until, hours, note. The first bytes tell Excel that it is
// UTF-8.
func WriteCSV(w io.Writer, stays []Stay, roles []Role, names map[string]string, lang string, now time.Time) error {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return fmt.Errorf("write hours: %w", err)
	}
	c := csv.NewWriter(w)
	head := []string{}
	for _, k := range []string{"person", "role", "from", "until", "hours", "note"} {
		head = append(head, i18n.T(lang, "stay.csv."+k, nil))
	}
	_ = c.Write(head) // Error tells at the end
	counted := map[string]bool{}
	for _, s := range Counted(stays) {
		counted[s.ID] = true
	}
	for _, s := range stays {
		hours, until, note := strconv.FormatFloat(s.Long(now).Hours(), 'f', 2, 64), "", s.Reason
		if !counted[s.ID] {
			hours, note = "0.00", i18n.T(lang, "stay.csv.corrected", nil)
		}
		if !s.Until.IsZero() {
			until = local(s.Until)
		}
		_ = c.Write([]string{cell(named(names, s.Person)), cell(RoleName(roles, s.Role, lang)), local(s.From), until, hours, cell(note)})
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write hours: %w", err)
	}
	return nil
}

// cell keeps a spreadsheet from taking text that somebody typed for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsAny(s[:1], "=+-@\t\r") {
		return "'" + s
	}
	return s
}

func local(t time.Time) string { return t.In(clock.Tokyo()).Format("2006-01-02 15:04") }

func named(names map[string]string, id string) string {
	if n := names[id]; n != "" {
		return n
	}
	return id
}

// RoleName is what people call a role.
func RoleName(roles []Role, id, lang string) string {
	for _, r := range roles {
		if r.ID == id {
			return r.Name.In(lang)
		}
	}
	return id
}
