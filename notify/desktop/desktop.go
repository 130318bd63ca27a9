// Package desktop carries messages to the screens of machines.
//
// In: a channel that names machines, a message; what their agents answer. Out: a
// signed order for each machine, and which screens showed the message and who
// has seen it. Always true: a message is shown once on a machine, and not at all
// when the machine comes back after a quarter of an hour; every order has its
// digest in the ledger; an answer counts only from the machine that was asked.
package desktop

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Hosts is what a Sender needs of package asset.
type Hosts interface {
	HostsNamed(ctx context.Context, site, name string) ([]asset.Host, error)
	Host(ctx context.Context, id string) (asset.Host, error)
}

// Sender implements notify.Sender. It is safe for concurrent use.
type Sender struct {
	db    *state.DB
	key   ed25519.PrivateKey
	hosts Hosts
	now   clock.Now
}

// New returns the Sender. key signs orders; agents have pinned its public half.
func New(db *state.DB, key ed25519.PrivateKey, hosts Hosts, now clock.Now) *Sender {
	return &Sender{db: db, key: key, hosts: hosts, now: now}
}

// stays is how long a note stays on a screen, and how late it may come.
const stays = 15 * time.Minute

// Check wants every machine of a channel to be known.
func (s *Sender) Check(ctx context.Context, c notify.Channel) error {
	for _, name := range c.Hosts {
		ids, err := s.named(ctx, name)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return fault.New(fault.Invalid, "notify.host-unknown", name)
		}
	}
	return nil
}

// named lists the machines of a name that are trusted; an id is a name, too.
func (s *Sender) named(ctx context.Context, name string) ([]string, error) {
	all, err := s.hosts.HostsNamed(ctx, "", name)
	if err != nil {
		return nil, err
	}
	if h, err := s.hosts.Host(ctx, name); err == nil {
		all = append(all, h)
	} else if fault.Of(err) != fault.Missing {
		return nil, err
	}
	var out []string
	for _, h := range all {
		if h.RemovedAt.IsZero() && !h.Drill {
			out = append(out, h.ID)
		}
	}
	return out, nil
}

// Send implements notify.Sender: it gives each machine of the channel an order.
func (s *Sender) Send(ctx context.Context, c notify.Channel, _ notify.Secrets, _ string, m notify.Message) error {
	var hosts []string
	for _, name := range c.Hosts {
		ids, err := s.named(ctx, name)
		if err != nil {
			return err
		}
		hosts = append(hosts, ids...)
	}
	if len(hosts) == 0 {
		return errors.New("desktop: none of the machines is there any more")
	}
	return s.db.Tx(ctx, func(tx *state.Tx) error {
		for _, h := range hosts {
			if err := s.issue(ctx, tx, h, m); err != nil {
				return fmt.Errorf("show message %s on %s: %w", m.ID, h, err)
			}
		}
		return nil
	})
}

// issue signs the order for one machine, unless it has one of this message.
func (s *Sender) issue(ctx context.Context, tx *state.Tx, host string, m notify.Message) error {
	now := s.now().UTC()
	o := order.Order{ID: clock.ID("or", now), Kind: order.Show, Host: host, Action: m.ID, IssuedAt: now, ExpiresAt: now.Add(stays),
		Note: &order.Note{Title: m.Subject, Text: strings.TrimSpace(m.Text), Button: i18n.T(m.Lang, "notify.desktop.seen", nil), Urgent: m.Severity >= event.High, For: stays}}
	signed, err := order.Sign(s.key, o)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO notify_show (id, message, host, issued_at, expires_at, waiting, signed) VALUES ($1, $2, $3, $4, $5, 1, $6)
		ON CONFLICT (message, host) DO NOTHING`, o.ID, m.ID, host, state.Nanos(o.IssuedAt), state.Nanos(o.ExpiresAt), state.JSON(signed))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	l := leafOf(o, signed)
	if err := tx.Emit(ctx, "record."+l.Type, l.Type+":"+o.ID, l); err != nil {
		return err
	}
	return tx.Emit(ctx, "order.issued", "issued:"+o.ID, action.Issued{Host: host, Order: o.ID})
}

// Pending lists the orders that a host has not answered yet.
func (s *Sender) Pending(ctx context.Context, host string) ([]order.Signed, error) {
	rows, err := s.db.Query(ctx, `SELECT signed FROM notify_show WHERE host = $1 AND waiting = 1 AND expires_at > $2 ORDER BY issued_at, id LIMIT 50`, host, state.Nanos(s.now()))
	if err != nil {
		return nil, fmt.Errorf("messages for screens: %w", err)
	}
	defer rows.Close()
	var out []order.Signed
	for rows.Next() {
		var body string
		var o order.Signed
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("messages for screens: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			return nil, fmt.Errorf("messages for screens: %w", err)
		}
		out = append(out, o)
	}
	return out, rows.Err()
}

// Result takes an agent's answer; r.Host must be the host of its certificate. It
// returns what the answer says of screens. The order is not handed out again:
// whoever restarts in the middle has shown the message.
func (s *Sender) Result(ctx context.Context, r order.Result) ([]notify.Shown, error) {
	var message, host string
	err := s.db.QueryRow(ctx, `SELECT message, host FROM notify_show WHERE id = $1`, r.Order).Scan(&message, &host)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.Missing, "action.order-unknown")
	}
	if err != nil {
		return nil, fmt.Errorf("answer to order %s: %w", r.Order, err)
	}
	if host != r.Host {
		return nil, fault.New(fault.Denied, "action.other-host")
	}
	err = s.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE notify_show SET waiting = 0 WHERE id = $1`, r.Order)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("answer to order %s: %w", r.Order, err)
	}
	var out []notify.Shown
	for _, c := range r.Checks[:min(len(r.Checks), maxChecks)] {
		if c.Name != order.NoteShown && c.Name != order.NoteSeen {
			continue
		}
		out = append(out, notify.Shown{Message: message, Host: host, Session: short(c.Target), User: short(c.Detail), Seen: c.Name == order.NoteSeen, At: s.now().UTC()})
	}
	return out, nil
}

const (
	maxChecks = 100
	maxWord   = 200 // bytes of what a machine calls a session or an account
)

func short(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxWord)], "")
}

// leafType is the type of the leaves of orders that show messages.
const leafType = "order-show"

func leafOf(o order.Order, s order.Signed) leaf.Leaf {
	return leaf.Leaf{Type: leafType, Ref: o.ID, Digest: order.Digest(s), At: o.IssuedAt}
}

// VerifyRows compares the orders with the leaves of type "order-show". It writes
// nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: leafType, Query: `SELECT signed, id, message, host, issued_at, expires_at FROM notify_show`, Leaf: orderLeaf}, leaves)
}

func orderLeaf(columns []any) (leaf.Leaf, error) {
	var s order.Signed
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	o, err := order.Read(s)
	if err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], o.ID, o.Action, o.Host, state.Nanos(o.IssuedAt), state.Nanos(o.ExpiresAt)); err != nil {
		return unusable, err
	}
	return leafOf(o, s), nil
}
