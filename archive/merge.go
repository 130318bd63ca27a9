package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/archive/segment"
)

// oldRows bounds the rows of segments of the first release in one merge: they
// are sorted in memory.
const oldRows = 100_000

// choose returns the segments that are merged next, none if nothing is to be
// done. Fresh ones, which hold all kinds and days, become one for each day and
// kind; of these, some of like size become one, again and again, until they
// have enough rows. So an event is written two to three times in its life.
func (a *Archive) choose() []*sealed {
	a.mu.Lock()
	defer a.mu.Unlock()
	var fresh []*sealed
	groups := map[string][]*sealed{}
	for _, s := range a.index.segments {
		switch {
		case s.damaged:
		case !isMerged(s.number):
			fresh = append(fresh, s)
		case s.rows < a.policy.target/2:
			dir := filepath.Dir(s.path)
			groups[dir] = append(groups[dir], s)
		}
	}
	in := a.chooseFresh(fresh)
	for _, group := range groups {
		if len(in) > 0 {
			break
		}
		in = a.chooseLike(group)
	}
	for _, s := range in {
		s.views++
	}
	return in
}

func (a *Archive) chooseFresh(fresh []*sealed) []*sealed {
	slices.SortFunc(fresh, func(x, y *sealed) int { return cmp.Compare(x.number, y.number) })
	if len(fresh) == 0 || len(fresh) < a.policy.fresh && a.now().Sub(fresh[0].at) < a.policy.age {
		return nil
	}
	rows, old := int64(0), int64(0)
	for i, s := range fresh {
		rows += s.rows
		if s.sites == nil {
			old += s.rows
		}
		if i > 0 && (rows > a.policy.target || old > oldRows || i == a.policy.inputs) {
			return fresh[:i]
		}
	}
	return fresh
}

// chooseLike looks for segments of one day and kind that are about as large as
// each other. When the day is long over, what is left of it is put together
// once that at least halves it.
func (a *Archive) chooseLike(group []*sealed) []*sealed {
	slices.SortFunc(group, func(x, y *sealed) int { return cmp.Or(cmp.Compare(x.rows, y.rows), cmp.Compare(x.number, y.number)) })
	tier := func(s *sealed) int { return int(math.Log2(float64(s.rows)) / 3) }
	for from := range group {
		to := from + 1
		for to < len(group) && tier(group[to]) == tier(group[from]) {
			to++
		}
		if to-from >= a.policy.fan {
			return a.bounded(group[from:to])
		}
	}
	day, err := time.Parse("2006/01/02", strings.TrimPrefix(path2day(group[0].path), segmentsName+"/"))
	newest := slices.MaxFunc(group, func(x, y *sealed) int { return x.at.Compare(y.at) })
	if err != nil || len(group) < 2 || a.now().Sub(latest(day.Add(24*time.Hour), newest.at)) < a.policy.settled {
		return nil
	}
	in := a.bounded(group)
	sum := int64(0)
	for _, s := range in {
		sum += s.rows
	}
	if largest := in[len(in)-1].rows; len(in) > 1 && sum >= largest+largest/2 {
		return in
	}
	return nil
}

func path2day(p string) string { return p[:len(segmentsName)+len("/2006/01/02")] }

// bounded returns as many of the smallest as one merge takes.
func (a *Archive) bounded(group []*sealed) []*sealed {
	rows := int64(0)
	for i, s := range group {
		if rows += s.rows; i >= 2 && (rows > a.policy.target*5/4 || i == a.policy.inputs) {
			return group[:i]
		}
	}
	return group
}

// merge replaces segments, which choose put into use, by new ones.
func (a *Archive) merge(ctx context.Context, in []*sealed) error {
	defer a.unview(in)
	if err := a.fetch(ctx, in); err != nil {
		return err
	}
	files := make([]file, len(in))
	for i, s := range in {
		files[i] = a.fileOf(s)
	}
	if whole := a.whole(files); len(whole) < len(files) {
		return nil // they are marked by now; the next choice goes without them
	}
	if err := a.roomFor(in); err != nil {
		return err
	}
	m := &merging{a: a, in: in, patience: 30 * time.Second}
	err := m.run(ctx)
	if err != nil && !m.done && !errors.Is(err, errUncertain) {
		err = errors.Join(err, m.undo(ctx))
	}
	return err
}

