package asset

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Token lets one machine enrol at one site, once.
type Token struct {
	ID        string    `json:"id"`
	Secret    string    `json:"secret,omitempty"` // only in what NewToken returns
	Site      string    `json:"site"`
	Note      string    `json:"note"`
	MadeAt    time.Time `json:"made_at"`
	MadeBy    string    `json:"made_by"` // person id
	ExpiresAt time.Time `json:"expires_at"`
	UsedAt    time.Time `json:"used_at"` // zero: not used
	Host      string    `json:"host"`    // host that used it
	Refused   int       `json:"refused"` // how often it was tried in vain
}

// NewHost is what a machine says of itself when it enrols.
type NewHost struct {
	Token     string // the secret
	Name      string
	OS        string
	Agent     string
	Addresses []string
}

// Lifetimes of tokens.
const (
	DefaultTokenLifetime = time.Hour
	MaxTokenLifetime     = 7 * 24 * time.Hour
)

// hash is how a secret is stored. The secret has 256 random bits, so that a
// plain hash suffices.
func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// enrollable refuses a site that does not exist or is for practice only: a
// real machine there would raise real alerts marked as a drill.
func enrollable(ctx context.Context, tx *state.Tx, site string) error {
	if err := exists(ctx, tx, site); err != nil {
		return err
	}
	var drill bool
	if err := tx.QueryRowContext(ctx, `SELECT drill FROM asset_site WHERE id = $1`, site).Scan(&drill); err != nil {
		return fmt.Errorf("site %s: %w", site, err)
	}
	if drill {
		return fault.New(fault.Conflict, "asset.site-drill")
	}
	return nil
}

// NewToken makes a token for a site. lifetime 0 means DefaultTokenLifetime.
// Conflict: the site is for practice only.
// The secret is in the answer and nowhere else.
func (r *Registry) NewToken(ctx context.Context, site, note string, lifetime time.Duration, by auth.Person) (Token, error) {
	if lifetime == 0 {
		lifetime = DefaultTokenLifetime
	}
	if lifetime < 0 || lifetime > MaxTokenLifetime {
		return Token{}, fault.New(fault.Invalid, "asset.token-lifetime")
	}
	if !plain(note, maxName) {
		return Token{}, fault.New(fault.Invalid, "asset.text")
	}
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return Token{}, fmt.Errorf("make token: %w", err)
	}
	now := r.now().UTC()
	t := Token{ID: clock.ID("to", now), Secret: base64.RawURLEncoding.EncodeToString(b[:]), Site: site, Note: note,
		MadeAt: now, MadeBy: by.ID, ExpiresAt: now.Add(lifetime)}
	err := r.db.Tx(ctx, func(tx *state.Tx) error {
		if err := enrollable(ctx, tx, site); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO asset_token (id, hash, site, note, made_at, made_by, expires_at, used_at, host, refused)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', 0)`,
			t.ID, hash(t.Secret), site, note, state.Nanos(now), by.ID, state.Nanos(t.ExpiresAt))
		if err != nil {
			return fmt.Errorf("store token: %w", err)
		}
		return r.recordToken(ctx, tx, t, "made", by.ID)
	})
	if err != nil {
		return Token{}, err
	}
	return t, nil
}

// tokenRecord is what the leaf of a token covers.
type tokenRecord struct {
	ID   string `json:"id"`
	What string `json:"what"` // made | used | refused | revoked
	Site string `json:"site"`
	Host string `json:"host"`
	By   string `json:"by"`
	Salt string `json:"salt"`
}

func (r *Registry) recordToken(ctx context.Context, tx *state.Tx, t Token, what, by string) error {
	ref := "token/" + t.ID + "/" + what
	if what == "refused" {
		ref = fmt.Sprintf("%s/%d", ref, t.Refused)
	}
	return r.record(ctx, tx, ref, tokenRecord{ID: t.ID, What: what, Site: t.Site, Host: t.Host, By: by, Salt: leaf.Salt()})
}

const tokenColumns = `id, site, note, made_at, made_by, expires_at, used_at, host, refused`

func scanToken(row scanner) (Token, error) {
	var t Token
	var made, expires, used int64
	err := row.Scan(&t.ID, &t.Site, &t.Note, &made, &t.MadeBy, &expires, &used, &t.Host, &t.Refused)
	t.MadeAt, t.ExpiresAt, t.UsedAt = state.Time(made), state.Time(expires), state.Time(used)
	return t, err
}

