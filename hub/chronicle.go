package hub

import (
	"context"
	"errors"
	"strconv"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/report"
)

// noteAlert writes down that an alert belongs to the incident, with what was
// known of it at that moment.
func (h *Hub) noteAlert(ctx context.Context, id string, a alert.Alert) error {
	process := ""
	if len(a.Process) > 0 {
		process = a.Process[0].Image
	}
	return h.incidents.Note(ctx, id, incident.Note{
		Key: "alert.linked", OccurredAt: a.First, Source: "alert", Ref: a.ID, Unique: "alert/" + a.ID,
		Args: map[string]string{
			"title_ja": a.Rule.Title.In("ja"), "title_en": a.Rule.Title.In("en"), "host": a.Host, "site": a.Site,
			"peers": strconv.Itoa(a.PeersAll), "sent": alert.Bytes(a.Sent), "received": alert.Bytes(a.Received), "process": process,
		},
	})
}

// noteAction writes down every step of an action that the chronology does not
// have yet, and opens or closes the bag that it fills.
func (h *Hub) noteAction(ctx context.Context, a action.Action) error {
	if a.Kind == action.Preserve {
		if err := h.fillBag(ctx, a); err != nil {
			return err
		}
	}
	var errs []error
	for _, l := range a.Lines() {
		errs = append(errs, h.noteLine(ctx, a.Incident, "action", a.ID, l))
	}
	return errors.Join(errs...)
}

// noteCutting writes down what the chronology does not have yet of the cutting
// of a site; its actions tell of themselves.
func (h *Hub) noteCutting(ctx context.Context, c action.Cutting) error {
	var errs []error
	for _, l := range c.Lines() {
		errs = append(errs, h.noteLine(ctx, c.Incident, "action", c.ID, l))
	}
	return errors.Join(errs...)
}

func (h *Hub) noteLine(ctx context.Context, id, source, ref string, l action.Line) error {
	if id == "" { // packets of no incident: the custody record and the ledger tell of them
		return nil
	}
	return h.incidents.Note(ctx, id, incident.Note{
		Key: l.Key, Args: l.Args, OccurredAt: l.OccurredAt, Source: source, Ref: ref, Unique: l.Unique})
}

// fillBag opens the bag when the order goes out and seals it when the agent
// has handed over everything, or will not any more.
func (h *Hub) fillBag(ctx context.Context, a action.Action) error {
	switch a.State {
	case action.Approved:
		return h.vault.OpenBag(ctx, a)
	case action.Verified, action.Failed, action.Expired:
		if a.Cause == action.Cancelled {
			if err := h.vault.Cancelled(ctx, a.Bag, a.ReleasedBy); err != nil && fault.Of(err) != fault.Missing {
				return err
			}
		}
		err := h.vault.Seal(ctx, a.Bag, a.State != action.Verified) // items that a machine does not have are listed with the reason
		switch fault.Of(err) {
		case fault.Missing: // ended before it was opened
			return nil
		case fault.Conflict: // damaged on the disk: trying again cannot help, and other bags wait
			h.log.Error("bag cannot be sealed", "bag", a.Bag, "err", err)
			return h.incidents.Note(ctx, a.Incident, incident.Note{Key: "evidence.damaged", Source: "evidence", Ref: a.Bag, Unique: a.Bag + "/damaged",
				Args: map[string]string{"host": a.Host, "bag": a.Bag, "detail": err.Error()}})
		}
		return err
	}
	return nil
}

func (h *Hub) noteBag(ctx context.Context, b evidence.Bag) error {
	l, sealed := b.Line()
	if !sealed {
		return nil
	}
	return h.noteLine(ctx, b.Incident, "evidence", b.ID, l)
}

func (h *Hub) noteDocument(ctx context.Context, d report.Document) error {
	return h.noteOfDocument(ctx, d.Noted())
}

// noteOfDocument writes down who approved or looked at a document, and who
// restated its particulars.
func (h *Hub) noteOfDocument(ctx context.Context, n report.Noted) error {
	return h.incidents.Note(ctx, n.Incident, incident.Note{Key: n.Key, Args: n.Args, OccurredAt: n.At, Source: "report", Ref: n.Ref, Unique: n.Unique()})
}

// noteRun writes down a transition of a playbook's run.
func (h *Hub) noteRun(ctx context.Context, c playbook.Change) error {
	return h.incidents.Note(ctx, c.Incident, incident.Note{Key: c.Key, Args: c.Args, OccurredAt: c.Happened, Source: c.Source, Ref: c.Run,
		Unique: "playbook/" + c.Run + "/" + strconv.Itoa(c.No)})
}

// noteDecision writes down what was decided about a service, and who was of
// another opinion or approved it afterwards.
func (h *Hub) noteDecision(ctx context.Context, c decision.Changed) error {
	return h.incidents.Note(ctx, c.Incident, incident.Note{Key: c.Key, Args: c.Args, OccurredAt: c.At, Source: "decision", Ref: c.ID,
		Unique: "decision/" + c.ID + "/" + strconv.Itoa(c.Version)})
}

// noteTask writes down what became of a task, a role, hours on duty or a
// hand-over. The words of a role belong to no incident.
func (h *Hub) noteTask(ctx context.Context, r task.Record) error {
	if r.Incident == "" || r.Key == "" {
		return nil
	}
	return h.incidents.Note(ctx, r.Incident, incident.Note{Key: r.Key, Args: r.Args, OccurredAt: r.Happened, Source: "task", Ref: r.ID, Unique: "task/" + r.Ref()})
}

// noteFacts writes down that facts were stated, and what that moved.
func (h *Hub) noteFacts(ctx context.Context, c duty.Changed) error {
	return h.incidents.Note(ctx, c.Incident, incident.Note{Key: c.Key(), Source: "duty", Unique: "facts/" + strconv.Itoa(c.No),
		Args: map[string]string{"by": c.By, "reason": c.Reason, "moved": strconv.Itoa(c.Moved)}})
}

// noteHolidays writes down that a new list of holidays moved clocks.
func (h *Hub) noteHolidays(ctx context.Context, m duty.HolidaysMoved) error {
	return h.incidents.Note(ctx, m.Incident, m.Note())
}

// noteDuty writes down what a person decided about a duty.
func (h *Hub) noteDuty(ctx context.Context, d duty.Decision) error {
	return h.incidents.Note(ctx, d.Incident, incident.Note{Key: d.Key(), OccurredAt: d.At, Source: "duty", Unique: "duty/" + strconv.Itoa(d.No),
		Args: map[string]string{"by": d.By, "reason": d.Reason}})
}

// noteTold writes down who was told of the incident, and who answered.
func (h *Hub) noteTold(ctx context.Context, l notify.Line) error {
	if l.Incident == "" { // it is told again once there is one
		return nil
	}
	return h.incidents.Note(ctx, l.Incident, incident.Note{Key: l.Key, Args: l.Args, OccurredAt: l.At, Source: "notify", Ref: l.Call, Unique: l.Unique()})
}
