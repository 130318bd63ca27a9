package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/sonae/sonae/fault"
)

// Limits of what runs at once.
const (
	atOnce      = 4  // searches
	exporting   = 2  // exports and back-tests, which may last
	waiting     = 32 // that wait for their turn; more are refused
	defaultWall = 30 * time.Second
)

// gate lets few searches run and few wait. One person never has all turns nor
// most of the places to wait in.
type gate struct {
	running chan struct{}
	queue   chan struct{}

	mu  sync.Mutex
	own map[string]*turns // by person, of those who are in
}

// turns are what one person has of a gate.
type turns struct {
	running chan struct{}
	in      int // running and waiting
}

func newGate(n int) *gate {
	return &gate{running: make(chan struct{}, n), queue: make(chan struct{}, n+waiting), own: map[string]*turns{}}
}

// enter waits for a turn of a person; nobody in particular has no bounds of
// their own. The returned function ends it.
func (g *gate) enter(ctx context.Context, by string) (leave func(), err error) {
	select {
	case g.queue <- struct{}{}:
	default:
		return nil, fault.New(fault.Busy, "search.busy")
	}
	defer func() {
		if err != nil {
			<-g.queue
		}
	}()
	mine := g.come(by)
	if mine == nil {
		return nil, fault.New(fault.Busy, "search.busy")
	}
	select {
	case mine.running <- struct{}{}:
	case <-ctx.Done():
		g.part(by, mine)
		return nil, ctx.Err()
	}
	select {
	case g.running <- struct{}{}:
		return func() { <-g.running; <-mine.running; g.part(by, mine); <-g.queue }, nil
	case <-ctx.Done():
		<-mine.running
		g.part(by, mine)
		return nil, ctx.Err()
	}
}

// come returns the turns of a person, one more of whose searches is in; nil
// when there are too many of them.
func (g *gate) come(by string) *turns {
	if by == "" {
		return &turns{running: make(chan struct{}, 1)}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.own[by]
	if t == nil {
		t = &turns{running: make(chan struct{}, max(1, cap(g.running)-1))}
		g.own[by] = t
	}
	if t.in >= cap(g.queue)/3 {
		return nil
	}
	t.in++
	return t
}

func (g *gate) part(by string, t *turns) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.in--; t.in == 0 {
		delete(g.own, by)
	}
}

// run gives f its turn, its time and the files that can hold what is asked for.
func (a *Archive) run(ctx context.Context, r request, f func(context.Context, []file) error) error {
	leave, err := a.searching.enter(ctx, r.by)
	if err != nil {
		return err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, a.wall)
	defer cancel()
	return a.runWith(ctx, limited, r, f)
}

// runLong is run without a limit of time, for few at once.
func (a *Archive) runLong(ctx context.Context, r request, f func(context.Context, []file) error) error {
	leave, err := a.exporting.enter(ctx, r.by)
	if err != nil {
		return err
	}
	defer leave()
	return a.runWith(ctx, ctx, r, f)
}

func (a *Archive) runWith(ctx, limited context.Context, r request, f func(context.Context, []file) error) error {
	files, release, err := a.view(limited, r.window())
	if err != nil {
		return err
	}
	defer release()
	err = f(limited, files)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return explain(limited, err)
}

// explain turns what the engine says into what a person can act on.
func explain(limited context.Context, err error) error {
	if fault.Of(err) != "" {
		return err
	}
	if errors.Is(limited.Err(), context.DeadlineExceeded) {
		return fault.New(fault.Busy, "search.too-long-running").With(err)
	}
	var e *duckdb.Error
	if errors.As(err, &e) {
		switch {
		case e.Type == duckdb.ErrorTypeOutOfMemory:
			return fault.New(fault.Busy, "search.too-much").With(err)
		case e.Type == duckdb.ErrorTypeInvalidInput, e.Type == duckdb.ErrorTypeOutOfRange:
			return fault.New(fault.Invalid, "search.refused").With(err)
		}
	}
	return fmt.Errorf("ask the engine: %w", err)
}

// onWhole brings the files here and calls f with them; if that fails and some of them are not what
// was written, once more with the others. A segment that was removed or
// changed must not hide all others during an incident: it is left out, which
// the log says as an error and Stats counts.
func (a *Archive) onWhole(ctx context.Context, files []file, f func([]file) error) error {
	files, err := a.bring(ctx, files)
	if err != nil {
		return err
	}
	return a.onBrought(ctx, files, f)
}

