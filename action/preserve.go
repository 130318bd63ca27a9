package action

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/state"
)

// PreserveFirst orders evidence of a host for an incident unless it was
// ordered before. It is what an incident does by itself when it opens, so that
// the state before any other measure is kept. Calling it again changes nothing.
func (d *Desk) PreserveFirst(ctx context.Context, q NewRequest, by auth.Person) error {
	q.Kind = Preserve
	a, err := d.Plan(ctx, q)
	if err != nil {
		return fmt.Errorf("preserve evidence of %s: %w", q.Host, err)
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error { return d.preserveFirst(ctx, tx, a, by) })
}
