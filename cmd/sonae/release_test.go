package main

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// TestMigrationsFromEachRelease brings the state of a practised hub of each
// released version up to date, on both engines. Its rows must still be those
// that its ledger has the digests of.
func TestMigrationsFromEachRelease(t *testing.T) {
	t.Parallel()
	dumps, err := filepath.Glob("../../state/testdata/release-*.sql")
	if err != nil || len(dumps) == 0 {
		t.Fatalf("no dumps: %v", err)
	}
	for _, dump := range dumps {
		name := filepath.Base(dump)
		t.Run(name, func(t *testing.T) {
			at := filepath.Join(t.TempDir(), "state.db")
			restore(t, at, dump)
			moved := statetest.Postgres(t)
			moveReleased(t, at, moved) // as it was, before Open changes it
			leaves := releasedLeaves(t, dump[:len(dump)-len(".sql")]+"-leaves.jsonl")
			for engine, at := range map[string]string{"sqlite": at, "postgres": moved} {
				checkReleased(t, engine, statetest.OpenAt(t, at), leaves)
			}
		})
	}
}

// restore makes a SQLite file of its text.
func restore(t *testing.T, at, dump string) {
	t.Helper()
	text, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", at)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), string(text)); err != nil {
		t.Fatal(err)
	}
}

// moveReleased takes the rows of an older version to the other engine, as an
// import of its backup does.
func moveReleased(t *testing.T, from, to string) {
	t.Helper()
	db, err := state.OpenReadOnly(from)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var c state.Content
	if c.Schema, err = s.Schema(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	if err := s.Dump(t.Context(), func(line []byte) error { lines = append(lines, bytes.Clone(line)); return nil }); err != nil {
		t.Fatal(err)
	}
	c.Lines = func(yield func([]byte, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
	}
	if err := state.Load(t.Context(), to, c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

func releasedLeaves(t *testing.T, path string) (leaves []leaf.Leaf) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var l leaf.Leaf
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, l)
	}
	return leaves
}

func checkReleased(t *testing.T, engine string, db *state.DB, leaves []leaf.Leaf) {
	t.Helper()
	var out bytes.Buffer
	c := &check{out: &out}
	if err := c.rows(t.Context(), db, leaves); err != nil || c.differences > 0 {
		t.Errorf("%s: %d differences, %v\n%s", engine, c.differences, err, &out)
	}
	err := db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE incident_entry SET body = '{}' WHERE no = 1`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.rows(t.Context(), db, leaves); err != nil || c.differences == 0 {
		t.Errorf("%s: a changed row is not found, %v", engine, err)
	}
}
