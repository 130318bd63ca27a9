package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// KindCut is Changed.Kind of cuts.
const KindCut = kindCut

// Past is what became of repositories, from some time on. Cuts, passes and
// prunings are all that there are: they change long after they began.
type Past struct {
	Cuts     []Cut
	Passes   []Pass
	Prunes   []Prune
	Refusals []Refusals
	Reads    []Read // but those that found nothing in what had just come
}

// Past lists what became of the repositories of a site, of all where it is
// empty, the newest first of each kind. What machines refused, and what was
// read, is that from a time on.
func (v *Vault) Past(ctx context.Context, site string, from time.Time) (p Past, err error) {
	if p.Cuts, err = v.Cuts(ctx, site); err != nil {
		return p, err
	}
	if p.Passes, err = v.Passes(ctx, "", site); err != nil {
		return p, err
	}
	if p.Prunes, err = list[Prune](ctx, v, kindPruning, "", site, maxCuts); err != nil {
		return p, err
	}
	if p.Refusals, err = since[Refusals](ctx, v, kindRefusal, "vr", site, from); err != nil {
		return p, err
	}
	p.Reads, err = since[Read](ctx, v, kindRead, "vd", site, from)
	return p, err
}

// since decodes things of a kind that were made from a time on and never
// changed: their ids begin with when that was, see clock.ID.
func since[T any](ctx context.Context, v *Vault, kind, prefix, site string, from time.Time) ([]T, error) {
	first := fmt.Sprintf("%s-%012x", prefix, max(0, from.UnixMilli()))
	all, err := v.db.Query(ctx, `SELECT body FROM vault_record WHERE kind = $1 AND id >= $2 AND (CAST($3 AS TEXT) = '' OR site = $3) ORDER BY id DESC`, kind, first, site)
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
