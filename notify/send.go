package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/state"
)

// States of a delivery.
const (
	Waiting = "waiting" // not sent yet, or tried again
	Sent    = "sent"    // the channel took it
	Failed  = "failed"  // tried for a day in vain
	Dropped = "dropped" // answered before it could be sent
)

// Delivery is a message on its way to one place.
type Delivery struct {
	ID      string    `json:"id"`
	Person  string    `json:"person"`  // id; "": the room of the channel
	Channel string    `json:"channel"` // id
	State   string    `json:"state"`
	MadeAt  time.Time `json:"made_at"`
	NextAt  time.Time `json:"next_at"`
	SentAt  time.Time `json:"sent_at"`
	Tries   int       `json:"tries"`
	Error   string    `json:"error"` // of the last try
	Message Message   `json:"message"`
}

const (
	sendAtOnce = 20
	sendFor    = 30 * time.Second
	giveUp     = 24 * time.Hour
	maxBackoff = 10 * time.Minute
	maxUrgent  = time.Minute // between tries of what is critical
	maxError   = 500         // bytes
)

// backoff is how long to wait after so many failures.
func backoff(tries int, s event.Severity) time.Duration {
	most := maxBackoff
	if s == event.Critical {
		most = maxUrgent
	}
	return min(5*time.Second<<min(tries-1, 10), most)
}

// send tries the messages that are due, a few at once, each channel no faster
// than it may be.
func (d *Desk) send(ctx context.Context) error {
	now := d.Now().UTC()
	due, err := d.deliveries(ctx, `WHERE state = 'waiting' AND next_at <= $1 ORDER BY severity DESC, next_at, id LIMIT 200`, state.Nanos(now))
	if err != nil || len(due) == 0 {
		return err
	}
	b, err := d.book(ctx)
	if err != nil {
		return err
	}
	taken := map[string]int{}
	var g errgroup.Group
	g.SetLimit(sendAtOnce)
	errs := make([]error, len(due))
	for i, m := range due {
		left, known := taken[m.Channel]
		if !known {
			if left, err = d.left(ctx, b.channels[m.Channel], now); err != nil {
				return errors.Join(err, g.Wait())
			}
		}
		taken[m.Channel] = left - 1
		if left <= 0 {
			continue
		}
		g.Go(func() error { errs[i] = d.try(ctx, b, m); return nil })
	}
	return errors.Join(append(errs, g.Wait())...)
}

// left is how many messages a channel may carry now. One that was removed
// carries none, which try says.
func (d *Desk) left(ctx context.Context, c Channel, now time.Time) (int, error) {
	var n int
	err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM notify_delivery WHERE channel = $1 AND sent_at > $2`, c.ID, state.Nanos(now.Add(-time.Minute))).Scan(&n)
	return c.most() - n, err
}

// try sends one message and keeps what came of it.
func (d *Desk) try(ctx context.Context, b book, m Delivery) error {
	calls, err := d.callsIn(ctx, m.ID)
	if err != nil {
		return err
	}
	live := 0
	for _, c := range calls {
		if c.Live() {
			live++
		}
	}
	if live == 0 {
		m.State = Dropped
		return d.keep(ctx, b, m, nil)
	}
	sendCtx, cancel := context.WithTimeout(ctx, sendFor)
	err = d.carry(sendCtx, b, m)
	cancel()
	if ctx.Err() != nil {
		return nil // the next start sends it again, under the same id
	}
	now := d.Now().UTC()
	m.Tries++
	if err == nil {
		m.State, m.SentAt, m.Error = Sent, now, ""
		return d.keep(ctx, b, m, calls)
	}
	m.Error, m.NextAt = cut(err.Error(), maxError), now.Add(backoff(m.Tries, m.Message.Severity))
	d.Log.Warn("message not sent, it will be tried again", "message", m.ID, "channel", m.Channel, "tries", m.Tries) // the cause may name a person: it stands on the page
	if now.Sub(m.MadeAt) < giveUp {
		return d.keep(ctx, b, m, nil)
	}
	m.State = Failed
	return d.keep(ctx, b, m, calls)
}

// carry hands a message to its channel.
func (d *Desk) carry(ctx context.Context, b book, m Delivery) error {
	ch, ok := b.channels[m.Channel]
	if !ok {
		return errors.New("the channel was removed")
	}
	secrets, err := d.secrets(ctx, ch.ID)
	if err != nil {
		return err
	}
	to := secrets.URL
	if m.Person != "" {
		chat, err := d.chat(ctx, m.Person)
		if err != nil {
			return err
		}
		if to = b.contacts[m.Person].address(ch, chat); to == "" {
			return errors.New("the person cannot be reached by this channel any more")
		}
	}
	s, ok := d.Senders[ch.Kind]
	if !ok {
		return fmt.Errorf("nobody carries messages of kind %s", ch.Kind)
	}
	return s.Send(ctx, ch, secrets, to, m.Message)
}

// keep stores what came of a try; calls get a line when it is settled.
func (d *Desk) keep(ctx context.Context, b book, m Delivery, calls []Call) error {
	key := "notify.told"
	if m.State == Failed {
		key = "notify.failed"
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE notify_delivery SET state = $2, next_at = $3, sent_at = $4, tries = $5, error = $6 WHERE id = $1`,
			m.ID, m.State, state.Nanos(m.NextAt), state.Nanos(m.SentAt), m.Tries, m.Error)
		if err != nil {
			return fmt.Errorf("keep message %s: %w", m.ID, err)
		}
		for _, c := range calls {
			c, ok, err := one[Call](tx.QueryRowContext(ctx, `SELECT body FROM notify_call WHERE id = $1`, c.ID)) // as it is now
			if err != nil {
				return fmt.Errorf("keep message %s: %w", m.ID, err)
			}
			if !ok {
				continue
			}
			ch := b.channels[m.Channel]
			whom := m.Person
			if whom == "" {
				whom = ch.Name
			}
			l := Line{Key: key, At: d.Now().UTC(), Args: map[string]string{"person": whom, "channel_key": "notify.kind." + string(ch.Kind), "message": m.ID, "count": fmt.Sprint(m.Message.Count)}}
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

// callsIn are the calls that a message is about.
func (d *Desk) callsIn(ctx context.Context, message string) ([]Call, error) {
	all, err := list[Call](d.db.Query(ctx, `SELECT body FROM notify_call WHERE id IN (SELECT call FROM notify_note WHERE delivery = $1) ORDER BY id`, message))
	if err != nil {
		return nil, fmt.Errorf("calls of message %s: %w", message, err)
	}
	return all, nil
}

func cut(s string, most int) string {
	s = oneLine(strings.ToValidUTF8(s, "?"))
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
