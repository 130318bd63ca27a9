package vault

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// Opening is a restore that two people stand behind already: the hub opens the
// pass for it by itself, with both names.
type Opening struct {
	For        string // id of the restore; it has one pass, however often it is opened
	Agent      string // whose repository
	Host       string // the one machine that may use the pass
	Incident   string
	Why        string
	AsOf       time.Time // what was received later cannot be seen with it; zero: all can
	Snapshot   string    // can be seen with it, whenever the log says that it came; empty: none besides
	AskedBy    string
	ApprovedBy string
}

// An opened pass is short: whoever restores opens it again while it is at work,
// and when nobody does, the hub is gone or the restore is over.
const (
	openLasts = 2 * time.Hour
	openLeft  = time.Hour // it is made longer when less is left
)

// OpenPass opens the pass of a restore, or lets the one that it has hold on, and
// returns its token: always the same one, made of the hub's key, so that a
// machine at work goes on reading when the hub was restarted. One that was ended
// stays so: fault.Conflict.
func (v *Vault) OpenPass(ctx context.Context, o Opening) (token string, err error) {
	why, err := reasonOf(o.Why)
	if err != nil {
		return "", err
	}
	if o.AskedBy == "" || o.ApprovedBy == "" || o.AskedBy == o.ApprovedBy {
		return "", fault.New(fault.Denied, "vault.own")
	}
	if o.For == "" || o.Host == "" {
		return "", fault.New(fault.Missing, "vault.missing")
	}
	r, err := v.Get(ctx, o.Agent)
	if err != nil {
		return "", err
	}
	id := passOf(o.For)
	token = id + "." + base64.RawURLEncoding.EncodeToString(v.Keys.Mac("vault restore", id))
	held, _, err := get[keptPass](ctx, v, kindPass, id)
	switch {
	case fault.Of(err) == fault.Missing:
		now := v.moment()
		if o.AsOf, err = v.seen(ctx, o); err != nil {
			return "", err
		}
		p := keptPass{Pass{ID: id, Agent: r.Agent, Site: r.Site, Incident: o.Incident, Restore: o.For, Host: o.Host, Why: why, AsOf: o.AsOf, Lasts: openLasts, State: PassHolds,
			AskedBy: o.AskedBy, AskedAt: now, DecidedBy: o.ApprovedBy, DecidedAt: now, Until: now.Add(openLasts), TakenBy: o.Host, TakenAt: now}, v.mac(token)}
		return token, v.create(ctx, version{ID: id, Kind: kindPass, Agent: p.Agent, Site: p.Site, By: Hub}, p, p.opened())
	case err != nil:
		return "", err
	}
	return token, v.holdOn(ctx, id, held.Pass, o)
}

// seen is the time as of which a restore reads: where the hub's clock was set back,
// the snapshot that it is about was received later than the restore was asked for.
func (v *Vault) seen(ctx context.Context, o Opening) (time.Time, error) {
	if o.AsOf.IsZero() || o.Snapshot == "" {
		return o.AsOf, nil
	}
	repo, err := v.repository(ctx, o.Agent)
	if err != nil {
		return time.Time{}, err
	}
	if at, ok := repo.ReceivedAt(restic.Snapshots, o.Snapshot); ok && at.After(o.AsOf) {
		return at, nil
	}
	return o.AsOf, nil
}

// passOf is the id of the pass of a restore.
func passOf(restore string) string {
	_, rest, ok := strings.Cut(restore, "-")
	if !ok {
		rest = restore
	}
	return passPrefix + rest
}

// holdOn makes an opened pass longer where little is left of it.
func (v *Vault) holdOn(ctx context.Context, id string, p Pass, o Opening) error {
	over := fault.New(fault.Conflict, "vault.pass-over")
	if p.Restore != o.For || p.Agent != o.Agent || p.Host != o.Host || p.State != PassHolds {
		return over
	}
	if p.Until.Sub(v.moment()) > openLeft {
		return nil
	}
	return alter(ctx, v, kindPass, id, auth.Person{ID: Hub}, func(_ *state.Tx, _ string, p *keptPass) (said, error) {
		if p.State != PassHolds {
			return said{}, over
		}
		p.Until = v.moment().Add(openLasts)
		return said{}, nil
	})
}

// ClosePass ends the pass of a restore that has ended. One that never was, or
// that has ended, is left as it is.
func (v *Vault) ClosePass(ctx context.Context, restore string) error {
	id := passOf(restore)
	held, _, err := get[keptPass](ctx, v, kindPass, id)
	if fault.Of(err) == fault.Missing || err == nil && (held.Restore != restore || held.State != PassHolds) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end the pass of %s: %w", restore, err)
	}
	return alter(ctx, v, kindPass, id, auth.Person{ID: Hub}, func(_ *state.Tx, _ string, p *keptPass) (said, error) {
		if p.State != PassHolds { // a person was quicker
			return said{}, nil
		}
		p.State, p.EndedBy, p.EndedAt, p.Mac = PassEnded, Hub, v.moment(), ""
		return p.line("pass-closed", "", ""), nil
	})
}

// opened is the line of a pass that the hub opened.
func (p Pass) opened() said {
	s := p.line("pass-opened", p.AskedBy, p.Why)
	s.args["approver"], s.args["to"] = p.DecidedBy, p.Host
	return s
}
