package agent

import (
	"context"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/screen"
)

// maxNote bounds how long a message may stay on the screens.
const maxNote = time.Hour

// show puts a message on the screens of this machine. Each session that shows
// it, and each person who has seen it, is told at once: as an answer to the
// order, and what was seen as an event, too.
func (a *Agent) show(ctx context.Context, o order.Order) order.Result {
	r := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind}
	n := *o.Note
	n.For = min(n.For, maxNote, o.ExpiresAt.Sub(a.now()))
	if n.For <= 0 {
		r.Phase, r.Detail, r.At = order.Rejected, "expired", a.now().UTC()
		return r
	}
	shown := 0
	err := a.parts.Show(ctx, n, func(s screen.Sign) {
		name := order.NoteShown
		if s.Seen {
			name = order.NoteSeen
			a.urgent(a.own(order.NoteSeen, map[string]string{"Message": o.Action, "Session": s.Session, "User": s.User}))
		} else {
			shown++
		}
		at := a.now().UTC()
		a.answer(order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Progress, At: at,
			Checks: []order.Check{{Name: name, Target: s.Session, Detail: s.User, OK: true, At: at}}})
	})
	r.Phase, r.At = order.Done, a.now().UTC()
	switch {
	case shown > 0:
	case err != nil:
		r.Phase, r.Detail = order.Failed, err.Error()
	default:
		r.Phase, r.Detail = order.Rejected, "nobody-logged-in"
	}
	return r
}
