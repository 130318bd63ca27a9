package incident

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// recorded returns what a ledger would hold, by taking the outbox.
func (f fixture) recorded(t *testing.T) func(kind string) []leaf.Leaf {
	t.Helper()
	by := map[string][]leaf.Leaf{}
	for _, kind := range []string{"entry", "incident"} {
		for _, b := range f.emitted(t, "record."+kind) {
			var l leaf.Leaf
			f.ok(t, json.Unmarshal(b, &l))
			by[kind] = append(by[kind], l)
		}
	}
	f.exec(t, `DELETE FROM outbox`)
	return func(kind string) []leaf.Leaf { return slices.Clone(by[kind]) }
}

func (f fixture) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	f.ok(t, f.db.Tx(t.Context(), func(tx *state.Tx) error { _, err := tx.ExecContext(t.Context(), query, args...); return err }))
}

func (f fixture) verify(t *testing.T, leaves func(string) []leaf.Leaf) []Difference {
	t.Helper()
	got, err := VerifyRows(t.Context(), f.db, nil, leaves)
	f.ok(t, err)
	return got
}

// busy fills a room with two incidents of every sort of row.
func busy(t *testing.T) (fixture, Incident) {
	t.Helper()
	f := room(t)
	ctx := t.Context()
	in := f.open(t, NewIncident{Severity: event.High, Alerts: []string{"al-1", "al-2"}, Sites: []string{"callcentre"}, Hosts: []string{"ho-1"}})
	drill := f.open(t, NewIncident{Title: "訓練 <1>", Drill: true, Alerts: []string{"al-3"}})
	f.ok(t, f.Move(ctx, in.ID, Responding, "", anna))
	f.ok(t, f.SetScope(ctx, in.ID, Scope{Sites: []string{"callcentre"}, Notes: "受付3台"}, anna))
	for i := range 8 {
		_, err := f.Write(ctx, in.ID, NewEntry{Text: fmt.Sprintf("電話 %d & 確認 \uFFFD", i), OccurredAt: start.Add(-time.Duration(i) * time.Hour), Source: "phone"}, ben)
		f.ok(t, err)
		f.ok(t, f.Note(ctx, drill.ID, Note{Key: "test.note", Args: map[string]string{"host": "ho-<1>", "count": "12"}, Ref: "ac-1", Unique: fmt.Sprint("n", i)}))
	}
	_, err := f.Write(ctx, in.ID, NewEntry{Text: "5台", Corrects: 5}, anna)
	f.ok(t, err)
	return f, in
}

func TestAHonestStateHasNoDifferences(t *testing.T) {
	f, _ := busy(t)
	if got := f.verify(t, func(string) []leaf.Leaf { return nil }); len(got) != 0 {
		t.Errorf("with all leaves still in the outbox: %v", got)
	}
	leaves := f.recorded(t)
	if got := f.verify(t, leaves); len(got) != 0 {
		t.Errorf("with all leaves in the ledger: %v", got)
	}
	all := append(leaves("entry"), leaves("incident")...)
	known := func(l leaf.Leaf) bool {
		return slices.ContainsFunc(all, func(o leaf.Leaf) bool { return o.Type == l.Type && o.Ref == l.Ref && same(o, l) })
	}
	if got, err := VerifyRows(t.Context(), f.db, known, leaves); err != nil || len(got) != 0 {
		t.Errorf("with known: %v %v", got, err)
	}
}

// cells returns every stored value with where it stands.
type cell struct {
	table, column string
	rowid         int64
	value         string
}

