package anomaly

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// past is what is kept of a series between its snapshots.
type past struct {
	Series Series     `json:"series"`
	Tree   *restic.ID `json:"tree"` // of the newest snapshot that was scored
	Files  int        `json:"files"`
	Bytes  uint64     `json:"bytes"`
	Usual  Usual      `json:"usual"`
}

// arrival is a snapshot that was not scored yet.
type arrival struct {
	restic.Snapshot
	Facts
}

// Scan scores the snapshots of a repository that were not scored yet, in the
// order in which they came.
func (d *Desk) Scan(ctx context.Context, r Repository) (err error) {
	d.scan.Lock()
	defer d.scan.Unlock()
	if old, ok := d.seen[r.ID]; ok && r.Stamp != "" && old == r.Stamp {
		return nil
	}
	repo, free, err := d.Source.Open(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("open repository %s: %w", r.ID, err)
	}
	defer func() { err = errors.Join(err, free()) }()
	all, err := repo.Snapshots(ctx)
	if err != nil {
		return fmt.Errorf("list snapshots of %s: %w", r.ID, err)
	}
	bySeries := map[string][]restic.Snapshot{}
	for _, s := range all {
		id := seriesID(r.ID, s)
		bySeries[id] = append(bySeries[id], s)
	}
	for id, list := range bySeries {
		if err := d.scanSeries(ctx, repo, r, id, list); err != nil {
			return fmt.Errorf("score snapshots of %s: %w", r.ID, err)
		}
	}
	if err := d.forget(ctx, r.ID, all); err != nil {
		return err
	}
	d.seen[r.ID] = r.Stamp
	return nil
}

