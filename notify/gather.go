package notify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/state"
)

// Times of the queue.
const (
	// settle is how long the first note waits for others: what happens at once
	// comes in one message.
	settle = 2 * time.Second
	// gap is the shortest time between two messages to one place, except before
	// the first critical one.
	gap = time.Minute
)

// letter is the notes that one message will carry.
type letter struct {
	place
	notes  []note
	urgent event.Severity // the highest
	calls  []Call
}

// gather makes messages of what is due to be told.
func (d *Desk) gather(ctx context.Context) error {
	now := d.Now().UTC()
	var n int
	err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM notify_note WHERE delivery = '' AND due_at <= $1`, state.Nanos(now.Add(-settle))).Scan(&n)
	if err != nil || n == 0 {
		return err
	}
	b, err := d.book(ctx)
	if err != nil {
		return err
	}
	names, err := d.Names(ctx)
	if err != nil {
		return err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		notes, err := waiting(ctx, tx, state.Nanos(now))
		if err != nil {
			return err
		}
		for _, l := range letters(notes) {
			if err := d.post(ctx, tx, b, names, l, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("gather messages: %w", err)
	}
	return nil
}

// letters sorts notes by where they go; the oldest note first.
func letters(notes []note) []letter {
	var out []letter
	for _, n := range notes {
		i := slices.IndexFunc(out, func(l letter) bool { return l.place == n.place() })
		if i < 0 {
			i = len(out)
			out = append(out, letter{place: n.place()})
		}
		out[i].notes = append(out[i].notes, n)
		out[i].urgent = max(out[i].urgent, event.Severity(n.severity))
	}
	return out
}

// post makes the message of a letter, unless it should wait for more.
func (d *Desk) post(ctx context.Context, tx *state.Tx, b book, names map[string]string, l letter, now time.Time) error {
	if state.Time(l.notes[0].due).Add(settle).After(now) {
		return nil
	}
	if early, err := tooEarly(ctx, tx, l, now); err != nil || early {
		return err
	}
	var err error
	if l.calls, err = callsOf(ctx, tx, l); err != nil {
		return err
	}
	id := clock.ID("ms", now)
	for _, n := range l.notes {
		if _, err := tx.ExecContext(ctx, `UPDATE notify_note SET delivery = $1 WHERE id = $2`, id, n.id); err != nil {
			return err
		}
	}
	if len(l.calls) == 0 { // all were answered meanwhile
		return nil
	}
	m := d.compose(id, l, b, names, now)
	_, err = tx.ExecContext(ctx, `INSERT INTO notify_delivery (id, person, channel, state, made_at, next_at, sent_at, tries, severity, error, body)
		VALUES ($1, $2, $3, 'waiting', $4, $4, 0, 0, $5, '', $6)`, id, l.person, l.channel, state.Nanos(now), int(m.Severity), state.JSON(m))
	return err
}

// tooEarly says whether the place was told a moment ago, or a message to it is
// tried again: then what comes meanwhile goes with the next one. What is
// critical does not wait behind what is not.
func tooEarly(ctx context.Context, tx *state.Tx, l letter, now time.Time) (bool, error) {
	least := event.Info
	if l.urgent == event.Critical {
		least = event.Critical
	}
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM notify_delivery WHERE person = $1 AND channel = $2 AND (made_at > $3 AND severity >= $4 OR state = 'waiting')`,
		l.person, l.channel, state.Nanos(now.Add(-gap)), int(least)).Scan(&n)
	return n > 0, err
}

// callsOf reads the calls of a letter that still look for somebody, the most
// severe first, then the oldest.
func callsOf(ctx context.Context, tx *state.Tx, l letter) ([]Call, error) {
	var out []Call
	seen := map[string]bool{}
	for _, n := range l.notes {
		if seen[n.call] {
			continue
		}
		seen[n.call] = true
		c, ok, err := one[Call](tx.QueryRowContext(ctx, `SELECT body FROM notify_call WHERE id = $1`, n.call))
		if err != nil {
			return nil, fmt.Errorf("call %s: %w", n.call, err)
		}
		if ok && c.Live() {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(x, y Call) int {
		return cmp.Or(cmp.Compare(y.Cause.Severity, x.Cause.Severity), x.BeganAt.Compare(y.BeganAt), cmp.Compare(x.ID, y.ID))
	})
	return out, nil
}
