package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Life of a session.
const (
	idleLife     = 30 * time.Minute
	absoluteLife = 12 * time.Hour
	// seenEvery keeps reading pages from writing every time.
	seenEvery = time.Minute
)

// Credentials are what somebody types to log in.
type Credentials struct {
	Login    string
	Password string
	Code     string // of the second factor, empty when there is none
	Address  string // where it comes from, "ip" or "ip:port"; empty: unknown
}

// Session is a log-in. The token is known to the person's browser only.
type Session struct {
	Token     string
	Person    Person
	ExpiresAt time.Time // at the latest; earlier when idle
}

// LogIn starts a session. Every refusal for a wrong name, password or code, or
// a disabled account, is the same error after the same work, so that nobody
// learns which accounts exist.
func (k *Keeper) LogIn(ctx context.Context, c Credentials) (Session, error) {
	login := canonical(c.Login)
	list := k.attempts(login, c.Address)
	if err := k.reserve(ctx, list); err != nil {
		return Session{}, err
	}
	a, found, err := accountBy(ctx, reader{k.db}, "login", login)
	if err != nil {
		return Session{}, fmt.Errorf("log in: %w", err)
	}
	right, weak, err := k.compare(ctx, a, found, c.Password)
	if err != nil { // nothing was tried, so it does not count
		ctx := context.WithoutCancel(ctx)
		undo := k.db.Tx(ctx, func(tx *state.Tx) error { return k.settle(ctx, tx, list, false) })
		return Session{}, errors.Join(err, undo)
	}
	step, rightCode, err := k.secondFactor(a, c.Code)
	if err != nil {
		return Session{}, fmt.Errorf("log in: %w", err)
	}
	if !found || !right || !rightCode || a.Disabled {
		return Session{}, k.refuseLogIn(ctx, list, a.ID)
	}
	renewed := ""
	if weak {
		if renewed, err = hashPassword(c.Password); err != nil {
			return Session{}, err
		}
	}
	return k.start(ctx, a, step, list, renewed)
}

// compare hashes the password even when there is nobody to compare it with.
func (k *Keeper) compare(ctx context.Context, a account, found bool, password string) (right, weak bool, err error) {
	hash := a.password
	if !found {
		hash = k.nobody
	}
	if len(password) > 4*maxPassword { // bytes; no such password was ever accepted
		password = ""
	}
	err = k.gate.do(ctx, func() error {
		var err error
		right, weak, err = comparePassword(hash, password)
		return err
	})
	return right && found, weak, err
}

// secondFactor checks the code of those who have a second factor, and refuses
// those who must have one and have not.
func (k *Keeper) secondFactor(a account, code string) (step int64, ok bool, err error) {
	if a.totp == "" {
		return a.step, !k.NeedsSecondFactor(a.Roles, a.Site), nil
	}
	secret, err := k.unsealTOTP(a.totp, a.ID)
	if err != nil {
		return 0, false, err
	}
	step, ok = matchCode(secret, code, k.now(), a.step)
	return step, ok, nil
}

// refused is the one answer to every log-in that does not work.
func refused() *fault.Error { return fault.New(fault.Denied, "auth.refused") }

// refuseLogIn records the lock-out that the failure caused, if it did.
func (k *Keeper) refuseLogIn(ctx context.Context, list []attempt, person string) error {
	for i, a := range list {
		d, err := k.lockedOut(ctx, a)
		if err != nil {
			return err
		}
		if d > 0 {
			about := []string{person, ""}[min(i, 1)] // an address is nobody's
			k.recordNow(ctx, Record{Kind: RecordLogin, What: "locked-out", Person: about, Detail: map[string]string{
				"by": strings.SplitN(a.key, "/", 2)[0], "seconds": fmt.Sprint(int(d.Seconds())),
			}})
		}
	}
	return refused()
}

// start stores the session of somebody who showed everything.
func (k *Keeper) start(ctx context.Context, a account, step int64, list []attempt, renewed string) (Session, error) {
	token, hash, err := newToken()
	if err != nil {
		return Session{}, err
	}
	now := k.now()
	s := Session{Token: token, Person: a.Person, ExpiresAt: now.Add(absoluteLife).UTC()}
	err = k.db.Tx(ctx, func(tx *state.Tx) error {
		// the same code or a disabling may have come first
		res, err := tx.ExecContext(ctx, `UPDATE person SET totp_step = $1, password = CASE WHEN $2 = '' THEN password ELSE $2 END
			WHERE id = $3 AND disabled = 0 AND password = $4 AND (totp = '' OR totp_step < $1)`, step, renewed, a.ID, a.password)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return or(err, refused())
		}
		if err := k.settle(ctx, tx, list, true); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM session WHERE expires_at < $1 OR seen_at < $2`,
			state.Nanos(now), state.Nanos(now.Add(-idleLife))); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO session (hash, person, made_at, seen_at, expires_at) VALUES ($1, $2, $3, $3, $4)`,
			hash, a.ID, state.Nanos(now), state.Nanos(s.ExpiresAt)); err != nil {
			return err
		}
		if !k.NeedsSecondFactor(a.Roles, a.Site) {
			return nil
		}
		return k.record(ctx, tx, Record{Kind: RecordLogin, What: "logged-in", Person: a.ID})
	})
	if err != nil {
		return Session{}, fmt.Errorf("start session: %w", err)
	}
	return s, nil
}

// Session returns who holds a token, with today's roles. fault.Denied means
// that there is no such session any more.
func (k *Keeper) Session(ctx context.Context, token string) (Person, error) {
	hash, err := hashToken(token)
	if err != nil {
		return Person{}, fault.New(fault.Denied, "auth.session-ended").With(err)
	}
	var person string
	var seen, expires int64
	err = k.db.QueryRow(ctx, `SELECT person, seen_at, expires_at FROM session WHERE hash = $1`, hash).Scan(&person, &seen, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, fault.New(fault.Denied, "auth.session-ended")
	}
	if err != nil {
		return Person{}, fmt.Errorf("session: %w", err)
	}
	now := k.now()
	if !now.Before(state.Time(expires)) || !now.Before(state.Time(seen).Add(idleLife)) {
		return Person{}, fault.New(fault.Denied, "auth.session-ended")
	}
	a, found, err := accountBy(ctx, reader{k.db}, "id", person)
	if err != nil {
		return Person{}, fmt.Errorf("session: %w", err)
	}
	if !found || a.Disabled {
		return Person{}, fault.New(fault.Denied, "auth.session-ended")
	}
	if now.Sub(state.Time(seen)) >= seenEvery {
		err = k.db.Tx(ctx, func(tx *state.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE session SET seen_at = $1 WHERE hash = $2 AND seen_at < $1`, state.Nanos(now), hash)
			return err
		})
		if err != nil {
			return Person{}, fmt.Errorf("session: %w", err)
		}
	}
	return a.Person, nil
}

// LogOut ends a session. An unknown token is no error: it has ended.
func (k *Keeper) LogOut(ctx context.Context, token string) error {
	hash, err := hashToken(token)
	if err != nil {
		return nil
	}
	err = k.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM session WHERE hash = $1`, hash)
		return err
	})
	if err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	return nil
}

// endSessions ends all sessions of a person.
func endSessions(ctx context.Context, tx *state.Tx, person string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM session WHERE person = $1`, person); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}

// canonical is how a log-in name is compared and kept.
func canonical(login string) string { return strings.ToLower(strings.TrimSpace(login)) }
