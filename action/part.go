package action

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

const maxObject = 256 // characters

// planPart shows what containing one thing on a machine would stop, or says why
// it must not be.
func (d *Desk) planPart(ctx context.Context, a Action, h asset.Host, q NewRequest) (Action, error) {
	a.Consequences = consequences(h)
	hub, err := d.hosts.HubAddress(ctx, h.ID)
	if err != nil {
		return Action{}, fault.New(fault.Conflict, "action.no-hub-address", h.Name).With(err)
	}
	a.Keep = []string{hub}
	if q.Lease == 0 {
		q.Lease = a.Kind.UsualLease()
	}
	if a.Lease, err = lease(q.Lease); err != nil {
		return Action{}, err
	}
	switch a.Kind {
	case Freeze, Kill:
		err = d.planProcess(ctx, &a, h, q.Process)
	case BlockPeer:
		err = d.planPeers(ctx, &a, h, q.Targets)
	case CutVM:
		err = d.planVM(ctx, &a, h, q.Object)
	case Unmount:
		err = planVolume(&a, h, q.Object)
	case DropSession:
		err = planClients(&a, h, q.Targets)
	default:
		a.Object, err = object(q.Object)
		if err == nil && h.Keep != "" {
			err = fault.New(fault.Denied, "action.keep-listed", h.Name, h.Keep)
		}
	}
	if err != nil {
		return Action{}, err
	}
	return a, nil
}

// planProcess checks that the process is named so that no other one can be
// meant. A machine on the keep-list may have a process frozen, which takes
// nothing else from the ward; people see why it is on the list.
func (d *Desk) planProcess(ctx context.Context, a *Action, h asset.Host, p *order.Process) error {
	if p == nil || p.PID < 2 || p.Start == 0 && (p.Image == "" || a.Kind == Kill) || utf8.RuneCountInString(p.Image) > maxObject { // 1 is the system itself
		return fault.New(fault.Invalid, "action.process")
	}
	clean := *p
	a.Process, a.PID = &clean, p.PID
	if a.Kind != Kill {
		return nil
	}
	frozen, err := d.frozen(ctx, d.db, h.ID, clean)
	if err == nil && len(frozen) == 0 { // freeze first: a dead process tells nothing, and cannot be had back
		return fault.New(fault.Conflict, "action.kill-needs-freeze")
	}
	return err
}

// planPeers checks that the machine keeps the hub, and what the site protects.
func (d *Desk) planPeers(ctx context.Context, a *Action, h asset.Host, targets []string) error {
	if h.Keep != "" {
		return fault.New(fault.Denied, "action.keep-listed", h.Name, h.Keep)
	}
	for _, t := range targets {
		if strings.TrimSpace(t) == "" {
			continue
		}
		t, err := peer(t)
		if err != nil {
			return err
		}
		if !slices.Contains(a.Targets, t) {
			a.Targets = append(a.Targets, t)
		}
	}
	if len(a.Targets) == 0 || len(a.Targets) > maxTargets {
		return fault.New(fault.Invalid, "action.block-targets", maxTargets)
	}
	bare := *a
	bare.Targets = nil
	for _, t := range a.Targets { // the hub at any port is the hub
		if ap, err := netip.ParseAddrPort(t); err == nil {
			t = ap.Addr().String()
		}
		bare.Targets = append(bare.Targets, t)
	}
	return d.harmless(ctx, bare, Carrier{ID: h.ID, Name: h.Name, Site: h.Site, Addresses: h.Addresses, Hub: a.Keep[0]})
}

// planClients checks who is thrown out of the shares of a machine. Only its
// ports of SMB are closed to them, so that the hub may be among them.
func planClients(a *Action, h asset.Host, targets []string) error {
	for _, t := range targets {
		if strings.TrimSpace(t) == "" {
			continue
		}
		t, err := Target(t)
		if err != nil {
			return err
		}
		if _, err := netip.ParseAddr(t); err != nil { // a file server knows no hardware addresses
			return fault.New(fault.Invalid, "action.block-target", t)
		}
		if slices.Contains(h.Addresses, t) {
			return fault.New(fault.Denied, "action.block-gateway", h.Name)
		}
		if !slices.Contains(a.Targets, t) {
			a.Targets = append(a.Targets, t)
		}
	}
	if len(a.Targets) == 0 || len(a.Targets) > maxTargets {
		return fault.New(fault.Invalid, "action.block-targets", maxTargets)
	}
	return nil
}

