package asset

import (
	"context"
	"fmt"
)

// Names maps the ids of all sites and hosts, removed ones too, to what people
// call them.
func (r *Registry) Names(ctx context.Context) (map[string]string, error) {
	rows, err := r.db.Query(ctx, `SELECT id, name FROM asset_site UNION ALL SELECT id, name FROM asset_host`)
	if err != nil {
		return nil, fmt.Errorf("names of sites and hosts: %w", err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var id, name string
		if err := rows.Scan(&id, &name); err != nil {
			return nil, fmt.Errorf("names of sites and hosts: %w", err)
		}
		out[id] = name
	}
	return out, rows.Err()
}
