package evidence

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/state"
)

// SealedBags lists the ids of all bags that were sealed, for the offline
// verifier: their folders must be there and intact. It writes nothing.
func SealedBags(ctx context.Context, db *state.DB) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM evidence_bag WHERE state <> $1 ORDER BY id`, string(Collecting))
	if err != nil {
		return nil, fmt.Errorf("list sealed bags: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list sealed bags: %w", err)
		}
		out = append(out, id)
	}
	return out, rows.Err()
}
