package duty

import (
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var anna = auth.Person{ID: "pe-1"}

func desk(t *testing.T, now time.Time) *Desk {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db := statetest.Open(t)
	return New(db, rules(t), func() time.Time { return now }, log)
}

func TestFactsKeepTheirHistory(t *testing.T) {
	now := at(t, "2026-11-22 16:00")
	d := desk(t, now)
	ctx := t.Context()
	in := incident.Incident{ID: "in-1", KnownAt: now.Add(-time.Hour).UTC()}
	for range 2 { // at least once
		if err := d.Start(ctx, in, "callcentre"); err != nil {
			t.Fatal(err)
		}
	}
	first, err := d.Assess(ctx, in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if find(t, first, "contractor.notice").Applies != Unknown || find(t, first, "appi_26.prompt").Applies != Unknown {
		t.Errorf("right after the start: %+v", first.Clocks)
	}
	f := first.Facts
	f.Personal, f.Sensitive, f.Maximum = Yes, Yes, 40
	f.Items.Cause = "  受付PCに\r\nファイル共有ソフト\x00\xff "
	if err := d.SetFacts(ctx, in.ID, f, anna); err != nil {
		t.Fatal(err)
	}
	second, err := d.Assess(ctx, in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := second.Facts.Items.Cause; got != "受付PCに\nファイル共有ソフト\uFFFD" {
		t.Errorf("cause is stored as %q", got)
	}
	if err := d.SetFacts(ctx, in.ID, second.Facts, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("stating the same again: %v", err)
	}
	history, err := d.History(ctx, in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(history) != 2 || history[0].By != incident.System || history[1].By != anna.ID {
		t.Fatalf("history %+v", history)
	}
	if diff := cmp.Diff(first.Facts, history[0].Facts); diff != "" {
		t.Errorf("the first statement changed:\n%s", diff)
	}
	checkLeaves(t, d, history)
}

// checkLeaves compares what was emitted with what the stored rows give.
func checkLeaves(t *testing.T, d *Desk, history []Statement) {
	t.Helper()
	rows, err := d.db.Query(t.Context(), `SELECT subject, body FROM outbox ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []leaf.Leaf
	var subjects []string
	for rows.Next() {
		var subject string
		var body []byte
		if err := rows.Scan(&subject, &body); err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, subject)
		if subject == "record.facts" {
			var l leaf.Leaf
			if err := json.Unmarshal(body, &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l)
		}
	}
	if diff := cmp.Diff([]string{"record.facts", "duty.changed", "record.facts", "duty.changed"}, subjects); diff != "" {
		t.Error(diff)
	}
	var want []leaf.Leaf
	for _, s := range history {
		l, err := s.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, l)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("leaves:\n%s", diff)
	}
}

func TestFactsThatCannotBe(t *testing.T) {
	now := at(t, "2026-11-22 16:00")
	d := desk(t, now)
	good := patients(now.Add(-time.Hour))
	for name, tt := range map[string]struct {
		change func(f *Facts)
		want   fault.Kind
	}{
		"never started":              {func(*Facts) {}, fault.Missing},
		"no known-at":                {func(f *Facts) { f.KnownAt = time.Time{} }, fault.Invalid},
		"future":                     {func(f *Facts) { f.KnownAt = now.Add(time.Hour) }, fault.Invalid},
		"year mistyped":              {func(f *Facts) { f.KnownAt = time.Date(226, 11, 1, 0, 0, 0, 0, time.UTC) }, fault.Invalid},
		"unknown answer":             {func(f *Facts) { f.Public = "perhaps" }, fault.Invalid},
		"unknown class":              {func(f *Facts) { f.LegalClass = "bakery" }, fault.Invalid},
		"more confirmed than most":   {func(f *Facts) { f.Confirmed, f.Maximum = 5, 4 }, fault.Invalid},
		"negative":                   {func(f *Facts) { f.Confirmed = -1 }, fault.Invalid},
		"filed in the future":        {func(f *Facts) { f.PromptFiledAt = now.Add(time.Hour) }, fault.Invalid},
		"prompt before it was known": {func(f *Facts) { f.PromptFiledAt = f.KnownAt.Add(-time.Hour) }, fault.Invalid},
		"final before it was known":  {func(f *Facts) { f.FinalFiledAt = f.KnownAt.Add(-time.Hour) }, fault.Invalid},
		"told by nobody":             {func(f *Facts) { f.NotifiedAt = now }, fault.Invalid},
		"too long":                   {func(f *Facts) { f.Items.Other = strings.Repeat("長", longest+1) }, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			f := good
			tt.change(&f)
			if err := d.SetFacts(t.Context(), "in-1", f, anna); fault.Of(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := d.Assess(t.Context(), "in-1"); fault.Of(err) != fault.Missing {
		t.Errorf("assess: %v", err)
	}
}

// TestOneChangedByteIsNamed changes one byte of each column of each statement
// at a random place, 200 times in all.
func TestOneChangedByteIsNamed(t *testing.T) {
	now := at(t, "2026-11-22 16:00")
	d := desk(t, now)
	ctx := t.Context()
	for _, id := range []string{"in-1", "in-2"} {
		if err := d.Start(ctx, incident.Incident{ID: id, KnownAt: now}, "callcentre"); err != nil {
			t.Fatal(err)
		}
		f := patients(now.Add(-time.Hour))
		f.Items.Cause = "原因 & <b>\uFFFD"
		if err := d.Restate(ctx, id, f, "電話で確かめた", anna); err != nil {
			t.Fatal(err)
		}
	}
	none := func(string) []leaf.Leaf { return nil } // all leaves are still in the outbox
	differences := func() []incident.Difference {
		got, err := VerifyRows(ctx, d.db, none)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := differences(); len(got) != 0 {
		t.Fatalf("honest rows: %v", got)
	}
	exec := func(query string, args ...any) error {
		return d.db.Tx(ctx, func(tx *state.Tx) error { _, err := tx.ExecContext(ctx, query, args...); return err })
	}
	statetest.Loose(t, d.db, "duty_facts")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	names := strings.Split(columns, ", ")
	for i := 0; i < 200; {
		column, row := names[random.IntN(len(names))], 1+random.IntN(4)
		var old string
		if err := d.db.QueryRow(ctx, `SELECT CAST(`+column+` AS TEXT) FROM duty_facts WHERE rowid = $1`, row).Scan(&old); err != nil {
			t.Fatal(err)
		}
		if old == "" { // the first statement has no reason and moved nothing
			continue
		}
		b := []byte(old)
		b[random.IntN(len(b))] ^= byte(1 + random.IntN(255))
		if !statetest.Keeps(string(b)) {
			continue
		}
		set := `UPDATE duty_facts SET ` + column + ` = CAST($1 AS TEXT) WHERE rowid = $2`
		if exec(set, string(b), row) != nil { // a key that exists already
			continue
		}
		i++
		if len(differences()) == 0 {
			t.Errorf("%s of row %d: %q became %q unnoticed", column, row, old, b)
		}
		if err := exec(set, old, row); err != nil {
			t.Fatal(err)
		}
	}
	if err := exec(`DELETE FROM duty_facts WHERE incident = 'in-2' AND no = 2`); err != nil {
		t.Fatal(err)
	}
	if got := differences(); len(got) != 1 || got[0].Kind != incident.RowMissing || got[0].Ref != "in-2/2" {
		t.Errorf("a removed row: %v", got)
	}
}
