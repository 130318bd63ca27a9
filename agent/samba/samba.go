// Package samba speaks with the Samba of this machine: what it shares, who is
// connected, what they do to files.
//
// In: what Samba's own programs print (testparm, smbstatus), and the lines of
// its module full_audit. Out: shares, sessions, operations; and Samba told to
// read its configuration again, to close a share, to end a session. Always
// true: smb.conf is never written to; all that is read is bounded, whoever may
// have chosen the names in it; only a process that is smbd and whose parent is
// smbd is ever ended, so that no number that was given again hits another one.
package samba

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrMissing says that there is no Samba on this machine.
var ErrMissing = errors.New("samba is not installed")

// Bounds.
const (
	maxPrinted = 8 << 20
	toolTime   = 20 * time.Second
)

// Conf is where Debian keeps the configuration.
const Conf = "/etc/samba/smb.conf"

// Server is the Samba of one configuration file.
type Server struct {
	Conf string // smb.conf; empty: Conf
}

// Share is a folder that is shared.
type Share struct {
	Name   string
	Path   string
	Closed bool // available = no
}

// Session is a client that is connected.
type Session struct {
	PID    int
	User   string
	Client netip.Addr
	Shares []string // open ones
}

func (s Server) conf() string {
	if s.Conf == "" {
		return Conf
	}
	return s.Conf
}

// Shares lists what the configuration shares, without global settings.
func (s Server) Shares(ctx context.Context) ([]Share, error) {
	out, err := run(ctx, "testparm", "-s", s.conf())
	if err != nil {
		return nil, err
	}
	return readShares(out), nil
}

// readShares reads what testparm prints: sections, and settings that are not
// the usual ones.
func readShares(out []byte) (all []Share) {
	in := -1
	for line := range bytes.Lines(out) {
		l := strings.TrimSpace(string(line))
		if strings.HasPrefix(l, "[") && strings.HasSuffix(l, "]") {
			in = -1
			if name := l[1 : len(l)-1]; name != "" && !strings.EqualFold(name, "global") {
				all, in = append(all, Share{Name: name}), len(all)
			}
			continue
		}
		key, value, ok := strings.Cut(l, "=")
		if !ok || in < 0 {
			continue
		}
		switch value = strings.TrimSpace(value); strings.ToLower(strings.TrimSpace(key)) {
		case "path":
			all[in].Path = filepath.Clean(value)
		case "available":
			all[in].Closed = strings.EqualFold(value, "no")
		}
	}
	return all
}

// Ports are the TCP ports at which it listens.
func (s Server) Ports(ctx context.Context) ([]uint16, error) {
	out, err := run(ctx, "testparm", "-s", "--parameter-name=smb ports", s.conf())
	if err != nil {
		return nil, err
	}
	var ports []uint16
	for f := range strings.FieldsFuncSeq(string(out), func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }) {
		if n, err := strconv.ParseUint(f, 10, 16); err == nil && n > 0 && len(ports) < 16 {
			ports = append(ports, uint16(n))
		}
	}
	if len(ports) == 0 {
		return nil, fmt.Errorf("testparm names no port: %q", cut(out))
	}
	return ports, nil
}

// Sessions lists who is connected.
func (s Server) Sessions(ctx context.Context) ([]Session, error) {
	out, err := run(ctx, "smbstatus", "--configfile="+s.conf(), "--json", "--fast")
	if err != nil {
		return nil, err
	}
	return readSessions(out)
}

// readSessions reads the JSON of smbstatus (Samba 4.17 and newer).
func readSessions(out []byte) ([]Session, error) {
	type id struct {
		PID string `json:"pid"`
	}
	var d struct {
		Sessions map[string]struct {
			Server   id     `json:"server_id"`
			User     string `json:"username"`
			Machine  string `json:"remote_machine"`
			Hostname string `json:"hostname"` // ipv4:192.0.2.7:49152
		} `json:"sessions"`
		Tcons map[string]struct {
			Service string `json:"service"`
			Server  id     `json:"server_id"`
		} `json:"tcons"`
	}
	if err := json.Unmarshal(out, &d); err != nil {
		return nil, fmt.Errorf("read smbstatus: %w", err)
	}
	var all []Session
	for _, x := range d.Sessions {
		s := Session{User: x.User, Client: address(x.Hostname, x.Machine)}
		s.PID, _ = strconv.Atoi(x.Server.PID)
		for _, t := range d.Tcons {
			if t.Server == x.Server && !slices.Contains(s.Shares, t.Service) {
				s.Shares = append(s.Shares, t.Service)
			}
		}
		slices.Sort(s.Shares)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Session) int { return a.PID - b.PID })
	return all, nil
}

// address is where a client is. The name that it gives itself is not believed
// where Samba says from where it is connected.
func address(hostname, machine string) netip.Addr {
	for _, family := range []string{"ipv4:", "ipv6:"} {
		if rest, ok := strings.CutPrefix(hostname, family); ok {
			if i := strings.LastIndexByte(rest, ':'); i > 0 {
				rest = strings.Trim(rest[:i], "[]")
			}
			if a, err := netip.ParseAddr(rest); err == nil {
				return a.Unmap().WithZone("")
			}
		}
	}
	a, err := netip.ParseAddr(machine)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// Reload lets all of Samba read its configuration again. It returns when it was
// told, not when it has done so.
func (s Server) Reload(ctx context.Context) error { return s.tell(ctx, "reload-config") }

// CloseShare ends the use of a share; who may comes back. What was told before
// is done before.
func (s Server) CloseShare(ctx context.Context, share string) error {
	return s.tell(ctx, "close-share", share)
}

// tell sends a message to every process of smbd. Where none runs there is
// nobody to be told.
func (s Server) tell(ctx context.Context, what ...string) error {
	_, err := run(ctx, "smbcontrol", append([]string{"--configfile=" + s.conf(), "smbd"}, what...)...)
	if err != nil && strings.Contains(err.Error(), "Can't find pid") {
		return nil
	}
	return err
}

// run runs one of Samba's programs and returns what it prints.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, toolTime)
	defer stop()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var out, said limited
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w: no %s", ErrMissing, name)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %s", name, err, cut(append(said.Bytes(), out.Bytes()...)))
	case out.full:
		return nil, fmt.Errorf("%s printed more than %d bytes", name, maxPrinted)
	}
	return out.Bytes(), nil
}

func cut(b []byte) string { return strings.TrimSpace(string(b[:min(len(b), 300)])) }

// limited keeps the first maxPrinted bytes.
type limited struct {
	bytes.Buffer
	full bool
}

// Write implements io.Writer.
func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > maxPrinted {
		l.full = true
		return 0, io.ErrShortBuffer
	}
	return l.Buffer.Write(b)
}
