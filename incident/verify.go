package incident

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// What a Difference can be.
const (
	Changed     = "changed"       // the row is not what the ledger recorded
	Unreadable  = "unreadable"    // a column holds what Sonae never writes
	RowMissing  = "missing"       // the ledger knows it, the table does not
	Gap         = "gap"           // a number is skipped
	NotInLedger = "not-in-ledger" // the table has it, the ledger does not
	Twice       = "twice"         // the ledger holds two contents for one entry
)

// Difference is one thing that is not as it was recorded.
type Difference struct {
	Kind   string `json:"kind"`
	Ref    string `json:"ref"` // "<incident>/<no>" for entries, "<incident>" for the incident itself
	Detail string `json:"detail"`
}

// String is one line for a terminal.
func (d Difference) String() string { return d.Kind + " " + d.Ref + ": " + d.Detail }

// VerifyRows recomputes every row of the incident tables and compares it with
// the ledger; every column is covered. known says whether the ledger holds
// exactly this leaf (may be nil); leaves returns all leaves of a type. Leaves
// that still wait in the outbox of db count as recorded, so that a hub that
// was killed is not accused. It writes nothing. The differences are sorted.
func VerifyRows(ctx context.Context, db *state.DB, known func(leaf.Leaf) bool, leaves func(kind string) []leaf.Leaf) ([]Difference, error) {
	c := &check{known: known, seen: map[string]bool{}, newest: map[string]int{}, numbers: map[string][]int{}, claimed: map[string]int{}}
	var err error
	if c.entries, err = Recorded(ctx, db, "entry", leaves); err != nil {
		return nil, err
	}
	if c.incidents, err = Recorded(ctx, db, "incident", leaves); err != nil {
		return nil, err
	}
	if err := c.entryRows(ctx, db); err != nil {
		return nil, err
	}
	alerts, err := c.incidentRows(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := c.alertRows(ctx, db, alerts); err != nil {
		return nil, err
	}
	c.missingEntries()
	c.gaps()
	slices.SortFunc(c.found, func(a, b Difference) int { return strings.Compare(a.Ref+a.Kind+a.Detail, b.Ref+b.Kind+b.Detail) })
	return slices.Compact(c.found), nil
}

type check struct {
	known     func(leaf.Leaf) bool
	entries   map[string][]leaf.Leaf // by ref
	incidents map[string][]leaf.Leaf
	newest    map[string]int   // highest recorded version by incident
	seen      map[string]bool  // refs of entry rows
	numbers   map[string][]int // entry numbers by incident
	claimed   map[string]int   // what the incident's row says about how many entries there are
	found     []Difference
}

func (c *check) name(kind, ref, format string, args ...any) {
	c.found = append(c.found, Difference{Kind: kind, Ref: ref, Detail: fmt.Sprintf(format, args...)})
}

// Recorded returns the leaves of one type by ref, each content once: those of
// the ledger and those that still wait in the outbox of db. An honest hub has
// one for each ref.
func Recorded(ctx context.Context, db *state.DB, kind string, leaves func(string) []leaf.Leaf) (map[string][]leaf.Leaf, error) {
	all := leaves(kind)
	rows, err := db.Query(ctx, `SELECT body FROM outbox WHERE subject = $1`, "record."+kind)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("read outbox: %w", err)
		}
		var l leaf.Leaf
		if err := json.Unmarshal(body, &l); err == nil && l.Type == kind { // a damaged one records nothing
			all = append(all, l)
		}
	}
	by := map[string][]leaf.Leaf{}
	for _, l := range all {
		if !slices.ContainsFunc(by[l.Ref], func(o leaf.Leaf) bool { return same(o, l) }) {
			by[l.Ref] = append(by[l.Ref], l)
		}
	}
	return by, rows.Err()
}

func same(a, b leaf.Leaf) bool { return a.Digest == b.Digest && a.At.Equal(b.At) }

