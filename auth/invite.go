package auth

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Life of an invitation.
const (
	firstLife  = time.Hour
	inviteLife = 72 * time.Hour
)

// NewPerson is somebody to invite.
type NewPerson struct {
	Login string
	Name  string
	Roles []Role
	Site  string // own site; empty: all sites. Contractors must have one.
	Lang  string // ja when empty
}

// Invitation is what somebody sees who follows an invitation link.
type Invitation struct {
	Login      string // empty for the first administrator, who chooses it
	Name       string
	Roles      []Role
	Site       string
	First      bool
	Renewal    bool // of an existing person's password and second factor
	NeedsTOTP  bool
	TOTPSecret string // base32; may be used by those who need none, too
	TOTPURL    string // otpauth://…
	ExpiresAt  time.Time
}

// Acceptance is what somebody types who follows an invitation link.
type Acceptance struct {
	Login    string // first administrator only
	Name     string // empty keeps the invitation's
	Password string
	Code     string // of the second factor; empty when none is needed or wanted
	Lang     string // empty keeps the invitation's
}

// invitation is a row.
type invitation struct {
	Invitation
	person, lang, totp string
	used               bool
}

// FirstInvitation returns a new token for the first administrator, valid for
// an hour and once; earlier ones end. It returns "" when there is an
// administrator. The first one also responds: a small hospital has one person
// for both, and may take a role away later.
func (k *Keeper) FirstInvitation(ctx context.Context) (string, error) {
	token, hash, err := newToken()
	if err != nil {
		return "", err
	}
	there := false
	err = k.db.Tx(ctx, func(tx *state.Tx) error {
		n, err := administrators(ctx, tx)
		if err != nil {
			return err
		}
		if there = n > 0; there {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM invitation WHERE first = 1 AND used_at = 0`); err != nil {
			return err
		}
		inv := invitation{lang: "ja", Invitation: Invitation{First: true, Roles: []Role{Administrator, Responder}, ExpiresAt: k.now().Add(firstLife)}}
		return k.insertInvitation(ctx, tx, hash, inv, "")
	})
	if err != nil || there {
		return "", wrap("first invitation", err)
	}
	return token, nil
}

// Invite makes a single-use token for somebody new. A token for the same
// log-in name that was not used ends.
func (k *Keeper) Invite(ctx context.Context, n NewPerson, by Person) (string, error) {
	n.Login, n.Name = canonical(n.Login), strings.TrimSpace(n.Name)
	if n.Lang == "" {
		n.Lang = "ja"
	}
	if err := errors.Join(checkLogin(n.Login), checkName(n.Name), checkRoles(n.Roles, n.Site), checkLang(n.Lang)); err != nil {
		return "", first(err)
	}
	if err := k.must(ctx, by, Administer, Resource{Kind: "person", Site: n.Site}); err != nil {
		return "", err
	}
	token, hash, err := newToken()
	if err != nil {
		return "", err
	}
	err = k.db.Tx(ctx, func(tx *state.Tx) error {
		if _, found, err := accountBy(ctx, tx, "login", n.Login); err != nil || found {
			return or(err, fault.New(fault.Conflict, "auth.login-taken"))
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM invitation WHERE login = $1 AND used_at = 0`, n.Login); err != nil {
			return err
		}
		inv := invitation{lang: n.Lang, Invitation: Invitation{Login: n.Login, Name: n.Name, Roles: n.Roles, Site: n.Site, ExpiresAt: k.now().Add(inviteLife)}}
		return k.insertInvitation(ctx, tx, hash, inv, by.ID)
	})
	return token, wrap("invite", err)
}

