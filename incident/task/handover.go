package task

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/state"
)

// HandoverState is how far a hand-over is.
type HandoverState string

// States of a hand-over: 署名待ち, 引き継ぎ済み, 断られた, 取り下げ.
const (
	Offered   HandoverState = "offered" // the leaving commander signed
	Signed    HandoverState = "signed"  // the next commander signed: command has moved
	Refused   HandoverState = "refused"
	Withdrawn HandoverState = "withdrawn"
)

// Handover is that one commander hands an incident over to the next (引き継ぎ).
type Handover struct {
	ID         string        `json:"id"`
	No         int           `json:"no"` // within the incident, from 1
	Incident   string        `json:"incident"`
	From       string        `json:"from"` // person id of the leaving commander
	To         string        `json:"to"`   // person id of the next
	State      HandoverState `json:"state"`
	Lang       string        `json:"lang"`    // of the text
	Text       string        `json:"text"`    // half a page, as the leaving commander signed it
	Records    string        `json:"records"` // half a page as the records said it, before it was edited
	OfferedAt  time.Time     `json:"offered_at"`
	AnsweredAt time.Time     `json:"answered_at"` // signed, refused or withdrawn
	Reason     string        `json:"reason"`      // of a refusal or withdrawal
}

// maxText is half a page in characters, with room.
const maxText = 3000

// Draft is half a page about an incident as the records say it now, for the
// leaving commander to edit.
func (d *Desk) Draft(ctx context.Context, in, lang string) (string, error) {
	s, err := d.summary(ctx, in)
	if err != nil {
		return "", err
	}
	roles, err := d.Roles(ctx)
	if err != nil {
		return "", err
	}
	names, err := d.deps.Names(ctx)
	if err != nil {
		return "", err
	}
	return s.text(lang, roles, names), nil
}

// summary reads what half a page says.
func (d *Desk) summary(ctx context.Context, id string) (s summary, err error) {
	s.now = d.moment()
	if s.in, err = d.deps.Incidents.Get(ctx, id); err != nil {
		return s, err
	}
	actions, _, err := d.deps.Actions.List(ctx, action.Filter{Incident: id, Limit: 500})
	if err != nil {
		return s, err
	}
	for _, a := range actions {
		switch {
		case a.State == action.Requested:
			s.pending = append(s.pending, a)
		case !a.ExpiresAt.IsZero() && (a.State == action.Applied || a.State == action.Verified || a.State == action.Releasing):
			s.isolated = append(s.isolated, a)
		}
	}
	if err = d.undecided(ctx, id, &s); err != nil {
		return s, err
	}
	if s.clocks, err = d.clocks(ctx, id); err != nil {
		return s, err
	}
	if s.tasks, err = d.Tasks(ctx, id); err != nil {
		return s, err
	}
	s.tasks = slices.DeleteFunc(s.tasks, func(t Task) bool { return !t.Open() })
	if s.posts, err = d.Posts(ctx, id); err != nil {
		return s, err
	}
	stays, err := d.Stays(ctx, id)
	s.stays = slices.DeleteFunc(Counted(stays), func(o Stay) bool { return !o.Until.IsZero() })
	return s, err
}

// undecided reads which services somebody must still decide about, or again.
func (d *Desk) undecided(ctx context.Context, id string, s *summary) error {
	if d.deps.Decisions == nil {
		return nil
	}
	all, err := d.deps.Decisions.List(ctx, id)
	if err != nil {
		return err
	}
	force := decision.InForce(all)
	for _, v := range all {
		if force[v.Service.Key].ID == v.ID && !v.ReviewAt.IsZero() {
			s.decided = append(s.decided, v)
		}
	}
	slices.SortStableFunc(s.decided, func(a, b decision.Decision) int { return a.ReviewAt.Compare(b.ReviewAt) })
	s.advice, err = d.deps.Decisions.Advice(ctx, id)
	return err
}

// NewHandover is what the leaving commander signs.
type NewHandover struct {
	To   string // person id
	Lang string
	Text string // at most 3000 characters
}

// Offer signs a hand-over as the leaving commander. Command stays until the next
// one has signed.
//
// Errors: Denied for anybody but the commander; Invalid for an empty text or a
// next commander who cannot sign; Conflict while another hand-over waits.
func (d *Desk) Offer(ctx context.Context, in string, n NewHandover, by auth.Person) (Handover, error) {
	text, err := lines("text", n.Text, maxText, true)
	if err != nil {
		return Handover{}, err
	}
	if !i18n.Known(n.Lang) {
		return Handover{}, fault.New(fault.Invalid, "task.lang")
	}
	if err := d.checkNext(ctx, n.To, by); err != nil {
		return Handover{}, err
	}
	records, err := d.Draft(ctx, in, n.Lang)
	if err != nil {
		return Handover{}, err
	}
	now := d.moment()
	h := Handover{ID: clock.ID("hv", now), Incident: in, From: by.ID, To: n.To, State: Offered, Lang: n.Lang, Text: text, Records: records, OfferedAt: now}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if err := lockIncident(ctx, tx, in); err != nil {
			return err
		}
		i, err := d.deps.Incidents.Get(ctx, in)
		if err != nil {
			return err
		}
		if i.Commander != by.ID {
			return fault.New(fault.Denied, "task.handover-not-commander")
		}
		all, err := within(ctx, tx.QueryContext, KindHandover, in)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(r Record) bool { return r.Handover.State == Offered }) {
			return fault.New(fault.Conflict, "task.handover-waits")
		}
		h.No = len(all) + 1
		r := d.record(KindHandover, h.ID, i).say(by, "handover.offered", "from", h.From, "to", h.To)
		r.Handover = &h
		return put(ctx, tx, r)
	})
	if err != nil {
		return Handover{}, fmt.Errorf("offer command of %s: %w", in, err)
	}
	return h, nil
}

