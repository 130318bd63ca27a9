package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/state"
)

// verified runs `sonae verify` in this process.
func verified(args ...string) (code int, said string) {
	var out, errs bytes.Buffer
	code = run(append([]string{"verify"}, args...), &out, &errs)
	return code, out.String() + errs.String()
}

func TestTamper(t *testing.T) {
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
	t.Run("files", func(t *testing.T) { tamperFiles(t, dir, c.Bag.ID, random) })
	t.Run("records", func(t *testing.T) { tamperRecords(t, dir, c.Bag.ID) })
	t.Run("rows", func(t *testing.T) { tamperRows(t, dir, c.Incident.ID, random) })
	if code, said := verified(dir); code != intact {
		t.Errorf("all was put back, but verify says %d:\n%s", code, said)
	}
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

// tamperFiles changes one byte 200 times, spread over the files of archive,
// ledger and evidence: each check must name the changed file.
func tamperFiles(t *testing.T, dir, bag string, random *rand.Rand) {
	places := [][]string{protected(t, dir, "archive"), {filepath.Join(dir, "archive", "manifest.jsonl")}, protected(t, dir, "ledger"), protected(t, dir, "evidence/"+bag)}
	for i := range 200 {
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

// tamperRows changes one line of the chronology 200 times: each check must
// name the line.
func tamperRows(t *testing.T, dir, incident string, random *rand.Rand) {
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
	for i := range 200 {
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

// tamperRecords changes and removes decisions, orders, alerts, custody lines
// and bags, each in a copy of the state: each must be named.
func tamperRecords(t *testing.T, dir, bag string) {
	for change, name := range map[string]string{
		`UPDATE action_decision SET body = REPLACE(body, '"by":"', '"by":"x')`:      "decisions and orders: changed",
		`DELETE FROM action_decision WHERE no = 2`:                                  "decisions and orders: missing",
		`UPDATE action_order SET signed = REPLACE(signed, '"body":"', '"body":"e')`: "decisions and orders: unreadable",
		`DELETE FROM action_order`:                                                  "decisions and orders: missing",
		`UPDATE alert_change SET body = REPLACE(body, '"by":"', '"by":"x')`:         "alerts: changed",
		`DELETE FROM alert_change`:                                                  "alerts: missing",
		`UPDATE evidence_custody SET body = REPLACE(body, '"at":"2', '"at":"3')`:    "custody and bags: changed",
		`DELETE FROM evidence_custody WHERE no > 1`:                                 "custody and bags: missing",
		`DELETE FROM evidence_bag WHERE id = '` + bag + `'`:                         "custody and bags: missing " + bag,
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
