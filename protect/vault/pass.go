package vault

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// PassState is how far a pass is.
type PassState string

// States of a pass: it waits for a second person, holds, was refused, was ended.
// One whose time is over is ended too.
const (
	PassAsked   PassState = "asked"
	PassHolds   PassState = "holds"
	PassRefused PassState = "refused"
	PassEnded   PassState = "ended"
)

// Pass lets whoever holds its token read one repository for a short time (復元の
// 許可). One person asks, another one approves.
type Pass struct {
	ID        string        `json:"id"`
	Agent     string        `json:"agent"` // whose repository
	Site      string        `json:"site"`
	Incident  string        `json:"incident,omitempty"`
	Restore   string        `json:"restore,omitempty"` // for which the hub opened it by itself
	Host      string        `json:"host,omitempty"`    // the one machine that may use it; empty: whoever has the token
	Why       string        `json:"why"`
	AsOf      time.Time     `json:"as_of,omitzero"` // what was received later cannot be seen with it; zero: all can
	Lasts     time.Duration `json:"lasts"`          // from the approval on
	State     PassState     `json:"state"`
	AskedBy   string        `json:"asked_by"`
	AskedAt   time.Time     `json:"asked_at"`
	DecidedBy string        `json:"decided_by,omitempty"`
	DecidedAt time.Time     `json:"decided_at,omitzero"`
	Until     time.Time     `json:"until,omitzero"`
	TakenBy   string        `json:"taken_by,omitempty"` // who got the token that counts
	TakenAt   time.Time     `json:"taken_at,omitzero"`
	EndedBy   string        `json:"ended_by,omitempty"`
	EndedAt   time.Time     `json:"ended_at,omitzero"`
	Reason    string        `json:"reason,omitempty"` // why it was refused or ended
}

// keptPass is a pass with what knows its token again.
type keptPass struct {
	Pass
	Mac string `json:"mac,omitempty"` // keyed digest of the token
}

// At is its state at a moment: one whose time is over is ended.
func (p Pass) At(now time.Time) PassState {
	if p.State == PassHolds && !now.Before(p.Until) {
		return PassEnded
	}
	return p.State
}

// NewPass is what a person asks for.
type NewPass struct {
	Agent    string
	Incident string
	Why      string
	AsOf     time.Time
	Lasts    time.Duration // 0: PassLasts
}

// passPrefix begins the ids of passes.
const passPrefix = "vp-"

// How long a pass holds.
const (
	PassLasts = 8 * time.Hour
	passMost  = 72 * time.Hour
	passLeast = 10 * time.Minute
)

// AskPass asks for a pass.
func (v *Vault) AskPass(ctx context.Context, n NewPass, by auth.Person) (Pass, error) {
	why, err := reasonOf(n.Why)
	if err != nil {
		return Pass{}, err
	}
	if n.Lasts == 0 {
		n.Lasts = PassLasts
	}
	now := v.moment()
	switch {
	case n.Lasts < passLeast || n.Lasts > passMost:
		return Pass{}, fault.New(fault.Invalid, "vault.lasts", passLeast, passMost)
	case n.AsOf.After(now):
		return Pass{}, fault.New(fault.Invalid, "vault.as-of")
	}
	r, err := v.Get(ctx, n.Agent)
	if err != nil {
		return Pass{}, err
	}
	p := Pass{ID: clock.ID(strings.TrimSuffix(passPrefix, "-"), now), Agent: r.Agent, Site: r.Site, Incident: n.Incident, Why: why, Lasts: n.Lasts, State: PassAsked, AskedBy: by.ID, AskedAt: now}
	if !n.AsOf.IsZero() {
		p.AsOf = state.Time(state.Nanos(n.AsOf))
	}
	return p, v.create(ctx, version{ID: p.ID, Kind: kindPass, Agent: p.Agent, Site: p.Site, By: by.ID}, p, p.line("pass-asked", by.ID, why))
}

