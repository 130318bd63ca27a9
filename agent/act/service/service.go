// Package service stops a service of this machine and keeps it from starting.
//
// In: orders that name a unit of systemd. Out: the unit stopped, and a drop-in
// that lets every start fail, whoever asks for it: a person, a dependency, a
// socket, a reboot. Always true: this program, the way in and the network are
// never stopped, under whatever name they are called; the unit's own files are
// not touched; what comes back runs if it ran before. The drop-in is on the
// disk, so that the service does not come up for a moment after a reboot.
//
// A mask would not do: systemd masks no unit whose file lies in /etc, as those
// of hospitals' own software do.
package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/clock"
)

// Reasons for refusing an order: stable words.
const (
	noSystemd = "service-manager-missing"
	badName   = "service-name"
	unknown   = "service-unknown"
	needed    = "service-is-needed"
)

// Where systemd is, and where it reads what administrators add to units.
const (
	booted  = "/run/systemd/system" // sd_booted(3)
	added   = "/etc/systemd/system"
	dropIn  = "90-sonae-stopped.conf"
	because = "# Sonae stopped this service by order. sonae-agent release CODE lets it start again;\n# without an agent: remove this file, systemctl daemon-reload, systemctl start.\n[Unit]\nAssertPathExists=!/\n"
)

// stopTime bounds stopping: systemd kills after 90 s by default.
const stopTime = 2 * time.Minute

// spared are the units without which the machine could not be reached or run,
// by their names without the type; a star stands for any end.
var spared = []string{"sonae*", "ssh", "sshd", "ssh@*", "sshd@*", "dropbear", "systemd-*", "dbus*", "network", "networking", "NetworkManager*", "ifup@*",
	"wpa_supplicant*", "dhcpcd*", "connman", "getty@*", "serial-getty@*", "console-getty", "init", "-", "polkit*", "user@*", "user-runtime-dir@*",
	"wg-quick@*", "openvpn*", "strongswan*", "ipsec", "nftables", "firewalld", "iptables", "tailscaled", "netplan*", "cloud-init*", "auditd"}

