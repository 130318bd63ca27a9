package hub

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/mail"
	"github.com/sonae/sonae/notify/webhook"
	"github.com/sonae/sonae/playbook"
)

// openNotices makes the desk that tells people.
func (h *Hub) openNotices() {
	web := webhook.Sender{Now: h.cfg.Now}
	senders := map[notify.Kind]notify.Sender{}
	for _, k := range notify.Kinds() {
		senders[k] = web
	}
	senders[notify.Mail] = mail.Sender{}
	h.notices = notify.New(h.state, notify.Deps{Keys: h.keys, People: h.people, Names: h.assets.Names, Senders: senders,
		Address: func() string { return "https://" + h.address(h.cfg.Listen) }, Now: h.cfg.Now, Log: h.log})
}

// tellPeople lets one hub of all call people, so that nobody is told twice.
func (h *Hub) tellPeople(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, join := range []string{"notify", "notify-taken", "notify-policy", "notify-duty", "notify-decided", "notify-step"} {
		g.Go(func() error { return h.bus.Handle(ctx, join) })
	}
	g.Go(func() error { return h.notices.Run(ctx) })
	g.Go(func() error { return h.duties.Watch(ctx, h.incidents, h.notices.Raise) })
	return g.Wait()
}

// tell follows an alert as it is now, not as it was when the message was
// written: somebody may be on it already.
func (h *Hub) tell(ctx context.Context, m alert.Alert) error {
	a, err := h.alerts.Get(ctx, m.ID)
	if err != nil {
		return err
	}
	commander := ""
	if a.Incident != "" {
		in, err := h.incidents.Get(ctx, a.Incident)
		if err != nil {
			return err
		}
		commander = in.Commander
	}
	return h.notices.Alert(ctx, a, commander)
}

func (h *Hub) takenOver(ctx context.Context, in incident.Incident) error {
	if in.State == incident.Ended { // its clocks are nobody's business any more
		if err := h.notices.Follow(ctx, notify.OfDuty, in.ID+"/", nil, in.Commander); err != nil {
			return err
		}
	}
	return h.notices.TakenOver(ctx, in.ID, in.Commander)
}

// tellClocks follows what people state: a clock that was met calls nobody.
func (h *Hub) tellClocks(ctx context.Context, c duty.Changed) error {
	return h.followClocks(ctx, c.Incident, c.By)
}

// tellDecided does the same for what people decide.
func (h *Hub) tellDecided(ctx context.Context, d duty.Decision) error {
	return h.followClocks(ctx, d.Incident, d.By)
}

func (h *Hub) followClocks(ctx context.Context, id, by string) error {
	in, err := h.incidents.Get(ctx, id)
	if err != nil {
		return err
	}
	causes, err := h.duties.Causes(ctx, in)
	if err != nil {
		return err
	}
	return h.notices.Follow(ctx, notify.OfDuty, in.ID+"/", causes, by)
}

// tellStep tells of late steps until they are over.
func (h *Hub) tellStep(ctx context.Context, c playbook.Change) error {
	causes, err := h.books.Causes(ctx, c.Run)
	if err != nil {
		return err
	}
	return h.notices.Follow(ctx, notify.OfStep, c.Run+"/", causes, c.By)
}

func (h *Hub) tellPolicy(ctx context.Context, a action.Action) error {
	if a.Tell == "" || a.Alert == "" {
		return nil
	}
	about, err := h.alerts.Get(ctx, a.Alert)
	if err != nil {
		return err
	}
	return h.notices.Policy(ctx, a, about)
}