func (d *Desk) scanSeries(ctx context.Context, repo *restic.Repository, r Repository, id string, list []restic.Snapshot) error {
	known, err := d.scored(ctx, id)
	if err != nil {
		return err
	}
	facts, err := d.Source.Facts(ctx, r.ID)
	if err != nil {
		return err
	}
	var fresh []arrival
	for _, s := range list {
		if known[s.ID.String()] {
			continue
		}
		f := facts(s.ID.String())
		if f.Received.IsZero() {
			f.Received = s.Time
		}
		fresh = append(fresh, arrival{s, f})
	}
	slices.SortFunc(fresh, func(a, b arrival) int {
		return cmp.Or(a.Received.Compare(b.Received), a.Time.Compare(b.Time), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	for _, a := range fresh {
		p, err := d.past(ctx, id)
		if err != nil {
			return err
		}
		if err := d.score(ctx, repo, r, id, p, a); err != nil {
			return err
		}
	}
	return nil
}

// score measures and judges one snapshot and keeps what came of it.
func (d *Desk) score(ctx context.Context, repo *restic.Repository, r Repository, id string, p past, a arrival) error {
	s := Snapshot{Series: id, ID: a.ID.String(), At: state.Time(state.Nanos(a.Time)), Received: state.Time(state.Nanos(a.Received)), Partial: a.Partial, Damaged: a.Damaged}
	p.Series.ID, p.Series.Repository, p.Series.Site, p.Series.Host = id, r.ID, r.Site, r.Host
	p.Series.Name, p.Series.Paths, p.Series.Source, p.Series.Class = a.Hostname, a.Paths, sourceOf(a.Snapshot), a.Class
	if err := d.measure(ctx, repo, &p, &s, a); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.Log.Error("a snapshot could not be read", "snapshot", s.ID, "err", err)
		s.Score, s.Problem = Score{Verdict: Unread}, err.Error()
	}
	p.Series.Last, p.Series.LastAt, p.Series.Verdict, p.Series.Points = s.ID, s.Received, s.Verdict, s.Points
	return d.keep(ctx, p, s)
}

// measure fills in the score, and what is usual from now on.
func (d *Desk) measure(ctx context.Context, repo *restic.Repository, p *past, s *Snapshot, a arrival) error {
	old := p.Tree
	if old != nil {
		if _, err := repo.Blob(ctx, restic.TreeBlob, *old, nil); err != nil { // the one before was removed
			if !errors.Is(err, restic.ErrMissing) {
				return err
			}
			old, p.Files, p.Bytes = nil, 0, 0
		}
	}
	decoys, err := d.decoys(ctx, p.Series.Host)
	if err != nil {
		return err
	}
	m := newMeter(repo, a.ID, p.Usual.Endings, func(path string) bool { return decoys[path] })
	m.source = p.Series.Source
	n, err := m.measure(ctx, old, a.Tree, p.Files, p.Bytes)
	if err != nil {
		return err
	}
	s.Numbers = n
	if p.Usual, err = d.settle(ctx, p.Series.ID, p.Usual); err != nil {
		return err
	}
	if usual := p.Usual; old == nil {
		s.Score, p.Usual = begin(n, usual, s.Received)
	} else {
		s.Score, p.Usual = Judge(n, usual, s.Received, m.files)
		if a.Partial { // what could not be read is missing, and what is missing teaches nothing
			s.Score, p.Usual = partial(s.Score), usual
		}
	}
	if s.Verdict != Flagged && s.Verdict != Question {
		p.Usual.Endings = learned(p.Usual.Endings, m.fresh)
	}
	s.Marked, s.Files = len(m.files), m.files[:min(len(m.files), maxShown)]
	p.Tree, p.Files, p.Bytes = a.Tree, n.Files, n.Bytes
	return nil
}

// settle lets go of streams that do not begin as they must where a person said
// that it was meant: a snapshot of each night would have to be answered.
func (d *Desk) settle(ctx context.Context, series string, u Usual) (Usual, error) {
	open := func(c Course) bool { return !c.Wrong.IsZero() && !c.Meant }
	if !slices.ContainsFunc(slices.Collect(maps.Values(u.Streams)), open) {
		return u, nil
	}
	u.Streams = maps.Clone(u.Streams)
	err := d.each(ctx, `SELECT body FROM anomaly_snapshot WHERE series = $1 AND verdict = 'flagged'`, func(rows *sql.Rows) error {
		s, err := scanSnapshot(rows)
		if err != nil || s.Answer == nil || !s.Answer.Planned {
			return err
		}
		for _, x := range s.Numbers.Streams {
			if c := u.Streams[x.Path]; x.Wrong && open(c) && !s.Received.Before(c.Wrong) {
				c.Meant = true
				u.Streams[x.Path] = c
			}
		}
		return nil
	}, series)
	return u, err
}

// decoys are those of a machine, by their paths in its snapshots.
func (d *Desk) decoys(ctx context.Context, host string) (map[string]bool, error) {
	if d.Decoys == nil {
		return nil, nil
	}
	all, err := d.Decoys(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("decoys of %s: %w", host, err)
	}
	set := make(map[string]bool, len(all))
	for _, path := range all {
		set[path] = true
	}
	return set, nil
}

// maxShown bounds the files that are kept with a snapshot.
const maxShown = 200

// partial lowers what an incomplete snapshot says about missing files. It stays
// worth a look: that it is incomplete is the agent's word.
func partial(s Score) Score {
	i := slices.IndexFunc(s.Reasons, func(r Reason) bool { return r.Rule == RuleRemoved })
	if i < 0 {
		return s
	}
	s.Reasons = slices.Clone(s.Reasons)
	s.Points -= max(0, s.Reasons[i].Points-pointsWatch)
	s.Reasons[i].Points = min(s.Reasons[i].Points, pointsWatch)
	if s.Verdict == Flagged && s.Points < pointsFlagged {
		s.Verdict = Watch
	}
	return s
}

// learned adds endings to the known ones.
func learned(known, fresh map[string]int) map[string]int {
	out := make(map[string]int, len(known)+len(fresh))
	for e, n := range known {
		out[e] = n
	}
	for e, n := range fresh {
		if _, there := out[e]; there || n > 0 && len(out) < maxEndings {
			out[e] += n
		}
	}
	return out
}

// Flag is the alarm about a snapshot, for whoever is told.
type Flag struct {
	Series   Series    `json:"series"`
	Snapshot string    `json:"snapshot"`
	At       time.Time `json:"at"`
	Score    Score     `json:"score"`
	Numbers  Numbers   `json:"numbers"`
}
