package duty

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/state"
)

// file is all that is on record about the duties of one incident.
type file struct {
	statements []Statement
	decisions  []Decision
	holidays   Holidays
	now        time.Time
}

func (c *file) last() Statement { return c.statements[len(c.statements)-1] }

// judge evaluates the file as it is.
func (d *Desk) judge(c *file) Assessment {
	r := d.rules
	r.Holidays = c.holidays
	return r.judge(c.last().Facts, c.decisions, c.now)
}

// upTo is the file as it was at a time.
func (c *file) upTo(at time.Time) *file {
	return &file{now: at, holidays: c.holidays,
		statements: slices.DeleteFunc(slices.Clone(c.statements), func(s Statement) bool { return s.At.After(at) }),
		decisions:  slices.DeleteFunc(slices.Clone(c.decisions), func(x Decision) bool { return x.At.After(at) })}
}

// change reads the file of an incident, lets f write, and keeps others from
// doing the same meanwhile.
func (d *Desk) change(ctx context.Context, id string, f func(*state.Tx, *file) error) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE incident SET version = version WHERE id = $1`, id); err != nil { // others wait
			return err
		}
		c, err := d.read(ctx, tx.QueryContext, id)
		if err != nil {
			return err
		}
		return f(tx, c)
	})
}

func (d *Desk) read(ctx context.Context, q query, id string) (*file, error) {
	c := &file{now: state.Time(state.Nanos(d.now()))}
	err := each(ctx, q, func(row scanner) error {
		s, err := scan(row)
		c.statements = append(c.statements, s)
		return err
	}, `SELECT `+columns+` FROM duty_facts WHERE incident = $1 ORDER BY no`, id)
	if err != nil {
		return nil, err
	}
	if len(c.statements) == 0 {
		return nil, fault.New(fault.Missing, "duty.not-started")
	}
	err = each(ctx, q, func(row scanner) error {
		var body string
		var x Decision
		err := errors.Join(row.Scan(&body), json.Unmarshal([]byte(body), &x))
		c.decisions = append(c.decisions, x)
		return err
	}, `SELECT body FROM duty_decision WHERE incident = $1 ORDER BY no`, id)
	if err != nil {
		return nil, err
	}
	c.holidays, err = d.holidays(ctx, q, c.now)
	return c, err
}

// At evaluates what was on record at a past time, as it would have been
// evaluated then: facts, decisions and holidays that came later do not count.
// The second result is the statement that was the newest.
//
// Errors: Missing when nothing was on record yet, Invalid for the future.
func (d *Desk) At(ctx context.Context, id string, at time.Time) (Assessment, Statement, error) {
	if at.After(d.now().Add(skew)) {
		return Assessment{}, Statement{}, fault.New(fault.Invalid, "duty.future")
	}
	c, err := d.read(ctx, d.db.Query, id)
	if err != nil {
		return Assessment{}, Statement{}, fmt.Errorf("duties of %s at a time: %w", id, err)
	}
	c = c.upTo(at)
	if len(c.statements) == 0 {
		return Assessment{}, Statement{}, fault.New(fault.Missing, "duty.nothing-known")
	}
	if c.holidays, err = d.holidays(ctx, d.db.Query, at); err != nil {
		return Assessment{}, Statement{}, fmt.Errorf("duties of %s at a time: %w", id, err)
	}
	return d.judge(c), c.last(), nil
}

// restate writes a statement with what it changes in the clocks.
func (d *Desk) restate(ctx context.Context, tx *state.Tx, c *file, f Facts, reason, by string) error {
	before, last := d.judge(c), c.last()
	if last.By != incident.System && reason == "" && revised(last.Facts, f) {
		return fault.New(fault.Invalid, "duty.reason-missing")
	}
	s := Statement{Incident: last.Incident, No: last.No + 1, By: by, Facts: f, Reason: reason}
	c.statements = append(c.statements, s)
	s.Moved = moves(before, d.judge(c))
	return d.store(ctx, tx, s)
}
