package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
)

// verified runs `sonae verify` in this process.
func verified(args ...string) (code int, said string) {
	var out, errs bytes.Buffer
	code = run(append([]string{"verify"}, args...), &out, &errs)
	return code, out.String() + errs.String()
}

func TestTamper(t *testing.T) {
	t.Parallel()
	p := practise(t)
	dir, c := p.dir, p.Case
	began := time.Now()
	if code, said := verified(dir); code != intact {
		t.Fatalf("nothing was changed, but verify says %d:\n%s", code, said)
	}
	t.Logf("one check takes %v", time.Since(began))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	t.Run("types", func(t *testing.T) { eachTypeIsCompared(t, dir) })
	t.Run("files", func(t *testing.T) { tamperFiles(t, dir, c.Bag.ID, times(200, 500), random) })
	t.Run("records", func(t *testing.T) { tamperRecords(t, dir, c.Bag.ID) })
	t.Run("rows", func(t *testing.T) { tamperRows(t, dir, c.Incident.ID, times(200, 200), random) })
	t.Run("bytes in rows", func(t *testing.T) { tamperCells(t, dir, times(80, 300), random) })
	t.Run("exported", func(t *testing.T) {
		tamperExported(t, append(exports(t, dir), p.report), times(80, 200), random)
	})
	if code, said := verified(dir); code != intact {
		t.Errorf("all was put back, but verify says %d:\n%s", code, said)
	}
}

// eachTypeIsCompared adds a leaf that nothing was recorded for to those of each
// type that the practised hub has: it must be missed. Copies of the custody
// record and backups are outside of the hub; of an order that is gone its leaf
// of type order tells, not that of its signature.
func eachTypeIsCompared(t *testing.T, dir string) {
	leaves, err := ledger.Scan(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := state.OpenReadOnly(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	seen := map[string]bool{bag.LeafAfter: true, "backup": true, "order-signature": true}
	for _, l := range leaves {
		if seen[l.Type] {
			continue
		}
		seen[l.Type] = true
		l.Ref = "nobody-recorded/1"
		c := &check{out: io.Discard}
		more := append(slices.Clone(leaves), l)
		if err := errors.Join(c.rows(t.Context(), db, more), c.archive(t.Context(), filepath.Join(dir, "archive"), more)); err != nil {
			t.Fatal(err)
		}
		if c.differences == 0 {
			t.Errorf("a record of type %s that is nowhere is not missed", l.Type)
		}
	}
	if len(seen) < 18 {
		t.Errorf("only these types are in the ledger: %v", seen)
	}
}

// times is how often something is changed: in a short run little, otherwise
// some, and with SONAE_TORTURE all that the thousand changes need.
func times(some, all int) int {
	switch {
	case os.Getenv("SONAE_TORTURE") != "":
		return all
	case testing.Short():
		return some / 10
	}
	return some
}

// protected lists the files under a folder of the hub that have any bytes.
func protected(t *testing.T, dir, sub string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, sub), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("files in %s: %v, %v", sub, files, err)
	}
	return files
}

// tamperFiles changes one byte n times, spread over the files of archive,
// ledger and evidence: each check must name the changed file.
func tamperFiles(t *testing.T, dir, bag string, n int, random *rand.Rand) {
	places := [][]string{protected(t, dir, "archive"), {filepath.Join(dir, "archive", "manifest.jsonl")}, protected(t, dir, "ledger"), protected(t, dir, "evidence/"+bag)}
	for i := range n {
		files := places[i%len(places)]
		path := files[random.IntN(len(files))]
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at, bit := random.IntN(len(before)), byte(1)<<random.IntN(8)
		after := slices.Clone(before)
		after[at] ^= bit
		overwrite(t, path, after)
		code, said := verified(dir)
		overwrite(t, path, before)
		rel, _ := filepath.Rel(dir, path)
		if code != differs || !strings.Contains(said, "DIFFERS") || !strings.Contains(said, rel) {
			t.Errorf("%s, byte %d, bit %#02x: exit %d, want %d and the file named:\n%.2000s", rel, at, bit, code, differs, said)
		}
	}
}

func overwrite(t *testing.T, path string, content []byte) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, info.Mode()); err != nil {
		t.Fatal(err)
	}
}

