package asset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

const siteColumns = `id, name, kind, principal, contact, drill`

type scanner interface{ Scan(...any) error }

func scanSite(row scanner) (Site, error) {
	var s Site
	err := row.Scan(&s.ID, &s.Name, &s.Kind, &s.Principal, &s.Contact, &s.Drill)
	return s, err
}

// Sites lists all sites by id.
func (r *Registry) Sites(ctx context.Context) ([]Site, error) {
	rows, err := r.db.Query(ctx, `SELECT `+siteColumns+` FROM asset_site ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list sites: %w", err)
	}
	defer rows.Close()
	var out []Site
	for rows.Next() {
		s, err := scanSite(rows)
		if err != nil {
			return nil, fmt.Errorf("list sites: %w", err)
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// Site returns one site, or fault.Missing.
func (r *Registry) Site(ctx context.Context, id string) (Site, error) {
	s, err := scanSite(r.db.QueryRow(ctx, `SELECT `+siteColumns+` FROM asset_site WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Site{}, errSite
	}
	if err != nil {
		return Site{}, fmt.Errorf("site %s: %w", id, err)
	}
	return s, nil
}

func checkSite(s Site) error {
	switch {
	case !siteID(s.ID):
		return fault.New(fault.Invalid, "asset.site-id")
	case s.Name == "" || !plain(s.Name, maxName):
		return fault.New(fault.Invalid, "asset.name")
	case !slices.Contains([]SiteKind{Hospital, Contractor, DataCentre, Office}, s.Kind):
		return fault.New(fault.Invalid, "asset.site-kind")
	case !prose(s.Contact, maxText):
		return fault.New(fault.Invalid, "asset.text")
	case s.Principal == s.ID:
		return fault.New(fault.Invalid, "asset.principal")
	}
	return nil
}

// siteRecord is what the leaf of a site covers.
type siteRecord struct {
	Site    Site   `json:"site"`
	Version int    `json:"version"`
	By      string `json:"by"`
	Salt    string `json:"salt"`
}

// SaveSite adds a site or changes it. Whether a site is for practice is fixed
// when it is added.
func (r *Registry) SaveSite(ctx context.Context, s Site, by auth.Person) error {
	if err := checkSite(s); err != nil {
		return err
	}
	return r.db.Tx(ctx, func(tx *state.Tx) error {
		if s.Principal != "" {
			if err := exists(ctx, tx, s.Principal); err != nil {
				return err
			}
		}
		rec := siteRecord{Site: s, By: by.ID, Salt: leaf.Salt()}
		err := tx.QueryRowContext(ctx, `INSERT INTO asset_site (id, name, kind, principal, contact, drill, version, salt)
			VALUES ($1, $2, $3, $4, $5, $6, 1, $7)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind, principal = excluded.principal,
				contact = excluded.contact, version = asset_site.version + 1, salt = excluded.salt
			RETURNING version, drill`,
			s.ID, s.Name, s.Kind, s.Principal, s.Contact, flag(s.Drill), rec.Salt).Scan(&rec.Version, &rec.Site.Drill)
		if err != nil {
			return fmt.Errorf("save site %s: %w", s.ID, err)
		}
		return r.record(ctx, tx, fmt.Sprintf("site/%s/%d", s.ID, rec.Version), rec)
	})
}

// exists refuses a site that is not registered.
func exists(ctx context.Context, tx *state.Tx, site string) error {
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM asset_site WHERE id = $1`, site).Scan(&n); err != nil {
		return fmt.Errorf("site %s: %w", site, err)
	}
	if n == 0 {
		return errSite
	}
	return nil
}
