package state_test

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// dumped is a dump in memory.
type dumped struct {
	schema []string
	lines  []string
}

func dump(t *testing.T, db *state.DB) dumped {
	t.Helper()
	s, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return read(t, s)
}

func read(t *testing.T, s *state.Snapshot) (d dumped) {
	t.Helper()
	var err error
	if d.schema, err = s.Schema(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = s.Dump(t.Context(), func(line []byte) error { d.lines = append(d.lines, string(line)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d dumped) content() state.Content {
	return state.Content{Schema: d.schema, Lines: func(yield func([]byte, error) bool) {
		for _, l := range d.lines {
			if !yield([]byte(l), nil) {
				return
			}
		}
	}}
}

// sorted is the dump in an order that does not depend on the engine.
func (d dumped) sorted() []string {
	var out []string
	table := ""
	for _, l := range d.lines {
		if strings.HasPrefix(l, "{") {
			table = l
		}
		out = append(out, table+l)
	}
	slices.Sort(out)
	return out
}

// filled puts rows with every kind of value into a state.
func filled(t *testing.T, db *state.DB) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *state.Tx) error {
		for _, q := range []struct {
			text string
			args []any
		}{
			{`INSERT INTO alert_finding (id, at) VALUES ($1, $2)`, []any{"病院 <&> \"x\"\n", int64(1) << 62}},
			{`INSERT INTO alert_finding (id, at) VALUES ($1, $2)`, []any{"", int64(-1)}},
			{`INSERT INTO outbox (subject, msg, body) VALUES ($1, $2, $3)`, []any{"a.b", "1", []byte{0, 255, 1}}},
			{`INSERT INTO outbox (subject, msg, body) VALUES ($1, $2, $3)`, []any{"a.b", "2", []byte{}}},
		} {
			if _, err := tx.ExecContext(t.Context(), q.text, q.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDumpMovesBetweenEngines is the way from SQLite to PostgreSQL and back.
func TestDumpMovesBetweenEngines(t *testing.T) {
	statetest.Each(t, func(t *testing.T, from string) {
		db := statetest.OpenAt(t, from)
		filled(t, db)
		want := dump(t, db)
		for name, at := range map[string]string{"sqlite": t.TempDir() + "/s.db", "postgres": statetest.Postgres(t)} {
			if err := state.Load(t.Context(), at, want.content(), slog.New(slog.DiscardHandler)); err != nil {
				t.Fatalf("to %s: %v", name, err)
			}
			moved := statetest.OpenAt(t, at)
			if diff := cmp.Diff(want.sorted(), dump(t, moved).sorted()); diff != "" {
				t.Errorf("to %s: %s", name, diff)
			}
			// what numbers itself goes on
			if got := published(t, moved, "3"); !slices.Equal(got, []string{"1", "2", "3"}) {
				t.Errorf("to %s: published %v", name, got)
			}
		}
	})
}

// published emits a message and returns the ids that the relay publishes up to
// it.
func published(t *testing.T, db *state.DB, last string) (ids []string) {
	t.Helper()
	if err := db.Tx(t.Context(), func(tx *state.Tx) error { return tx.Emit(t.Context(), "a.b", last, last) }); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	err := db.Relay(ctx, func(_ context.Context, _, id string, _ []byte) error {
		if ids = append(ids, id); id == last {
			stop()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestSnapshotIsOneMoment(t *testing.T) {
	db := statetest.Open(t)
	filled(t, db)
	s, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := db.Tx(t.Context(), func(tx *state.Tx) error { return tx.Emit(t.Context(), "later", "3", "v") }); err != nil {
		t.Fatal(err)
	}
	if d := read(t, s); strings.Contains(strings.Join(d.lines, ""), "later") {
		t.Error("the snapshot shows what was written after it")
	}
	if d := dump(t, db); !strings.Contains(strings.Join(d.lines, ""), "later") {
		t.Error("a later snapshot does not show it")
	}
}

// TestWaitingMessagesComeFirst: what was on the bus is older than the outbox.
func TestWaitingMessagesComeFirst(t *testing.T) {
	db := statetest.Open(t)
	filled(t, db)
	d := dump(t, db)
	at := t.TempDir() + "/s.db"
	if statetest.IsPostgres() {
		at = statetest.Postgres(t)
	}
	c := d.content()
	c.Messages = messages(state.Message{Subject: "a.b", ID: "bus1", Body: []byte("x")}, state.Message{Subject: "dead.a", ID: "d", Refused: "why"},
		state.Message{Subject: "a.b", ID: "bus2", Body: []byte("y")})
	if err := state.Load(t.Context(), at, c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	moved := statetest.OpenAt(t, at)
	if got := published(t, moved, "3"); !slices.Equal(got, []string{"bus1", "bus2", "1", "2", "3"}) {
		t.Errorf("published %v", got)
	}
	var reason string
	if err := moved.QueryRow(t.Context(), `SELECT reason FROM outbox_refused WHERE msg = 'd'`).Scan(&reason); err != nil || reason != "why" {
		t.Errorf("the dead letter: %q, %v", reason, err)
	}
}

func messages(all ...state.Message) iter.Seq2[state.Message, error] {
	return func(yield func(state.Message, error) bool) {
		for _, m := range all {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// TestLoadRefuses what is not ours, and leaves the database as empty as it was.
func TestLoadRefuses(t *testing.T) {
	statetest.Each(t, func(t *testing.T, at string) {
		good := state.Content{Schema: dump(t, statetest.Open(t)).schema}
		for _, line := range []string{"", "[1]", `{"table":"x","columns":["a"]}`, `{"table":"migration","columns":["name","at"]}`,
			`{"table":"outbox","columns":["seq; DROP TABLE outbox"]}`, `{"table":"outbox","columns":[]}`} {
			bad := good
			bad.Lines = dumped{lines: []string{line}}.content().Lines
			if err := state.Load(t.Context(), at, bad, slog.New(slog.DiscardHandler)); err == nil {
				t.Errorf("%s: no error", line)
			}
		}
		for _, row := range []string{`["a"]`, `["a",1,2]`, `["a",1.5]`, `["a",{}]`, `["a",1] []`, `["a",true]`, `[`} {
			bad := good
			bad.Lines = dumped{lines: []string{`{"table":"alert_finding","columns":["id","at"]}`, `["b",1]`, row}}.content().Lines
			if err := state.Load(t.Context(), at, bad, slog.New(slog.DiscardHandler)); err == nil {
				t.Errorf("%s: no error", row)
			}
		}
		newer := state.Content{Schema: []string{"9999_later"}}
		if err := state.Load(t.Context(), at, newer, slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Invalid {
			t.Errorf("newer: got %v, want invalid", err)
		}
		good.Lines = dumped{}.content().Lines
		if err := state.Load(t.Context(), at, good, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatalf("into what the refused ones left: %v", err)
		}
		if err := state.Load(t.Context(), at, good, slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Conflict {
			t.Errorf("not empty: got %v, want conflict", err)
		}
	})
}

// TestHeldRelayPublishesNothing until it is released.
func TestHeldRelayPublishesNothing(t *testing.T) {
	at := statetest.Address(t)
	db := statetest.OpenAt(t, at)
	holder := db
	if statetest.IsPostgres() {
		holder = statetest.OpenAt(t, at) // another hub
	}
	release, err := holder.HoldRelay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	filled(t, db)
	if n, err := db.Waiting(t.Context()); n != 2 || err != nil {
		t.Errorf("%d messages wait, want 2 (%v)", n, err)
	}
	var released atomic.Bool
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	go func() {
		defer stop()
		select {
		case <-time.After(1500 * time.Millisecond): // more than a tick of the relay
		case <-ctx.Done():
		}
		released.Store(true)
		release()
		<-ctx.Done()
	}()
	var got []string
	err = db.Relay(ctx, func(_ context.Context, _, id string, _ []byte) error {
		if !released.Load() {
			t.Error("published while it was held")
		}
		if got = append(got, id); len(got) == 2 {
			stop()
		}
		return nil
	})
	if err != nil || len(got) != 2 {
		t.Errorf("published %v, %v; want both after the release", got, err)
	}
}

// FuzzLoad: no line of a foreign dump may do more than fail.
func FuzzLoad(f *testing.F) {
	for _, line := range []string{`{"table":"alert_finding","columns":["id","at"]}`, `["a",1]`, `["a",null]`, `[{"b":"AA=="},{"t":"/w=="}]`, `{"table":"outbox"`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d := dumped{lines: []string{`{"table":"alert_finding","columns":["id","at"]}`, line}}
		c := d.content()
		c.Schema = []string{"0001_outbox", "0002_outbox_refused", "0030_alert"}
		_ = state.Load(t.Context(), t.TempDir()+"/s.db", c, slog.New(slog.DiscardHandler))
	})
}