// changes of a line of the chronology, as SQL; %s is the condition.
var changes = []string{
	`UPDATE incident_entry SET body = body || ' ' WHERE %s`,
	`UPDATE incident_entry SET occurred_at = occurred_at + 1 WHERE %s`,
	`UPDATE incident_entry SET entered_at = entered_at - 1000000000 WHERE %s`,
	`UPDATE incident_entry SET source = 'phone' WHERE %s`,
	`UPDATE incident_entry SET certainty = 'estimate' WHERE %s`,
	`UPDATE incident_entry SET entered_by = 'pe-somebody' WHERE %s`,
	`UPDATE incident_entry SET sentence = sentence || 'x' WHERE %s`,
	`UPDATE incident_entry SET args = '{"host":"other-pc"}' WHERE %s`,
	`UPDATE incident_entry SET args = args || ' ' WHERE %s`,
	`UPDATE incident_entry SET corrects = 1 WHERE %s`,
	`UPDATE incident_entry SET ref = 'x' || ref WHERE %s`,
	`UPDATE incident_entry SET salt = '00000000000000000000000000000000' WHERE %s`,
	`UPDATE incident_entry SET unique_id = unique_id || 'x' WHERE %s`,
	`DELETE FROM incident_entry WHERE %s`,
	`UPDATE incident_entry SET no = no + 1000 WHERE %s`,
}

