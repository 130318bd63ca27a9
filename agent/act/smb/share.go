package smb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/samba"
	"github.com/sonae/sonae/clock"
)

// Shares closes shares for everybody. It writes a file beside smb.conf, which
// smb.conf includes at its end: what stands there last holds.
type Shares struct {
	Samba samba.Server
	Now   clock.Now
}

// DenyFile is the name of the file with the shares that are closed.
const DenyFile = "sonae-deny.conf"

const (
	explain = "# Sonae closed these shares by order. sonae-agent release CODE opens one again;\n# without an agent: empty this file, smbcontrol smbd reload-config.\n"
	maxDeny = 256 << 10
)

// prior is what an order means in shares: the one of that name, or all that
// lie at that place. Each was open.
type prior struct {
	Conf   string   `json:"conf"` // smb.conf: the console that undoes it may not be told of it
	Shares []string `json:"shares"`
}

// Kinds are those of closing and opening a share.
func (Shares) Kinds() (apply, undo order.Kind) { return order.DenyShare, order.AllowShare }

// Subject is the share as the order calls it.
func (Shares) Subject(o order.Order) string { return strings.ToLower(o.Object) }

// Precheck refuses what is not shared, what is closed already, and a smb.conf
// that does not include the file.
func (m Shares) Precheck(ctx context.Context, o order.Order) (any, error) {
	all, err := m.Samba.Shares(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", noSamba, err)
	}
	p := prior{Conf: m.conf()}
	for _, s := range all {
		if !meant(s, o.Object) {
			continue
		}
		if s.Closed {
			return nil, fmt.Errorf("%s: %s", closed, s.Name)
		}
		p.Shares = append(p.Shares, s.Name)
	}
	if len(p.Shares) == 0 {
		return nil, fmt.Errorf("%s: %q", unknown, o.Object)
	}
	return p, m.included()
}

// meant says whether a share is the one of that name, or at that place. Samba
// tells names apart without regard to case.
func meant(s samba.Share, object string) bool {
	if filepath.IsAbs(object) {
		return s.Path == filepath.Clean(object)
	}
	return strings.EqualFold(s.Name, object)
}

// at is the means for the smb.conf that a row is about.
func (m Shares) at(r contain.Row) (Shares, prior, error) {
	var p prior
	err := r.Read(&p)
	m.Samba.Conf = p.Conf
	return m, p, err
}

func (m Shares) conf() string {
	if m.Samba.Conf == "" {
		return samba.Conf
	}
	return m.Samba.Conf
}

func (m Shares) file() string { return filepath.Join(filepath.Dir(m.conf()), DenyFile) }

// included says whether the last setting of smb.conf includes the file.
func (m Shares) included() error {
	b, err := os.ReadFile(m.conf())
	if err != nil {
		return fmt.Errorf("%s: %w", noSamba, err)
	}
	last := ""
	for line := range bytes.Lines(b) {
		if l := strings.TrimSpace(string(line)); l != "" && l[0] != '#' && l[0] != ';' {
			last = l
		}
	}
	key, value, _ := strings.Cut(last, "=")
	if !strings.EqualFold(strings.TrimSpace(key), "include") || filepath.Clean(strings.TrimSpace(value)) != m.file() {
		return fmt.Errorf("%s: the last line of %s must be: include = %s", notIncluded, m.conf(), m.file())
	}
	return nil
}

// read returns which shares the file closes.
func (m Shares) read() ([]string, error) {
	b, err := os.ReadFile(m.file())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("closed shares: %w", err)
	}
	return readDenied(b), nil
}

// readDenied reads what write wrote; anything else in the file is left out.
func readDenied(b []byte) (all []string) {
	for line := range bytes.Lines(b[:min(len(b), maxDeny)]) {
		l := strings.TrimSpace(string(line))
		if len(l) > 2 && l[0] == '[' && l[len(l)-1] == ']' && !slices.Contains(all, l[1:len(l)-1]) {
			all = append(all, l[1:len(l)-1])
		}
	}
	return all
}

// write puts the file there, whole or not at all.
func (m Shares) write(shares []string) error {
	var b bytes.Buffer
	b.WriteString(explain)
	for _, s := range shares {
		fmt.Fprintf(&b, "[%s]\n\tavailable = no\n", s)
	}
	path := m.file()
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644) // smbd reads it as whoever it serves
	if err != nil {
		return fmt.Errorf("closed shares: %w", err)
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("closed shares: %w", err)
	}
	return nil
}

