package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Batches calls each for every batch that is sealed, with the number of its
// events and how many of them are different: the same number, unless something
// is stored twice. It reads two columns of the whole archive.
func (a *Archive) Batches(ctx context.Context, each func(id string, events, distinct int64) error) (err error) {
	files, release, err := a.view(ctx, window{})
	if err != nil {
		return fmt.Errorf("count batches: %w", err)
	}
	defer release()
	if files, err = a.bring(ctx, slices.DeleteFunc(files, func(f file) bool { return f.number < 0 })); err != nil {
		return fmt.Errorf("count batches: %w", err)
	}
	if len(files) == 0 {
		return nil
	}
	parts := 1 + a.Stats().Events/batchesPart
	for part := range parts {
		if err := a.batchesOf(ctx, files, part, parts, each); err != nil {
			return fmt.Errorf("count batches: %w", err)
		}
	}
	return nil
}

// batchesPart is about how many events are counted at once: telling rows apart
// takes memory for each.
const batchesPart = 2_000_000

// batchesOf counts one part of all batches.
func (a *Archive) batchesOf(ctx context.Context, files []file, part, parts int64, each func(id string, events, distinct int64) error) (err error) {
	rows, err := a.db.QueryContext(ctx, "SELECT batch, count(*), count(DISTINCT batch_row) FROM read_parquet("+list(files)+
		", union_by_name = true, hive_partitioning = false) WHERE hash(batch) % ? = ? GROUP BY batch", parts, part)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		var events, distinct int64
		if err := rows.Scan(&id, &events, &distinct); err != nil {
			return err
		}
		if err := each(id, events, distinct); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Segments lists the segments that the manifest of the archive in dir names,
// as paths below dir, in order. The archive need not be open, and the files
// are not looked at.
func Segments(dir string) (paths []string, err error) {
	f, err := os.Open(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	x := newIndex()
	err = eachLine(f, func(raw rawLine) error {
		r, err := parseLine(raw.bytes)
		if err != nil || !raw.ended {
			return nil // Verify names it
		}
		x.apply(r, sha256.Sum256(raw.bytes), keepBatches)
		return nil
	})
	for _, s := range x.segments {
		paths = append(paths, s.path)
	}
	slices.Sort(paths)
	return paths, err
}

// checkSizes looks whether every segment is there and as long as the manifest
// says, which shows at once most of what somebody or a broken disk did while
// the hub was down. What is not is left out of queries, and named.
func (a *Archive) checkSizes() {
	for _, s := range a.index.segments {
		info, err := os.Stat(a.full(s.path))
		if err == nil && info.Size() == s.bytes {
			continue
		}
		s.damaged = true
		if err != nil {
			a.log.Error("segment is missing and is left out of queries", "file", s.path, "err", err)
		} else {
			a.log.Error("segment is changed and is left out of queries", "file", s.path, "bytes", info.Size(), "recorded", s.bytes)
		}
	}
}
