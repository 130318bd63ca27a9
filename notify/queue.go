package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// deliveries reads those that where selects.
func (d *Desk) deliveries(ctx context.Context, where string, args ...any) ([]Delivery, error) {
	rows, err := d.db.Query(ctx, `SELECT id, person, channel, state, made_at, next_at, sent_at, tries, error, body FROM notify_delivery `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list messages: %w", err)
	}
	defer rows.Close()
	var out []Delivery
	for rows.Next() {
		var m Delivery
		var made, next, sent int64
		var body string
		if err := rows.Scan(&m.ID, &m.Person, &m.Channel, &m.State, &made, &next, &sent, &m.Tries, &m.Error, &body); err != nil {
			return nil, fmt.Errorf("list messages: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &m.Message); err != nil {
			return nil, fmt.Errorf("message %s: %w", m.ID, err)
		}
		m.MadeAt, m.NextAt, m.SentAt = state.Time(made), state.Time(next), state.Time(sent)
		out = append(out, m)
	}
	return out, rows.Err()
}

// Filter selects calls and messages. Zero fields select all.
type Filter struct {
	Site     string
	Incident string
	Live     bool // calls that nobody answered
	Stuck    bool // messages that failed or are tried again
	Limit    int  // 50 when 0, at most 200
	Offset   int
}

func (f Filter) page() (limit, offset int) {
	if f.Limit <= 0 {
		f.Limit = 50
	}
	return min(f.Limit, 200), max(f.Offset, 0)
}

// Calls lists calls, the newest first, with how many there are.
func (d *Desk) Calls(ctx context.Context, f Filter) ([]Call, int, error) {
	limit, offset := f.page()
	const where = `WHERE ($1 = '' OR incident = $1) AND ($2 = 0 OR state <> 'answered') AND ($3 = '' OR site = $3)`
	args := []any{f.Incident, flag(f.Live), f.Site}
	var n int
	if err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM notify_call `+where, args...).Scan(&n); err != nil {
		return nil, 0, fmt.Errorf("count calls: %w", err)
	}
	all, err := list[Call](d.db.Query(ctx, `SELECT body FROM notify_call `+where+` ORDER BY began_at DESC, id DESC LIMIT $4 OFFSET $5`, append(args, limit, offset)...))
	if err != nil {
		return nil, 0, fmt.Errorf("list calls: %w", err)
	}
	return all, n, nil
}

// Call returns one.
func (d *Desk) Call(ctx context.Context, id string) (Call, error) {
	c, ok, err := one[Call](d.db.QueryRow(ctx, `SELECT body FROM notify_call WHERE id = $1`, id))
	if err != nil {
		return c, fmt.Errorf("call %s: %w", id, err)
	}
	if !ok {
		return c, fault.New(fault.Missing, "notify.call-unknown")
	}
	return c, nil
}

// Lines lists what happened in a call, in order.
func (d *Desk) Lines(ctx context.Context, call string) ([]Line, error) {
	all, err := list[Line](d.db.Query(ctx, `SELECT body FROM notify_line WHERE call = $1 ORDER BY no LIMIT 500`, call))
	if err != nil {
		return nil, fmt.Errorf("lines of call %s: %w", call, err)
	}
	return all, nil
}

// Deliveries lists messages, the newest first, with how many there are.
func (d *Desk) Deliveries(ctx context.Context, f Filter) ([]Delivery, int, error) {
	limit, offset := f.page()
	const where = `WHERE ($1 = 0 OR state = 'failed' OR state = 'waiting')`
	var n int
	if err := d.db.QueryRow(ctx, `SELECT COUNT(*) FROM notify_delivery `+where, flag(f.Stuck)).Scan(&n); err != nil {
		return nil, 0, fmt.Errorf("count messages: %w", err)
	}
	all, err := d.deliveries(ctx, where+` ORDER BY made_at DESC, id DESC LIMIT $2 OFFSET $3`, flag(f.Stuck), limit, offset)
	return all, n, err
}

// Health is what is wrong with telling people.
type Health struct {
	Waiting    int `json:"waiting"`    // messages not sent yet
	Trying     int `json:"trying"`     // of them: that failed three times or more
	Failed     int `json:"failed"`     // given up in the last day
	Unanswered int `json:"unanswered"` // calls of the last day whose chain is over
	Chains     int `json:"chains"`     // that there are; without one nobody is told of anything
}

// Well says whether nobody need look.
func (h Health) Well() bool { return h.Trying == 0 && h.Failed == 0 && h.Unanswered == 0 }

// troubled is from how many failures on a message is trouble.
const troubled = 3

// Health counts what is wrong now. It is cheap.
func (d *Desk) Health(ctx context.Context) (Health, error) {
	var h Health
	since := state.Nanos(d.Now().Add(-24 * time.Hour))
	err := d.db.QueryRow(ctx, `SELECT
			(SELECT COUNT(*) FROM notify_delivery WHERE state = 'waiting'),
			(SELECT COUNT(*) FROM notify_delivery WHERE state = 'waiting' AND tries >= $1),
			(SELECT COUNT(*) FROM notify_delivery WHERE state = 'failed' AND made_at > $2),
			(SELECT COUNT(*) FROM notify_call WHERE state = 'over' AND began_at > $2),
			(SELECT COUNT(*) FROM notify_chain)`, troubled, since).Scan(&h.Waiting, &h.Trying, &h.Failed, &h.Unanswered, &h.Chains)
	if err != nil {
		return h, fmt.Errorf("state of the queue: %w", err)
	}
	return h, nil
}

// Budget is how many messages a person got.
type Budget struct {
	Person string `json:"person"`
	Hour   int    `json:"hour"` // in the last hour
	Day    int    `json:"day"`  // in the last 24 hours
}

// Budgets: more than one message in ten minutes over an hour, or over a day, is
// more than people heed.
const (
	HourBudget = 6
	DayBudget  = 24 * HourBudget
)

// Exceeded says whether the person gets more than people heed.
func (b Budget) Exceeded() bool { return b.Hour > HourBudget || b.Day > DayBudget }

// Budgets counts the messages of the last day for each person, the busiest
// first.
func (d *Desk) Budgets(ctx context.Context) ([]Budget, error) {
	now := d.Now()
	rows, err := d.db.Query(ctx, `SELECT person, SUM(CASE WHEN sent_at > $1 THEN 1 ELSE 0 END), COUNT(*) FROM notify_delivery
		WHERE made_at > $2 AND sent_at > $2 AND person <> '' GROUP BY person ORDER BY 3 DESC, person LIMIT 200`,
		state.Nanos(now.Add(-time.Hour)), state.Nanos(now.Add(-24*time.Hour)))
	if err != nil {
		return nil, fmt.Errorf("count messages: %w", err)
	}
	defer rows.Close()
	var out []Budget
	for rows.Next() {
		var b Budget
		if err := rows.Scan(&b.Person, &b.Hour, &b.Day); err != nil {
			return nil, fmt.Errorf("count messages: %w", err)
		}
		out = append(out, b)
	}
	return out, rows.Err()
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