// compare holds one recomputed leaf against what is recorded under its ref.
func (c *check) compare(recorded []leaf.Leaf, l leaf.Leaf, ref string) {
	if len(recorded) > 1 {
		c.name(Twice, ref, "the ledger holds %d different contents for %s %s", len(recorded), l.Type, l.Ref)
	}
	if c.known != nil && c.known(l) || slices.ContainsFunc(recorded, func(o leaf.Leaf) bool { return same(o, l) }) {
		return
	}
	if len(recorded) == 0 {
		c.name(NotInLedger, ref, "the ledger has no %s %s", l.Type, l.Ref)
		return
	}
	c.name(Changed, ref, "digest is %s, the ledger recorded %s", l.Digest, recorded[0].Digest)
}

func (c *check) entryRows(ctx context.Context, db *state.DB) error {
	return each(ctx, db, "incident_entry", entryColumns, func(r *row) {
		e := Entry{
			Incident: r.text(), No: r.number(), OccurredAt: state.Time(r.int64()), EnteredAt: state.Time(r.int64()), Source: r.text(),
			Certainty: Certainty(r.text()), By: r.text(), Text: r.text(), Key: r.text(),
		}
		r.json(&e.Args)
		e.Corrects, e.Ref, e.Unique, e.Salt = r.number(), r.text(), r.text(), r.text()
		ref := fmt.Sprintf("%s/%d", e.Incident, e.No)
		c.seen[ref] = true
		c.numbers[e.Incident] = append(c.numbers[e.Incident], e.No)
		if r.problem != "" {
			c.name(Unreadable, ref, "%s", r.problem)
			return
		}
		l, err := e.Leaf()
		if err != nil {
			c.name(Unreadable, ref, "%v", err)
			return
		}
		c.compare(c.entries[l.Ref], l, ref)
	})
}

// incidentRows checks the incidents themselves and returns which alert each
// of them claims.
func (c *check) incidentRows(ctx context.Context, db *state.DB) (map[string]string, error) {
	alerts, rows := map[string]string{}, map[string]bool{}
	for ref := range c.incidents {
		id, v, _ := strings.Cut(ref, "/")
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, fmt.Errorf("verify incidents: the ledger has an unusable reference %q", ref)
		}
		c.newest[id] = max(c.newest[id], n)
	}
	err := each(ctx, db, "incident", incidentColumns, func(r *row) {
		ch := r.change()
		id := ch.Incident.ID
		rows[id] = true
		for _, a := range ch.Alerts {
			alerts[a] = id
		}
		c.claimed[id] = ch.Incident.Entries
		if r.problem != "" {
			c.name(Unreadable, id, "%s", r.problem)
			return
		}
		l, err := ch.leaf()
		if err != nil {
			c.name(Unreadable, id, "%v", err)
			return
		}
		c.compare(c.incidents[l.Ref], l, id)
		c.versions(id, ch.Version)
	})
	for id := range c.newest {
		if !rows[id] {
			c.name(RowMissing, id, "the ledger knows this incident, the table does not")
		}
	}
	return alerts, err
}

// versions finds a row that was set back to an older version: the ledger then
// knows a newer one.
func (c *check) versions(id string, version int) {
	if n := c.newest[id]; n > version {
		c.name(Changed, id, "the row is version %d, the ledger knows version %d", version, n)
	}
	for v := 1; v <= version; v++ {
		if len(c.incidents[fmt.Sprintf("%s/%d", id, v)]) == 0 {
			c.name(NotInLedger, id, "the ledger has no version %d", v)
			return // a forged version number may be huge
		}
	}
}

