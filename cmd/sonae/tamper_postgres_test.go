package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// TestTamperedRowsInPostgreSQL checks a hub whose rows lie in PostgreSQL, and
// changes them in every way that changes names.
func TestTamperedRowsInPostgreSQL(t *testing.T) {
	t.Parallel()
	at, dir := statetest.Postgres(t), hubtest.Folder(t)
	h := hubtest.Start(t, hubtest.Dir(dir), hubtest.State(at))
	c := h.Drill()
	h.Idle()
	h.Stop()
	if code, said := verified("--state", at, dir); code != intact || !strings.Contains(said, "checked row by row") {
		t.Fatalf("nothing was changed, but verify says %d:\n%s", code, said)
	}
	if code, said := verified(dir); code != notVerified || !strings.Contains(said, "--state") {
		t.Errorf("without the database: exit %d, want %d and a hint:\n%s", code, notVerified, said)
	}
	if code, said := verified("--state", at, filepath.Join(dir, "ledger")); code != notVerified {
		t.Errorf("a database with a ledger only: exit %d\n%s", code, said)
	}
	nowhere := "postgres:///none?host=" + t.TempDir()
	if code, said := verified("--state", nowhere, dir); code != notVerified {
		t.Errorf("a database that is not there: exit %d\n%s", code, said)
	}
	db := statetest.OpenAt(t, at)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	exec := func(query string) {
		t.Helper()
		err := db.Tx(t.Context(), func(tx *state.Tx) error { _, err := tx.ExecContext(t.Context(), query); return err })
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	var n int
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM incident_entry WHERE incident = $1`, c.Incident.ID).Scan(&n); err != nil {
		t.Fatal(err)
	}
	exec(`CREATE TABLE kept AS SELECT * FROM incident_entry`)
	for _, change := range changes {
		no := 1 + random.IntN(n)
		change = fmt.Sprintf(change, fmt.Sprintf(`incident = '%s' AND no = %d`, c.Incident.ID, no))
		exec(change)
		code, said := verified("--state", at, dir)
		if name := fmt.Sprintf("%s/%d", c.Incident.ID, no); code != differs || !strings.Contains(said, name) {
			t.Errorf("%s: exit %d, want %d and %s named:\n%.2000s", change, code, differs, name, said)
		}
		exec(`DELETE FROM incident_entry`)
		exec(`INSERT INTO incident_entry SELECT * FROM kept`)
	}
	if code, said := verified("--state", at, dir); code != intact {
		t.Errorf("all was put back, but verify says %d:\n%s", code, said)
	}
	if _, err := os.Stat(filepath.Join(dir, "state.db")); err == nil {
		t.Error("verify or the hub made a SQLite file")
	}
}
