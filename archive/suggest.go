package archive

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/fault"
)

// maxBuckets bounds a histogram.
const maxBuckets = 500

// Histogram counts the events that match in bars of equal width, oldest first,
// over From to To of the search, or over what the archive holds where these
// are zero. Stages after the filter do not matter. Bars without events are
// there with a count of zero.
func (a *Archive) Histogram(ctx context.Context, s Search, buckets int) ([]Bucket, error) {
	r, err := a.request(s)
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	if buckets < 1 || buckets > maxBuckets {
		return nil, fault.New(fault.Invalid, "search.buckets", maxBuckets)
	}
	var all []Bucket
	err = a.run(ctx, r, func(ctx context.Context, files []file) error {
		if len(files) == 0 {
			return nil
		}
		from, width := bars(r, files, buckets)
		for i := range buckets {
			all = append(all, Bucket{From: from.Add(time.Duration(i) * width), Width: width})
		}
		b := lang.NewBuilder(r.options)
		text := "SELECT (epoch_ns(time) - " + b.Arg(nanos(from)) + ") // " + b.Arg(int64(width)) + " AS bar, count(*) FROM " + source(files) +
			" WHERE " + r.condition(b) + " GROUP BY 1"
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
			if bar >= 0 && bar < int64(len(all)) {
				all[bar].Count = n
			}
		}
		return rows.Err()
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
	span := to.Sub(from)
	return from, max((span+time.Duration(n)-1)/time.Duration(n), 1)
}

// Field tells what a field holds among the events that match.
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
	top = min(max(top, 1), lang.MaxTop)
	err = a.run(ctx, r, func(ctx context.Context, files []file) error {
		if len(files) == 0 {
			return nil
		}
		return a.fieldStats(ctx, r, f, files, top, &st)
	})
	if err != nil {
		return FieldStats{}, fmt.Errorf("field: %w", err)
	}
	return st, nil
}

func (a *Archive) fieldStats(ctx context.Context, r request, f lang.Field, files []file, top int, st *FieldStats) error {
	b := lang.NewBuilder(r.options)
	value := b.Value(f)
	average := "NULL"
	if f.Kind == lang.KindNumber {
		average = "sum(v * n)::DOUBLE / nullif(sum(n), 0)"
	}
	text := "WITH t AS MATERIALIZED (SELECT " + value + " AS v, count(*) AS n FROM " + source(files) + " WHERE " + r.condition(b) + " GROUP BY 1 HAVING v IS NOT NULL) " +
		"SELECT 0 AS o, NULL AS v, coalesce(sum(n), 0)::BIGINT AS n, count(*) AS d, min(v)::VARCHAR, max(v)::VARCHAR, " + average + " FROM t " +
		"UNION ALL (SELECT 1, v::VARCHAR, n::BIGINT, 0, NULL, NULL, NULL FROM t ORDER BY n DESC, v LIMIT " + strconv.Itoa(top) + ") ORDER BY o, n DESC, v"
	rows, err := a.db.QueryContext(ctx, text, b.Args()...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var o, n, d int64
		var v, low, high *string
		var mean *float64
		if err := rows.Scan(&o, &v, &n, &d, &low, &high, &mean); err != nil {
			return err
		}
		if o == 1 {
			st.Top = append(st.Top, Value{*v, n})
			continue
		}
		st.Present, st.Distinct, st.Min, st.Max = n, d, text0(low), text0(high)
		if mean != nil {
			st.Average = number(*mean)
		}
	}
	return rows.Err()
}

func text0(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Suggest returns up to n values of a field that begin with prefix, upper and
// lower case alike, the most frequent first, among the newest events.
func (a *Archive) Suggest(ctx context.Context, field, prefix string, sites []string, n int) ([]string, error) {
	f, err := lang.ParseField(field)
	if err != nil {
		return nil, fmt.Errorf("suggest: %w", err)
	}
	r := request{options: lang.Options{Now: a.now()}, sites: sites}
	n = min(max(n, 1), 100)
	var found []string
	err = a.run(ctx, r, func(ctx context.Context, files []file) error {
		for group := range grouped(files, 1<<20) { // the newest million events tell enough
			files = group
			break
		}
		if len(files) == 0 {
			return nil
		}
		b := lang.NewBuilder(r.options)
		text := "SELECT v FROM (SELECT " + b.Value(f) + "::VARCHAR AS v FROM " + source(files) + " WHERE " + r.condition(b) + ")" +
			" WHERE v IS NOT NULL AND starts_with(lower(v), " + b.Arg(strings.ToLower(prefix)) + ") GROUP BY v ORDER BY count(*) DESC, v LIMIT " + strconv.Itoa(n)
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
