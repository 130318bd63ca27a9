package evidence

import (
	"context"
	"fmt"

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
