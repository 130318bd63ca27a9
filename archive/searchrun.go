package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/sonae/sonae/fault"
)

// Limits of what runs at once.
const (
	atOnce      = 4  // searches
	waiting     = 32 // that wait for their turn; more are refused
	defaultWall = 30 * time.Second
)

// WithWall bounds how long one search may take; 30 seconds otherwise.
func WithWall(d time.Duration) Option { return func(a *Archive) { a.wall = d } }

// gate lets few searches run and few wait.
type gate struct {
	running chan struct{}
	queue   chan struct{}
}

func newGate() gate {
	return gate{make(chan struct{}, atOnce), make(chan struct{}, atOnce+waiting)}
}

// enter waits for a turn. The returned function ends it.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.queue <- struct{}{}:
	default:
		return nil, fault.New(fault.Busy, "search.busy")
	}
	select {
	case g.running <- struct{}{}:
		return func() { <-g.running; <-g.queue }, nil
	case <-ctx.Done():
		<-g.queue
		return nil, ctx.Err()
	}
}

// run gives f its turn, its time and the files that can hold what is asked for.
func (a *Archive) run(ctx context.Context, r request, f func(context.Context, []file) error) error {
	leave, err := a.gate.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, a.wall)
	defer cancel()
	err = f(limited, a.candidates(Query{From: r.from, To: r.to}))
	if err == nil || ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return explain(limited, err)
}

// explain turns what the engine says into what a person can act on.
func explain(ctx context.Context, err error) error {
	if fault.Of(err) != "" {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.New(fault.Busy, "search.too-long-running").With(err)
	}
	var e *duckdb.Error
	if errors.As(err, &e) {
		switch {
		case e.Type == duckdb.ErrorTypeOutOfMemory:
			return fault.New(fault.Busy, "search.too-much").With(err)
		case e.Type == duckdb.ErrorTypeInvalidInput && strings.Contains(e.Msg, "regular expression"), e.Type == duckdb.ErrorTypeOutOfRange:
			return fault.New(fault.Invalid, "search.refused").With(err)
		}
	}
	return fmt.Errorf("ask the engine: %w", err)
}

// grouped yields the files in groups of at least so many rows, each group
// twice as large as the one before, up to 64 times.
func grouped(files []file, rows int64) iter.Seq[[]file] {
	return func(yield func([]file) bool) {
		most := rows * 64
		for len(files) > 0 {
			n, sum := 0, int64(0)
			for n < len(files) && (n == 0 || sum < rows) && n < 512 {
				sum += files[n].rows
				n++
			}
			if !yield(files[:n]) {
				return
			}
			files = files[n:]
			rows = min(rows*2, most)
		}
	}
}

func progressOf(files []file) Progress {
	p := Progress{Segments: len(files)}
	for _, f := range files {
		p.Rows += f.rows
	}
	return p
}

// done counts a group; what is left may reach up to next.
func (p *Progress) done(group []file) {
	for _, f := range group {
		p.SegmentsDone++
		p.RowsDone += f.rows
		p.Back = f.to
	}
}
