package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Protected is what is never blocked at a site: name servers, address
// assignment, medical devices without an agent.
type Protected struct {
	What string `json:"what"` // IP address, prefix, or hardware address
	Why  string `json:"why"`
}

// Limits are what a site allows blocks to do.
type Limits struct {
	Site      string        `json:"site"`
	Protected []Protected   `json:"protected"`
	Auto      bool          `json:"auto"`  // block by itself what is certain
	Via       string        `json:"via"`   // by whom, then
	Lease     time.Duration `json:"lease"` // for how long, then
	SetBy     string        `json:"set_by"`
	SetAt     time.Time     `json:"set_at"`
	Version   int           `json:"version"`
	Salt      string        `json:"salt"`
}

const (
	maxProtected = 1000
	maxWhy       = 200 // characters
)

// covers says whether a target, in the form of Target, is protected.
func (p Protected) covers(target string) bool {
	if sameAddress(p.What, target) {
		return true
	}
	net, err := netip.ParsePrefix(p.What)
	a, err2 := netip.ParseAddr(target)
	return err == nil && err2 == nil && net.Contains(a)
}

// Limits returns what a site allows; one for which nothing was set allows
// nothing by itself and protects nothing beyond what is protected everywhere.
func (d *Desk) Limits(ctx context.Context, site string) (Limits, error) {
	l := Limits{Site: site, Protected: []Protected{}, Lease: DefaultLease}
	var body string
	err := d.db.QueryRow(ctx, `SELECT body FROM block_limits WHERE site = $1 ORDER BY version DESC LIMIT 1`, site).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &l)
	}
	if err != nil {
		return l, fmt.Errorf("limits of blocks at %s: %w", site, err)
	}
	return l, nil
}

// SetLimits replaces what a site allows. Blocking by itself is an approval
// given beforehand, so only an approver can switch it on.
func (d *Desk) SetLimits(ctx context.Context, l Limits, by auth.Person) error {
	var err error
	if l.Lease, err = lease(l.Lease); err != nil {
		return err
	}
	if l.Protected, err = protections(l.Protected); err != nil {
		return err
	}
	if l.Auto {
		c, err := d.carrier(ctx, l.Via)
		switch {
		case err != nil:
			return err
		case c.Site != l.Site:
			return fault.New(fault.Conflict, "action.other-site", c.Name)
		case !hasRole(by, auth.Approver):
			return fault.New(fault.Denied, "action.not-approver")
		}
	}
	l.SetBy, l.SetAt, l.Salt = by.ID, d.now().UTC(), leaf.Salt()
	return d.db.Tx(ctx, func(tx *state.Tx) error { return d.putLimits(ctx, tx, l) })
}

// putLimits adds a version: the earlier ones stay, for the verifier.
func (d *Desk) putLimits(ctx context.Context, tx *state.Tx, l Limits) error {
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) + 1 FROM block_limits WHERE site = $1`, l.Site).Scan(&l.Version)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO block_limits (site, version, body) VALUES ($1, $2, $3)`, l.Site, l.Version, state.JSON(l))
	}
	if err != nil {
		return fmt.Errorf("limits of blocks at %s: %w", l.Site, err)
	}
	lf, err := l.leaf()
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record."+leafLimits, leafLimits+":"+lf.Ref, lf)
}

// leafLimits is the type of the leaves that bind what a site allows blocks to
// do, each version of it.
const leafLimits = "block-limits"

func (l Limits) leaf() (leaf.Leaf, error) {
	return leaf.Of(leafLimits, fmt.Sprintf("%s/%d", l.Site, l.Version), l.SetAt, l)
}

// protections checks what people entered and writes it in one form.
func protections(list []Protected) ([]Protected, error) {
	out := []Protected{}
	for _, p := range list {
		p.What, p.Why = strings.TrimSpace(p.What), strings.TrimSpace(p.Why)
		if p.Why == "" || utf8.RuneCountInString(p.Why) > maxWhy {
			return nil, fault.New(fault.Invalid, "action.protected-why", p.What)
		}
		if n, err := netip.ParsePrefix(p.What); err == nil {
			p.What = n.Masked().String()
		} else if p.What, err = Target(p.What); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(out) > maxProtected {
		return nil, fault.New(fault.Invalid, "action.protected-many", maxProtected)
	}
	return out, nil
}

// lease is the time that was asked for, or the usual one.
func lease(d time.Duration) (time.Duration, error) {
	if d == 0 {
		d = DefaultLease
	}
	if d < minLease || d > maxLease {
		return 0, fault.New(fault.Invalid, "action.lease", minLease, maxLease)
	}
	return d, nil
}
