package hub

import (
	"context"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/action/device/hook"
	"github.com/sonae/sonae/action/device/radius"
	"github.com/sonae/sonae/action/device/snmp"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// openActions makes the desk of actions with those who carry them out beside
// agents: devices that this hub tells.
func (h *Hub) openActions() {
	now := h.cfg.Now
	h.devices = device.NewStore(h.state, h.keys, now)
	h.actions = action.New(h.state, h.keys.Order(), machines{h.assets, h.cfg}, h.devices, now, h.part("action"))
	nas, list := radius.New(now), hook.NewList(now)
	h.runner = device.NewRunner(h.devices, h.actions, h.orderKey(), map[action.Means]device.Connector{
		action.PortDown: snmp.Connector{}, action.VLAN: snmp.Connector{},
		action.Disconnect: nas, action.CoA: nas,
		action.Hook: hook.Connector{}, action.List: list,
	}, now, h.part("device"))
}

// devices are the store and what asks devices.
type devices struct {
	*device.Store
	*device.Runner
}

// machines is the register with the addresses that the hub itself knows of.
type machines struct {
	*asset.Registry
	cfg Config
}

// Hubs adds this machine's own addresses to those that agents tell.
func (m machines) Hubs(ctx context.Context) ([]string, error) {
	all, err := m.Registry.Hubs(ctx)
	_, ips := m.cfg.names()
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	return all, err
}

// alarm makes an alert of a device that cannot be told to undo a block.
func (h *Hub) alarm(ctx context.Context, s device.Stuck) error {
	return h.alerts.Handle(ctx, s.Finding())
}

// follow lets one hub of all follow alerts, so that one machine is blocked once.
func (h *Hub) follow(ctx context.Context) error { return h.bus.Handle(ctx, "block") }

// blockCertain follows an alert where the site has approved that beforehand:
// an incident opens, and the machine is blocked.
func (h *Hub) blockCertain(ctx context.Context, a alert.Alert) error {
	if a.Drill || a.State != alert.Open || !a.Certain() {
		return nil
	}
	t := action.Trigger{Alert: a.ID, Site: a.Site, Certain: true, Host: a.Host}
	_, err := h.assets.Host(ctx, a.Host)
	if err != nil && fault.Of(err) != fault.Missing {
		return err
	}
	if err != nil { // a sensor saw a machine that is not enrolled: its address is known
		events, err := h.archive.Query(ctx, archive.Query{IDs: a.Events, From: a.First.Add(-time.Hour), Limit: len(a.Events)})
		if err != nil {
			return err
		}
		t.Host, t.Targets = "", action.Inside(events)
	}
	q, ok, err := h.actions.Automatic(ctx, t)
	if err != nil || !ok {
		return h.notFollowed(err, a)
	}
	if q.Incident = a.Incident; q.Incident == "" {
		in, err := h.incidents.Open(ctx, incident.NewIncident{Title: a.Rule.Title.In("ja"), Severity: a.Severity, Alerts: []string{a.ID},
			Sites: []string{a.Site}, Hosts: []string{a.Host}}, auth.Person{ID: action.Hub})
		if err != nil {
			return h.notFollowed(err, a)
		}
		q.Incident = in.ID
	}
	q.Reason = a.Rule.Title.In("ja")
	return h.notFollowed(h.actions.Follow(ctx, q, t), a)
}

// notFollowed says why nothing was blocked by itself. What people must decide
// is no error of the flow: the alert waits for them anyway.
func (h *Hub) notFollowed(err error, a alert.Alert) error {
	if err == nil || fault.Of(err) == "" {
		return err
	}
	h.log.Info("not blocked by itself", "alert", a.ID, "err", err)
	return nil
}
