package hub

import (
	"context"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/action/device/hook"
	"github.com/sonae/sonae/action/device/radius"
	"github.com/sonae/sonae/action/device/snmp"
	restoredrill "github.com/sonae/sonae/protect/drill"
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

// alarmDrill makes an alert of a restore drill that found something wrong, or
// that could not run.
func (h *Hub) alarmDrill(ctx context.Context, r restoredrill.Run) error {
	f, tell := r.Finding()
	if !tell {
		return nil
	}
	return h.alerts.Handle(ctx, f)
}

// alarm makes an alert of a device that cannot be told to undo a block.
func (h *Hub) alarm(ctx context.Context, s device.Stuck) error {
	return h.alerts.Handle(ctx, s.Finding())
}
