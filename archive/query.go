package archive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Limits of a query.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Query asks for events. Empty fields do not restrict; set ones must all hold.
type Query struct {
	From, To time.Time // From ≤ time < To, by the clock of the host
	Site     string
	Host     string
	Kind     event.Kind
	Text     string   // part of the original line or of any text field, upper and lower case alike
	IDs      []string // event ids, at most MaxLimit
	Limit    int      // 0 means DefaultLimit; more than MaxLimit means MaxLimit
}

// Query returns matching events, newest first. It reads segment after segment,
// newest first, and stops as soon as no older segment can hold a newer event.
// Cancelling ctx stops it within about a second.
//
// A segment that was removed or changed must not hide all others during an
// incident: it is left out, which the log says as an error and Stats counts.
func (a *Archive) Query(ctx context.Context, q Query) ([]event.Event, error) {
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	if len(q.IDs) > MaxLimit {
		return nil, fault.New(fault.Invalid, "archive.too-many-ids").With(fmt.Errorf("%d ids", len(q.IDs)))
	}
	var found []event.Event
	for files, rest := a.candidates(q), 4; len(files) > 0; rest = min(rest*2, 256) {
		group := files[:min(rest, len(files))]
		files = files[len(group):]
		more, err := a.ask(ctx, q, group)
		if err != nil && ctx.Err() == nil {
			if whole := a.whole(group); len(whole) < len(group) {
				more, err = a.ask(ctx, q, whole)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("query archive: %w", err)
		}
		found = append(found, more...)
		slices.SortStableFunc(found, func(x, y event.Event) int { return y.Time.Compare(x.Time) })
		found = found[:min(len(found), q.Limit)]
		if len(found) < q.Limit {
			continue
		}
		oldest := found[len(found)-1].Time
		if len(files) > 0 && files[0].to.Before(oldest) {
			break
		}
		if q.From.Before(oldest) {
			q.From = oldest
		}
	}
	return found, nil
}

// file is a segment that can hold what is asked for.
type file struct {
	number int32
	path   string
	from   time.Time
	to     time.Time
	rows   int64
}

// whole returns those files that still have the content they were written
// with, and marks the others as damaged.
func (a *Archive) whole(files []file) []file {
	return slices.DeleteFunc(slices.Clone(files), func(f file) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		s := &a.index.segments[f.number]
		if sum, err := digestOf(f.path); err == nil && sum == s.file {
			return false
		}
		s.damaged = true
		a.log.Error("segment is missing or changed and is left out of queries", "file", s.path)
		return true
	})
}

func digestOf(path string) (sum [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}

// candidates returns the segments that can match, by their newest event, the
// newest first.
func (a *Archive) candidates(q Query) []file {
	a.mu.RLock()
	defer a.mu.RUnlock()
	only := a.index.holding(q.IDs)
	host, knownHost := a.index.hosts[q.Host]
	if q.Host != "" && !knownHost {
		return nil
	}
	var files []file
	for i := range a.index.segments {
		s := &a.index.segments[i]
		switch {
		case s.damaged, !q.From.IsZero() && s.to.Before(q.From), !q.To.IsZero() && !s.from.Before(q.To),
			q.Host != "" && !slices.Contains(s.hosts, host), only != nil && !only[int32(i)]:
			continue
		}
		files = append(files, file{int32(i), filepath.Join(a.dir, filepath.FromSlash(s.path)), s.from, s.to, s.rows})
	}
	slices.SortStableFunc(files, func(x, y file) int { return y.to.Compare(x.to) })
	return files
}

// holding returns the segments that hold the batches of the given event ids,
// or nil when that cannot be told for all of them.
func (x *index) holding(ids []string) map[int32]bool {
	if len(ids) == 0 {
		return nil
	}
	found := map[int32]bool{}
	for _, id := range ids {
		batch, _, ok := cutLast(id)
		n, known := x.known[keyOf(batch)]
		if !ok || !known {
			return nil
		}
		found[n] = true
	}
	return found
}

// cutLast splits an event id as agents make it into batch and row.
func cutLast(id string) (batch, row string, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return "", "", false
	}
	return id[:i], id[i+1:], true
}

// statement is a query in the making; values never become part of the text.
type statement struct {
	where []string
	args  []any
}

func (s *statement) and(condition string, args ...any) {
	s.where, s.args = append(s.where, condition), append(s.args, args...)
}

// conditions turns a query into SQL conditions.
func conditions(q Query) statement {
	var s statement
	if !q.From.IsZero() {
		s.and("time >= make_timestamp_ns(?)", nanos(q.From))
	}
	if !q.To.IsZero() {
		s.and("time < make_timestamp_ns(?)", nanos(q.To))
	}
	for _, c := range []struct{ column, value string }{{"site", q.Site}, {"host", q.Host}, {"kind", string(q.Kind)}} {
		if c.value != "" {
			s.and(c.column+" = ?", c.value)
		}
	}
	if q.Text != "" {
		condition, args := textCondition(q.Text)
		s.and(condition, args...)
	}
	if len(q.IDs) > 0 {
		s.and("coalesce(nullif(id, ''), batch || '-' || batch_row) IN (?"+strings.Repeat(", ?", len(q.IDs)-1)+")", anys(q.IDs)...)
	}
	return s
}

// textCondition looks into all text columns for a parameter given once for
// each. Lower-casing and looking for a plain part is several times cheaper
// than ILIKE.
func textCondition(needle string) (string, []any) {
	parts := []string{"contains(lower(raw), lower(?))"}
	for _, c := range textColumns() {
		parts = append(parts, "contains(lower("+c.column+"), lower(?))")
	}
	parts = append(parts, "len(list_filter(map_values(fields), lambda v: contains(lower(v), lower(?)))) > 0")
	return "(" + strings.Join(parts, " OR ") + ")", anys(slices.Repeat([]string{needle}, len(parts)))
}

func anys(texts []string) []any {
	all := make([]any, len(texts))
	for i, t := range texts {
		all[i] = t
	}
	return all
}

// list writes the paths as a DuckDB list. They come from the manifest.
func list(files []file) string {
	quoted := make([]string, len(files))
	for i, f := range files {
		quoted[i] = literal(f.path)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
