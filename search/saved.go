package search

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Limits of what people keep.
const (
	MaxQuery = 8192 // characters of a query, as in package archive/lang
	maxName  = 100  // characters
	maxSpan  = 60   // bytes
	maxSaved = 200  // of one person
	maxPast  = 30   // searches that history remembers of one person
)

// Saved is a search that somebody keeps.
type Saved struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	Query  string    `json:"query"`
	Span   string    `json:"span"` // 15m, 1h, 24h, 7d, 30d, or "from/to" in RFC 3339
	Shared bool      `json:"shared"`
	Owner  string    `json:"owner"` // person id
	MadeAt time.Time `json:"made_at"`
}

// NewSaved is a search to be kept.
type NewSaved struct {
	Name, Query, Span string
	Shared            bool
}

// Past is a search that a person made before.
type Past struct {
	Query string    `json:"query"`
	Span  string    `json:"span"`
	At    time.Time `json:"at"`
}

// Save keeps a search. Invalid for an empty or too long name or query;
// Conflict "searchpage.too-many" when the person keeps too many already.
func (d *Desk) Save(ctx context.Context, n NewSaved, by auth.Person) (Saved, error) {
	name, err := named(n.Name)
	if err != nil {
		return Saved{}, err
	}
	if !storable(n.Query) || !storable(n.Span) || len(n.Span) > maxSpan {
		return Saved{}, fault.New(fault.Invalid, "searchpage.query-long", MaxQuery)
	}
	if !validSpan(n.Span) {
		return Saved{}, fault.New(fault.Invalid, "searchpage.span")
	}
	at := d.moment()
	s := Saved{ID: clock.ID("se", at), Name: name, Query: strings.TrimSpace(n.Query), Span: n.Span, Shared: n.Shared, Owner: by.ID, MadeAt: at}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		var have int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM search_saved WHERE owner = $1`, by.ID).Scan(&have); err != nil {
			return err
		}
		if have >= maxSaved {
			return fault.New(fault.Conflict, "searchpage.too-many", maxSaved)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO search_saved (id, owner, site, shared, name, query, span, made_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			s.ID, s.Owner, by.Site, bit(s.Shared), s.Name, s.Query, s.Span, state.Nanos(at))
		return err
	})
	if err != nil {
		return Saved{}, fmt.Errorf("save search: %w", err)
	}
	return s, nil
}

// validSpan says whether a range of time is one that Saved describes; without
// one the page takes its usual.
func validSpan(span string) bool {
	if slices.Contains([]string{"", "15m", "1h", "24h", "7d", "30d"}, span) {
		return true
	}
	from, to, _ := strings.Cut(span, "/")
	_, err := time.Parse(time.RFC3339, from)
	_, err2 := time.Parse(time.RFC3339, to)
	return err == nil && err2 == nil
}

// storable says whether a text is one that both engines of the state can keep,
// of bounded length.
func storable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0) && utf8.RuneCountInString(text) <= MaxQuery
}

// named is a name as it is kept: one line.
func named(name string) (string, error) {
	name = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))), " ")
	if n := utf8.RuneCountInString(name); n == 0 || n > maxName {
		return "", fault.New(fault.Invalid, "searchpage.name", maxName)
	}
	return name, nil
}

// Saved lists the searches that a person keeps and those that others shared
// with them, by name.
func (d *Desk) Saved(ctx context.Context, by auth.Person) ([]Saved, error) {
	rows, err := d.db.Query(ctx, `SELECT id, owner, shared, name, query, span, made_at FROM search_saved
		WHERE owner = $1 OR (shared = 1 AND ($2 = '' OR site = $2)) ORDER BY name, id LIMIT 1000`, by.ID, by.Site)
	if err != nil {
		return nil, fmt.Errorf("list saved searches: %w", err)
	}
	defer rows.Close()
	list := []Saved{}
	for rows.Next() {
		var s Saved
		var shared int
		var at int64
		if err := rows.Scan(&s.ID, &s.Owner, &shared, &s.Name, &s.Query, &s.Span, &at); err != nil {
			return nil, fmt.Errorf("list saved searches: %w", err)
		}
		s.Shared, s.MadeAt = shared == 1, state.Time(at)
		list = append(list, s)
	}
	return list, rows.Err()
}

// Rename gives a search of the person's own another name. Missing for a search
// that they cannot see, Denied "searchpage.not-own" for one of somebody else.
func (d *Desk) Rename(ctx context.Context, id, name string, by auth.Person) error {
	name, err := named(name)
	if err != nil {
		return err
	}
	return d.change(ctx, "rename", id, by, `UPDATE search_saved SET name = $2 WHERE id = $1`, id, name)
}

// Share says whether others see a search of the person's own.
func (d *Desk) Share(ctx context.Context, id string, shared bool, by auth.Person) error {
	return d.change(ctx, "share", id, by, `UPDATE search_saved SET shared = $2 WHERE id = $1`, id, bit(shared))
}

// Delete forgets a search of the person's own, with errors as of Rename.
func (d *Desk) Delete(ctx context.Context, id string, by auth.Person) error {
	return d.change(ctx, "delete", id, by, `DELETE FROM search_saved WHERE id = $1`, id)
}

func (d *Desk) change(ctx context.Context, doing, id string, by auth.Person, query string, args ...any) error {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		var owner, site string
		var shared int
		err := tx.QueryRowContext(ctx, `SELECT owner, site, shared FROM search_saved WHERE id = $1`, id).Scan(&owner, &site, &shared)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fault.New(fault.Missing, "searchpage.no-saved")
		case err != nil:
			return err
		case owner != by.ID && (shared == 0 || by.Site != "" && by.Site != site):
			return fault.New(fault.Missing, "searchpage.no-saved")
		case owner != by.ID:
			return fault.New(fault.Denied, "searchpage.not-own")
		}
		_, err = tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s saved search %s: %w", doing, id, err)
	}
	return nil
}

// History lists what a person asked before, newest first, each query once.
func (d *Desk) History(ctx context.Context, by auth.Person) ([]Past, error) {
	rows, err := d.db.Query(ctx, `SELECT query, span, at FROM search_history WHERE person = $1 ORDER BY at DESC, query LIMIT $2`, by.ID, maxPast)
	if err != nil {
		return nil, fmt.Errorf("list history: %w", err)
	}
	defer rows.Close()
	list := []Past{}
	for rows.Next() {
		var p Past
		var at int64
		if err := rows.Scan(&p.Query, &p.Span, &at); err != nil {
			return nil, fmt.Errorf("list history: %w", err)
		}
		p.At = state.Time(at)
		list = append(list, p)
	}
	return list, rows.Err()
}

// Forget empties the history of a person. The record of who looked at what
// stays: it is another thing and belongs to the hospital.
func (d *Desk) Forget(ctx context.Context, by auth.Person) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM search_history WHERE person = $1`, by.ID)
		return err
	})
}

// remember puts a query on top of a person's history.
func remember(ctx context.Context, tx *state.Tx, person, query, span string, at time.Time) error {
	if strings.TrimSpace(query) == "" || person == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO search_history (person, query, span, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (person, query) DO UPDATE SET span = excluded.span, at = excluded.at`, person, query, span, state.Nanos(at)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM search_history WHERE person = $1 AND query NOT IN
		(SELECT query FROM search_history WHERE person = $1 ORDER BY at DESC, query LIMIT $2)`, person, maxPast)
	return err
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