// tamperRows changes one line of the chronology so many times: each check must
// name the line.
func tamperRows(t *testing.T, dir, incident string, many int, random *rand.Rand) {
	db, err := state.Open(t.Context(), filepath.Join(dir, "state.db"), hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(query string, args ...any) {
		t.Helper()
		err := db.Tx(t.Context(), func(tx *state.Tx) error {
			res, err := tx.ExecContext(t.Context(), query, args...)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 && !strings.HasPrefix(query, "CREATE") && !strings.HasPrefix(query, "DROP") {
				return fmt.Errorf("%d rows changed, %w", n, err)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	var n int
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM incident_entry WHERE incident = $1`, incident).Scan(&n); err != nil {
		t.Fatal(err)
	}
	exec(`CREATE TABLE kept AS SELECT * FROM incident_entry`)
	for i := range many {
		no := 1 + random.IntN(n)
		change := fmt.Sprintf(changes[i%len(changes)], fmt.Sprintf(`incident = '%s' AND no = %d`, incident, no))
		exec(change)
		code, said := verified(dir)
		exec(`DELETE FROM incident_entry`)
		exec(`INSERT INTO incident_entry SELECT * FROM kept`)
		if line := fmt.Sprintf("%s/%d:", incident, no); code != differs || !strings.Contains(said, line) {
			t.Errorf("%s: exit %d, want %d and %s named:\n%.2000s", change, code, differs, line, said)
		}
	}
	exec(`DROP TABLE kept`)
}

// cells are the columns that carry evidence, with what verify calls their row.
var cells = []struct{ table, column, name string }{
	{"incident_entry", "body", "incident || '/' || no"},
	{"incident_entry", "args", "incident || '/' || no"},
	{"incident_entry", "salt", "incident || '/' || no"},
	{"incident", "title", "id"},
	{"incident", "notes", "id"},
	{"duty_facts", "facts", "incident || '/' || no"},
	{"duty_decision", "body", "incident || '/' || no"},
	{"duty_contact", "body", "id || '/' || no"},
	{"duty_holidays", "body", "CAST(no AS TEXT)"},
	{"reporter", "body", "CAST(no AS TEXT)"},
	{"auth_record", "body", "id"},
	{"document", "body", "id"},
	{"document_page", "body", "document || '/' || face"},
	{"document_approval", "body", "document"},
	{"document_view", "body", "id"},
	{"document_particulars", "body", "incident || '/' || no"},
	{"sheet", "body", "id"},
	{"sheet_page", "body", "sheet || '/' || lang"},
	{"decision_version", "body", "id"},
	{"decision_sheet", "body", "service"},
	{"task_record", "body", "id"},
	{"action_decision", "body", "action || '/' || no"},
	{"action_order", "signed", "id"},
	{"block_limits", "body", "site || '/' || version"},
	{"site_cut", "body", "site || '/' || version"},
	{"action_policy", "body", "id"},
	{"device_change", "body", "id || '/' || no"},
	{"asset_record", "body", "ref"},
	{"asset_host", "keep", "id"},
	{"asset_host", "services", "id"},
	{"asset_site", "name", "id"},
	{"alert_change", "body", "alert || '/' || no"},
	{"evidence_custody", "body", "bag || '/' || no"},
	{"evidence_bag", "state", "id"},
	{"paper_record", "body", "id || '/' || no"},
	{"cause_record", "body", "id || '/' || no"},
	{"protect_class", "body", "id || '/' || version"},
	{"protect_policy", "body", "id || '/' || version"},
	{"protect_run_version", "body", "id || '/' || version"},
	{"protect_run", "body", "id"},
	{"plan_record", "body", "id || '/' || no"},
	{"forecast_record", "body", "id || '/' || no"},
}

// cell is one value in the state.
type cell struct {
	row        int64
	name, text string
}

// tamperCells changes one byte in a row n times, over all tables that carry
// evidence: each check must name the row.
func tamperCells(t *testing.T, dir string, n int, random *rand.Rand) {
	db, err := state.Open(t.Context(), filepath.Join(dir, "state.db"), hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	filled, tables := map[int][]cell{}, map[string]bool{}
	for i, where := range cells {
		all := cellsOf(t, db, fmt.Sprintf(`SELECT rowid, %s, CAST(%s AS TEXT) FROM %s WHERE LENGTH(%s) > 0`, where.name, where.column, where.table, where.column))
		if len(all) > 0 {
			filled[i], tables[where.table] = all, true
		}
	}
	if len(tables) < 8 {
		t.Errorf("only these tables have rows: %v", tables)
	}
	order := slices.Sorted(maps.Keys(filled)) // a short run changes some of them, whichever
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i := range n {
		where, all := cells[order[i%len(order)]], filled[order[i%len(order)]]
		c := all[random.IntN(len(all))]
		after, at := []byte(c.text), random.IntN(len(c.text))
		after[at] ^= byte(1) << random.IntN(8)
		set := func(text string) {
			t.Helper()
			err := db.Tx(t.Context(), func(tx *state.Tx) error {
				_, err := tx.ExecContext(t.Context(), fmt.Sprintf(`UPDATE %s SET %s = CAST($1 AS TEXT) WHERE rowid = $2`, where.table, where.column), []byte(text), c.row)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		set(string(after))
		code, said := verified(dir)
		set(c.text)
		if code != differs || !strings.Contains(said, c.name) {
			t.Errorf("%s.%s of %s, byte %d, %q became %q: exit %d, want %d and the row named:\n%.1000s", where.table, where.column, c.name, at, c.text[at], after[at], code, differs, said)
		}
	}
}

func cellsOf(t *testing.T, db *state.DB, query string) (all []cell) {
	t.Helper()
	rows, err := db.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var c cell
		if err := rows.Scan(&c.row, &c.name, &c.text); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// exports writes what people take out of the ledger of a stopped hub: its
// checkpoint, a proof of inclusion and one of consistency, with the public key.
func exports(t *testing.T, dir string) []string {
	t.Helper()
	copied, out := filepath.Join(t.TempDir(), "ledger"), t.TempDir()
	keys, err := secret.Open(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(dir, "ledger"))); err != nil {
		t.Fatal(err)
	}
	signer, key := keys.Note()
	l, err := ledger.Open(t.Context(), copied, signer, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cp, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := l.Leaves(t.Context(), cp.Size/2, 1)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := l.Prove(t.Context(), leaves[0])
	if err != nil {
		t.Fatal(err)
	}
	both, err := l.ProveConsistency(t.Context(), cp.Size/2, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, errProof := proof.Bytes()
	b, errBoth := both.Bytes()
	for name, content := range map[string][]byte{"checkpoint": []byte(cp.Text), "proof.json": a, "consistency.json": b, keyFile: []byte(key + "\n")} {
		if err := errors.Join(errProof, errBoth, os.WriteFile(filepath.Join(out, name), content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{filepath.Join(out, "checkpoint"), filepath.Join(out, "proof.json"), filepath.Join(out, "consistency.json")}
}

// tamperRecords changes and removes decisions, orders, limits, devices, alerts,
// custody lines and bags, each in a copy of the state: each must be named.
func tamperRecords(t *testing.T, dir, bag string) {
	for change, name := range map[string]string{
		`UPDATE action_decision SET body = REPLACE(body, '"by":"', '"by":"x')`:      "decisions and orders: changed",
		`DELETE FROM action_decision WHERE no = 2`:                                  "decisions and orders: missing",
		`UPDATE action_order SET signed = REPLACE(signed, '"body":"', '"body":"e')`: "decisions and orders: unreadable",
		`DELETE FROM action_order`:                                                  "decisions and orders: missing",
		`UPDATE block_limits SET body = REPLACE(body, '192.0.2.53', '192.0.2.54')`:  "limits of blocks: changed",
		`DELETE FROM block_limits WHERE version = 2`:                                "limits of blocks: missing",
		`UPDATE block_limits SET version = 3 WHERE version = 2`:                     "limits of blocks: missing",
		`UPDATE block_limits SET site = 'x' || site`:                                "limits of blocks: unreadable",
		`UPDATE site_cut SET body = REPLACE(body, '192.0.2.60', '192.0.2.62')`:      "cuts of sites: changed",
		`DELETE FROM site_cut WHERE version = 2`:                                    "cuts of sites: missing",
		`UPDATE site_cut SET version = 3 WHERE version = 2`:                         "cuts of sites: missing",
		`UPDATE device_change SET body = REPLACE(body, 'UTM', 'UTN')`:               "devices: unreadable",
		`UPDATE device_change SET body = REPLACE(body, '"salt":"', '"salt":"0')`:    "devices: changed",
		`UPDATE device_change SET removed = 1 WHERE removed = 0`:                    "devices: unreadable",
		`UPDATE device_change SET name = 'x' || name`:                               "devices: unreadable",
		`UPDATE asset_host SET keep = 'x' || keep`:                                  "sites and hosts: changed host/",
		`UPDATE asset_host SET services = '[]'`:                                     "sites and hosts: changed host/",
		`UPDATE asset_host SET version = version + 1`:                               "sites and hosts: changed host/",
		`UPDATE asset_site SET principal = 'x' || principal`:                        "sites and hosts: changed site/",
		`DELETE FROM asset_host`:                                                    "sites and hosts: missing host/",
		`UPDATE asset_record SET body = REPLACE(body, '"by":"', '"by":"x')`:         "sites and hosts: changed",
		`UPDATE asset_record SET at = at + 1`:                                       "sites and hosts: changed",
		`DELETE FROM asset_record`:                                                  "sites and hosts: missing host/",
		`DELETE FROM device_change WHERE removed = 1`:                               "devices: missing",
		`INSERT INTO device_change SELECT id, 9, site, name, removed, REPLACE(body, '"version":1', '"version":9') FROM device_change WHERE no = 1`: "devices: not-in-ledger",
		`UPDATE alert_change SET body = REPLACE(body, '"by":"', '"by":"x')`:                                                                        "alerts: changed",
		`DELETE FROM alert_change`: "alerts: missing",
		`UPDATE evidence_custody SET body = REPLACE(body, '"at":"2', '"at":"3')`: "custody and bags: changed",
		`DELETE FROM evidence_custody WHERE no > 1`:                              "custody and bags: missing",
		`DELETE FROM evidence_bag WHERE id = '` + bag + `'`:                      "custody and bags: missing " + bag,
	} {
		t.Run(change, func(t *testing.T) {
			other := t.TempDir()
			if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			db, err := state.Open(t.Context(), filepath.Join(other, "state.db"), hubtest.Log(t))
			if err != nil {
				t.Fatal(err)
			}
			err = db.Tx(t.Context(), func(tx *state.Tx) error {
				res, err := tx.ExecContext(t.Context(), change)
				if err != nil {
					return err
				}
				if n, err := res.RowsAffected(); err != nil || n == 0 {
					return fmt.Errorf("%d rows changed, %w", n, err)
				}
				return nil
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			if code, said := verified(other); code != differs || !strings.Contains(said, name) {
				t.Errorf("exit %d, want %q:\n%.2000s", code, name, said)
			}
		})
	}
	other := t.TempDir()
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(other, "evidence", "bag-forged"), os.DirFS(filepath.Join(dir, "evidence", bag))); err != nil {
		t.Fatal(err)
	}
	if code, said := verified(other); code != differs || !strings.Contains(said, "bag-forged: no such bag") {
		t.Errorf("a bag that nobody opened: exit %d\n%.2000s", code, said)
	}
}
