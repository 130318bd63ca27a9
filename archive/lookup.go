package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/sonae/sonae/archive/segment"
)

// lookUp finds the segment, among some, that holds a batch; nil if none does.
func (a *Archive) lookUp(ctx context.Context, batch string, among []*sealed) (*sealed, error) {
	if err := a.fetch(ctx, among); err != nil {
		return nil, err
	}
	var files []file
	a.mu.RLock()
	for _, s := range among {
		if !s.damaged {
			files = append(files, a.fileOf(s))
		}
	}
	a.mu.RUnlock()
	for group := range slices.Chunk(files, 256) {
		n, found, err := a.lookUpIn(ctx, batch, group)
		if err != nil && ctx.Err() == nil {
			if whole := a.whole(group); len(whole) < len(group) {
				n, found, err = a.lookUpIn(ctx, batch, whole)
			}
		}
		if err != nil {
			return nil, err
		}
		if found {
			return among[slices.IndexFunc(among, func(s *sealed) bool { return s.number == n })], nil
		}
	}
	return nil, nil
}

func (a *Archive) lookUpIn(ctx context.Context, batch string, files []file) (int64, bool, error) {
	if len(files) == 0 {
		return 0, false, nil
	}
	var path string
	text := "SELECT filename FROM read_parquet(" + list(files) + ", filename = true, union_by_name = true, hive_partitioning = false) WHERE batch = ? LIMIT 1"
	err := a.db.QueryRowContext(ctx, text, segment.Clean(batch)).Scan(&path)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up batch: %w", err)
	}
	i := slices.IndexFunc(files, func(f file) bool { return f.path == path })
	if i < 0 {
		return 0, false, fmt.Errorf("look up batch: %s is not one of the files asked", path)
	}
	return files[i].number, true, nil
}
