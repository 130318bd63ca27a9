package auth

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// inLedger moves what waits in the outbox to a list, as the hub's relay does.
func (b *bench) inLedger() func(kind string) []leaf.Leaf {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), `SELECT body FROM outbox`)
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	var all []leaf.Leaf
	for rows.Next() {
		var body []byte
		var l leaf.Leaf
		if err := rows.Scan(&body); err != nil {
			b.t.Fatal(err)
		}
		if err := json.Unmarshal(body, &l); err != nil {
			b.t.Fatal(err)
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return func(kind string) (out []leaf.Leaf) {
		for _, l := range all {
			if l.Type == kind {
				out = append(out, l)
			}
		}
		return out
	}
}

func (b *bench) exec(query string, args ...any) {
	b.t.Helper()
	err := b.db.Tx(b.t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(b.t.Context(), query, args...)
		return err
	})
	if err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
}

func (b *bench) differences(leaves func(string) []leaf.Leaf) []Difference {
	b.t.Helper()
	found, err := VerifyRows(b.t.Context(), b.db, leaves)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

func TestVerifyRowsFindsEveryChange(t *testing.T) {
	b := newBench(t)
	token, err := b.FirstInvitation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.accept(token, "first")
	none := func(string) []leaf.Leaf { return nil }
	if found := b.differences(none); len(found) > 0 {
		t.Fatalf("what waits in the outbox counts as recorded, got %v", found)
	}
	leaves := b.inLedger()
	b.exec(`DELETE FROM outbox`)
	if found := b.differences(leaves); len(found) > 0 {
		t.Fatalf("untouched rows differ: %v", found)
	}
	if found := b.differences(none); len(found) == 0 || found[0].Kind != NotInLedger {
		t.Fatalf("a ledger that knows nothing: got %v", found)
	}
	var id string
	if err := b.db.QueryRow(t.Context(), `SELECT MAX(id) FROM auth_record`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	b.exec(`CREATE TABLE kept AS SELECT * FROM auth_record`)
	for _, c := range []struct{ change, want string }{
		{`UPDATE auth_record SET at = at + 1`, Changed},
		{`UPDATE auth_record SET kind = 'login' || kind`, Changed},
		{`UPDATE auth_record SET body = replace(body, '"what":"', '"what":"un')`, Changed},
		{`UPDATE auth_record SET body = body || ' '`, Unreadable},
		{`UPDATE auth_record SET body = '{'`, Unreadable},
		{`UPDATE auth_record SET at = 'noon'`, Unreadable},
		{`DELETE FROM auth_record`, RowMissing},
	} {
		if statetest.IsPostgres() && strings.Contains(c.change, "noon") {
			continue // PostgreSQL takes numbers only
		}
		b.exec(c.change+` WHERE id = $1`, id)
		found := b.differences(leaves)
		if len(found) != 1 || found[0].Kind != c.want || found[0].Ref != id {
			t.Errorf("%s: got %v, want %s %s", c.change, found, c.want, id)
		}
		b.exec(`DELETE FROM auth_record`)
		b.exec(`INSERT INTO auth_record SELECT * FROM kept`)
	}
	b.exec(`UPDATE auth_record SET id = 'au-other' WHERE id = $1`, id)
	if found := b.differences(leaves); len(found) != 2 {
		t.Errorf("a renamed row: got %v, want it missing under one id and changed under the other", found)
	}
}

// TestViewsAndDrillsAreRecorded: each look at personal data leaves one leaf a
// minute, which names nobody but by id.
func TestViewsAndDrillsAreRecorded(t *testing.T) {
	b := newBench(t)
	who := Person{ID: "pe-1", Name: "佐藤"}
	for range 3 {
		b.Viewed(t.Context(), who, "report", "do-1")
	}
	b.Viewed(t.Context(), who, "report", "do-2")
	b.Viewed(t.Context(), Person{ID: "pe-2"}, "report", "do-1")
	if err := b.Drilled(t.Context(), "drill-began", map[string]string{"name": "torrent-callcentre"}); err != nil {
		t.Fatal(err)
	}
	leaves := b.inLedger()
	if views, drills := leaves(RecordView), leaves(RecordDrill); len(views) != 3 || len(drills) != 1 {
		t.Errorf("%d views and %d drills, want 3 and 1", len(views), len(drills))
	}
	b.exec(`DELETE FROM outbox`)
	if found := b.differences(leaves); len(found) > 0 {
		t.Errorf("untouched rows differ: %v", found)
	}
	b.exec(`DELETE FROM auth_record WHERE kind = 'view'`)
	if found := b.differences(leaves); len(found) != 3 || found[0].Kind != RowMissing {
		t.Errorf("removed views: %v", found)
	}
	list, n, err := b.Records(t.Context(), RecordFilter{Kind: RecordDrill})
	if err != nil || n != 1 || list[0].What != "drill-began" || list[0].Detail["name"] != "torrent-callcentre" {
		t.Errorf("got %+v, %v", list, err)
	}
}
