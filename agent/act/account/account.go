// Package account closes an account of this machine: nobody logs in with it,
// and who did is logged off.
//
// In: orders that name an account. Out: a locked password, an expired account,
// key files put aside, ended sessions. Always true: accounts of the system, the
// break-glass accounts and the last administrator who can log in are never
// closed; the files of accounts are changed by the system's own tools; what
// comes back is what was there, to the byte. Ended sessions do not come back.
//
// Locking the password does not stop keys, and keys put aside do not stop a
// password: all of it is closed, and the expiry closes what reads neither.
package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/act/process"
	"github.com/sonae/sonae/clock"
)

// Reasons for refusing an order: stable words.
const (
	unknown    = "account-unknown"
	ofSystem   = "account-is-system"
	breakGlass = "account-is-break-glass"
	lastAdmin  = "account-is-last-admin"
)

// Accounts of people, as Debian and Red Hat number them.
const firstPerson, nobody = 1000, 65534

// closed is the day of expiry of a closed account: the second of January 1970.
const closed = "1"

// Means closes accounts.
type Means struct {
	BreakGlass []string // accounts that are never closed
	Now        clock.Now
}

// prior is an account as it was.
type prior struct {
	UID    int    `json:"uid"`
	Home   string `json:"home"`
	Locked bool   `json:"locked"` // its password was locked
	Empty  bool   `json:"empty"`  // it needed no password
	Expire string `json:"expire"` // day of expiry, as the file has it
	Keys   []key  `json:"keys"`
}

// Kinds are those of closing and opening an account.
func (Means) Kinds() (apply, undo order.Kind) { return order.DisableAccount, order.EnableAccount }

// Subject is the account.
func (Means) Subject(o order.Order) string { return o.Object }

// Precheck refuses what would lock the owners of the machine out.
func (m Means) Precheck(_ context.Context, o order.Order) (any, error) {
	all, err := read()
	if err != nil {
		return nil, err
	}
	u, ok := all.users[o.Object]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %s", unknown, o.Object)
	case slices.Contains(m.BreakGlass, u.name):
		return nil, fmt.Errorf("%s: %s", breakGlass, u.name)
	case u.uid < firstPerson || u.uid == nobody:
		return nil, fmt.Errorf("%s: %s", ofSystem, u.name)
	case all.lastAdmin(u.name, m.Now()):
		return nil, fmt.Errorf("%s: %s", lastAdmin, u.name)
	}
	return prior{UID: u.uid, Home: u.home, Locked: strings.HasPrefix(u.password, "!"), Empty: u.password == "", Expire: u.expire, Keys: keys(u.home)}, nil
}

// Apply closes, ends the sessions, and puts the keys aside; sessions that were
// begun meanwhile end at last.
func (m Means) Apply(ctx context.Context, r contain.Row, _ time.Duration) error {
	var p prior
	if err := r.Read(&p); err != nil {
		return err
	}
	if err := usermod(ctx, "-L", "-e", closed, r.Order.Object); err != nil {
		return err
	}
	if err := process.EndUser(ctx, p.UID); err != nil {
		return err
	}
	if err := putAside(p); err != nil {
		return err
	}
	return process.EndUser(ctx, p.UID)
}

// Verify looks at the account, its keys and its processes.
func (m Means) Verify(_ context.Context, r contain.Row) []order.Check {
	var p prior
	err := r.Read(&p)
	locked := m.check("account-locked", r, err)
	if u, ok := m.user(r); ok && err == nil {
		locked.OK = strings.HasPrefix(u.password, "!") && u.expire == closed
	}
	aside := m.check("keys-aside", r, err)
	aside.OK = err == nil && len(keys(p.Home)) == 0
	aside.Detail = fmt.Sprintf("%d files", len(p.Keys))
	ended := m.check("sessions-ended", r, err)
	left, err := process.OfUser(p.UID)
	ended.OK, ended.Detail = err == nil && len(left) == 0, fmt.Sprintf("%d processes", len(left))
	return []order.Check{locked, aside, ended}
}

// Undo opens the account as it was. A password that somebody gave it meanwhile
// stays.
func (m Means) Undo(ctx context.Context, r contain.Row) error {
	var p prior
	if err := r.Read(&p); err != nil {
		return err
	}
	u, ok := m.user(r)
	if !ok { // deleted meanwhile: there is nothing to open
		return nil
	}
	if err := takeBack(p); err != nil {
		return err
	}
	if !p.Locked && strings.HasPrefix(u.password, "!") {
		if err := unlock(ctx, u, p); err != nil {
			return err
		}
	}
	if u.expire != closed {
		return nil
	}
	return usermod(ctx, "-e", p.Expire, u.name)
}

func unlock(ctx context.Context, u user, p prior) error {
	if p.Empty && u.password == "!" { // usermod opens no account without a password
		return tool(ctx, "passwd", "-d", u.name)
	}
	return usermod(ctx, "-U", u.name)
}

// Undone looks whether the account is as it was.
func (m Means) Undone(_ context.Context, r contain.Row) []order.Check {
	var p prior
	err := r.Read(&p)
	open := m.check("account-open", r, err)
	u, ok := m.user(r)
	open.OK = err == nil && (!ok || (u.expire != closed || p.Expire == closed) && (p.Locked || !strings.HasPrefix(u.password, "!")))
	back := m.check("keys-back", r, err)
	back.OK = true
	if n := changed(p); n > 0 { // whoever changed them was not the user: they stay aside
		back.Detail = fmt.Sprintf("%d files were changed and stay aside", n)
	}
	return []order.Check{open, back}
}

// State looks whether somebody opened the account.
func (m Means) State(ctx context.Context, r contain.Row) (contain.State, error) {
	if _, ok := m.user(r); !ok {
		return contain.Void, nil
	}
	for _, c := range m.Verify(ctx, r) {
		if !c.OK {
			return contain.Lost, nil
		}
	}
	return contain.Holds, nil
}

func (m Means) user(r contain.Row) (user, bool) {
	all, err := read()
	if err != nil {
		return user{}, true // it may be there: nothing is given up for that
	}
	u, ok := all.users[r.Order.Object]
	return u, ok
}

func (m Means) check(name string, r contain.Row, err error) order.Check {
	c := order.Check{Name: name, Target: r.Order.Object, At: m.Now().UTC()}
	if err != nil {
		c.Detail = err.Error()
	}
	return c
}

func usermod(ctx context.Context, args ...string) error { return tool(ctx, "usermod", args...) }

// toolTime bounds one of the system's tools, which wait for each other's lock.
const toolTime = 30 * time.Second

func tool(ctx context.Context, name string, args ...string) error {
	ctx, stop := context.WithTimeout(ctx, toolTime)
	defer stop()
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("%s %s: %w", name, args[0], err), errors.New(strings.TrimSpace(said.String())))
	}
	return nil
}
