package archive

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

const MaxFound = 10_000 // events of one page

// Search asks the archive in the words of archive/lang.
type Search struct {
	Query    string
	From, To time.Time      // From ≤ time < To, by the clock of the host; zero does not restrict
	Sites    []string       // what the caller may see; nil is all, empty is nothing
	Limit    int            // events; 0 means DefaultLimit; more than MaxFound means MaxFound
	After    string         // Next of the page before
	Zone     *time.Location // of times and days in the query that name none; nil is UTC
	By       string         // who asks: one person leaves turns for others; empty is a program
}

// Part is a piece of an answer. Events of successive parts follow each other,
// newest first; a Table replaces the one before. The last one is Done.
type Part struct {
	Events   []event.Event
	Table    *Table
	Progress Progress
	Next     string // set on the last part where older events match too
	Done     bool
}

// Table is the answer to a query with count, top, stats or timeline.
type Table struct {
	Columns []Column
	Rows    [][]string // as text: times in RFC 3339, numbers in decimal; empty where there is none
	More    bool       // more than lang.MaxRows rows; the others are left out
}

// Column of a Table.
type Column struct {
	Name string
	Kind string // text, number or time
}

// Progress is how far a search has come.
type Progress struct {
	Segments, SegmentsDone int       // segments that were skipped by what is known of them count as done
	Rows, RowsDone         int64     // in those segments
	Back                   time.Time // everything after it has been looked at; zero before the first
	Found                  int64
}

// Bucket is one bar of a histogram.
type Bucket struct {
	From  time.Time
	Width time.Duration
	Count int64
}

// FieldStats is what a field holds among the events that match.
type FieldStats struct {
	Field             string
	Present, Distinct int64
	Top               []Value
	Min, Max, Average string // of numbers; Min and Max of texts too; empty where there is none
}

// Value is one value of a field and how often it occurs.
type Value struct {
	Text  string
	Count int64
}

// request is a Search that has been read.
type request struct {
	lang.Query
	options lang.Options
	from    time.Time
	to      time.Time
	sites   []string
	limit   int
	after   *position
	by      string
}

// position is where an event stands among all, newest first.
type position struct {
	at    int64
	batch string
	row   int32
}

func (a *Archive) request(s Search) (request, error) {
	q, err := lang.Parse(s.Query)
	if err != nil {
		return request{}, err
	}
	r := request{Query: q, options: lang.Options{Now: a.now(), Zone: s.Zone}, from: s.From, to: s.To, sites: s.Sites, limit: s.Limit, by: s.By}
	if r.limit <= 0 {
		r.limit = DefaultLimit
	}
	if q.Limit > 0 {
		r.limit = q.Limit
	}
	r.limit = min(r.limit, MaxFound)
	if s.After != "" {
		if r.after, err = parsePosition(s.After); err != nil {
			return request{}, err
		}
	}
	return r, nil
}

// String writes the position as a cursor.
func (p position) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(p.at, 10) + " " + strconv.Itoa(int(p.row)) + " " + p.batch))
}

func parsePosition(cursor string) (*position, error) {
	wrong := fault.New(fault.Invalid, "search.cursor")
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, wrong.With(err)
	}
	parts := strings.SplitN(string(b), " ", 3)
	if len(parts) != 3 {
		return nil, wrong
	}
	at, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return nil, wrong.With(err)
	}
	if segment.Nanos(timeOf(at)) != at { // no event can stand there
		return nil, wrong
	}
	row, err := strconv.ParseInt(parts[1], 10, 32)
	if err != nil {
		return nil, wrong.With(err)
	}
	return &position{at, parts[2], int32(row)}, nil
}

// condition is everything an event must fulfil.
func (r request) condition(b *lang.Builder) string {
	all := []string{b.Condition(r.Where)}
	if !r.from.IsZero() {
		all = append(all, "time >= make_timestamp_ns("+b.Arg(segment.Nanos(r.from))+")")
	}
	if !r.to.IsZero() {
		all = append(all, "time < make_timestamp_ns("+b.Arg(segment.Nanos(r.to))+")")
	}
	if r.sites != nil {
		names := make([]string, len(r.sites))
		for i, s := range r.sites {
			names[i] = b.Arg(s)
		}
		all = append(all, "site IN ("+strings.Join(append(names, "NULL"), ", ")+")")
	}
	if p := r.after; p != nil {
		at, batch, row := "make_timestamp_ns("+b.Arg(p.at)+")", b.Arg(p.batch), b.Arg(int64(p.row))
		all = append(all, "time <= "+at, "(time < "+at+" OR batch < "+batch+" OR batch = "+batch+" AND batch_row < "+row+")")
	}
	return strings.Join(all, " AND ")
}

// Search runs a query and hands its answer over in parts: events newest first,
// each as soon as no newer one can be found any more; a table as often as
// there is more of it. An error of each ends the search and is returned.
//
// A wrong query is fault.Invalid, too many at once or one that needs more
// than it may is fault.Busy. Cancelling ctx stops the engine.
func (a *Archive) Search(ctx context.Context, s Search, each func(Part) error) error {
	r, err := a.request(s)
	if err != nil {
		return fmt.Errorf("search: %w", err)
	}
	err = a.run(ctx, r, func(ctx context.Context, files []file) error {
		if answered, err := a.look(ctx, r, files, each); answered || err != nil {
			return err
		}
		if r.Group != nil {
			return a.searchTable(ctx, r, files, each)
		}
		return a.searchEvents(ctx, r, files, each)
	})
	if err != nil {
		return fmt.Errorf("search: %w", err)
	}
	return nil
}

// number formats a number of the engine.
func number(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', 10, 64)
}
