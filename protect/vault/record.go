package vault

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Kinds of records.
const (
	kindRepository = "repository"
	kindRecipients = "recipients"
	kindPass       = "pass"
	kindCut        = "cut"
	kindRefusal    = "refusal"
	kindRead       = "read"
	kindReadNew    = "read-new"
	kindHead       = "head"
	kindPruning    = "pruning"
)

// leafType is the type of the leaves that bind every version.
const leafType = "vault"

// Subject tells of every new version: a Changed.
const Subject = "protect.vault"

// version is a thing of the vault as it was from At on.
type version struct {
	ID    string          `json:"id"`
	No    int             `json:"no"` // from 1, without gaps
	Kind  string          `json:"kind"`
	Agent string          `json:"agent"` // empty: it is about several
	Site  string          `json:"site"`
	At    time.Time       `json:"at"`
	By    string          `json:"by"` // person id, or Hub
	Body  json.RawMessage `json:"body"`
	Salt  string          `json:"salt"`
}

// Changed tells of a new version, and what the chronology of an incident says of
// it (Key empty: nothing).
type Changed struct {
	ID       string            `json:"id"`
	No       int               `json:"no"`
	Kind     string            `json:"kind"`
	Agent    string            `json:"agent"`
	Site     string            `json:"site"`
	At       time.Time         `json:"at"`
	Incident string            `json:"incident,omitempty"`
	Key      string            `json:"key,omitempty"`
	Args     map[string]string `json:"args,omitempty"`
	Happened time.Time         `json:"happened,omitzero"` // where it is told later than it was
}

// said is what a change says to the chronology.
type said struct {
	incident, key string
	args          map[string]string
	at            time.Time // when it happened, where that was not just now
}

// ref names a version in the ledger.
func (x version) ref() string { return fmt.Sprintf("%s/%d", x.ID, x.No) }

func (x version) leaf() (leaf.Leaf, error) { return leaf.Of(leafType, x.ref(), x.At, x) }

// put stores the next version of a thing; x.No is that of the last one. what is
// its content.
func (v *Vault) put(ctx context.Context, tx *state.Tx, x version, what any, s said) error {
	x.At, x.Body, x.Salt, x.No = v.moment(), json.RawMessage(state.JSON(what)), leaf.Salt(), x.No+1
	_, err := tx.ExecContext(ctx, `INSERT INTO vault_record (id, no, kind, agent, site, body) VALUES ($1, $2, $3, $4, $5, $6)`, x.ID, x.No, x.Kind, x.Agent, x.Site, state.JSON(x))
	if err != nil {
		return fmt.Errorf("keep %s %s: %w", x.Kind, x.ID, err)
	}
	l, err := x.leaf()
	if err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record."+leafType, "record."+leafType+":"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, Subject, Subject+":"+l.Ref, Changed{ID: x.ID, No: x.No, Kind: x.Kind, Agent: x.Agent, Site: x.Site, At: x.At, Incident: s.incident, Key: s.key, Args: s.args, Happened: s.at})
}

// create stores a new thing.
func (v *Vault) create(ctx context.Context, x version, what any, s said) error {
	return v.db.Tx(ctx, func(tx *state.Tx) error { return v.put(ctx, tx, x, what, s) })
}

// alter makes the next version of a thing; until the transaction ends nobody
// else makes one. change is given the site of the thing.
func alter[T any](ctx context.Context, v *Vault, kind, id string, by auth.Person, change func(tx *state.Tx, site string, t *T) (said, error)) error {
	err := v.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE vault_record SET no = no WHERE id = $1 AND no = 1`, id); err != nil {
			return err
		}
		x, err := scan(tx.QueryRowContext(ctx, newest, id, kind))
		if err != nil {
			return err
		}
		var t T
		if err := json.Unmarshal(x.Body, &t); err != nil {
			return err
		}
		s, err := change(tx, x.Site, &t)
		if err != nil {
			return err
		}
		x.By = by.ID
		return v.put(ctx, tx, x, t, s)
	})
	if err != nil {
		return fmt.Errorf("change %s %s: %w", kind, id, err)
	}
	return nil
}

const newest = `SELECT body FROM vault_record WHERE id = $1 AND kind = $2 ORDER BY no DESC LIMIT 1`

// get decodes the newest version of a thing, or fault.Missing.
func get[T any](ctx context.Context, v *Vault, kind, id string) (T, version, error) {
	var t T
	x, err := scan(v.db.QueryRow(ctx, newest, id, kind))
	if err == nil {
		err = json.Unmarshal(x.Body, &t)
	}
	if err != nil {
		return t, x, fmt.Errorf("%s %s: %w", kind, id, err)
	}
	return t, x, nil
}

// list decodes the newest versions of things of a kind, the newest things first:
// of one agent and one site where they are not empty, at most limit.
func list[T any](ctx context.Context, v *Vault, kind, agent, site string, limit int) ([]T, error) {
	all, err := v.db.Query(ctx, `SELECT a.body FROM vault_record a WHERE a.kind = $1 AND (CAST($2 AS TEXT) = '' OR a.agent = $2) AND (CAST($3 AS TEXT) = '' OR a.site = $3)
		AND NOT EXISTS (SELECT 1 FROM vault_record b WHERE b.id = a.id AND b.no > a.no) ORDER BY a.id DESC LIMIT $4`, kind, agent, site, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kind, err)
	}
	defer all.Close()
	var out []T
	for all.Next() {
		x, err := scan(all)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", kind, err)
		}
		var t T
		if err := json.Unmarshal(x.Body, &t); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", kind, x.ID, err)
		}
		out = append(out, t)
	}
	return out, all.Err()
}

func scan(row interface{ Scan(dest ...any) error }) (version, error) {
	var x version
	var body string
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return x, fault.New(fault.Missing, "vault.missing")
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &x)
	}
	return x, err
}

// VerifyRows compares every version with the ledger. It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	return rows.Verify(ctx, db, rows.Table{Type: leafType, Query: `SELECT body, id, no, kind, agent, site FROM vault_record`, Leaf: func(columns []any) (leaf.Leaf, error) {
		var x version
		unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
		if err := rows.Body(columns[0], &x); err != nil {
			return unusable, err
		}
		if err := rows.Repeat(columns[1:], x.ID, int64(x.No), x.Kind, x.Agent, x.Site); err != nil {
			return unusable, err
		}
		return x.leaf()
	}}, leaves)
}

// clean makes one line of text fit for storing: fault.Invalid when it has more
// than most characters.
func clean(s string, most int) (string, error) {
	s = strings.TrimSpace(s)
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > most || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }) {
		return "", fault.New(fault.Invalid, "vault.text", most)
	}
	return s, nil
}

func hasRole(p auth.Person, want ...auth.Role) bool {
	return slices.ContainsFunc(want, func(r auth.Role) bool { return slices.Contains(p.Roles, r) })
}
