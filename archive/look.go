package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/archive/segment"
	"github.com/sonae/sonae/event"
)

// look answers what is looked up: a few whole events, newest first, or how many
// there are, by conditions that plain code can test. It reads single pages of
// the segments, where the engine would bind files and decode row groups, which
// takes it longer than many such answers may last. Everything else is for the
// engine, as is whatever cannot be read here: then answered is false, and
// nothing was given away yet.
func (a *Archive) look(ctx context.Context, r request, files []file, each func(Part) error) (answered bool, err error) {
	l := a.looker(r)
	if l == nil {
		return false, nil
	}
	defer l.release()
	part, err := l.run(ctx, files)
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	if err != nil {
		if !errors.Is(err, errLong) {
			a.log.Debug("looked up by the engine", "err", err)
		}
		return false, nil
	}
	return true, each(part)
}

// errLong means that the engine is likely to be faster.
var errLong = errors.New("too much to look through")

// maxBlocks is how many blocks a look-up reads long texts of.
const maxBlocks = 768

// looker is one look-up.
type looker struct {
	a    *Archive
	r    request
	test *lang.Test
	need *lang.Need
	long bool // the original line or fields are tested

	columns []*lang.Test // of columns, that must all hold

	blocks atomic.Int64 // with long texts that were to be tested

	mu    sync.Mutex // guards using
	using []func()
}

// looker returns nil where a request is for the engine.
func (a *Archive) looker(r request) *looker {
	l := &looker{a: a, r: r, test: lang.Tests(r.Where), need: lang.Needs(r.Where)}
	if r.sites != nil {
		l.test = &lang.Test{All: []*lang.Test{l.test, {Column: "site", Holds: func(s string) bool { return slices.Contains(r.sites, s) }}}}
	}
	l.columns = conjuncts(l.test)
	l.long = l.test.Reads("raw") || l.test.Reads(lang.AnyField)
	counts := r.Group != nil && r.Where != nil && r.after == nil && r.Group.Kind == "count" && !r.hasKeys() && len(r.Then) == 0
	switch {
	case r.Group != nil && !counts, r.Group == nil && r.limit > MaxLimit, l.long && l.need == nil, !l.test.Exact():
		return nil
	}
	return l
}

func (l *looker) release() {
	for _, release := range l.using {
		release()
	}
}

// run answers with the only part.
func (l *looker) run(ctx context.Context, files []file) (Part, error) {
	progress := progressOf(files)
	sc, err := l.a.prune(ctx, files, l.r.Where)
	if err != nil {
		return Part{}, err
	}
	if l.r.Group != nil {
		n, err := l.count(ctx, sc)
		progress.finished()
		progress.Found = 1
		return Part{Table: &Table{Columns: columnsOf(l.r.Group), Rows: [][]string{{strconv.Itoa(n)}}}, Progress: progress, Done: true}, err
	}
	found, err := l.newest(ctx, sc)
	if err != nil {
		return Part{}, err
	}
	give := found[:min(len(found), l.r.limit)]
	events, err := l.events(ctx, give)
	part := Part{Events: events, Done: true}
	progress.finished()
	if len(found) > len(give) {
		last := give[len(give)-1].position
		part.Next = last.String()
		progress.reached(files, last.at)
	}
	progress.Found = int64(len(events))
	part.Progress = progress
	return part, err
}

// unit is a row group, or a part of the tail, that can hold something.
type unit struct {
	f        *file
	pages    *segment.Pages // nil: tail
	group    int
	from, to int64 // oldest and newest row
	in       segment.Blocks
}

// units opens a file and returns what of it can hold something.
func (l *looker) units(ctx context.Context, f *file, sc *scope) ([]unit, error) {
	if f.number < 0 {
		return []unit{{f: f, from: f.from.UnixNano(), to: f.to.UnixNano()}}, nil
	}
	if here, err := l.a.bring(ctx, []file{*f}); err != nil || len(here) == 0 {
		return nil, err
	}
	pages, release, err := l.a.opened.use(f.path)
	if err != nil {
		return nil, err
	}
	if !l.hold(release) {
		return nil, errLong
	}
	var all []unit
	for i, g := range pages.Groups() {
		if sc.has(g.Part) && l.r.covers(g.From, g.To) {
			all = append(all, unit{f: f, pages: pages, group: i, from: g.From, to: g.To})
		}
	}
	return all, nil
}