func (r *row) change() change {
	var c change
	in := &c.Incident
	in.ID, in.No, in.Title, in.State = r.text(), r.number(), r.text(), State(r.text())
	severity, err := event.ParseSeverity(r.text())
	if err != nil || r.last != severity.String() {
		r.fail("severity %q", r.last)
	}
	in.Severity, in.Commander = severity, r.text()
	r.json(&in.Scope.Sites)
	r.json(&in.Scope.Hosts)
	in.Scope.Notes = r.text()
	drill := r.int64()
	if drill != 0 && drill != 1 {
		r.fail("drill is %d", drill)
	}
	in.Drill, in.OpenedAt, in.OpenedBy = drill == 1, state.Time(r.int64()), r.text()
	in.KnownAt, in.EndedAt, in.Entries = state.Time(r.int64()), state.Time(r.int64()), r.number()
	r.json(&c.Alerts)
	c.Version, c.At, c.Salt = r.number(), state.Time(r.int64()), r.text()
	return c
}

// alertRows compares the table that keeps an alert from being used twice with
// the lists that the incidents' digests cover.
func (c *check) alertRows(ctx context.Context, db *state.DB, claimed map[string]string) error {
	seen := map[string]bool{}
	err := each(ctx, db, "incident_alert", `alert, incident`, func(r *row) {
		a, id := r.text(), r.text()
		seen[a] = true
		if r.problem != "" || claimed[a] != id {
			c.name(Changed, id, "alert %q is bound to %q, recorded was %q %s", a, id, claimed[a], r.problem)
		}
	})
	for a, id := range claimed {
		if !seen[a] {
			c.name(RowMissing, id, "alert %q is no longer bound to the incident", a)
		}
	}
	return err
}

func (c *check) missingEntries() {
	for ref := range c.entries {
		if !c.seen[ref] {
			c.name(RowMissing, ref, "the ledger knows this entry, the table does not")
		}
	}
}

// gaps needs no ledger: numbers go from 1 to what the incident's row counts.
func (c *check) gaps() {
	for id := range c.claimed {
		if _, ok := c.numbers[id]; !ok {
			c.numbers[id] = nil
		}
	}
	for id, nos := range c.numbers {
		slices.Sort(nos)
		want := 1
		for _, no := range nos {
			if no != want {
				c.name(Gap, id, "entry %d follows entry %d", no, want-1)
			}
			want = no + 1
		}
		if n, ok := c.claimed[id]; !ok {
			c.name(RowMissing, id, "there are entries, but no such incident")
		} else if n != want-1 {
			c.name(Gap, id, "the incident counts %d entries, the last one is %d", n, want-1)
		}
	}
}

// row reads columns strictly, in order: SQLite stores any type anywhere, and a
// value that merely reads the same must not pass for the same.
type row struct {
	columns []string
	values  []any
	at      int
	last    string
	problem string
}

func each(ctx context.Context, db *state.DB, table, columns string, f func(*row)) error {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM `+table)
	if err != nil {
		return fmt.Errorf("verify %s: %w", table, err)
	}
	defer rows.Close()
	names := strings.Split(columns, ", ")
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("verify %s: %w", table, err)
		}
		f(&row{columns: names, values: values})
	}
	return rows.Err()
}

// fail names the column read last.
func (r *row) fail(format string, args ...any) {
	if r.problem == "" {
		r.problem = r.columns[r.at-1] + ": " + fmt.Sprintf(format, args...)
	}
}

func (r *row) next() any { r.at++; return r.values[r.at-1] }

func (r *row) text() string {
	v := r.next()
	s, ok := v.(string)
	if !ok || !utf8.ValidString(s) {
		r.fail("not text (%T)", v)
	}
	r.last = s
	return s
}

func (r *row) int64() int64 {
	v := r.next()
	n, ok := v.(int64)
	if !ok {
		r.fail("not a number (%T)", v)
	}
	return n
}

func (r *row) number() int { return int(r.int64()) }

// json accepts only the very text that Sonae writes for the value.
func (r *row) json(into any) {
	text := r.text()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		r.fail("%v", err)
		return
	}
	if state.JSON(into) != text {
		r.fail("not in the form Sonae writes")
	}
}
