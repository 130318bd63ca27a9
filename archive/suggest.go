package archive

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/fault"
)

const (
	maxBuckets  = 500                        // of a histogram
	maxSuggest  = 100                        // values
	suggestRows = 1 << 20                    // newest events that suggestions come from
	maxSpan     = 100 * 365 * 24 * time.Hour // of a histogram; a broken clock may claim more
)

// pruned runs f, which may be run again, over what can match a request.
func (a *Archive) pruned(ctx context.Context, r request, f func(context.Context, scope) error) error {
	return a.run(ctx, r, func(ctx context.Context, files []file) error {
		sc, err := a.prune(ctx, files, r.Where)
		if err != nil {
			return err
		}
		return a.onWhole(ctx, sc.files, func(files []file) error {
			if sc.files = files; len(files) == 0 {
				return nil
			}
			return f(ctx, sc)
		})
	})
}

// Histogram counts the events that match in bars of equal width, oldest first,
// over From to To of the search, or over what the archive holds where these
// are zero. Stages after the filter do not matter. Bars without events have a
// count of zero; where no segment can hold any, there are no bars.
func (a *Archive) Histogram(ctx context.Context, s Search, buckets int) ([]Bucket, error) {
	r, err := a.request(s)
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	if buckets < 1 || buckets > maxBuckets {
		return nil, fmt.Errorf("histogram: %w", fault.New(fault.Invalid, "search.buckets", maxBuckets))
	}
	var all []Bucket
	err = a.run(ctx, r, func(ctx context.Context, files []file) error {
		if len(files) == 0 {
			return nil
		}
		from, width := bars(r, files, buckets)
		all = make([]Bucket, buckets)
		for i := range all {
			all[i] = Bucket{From: from.Add(time.Duration(i) * width), Width: width}
		}
		sc, err := a.prune(ctx, files, r.Where)
		if err != nil {
			return err
		}
		return a.onWhole(ctx, sc.files, func(files []file) error {
			if sc.files = files; len(files) == 0 {
				return nil
			}
			return a.countBars(ctx, r, sc, all)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	return all, nil
}

// bars fits the bars to what is asked for, else to what the files hold.
func bars(r request, files []file, n int) (from time.Time, width time.Duration) {
	from, to := r.from, r.to
	if from.IsZero() {
		from = slices.MinFunc(files, func(x, y file) int { return x.from.Compare(y.from) }).from
	}
	if to.IsZero() {
		to = slices.MaxFunc(files, func(x, y file) int { return x.to.Compare(y.to) }).to.Add(1)
	}
	if earliest := to.Add(-maxSpan); from.Before(earliest) {
		from = earliest
	}
	return from, max((to.Sub(from)+time.Duration(n)-1)/time.Duration(n), 1)
}

func (a *Archive) countBars(ctx context.Context, r request, sc scope, all []Bucket) error {
	b := lang.NewBuilder(r.options)
	from, width := all[0].From, all[0].Width
	low, high := segment.Nanos(from), segment.Nanos(from.Add(time.Duration(len(all))*width))
	text := "SELECT (epoch_ns(time) - " + b.Arg(low) + ") // " + b.Arg(int64(width)) + ", count(*) FROM " + sc.relation("") +
		" WHERE " + timeCondition(b, low, high) + " AND " + sc.condition() + " AND " + r.condition(b) + " GROUP BY 1"
	rows, err := a.db.QueryContext(ctx, text, b.Args()...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var bar, n int64
		if err := rows.Scan(&bar, &n); err != nil {
			return err
		}
		all[bar].Count = n
	}
	return rows.Err()
}

// Field tells what a field holds among the events that match: in how many it
// is, how many values it has, the top most frequent ones.
func (a *Archive) Field(ctx context.Context, s Search, field string, top int) (FieldStats, error) {
	r, err := a.request(s)
	if err != nil {
		return FieldStats{}, fmt.Errorf("field: %w", err)
	}
	f, err := lang.ParseField(field)
	if err != nil {
		return FieldStats{}, fmt.Errorf("field: %w", err)
	}
	st := FieldStats{Field: f.Name}
	err = a.pruned(ctx, r, func(ctx context.Context, sc scope) error {
		st = FieldStats{Field: f.Name}
		return a.fieldStats(ctx, r, f, sc, min(max(top, 1), lang.MaxTop), &st)
	})
	if err != nil {
		return FieldStats{}, fmt.Errorf("field: %w", err)
	}
	return st, nil
}

func (a *Archive) fieldStats(ctx context.Context, r request, f lang.Field, sc scope, top int, st *FieldStats) error {
	b := lang.NewBuilder(r.options)
	value, average := b.Value(f), "NULL"
	if f.Kind == lang.KindNumber {
		average = "sum(v * n)::DOUBLE / nullif(sum(n), 0)"
	}
	text := "WITH t AS MATERIALIZED (SELECT " + value + " AS v, count(*) AS n FROM " + sc.relation("") + " WHERE " + sc.condition() + " AND " + r.condition(b) +
		" GROUP BY 1 HAVING v IS NOT NULL) " +
		"SELECT 0 AS o, NULL::VARCHAR AS v, coalesce(sum(n), 0)::BIGINT AS n, count(*) AS d, min(v)::VARCHAR, max(v)::VARCHAR, " + average + " FROM t " +
		"UNION ALL (SELECT 1, v::VARCHAR, n::BIGINT, 0, NULL, NULL, NULL FROM t ORDER BY n DESC, v LIMIT " + strconv.Itoa(top) + ") ORDER BY o, n DESC, v"
	rows, err := a.db.QueryContext(ctx, text, b.Args()...)
	if err != nil {
		return err
	}
	defer rows.Close()
	show := func(s *string) string {
		if s == nil {
			return ""
		}
		if n, err := strconv.ParseInt(*s, 10, 64); err == nil && f.Kind == lang.KindTime {
			return timeOf(n).Format(time.RFC3339Nano)
		}
		return *s
	}
	for rows.Next() {
		var o, n, d int64
		var v, low, high *string
		var mean *float64
		if err := rows.Scan(&o, &v, &n, &d, &low, &high, &mean); err != nil {
			return err
		}
		if o == 1 {
			st.Top = append(st.Top, Value{show(v), n})
			continue
		}
		st.Present, st.Distinct, st.Min, st.Max = n, d, show(low), show(high)
		if mean != nil {
			st.Average = number(*mean)
		}
	}
	return rows.Err()
}

// Suggest returns up to n values of a field that begin with prefix, upper and
// lower case alike, the most frequent first, out of the newest million events.
func (a *Archive) Suggest(ctx context.Context, field, prefix string, sites []string, n int) ([]string, error) {
	f, err := lang.ParseField(field)
	if err != nil {
		return nil, fmt.Errorf("suggest: %w", err)
	}
	r := request{options: lang.Options{Now: a.now()}, sites: sites}
	var found []string
	err = a.pruned(ctx, r, func(ctx context.Context, sc scope) error {
		found = nil
		sc.files, _ = cut(sc.files, suggestRows)
		b := lang.NewBuilder(r.options)
		text := "SELECT v FROM (SELECT " + b.Value(f) + "::VARCHAR AS v, count(*) AS n FROM " + sc.relation("") + " WHERE " + r.condition(b) + " GROUP BY 1)" +
			" WHERE starts_with(lower(v), " + b.Arg(strings.ToLower(prefix)) + ") ORDER BY n DESC, v LIMIT " + strconv.Itoa(min(max(n, 1), maxSuggest))
		rows, err := a.db.QueryContext(ctx, text, b.Args()...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var v string
			if err := rows.Scan(&v); err != nil {
				return err
			}
			found = append(found, v)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("suggest: %w", err)
	}
	return found, nil
}
