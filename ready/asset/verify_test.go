package asset

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// The leaves are those that wait in the outbox.
func TestVerifyNamesWhatIsNotAsPeopleDecided(t *testing.T) {
	r, db, _ := start(t)
	keep := Host{ID: enrol(t, r, "callcentre").ID, Name: "モニター", Class: "medical", Keep: "手術室で使う", Services: []Service{{Name: "生体情報", Effect: "見えなくなります"}}}
	if err := r.SaveHost(t.Context(), keep, admin); err != nil {
		t.Fatal(err)
	}
	tok, err := r.NewToken(t.Context(), "hospital", "予備", 0, admin)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing new to record
		if err := r.RevokeToken(t.Context(), tok.ID, admin); err != nil {
			t.Fatal(err)
		}
	}
	keepRows(t, db)
	for name, tt := range map[string]struct{ change, said string }{
		"nothing":                {``, ""},
		"off the keep-list":      {`UPDATE asset_host SET keep = ''`, "changed host/"},
		"to another site":        {`UPDATE asset_host SET site = 'hospital'`, "changed host/"},
		"services of no effect":  {`UPDATE asset_host SET services = '[]'`, "changed host/"},
		"trusted again":          {`UPDATE asset_host SET removed_at = 1`, "changed host/"},
		"an older version":       {`UPDATE asset_host SET version = 1`, "changed host/"},
		"a host gone":            {`DELETE FROM asset_host`, "missing host/"},
		"a site changed":         {`UPDATE asset_site SET name = 'x' WHERE id = 'hospital'`, "changed site/hospital: "},
		"a site added":           {`INSERT INTO asset_site (id, name, kind, principal, contact, drill, version, salt) VALUES ('evil', '', '', '', '', 0, 1, '')`, "not-in-ledger site/evil: "},
		"a version changed":      {`UPDATE asset_record SET body = REPLACE(body, '手術室', '倉庫')`, "changed host/"},
		"a version added":        {`INSERT INTO asset_record (ref, at, body) SELECT 'host/x/1', at, body FROM asset_record WHERE ref LIKE 'host/%/2'`, "not-in-ledger host/x/1: "},
		"the newest version":     {`DELETE FROM asset_record WHERE ref LIKE 'host/%/2'`, "missing host/"},
		"another time":           {`UPDATE asset_record SET at = at + 1 WHERE ref = 'site/hospital/1'`, "changed site/hospital/1: "},
		"a token's":              {`DELETE FROM asset_record WHERE ref LIKE 'token/%/revoked'`, "missing token/"},
		"of nothing":             {`UPDATE asset_record SET ref = 'x' WHERE ref = 'site/hospital/1'`, "unreadable x: "},
		"what a heartbeat wrote": {`UPDATE asset_host SET os = 'other', last_seen = 7`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.change != "" {
				alter(t, db, tt.change)
				defer restore(t, db)
			}
			said := differences(t, db, func(string) []leaf.Leaf { return nil })
			if (said == "") != (tt.said == "") || !strings.Contains(said, tt.said) {
				t.Errorf("want %q, got:\n%s", tt.said, said)
			}
		})
	}
}

// tables are what the verifier reads, in the order in which they may be filled.
var tables = []string{"asset_site", "asset_host", "asset_record"}

// keepRows copies the tables; restore puts the copies back.
func keepRows(t *testing.T, db *state.DB) {
	t.Helper()
	for _, table := range tables {
		change(t, db, `CREATE TABLE kept_`+table+` AS SELECT * FROM `+table)
	}
}

func restore(t *testing.T, db *state.DB) {
	t.Helper()
	change(t, db, `DELETE FROM asset_host`, `DELETE FROM asset_token`, `DELETE FROM asset_site`, `DELETE FROM asset_record`)
	for _, table := range tables {
		change(t, db, `INSERT INTO `+table+` SELECT * FROM kept_`+table)
	}
}

// Before versions were kept, the ledger had leaves of other types, and no rows.
func TestVerifyOfARegisterFromBeforeVersionsWereKept(t *testing.T) {
	r, db, c := start(t)
	h := enrol(t, r, "callcentre")
	alter(t, db, `DELETE FROM asset_record`)
	alter(t, db, `DELETE FROM outbox`)
	alter(t, db, `UPDATE asset_host SET version = 3`)
	old := func(kind string) (all []leaf.Leaf) {
		refs := map[string][]string{"site": {"hospital/1", "callcentre/1"}, "host": {h.ID + "/1", h.ID + "/2", h.ID + "/3"}}
		for _, ref := range refs[kind] {
			all = append(all, leaf.Leaf{Type: kind, Ref: ref, Digest: ref, At: c.now()})
		}
		return all
	}
	if said := differences(t, db, old); said != "" {
		t.Errorf("nothing was changed:\n%s", said)
	}
	alter(t, db, `UPDATE asset_host SET version = 2`)
	if said := differences(t, db, old); !strings.Contains(said, "changed host/"+h.ID) {
		t.Errorf("put back to an older version: %q", said)
	}
	alter(t, db, `UPDATE asset_host SET version = 3`)
	h.Keep = "手術室で使う"
	if err := r.SaveHost(t.Context(), h, admin); err != nil {
		t.Fatal(err)
	}
	if said := differences(t, db, old); said != "" {
		t.Errorf("it was changed in order:\n%s", said)
	}
	alter(t, db, `UPDATE asset_host SET keep = ''`)
	if said := differences(t, db, old); !strings.Contains(said, "changed host/"+h.ID) {
		t.Errorf("off the keep-list: %q", said)
	}
}

// alter changes rows, at least one.
func alter(t *testing.T, db *state.DB, query string) {
	t.Helper()
	if n := change(t, db, query); n == 0 {
		t.Fatalf("%s changes nothing", query)
	}
}

// change runs statements and says how many rows the last one changed.
func change(t *testing.T, db *state.DB, queries ...string) (n int64) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *state.Tx) error {
		for _, q := range queries {
			res, err := tx.ExecContext(t.Context(), q)
			if err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
			if n, err = res.RowsAffected(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func differences(t *testing.T, db *state.DB, leaves func(string) []leaf.Leaf) (said string) {
	t.Helper()
	found, err := VerifyRows(t.Context(), db, leaves)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		said += d.String() + "\n"
	}
	return said
}
