package state

import (
	"context"
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

// Relay publishes what transactions emitted, in order, until ctx ends. A
// message leaves the outbox only after publish returned nil, so a crash in
// between publishes it a second time under the same id. A message that publish
// refuses with fault.Invalid can never be published: it is put aside in table
// outbox_refused, so that it does not keep the orders behind it from going out.
func (db *DB) Relay(ctx context.Context, publish func(ctx context.Context, subject, id string, body []byte) error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for {
			n, err := db.relayOnce(ctx, publish)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
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

func (db *DB) relayOnce(ctx context.Context, publish func(ctx context.Context, subject, id string, body []byte) error) (int, error) {
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
		if _, err := db.write.ExecContext(ctx, `DELETE FROM outbox WHERE seq = $1`, m.seq); err != nil {
			return 0, fmt.Errorf("relay %s: %w", m.subject, err)
		}
	}
	return len(out), nil
}

func (db *DB) putAside(ctx context.Context, m outgoing, reason error) error {
	_, err := db.write.ExecContext(ctx, `INSERT INTO outbox_refused (subject, msg, body, reason) VALUES ($1, $2, $3, $4)`,
		m.subject, m.id, m.body, reason.Error())
	return err
}

func (db *DB) outgoing(ctx context.Context) ([]outgoing, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT seq, subject, msg, body FROM outbox ORDER BY seq LIMIT 200`)
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