// unitName is what a person may call a unit; nothing of it is an option or a path.
var unitName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_.\\@-]{0,200}$`)

// Means stops services.
type Means struct {
	Spared []string // units that are never stopped, besides those that everybody needs
	Now    clock.Now
}

// prior is a service as it was.
type prior struct {
	Unit   string `json:"unit"` // its own name, of all that it is called
	Active bool   `json:"active"`
}

// MayCutHub says that the hub is asked afterwards.
func (Means) MayCutHub() {}

// Kinds are those of stopping and starting a service.
func (Means) Kinds() (apply, undo order.Kind) { return order.StopService, order.StartService }

// Subject is the unit as the order calls it.
func (Means) Subject(o order.Order) string { return full(o.Object) }

func full(name string) string {
	if strings.HasSuffix(name, ".service") {
		return name
	}
	return name + ".service"
}

// Precheck refuses what is not there and what must go on.
func (m Means) Precheck(ctx context.Context, o order.Order) (any, error) {
	if _, err := os.Stat(booted); err != nil {
		return nil, fmt.Errorf("%s: this machine was not started by systemd", noSystemd)
	}
	if !unitName.MatchString(o.Object) {
		return nil, fmt.Errorf("%s: %q", badName, o.Object)
	}
	show, err := properties(ctx, full(o.Object))
	if err != nil {
		return nil, err
	}
	if show["LoadState"] != "loaded" {
		return nil, fmt.Errorf("%s: %s (%s)", unknown, o.Object, show["LoadState"])
	}
	for _, property := range []string{"Id", "Names", "RequiredBy", "BoundBy", "ConsistsOf"} { // the last three stop with it
		for name := range strings.FieldsSeq(show[property]) {
			if m.spares(name) {
				return nil, fmt.Errorf("%s: %s", needed, name)
			}
		}
	}
	if own(show["ControlGroup"]) {
		return nil, fmt.Errorf("%s: this program runs in %s", needed, show["Id"])
	}
	return prior{Unit: show["Id"], Active: running(show)}, nil
}

func running(show map[string]string) bool {
	return slices.Contains([]string{"active", "activating", "reloading"}, show["ActiveState"])
}

func (m Means) spares(unit string) bool {
	name := strings.TrimSuffix(unit, ".service")
	return slices.ContainsFunc(append(slices.Clone(spared), m.Spared...), func(s string) bool {
		s = strings.TrimSuffix(s, ".service")
		if start, ok := strings.CutSuffix(s, "*"); ok {
			return strings.HasPrefix(name, start)
		}
		return name == s
	})
}

// own says whether this program runs in a cgroup.
func own(group string) bool {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil || group == "" || group == "/" {
		return false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && (f[2] == group || strings.HasPrefix(f[2], group+"/")) {
			return true
		}
	}
	return false
}

// Apply keeps the service from starting, then stops it.
func (m Means) Apply(ctx context.Context, r contain.Row, _ time.Duration) error {
	var p prior
	if err := r.Read(&p); err != nil {
		return err
	}
	if err := add(p.Unit); err != nil {
		return err
	}
	if _, err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	_, err := systemctl(ctx, "stop", "--", p.Unit)
	return err
}

func folder(unit string) string { return filepath.Join(added, unit+".d") }

// add puts the drop-in there, whole or not at all.
func add(unit string) error {
	if err := os.MkdirAll(folder(unit), 0o755); err != nil {
		return fmt.Errorf("keep %s from starting: %w", unit, err)
	}
	path := filepath.Join(folder(unit), dropIn)
	err := os.WriteFile(path+".new", []byte(because), 0o644) // systemd reads names that end in .conf only
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("keep %s from starting: %w", unit, err)
	}
	return nil
}

// Verify looks whether it stands, and whether it could start.
func (m Means) Verify(ctx context.Context, r contain.Row) []order.Check {
	stopped, kept := m.check("service-stopped", r), m.check("service-kept", r)
	var p prior
	show, err := m.look(ctx, r, &p)
	if err != nil {
		stopped.Detail, kept.Detail = err.Error(), err.Error()
		return []order.Check{stopped, kept}
	}
	stopped.OK, stopped.Detail = show["ActiveState"] == "inactive" || show["ActiveState"] == "failed", show["ActiveState"]
	kept.OK = strings.Contains(show["DropInPaths"], dropIn)
	return []order.Check{stopped, kept}
}

func (m Means) look(ctx context.Context, r contain.Row, p *prior) (map[string]string, error) {
	if err := r.Read(p); err != nil {
		return nil, err
	}
	return properties(ctx, p.Unit)
}

// Undo lets it start, and starts it if it ran.
func (m Means) Undo(ctx context.Context, r contain.Row) error {
	var p prior
	if err := r.Read(&p); err != nil {
		return err
	}
	for _, f := range []string{dropIn, dropIn + ".new"} {
		if err := os.Remove(filepath.Join(folder(p.Unit), f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("let %s start: %w", p.Unit, err)
		}
	}
	_ = os.Remove(folder(p.Unit)) // not when others have something in it
	if _, err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if !p.Active {
		return nil
	}
	_, err := systemctl(ctx, "start", "--", p.Unit)
	return err
}

// Undone looks whether it runs if it ran, and may start.
func (m Means) Undone(ctx context.Context, r contain.Row) []order.Check {
	c := m.check("service-back", r)
	var p prior
	show, err := m.look(ctx, r, &p)
	if err != nil {
		c.Detail = err.Error()
		return []order.Check{c}
	}
	c.Detail = show["ActiveState"]
	c.OK = !strings.Contains(show["DropInPaths"], dropIn) && (!p.Active || running(show))
	return []order.Check{c}
}

// State looks whether somebody started it, or let it start.
func (m Means) State(ctx context.Context, r contain.Row) (contain.State, error) {
	var p prior
	show, err := m.look(ctx, r, &p)
	switch {
	case err != nil:
		return contain.Holds, err
	case running(show) || !strings.Contains(show["DropInPaths"], dropIn):
		return contain.Lost, nil
	}
	return contain.Holds, nil
}

func (m Means) check(name string, r contain.Row) order.Check {
	return order.Check{Name: name, Target: r.Order.Object, At: m.Now().UTC()}
}

// properties asks systemd about a unit.
func properties(ctx context.Context, unit string) (map[string]string, error) {
	out, err := systemctl(ctx, "show", "--property=Id,Names,LoadState,ActiveState,DropInPaths,ControlGroup,RequiredBy,BoundBy,ConsistsOf", "--", unit)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			all[k] = v
		}
	}
	return all, nil
}

func systemctl(ctx context.Context, args ...string) (string, error) {
	ctx, stop := context.WithTimeout(ctx, stopTime)
	defer stop()
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("systemctl %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}