// onBrought is onWhole where f brings the files itself.
func (a *Archive) onBrought(ctx context.Context, files []file, f func([]file) error) error {
	err := f(files)
	if err == nil || ctx.Err() != nil || fault.Of(err) != "" || outOfMemory(err) {
		return err
	}
	if whole := a.whole(files); len(whole) < len(files) {
		return f(whole)
	}
	return err
}

func outOfMemory(err error) bool {
	var e *duckdb.Error
	return errors.As(err, &e) && e.Type == duckdb.ErrorTypeOutOfMemory
}

// walk goes through the time of some files, newest first, in steps that hold
// about as many rows as can be read in the time of a step. Steps do not
// overlap: what is found in one is newer than all that is found later.
type walk struct {
	files    []file
	low      int64 // where it ends
	at       int64 // everything from here on has been done
	rows     float64
	min, max float64 // bounds of rows
}

// stepTime is how long a step should last, so that progress is seen to move.
const stepTime = 250 * time.Millisecond

// stepAlign is what segments are sorted by: steps that follow it read fewer
// row groups twice.
const stepAlign = int64(10 * time.Minute)

func newWalk(files []file, rows float64) *walk {
	w := &walk{files: files, low: math.MaxInt64, at: math.MinInt64, rows: rows, min: rows, max: 1 << 24}
	for _, f := range files {
		w.low, w.at = min(w.low, f.from.UnixNano()), max(w.at, f.to.UnixNano()+1)
	}
	return w
}

// next returns the next step, from ≤ time < to.
func (w *walk) next() (from, to int64, ok bool) {
	if w.at <= w.low {
		return 0, 0, false
	}
	to = w.at
	// The largest from with enough rows after it, by halving.
	below, above := w.low, to
	if estimate(w.files, w.low, to) > 1.5*w.rows {
		for above-below > stepAlign/8 && above > below {
			middle := below + (above-below)/2
			if estimate(w.files, middle, to) >= w.rows {
				below = middle
			} else {
				above = middle
			}
		}
		if aligned := below - mod(below, stepAlign); aligned > w.low && aligned < to && estimate(w.files, aligned, to) < 2*w.rows {
			below = aligned
		}
	}
	from = max(min(below, to-1), w.low)
	w.at = from
	return from, to, true
}

func mod(n, by int64) int64 { return ((n % by) + by) % by }

// took lets the next step be larger or smaller by what the last one lasted.
func (w *walk) took(d time.Duration) {
	factor := min(max(float64(stepTime)/float64(max(d, time.Millisecond)), 0.5), 4)
	w.rows = min(max(w.rows*factor, w.min), w.max)
}

// estimate tells about how many rows lie in a time, as if each file had its
// rows spread evenly.
func estimate(files []file, from, to int64) float64 {
	n := 0.0
	for i := range files {
		f := &files[i]
		low, high := f.from.UnixNano(), f.to.UnixNano()+1
		span := float64(high) - float64(low)
		if inside := float64(min(high, to)) - float64(max(low, from)); inside > 0 {
			n += float64(f.rows) * inside / span
		}
	}
	return n
}

func progressOf(files []file) Progress {
	p := Progress{Segments: len(files)}
	for _, f := range files {
		p.Rows += f.rows
	}
	return p
}

// reached tells that everything from a time on has been looked at.
func (p *Progress) reached(files []file, back int64) {
	p.Back = timeOf(back)
	p.SegmentsDone = 0
	for _, f := range files {
		if f.from.UnixNano() >= back {
			p.SegmentsDone++
		}
	}
	p.RowsDone = p.Rows - int64(estimate(files, math.MinInt64, back))
}

func (p *Progress) finished() { p.SegmentsDone, p.RowsDone = p.Segments, p.Rows }

func timeOf(nanos int64) time.Time { return time.Unix(0, nanos).UTC() }

// list writes the paths as a DuckDB list. They come from the manifest.
func list(files []file) string {
	quoted := make([]string, len(files))
	for i, f := range files {
		quoted[i] = literal(f.path)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
