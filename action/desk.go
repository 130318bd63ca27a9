package action

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// Times of the life of an action.
const (
	DefaultLease  = time.Hour
	minLease      = 5 * time.Second
	maxLease      = 24 * time.Hour
	waitForPerson = 8 * time.Hour    // a request that nobody decides on
	waitForAgent  = 10 * time.Minute // an isolation that the agent did not fetch must not come as a surprise later
	waitPreserve  = time.Hour        // evidence is worth having late
	quietPreserve = 15 * time.Minute // without a sign of a collecting agent
	waitRelease   = 7 * 24 * time.Hour
	grace         = 5 * time.Second // for the agent's own report of the end of a lease
	maxReason     = 2000            // characters
)

// Hosts is what a Desk needs to know of machines.
type Hosts interface {
	Host(ctx context.Context, id string) (asset.Host, error)
	HubAddress(ctx context.Context, id string) (string, error) // ip:port at which its agent reaches the hub
	HostsAt(ctx context.Context, address string) ([]asset.Host, error)
	HostsNamed(ctx context.Context, site, name string) ([]asset.Host, error)
	Hubs(ctx context.Context) ([]string, error) // addresses of the hubs, as ip or ip:port
}

// Devices is what a Desk needs to know of devices that can block.
type Devices interface {
	Carrier(ctx context.Context, id string) (Carrier, error)
}

// Issued says that an order waits for a host ("order.issued").
type Issued struct {
	Host  string `json:"host"`
	Order string `json:"order"`
}

// Decision is what a person decided on an action. Its digest goes to the
// ledger as a leaf "approval".
type Decision struct {
	Action string    `json:"action"`
	No     int       `json:"no"`
	What   string    `json:"what"` // requested | approved | refused | release | code-shown | cancelled | keep | guard; policy-… of a policy
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Order  string    `json:"order"` // hex SHA-256 of the exact bytes of the signed order that it led to
	Salt   string    `json:"salt"`
}

// NewRequest is what a person asks for.
type NewRequest struct {
	Kind      Kind           `json:"kind"`
	Incident  string         `json:"incident"`
	Host      string         `json:"host"`
	Site      string         `json:"site,omitempty"` // cut-backup, which has no host
	Reason    string         `json:"reason"`
	Forbidden string         `json:"forbidden"` // ip:port that must not answer once isolated
	Lease     time.Duration  `json:"lease"`     // 0: DefaultLease
	PID       int            `json:"pid"`       // process of interest, 0: none known
	Drill     bool           `json:"drill"`
	Via       string         `json:"via"`               // block: gateway or device that carries it out
	Targets   []string       `json:"targets"`           // block: addresses; empty: those of the host. block-peer: addresses
	Process   *order.Process `json:"process,omitempty"` // freeze, kill
	Object    string         `json:"object,omitempty"`  // what else is contained, by name
	Alert     string         `json:"alert,omitempty"`   // alert that it answers
	Step      string         `json:"-"`                 // step of a playbook that asks; the same step gets the same action
	// Packets chooses packets that the machine keeps (preserve). With Only set
	// nothing else is collected, and no incident is needed.
	Packets *order.Packets `json:"packets,omitempty"`
	Start   uint64         `json:"start,omitempty"` // when the process of interest began; 0: not known
	Image   string         `json:"image,omitempty"` // its program
	// Also is what is taken by decision only (preserve): order.WholeMemory,
	// order.Snapshot.
	Also []string `json:"also,omitempty"`
}

// Filter selects actions. Zero fields select all.
type Filter struct {
	Incident, Host, Site string
	Auto                 string // standing policy that they follow
	Waiting              bool   // for an approval
	Active               bool   // in force, or about to be
	Limit, Offset        int    // Limit 0: 50, at most 500
}

// Desk keeps actions. It is safe for concurrent use.
type Desk struct {
	db    *state.DB
	key   ed25519.PrivateKey
	hosts Hosts
	devs  Devices
	now   clock.Now
	log   *slog.Logger
}

// New returns the Desk. key signs orders; agents have pinned its public half.
func New(db *state.DB, key ed25519.PrivateKey, hosts Hosts, devices Devices, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, key: key, hosts: hosts, devs: devices, now: now, log: log}
}

// change moves an action to a state, stores it and tells the others, all in tx.
func (d *Desk) change(ctx context.Context, tx *state.Tx, a *Action, to State) error {
	if !may(a.State, to) {
		return fault.New(fault.Conflict, "action.not-in-state", string(a.State), string(to))
	}
	a.State = to
	return d.save(ctx, tx, a)
}

// issue signs an order of an action, stores it for the agent and puts its
// digest into the ledger. It returns the digest.
func (d *Desk) issue(ctx context.Context, tx *state.Tx, o order.Order) (string, error) {
	signed, err := order.Sign(d.key, o)
	if err != nil {
		return "", err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO action_order (id, action, host, kind, issued_at, expires_at, waiting, signed)
		VALUES ($1, $2, $3, $4, $5, $6, 1, $7)`, o.ID, o.Action, o.Host, string(o.Kind), state.Nanos(o.IssuedAt), state.Nanos(o.ExpiresAt), state.JSON(signed))
	if err != nil {
		return "", fmt.Errorf("issue order %s: %w", o.ID, err)
	}
	lf := leaf.Leaf{Type: "order", Ref: o.ID, Digest: order.Digest(signed), At: o.IssuedAt}
	if err := tx.Emit(ctx, "record.order", "order:"+o.ID, lf); err != nil {
		return "", err
	}
	sig := signatureLeaf(o, signed)
	if err := tx.Emit(ctx, "record."+sig.Type, sig.Type+":"+o.ID, sig); err != nil {
		return "", err
	}
	return lf.Digest, tx.Emit(ctx, "order.issued", "issued:"+o.ID, Issued{Host: o.Host, Order: o.ID})
}

// decide writes down what a person decided.
func (d *Desk) decide(ctx context.Context, tx *state.Tx, dec Decision) error {
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) + 1 FROM action_decision WHERE action = $1`, dec.Action).Scan(&dec.No)
	if err != nil {
		return fmt.Errorf("decision on %s: %w", dec.Action, err)
	}
	dec.Salt = leaf.Salt()
	if _, err := tx.ExecContext(ctx, `INSERT INTO action_decision (action, no, body) VALUES ($1, $2, $3)`, dec.Action, dec.No, state.JSON(dec)); err != nil {
		return fmt.Errorf("decision on %s: %w", dec.Action, err)
	}
	lf, err := dec.leaf()
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record.approval", "approval:"+lf.Ref, lf)
}

// Decisions returns what persons decided on an action, oldest first.
func (d *Desk) Decisions(ctx context.Context, id string) ([]Decision, error) {
	return list[Decision](ctx, d.db, `SELECT body FROM action_decision WHERE action = $1 ORDER BY no`, id)
}

func hasRole(p auth.Person, roles ...auth.Role) bool {
	return slices.ContainsFunc(p.Roles, func(r auth.Role) bool { return slices.Contains(roles, r) })
}
