// Package vm takes the network from a virtual machine: the machine runs on, and
// talks to nobody.
//
// In: orders that name a virtual machine of libvirt, or one of its interfaces.
// Out: interfaces whose link is down, in the running machine and in what it is
// started from, so that a restart of it changes nothing. Always true: each link
// comes back as it was, one that was down stays down; machines are addressed by
// their UUID, which virsh takes for nothing else.
//
// It speaks to libvirt through its own program virsh; see domif-setlink in
// virsh(1).
package vm

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/clock"
)

// Reasons for refusing an order: stable words.
const (
	badName   = "vm-name"
	unknown   = "vm-unknown"
	twice     = "vm-not-unique"
	noNIC     = "vm-without-network"
	passed    = "vm-passed-through"
	noLibvirt = "vm-manager-missing"
)

// System is the libvirt of the whole machine.
const System = "qemu:///system"

const maxName = 200 // characters

// Means cuts virtual machines.
type Means struct {
	URI string // of libvirt; empty: System
	Now clock.Now
}

// prior is a virtual machine as it was.
type prior struct {
	URI   string `json:"uri"`
	UUID  string `json:"uuid"`
	MAC   string `json:"mac,omitempty"` // of the one interface that is meant; empty: all
	Links []link `json:"links"`
}

// link is one interface. up and down are true as far as there is such a machine.
type link struct {
	MAC    string `json:"mac"`
	Live   state  `json:"live,omitempty"`   // of the machine that runs
	Config state  `json:"config,omitempty"` // of what it is started from
}

// state of a link; empty where there is none.
type state string

const (
	up   state = "up"
	down state = "down"
)

// MayCutHub says that the hub is asked afterwards: it may be the machine, or
// stand behind it.
func (Means) MayCutHub() {}

// Kinds are those of cutting and joining a virtual machine.
func (Means) Kinds() (apply, undo order.Kind) { return order.CutVM, order.JoinVM }

// Subject is the machine with its interface, as the order calls them.
func (Means) Subject(o order.Order) string { return o.Object }

// split takes "VM" or "VM/interface" apart; libvirt allows no slash in a name.
func split(object string) (name, mac string, err error) {
	name, mac, one := strings.Cut(object, "/")
	if name == "" || utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, unicode.IsControl) {
		return "", "", fmt.Errorf("%s: %q", badName, object)
	}
	if !one {
		return name, "", nil
	}
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 {
		return "", "", fmt.Errorf("%s: %q", badName, object)
	}
	return name, hw.String(), nil
}

// Precheck refuses what is not there and what libvirt cannot cut.
func (m Means) Precheck(ctx context.Context, o order.Order) (any, error) {
	name, mac, err := split(o.Object)
	if err != nil {
		return nil, err
	}
	v := virsh{cmp.Or(m.URI, System)}
	all, err := v.domains(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", noLibvirt, err)
	}
	all = slices.DeleteFunc(all, func(d domain) bool { return d.name != name && !strings.EqualFold(d.uuid, name) })
	switch len(all) {
	case 0:
		return nil, fmt.Errorf("%s: %s", unknown, name)
	case 1:
	default: // one is called as the other is numbered
		return nil, fmt.Errorf("%s: %s", twice, name)
	}
	p := prior{URI: v.uri, UUID: all[0].uuid, MAC: mac}
	now, err := v.look(ctx, p.UUID)
	if err != nil {
		return nil, err
	}
	if p.Links, err = now.wanted(mac); err != nil {
		return nil, fmt.Errorf("%w: %s", err, o.Object)
	}
	return p, nil
}

// Apply takes every link down that is not; that of what the machine is started
// from first, so that a restart at this moment does not escape.
func (m Means) Apply(ctx context.Context, r contain.Row, _ time.Duration) error {
	p, now, err := m.found(ctx, r)
	if err != nil {
		return err
	}
	for _, l := range now.only(p.MAC) {
		if err := (virsh{p.URI}).set(ctx, p.UUID, l, link{Config: down, Live: down}); err != nil {
			return err
		}
	}
	return nil
}

// found reads the prior state and looks at the machine.
func (m Means) found(ctx context.Context, r contain.Row) (prior, machine, error) {
	var p prior
	if err := r.Read(&p); err != nil {
		return p, machine{}, err
	}
	now, err := virsh{p.URI}.look(ctx, p.UUID)
	return p, now, err
}

// Verify looks at each link, of what runs and of what it is started from.
func (m Means) Verify(ctx context.Context, r contain.Row) []order.Check {
	p, now, err := m.found(ctx, r)
	if err != nil {
		return []order.Check{m.check("vm-cut", r.Order.Object, err.Error(), false)}
	}
	var out []order.Check
	for _, l := range now.only(p.MAC) {
		if l.Live != "" {
			out = append(out, m.check("vm-cut", r.Order.Object+" "+l.MAC, "link "+string(l.Live), l.Live == down))
		}
		if l.Config != "" {
			out = append(out, m.check("vm-stays-cut", r.Order.Object+" "+l.MAC, "link "+string(l.Config), l.Config == down))
		}
	}
	return out
}

// Undo brings every link back. An interface that was added meanwhile was not
// added to be down.
func (m Means) Undo(ctx context.Context, r contain.Row) error {
	p, now, err := m.found(ctx, r)
	if err != nil || now.gone {
		return err
	}
	for _, l := range now.only(p.MAC) {
		if err := (virsh{p.URI}).set(ctx, p.UUID, l, p.before(l.MAC)); err != nil {
			return err
		}
	}
	return nil
}

// before is how a link was. A machine that did not run had none but that from
// which it was started, and the other way round.
func (p prior) before(mac string) link {
	i := slices.IndexFunc(p.Links, func(l link) bool { return l.MAC == mac })
	if i < 0 {
		return link{MAC: mac, Live: up, Config: up}
	}
	l := p.Links[i]
	return link{MAC: mac, Live: cmp.Or(l.Live, l.Config), Config: cmp.Or(l.Config, l.Live)}
}

// Undone looks whether each link is as it was.
func (m Means) Undone(ctx context.Context, r contain.Row) []order.Check {
	p, now, err := m.found(ctx, r)
	if err != nil {
		return []order.Check{m.check("vm-back", r.Order.Object, err.Error(), false)}
	}
	var out []order.Check
	for _, l := range now.only(p.MAC) {
		was := p.before(l.MAC)
		out = append(out, m.check("vm-back", r.Order.Object+" "+l.MAC, "link "+string(cmp.Or(l.Live, l.Config)),
			(l.Live == "" || l.Live == was.Live) && (l.Config == "" || l.Config == was.Config)))
	}
	return out
}

// State looks whether somebody brought a link up, or added one.
func (m Means) State(ctx context.Context, r contain.Row) (contain.State, error) {
	p, now, err := m.found(ctx, r)
	switch {
	case err != nil:
		return contain.Holds, err
	case now.gone:
		return contain.Void, nil
	}
	for _, l := range now.only(p.MAC) {
		if l.Live == up || l.Config == up {
			return contain.Lost, nil
		}
	}
	return contain.Holds, nil
}

func (m Means) check(name, target, detail string, ok bool) order.Check {
	return order.Check{Name: name, Target: target, Detail: detail, OK: ok, At: m.Now().UTC()}
}
