package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/sonae/sonae/state"
)

// Shown is a message on the screen of a machine.
type Shown struct {
	Message string    `json:"message"` // id
	Host    string    `json:"host"`    // id
	Session string    `json:"session"`
	User    string    `json:"user"` // account, "" where it is not known
	Seen    bool      `json:"seen"` // its person pressed the button
	At      time.Time `json:"at"`
}

// maxShown bounds what one machine tells of one message.
const maxShown = 100

// Shown writes that a screen shows a message, or that somebody there has seen
// it, into the calls that it is about, once. To have seen is not to answer: for
// that one logs in.
func (d *Desk) Shown(ctx context.Context, s Shown) error {
	calls, err := d.callsIn(ctx, s.Message)
	if err != nil {
		return err
	}
	key := "notify.shown"
	if s.Seen {
		key = "notify.seen"
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		if fresh, err := s.keep(ctx, tx); err != nil || !fresh {
			return err
		}
		for _, c := range calls {
			c, ok, err := one[Call](tx.QueryRowContext(ctx, `SELECT body FROM notify_call WHERE id = $1`, c.ID)) // as it is now
			if err != nil {
				return fmt.Errorf("call %s: %w", c.ID, err)
			}
			if !ok {
				continue
			}
			l := Line{Key: key, At: s.At.UTC(), Args: map[string]string{"host": s.Host, "session": s.Session, "account": s.User, "message": s.Message}}
			if err := add(ctx, tx, &c, l); err != nil {
				return err
			}
			if err := putCall(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// keep notes that it was told, and says whether it is news.
func (s Shown) keep(ctx context.Context, tx *state.Tx) (bool, error) {
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM notify_shown WHERE message = $1 AND host = $2`, s.Message, s.Host).Scan(&n); err != nil {
		return false, fmt.Errorf("screens of message %s: %w", s.Message, err)
	}
	if n >= maxShown {
		return false, nil
	}
	seen := 0
	if s.Seen {
		seen = 1
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO notify_shown (message, host, session, seen, at, account) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (message, host, session, seen) DO NOTHING`, s.Message, s.Host, s.Session, seen, state.Nanos(s.At), s.User)
	if err != nil {
		return false, fmt.Errorf("screens of message %s: %w", s.Message, err)
	}
	fresh, err := res.RowsAffected()
	return fresh > 0, err
}
