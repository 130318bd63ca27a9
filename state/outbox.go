package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sonae/sonae/fault"
)

// Emit puts a message for the bus into the transaction. id must be the same
// when the same thing is emitted again, so that the bus can drop the repeat.
// v is encoded as JSON.
func (tx *Tx) Emit(ctx context.Context, subject, id string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("emit %s: %w", subject, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (subject, msg, body) VALUES ($1, $2, $3)`, subject, id, body)
	if err != nil {
		return fmt.Errorf("emit %s: %w", subject, err)
	}
	tx.emitted = true
	return nil
}

type outgoing struct {
	seq         int64
	subject, id string
	body        []byte
}

// outlet is what the relay reads and clears the outbox with.
type outlet interface {
	// turn says whether this process is the one that publishes now.
	turn(ctx context.Context) (bool, error)
	// work says whether nobody holds the outbox; end must be called then.
	work(ctx context.Context) (ok bool, end func(), err error)
	// drop lets another process have the turn.
	drop()
	close() error
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Publish takes a message of the outbox to the bus; the message is there for
// good when it returns nil.
type Publish = func(ctx context.Context, subject, id string, body []byte) error

// Relay publishes what transactions emitted, in the order of their commits,
// until ctx ends. Of several processes that share a database one at a time
// publishes; the others wait for their turn. A message leaves the outbox only
// after publish returned nil, so a crash in between publishes it a second time
// under the same id. A message that publish refuses with fault.Invalid can
// never be published: it is put aside in table outbox_refused, so that it does
// not keep the orders behind it from going out. Relay must not run twice on
// one DB.
func (db *DB) Relay(ctx context.Context, publish Publish) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer db.outlet.drop()
	for {
		for {
			n, err := db.relayOnce(ctx, publish)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				db.outlet.drop()
				db.log.Error("outbox waits", "err", err)
				break
			}
			if n == 0 {
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-db.wake:
		case <-tick.C:
		}
	}
}

// Waiting is how many messages are in the outbox, on all hubs that share the
// database.
func (db *DB) Waiting(ctx context.Context) (int, error) {
	var n int
	if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM outbox`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the outbox: %w", err)
	}
	return n, nil
}

func (db *DB) relayOnce(ctx context.Context, publish Publish) (int, error) {
	if mine, err := db.outlet.turn(ctx); err != nil || !mine {
		return 0, err
	}
	ok, done, err := db.mayRelay(ctx)
	if err != nil || !ok {
		return 0, err
	}
	defer done()
	out, err := db.outgoing(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range out {
		err := publish(ctx, m.subject, m.id, m.body)
		if fault.Of(err) == fault.Invalid {
			db.log.Error("message can never be published and is put aside", "subject", m.subject, "id", m.id, "bytes", len(m.body), "err", err)
			err = db.putAside(ctx, m, err)
		}
		if err != nil {
			return 0, fmt.Errorf("relay %s: %w", m.subject, err)
		}
		if _, err := db.outlet.ExecContext(ctx, `DELETE FROM outbox WHERE seq = $1`, m.seq); err != nil {
			return 0, fmt.Errorf("relay %s: %w", m.subject, err)
		}
	}
	return len(out), nil
}

func (db *DB) putAside(ctx context.Context, m outgoing, reason error) error {
	_, err := db.outlet.ExecContext(ctx, `INSERT INTO outbox_refused (subject, msg, body, reason) VALUES ($1, $2, $3, $4)`,
		m.subject, m.id, m.body, reason.Error())
	return err
}

func (db *DB) outgoing(ctx context.Context) ([]outgoing, error) {
	rows, err := db.outlet.QueryContext(ctx, `SELECT seq, subject, msg, body FROM outbox ORDER BY seq LIMIT 200`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []outgoing
	for rows.Next() {
		var m outgoing
		if err := rows.Scan(&m.seq, &m.subject, &m.id, &m.body); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// signal wakes the relay; a pending signal is enough.
func (db *DB) signal() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}
