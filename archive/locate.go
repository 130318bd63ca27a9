package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/ledger/leaf"
)

// Place says where an event is kept.
type Place struct {
	ID      string    // of the event
	Segment string    // path below the archive
	Leaf    leaf.Leaf // of the manifest's line that names the segment with its digest
}

// Locate tells where events are kept, for as many of the ids as are sealed. An
// event that came lately is located by the line that it was first sealed with,
// an older one by that of the segment which holds it now.
func (a *Archive) Locate(ctx context.Context, ids []string) ([]Place, error) {
	files, release, err := a.view(ctx, window{ids: ids})
	if err != nil {
		return nil, fmt.Errorf("locate events: %w", err)
	}
	defer release()
	files = slices.DeleteFunc(files, func(f file) bool { return f.number < 0 }) // the tail is not sealed
	var places []Place
	for group := range slices.Chunk(files, 256) {
		group, err := a.bring(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("locate events: %w", err)
		}
		some, err := a.locateIn(ctx, ids, group)
		if err != nil {
			return nil, fmt.Errorf("locate events: %w", err)
		}
		places = append(places, some...)
	}
	return places, nil
}

func (a *Archive) locateIn(ctx context.Context, ids []string, files []file) (places []Place, err error) {
	if len(files) == 0 {
		return nil, nil
	}
	asked, batches := map[string]bool{}, map[string]bool{}
	for _, id := range ids {
		asked[id] = true
		if batch, _, ok := cutLast(id); ok {
			batches[segment.Clean(batch)] = true
		}
	}
	var args []any
	for b := range batches {
		args = append(args, b)
	}
	for id := range asked {
		args = append(args, segment.Clean(id))
	}
	in := func(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("?, ", n), ", ") + ")" }
	where := "id IN " + in(len(asked))
	if len(batches) > 0 {
		where = "batch IN " + in(len(batches)) + " OR " + where
	}
	rows, err := a.db.QueryContext(ctx, "SELECT coalesce(nullif(id, ''), batch || '-' || batch_row), batch, filename FROM read_parquet("+list(files)+
		", filename = true, union_by_name = true, hive_partitioning = false) WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id, batch, path string
		if err := rows.Scan(&id, &batch, &path); err != nil {
			return nil, err
		}
		if p, ok := a.placeOf(id, batch, path, files); ok && asked[id] {
			places = append(places, p)
		}
	}
	return places, rows.Err()
}

func (a *Archive) placeOf(id, batch, path string, files []file) (Place, bool) {
	i := slices.IndexFunc(files, func(f file) bool { return f.path == path })
	if i < 0 {
		return Place{}, false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if o := a.index.known[keyOf(batch)]; o != nil {
		return Place{ID: id, Segment: o.leaf.Ref, Leaf: o.leaf}, true
	}
	s := a.index.segments[files[i].number]
	if s == nil { // merged meanwhile
		return Place{}, false
	}
	return Place{ID: id, Segment: s.path, Leaf: s.line}, true
}