// hold notes what is to be released, and says whether that is not too much.
func (l *looker) hold(release func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.using = append(l.using, release)
	return len(l.using) <= maxOpened
}

// has says whether a row group is in the scope.
func (s *scope) has(part int64) bool {
	if s.parts == nil || slices.Contains(s.whole, part>>16) {
		return true
	}
	_, found := slices.BinarySearch(s.parts, part)
	return found
}

// covers says whether rows from from to to can be asked for, by their time.
func (r *request) covers(from, to int64) bool {
	return (r.from.IsZero() || to >= segment.Nanos(r.from)) && (r.to.IsZero() || from < segment.Nanos(r.to)) && (r.after == nil || from <= r.after.at)
}

// inside says whether a row's time is asked for.
func (l *looker) inside(at int64) bool { return l.r.covers(at, at) }

// count counts what matches.
func (l *looker) count(ctx context.Context, sc scope) (n int, err error) {
	of := make([][]unit, len(sc.files))
	if err := atOnceEach(ctx, len(of), func(i int) (err error) {
		if of[i], err = l.units(ctx, &sc.files[i], &sc); err != nil {
			return err
		}
		for k := range of[i] {
			if err := l.confine(&of[i][k]); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	all := slices.Concat(of...)
	counts := make([]int, len(all))
	err = atOnceEach(ctx, len(all), func(i int) error {
		if all[i].pages == nil {
			for range l.tailRows(&all[i]) {
				counts[i]++
			}
			return nil
		}
		m, err := l.matching(&all[i])
		counts[i] = m.Count()
		return err
	})
	for _, c := range counts {
		n += c
	}
	return n, err
}

// matching marks the rows of a row group that match.
func (l *looker) matching(u *unit) (m segment.Marks, err error) {
	if u.in == 0 {
		return m, nil
	}
	if m, err = l.mark(u, l.test, u.in); err != nil {
		return m, err
	}
	if !l.inside(u.from) || !l.inside(u.to) || l.r.after != nil && u.to == l.r.after.at {
		err = l.cutTimes(u, &m)
	}
	return m, err
}

// confine finds the blocks that can hold what is needed. To look into the
// dictionaries first costs less where nothing is in memory.
func (l *looker) confine(u *unit) error {
	u.in = segment.AllBlocks
	if l.need == nil || u.pages == nil {
		return nil
	}
	if may, err := mayHold(u.pages, u.group, l.columns); err != nil || !may {
		u.in = 0
		return err
	}
	if sketch := l.a.sketchOf(*u.f); sketch != nil {
		outline, err := u.pages.Outline(sketch, u.group)
		if err != nil { // then a nil outline knows nothing
			l.a.log.Error("sketch of a segment is missing or changed: the row group is read whole", "file", u.f.sketch.Path, "err", err)
		}
		u.in = fulfilling(outline, l.need)
	}
	// In these blocks the original line and all fields are read.
	if l.long && l.blocks.Add(int64(u.in.Count())) > maxBlocks {
		return errLong
	}
	return nil
}

// fulfilling returns the blocks that can fulfil a need.
func fulfilling(o *segment.Outline, n *lang.Need) segment.Blocks {
	switch {
	case n.Text != "":
		return o.MayHold(n.Text)
	case n.All != nil:
		in := segment.AllBlocks
		for _, one := range n.All {
			in &= fulfilling(o, one)
		}
		return in
	}
	in := segment.Blocks(0)
	for _, one := range n.Any {
		in |= fulfilling(o, one)
	}
	return in
}

// mark marks the rows, in some blocks, of which a test holds. What one test of
// several leaves out is not read for the next.
func (l *looker) mark(u *unit, t *lang.Test, in segment.Blocks) (m segment.Marks, err error) {
	switch {
	case t.Holds != nil:
		return u.pages.Mark(u.group, t.Column, in, t.Holds)
	case t.Not != nil:
		no, err := l.mark(u, t.Not, in)
		m.MarkAll(in, u.pages.Groups()[u.group].Rows)
		m.Without(&no)
		return m, err
	case t.All != nil:
		m.MarkAll(in, u.pages.Groups()[u.group].Rows)
		for _, one := range t.All {
			yes, err := l.mark(u, one, in&m.Blocks())
			if err != nil {
				return m, err
			}
			m.And(&yes)
		}
		return m, nil
	}
	for _, one := range t.Any {
		yes, err := l.mark(u, one, in)
		if err != nil {
			return m, err
		}
		m.Or(&yes)
	}
	return m, nil
}

// cutTimes leaves the rows whose time is asked for.
func (l *looker) cutTimes(u *unit, m *segment.Marks) error {
	var out segment.Marks
	var same []int // as old as the last event of the page before
	err := u.pages.Times(u.group, m, math.MinInt64, func(line int, at int64) int64 {
		if !l.inside(at) {
			out.Set(line)
		} else if l.r.after != nil && at == l.r.after.at {
			same = append(same, line)
		}
		return math.MinInt64
	})
	slices.Reverse(same)
	if err == nil && len(same) > 0 {
		var rows []segment.Row
		if rows, err = u.pages.Batches(u.group, same); err == nil {
			for i := range rows {
				if !l.follows(position{l.r.after.at, rows[i].Batch, rows[i].Row}) {
					out.Set(same[i])
				}
			}
		}
	}
	m.Without(&out)
	return err
}

// follows says whether a position comes after the page before.
func (l *looker) follows(p position) bool { return l.r.after == nil || newer(*l.r.after, p) < 0 }

// newer orders positions, the newest first.
func newer(x, y position) int {
	return cmp.Or(cmp.Compare(y.at, x.at), cmp.Compare(y.batch, x.batch), cmp.Compare(y.row, x.row))
}

// tailRows are the rows of a part of the tail that match.
func (l *looker) tailRows(u *unit) func(yield func(*segment.Row) bool) {
	return func(yield func(*segment.Row) bool) {
		for _, b := range u.f.chunk.batches {
			for i := range b.rows {
				r := &b.rows[i]
				if l.inside(r.Time) && holds(l.test, r) && l.follows(position{r.Time, r.Batch, r.Row}) && !yield(r) {
					return
				}
			}
		}
	}
}

// holds says whether a test holds for a row.
func holds(t *lang.Test, r *segment.Row) bool {
	of := func(o *lang.Test) bool { return holds(o, r) }
	switch {
	case t.Holds != nil:
		return r.Holds(t.Column, t.Holds)
	case t.Not != nil:
		return !holds(t.Not, r)
	case t.All != nil:
		return !slices.ContainsFunc(t.All, func(o *lang.Test) bool { return !of(o) })
	}
	return slices.ContainsFunc(t.Any, of)
}

// maxSeen bounds what a look-up keeps of rows of the same time.
const maxSeen = 1 << 16

// seen is a row that matches.
type seen struct {
	position
	u    *unit
	line int
	row  *segment.Row // of the tail
}

// newest finds the newest rows that match, one more than are asked for to tell
// that there are more.
func (l *looker) newest(ctx context.Context, sc scope) (found []seen, err error) {
	top := newest{n: l.r.limit + 1}
	var waiting []*unit // opened and not looked through, the newest first
	files := sc.files
	for len(files) > 0 || len(waiting) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(files) > 0 && (len(waiting) == 0 || files[0].to.UnixNano() >= waiting[0].to) {
			if files[0].to.UnixNano() < top.since() {
				return l.first(found), nil
			}
			units, err := l.units(ctx, &files[0], &sc)
			if err != nil {
				return nil, err
			}
			for i := range units {
				waiting = append(waiting, &units[i])
			}
			slices.SortFunc(waiting, func(x, y *unit) int { return cmp.Compare(y.to, x.to) })
			files = files[1:]
			continue
		}
		u := waiting[0]
		waiting = waiting[1:]
		if u.to < top.since() {
			break
		}
		if found, err = l.add(found, u, &top); err != nil {
			return nil, err
		}
		if len(found) > maxSeen { // many of the same time
			found = l.first(found)
		}
	}
	return l.first(found), nil
}

// first returns the newest of what was found.
func (l *looker) first(found []seen) []seen {
	slices.SortFunc(found, func(x, y seen) int { return newer(x.position, y.position) })
	return found[:min(len(found), l.r.limit+1)]
}

// reads names the columns by which the newest rows are found, but for long texts.
func (l *looker) reads(name string) bool {
	switch name {
	case "time", "batch", "batch_row":
		return true
	}
	return slices.ContainsFunc(l.columns, func(t *lang.Test) bool { return t.Column == name })
}

// add looks through a unit.
func (l *looker) add(found []seen, u *unit, top *newest) ([]seen, error) {
	if u.pages == nil {
		for r := range l.tailRows(u) {
			if top.offer(r.Time) {
				found = append(found, seen{position{r.Time, r.Batch, r.Row}, u, 0, r})
			}
		}
		return found, nil
	}
	u.pages.Ahead(u.group, l.reads)
	if err := l.confine(u); err != nil {
		return nil, err
	}
	m, err := l.matching(u)
	if err != nil {
		return nil, err
	}
	var lines []int
	var times []int64
	if err := u.pages.Times(u.group, &m, top.since(), func(line int, at int64) int64 {
		if top.offer(at) {
			lines, times = append(lines, line), append(times, at)
		}
		return top.since()
	}); err != nil {
		return nil, err
	}
	lines, times = top.still(lines, times)
	rows, err := u.pages.Batches(u.group, lines)
	if err != nil {
		return nil, err
	}
	for i, line := range lines {
		found = append(found, seen{position{times[i], rows[i].Batch, rows[i].Row}, u, line, nil})
	}
	return found, nil
}

// events reads what was found, in its order.
func (l *looker) events(ctx context.Context, found []seen) ([]event.Event, error) {
	events := make([]event.Event, len(found))
	var units []*unit
	of := map[*unit][]int{} // numbers in found
	for i, s := range found {
		if s.row != nil {
			events[i] = s.row.Event()
			continue
		}
		if of[s.u] == nil {
			units = append(units, s.u)
		}
		of[s.u] = append(of[s.u], i)
	}
	err := atOnceEach(ctx, len(units), func(n int) error {
		at := of[units[n]]
		slices.SortFunc(at, func(x, y int) int { return cmp.Compare(found[x].line, found[y].line) })
		lines := make([]int, len(at))
		for k, i := range at {
			lines[k] = found[i].line
		}
		rows, err := units[n].pages.Rows(units[n].group, lines)
		if err != nil {
			return fmt.Errorf("read %s: %w", units[n].f.path, err)
		}
		for k, i := range at {
			events[i] = rows[k].Event()
		}
		return nil
	})
	return events, err
}

// newest are the newest n times of those that were offered: a heap, the oldest
// on top.
type newest struct {
	n     int
	times []int64
}

// since is the time of the oldest, once there are enough.
func (h *newest) since() int64 {
	if len(h.times) < h.n {
		return math.MinInt64
	}
	return h.times[0]
}

// still returns, the first line first, those of some lines, given the last line
// first, than which there are not enough newer ones.
func (h *newest) still(lines []int, times []int64) ([]int, []int64) {
	slices.Reverse(lines)
	slices.Reverse(times)
	kept := 0
	for i, at := range times {
		if at >= h.since() {
			lines[kept], times[kept] = lines[i], at
			kept++
		}
	}
	return lines[:kept], times[:kept]
}

// offer takes a time, and says whether it is among the newest so far or as old
// as the oldest of these.
func (h *newest) offer(at int64) bool {
	switch {
	case len(h.times) < h.n:
		h.times = append(h.times, at)
		for i := len(h.times) - 1; i > 0 && h.times[(i-1)/2] > h.times[i]; i = (i - 1) / 2 {
			h.times[i], h.times[(i-1)/2] = h.times[(i-1)/2], h.times[i]
		}
		return true
	case at <= h.times[0]:
		return at == h.times[0]
	}
	h.times[0] = at
	for i := 0; ; {
		least := i
		for _, below := range [...]int{2*i + 1, 2*i + 2} {
			if below < len(h.times) && h.times[below] < h.times[least] {
				least = below
			}
		}
		if least == i {
			return true
		}
		h.times[i], h.times[least] = h.times[least], h.times[i]
		i = least
	}
}
