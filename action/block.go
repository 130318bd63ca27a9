package action

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
)

// Carrier is who can carry a block out.
type Carrier struct {
	ID        string
	Name      string
	Site      string
	Means     Means
	Addresses []string // its own, which it must never block
	Hub       string   // ip:port at which it reaches the hub; empty: the hub reaches it
}

// DevicePrefix begins the ids of devices; those of hosts begin differently.
const DevicePrefix = "dev-"

const maxTargets = 32

// carrier returns who is to carry a block out.
func (d *Desk) carrier(ctx context.Context, id string) (Carrier, error) {
	if strings.HasPrefix(id, DevicePrefix) {
		c, err := d.devs.Carrier(ctx, id)
		if err != nil {
			return c, fmt.Errorf("device of a block: %w", err)
		}
		return c, nil
	}
	h, err := d.hosts.Host(ctx, id)
	if err != nil {
		return Carrier{}, fmt.Errorf("gateway of a block: %w", err)
	}
	if !h.Health.Gateway || !h.RemovedAt.IsZero() {
		return Carrier{}, fault.New(fault.Conflict, "action.no-gateway", h.Name)
	}
	hub, err := d.hosts.HubAddress(ctx, h.ID)
	if err != nil {
		return Carrier{}, fault.New(fault.Conflict, "action.no-hub-address", h.Name).With(err)
	}
	return Carrier{ID: h.ID, Name: h.Name, Site: h.Site, Means: Gateway, Addresses: h.Addresses, Hub: hub}, nil
}

// planBlock shows what a block would stop, or says why it must not be: nothing
// on the keep-list, no hub, no gateway, no device and nothing that the site
// protects is ever blocked. It is asked again before the order goes out.
func (d *Desk) planBlock(ctx context.Context, q NewRequest) (Action, error) {
	c, err := d.carrier(ctx, q.Via)
	if err != nil {
		return Action{}, err
	}
	a := Action{Kind: Block, Incident: q.Incident, Host: q.Host, Site: c.Site, Reason: strings.TrimSpace(q.Reason), PID: q.PID,
		Means: c.Means, Via: c.ID, ViaName: c.Name, Consequences: []Consequence{}, Keep: []string{}}
	if q.Drill { // devices and gateways are real: a practice must not touch them
		return Action{}, fault.New(fault.Conflict, "action.drill-mixed", c.Name)
	}
	if a.Lease, err = lease(q.Lease); err != nil {
		return Action{}, err
	}
	blocked, err := d.blockedHosts(ctx, &a, q.Targets)
	if err != nil {
		return Action{}, err
	}
	if err := d.harmless(ctx, a, c); err != nil {
		return Action{}, err
	}
	if err := d.keepHubs(ctx, &a); err != nil {
		return Action{}, err
	}
	for _, h := range blocked {
		for _, s := range h.Services {
			a.Consequences = append(a.Consequences, Consequence{Service: s.Name, Effect: s.Effect, Load: s.Load})
		}
		if a.Means == Gateway && h.Hub != "" && !slices.Contains(a.Keep, h.Hub) { // so that its agent can still hand over evidence
			a.Keep = append(a.Keep, h.Hub)
		}
	}
	return a, nil
}

// keepHubs lets agents behind a line that is cut reach the hubs all the same.
func (d *Desk) keepHubs(ctx context.Context, a *Action) error {
	if !slices.ContainsFunc(a.Targets, func(t string) bool { _, ok := order.LineOf(t); return ok }) {
		return nil
	}
	hubs, err := d.hosts.Hubs(ctx)
	if err != nil {
		return fmt.Errorf("addresses of the hub: %w", err)
	}
	for _, h := range hubs {
		if ap, err := netip.ParseAddrPort(h); err == nil {
			a.Keep = append(a.Keep, ap.String())
		}
	}
	return nil
}