// Tokens lists the newest tokens, at most 1000, without their secrets.
func (r *Registry) Tokens(ctx context.Context) ([]Token, error) {
	rows, err := r.db.Query(ctx, `SELECT `+tokenColumns+` FROM asset_token ORDER BY made_at DESC, id DESC LIMIT $1`, maxNumber)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	defer rows.Close()
	var out []Token
	for rows.Next() {
		t, err := scanToken(rows)
		if err != nil {
			return nil, fmt.Errorf("list tokens: %w", err)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// RevokeToken makes an unused token worthless. People of one site can revoke
// tokens of that site only: fault.Denied.
func (r *Registry) RevokeToken(ctx context.Context, id string, by auth.Person) error {
	return r.db.Tx(ctx, func(tx *state.Tx) error {
		t, err := scanToken(tx.QueryRowContext(ctx, `UPDATE asset_token SET expires_at = 1 WHERE id = $1 AND used_at = 0 RETURNING `+tokenColumns, id))
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.Missing, "asset.token-unknown")
		}
		if err != nil {
			return fmt.Errorf("revoke token %s: %w", id, err)
		}
		if by.Site != "" && by.Site != t.Site { // its id does not tell whose it is, so nobody could ask before
			return fault.New(fault.Denied, "asset.other-site")
		}
		return r.recordToken(ctx, tx, t, "revoked", by.ID)
	})
}

// Enroll uses a token and registers the host in one transaction. A token that
// is unknown, used or expired is refused with fault.Denied; the latter two are
// recorded.
func (r *Registry) Enroll(ctx context.Context, n NewHost) (Host, error) {
	h := Host{Name: n.Name, OS: n.OS, Agent: n.Agent, Addresses: addresses(n.Addresses), Class: "pc", Services: []Service{}}
	if err := checkHost(h); err != nil {
		return Host{}, err
	}
	if !plain(n.OS, maxName) || !plain(n.Agent, maxName) {
		return Host{}, fault.New(fault.Invalid, "asset.text")
	}
	var refused error // decided inside the transaction, which must commit all the same
	err := r.db.Tx(ctx, func(tx *state.Tx) error {
		t, err := scanToken(tx.QueryRowContext(ctx, `SELECT `+tokenColumns+` FROM asset_token WHERE hash = $1`, hash(n.Token)))
		if errors.Is(err, sql.ErrNoRows) {
			refused = fault.New(fault.Denied, "asset.token-unknown")
			return nil
		}
		if err != nil {
			return fmt.Errorf("enrol: %w", err)
		}
		if refused = r.usable(t); refused != nil {
			return r.refuseToken(ctx, tx, t)
		}
		return r.enroll(ctx, tx, &h, t)
	})
	if err = errors.Join(err, refused); err != nil {
		return Host{}, err
	}
	r.log.Info("host enrolled", "host", h.ID, "site", h.Site)
	return h, nil
}

func (r *Registry) usable(t Token) error {
	if !t.UsedAt.IsZero() {
		return fault.New(fault.Denied, "asset.token-used")
	}
	if r.now().After(t.ExpiresAt) {
		return fault.New(fault.Denied, "asset.token-expired")
	}
	return nil
}

func (r *Registry) refuseToken(ctx context.Context, tx *state.Tx, t Token) error {
	if err := tx.QueryRowContext(ctx, `UPDATE asset_token SET refused = refused + 1 WHERE id = $1 RETURNING refused`, t.ID).Scan(&t.Refused); err != nil {
		return fmt.Errorf("refuse token %s: %w", t.ID, err)
	}
	return r.recordToken(ctx, tx, t, "refused", "")
}

func (r *Registry) enroll(ctx context.Context, tx *state.Tx, h *Host, t Token) error {
	now := r.now().UTC()
	h.ID, h.Site, h.EnrolledAt, h.LastSeen = clock.ID("ho", now), t.Site, now, now
	rec := recordOf(*h)
	rec.Version, rec.Token = 1, t.ID
	if err := r.putHost(ctx, tx, *h, rec); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE asset_token SET used_at = $2, host = $3 WHERE id = $1`, t.ID, state.Nanos(now), h.ID); err != nil {
		return fmt.Errorf("use token %s: %w", t.ID, err)
	}
	t.Host = h.ID
	if err := r.recordToken(ctx, tx, t, "used", ""); err != nil {
		return err
	}
	return r.recordHost(ctx, tx, rec)
}
