package policy

import (
	"context"
	"fmt"
	"time"

	"github.com/sonae/sonae/state"
)

// Between lists the runs that were queued within a time, as they are now, the
// oldest first; of one site where it is not empty.
func (d *Desk) Between(ctx context.Context, site string, from, until time.Time) ([]Run, error) {
	all, err := list[Run](d.db.Query(ctx, `SELECT body FROM protect_run WHERE queued >= $1 AND queued < $2 AND (CAST($3 AS TEXT) = '' OR site = $3) ORDER BY queued, id`,
		state.Nanos(from), state.Nanos(until), site))
	if err != nil {
		return nil, fmt.Errorf("runs between two times: %w", err)
	}
	return all, nil
}

// Changes lists every version of every policy that was kept within a time, also
// of policies that were ended; of one site where it is not empty.
func (d *Desk) Changes(ctx context.Context, site string, from, until time.Time) ([]Policy, error) {
	all, err := list[Policy](d.db.Query(ctx, `SELECT body FROM protect_policy WHERE CAST($1 AS TEXT) = '' OR site = $1 ORDER BY id, version`, site))
	if err != nil {
		return nil, fmt.Errorf("changes of policies: %w", err)
	}
	var out []Policy
	for _, p := range all {
		if !p.At.Before(from) && p.At.Before(until) {
			out = append(out, p)
		}
	}
	return out, nil
}
