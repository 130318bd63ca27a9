package hub

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/desktop"
	"github.com/sonae/sonae/notify/mail"
	"github.com/sonae/sonae/notify/webhook"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/dispatch"
)

// openNotices makes the desk that tells people.
func (h *Hub) openNotices() {
	web := webhook.Sender{Now: h.cfg.Now}
	senders := map[notify.Kind]notify.Sender{}
	for _, k := range notify.Kinds() {
		senders[k] = web
	}
	senders[notify.Mail] = mail.Sender{}
	h.screens = desktop.New(h.state, h.keys.Order(), h.assets, h.cfg.Now)
	senders[notify.Desktop] = h.screens
	h.notices = notify.New(h.state, notify.Deps{Keys: h.keys, People: h.people, Names: h.assets.Names, Senders: senders,
		Address: func() string { return "https://" + h.address(h.cfg.Listen) }, Now: h.cfg.Now, Log: h.log})
}

// pending are all orders that a machine has not answered yet.
func (h *Hub) pending(ctx context.Context, host string) ([]order.Signed, error) {
	orders, err := h.actions.Pending(ctx, host)
	if err != nil {
		return nil, err
	}
	notes, err := h.screens.Pending(ctx, host)
	if err != nil {
		return nil, err
	}
	jobs, err := h.jobs.Pending(ctx, host)
	return slices.Concat(orders, notes, jobs), err
}

// result takes what a machine answers to an order.
func (h *Hub) result(ctx context.Context, r order.Result) error {
	if dispatch.Ours(r) {
		return h.jobs.Result(ctx, r)
	}
	if r.Kind != order.Show {
		return h.actions.Result(ctx, r)
	}
	shown, err := h.screens.Result(ctx, r)
	for _, s := range shown {
		err = errors.Join(err, h.notices.Shown(ctx, s))
	}
	return err
}

// tellPeople lets one hub of all call people, so that nobody is told twice.
func (h *Hub) tellPeople(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, join := range []string{"notify", "notify-taken", "notify-policy", "notify-duty", "notify-decided", "notify-decision", "notify-step", "notify-task", "notify-record"} {
		g.Go(func() error { return h.bus.Handle(ctx, join) })
	}
	g.Go(func() error { return h.notices.Run(ctx) })
	g.Go(func() error { return h.tasks.Watch(ctx) })
	g.Go(func() error { return h.duties.Watch(ctx, h.incidents, h.notices.Raise) })
	g.Go(func() error { return h.decisions.Watch(ctx, h.notices.Raise) })
	g.Go(func() error { return record.Watch(ctx, h.log, h.paper.Due, h.notices.Raise) })
	g.Go(func() error { return record.Watch(ctx, h.log, h.causes.Due, h.notices.Raise) })
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
	if in.State == incident.Ended { // its clocks, decisions and tasks are nobody's business any more
		for _, kind := range []string{notify.OfDuty, notify.OfDecision, notify.OfTask} {
			if err := h.notices.Follow(ctx, kind, in.ID+"/", nil, in.Commander); err != nil {
				return err
			}
		}
	}
	return h.notices.TakenOver(ctx, in.ID, in.Commander)
}

// tellClocks follows what people state: a clock that was met calls nobody.
func (h *Hub) tellClocks(ctx context.Context, c duty.Changed) error {
	return h.clocksNow(ctx, c.Incident, c.By)
}

// tellDecided does the same for what people decide.
func (h *Hub) tellDecided(ctx context.Context, d duty.Decision) error {
	return h.clocksNow(ctx, d.Incident, d.By)
}

// tellHolidays does the same when holidays moved clocks.
func (h *Hub) tellHolidays(ctx context.Context, m duty.HolidaysMoved) error {
	return h.clocksNow(ctx, m.Incident, m.By)
}

// clocksNow holds the calls about clocks of an incident to what the duties say now.
func (h *Hub) clocksNow(ctx context.Context, id, by string) error {
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

// tellReviews follows what people decide: a decision that another one took the
// place of waits for no review.
func (h *Hub) tellReviews(ctx context.Context, c decision.Changed) error {
	in, err := h.incidents.Get(ctx, c.Incident)
	if err != nil {
		return err
	}
	causes, err := h.decisions.Causes(ctx, in)
	if err != nil {
		return err
	}
	return h.notices.Follow(ctx, notify.OfDecision, in.ID+"/", causes, c.By)
}

// tellStep tells of late steps until they are over.
func (h *Hub) tellStep(ctx context.Context, c playbook.Change) error {
	causes, err := h.books.Causes(ctx, c.Run)
	if err != nil {
		return err
	}
	return h.notices.Follow(ctx, notify.OfStep, c.Run+"/", causes, c.By)
}

// tellTask tells of late tasks until they are over.
func (h *Hub) tellTask(ctx context.Context, r task.Record) error {
	if r.Kind != task.KindTask {
		return nil
	}
	causes, err := h.tasks.Causes(ctx, r.Incident)
	if err != nil {
		return err
	}
	return h.notices.Follow(ctx, notify.OfTask, r.Incident+"/", causes, r.By)
}

// tellRecord tells of promised calls and improvements until they are done.
func (h *Hub) tellRecord(ctx context.Context, v record.Version) error {
	calls, err := h.paper.Causes(ctx, v)
	if err != nil {
		return err
	}
	measures, err := h.causes.Causes(ctx, v)
	if err != nil {
		return err
	}
	return errors.Join(h.notices.Follow(ctx, notify.OfCallBack, v.ID+"/", calls, v.By), h.notices.Follow(ctx, notify.OfMeasure, v.ID+"/", measures, v.By))
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