// checkNext wants the next commander to be another person who can sign.
func (d *Desk) checkNext(ctx context.Context, to string, by auth.Person) error {
	if to == "" || to == by.ID {
		return fault.New(fault.Invalid, "task.handover-to")
	}
	p, err := d.deps.People.Person(ctx, to)
	switch {
	case err != nil:
		return err
	case p.Disabled:
		return fault.New(fault.Invalid, "task.handover-to")
	case !p.HasTOTP:
		return fault.New(fault.Invalid, "task.handover-no-code", p.Name)
	}
	return nil
}

// Sign signs a hand-over as the next commander, with a code of the second
// factor. Then command moves. Whoever signs twice, in two windows, signs once.
//
// Errors: Denied for anybody but the next commander; Conflict when it was
// answered, or somebody else commands by now; those of auth.Keeper.Confirm.
func (d *Desk) Sign(ctx context.Context, in, id, code string, by auth.Person) error {
	h, err := d.Handover(ctx, in, id)
	if err != nil {
		return err
	}
	if err := h.answerable(h.To, by); err != nil {
		return err
	}
	if err := d.deps.People.Confirm(ctx, by, code); err != nil {
		return err
	}
	err = d.alter(ctx, KindHandover, in, id, func(_ *state.Tx, r *Record) error {
		i, err := d.deps.Incidents.Get(ctx, in)
		if err != nil {
			return err
		}
		if i.Commander != r.Handover.From {
			return fault.New(fault.Conflict, "task.handover-stale")
		}
		return r.answer(Signed, r.Handover.To, "", by)
	})
	if err != nil {
		return err
	}
	return d.Moves(ctx, h)
}

// Moves moves the command of a hand-over that was signed. It may be called
// again, also long after: then somebody else may have been given command since,
// and keeps it.
func (d *Desk) Moves(ctx context.Context, h Handover) error {
	err := d.deps.Incidents.HandOver(ctx, h.Incident, h.From, h.To, auth.Person{ID: h.To})
	if fault.Of(err) == fault.Conflict {
		return nil
	}
	return err
}

// Follow does what a version of a record asks for, as often as it is told of it:
// a hub that died between signature and command finishes what was signed.
func (d *Desk) Follow(ctx context.Context, r Record) error {
	if r.Handover == nil || r.Handover.State != Signed {
		return nil
	}
	return d.Moves(ctx, *r.Handover)
}

// Refuse answers a hand-over as the next commander: no, because.
func (d *Desk) Refuse(ctx context.Context, in, id, reason string, by auth.Person) error {
	reason, err := words("reason", reason, 1000, true)
	if err != nil {
		return err
	}
	return d.alter(ctx, KindHandover, in, id, func(_ *state.Tx, r *Record) error {
		return r.answer(Refused, r.Handover.To, reason, by)
	})
}

// Withdraw takes a hand-over back as the leaving commander.
func (d *Desk) Withdraw(ctx context.Context, in, id, reason string, by auth.Person) error {
	reason, err := words("reason", reason, 1000, true)
	if err != nil {
		return err
	}
	return d.alter(ctx, KindHandover, in, id, func(_ *state.Tx, r *Record) error {
		return r.answer(Withdrawn, r.Handover.From, reason, by)
	})
}

// answerable says whether a person may answer now.
func (h Handover) answerable(who string, by auth.Person) error {
	switch {
	case by.ID != who:
		return fault.New(fault.Denied, "task.handover-not-yours")
	case h.State != Offered:
		return fault.New(fault.Conflict, "task.handover-over")
	}
	return nil
}

func (r *Record) answer(as HandoverState, who, reason string, by auth.Person) error {
	h := r.Handover
	if err := h.answerable(who, by); err != nil {
		return err
	}
	h.State, h.Reason, h.AnsweredAt = as, reason, r.At
	*r = r.say(by, "handover."+string(as), "from", h.From, "to", h.To, "reason", reason)
	return nil
}

// Handover returns one of an incident, or Missing.
func (d *Desk) Handover(ctx context.Context, in, id string) (Handover, error) {
	r, err := one(ctx, d.db.Query, KindHandover, id)
	if err != nil {
		return Handover{}, err
	}
	if r.Incident != in {
		return Handover{}, fault.New(fault.Missing, "task.missing")
	}
	return *r.Handover, nil
}

// Handovers returns all of an incident, the newest first.
func (d *Desk) Handovers(ctx context.Context, in string) ([]Handover, error) {
	all, err := within(ctx, d.db.Query, KindHandover, in)
	if err != nil {
		return nil, err
	}
	out := make([]Handover, 0, len(all))
	for _, r := range all {
		out = append(out, *r.Handover)
	}
	slices.SortFunc(out, func(a, b Handover) int { return b.No - a.No })
	return out, nil
}
