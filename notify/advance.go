package notify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/state"
)

// book is what is needed to find the people of a step.
type book struct {
	channels map[string]Channel
	contacts map[string]Contact
	people   map[string]auth.Person
	shifts   []Shift
}

// here says whether a person still works here.
func (b book) here(id string) bool {
	p, known := b.people[id]
	return known && !p.Disabled
}

func (d *Desk) book(ctx context.Context) (book, error) {
	b := book{channels: map[string]Channel{}, contacts: map[string]Contact{}, people: map[string]auth.Person{}}
	channels, err := d.Channels(ctx)
	if err != nil {
		return b, err
	}
	for _, c := range channels {
		b.channels[c.ID] = c
	}
	contacts, err := d.Contacts(ctx)
	if err != nil {
		return b, err
	}
	for _, c := range contacts {
		b.contacts[c.Person] = c
	}
	people, err := d.People.People(ctx)
	if err != nil {
		return b, err
	}
	for _, p := range people {
		b.people[p.ID] = p
	}
	b.shifts, err = d.Shifts(ctx)
	return b, err
}

// onCall lists who is on call for a site, in their order.
func (b book) onCall(site string, at time.Time) []string {
	now := slices.DeleteFunc(slices.Clone(b.shifts), func(s Shift) bool { return !s.holds(site, at) || !b.here(s.Person) })
	slices.SortStableFunc(now, func(x, y Shift) int {
		return cmp.Or(cmp.Compare(x.Order, y.Order), x.From.Compare(y.From), cmp.Compare(x.ID, y.ID))
	})
	var out []string
	for _, s := range now {
		if !slices.Contains(out, s.Person) {
			out = append(out, s.Person)
		}
	}
	return out
}

// whom a step tells, each once.
func (b book) whom(s Step, site string, at time.Time) []string {
	on := b.onCall(site, at)
	out := slices.Clone(on[:min(s.OnCall, len(on))])
	for _, p := range s.People {
		if !slices.Contains(out, p) && b.here(p) {
			out = append(out, p)
		}
	}
	return out
}

// target is one person, or the room of a channel, with when they may be told.
type target struct {
	place
	at time.Time
}

// targets of a step of a call.
func (b book) targets(c Call, now time.Time) []target {
	s := c.Chain.Steps[c.Step]
	people := b.whom(s, c.Cause.Site, now)
	var out []target
	for _, id := range s.Channels {
		ch, ok := b.channels[id]
		if !ok {
			continue
		}
		if ch.Kind.Room() {
			out = append(out, target{place{"", id}, now})
		}
		for _, p := range people {
			if contact := b.contacts[p]; contact.reaches(ch) {
				out = append(out, target{place{p, id}, contact.wakes(c.Cause.Severity, now)})
			}
		}
	}
	return out
}

// advanceAtOnce bounds a transaction.
const advanceAtOnce = 500

// advance takes the calls that are due to their next step.
func (d *Desk) advance(ctx context.Context) error {
	for {
		n, err := d.advanceSome(ctx)
		if err != nil || n < advanceAtOnce {
			return err
		}
	}
}

func (d *Desk) advanceSome(ctx context.Context) (int, error) {
	now := d.Now().UTC()
	const due = `SELECT body FROM notify_call WHERE state = 'calling' AND due_at <= $1 ORDER BY due_at, id LIMIT `
	if some, err := list[Call](d.db.Query(ctx, due+`1`, state.Nanos(now))); err != nil || len(some) == 0 {
		return 0, err
	}
	b, err := d.book(ctx) // asks other tables, so not within the transaction
	if err != nil {
		return 0, err
	}
	var n int
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		all, err := list[Call](tx.QueryContext(ctx, due+strconv.Itoa(advanceAtOnce), state.Nanos(now)))
		n = len(all)
		for _, c := range all {
			if err == nil {
				err = d.next(ctx, tx, b, c, now)
			}
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("next steps of calls: %w", err)
	}
	return n, nil
}

// next takes one call one step further.
func (d *Desk) next(ctx context.Context, tx *state.Tx, b book, c Call, now time.Time) error {
	if c.Step >= len(c.Chain.Steps) {
		if c.Round >= c.Chain.Repeat {
			c.State = Over
			if err := add(ctx, tx, &c, Line{Key: "notify.over", At: now, Args: map[string]string{"chain": c.Chain.Name}}); err != nil {
				return err
			}
			return putCall(ctx, tx, c)
		}
		c.Step, c.Round = 0, c.Round+1
	}
	targets := b.targets(c, now)
	if first, asleep := allAsleep(targets, now); asleep { // nobody would notice: the step waits with them
		c.DueAt = first
		return putCall(ctx, tx, c)
	}
	if err := d.tell(ctx, tx, &c, targets, now); err != nil {
		return err
	}
	c.DueAt = now.Add(time.Duration(c.Chain.Steps[c.Step].Wait) * time.Minute)
	c.Step++
	return putCall(ctx, tx, c)
}

// allAsleep says whether nobody of a step may be told now, and when the first
// may.
func allAsleep(targets []target, now time.Time) (time.Time, bool) {
	if len(targets) == 0 {
		return now, false
	}
	first := slices.MinFunc(targets, func(x, y target) int { return x.at.Compare(y.at) })
	return first.at, first.at.After(now)
}

func (d *Desk) tell(ctx context.Context, tx *state.Tx, c *Call, targets []target, now time.Time) error {
	args := map[string]string{"step": strconv.Itoa(c.Step + 1), "chain": c.Chain.Name}
	switch {
	case len(targets) == 0:
		if err := add(ctx, tx, c, Line{Key: "notify.nobody", At: now, Args: args}); err != nil {
			return err
		}
	case c.Step > 0 || c.Round > 0:
		if err := add(ctx, tx, c, Line{Key: "notify.escalated", At: now, Args: args}); err != nil {
			return err
		}
	}
	for _, t := range targets {
		_, err := tx.ExecContext(ctx, `INSERT INTO notify_note (id, call, person, channel, severity, due_at, delivery) VALUES ($1, $2, $3, $4, $5, $6, '')`,
			clock.ID("no", now), c.ID, t.person, t.channel, int(c.Cause.Severity), state.Nanos(t.at))
		if err != nil {
			return fmt.Errorf("step of call %s: %w", c.ID, err)
		}
	}
	return nil
}
