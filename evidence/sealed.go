package evidence

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// SealedBags lists the ids of all bags that were sealed, for the offline
// verifier: their folders must be there and intact. It writes nothing.
func SealedBags(ctx context.Context, db *state.DB) ([]string, error) {
	ids, err := column[string](ctx, db, `SELECT id FROM evidence_bag WHERE state <> $1 ORDER BY id`, string(Collecting))
	if err != nil {
		return nil, fmt.Errorf("list sealed bags: %w", err)
	}
	return ids, nil
}

// Bags lists the ids of all bags that were opened. It writes nothing.
func Bags(ctx context.Context, db *state.DB) ([]string, error) {
	ids, err := column[string](ctx, db, `SELECT id FROM evidence_bag ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list bags: %w", err)
	}
	return ids, nil
}

// CopySealed brings the sealed bags of a shared store into dir, one folder
// each, for the offline verifier. What the store does not have, or has
// damaged, is left out, for that to name.
func CopySealed(ctx context.Context, db *state.DB, s blob.Store, dir string) error {
	ids, err := SealedBags(ctx, db)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, incoming), 0o700); err != nil {
		return fmt.Errorf("copy bags: %w", err)
	}
	v := &Vault{db: db, dir: dir, deps: Deps{Store: s, Room: func() error { return nil }}}
	for _, id := range ids {
		if !bag.ValidPath(id) || strings.ContainsAny(id, "/.") { // a row may have been changed
			continue
		}
		_, err := v.bring(ctx, id)
		if kind := fault.Of(err); err != nil && kind != fault.Missing && kind != fault.Conflict {
			return fmt.Errorf("copy bag %s: %w", id, err)
		}
	}
	return nil
}