// peer writes whom a machine is not to talk to in one form: an address, an
// address with a port, or a name as TLS and DNS tell it.
func peer(text string) (string, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if ap, err := netip.ParseAddrPort(text); err == nil && ap.Port() != 0 {
		a, err := Target(ap.Addr().String())
		if err != nil {
			return "", err
		}
		return netip.AddrPortFrom(netip.MustParseAddr(a), ap.Port()).String(), nil
	}
	if hostname.MatchString(text) && len(text) <= 253 {
		return text, nil
	}
	return Target(text)
}

// hostname is a DNS name of two labels and more whose last one is no number
// (RFC 1123, RFC 3696).
var hostname = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// memoryKept refuses to kill while the evidence of the machine is still on its
// way: the memory of the process is part of it, and it is gone afterwards.
func (d *Desk) memoryKept(ctx context.Context, a Action) error {
	under, err := list[Action](ctx, d.db, `SELECT body FROM action WHERE incident = $1 AND host = $2 AND kind = $3 AND state IN ('approved', 'applied')`,
		a.Incident, a.Host, string(Preserve))
	if err == nil && slices.ContainsFunc(under, func(o Action) bool { return !onlyPackets(o.Packets) }) {
		return fault.New(fault.Conflict, "action.kill-needs-evidence")
	}
	return err
}

// frozen returns the freezes of a process that are, or may be, in force.
func (d *Desk) frozen(ctx context.Context, q querier, host string, p order.Process) ([]Action, error) {
	all, err := list[Action](ctx, q, `SELECT body FROM action WHERE host = $1 AND kind = $2 AND state IN ('applied', 'verified', 'releasing')`, host, string(Freeze))
	return slices.DeleteFunc(all, func(o Action) bool { return o.Process == nil || !sameProcess(*o.Process, p) }), err
}

// killed ends the freezes of a process that is gone.
func (d *Desk) killed(ctx context.Context, tx *state.Tx, a Action) error {
	if a.State != Verified {
		return nil
	}
	frozen, err := d.frozen(ctx, inTx{tx}, a.Host, *a.Process)
	if err != nil {
		return fmt.Errorf("freezes of a killed process: %w", err)
	}
	for _, o := range frozen {
		o.Cause, o.EndedAt = "killed", a.VerifiedAt
		if err := d.withdraw(ctx, tx, o.ID); err != nil {
			return err
		}
		if err := d.change(ctx, tx, &o, Released); err != nil {
			return err
		}
	}
	return nil
}

// sameProcess compares by number and start; an agent that could not tell the
// start is taken at its word.
func sameProcess(a, b order.Process) bool {
	return a.PID == b.PID && (a.Start == 0 || b.Start == 0 || a.Start == b.Start)
}

// processName is how people call a process.
func processName(p order.Process) string {
	name := path.Base(strings.ReplaceAll(p.Image, `\`, "/"))
	if p.Image == "" {
		return fmt.Sprintf("PID %d", p.PID)
	}
	return fmt.Sprintf("%s (PID %d)", name, p.PID)
}

// object checks the name of what is contained.
func object(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || utf8.RuneCountInString(name) > maxObject || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, unicode.IsControl) {
		return "", fault.New(fault.Invalid, "action.object")
	}
	return name, nil
}

// consequences are what stops in the wards with a machine.
func consequences(h asset.Host) []Consequence {
	out := []Consequence{}
	for _, s := range h.Services {
		out = append(out, Consequence{Service: s.Name, Effect: s.Effect, Load: s.Load})
	}
	return out
}

func joined(targets []string) string { return strings.Join(targets, " ") }