// blockedHosts fills in the targets of a and returns the registered machines
// that they belong to.
func (d *Desk) blockedHosts(ctx context.Context, a *Action, targets []string) ([]asset.Host, error) {
	var blocked []asset.Host
	if a.Host != "" {
		h, err := d.hosts.Host(ctx, a.Host)
		if err != nil {
			return nil, fmt.Errorf("block host %s: %w", a.Host, err)
		}
		blocked = append(blocked, h)
		if len(targets) == 0 {
			targets = slices.DeleteFunc(slices.Clone(h.Addresses), func(a string) bool { _, err := Target(a); return err != nil }) // those of the link only
		}
	}
	for _, t := range targets {
		if strings.TrimSpace(t) == "" {
			continue
		}
		if _, ok := order.LineOf(strings.TrimSpace(t)); ok && a.Means == Gateway {
			a.Targets = append(a.Targets, strings.TrimSpace(t))
			continue
		}
		t, err := Target(t)
		if err != nil {
			return nil, err
		}
		if slices.Contains(a.Targets, t) {
			continue
		}
		a.Targets = append(a.Targets, t)
		at, err := d.hosts.HostsAt(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("hosts at a blocked address: %w", err)
		}
		for _, h := range at {
			if !slices.ContainsFunc(blocked, func(o asset.Host) bool { return o.ID == h.ID }) {
				blocked = append(blocked, h)
			}
		}
	}
	if len(a.Targets) == 0 || len(a.Targets) > maxTargets {
		return nil, fault.New(fault.Invalid, "action.block-targets", maxTargets)
	}
	for _, h := range blocked {
		if err := blockable(*a, h); err != nil {
			return nil, err
		}
	}
	if a.Host == "" && len(blocked) == 1 {
		a.Host = blocked[0].ID
	}
	return blocked, nil
}

// blockable says why a registered machine must not be blocked, or nil.
func blockable(a Action, h asset.Host) error {
	switch {
	case h.Drill:
		return fault.New(fault.Conflict, "action.drill-mixed", h.Name)
	case h.Keep != "":
		return fault.New(fault.Denied, "action.keep-listed", h.Name, h.Keep)
	case h.Class == "medical":
		return fault.New(fault.Denied, "action.block-medical", h.Name)
	case h.Health.Gateway || h.ID == a.Via:
		return fault.New(fault.Denied, "action.block-gateway", h.Name)
	}
	return nil
}

// Target writes an address of a machine in the one form that is compared:
// an IP address, or a hardware address in lower case with colons.
func Target(text string) (string, error) {
	text = strings.TrimSpace(text)
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		if a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return "", fault.New(fault.Invalid, "action.block-target", text)
		}
		return a.String(), nil
	}
	m, err := net.ParseMAC(text)
	if err != nil || len(m) != 6 || m[0]&1 != 0 || bytes.Equal(m, make([]byte, 6)) { // a group of machines is no machine
		return "", fault.New(fault.Invalid, "action.block-target", text)
	}
	return m.String(), nil
}

// harmless refuses what would cut off the hub, whoever carries the block out,
// or something that the site protects.
func (d *Desk) harmless(ctx context.Context, a Action, c Carrier) error {
	limits, err := d.Limits(ctx, c.Site)
	if err != nil {
		return err
	}
	hubs, err := d.hosts.Hubs(ctx)
	if err != nil {
		return fmt.Errorf("addresses of the hub: %w", err)
	}
	for _, t := range a.Targets {
		if slices.ContainsFunc(append(hubs, c.Hub), func(h string) bool { return sameAddress(h, t) }) {
			return fault.New(fault.Denied, "action.block-hub", t)
		}
		if slices.ContainsFunc(c.Addresses, func(o string) bool { return sameAddress(o, t) }) {
			return fault.New(fault.Denied, "action.block-gateway", c.Name)
		}
		for _, p := range limits.Protected {
			if p.covers(t) {
				return fault.New(fault.Denied, "action.block-protected", t, p.Why)
			}
		}
	}
	return nil
}

// sameAddress compares what may carry a port with a target.
func sameAddress(a, target string) bool {
	if ap, err := netip.ParseAddrPort(a); err == nil {
		return ap.Addr().Unmap().WithZone("").String() == target
	}
	t, err := Target(a)
	return err == nil && t == target
}