// Renew makes a single-use token with which an existing person sets a new
// password and second factor: after a lost telephone, or before a role that
// needs the second factor. Until it is used nothing changes.
func (k *Keeper) Renew(ctx context.Context, id string, by Person) (string, error) {
	p, err := k.Person(ctx, id)
	if err != nil {
		return "", err
	}
	if err := k.must(ctx, by, Administer, Resource{Kind: "person", ID: id, Site: p.Site}); err != nil {
		return "", err
	}
	if p.Disabled {
		return "", fault.New(fault.Conflict, "auth.person-disabled")
	}
	token, hash, err := newToken()
	if err != nil {
		return "", err
	}
	err = k.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM invitation WHERE login = $1 AND used_at = 0`, p.Login); err != nil {
			return err
		}
		inv := invitation{person: p.ID, lang: p.Lang, Invitation: Invitation{Login: p.Login, Name: p.Name, Roles: p.Roles, Site: p.Site, ExpiresAt: k.now().Add(inviteLife)}}
		return k.insertInvitation(ctx, tx, hash, inv, by.ID)
	})
	return token, wrap("renew log-in", err)
}

// insertInvitation stores inv with a new second factor and records it.
func (k *Keeper) insertInvitation(ctx context.Context, tx *state.Tx, hash string, inv invitation, by string) error {
	secret, err := newTOTP()
	if err != nil {
		return err
	}
	sealed, err := k.sealTOTP(secret, hash)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO invitation (hash, person, first, login, name, roles, site, lang, totp, made_by, made_at, expires_at, used_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0)`,
		hash, inv.person, flag01(inv.First), inv.Login, inv.Name, state.JSON(inv.Roles), inv.Site, inv.lang, sealed, by,
		state.Nanos(k.now()), state.Nanos(inv.ExpiresAt))
	if err != nil {
		return err
	}
	return k.record(ctx, tx, Record{Kind: RecordPerson, What: "invited", Person: inv.person, By: by,
		Detail: map[string]string{"invitation": hash[:16], "roles": joinRoles(inv.Roles), "site": inv.Site}})
}

// Invitation returns what a token invites to, without using it.
func (k *Keeper) Invitation(ctx context.Context, token string) (Invitation, error) {
	inv, hash, err := k.readInvitation(ctx, reader{k.db}, token)
	if err != nil {
		return Invitation{}, err
	}
	if err := k.usable(inv); err != nil {
		return Invitation{}, err
	}
	if inv.TOTPSecret, err = k.unsealTOTP(inv.totp, hash); err != nil {
		return Invitation{}, err
	}
	inv.TOTPURL, err = totpURL(inv.TOTPSecret, inv.Login)
	return inv.Invitation, err
}

func (k *Keeper) readInvitation(ctx context.Context, q querier, token string) (invitation, string, error) {
	hash, err := hashToken(strings.TrimSpace(token))
	if err != nil {
		return invitation{}, "", fault.New(fault.Missing, "auth.invitation-unknown").With(err)
	}
	var inv invitation
	var roles string
	var expires, used int64
	err = q.QueryRowContext(ctx, `SELECT person, first, login, name, roles, site, lang, totp, expires_at, used_at FROM invitation WHERE hash = $1`, hash).
		Scan(&inv.person, &inv.First, &inv.Login, &inv.Name, &roles, &inv.Site, &inv.lang, &inv.totp, &expires, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return invitation{}, "", fault.New(fault.Missing, "auth.invitation-unknown")
	}
	if err != nil {
		return invitation{}, "", fmt.Errorf("invitation: %w", err)
	}
	if err := json.Unmarshal([]byte(roles), &inv.Roles); err != nil {
		return invitation{}, "", fmt.Errorf("invitation: %w", err)
	}
	inv.ExpiresAt, inv.used, inv.Renewal = state.Time(expires), used != 0, inv.person != ""
	inv.NeedsTOTP = k.NeedsSecondFactor(inv.Roles, inv.Site)
	return inv, hash, nil
}

func (k *Keeper) usable(inv invitation) error {
	if inv.used {
		return fault.New(fault.Conflict, "auth.invitation-used")
	}
	if !k.now().Before(inv.ExpiresAt) {
		return fault.New(fault.Conflict, "auth.invitation-expired")
	}
	return nil
}

// Accept makes the person that a token invites, or renews their log-in. The
// token ends with it; a second use is refused and recorded. The code shows
// that the telephone learned the secret; it may be used to log in right after.
func (k *Keeper) Accept(ctx context.Context, token string, a Acceptance) (Person, error) {
	inv, hash, err := k.readInvitation(ctx, reader{k.db}, token)
	if err != nil {
		return Person{}, err
	}
	if err := k.usable(inv); err != nil {
		if inv.used {
			k.replayed(ctx, hash)
		}
		return Person{}, err
	}
	acct, secret, err := k.complete(inv, hash, a)
	if err != nil {
		return Person{}, err
	}
	err = k.gate.do(ctx, func() error {
		var err error
		acct.password, err = hashPassword(a.Password)
		return err
	})
	if err != nil {
		return Person{}, err
	}
	if secret != "" {
		if acct.totp, err = k.sealTOTP(secret, acct.ID); err != nil {
			return Person{}, err
		}
		acct.HasTOTP = true
	}
	err = k.db.Tx(ctx, func(tx *state.Tx) error { return k.use(ctx, tx, hash, inv, acct) })
	if fault.Of(err) == fault.Conflict {
		k.replayed(ctx, hash)
	}
	if err != nil {
		return Person{}, wrap("accept invitation", err)
	}
	return k.Person(ctx, acct.ID)
}

