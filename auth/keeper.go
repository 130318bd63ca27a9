package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
)

// Keeper keeps people, invitations and sessions. It is safe for concurrent use.
type Keeper struct {
	db       *state.DB
	keys     *secret.Keys
	now      clock.Now
	log      *slog.Logger
	policies *Policies
	denied   map[string]bool // passwords that everybody tries
	gate     gate            // bounds the memory of hashing
	nobody   string          // a hash to compare with when there is no such account
}

// New makes a Keeper on an open state. It hashes once, to have something to
// compare with for accounts that do not exist.
func New(db *state.DB, keys *secret.Keys, now clock.Now, log *slog.Logger) (*Keeper, error) {
	policies, err := LoadPolicies()
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		db: db, keys: keys, now: now, log: log.With("part", "auth"), policies: policies,
		denied: deniedPasswords(), gate: newGate(),
	}
	if k.nobody, err = hashPassword(rand.Text()); err != nil {
		return nil, err
	}
	return k, nil
}

// Allow decides whether p may do v to r.
func (k *Keeper) Allow(p Person, v Verb, r Resource) Decision { return k.policies.Allow(p, v, r) }

// NeedsSecondFactor says whether people with these rights must have TOTP.
func (k *Keeper) NeedsSecondFactor(roles []Role, site string) bool {
	return k.policies.NeedsSecondFactor(roles, site)
}

// must returns the refusal as an error, and records it.
func (k *Keeper) must(ctx context.Context, p Person, v Verb, r Resource) error {
	d := k.Allow(p, v, r)
	if d.Allowed {
		return nil
	}
	k.Refused(ctx, p, v, r, d)
	return fault.New(fault.Denied, d.Reason)
}

// tokenBytes is the length of session and invitation tokens.
const tokenBytes = 32

// newToken returns a token for a person and the hash under which it is kept.
func newToken() (token, hash string, err error) {
	var b [tokenBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", "", fmt.Errorf("make token: %w", err)
	}
	token = base64.RawURLEncoding.EncodeToString(b[:])
	hash, err = hashToken(token)
	return token, hash, err
}

var errToken = errors.New("not a token")

// hashToken checks the form of a token and returns the hash under which it is
// kept. The token has 256 random bits, so a plain SHA-256 keeps it.
func hashToken(token string) (string, error) {
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return "", errToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != tokenBytes {
		return "", errToken
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// account is a row of table person.
type account struct {
	Person
	password string
	totp     string // sealed
	step     int64
}

const accountColumns = `id, login, name, roles, site, lang, password, totp, totp_step, disabled, created_at`

func scanAccount(row interface{ Scan(...any) error }) (account, error) {
	var a account
	var roles string
	var created int64
	err := row.Scan(&a.ID, &a.Login, &a.Name, &roles, &a.Site, &a.Lang, &a.password, &a.totp, &a.step, &a.Disabled, &created)
	if err != nil {
		return account{}, err
	}
	if err := json.Unmarshal([]byte(roles), &a.Roles); err != nil {
		return account{}, fmt.Errorf("roles of %s: %w", a.ID, err)
	}
	a.HasTOTP = a.totp != ""
	a.CreatedAt = state.Time(created)
	return a, nil
}

// querier is db or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// reader lets the read pool be used as a querier.
type reader struct{ db *state.DB }

func (r reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return r.db.QueryRow(ctx, query, args...)
}

func accountBy(ctx context.Context, q querier, column, value string) (account, bool, error) {
	a, err := scanAccount(q.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM person WHERE `+column+` = $1`, value))
	if errors.Is(err, sql.ErrNoRows) {
		return account{}, false, nil
	}
	return a, err == nil, err
}

// People returns everybody, disabled ones included, by log-in name.
func (k *Keeper) People(ctx context.Context) ([]Person, error) {
	rows, err := k.db.Query(ctx, `SELECT `+accountColumns+` FROM person ORDER BY login`)
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	defer rows.Close()
	people := []Person{}
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return nil, fmt.Errorf("list people: %w", err)
		}
		people = append(people, a.Person)
	}
	return people, rows.Err()
}

// Person returns one person.
func (k *Keeper) Person(ctx context.Context, id string) (Person, error) {
	a, found, err := accountBy(ctx, reader{k.db}, "id", id)
	if err != nil {
		return Person{}, fmt.Errorf("person %s: %w", id, err)
	}
	if !found {
		return Person{}, fault.New(fault.Missing, "auth.no-person")
	}
	return a.Person, nil
}
