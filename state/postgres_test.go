package state_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// admin is a connection beside those of the state.
func admin(t *testing.T, at string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// number emits the next number of a row without gaps: what every store that
// counts does. The wait between look and write is what a race needs.
func number(ctx context.Context, db *state.DB) error {
	return db.Tx(ctx, func(tx *state.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(at), 0) + 1 FROM alert_finding`).Scan(&n); err != nil {
			return err
		}
		if err := tx.Emit(ctx, "a.b", fmt.Sprintf("%04d", n), n); err != nil {
			return err
		}
		time.Sleep(time.Duration(n%3) * time.Millisecond)
		_, err := tx.ExecContext(ctx, `INSERT INTO alert_finding (id, at) VALUES ($1, $2)`, fmt.Sprint(n), n)
		return err
	})
}

// TestSeveralProcessesOneOutbox: two hubs write, two relays run, one of them
// ends in the middle. Numbers have no gap, and the bus gets them in their
// order, none left out.
func TestSeveralProcessesOneOutbox(t *testing.T) {
	at := statetest.Postgres(t)
	hubs := []*state.DB{statetest.OpenAt(t, at), statetest.OpenAt(t, at)}
	const each, writers = 40, 2
	const all = each * writers * 2
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	var mu sync.Mutex
	var got []string
	publishers := map[int]int{}
	var relays, writing sync.WaitGroup
	for i, db := range hubs {
		turn, end := context.WithCancel(ctx)
		relays.Go(func() {
			defer end()
			err := db.Relay(turn, func(_ context.Context, _, id string, _ []byte) error {
				mu.Lock()
				defer mu.Unlock()
				if got = append(got, id); got[len(got)-1] == fmt.Sprintf("%04d", all) {
					stop()
				}
				if publishers[i]++; publishers[i] == all/3 && len(publishers) == 1 {
					end() // this hub is stopped; the other one goes on
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		for range writers {
			writing.Go(func() {
				for range each {
					if err := number(ctx, db); err != nil {
						t.Error(err)
						stop()
						return
					}
				}
			})
		}
	}
	writing.Wait()
	relays.Wait()
	once := slices.Compact(slices.Clone(got)) // at least once: the one in flight may come again
	if len(once) != all || !slices.IsSorted(once) || len(got) > all+1 {
		t.Errorf("published %d, %d different neighbours, sorted %t; want 1 to %d in order", len(got), len(once), slices.IsSorted(once), all)
	}
	if len(publishers) != 2 {
		t.Errorf("published by %v, want both, one after the other", publishers)
	}
}

// TestLostConnections: the server closes all connections, as it does when it
// is started anew. The next calls work, and the relay goes on.
func TestLostConnections(t *testing.T) {
	at := statetest.Postgres(t)
	db := statetest.OpenAt(t, at)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	published := make(chan string, 100)
	var relay sync.WaitGroup
	relay.Go(func() {
		if err := db.Relay(ctx, func(_ context.Context, _, id string, _ []byte) error { published <- id; return nil }); err != nil {
			t.Error(err)
		}
	})
	defer relay.Wait()
	defer stop()
	for round := range 3 {
		if err := number(ctx, db); err != nil {
			t.Fatalf("write in round %d: %v", round, err)
		}
		if got, want := <-published, fmt.Sprintf("%04d", round+1); got != want {
			t.Fatalf("published %s, want %s", got, want)
		}
		warm(t, db)
		if _, err := admin(t, at).ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sonae' AND datname = current_database()`); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM alert_finding`).Scan(&n); err != nil || n != round+1 {
			t.Fatalf("read %d, %v; want %d", n, err, round+1)
		}
	}
}

// warm opens as many connections for reading as there may be.
func warm(t *testing.T, db *state.DB) {
	t.Helper()
	var open []*sql.Rows
	for range 4 {
		rows, err := db.Query(t.Context(), `SELECT name FROM migration`)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, rows)
	}
	for _, rows := range open {
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	statetest.Each(t, func(t *testing.T, at string) {
		if db, err := state.OpenReadOnly(at); err == nil {
			if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM migration`).Scan(new(int)); err == nil {
				t.Error("a state that was never made can be read")
			}
			_ = db.Close()
		}
		w := statetest.OpenAt(t, at)
		if err := number(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		db, err := state.OpenReadOnly(at)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var id string
		if err := db.QueryRow(t.Context(), `SELECT id FROM alert_finding`).Scan(&id); err != nil || id != "1" {
			t.Errorf("read %q, %v", id, err)
		}
		if err := db.QueryRow(t.Context(), `DELETE FROM alert_finding RETURNING id`).Scan(&id); err == nil {
			t.Error("a row was removed through a state that is only read")
		}
	})
}

