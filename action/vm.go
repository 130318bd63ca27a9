package action

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
)

// planVM shows what a virtual machine carries, and which of its interfaces lose
// their network. What counts is the virtual machine, where it is in the register
// under its name: a host may be on the keep-list, or carry much, without it.
func (d *Desk) planVM(ctx context.Context, a *Action, h asset.Host, name string) error {
	name, err := object(name)
	if err != nil {
		return err
	}
	a.Object = name
	vm, mac, _ := strings.Cut(name, "/")
	known, err := d.hosts.HostsNamed(ctx, h.Site, vm)
	if err != nil {
		return fmt.Errorf("virtual machine %s: %w", vm, err)
	}
	if len(known) > 0 {
		a.Consequences = []Consequence{}
	} else if h.Keep != "" { // nobody said that this one may be
		return fault.New(fault.Denied, "action.keep-listed", h.Name, h.Keep)
	}
	for _, k := range known {
		if k.Keep != "" {
			return fault.New(fault.Denied, "action.keep-listed", k.Name, k.Keep)
		}
		a.Consequences = append(a.Consequences, consequences(k)...)
	}
	a.Cuts, err = cuts(h, vm, mac)
	return err
}

// cuts are the interfaces that lose their network. A machine that told no list
// is believed when it gets the order.
func cuts(h asset.Host, vm, mac string) ([]string, error) {
	if len(h.Health.VMs) == 0 {
		return nil, nil
	}
	i := slices.IndexFunc(h.Health.VMs, func(v asset.VM) bool { return v.Name == vm })
	if i < 0 {
		return nil, fault.New(fault.Conflict, "action.vm-unknown", h.Name, vm)
	}
	var out []string
	for _, l := range h.Health.VMs[i].Links {
		if l.Up && (mac == "" || strings.EqualFold(mac, l.MAC)) {
			out = append(out, l.MAC+" → "+l.To)
		}
	}
	return out, nil
}