// complete checks what was typed. secret is that of the second factor, "" when
// the person takes none.
func (k *Keeper) complete(inv invitation, hash string, a Acceptance) (acct account, secret string, err error) {
	p := Person{ID: inv.person, Login: inv.Login, Name: inv.Name, Roles: inv.Roles, Site: inv.Site, Lang: inv.lang, CreatedAt: k.now().UTC()}
	if p.ID == "" {
		p.ID = clock.ID("pe", p.CreatedAt)
	}
	if inv.First {
		p.Login = canonical(a.Login)
	}
	if name := strings.TrimSpace(a.Name); name != "" {
		p.Name = name
	}
	if a.Lang != "" {
		p.Lang = a.Lang
	}
	err = errors.Join(checkLogin(p.Login), checkName(p.Name), checkLang(p.Lang), k.checkPassword(a.Password, p.Login))
	if err != nil {
		return account{}, "", first(err)
	}
	if !inv.NeedsTOTP && strings.TrimSpace(a.Code) == "" {
		return account{Person: p}, "", nil
	}
	if secret, err = k.unsealTOTP(inv.totp, hash); err != nil {
		return account{}, "", err
	}
	if _, ok := matchCode(secret, a.Code, k.now(), 0); !ok {
		return account{}, "", fault.New(fault.Invalid, "auth.code-wrong")
	}
	return account{Person: p}, secret, nil
}

// use marks the invitation as used and stores the person, at most once.
func (k *Keeper) use(ctx context.Context, tx *state.Tx, hash string, inv invitation, a account) error {
	now := state.Nanos(k.now())
	res, err := tx.ExecContext(ctx, `UPDATE invitation SET used_at = $1, totp = '' WHERE hash = $2 AND used_at = 0 AND expires_at > $1`, now, hash)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return or(err, fault.New(fault.Conflict, "auth.invitation-used"))
	}
	if inv.First {
		if n, err := administrators(ctx, tx); err != nil || n > 0 {
			return or(err, fault.New(fault.Conflict, "auth.invitation-used"))
		}
	}
	what := "accepted"
	if inv.Renewal {
		what = "renewed"
		err = k.renewPerson(ctx, tx, a)
	} else {
		err = insertPerson(ctx, tx, a)
	}
	if err != nil {
		return err
	}
	return k.record(ctx, tx, Record{Kind: RecordPerson, What: what, Person: a.ID,
		Detail: map[string]string{"invitation": hash[:16], "roles": joinRoles(a.Roles), "site": a.Site, "second_factor": fmt.Sprint(a.HasTOTP)}})
}

func insertPerson(ctx context.Context, tx *state.Tx, a account) error {
	if _, found, err := accountBy(ctx, tx, "login", a.Login); err != nil || found {
		return or(err, fault.New(fault.Invalid, "auth.login-taken"))
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO person (`+accountColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9)`,
		a.ID, a.Login, a.Name, state.JSON(a.Roles), a.Site, a.Lang, a.password, a.totp, state.Nanos(a.CreatedAt))
	return err
}

// renewPerson sets password and second factor; rights stay what they are now,
// whatever they were when the invitation was made.
func (k *Keeper) renewPerson(ctx context.Context, tx *state.Tx, a account) error {
	now, found, err := accountBy(ctx, tx, "id", a.ID)
	if err != nil {
		return err
	}
	if !found || now.Disabled {
		return fault.New(fault.Invalid, "auth.person-disabled")
	}
	if a.totp == "" && k.NeedsSecondFactor(now.Roles, now.Site) {
		return fault.New(fault.Invalid, "auth.code-wrong")
	}
	_, err = tx.ExecContext(ctx, `UPDATE person SET name = $1, lang = $2, password = $3, totp = $4, totp_step = 0 WHERE id = $5`,
		a.Name, a.Lang, a.password, a.totp, a.ID)
	if err != nil {
		return err
	}
	return endSessions(ctx, tx, a.ID)
}

// replayed records the second use of a token.
func (k *Keeper) replayed(ctx context.Context, hash string) {
	k.log.Warn("invitation used a second time", "invitation", hash[:16])
	k.recordNow(ctx, Record{ID: k.once("replayed", hash), Kind: RecordLogin, What: "invitation-replayed",
		Detail: map[string]string{"invitation": hash[:16]}})
}