// TestForeignText: what PostgreSQL would refuse to keep makes no statement
// fail, and nothing is found under it.
func TestForeignText(t *testing.T) {
	db := statetest.Open(t)
	for i, id := range []string{"a\x00b", "c\xffd", "\x00", "日本\xe6"} {
		err := db.Tx(t.Context(), func(tx *state.Tx) error {
			var n int
			if err := tx.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM alert_finding WHERE id = $1`, id).Scan(&n); err != nil || n != 0 {
				return fmt.Errorf("%d rows before there was one, %w", n, err)
			}
			_, err := tx.ExecContext(t.Context(), `INSERT INTO alert_finding (id, at) VALUES ($1, $2)`, id, i)
			return err
		})
		if err != nil {
			t.Errorf("%q: %v", id, err)
		}
		if err := db.QueryRow(t.Context(), `SELECT at FROM alert_finding WHERE id = $1`, id).Scan(new(int)); err != nil {
			t.Errorf("%q afterwards: %v", id, err)
		}
	}
}

// TestDurableWhateverTheServerSays: a server that is set to be fast does not
// make commits that a power cut takes back.
func TestDurableWhateverTheServerSays(t *testing.T) {
	at := statetest.Postgres(t)
	var name string
	a := admin(t, at)
	if err := a.QueryRowContext(t.Context(), `SELECT current_database()`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ExecContext(t.Context(), `ALTER DATABASE `+name+` SET synchronous_commit = off`); err != nil {
		t.Fatal(err)
	}
	db := statetest.OpenAt(t, at)
	var got string
	err := db.Tx(t.Context(), func(tx *state.Tx) error {
		return tx.QueryRowContext(t.Context(), `SHOW synchronous_commit`).Scan(&got)
	})
	if err != nil || got != "on" {
		t.Errorf("synchronous_commit is %q, %v", got, err)
	}
}

func TestAddresses(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for at, proved := range map[string]bool{
		"postgres://sonae@db.example/sonae":                     true,
		"postgresql://sonae@192.0.2.7:5433/sonae?user=x":        true,
		"postgres://sonae@localhost,db.example/sonae":           true,
		"postgres://sonae@db.example/sonae?sslmode=disable":     false, // said so by who runs it
		"postgres://sonae@127.0.0.1/sonae":                      false,
		"postgres:///sonae?host=/var/run/postgresql&user=sonae": false,
	} {
		cfg, err := state.Configure(at)
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		if got := cfg.TLSConfig != nil && !cfg.TLSConfig.InsecureSkipVerify && cfg.TLSConfig.ServerName != ""; got != proved {
			t.Errorf("%s: the server's name is proved: %t, want %t", at, got, proved)
		}
	}
	for _, at := range []string{"postgres://sonae:geheim@db.example:port/sonae", "postgres://u:geheim@h/d?sslmode=perhaps"} {
		_, err := state.Open(t.Context(), at, slog.New(slog.DiscardHandler))
		if fault.Of(err) != fault.Invalid || strings.Contains(err.Error(), "geheim") {
			t.Errorf("got %v, want a refusal that does not tell the password", err)
		}
	}
	gone := "postgres://sonae:geheim@/none?host=" + t.TempDir()
	if _, err := state.Open(t.Context(), gone, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a server that is not there: %v", err)
	}
}

// TestOtherEncodingIsRefused: LATIN1 cannot keep Japanese.
func TestOtherEncodingIsRefused(t *testing.T) {
	at := statetest.Postgres(t)
	if _, err := admin(t, at).ExecContext(t.Context(), `CREATE DATABASE latin ENCODING latin1 TEMPLATE template0`); err != nil {
		t.Fatal(err)
	}
	i := strings.LastIndex(at[:strings.Index(at, "?")], "/")
	_, err := state.Open(t.Context(), at[:i]+"/latin"+at[strings.Index(at, "?"):], slog.New(slog.DiscardHandler))
	var f *fault.Error
	if !errors.As(err, &f) || f.Key != "state.encoding" {
		t.Errorf("got %v", err)
	}
}
