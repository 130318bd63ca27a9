package alert

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Desk is where alerts are raised and handled. It is safe for concurrent use.
type Desk struct {
	db  *state.DB
	now clock.Now
	log *slog.Logger

	forgot atomic.Int64 // when old findings were forgotten last, ns
}

// New makes a Desk over the state.
func New(db *state.DB, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, now: now, log: log.With("part", "alert")}
}

// Change is one change that somebody made to an alert. Its digest stands in
// the ledger.
type Change struct {
	Alert    string    `json:"alert"`
	No       int       `json:"no"`   // from 1
	What     string    `json:"what"` // raised | acked | closed | linked
	By       string    `json:"by"`   // person id, or "sonae"
	At       time.Time `json:"at"`
	Rule     string    `json:"rule"`
	Site     string    `json:"site"`
	Host     string    `json:"host"`
	Drill    bool      `json:"drill"`
	Reason   string    `json:"reason"`
	Incident string    `json:"incident"`
	Salt     string    `json:"salt"` // makes the digest unguessable
}

// Leaf returns the line of the ledger that belongs to the change.
func (c Change) Leaf() (leaf.Leaf, error) {
	return leaf.Of("alert", fmt.Sprintf("%s/%d", c.Alert, c.No), c.At, c)
}

// maxReason bounds what somebody types when closing, in bytes.
const maxReason = 4000

// Ack says that by is on it. When somebody else already is, it returns
// fault.Conflict "alert.already-acked" with that person's name; the same
// person may press twice.
func (d *Desk) Ack(ctx context.Context, id string, by auth.Person) error {
	err := d.change(ctx, id, by, func(a *stored) (string, error) {
		switch {
		case a.State == Closed:
			return "", fault.New(fault.Conflict, "alert.already-closed")
		case a.State == Acked && a.AckedBy == by.ID:
			return "", nil
		case a.State == Acked:
			return "", fault.New(fault.Conflict, "alert.already-acked", a.ackedName)
		}
		a.State, a.AckedBy, a.ackedName, a.AckedAt = Acked, by.ID, by.Name, d.now().UTC()
		return "acked", nil
	})
	if err != nil {
		return fmt.Errorf("ack alert %s: %w", id, err)
	}
	return nil
}

// Close says that nothing more is to be done, and why. What happens later on
// the host raises a new alert.
func (d *Desk) Close(ctx context.Context, id, reason string, by auth.Person) error {
	reason = strings.TrimSpace(reason)
	err := d.change(ctx, id, by, func(a *stored) (string, error) {
		switch {
		case reason == "":
			return "", fault.New(fault.Invalid, "alert.reason-missing")
		case len(reason) > maxReason:
			return "", fault.New(fault.Invalid, "alert.reason-too-long", maxReason)
		case a.State == Closed:
			return "", fault.New(fault.Conflict, "alert.already-closed")
		}
		a.State, a.ClosedBy, a.ClosedAt, a.Reason = Closed, by.ID, d.now().UTC(), reason
		return "closed", nil
	})
	if err != nil {
		return fmt.Errorf("close alert %s: %w", id, err)
	}
	return nil
}

// CloseDrill closes what is left of an earlier drill on a host, so that the
// next one begins anew. Alerts that are no drill's stay as they are.
func (d *Desk) CloseDrill(ctx context.Context, host, reason string, by auth.Person) error {
	all, err := selectAlerts(ctx, readDB{d.db}, `WHERE host = $1 AND drill = 1 AND state <> 'closed'`, host)
	if err != nil {
		return fmt.Errorf("close drill alerts of %s: %w", host, err)
	}
	for _, a := range all {
		if err := d.Close(ctx, a.ID, reason, by); err != nil && fault.Of(err) != fault.Conflict {
			return err
		}
	}
	return nil
}

// Link puts the alert into an incident. It is idempotent; an alert belongs to
// one incident only.
func (d *Desk) Link(ctx context.Context, id, incident string) error {
	err := d.change(ctx, id, auth.Person{ID: "sonae"}, func(a *stored) (string, error) {
		switch a.Incident {
		case incident:
			return "", nil
		case "":
			a.Incident = incident
			return "linked", nil
		}
		return "", fault.New(fault.Conflict, "alert.already-linked", a.Incident)
	})
	if err != nil {
		return fmt.Errorf("link alert %s: %w", id, err)
	}
	return nil
}

// change loads an alert, lets f change it and, when f names what was done,
// stores it, writes the change for the ledger and tells the others.
func (d *Desk) change(ctx context.Context, id string, by auth.Person, f func(*stored) (what string, err error)) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		a, err := load(ctx, tx, id)
		if err != nil {
			return err
		}
		if by.Site != "" && by.Site != a.Site {
			return fault.New(fault.Denied, "alert.other-site")
		}
		what, err := f(&a)
		if err != nil || what == "" {
			return err
		}
		a.version++
		if err := record(ctx, tx, a, what, by.ID, d.now().UTC()); err != nil {
			return err
		}
		subject := "alert." + what
		if what == "linked" {
			subject = "alert.updated"
		}
		return d.tell(ctx, tx, &a, subject)
	})
}

// record stores a change and hands its digest to the ledger.
func record(ctx context.Context, tx *state.Tx, a stored, what, by string, at time.Time) error {
	c := Change{
		Alert: a.ID, What: what, By: by, At: at, Rule: a.Rule.ID, Site: a.Site, Host: a.Host,
		Drill: a.Drill, Reason: a.Reason, Incident: a.Incident, Salt: leaf.Salt(),
	}
	row := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) + 1 FROM alert_change WHERE alert = $1`, a.ID)
	if err := row.Scan(&c.No); err != nil {
		return fmt.Errorf("number the change: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO alert_change (alert, no, body) VALUES ($1, $2, $3)`, a.ID, c.No, state.JSON(c)); err != nil {
		return fmt.Errorf("store the change: %w", err)
	}
	l, err := c.Leaf()
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record."+l.Type, l.Type+"/"+l.Ref, l)
}

// tell stores the alert and emits it as it stands now.
func (d *Desk) tell(ctx context.Context, tx *state.Tx, a *stored, subject string) error {
	a.told, a.toldAt = a.version, d.now().UTC()
	if err := save(ctx, tx, *a); err != nil {
		return err
	}
	full, err := complete(ctx, readTx{tx}, *a)
	if err != nil {
		return err
	}
	return tx.Emit(ctx, subject, fmt.Sprintf("%s/%d/%s", a.ID, a.version, subject), full[0])
}
