package duty

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/state"
)

// SubjectHolidays tells for each open incident that a newer list of holidays
// moved its clocks.
const SubjectHolidays = "duty.holidays"

// HolidayEffect is what a newer list of holidays does.
type HolidayEffect struct {
	Changes []HolidayChange `json:"changes"` // days on which it differs
	Moved   []Moved         `json:"moved"`   // open incidents whose clocks move, by number
}

// Moved is what a newer list does to the clocks of one incident.
type Moved struct {
	Incident string `json:"incident"` // id
	No       int    `json:"no"`       // of the incident
	Clocks   []Move `json:"clocks"`
}

// HolidaysMoved is what is published on SubjectHolidays.
type HolidaysMoved struct {
	Moved
	Update int       `json:"update"` // which list
	At     time.Time `json:"at"`
	By     string    `json:"by"` // person id
	Source string    `json:"source"`
}

// Note is the line of the chronology.
func (m HolidaysMoved) Note() incident.Note {
	args := map[string]string{"by": m.By, "source": m.Source}
	for _, lang := range i18n.Languages() {
		args["moves_"+lang] = m.say(lang)
	}
	return incident.Note{Key: "duty.holidays", OccurredAt: m.At, Source: "duty", Args: args, Unique: fmt.Sprintf("holidays/%d", m.Update)}
}

func (m Moved) say(lang string) string {
	var parts []string
	for _, x := range m.Clocks {
		parts = append(parts, i18n.T(lang, "duty.holidays.move", map[string]string{"clock": x.Name(lang), "from": dayText(x.From), "to": dayText(x.To), "basis": x.Basis}))
	}
	return strings.Join(parts, i18n.T(lang, "duty.holidays.and", nil))
}

func dayText(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.In(clock.Tokyo()).Format(time.DateOnly)
}

// Name is what people call the clock of a move.
func (m Move) Name(lang string) string {
	regime, kind, _ := strings.Cut(m.Clock, ".")
	switch m.Clock {
	case "contractor.notice":
		kind = KindContractor
	case "person.notice":
		regime, kind = "person_notice", KindNotice
	}
	return Clock{Regime: regime, Kind: kind}.Name(lang)
}

// PreviewHolidays says what a newer list would do, with the errors of
// UpdateHolidays. Nothing is stored.
func (d *Desk) PreviewHolidays(ctx context.Context, days []Holiday) (HolidayEffect, error) {
	u, err := d.newest(HolidayUpdate{Days: days})
	if err != nil {
		return HolidayEffect{}, err
	}
	_, e, err := d.effect(ctx, d.db.Query, u)
	if err != nil {
		return HolidayEffect{}, fmt.Errorf("preview holidays: %w", err)
	}
	return e, nil
}

// effect holds a newer list against what is known; n is how many lists came
// before.
func (d *Desk) effect(ctx context.Context, q query, u HolidayUpdate) (n int, e HolidayEffect, err error) {
	updates, err := d.updates(ctx, q)
	if err != nil {
		return 0, e, err
	}
	h := d.rules.Holidays
	for _, older := range updates {
		h = h.With(older)
	}
	e.Changes = h.Diff(u.Days)
	if len(e.Changes) == 0 && h.announced(u.Days) {
		return 0, e, fault.New(fault.Conflict, "duty.holidays-same")
	}
	if err := h.plausible(e.Changes); err != nil {
		return 0, e, err
	}
	e.Moved, err = d.movedBy(ctx, q, h.With(u))
	return len(updates), e, err
}

// movedBy counts the clocks of all open incidents with other holidays.
func (d *Desk) movedBy(ctx context.Context, q query, newer Holidays) ([]Moved, error) {
	all := []Moved{}
	err := each(ctx, q, func(row scanner) error {
		var m Moved
		err := row.Scan(&m.Incident, &m.No)
		all = append(all, m)
		return err
	}, `SELECT id, no FROM incident WHERE state <> $1 ORDER BY no`, string(incident.Ended))
	if err != nil {
		return nil, fmt.Errorf("open incidents: %w", err)
	}
	moved := []Moved{}
	for _, m := range all {
		c, err := d.read(ctx, q, m.Incident)
		if fault.Of(err) == fault.Missing { // its clocks have not started
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("duties of %s: %w", m.Incident, err)
		}
		before := d.judge(c)
		c.holidays = newer
		if m.Clocks = moves(before, d.judge(c)); len(m.Clocks) > 0 {
			moved = append(moved, m)
		}
	}
	return moved, nil
}

// tellMoved publishes what a list did, one message for each incident.
func tellMoved(ctx context.Context, tx *state.Tx, u HolidayUpdate) error {
	for _, m := range u.Moved {
		x := HolidaysMoved{Moved: m, Update: u.No, At: u.At, By: u.By, Source: u.Source}
		if err := tx.Emit(ctx, SubjectHolidays, fmt.Sprintf("%s:%d/%s", SubjectHolidays, u.No, m.Incident), x); err != nil {
			return err
		}
	}
	return nil
}