func (f fixture) cells(t *testing.T) []cell {
	t.Helper()
	var all []cell
	for table, columns := range map[string]string{"incident": incidentColumns, "incident_entry": entryColumns, "incident_alert": "alert, incident"} {
		for _, column := range strings.Split(columns, ", ") {
			rows, err := f.db.Query(t.Context(), fmt.Sprintf(`SELECT rowid, CAST(%s AS TEXT) FROM %s ORDER BY rowid`, column, table))
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				c := cell{table: table, column: column}
				if err := rows.Scan(&c.rowid, &c.value); err != nil {
					t.Fatal(err)
				}
				if c.value != "" {
					all = append(all, c)
				}
			}
			if err := rows.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.SortFunc(all, func(a, b cell) int {
		return strings.Compare(fmt.Sprint(a.table, a.column, a.rowid), fmt.Sprint(b.table, b.column, b.rowid))
	})
	return all
}

// TestOneChangedByteIsNamed changes one byte of one stored value, 200 times.
func TestOneChangedByteIsNamed(t *testing.T) {
	f, _ := busy(t)
	db := f.db
	statetest.Loose(t, db, "incident", "incident_entry", "incident_alert")
	leaves := f.recorded(t)
	cells := f.cells(t)
	if got := f.verify(t, leaves); len(got) != 0 {
		t.Fatalf("before any change: %v", got)
	}

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := 0; i < 200; {
		c := cells[random.IntN(len(cells))]
		b := []byte(c.value)
		at := random.IntN(len(b))
		b[at] ^= byte(1 + random.IntN(255))
		if !statetest.Keeps(string(b)) {
			continue
		}
		query := fmt.Sprintf(`UPDATE %s SET %s = CAST($1 AS TEXT) WHERE rowid = $2`, c.table, c.column)
		err := db.Tx(t.Context(), func(tx *state.Tx) error {
			_, err := tx.ExecContext(t.Context(), query, string(b), c.rowid)
			return err
		})
		if err != nil { // a key that exists already: the database itself refuses it
			continue
		}
		i++
		if got := f.verify(t, leaves); len(got) == 0 {
			t.Errorf("%s.%s row %d: %q became %q unnoticed", c.table, c.column, c.rowid, c.value, b)
		}
		f.exec(t, query, c.value, c.rowid)
	}
	if got := f.verify(t, leaves); len(got) != 0 {
		t.Fatalf("after putting everything back: %v", got)
	}
}

func TestWhatElseIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		query string
		args  func(in Incident) []any
		kind  string
		ref   func(in Incident) string
	}{
		"an entry removed":                        {`DELETE FROM incident_entry WHERE incident = $1 AND no = 6`, only, RowMissing, entry(6)},
		"the last entry removed":                  {`DELETE FROM incident_entry WHERE incident = $1 AND no = 13`, only, RowMissing, entry(13)},
		"the last entry removed and counted down": {`UPDATE incident SET entries = entries - 1 WHERE id = $1`, only, Gap, itself},
		"an entry slipped in": {`INSERT INTO incident_entry SELECT incident, 14, occurred_at, entered_at, source, certainty, entered_by, body, sentence, args, corrects, ref, 'x', salt
			FROM incident_entry WHERE incident = $1 AND no = 6`, only, NotInLedger, entry(14)},
		"renumbered":               {`UPDATE incident_entry SET no = 99 WHERE incident = $1 AND no = 6`, only, NotInLedger, entry(99)},
		"the incident removed":     {`DELETE FROM incident WHERE id = $1`, only, RowMissing, itself},
		"an alert freed":           {`DELETE FROM incident_alert WHERE incident = $1`, only, RowMissing, itself},
		"text that reads the same": {`UPDATE incident_entry SET body = replace(body, char(65533), CAST(x'ff' AS TEXT)) WHERE incident = $1 AND no = 6`, only, Unreadable, entry(6)},
		"JSON that reads the same": {`UPDATE incident SET sites = ' ' || sites WHERE id = $1`, only, Unreadable, itself},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(tt.query, "x'ff'") {
				statetest.OnlySQLite(t, "PostgreSQL keeps no text that is not UTF-8")
			}
			f, in := busy(t)
			leaves := f.recorded(t)
			f.exec(t, tt.query, tt.args(in)...)
			got := f.verify(t, leaves)
			if !slices.ContainsFunc(got, func(d Difference) bool { return d.Kind == tt.kind && d.Ref == tt.ref(in) && d.Detail != "" }) {
				t.Errorf("got %v, want %s %s", got, tt.kind, tt.ref(in))
			}
		})
	}
}

func only(in Incident) []any    { return []any{in.ID} }
func itself(in Incident) string { return in.ID }
func entry(no int) func(Incident) string {
	return func(in Incident) string { return fmt.Sprintf("%s/%d", in.ID, no) }
}

func TestARowSetBackToAnOlderVersionIsNamed(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{})
	f.exec(t, `CREATE TABLE keep AS SELECT * FROM incident`)
	f.ok(t, f.Command(t.Context(), in.ID, ben.ID, anna))
	leaves := f.recorded(t)
	f.exec(t, `UPDATE incident SET (commander, version, changed_at, salt) = (SELECT commander, version, changed_at, salt FROM keep)`)
	got := f.verify(t, leaves)
	if len(got) != 1 || got[0].Kind != Changed || got[0].Ref != in.ID || !strings.Contains(got[0].Detail, "version 1") {
		t.Errorf("got %v", got)
	}
}

func TestASecondContentForOneEntryIsNamed(t *testing.T) {
	f := room(t)
	in := f.open(t, NewIncident{})
	leaves := f.recorded(t)
	// whoever owns the hub rewrites the entry and has the ledger take the new digest as well
	f.exec(t, `UPDATE incident_entry SET entered_by = 'pe-9' WHERE incident = $1 AND no = 2`, in.ID)
	forged, err := f.entries(t, in.ID)[1].Leaf()
	f.ok(t, err)
	got := f.verify(t, func(kind string) []leaf.Leaf {
		if kind == "entry" {
			return append(leaves(kind), forged)
		}
		return leaves(kind)
	})
	if len(got) != 1 || got[0].Kind != Twice || got[0].Ref != in.ID+"/2" {
		t.Errorf("got %v", got)
	}
}
