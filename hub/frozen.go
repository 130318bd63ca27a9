package hub

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
)

// What says that an alert is about a process that an agent has frozen, whose
// evidence is taken at once: our own rule, or a tag at a rule of the site.
const (
	frozenRule = "3b1f0c52-7d6e-4a83-9c1d-5e2a40f7b918" // guard-frozen
	frozenTag  = "sonae.frozen"
)

// keepFrozen follows an alert about a process that an agent froze: an incident
// opens, whose first act is to take evidence of the host; of every further
// process that is frozen there, evidence is taken, too.
func (h *Hub) keepFrozen(ctx context.Context, a alert.Alert) error {
	if a.Drill || a.State == alert.Closed || len(a.Process) == 0 || a.Rule.ID != frozenRule && !slices.Contains(a.Rule.Tags, frozenTag) {
		return nil
	}
	id, err := h.caseOf(ctx, a)
	if err != nil {
		return h.notFollowed(err, a)
	}
	in, err := h.incidents.Get(ctx, id)
	if err != nil {
		return h.notFollowed(err, a)
	}
	q := h.suspect(ctx, preserve(in, a), a)
	have, _, err := h.actions.List(ctx, action.Filter{Incident: id, Host: a.Host, Limit: 500})
	if err != nil {
		return err
	}
	if q.PID == 0 || slices.ContainsFunc(have, func(o action.Action) bool { return o.Kind == action.Preserve && o.PID == q.PID && o.Start == q.Start }) {
		return nil
	}
	q.Kind = action.Preserve
	_, err = h.actions.Request(ctx, q, auth.Person{ID: action.Hub})
	return h.notFollowed(err, a)
}

// fieldStart is when a process began, in clock ticks since boot (field 22 of
// /proc/PID/stat), where the agent says it.
const fieldStart = "ProcessTicks"

// suspect adds to a request for evidence which process is meant: its number may
// be another one's by the time the order arrives. What is not known stays empty.
func (h *Hub) suspect(ctx context.Context, q action.NewRequest, a alert.Alert) action.NewRequest {
	if q.PID == 0 || len(a.Events) == 0 {
		return q
	}
	q.Image = a.Process[0].Image
	events, err := h.archive.Query(ctx, archive.Query{IDs: a.Events, From: a.First.Add(-time.Hour), Limit: len(a.Events)})
	if err != nil { // it is only more certain with it
		h.log.Warn("the events of an alert cannot be read", "alert", a.ID, "err", err)
		return q
	}
	for _, e := range events { // newest first
		if e.Fields[event.FieldPID] == strconv.Itoa(q.PID) {
			q.Start, _ = strconv.ParseUint(e.Fields[fieldStart], 10, 64) // 0 where it is not said
			return q
		}
	}
	return q
}
