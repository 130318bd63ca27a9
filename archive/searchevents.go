package archive

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/event"
)

// hit is a row that was found and not read yet.
type hit struct {
	position
	path string
	line int64 // its row in that file
}

// searchEvents looks through the segments, newest first and more at a time as
// it goes on, with the narrow columns only, and reads whole rows of those that
// no older segment can overtake.
func (a *Archive) searchEvents(ctx context.Context, r request, each func(Part) error) error {
	return a.run(ctx, r, func(ctx context.Context, files []file) error {
		progress := progressOf(files)
		var found []hit // beyond those handed over
		sent := 0
		var last position
		for group := range grouped(files, 1<<17) {
			more, err := a.hits(ctx, r, group, r.limit-sent+1)
			if err != nil {
				return err
			}
			found = append(found, more...)
			slices.SortFunc(found, func(x, y hit) int {
				if x.before(y.position) {
					return -1
				}
				return 1
			})
			files = files[len(group):]
			progress.done(group)
			n := final(found, files)
			progress.Found = int64(min(sent+len(found), r.limit))
			give := min(n, r.limit-sent)
			events, err := a.read(ctx, found[:give])
			if err != nil {
				return err
			}
			if give > 0 {
				last = found[give-1].position
			}
			sent += give
			part := Part{Events: events, Progress: progress}
			if full := sent == r.limit && n > give; full || len(files) == 0 {
				part.Done = true
				if full {
					part.Next = last.String()
				}
			}
			if err := each(part); err != nil || part.Done {
				return err
			}
			found = found[give:]
			// Nothing older than the oldest of enough hits is wanted any more.
			if want := r.limit - sent + 1; len(found) >= want {
				found = found[:want]
				if oldest := time.Unix(0, found[want-1].at); r.from.Before(oldest) {
					r.from = oldest
				}
			}
		}
		return each(Part{Progress: progress, Done: true})
	})
}

// final counts the hits that no event of the files left can stand before.
func final(found []hit, left []file) int {
	if len(left) == 0 {
		return len(found)
	}
	newest := nanos(left[0].to)
	n, _ := slices.BinarySearchFunc(found, newest, func(h hit, at int64) int {
		if h.at > at {
			return -1
		}
		return 1
	})
	return n
}

// hits finds the newest rows that match, without reading more than must be
// read to tell.
func (a *Archive) hits(ctx context.Context, r request, files []file, limit int) ([]hit, error) {
	b := lang.NewBuilder(r.options)
	text := "SELECT epoch_ns(time), batch, batch_row, filename, file_row_number FROM read_parquet(" + list(files) +
		", filename = true, file_row_number = true, hive_partitioning = false) WHERE " + r.condition(b) +
		" ORDER BY time DESC, batch DESC, batch_row DESC LIMIT " + strconv.Itoa(limit)
	rows, err := a.db.QueryContext(ctx, text, b.Args()...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []hit
	for rows.Next() {
		var h hit
		if err := rows.Scan(&h.at, &h.batch, &h.row, &h.path, &h.line); err != nil {
			return nil, err
		}
		found = append(found, h)
	}
	return found, rows.Err()
}

// read reads whole rows, in the order of the hits.
func (a *Archive) read(ctx context.Context, hits []hit) ([]event.Event, error) {
	byFile := map[string][]int{}
	for i, h := range hits {
		byFile[h.path] = append(byFile[h.path], i)
	}
	events := make([]event.Event, len(hits))
	for path, wanted := range byFile {
		if err := a.readFrom(ctx, path, hits, wanted, events); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// readFrom reads the wanted hits, which are in one file, into their places.
func (a *Archive) readFrom(ctx context.Context, path string, hits []hit, wanted []int, into []event.Event) error {
	lines, place := make([]string, len(wanted)), map[int64]int{}
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for i, w := range wanted {
		h := hits[w]
		lines[i], place[h.line] = strconv.FormatInt(h.line, 10), w
		low, high = min(low, h.at), max(high, h.at)
	}
	text := "SELECT " + selected() + ", file_row_number FROM read_parquet(" + literal(path) + ", file_row_number = true, hive_partitioning = false)" +
		" WHERE time BETWEEN make_timestamp_ns($1) AND make_timestamp_ns($2) AND file_row_number IN (" + strings.Join(lines, ", ") + ")"
	rows, err := a.db.QueryContext(ctx, text, low, high)
	if err != nil {
		return err
	}
	defer rows.Close()
	read := 0
	for rows.Next() {
		var line int64
		e, err := scan(rows, &line)
		if err != nil {
			return err
		}
		into[place[line]] = e
		read++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if read != len(wanted) {
		return fmt.Errorf("read events: %d of %d rows of %s", read, len(wanted), filepath.Base(path))
	}
	return nil
}