// change adds shares to the file, or takes them out.
func (m Shares) change(r contain.Row, with func(have, of []string) []string) (prior, error) {
	m, p, err := m.at(r)
	if err != nil {
		return p, err
	}
	have, err := m.read()
	if err != nil {
		return p, err
	}
	return p, m.write(with(have, p.Shares))
}

// Apply closes the shares, then ends their use: every smbd reads its messages
// in their order, so that nobody comes back between the two.
func (m Shares) Apply(ctx context.Context, r contain.Row, _ time.Duration) error {
	m, _, err := m.at(r)
	if err != nil {
		return err
	}
	p, err := m.change(r, func(have, of []string) []string {
		return append(slices.DeleteFunc(have, in(of)), of...)
	})
	if err != nil {
		return err
	}
	if err := m.Samba.Reload(ctx); err != nil {
		return err
	}
	for _, s := range p.Shares {
		if err := m.Samba.CloseShare(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func in(all []string) func(string) bool {
	return func(s string) bool {
		return slices.ContainsFunc(all, func(o string) bool { return strings.EqualFold(o, s) })
	}
}

// Verify asks Samba whether they are closed, and waits until nobody uses them.
func (m Shares) Verify(ctx context.Context, r contain.Row) []order.Check {
	denied, unused := m.check("share-denied", r), m.check("share-unused", r)
	m, p, err := m.at(r)
	if err != nil {
		denied.Detail, unused.Detail = err.Error(), err.Error()
		return []order.Check{denied, unused}
	}
	denied.OK, denied.Detail = m.are(ctx, p, true)
	unused.OK, unused.Detail = wait(ctx, func() (bool, string) {
		all, err := m.Samba.Sessions(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, s := range all {
			if slices.ContainsFunc(s.Shares, in(p.Shares)) {
				return false, fmt.Sprintf("used by %s from %s", s.User, s.Client)
			}
		}
		return true, ""
	})
	return []order.Check{denied, unused}
}

// are says whether Samba takes all of the shares for closed, or for open. A
// share that its owner took away meanwhile is closed, and no matter when it is
// to be open.
func (m Shares) are(ctx context.Context, p prior, shut bool) (bool, string) {
	all, err := m.Samba.Shares(ctx)
	if err != nil {
		return false, err.Error()
	}
	for _, s := range all {
		if in(p.Shares)(s.Name) && s.Closed != shut {
			return false, fmt.Sprintf("%s: closed %t", s.Name, s.Closed)
		}
	}
	return true, ""
}

// Undo opens them again. A file with nothing in it is taken away.
func (m Shares) Undo(ctx context.Context, r contain.Row) error {
	m, _, err := m.at(r)
	if err != nil {
		return err
	}
	_, err = m.change(r, func(have, of []string) []string { return slices.DeleteFunc(have, in(of)) })
	if err != nil {
		return err
	}
	if have, err := m.read(); err == nil && len(have) == 0 {
		if err := os.Remove(m.file()); err != nil {
			return fmt.Errorf("closed shares: %w", err)
		}
	}
	return m.Samba.Reload(ctx)
}

// Undone asks Samba whether they are open.
func (m Shares) Undone(ctx context.Context, r contain.Row) []order.Check {
	c := m.check("share-open", r)
	m, p, err := m.at(r)
	if err == nil {
		c.OK, c.Detail = m.are(ctx, p, false)
	} else {
		c.Detail = err.Error()
	}
	return []order.Check{c}
}

// State looks whether somebody opened them, or made smb.conf forget the file.
func (m Shares) State(ctx context.Context, r contain.Row) (contain.State, error) {
	m, p, err := m.at(r)
	if err != nil {
		return contain.Holds, err
	}
	have, err := m.read()
	if err != nil {
		return contain.Holds, err
	}
	for _, s := range p.Shares {
		if !in(have)(s) {
			return contain.Lost, nil
		}
	}
	return contain.Holds, nil
}

func (m Shares) check(name string, r contain.Row) order.Check {
	return order.Check{Name: name, Target: r.Order.Object, At: m.Now().UTC()}
}
