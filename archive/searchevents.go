package archive

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
)

// hit is a row that was found and not read yet.
type hit struct {
	position
	path string
	part int64 // its row group; -1 in a segment of the first release
	line int64 // its row in the file
}

// searchEvents goes back in time step by step. In each it looks for the newest
// rows that match in the columns that the query needs, and then reads all
// columns of only these.
func (a *Archive) searchEvents(ctx context.Context, r request, files []file, each func(Part) error) error {
	progress := progressOf(files)
	sc, err := a.prune(ctx, files, r.Where)
	if err != nil {
		return err
	}
	sent := 0
	var last position // of what was sent
	for w := newWalk(sc.files, a.stepRows); ; {
		from, to, ok := w.next()
		if !ok {
			progress.finished()
			return each(Part{Progress: progress, Done: true})
		}
		start := time.Now()
		hits, events, err := a.step(ctx, r, sc, from, to, r.limit-sent)
		if err != nil {
			return err
		}
		w.took(time.Since(start))
		give := len(events)
		sent += give
		progress.reached(files, from)
		progress.Found = int64(sent)
		part := Part{Events: events, Progress: progress}
		if give > 0 {
			last = hits[give-1].position
		}
		if sent == r.limit && len(hits) > give { // of this step none may have been wanted
			part.Done, part.Next = true, last.String()
		}
		if err := each(part); err != nil || part.Done {
			return err
		}
	}
}

// within is the scope that can hold something in a step.
func (s scope) within(from, to int64) scope {
	t := scope{parts: s.parts, whole: s.whole}
	for _, f := range s.files {
		if f.to.UnixNano() >= from && f.from.UnixNano() < to {
			t.files = append(t.files, f)
		}
	}
	return t
}

const newestOrder = " ORDER BY time DESC, batch DESC, batch_row DESC"

// step finds the newest rows that match in a step, one more than limit to
// tell that there are more, and reads the events of the first ones.
func (a *Archive) step(ctx context.Context, r request, sc scope, from, to int64, limit int) (found []hit, events []event.Event, err error) {
	step := sc.within(from, to)
	err = a.onWhole(ctx, step.files, func(files []file) (err error) {
		step.files, found, events = files, nil, nil
		if len(files) == 0 {
			return nil
		}
		if found, err = a.hits(ctx, r, step, from, to, limit+1); err == nil {
			events, err = a.read(ctx, found[:min(len(found), limit)])
		}
		return err
	})
	return found, events, err
}

// hits finds the newest rows that match, newest first.
func (a *Archive) hits(ctx context.Context, r request, step scope, from, to int64, limit int) (found []hit, err error) {
	b := lang.NewBuilder(r.options)
	text := "SELECT epoch_ns(time), batch, batch_row, filename, coalesce(part, -1), file_row_number FROM " +
		step.relation(", filename = true, file_row_number = true") + " WHERE " + timeCondition(b, from, to) + " AND " + step.condition() + " AND " + r.condition(b) +
		newestOrder + " LIMIT " + strconv.Itoa(limit)
	rows, err := a.db.QueryContext(ctx, text, b.Args()...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var h hit
		if err := rows.Scan(&h.at, &h.batch, &h.row, &h.path, &h.part, &h.line); err != nil {
			return nil, err
		}
		found = append(found, h)
	}
	return found, rows.Err()
}

func timeCondition(b *lang.Builder, from, to int64) string {
	return "time >= make_timestamp_ns(" + b.Arg(from) + ") AND time < make_timestamp_ns(" + b.Arg(to) + ")"
}

// spot is where a row lies.
type spot struct {
	path string
	line int64
}

// read reads whole rows, in the order of the hits.
func (a *Archive) read(ctx context.Context, hits []hit) ([]event.Event, error) {
	if len(hits) == 0 {
		return nil, nil
	}
	places := make(map[spot]int, len(hits))
	lines := make([]string, len(hits))
	for i, h := range hits {
		places[spot{h.path, h.line}] = i
		lines[i] = strconv.FormatInt(h.line, 10)
	}
	sc := scopeOf(hits)
	b := lang.NewBuilder(lang.Options{})
	text := "SELECT " + segment.Columns() + ", filename, file_row_number FROM " + sc.relation(", filename = true, file_row_number = true") +
		" WHERE " + sc.condition() + " AND " + timeCondition(b, hits[len(hits)-1].at, hits[0].at+1) + " AND file_row_number IN (" + strings.Join(lines, ", ") + ")"
	rows, err := a.db.QueryContext(ctx, text, b.Args()...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	events, read := make([]event.Event, len(hits)), 0
	for rows.Next() {
		var p spot
		row, err := segment.Scan(func(into ...any) error { return rows.Scan(append(into, &p.path, &p.line)...) })
		if err != nil {
			return nil, err
		}
		if i, wanted := places[p]; wanted { // the same row of another file is not
			events[i] = row.Event()
			read++
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if read != len(hits) {
		return nil, fmt.Errorf("read events: %d of %d rows", read, len(hits))
	}
	return events, nil
}

// scopeOf is the files and row groups of some hits.
func scopeOf(hits []hit) scope {
	var sc scope
	paths, parts := map[string]bool{}, map[int64]bool{}
	for _, h := range hits {
		if !paths[h.path] {
			paths[h.path] = true
			sc.files = append(sc.files, file{path: h.path})
		}
		if !parts[h.part] {
			parts[h.part] = true
			sc.parts = append(sc.parts, h.part)
		}
	}
	if parts[-1] || len(sc.parts) > maxParts {
		sc.parts = nil
	}
	return sc
}

// stream reads all columns of all rows that match, newest first, step by step,
// so that few rows are in memory at a time.
func (a *Archive) stream(ctx context.Context, r request, files []file, each func(*segment.Row) error) error {
	sc, err := a.prune(ctx, files, r.Where)
	if err != nil {
		return err
	}
	left := r.limit
	for w := newWalk(sc.files, 1<<16); left != 0; {
		from, to, ok := w.next()
		if !ok {
			return nil
		}
		step := sc.within(from, to)
		if len(step.files) == 0 {
			continue
		}
		n := 0
		err := a.onWhole(ctx, step.files, func(files []file) (err error) {
			if step.files = files; n == 0 && len(files) > 0 { // rows are sorted before the first one comes
				n, err = a.streamStep(ctx, r, step, from, to, left, each)
			}
			return err
		})
		if err != nil {
			return err
		}
		left = max(left-n, min(left, -1))
	}
	return nil
}

func (a *Archive) streamStep(ctx context.Context, r request, step scope, from, to int64, limit int, each func(*segment.Row) error) (int, error) {
	b := lang.NewBuilder(r.options)
	text := "SELECT " + segment.Columns() + " FROM " + step.relation("") +
		" WHERE " + timeCondition(b, from, to) + " AND " + step.condition() + " AND " + r.condition(b) + newestOrder
	if limit > 0 {
		text += " LIMIT " + strconv.Itoa(limit)
	}
	rows, err := a.db.QueryContext(ctx, text, b.Args()...)
	if err != nil {
		return 0, err
	}
	return drain(rows, each)
}
