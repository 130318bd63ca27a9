package hub

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/silence"
)

// follow lets one hub of all follow alerts and what agents froze, so that one
// machine is blocked once, and one incident is opened.
func (h *Hub) follow(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.bus.Handle(ctx, "block") })
	g.Go(func() error { return h.bus.Handle(ctx, "frozen") })
	g.Go(func() error { return h.bus.Handle(ctx, "keep-frozen") })
	g.Go(func() error { return h.bus.Handle(ctx, "cut-repositories") })
	return g.Wait()
}

// answer follows an alert as people approved beforehand: an incident opens, and
// the actions begin.
func (h *Hub) answer(ctx context.Context, a alert.Alert) error {
	if a.Drill || a.State != alert.Open {
		return nil
	}
	t, err := h.trigger(ctx, a)
	if err != nil {
		return err
	}
	todo, refused, err := h.actions.Automatic(ctx, t)
	if err != nil {
		return h.notFollowed(err, a)
	}
	for _, why := range refused {
		h.log.Info("not done by itself", "alert", a.ID, "err", why)
	}
	for _, w := range todo {
		in, err := h.caseOf(ctx, a)
		if err == nil {
			err = h.actions.Follow(ctx, w, t, in)
		}
		if err := h.notFollowed(err, a); err != nil {
			return err
		}
	}
	return nil
}

// trigger is an alert with its machine. That of a machine that is not enrolled,
// which a sensor saw, has the addresses that are certain.
func (h *Hub) trigger(ctx context.Context, a alert.Alert) (action.Trigger, error) {
	t := action.Trigger{Alert: a}
	host, err := h.assets.Host(ctx, a.Host)
	if err == nil {
		t.Host = host
		return t, nil
	}
	if fault.Of(err) != fault.Missing {
		return t, err
	}
	events, err := h.archive.Query(ctx, archive.Query{IDs: a.Events, From: a.First.Add(-time.Hour), Limit: len(a.Events)})
	t.Targets = action.Inside(events)
	return t, err
}

// caseOf is the incident of an alert, which is opened if there is none.
func (h *Hub) caseOf(ctx context.Context, a alert.Alert) (string, error) {
	h.opening.Lock()
	defer h.opening.Unlock()
	a, err := h.alerts.Get(ctx, a.ID)
	if err != nil || a.Incident != "" {
		return a.Incident, err
	}
	in, err := h.incidents.Open(ctx, incident.NewIncident{Title: a.Rule.Title.In("ja"), Severity: a.Severity, Alerts: []string{a.ID},
		Sites: []string{a.Site}, Hosts: []string{a.Host}, Drill: a.Drill}, auth.Person{ID: action.Hub})
	if other, taken := incident.Taken(err); taken { // somebody did so this moment, and the alert does not say it yet
		return other, nil
	}
	if err != nil {
		return "", err
	}
	return in.ID, h.alerts.Link(ctx, a.ID, in.ID)
}

// frozen makes actions of what agents froze by themselves, and of clients that
// they threw out of shares, in the incident of the alert about it, so that a
// person decides what becomes of it, and ends those whose process stands still
// no more.
func (h *Hub) frozen(ctx context.Context, found []detect.Finding) error {
	for _, f := range found {
		for _, e := range action.EndedIn(f) {
			if err := h.actions.Ended(ctx, f.Host, e.Process, e.Cause, e.At); err != nil {
				return err
			}
		}
		all, dropped := action.FrozenIn(f), action.DroppedIn(f)
		if len(all)+len(dropped) == 0 {
			continue
		}
		a, err := h.alerts.Of(ctx, f)
		if err != nil {
			return err
		}
		in, err := h.caseOf(ctx, a)
		if err != nil {
			return h.notFollowed(err, a)
		}
		for _, z := range all {
			z.Incident, z.Alert = in, a.ID
			if err := h.notFollowed(h.actions.Frozen(ctx, z), a); err != nil {
				return err
			}
		}
		for _, x := range dropped {
			x.Incident, x.Alert = in, a.ID
			if err := h.notFollowed(h.actions.Dropped(ctx, x), a); err != nil {
				return err
			}
			if err := h.notFollowed(h.actions.IsolateClient(ctx, x), a); err != nil {
				return err
			}
		}
	}
	return nil
}

// notFollowed says why nothing was done by itself. What people must decide is
// no error of the flow: the alert waits for them anyway.
func (h *Hub) notFollowed(err error, a alert.Alert) error {
	if err == nil || fault.Of(err) == "" {
		return err
	}
	h.log.Info("not done by itself", "alert", a.ID, "err", err)
	return nil
}

// silence notices machines that are not heard any more.
func (h *Hub) silence() *silence.Watch {
	return silence.New(silence.Deps{Hosts: h.assets, Alerts: h.alerts, Guarded: h.actions.Guarded, Planned: h.thresholds.Planned, After: h.cfg.Silent, Now: h.cfg.Now, Log: h.part("silence")})
}