// roomFor makes sure that a merge leaves room for intake.
func (a *Archive) roomFor(in []*sealed) error {
	need := a.policy.reserve
	for _, s := range in {
		need += s.bytes + s.bytes/4
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(a.dir, &s); err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	if free := int64(s.Bavail) * s.Bsize; free < need {
		return errNoRoom(free, need)
	}
	return nil
}

// merging is one merge.
type merging struct {
	a        *Archive
	in       []*sealed
	out      []entry
	failed   error         // a folder could not be made
	stored   bool          // the new segments are in the shared store
	done     bool          // the line is written
	patience time.Duration // how long it still waits for Append
}

func (m *merging) run(ctx context.Context) error {
	rows := int64(0)
	var paths []string
	r := &record{Op: opMerge}
	want := map[partName]string{}
	for _, s := range m.in {
		rows += s.rows
		paths = append(paths, m.a.full(s.path))
		r.Gone = append(r.Gone, s.number)
		if err := m.expect(ctx, s, r, want); err != nil {
			return err
		}
	}
	facts, err := segment.Merge(ctx, paths, m.next, segment.Limits{Rows: rows + 1, Pause: m.pause})
	if err = errors.Join(err, m.failed); err != nil {
		return err
	}
	if err := m.take(facts, rows, want); err != nil {
		return err
	}
	r.Segments = m.out
	return m.seal(ctx, r)
}

// partName names what a fresh segment holds of one day and kind.
type partName struct {
	origin    int64
	day, kind string
}

// expect notes what the new segments must hold of a fresh one. The line of one
// of the first release does not say it, so that the line of the merge must.
func (m *merging) expect(ctx context.Context, s *sealed, r *record, want map[partName]string) error {
	if isMerged(s.number) {
		return nil
	}
	parts := s.content
	if parts == nil {
		held, err := segment.Parts(ctx, m.a.full(s.path))
		if err != nil {
			return err
		}
		parts = partsOf(held)
		r.Contents = append(r.Contents, content{s.number, parts})
	}
	for _, p := range parts {
		want[partName{s.number, p.Day, p.Source}] = p.Digest
	}
	return nil
}

// next names the next new segment.
func (m *merging) next(p segment.Partition) string {
	m.a.lastMerged = max(m.a.lastMerged+1, m.a.mergedNumber())
	source := sourceOf(p.Kind)
	e := entry{Number: m.a.lastMerged, Source: source, Path: pathOf(m.a.lastMerged, p.Day, source)}
	m.out = append(m.out, e)
	full := m.a.full(e.Path)
	m.failed = errors.Join(m.failed, makeFolder(filepath.Dir(full)))
	return full + temporary
}

// pause lets Append go first, for a while: merging must come to an end, too.
func (m *merging) pause() {
	if m.patience <= 0 || m.a.appending.Load() == 0 {
		return
	}
	began := time.Now()
	m.a.writing.Lock()
	waited := time.Since(began)
	m.a.writing.Unlock()
	m.patience -= waited
}

// take compares what was written with what was to be, and describes it.
func (m *merging) take(facts []segment.Facts, rows int64, want map[partName]string) error {
	var arrived time.Time
	for _, s := range m.in {
		arrived = latest(arrived, s.arrived)
	}
	for i := range facts {
		m.out[i].take(&facts[i])
		m.out[i].Arrived = arrived
		rows -= facts[i].Rows
		for _, p := range facts[i].Parts {
			name := partName{p.Number, p.Day.Format(dayFormat), p.Kind}
			if digest, fresh := want[name]; fresh && digest != p.Sum.Digest() {
				return fmt.Errorf("events of segment %d changed", p.Number)
			}
			delete(want, name)
		}
	}
	if rows != 0 || len(want) > 0 {
		return fmt.Errorf("%d events and %d parts are missing", rows, len(want))
	}
	return nil
}

// seal makes the new segments take the place of the old ones: at every step,
// a crash leaves either the old ones or the new ones.
func (m *merging) seal(ctx context.Context, r *record) error {
	if err := m.announce(); err != nil {
		return err
	}
	for i := range m.out {
		if err := m.a.giveName(m.out[i].Path); err != nil {
			return err
		}
	}
	if err := m.a.store(ctx, m.out); err != nil {
		return err
	}
	m.stored = true
	m.a.writing.Lock()
	defer m.a.writing.Unlock()
	err := m.a.usable(ctx)
	for err == nil {
		if err = m.a.commit(ctx, r); !isTaken(err) {
			break
		}
		err = m.stillRight()
	}
	if err != nil {
		return err
	}
	m.done = true
	return errors.Join(removeIfThere(m.a.full(planName)), m.a.tell(ctx))
}

// errTakenAway says that a merge came too late: another hub, or an earlier try
// of this one whose end it did not hear of, merged the same.
var errTakenAway = errors.New("it was taken away meanwhile")

// stillRight says whether the merge makes sense after other hubs wrote.
func (m *merging) stillRight() error {
	for _, s := range m.in {
		if s.gone {
			return fmt.Errorf("segment %d: %w", s.number, errTakenAway)
		}
	}
	if len(m.out) > 0 && m.a.mergedNumber() > m.out[0].Number {
		return errors.New("another hub merges, too")
	}
	return nil
}

// announce writes the plan down, so that Open can undo what a crash leaves.
func (m *merging) announce() error {
	var p plan
	for _, s := range m.in {
		p.In = append(p.In, s.path)
	}
	for i := range m.out {
		p.Out = append(p.Out, m.out[i].Path)
	}
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("plan of a merge: %w", err)
	}
	return writeFile(m.a.full(planName), b)
}

// undo removes the new segments, and then the plan.
func (m *merging) undo(ctx context.Context) error {
	var errs []error
	for i := range m.out {
		errs = append(errs, m.a.undo(m.out[i].Path))
	}
	if m.stored {
		errs = append(errs, m.a.unstore(context.WithoutCancel(ctx), m.out))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return removeIfThere(m.a.full(planName))
}

// writeFile writes a small file, all or nothing, durably.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path+temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+temporary, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), removeIfThere(path+temporary))
	}
	return syncFolder(filepath.Dir(path))
}

// partsOf writes parts as lines have them.
func partsOf(held []segment.Part) []part {
	parts := make([]part, len(held))
	for i := range held {
		p := &held[i]
		parts[i] = part{p.Day.Format(dayFormat), p.Kind, p.Sum.Rows, p.Sum.Digest()}
	}
	return parts
}
