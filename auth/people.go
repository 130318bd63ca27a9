package auth

import (
	"context"
	"fmt"
	"slices"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// SetRoles gives a person exactly these roles. Their sessions end, so that the
// change holds from now on.
func (k *Keeper) SetRoles(ctx context.Context, id string, list []Role, by Person) error {
	err := k.change(ctx, id, by, "roles-changed", func(ctx context.Context, tx *state.Tx, a account) (map[string]string, error) {
		if err := checkRoles(list, a.Site); err != nil {
			return nil, err
		}
		if !a.HasTOTP && k.NeedsSecondFactor(list, a.Site) {
			return nil, fault.New(fault.Conflict, "auth.second-factor-missing")
		}
		_, err := tx.ExecContext(ctx, `UPDATE person SET roles = $1 WHERE id = $2`, state.JSON(list), id)
		return map[string]string{"before": joinRoles(a.Roles), "after": joinRoles(list)}, err
	})
	return wrap("set roles of "+id, err)
}

// Disable shuts a person out at once. Nothing they did is removed.
func (k *Keeper) Disable(ctx context.Context, id string, by Person) error {
	err := k.change(ctx, id, by, "disabled", func(ctx context.Context, tx *state.Tx, a account) (map[string]string, error) {
		if a.Disabled {
			return nil, fault.New(fault.Conflict, "auth.person-disabled")
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM invitation WHERE person = $1 AND used_at = 0`, id); err != nil {
			return nil, err
		}
		_, err := tx.ExecContext(ctx, `UPDATE person SET disabled = 1 WHERE id = $1`, id)
		return nil, err
	})
	return wrap("disable "+id, err)
}

// Enable lets a disabled person log in again, with the roles they had.
func (k *Keeper) Enable(ctx context.Context, id string, by Person) error {
	err := k.change(ctx, id, by, "enabled", func(ctx context.Context, tx *state.Tx, a account) (map[string]string, error) {
		if !a.Disabled {
			return nil, fault.New(fault.Conflict, "auth.person-enabled")
		}
		_, err := tx.ExecContext(ctx, `UPDATE person SET disabled = 0 WHERE id = $1`, id)
		return nil, err
	})
	return wrap("enable "+id, err)
}

// change alters one person in a transaction that ends their sessions, keeps an
// administrator, and records what was done by whom.
func (k *Keeper) change(ctx context.Context, id string, by Person, what string,
	f func(ctx context.Context, tx *state.Tx, a account) (detail map[string]string, err error)) error {
	before, err := k.Person(ctx, id)
	if err != nil {
		return err
	}
	if err := k.must(ctx, by, Administer, Resource{Kind: "person", ID: id, Site: before.Site}); err != nil {
		return err
	}
	return k.db.Tx(ctx, func(tx *state.Tx) error {
		a, found, err := accountBy(ctx, tx, "id", id)
		if err != nil {
			return err
		}
		if !found {
			return fault.New(fault.Missing, "auth.no-person")
		}
		detail, err := f(ctx, tx, a)
		if err != nil {
			return err
		}
		n, err := administrators(ctx, tx)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.Conflict, "auth.last-administrator")
		}
		if err := endSessions(ctx, tx, id); err != nil {
			return err
		}
		return k.record(ctx, tx, Record{Kind: RecordPerson, What: what, Person: id, By: by.ID, Detail: detail})
	})
}

// administrators counts the enabled administrators of all sites.
func administrators(ctx context.Context, tx *state.Tx) (int, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+accountColumns+` FROM person WHERE disabled = 0 AND site = ''`)
	if err != nil {
		return 0, fmt.Errorf("count administrators: %w", err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return 0, fmt.Errorf("count administrators: %w", err)
		}
		if slices.Contains(a.Roles, Administrator) {
			n++
		}
	}
	return n, rows.Err()
}