func (p Pass) line(key, by, reason string) said {
	return said{incident: p.Incident, key: "vault." + key, args: map[string]string{"host": p.Agent, "by": by, "reason": reason, "until_at": stamp(p.Until), "as_of_at": stamp(p.AsOf)}}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// ApprovePass lets a pass hold from now on. It takes an approver who did not ask.
func (v *Vault) ApprovePass(ctx context.Context, id string, by auth.Person) error {
	return alter(ctx, v, kindPass, id, by, func(_ *state.Tx, _ string, p *keptPass) (said, error) {
		if p.State != PassAsked {
			return said{}, fault.New(fault.Conflict, "vault.not-waiting")
		}
		if err := another(p.AskedBy, by); err != nil {
			return said{}, err
		}
		now := v.moment()
		p.State, p.DecidedBy, p.DecidedAt, p.Until = PassHolds, by.ID, now, now.Add(p.Lasts)
		return p.line("pass-approved", by.ID, ""), nil
	})
}

// RefusePass says no; who asked may take it back.
func (v *Vault) RefusePass(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	return alter(ctx, v, kindPass, id, by, func(_ *state.Tx, _ string, p *keptPass) (said, error) {
		if p.State != PassAsked {
			return said{}, fault.New(fault.Conflict, "vault.not-waiting")
		}
		if by.ID != p.AskedBy {
			if err := another(p.AskedBy, by); err != nil {
				return said{}, err
			}
		}
		p.State, p.DecidedBy, p.DecidedAt, p.Reason = PassRefused, by.ID, v.moment(), reason
		return p.line("pass-refused", by.ID, reason), nil
	})
}

// EndPass ends a pass at once. One person is enough.
func (v *Vault) EndPass(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	return alter(ctx, v, kindPass, id, by, func(_ *state.Tx, _ string, p *keptPass) (said, error) {
		if p.At(v.moment()) != PassHolds {
			return said{}, fault.New(fault.Conflict, "vault.pass-over")
		}
		p.State, p.EndedBy, p.EndedAt, p.Reason, p.Mac = PassEnded, by.ID, v.moment(), reason, ""
		return p.line("pass-ended", by.ID, reason), nil
	})
}

// TakeToken returns a token of a pass that holds. It is told once; taking
// another one makes the one before worthless. That of a restore is its machine's
// alone: fault.Denied.
func (v *Vault) TakeToken(ctx context.Context, id string, by auth.Person) (string, error) {
	secret := make([]byte, passwordBytes)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token := id + "." + base64.RawURLEncoding.EncodeToString(secret)
	err := alter(ctx, v, kindPass, id, by, func(_ *state.Tx, _ string, p *keptPass) (said, error) {
		if p.At(v.moment()) != PassHolds {
			return said{}, fault.New(fault.Conflict, "vault.pass-over")
		}
		if p.Restore != "" { // its machine would be locked out, and no person may read with it
			return said{}, fault.New(fault.Denied, "vault.pass-restore")
		}
		p.Mac, p.TakenBy, p.TakenAt = v.mac(token), by.ID, v.moment()
		return p.line("pass-taken", by.ID, ""), nil
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

func (v *Vault) mac(token string) string { return hex.EncodeToString(v.Keys.Mac("vault pass", token)) }

// maxToken bounds a token, in bytes.
const maxToken = 200

// Reader returns the pass that a token belongs to, while it holds; host is that
// of the client certificate beside it, which must then be trusted: fault.Denied
// otherwise.
func (v *Vault) Reader(ctx context.Context, host, token string) (Pass, error) {
	stranger := fault.New(fault.Denied, "vault.token")
	id, _, ok := strings.Cut(token, ".")
	if !ok || len(token) > maxToken {
		return Pass{}, stranger
	}
	if host != "" {
		if _, err := v.member(ctx, host); err != nil {
			return Pass{}, err
		}
	}
	p, _, err := get[keptPass](ctx, v, kindPass, id)
	if fault.Of(err) == fault.Missing {
		return Pass{}, stranger
	}
	if err != nil {
		return Pass{}, err
	}
	if p.At(v.moment()) != PassHolds || p.Mac == "" || subtle.ConstantTimeCompare([]byte(p.Mac), []byte(v.mac(token))) != 1 {
		return Pass{}, stranger
	}
	if p.Host != "" && p.Host != host {
		return Pass{}, stranger
	}
	return p.Pass, nil
}

// Writer says whether a host may reach its own repository, with the site that its
// certificate names.
func (v *Vault) Writer(ctx context.Context, site, host string) error {
	h, err := v.member(ctx, host)
	if err == nil && h.Site != site {
		err = fault.New(fault.Denied, "agentlink.certificate")
	}
	if err != nil {
		return fmt.Errorf("host %s: %w", host, err)
	}
	return nil
}

// Passes are those of an agent's repository, of all where it is empty, of a site
// where that is not; the newest first.
func (v *Vault) Passes(ctx context.Context, agent, site string) ([]Pass, error) {
	return list[Pass](ctx, v, kindPass, agent, site, 200)
}

// PassByID returns one pass, or fault.Missing.
func (v *Vault) PassByID(ctx context.Context, id string) (Pass, error) {
	p, _, err := get[Pass](ctx, v, kindPass, id)
	return p, err
}
