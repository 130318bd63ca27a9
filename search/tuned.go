package search

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// LeafTuned is the type of the leaves that bind what people changed about
// rules: one when a change is made and one when it is ended.
const LeafTuned = "rule-change"

// maxTuned bounds how many changes are open at once: each is looked at for
// every match of its rule.
const maxTuned = 2000

// Tuned is a change of a rule with who made and who ended it.
type Tuned struct {
	tuning.Change
	MadeAt  time.Time `json:"made_at"`
	MadeBy  string    `json:"made_by"`  // person id
	EndedAt time.Time `json:"ended_at"` // zero while nobody ended it
	EndedBy string    `json:"ended_by"`
	Ending  string    `json:"ending"` // why it was ended
}

// TunedState is how a change stands.
type TunedState string

// States of a change.
const (
	InForce TunedState = "in-force"
	Over    TunedState = "over"  // its time is over
	Ended   TunedState = "ended" // somebody ended it
)

// State tells how the change stands at a moment.
func (t Tuned) State(now time.Time) TunedState {
	switch {
	case !t.EndedAt.IsZero():
		return Ended
	case !t.In(now):
		return Over
	}
	return InForce
}

// Tune changes a rule from now on, after Change.Check. Missing for a rule that
// nobody knows; Conflict when too many changes are open.
func (b *Rulebook) Tune(ctx context.Context, c tuning.Change, by auth.Person) (Tuned, error) {
	at := b.moment()
	c.ID, c.Owner, c.Reason, c.Until = clock.ID("ch", at), strings.TrimSpace(c.Owner), strings.TrimSpace(c.Reason), c.Until.UTC()
	if err := c.Check(at); err != nil {
		return Tuned{}, err
	}
	if _, known := b.engine.Load().Info(c.Rule); !known {
		return Tuned{}, fault.New(fault.Missing, "rule.unknown", c.Rule)
	}
	t := Tuned{Change: c, MadeAt: at, MadeBy: by.ID}
	err := b.db.Tx(ctx, func(tx *state.Tx) error {
		var open int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM (`+presentTuned+`AND open = 1) AS n`).Scan(&open); err != nil {
			return err
		}
		if open >= maxTuned {
			return fault.New(fault.Conflict, "rule.changes-many", maxTuned)
		}
		return writeTuned(ctx, tx, tunedStep{Tuned: t, No: 1})
	})
	if err != nil {
		return Tuned{}, fmt.Errorf("tune rule %s: %w", c.Rule, err)
	}
	return t, nil
}

// EndTuned takes a change back before its time; a reason is needed.
func (b *Rulebook) EndTuned(ctx context.Context, id, reason string, by auth.Person) error {
	if reason = strings.TrimSpace(reason); reason == "" || len(reason) > maxReason {
		return fault.New(fault.Invalid, "rule.reason")
	}
	err := b.db.Tx(ctx, func(tx *state.Tx) error {
		list, err := scanTuned(tx.QueryContext(ctx, presentTuned+`AND id = $1`, id))
		if err != nil {
			return err
		}
		if len(list) == 0 || !list[0].EndedAt.IsZero() {
			return fault.New(fault.Missing, "rule.no-change", id)
		}
		s := list[0]
		s.No++
		s.EndedAt, s.EndedBy, s.Ending = b.moment(), by.ID, reason
		return writeTuned(ctx, tx, s)
	})
	if err != nil {
		return fmt.Errorf("end change of a rule: %w", err)
	}
	return nil
}

// Changes lists what was changed about a rule ("": all), newest first: at most
// limit of them, and how many there are.
func (b *Rulebook) Changes(ctx context.Context, rule string, limit, offset int) ([]Tuned, int, error) {
	where, args := ``, []any{}
	if rule != "" {
		where, args = `AND rule = $1 `, []any{rule}
	}
	var total int
	if err := b.db.QueryRow(ctx, `SELECT COUNT(*) FROM (`+presentTuned+where+`) AS n`, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count changes of rules: %w", err)
	}
	list, err := scanTuned(b.db.Query(ctx, presentTuned+where+fmt.Sprintf(`ORDER BY made_at DESC, id LIMIT %d OFFSET %d`, limit, offset), args...))
	if err != nil {
		return nil, 0, fmt.Errorf("list changes of rules: %w", err)
	}
	out := make([]Tuned, len(list))
	for i, s := range list {
		out[i] = s.Tuned
	}
	return out, total, nil
}

// open are the changes that nobody ended, newest first. Some may be over.
func (b *Rulebook) open(ctx context.Context) ([]Tuned, error) {
	list, err := scanTuned(b.db.Query(ctx, presentTuned+`AND open = 1 ORDER BY made_at DESC, id`))
	if err != nil {
		return nil, fmt.Errorf("read changes of rules: %w", err)
	}
	out := make([]Tuned, len(list))
	for i, s := range list {
		out[i] = s.Tuned
	}
	return out, nil
}

// tunedStep is one state of a change, as it was written. Rows are only added;
// the ledger holds the digest of each, and the salt keeps that from being
// guessed.
type tunedStep struct {
	Tuned
	No   int    `json:"no"` // from 1 for each change
	Salt string `json:"salt"`
}

func (s tunedStep) leaf() (leaf.Leaf, error) {
	at := s.MadeAt
	if !s.EndedAt.IsZero() {
		at = s.EndedAt
	}
	return leaf.Of(LeafTuned, fmt.Sprintf("%s/%d", s.ID, s.No), at, s)
}

func (s tunedStep) isOpen() int64 {
	if s.EndedAt.IsZero() {
		return 1
	}
	return 0
}

func writeTuned(ctx context.Context, tx *state.Tx, s tunedStep) error {
	s.Salt = leaf.Salt()
	_, err := tx.ExecContext(ctx, `INSERT INTO rule_change (id, no, rule, made_at, open, body) VALUES ($1, $2, $3, $4, $5, $6)`,
		s.ID, s.No, s.Rule, state.Nanos(s.MadeAt), s.isOpen(), state.JSON(s))
	if err != nil {
		return err
	}
	l, err := s.leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record."+LeafTuned, LeafTuned+":"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, "rule.changed", "rule-change:"+l.Ref, RulesChanged{Rule: s.Rule})
}

// presentTuned selects the present state of every change.
const presentTuned = `SELECT body FROM rule_change r WHERE no = (SELECT max(no) FROM rule_change WHERE id = r.id) `

func scanTuned(found *sql.Rows, err error) (list []tunedStep, _ error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var body string
		var s tunedStep
		if err := found.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, found.Err()
}

func tunedLeaf(columns []any) (leaf.Leaf, error) {
	var s tunedStep
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], s.ID, int64(s.No), s.Rule, state.Nanos(s.MadeAt), s.isOpen()); err != nil {
		return unusable, err
	}
	return s.leaf()
}
