package anomaly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// Why a snapshot cannot be the clean point.
const (
	DropAfter   = "after"   // it came when the damage may have begun already
	DropPartial = "partial" // some files could not be read when it was made
	DropDamaged = "damaged" // a check found damage in it
	DropSuspect = "suspect" // made while an intruder may have been there
	DropUnread  = "unread"  // nobody could score it
	DropGone    = "gone"    // it is not in the repository any more
)

// Candidate is a snapshot that may be the clean point.
type Candidate struct {
	Snapshot string    `json:"snapshot"`
	At       time.Time `json:"at"`
	Received time.Time `json:"received"`
	Points   int       `json:"points"`
	Dropped  string    `json:"dropped,omitempty"` // why it cannot be; empty: it can
	Proven   time.Time `json:"proven,omitzero"`   // when a restore of it was proven
}

// Proposal is what the hub would take as the clean point of a series.
type Proposal struct {
	Series    string        `json:"series"`
	Begun     time.Time     `json:"begun"`             // when the damage began at the latest; zero: nothing says that there is any
	Because   string        `json:"because,omitempty"` // first snapshot that says so; empty: a person said when
	Uncertain time.Duration `json:"uncertain"`         // how much earlier it may have begun
	// Choice is the newest that a drill proved, else the newest; empty: none is
	// left. Newest is the newest that no drill proved, where it is newer.
	Choice     string      `json:"choice"`
	Newest     string      `json:"newest,omitempty"`
	Candidates []Candidate `json:"candidates"` // the newest first
}

// maxCandidates bounds the snapshots that a proposal looks at.
const maxCandidates = 400

// Propose chooses the clean point of a series. begun is when people know that
// it began; zero when they do not: then the first snapshot that is flagged
// says it, or one that was asked about and that nobody called planned. It may
// have begun uncertain earlier.
func (d *Desk) Propose(ctx context.Context, series string, begun time.Time, uncertain time.Duration) (Proposal, error) {
	all, _, err := d.Snapshots(ctx, series, maxCandidates, 0)
	if err != nil {
		return Proposal{}, err
	}
	p, err := d.past(ctx, series)
	if err != nil {
		return Proposal{}, err
	}
	if len(all) == 0 {
		return Proposal{}, missing()
	}
	out := Proposal{Series: series, Begun: begun, Uncertain: max(0, uncertain)}
	for _, s := range all {
		if at := s.since(); s.Alarming() && (out.Begun.IsZero() || at.Before(out.Begun) || out.Because != "" && at.Equal(out.Begun)) { // a later one may say since when
			out.Begun, out.Because = at, s.ID
		}
	}
	facts, err := d.Source.Facts(ctx, p.Series.Repository)
	if err != nil {
		return Proposal{}, err
	}
	proven, err := d.proven(ctx, p.Series.Repository)
	if err != nil {
		return Proposal{}, err
	}
	for _, s := range all {
		f := facts(s.ID) // a check may have looked at it since it was scored
		s.Partial, s.Damaged = s.Partial || f.Partial, s.Damaged || f.Damaged
		c := Candidate{Snapshot: s.ID, At: s.At, Received: s.Received, Points: s.Points, Dropped: dropped(s, out)}
		if c.Dropped == "" && f.Suspect {
			c.Dropped = DropSuspect
		}
		if c.Dropped == "" {
			c.Proven = proven(s.ID)
		}
		out.Candidates = append(out.Candidates, c)
	}
	out.choose()
	return out, nil
}

func (d *Desk) proven(ctx context.Context, repository string) (func(string) time.Time, error) {
	if d.Drills == nil {
		return func(string) time.Time { return time.Time{} }, nil
	}
	return d.Drills.Proven(ctx, repository)
}

func dropped(s Snapshot, p Proposal) string {
	switch {
	case !p.Begun.IsZero() && !s.Received.Before(p.Begun.Add(-p.Uncertain)):
		return DropAfter
	case s.Gone:
		return DropGone
	case s.Verdict == Unread:
		return DropUnread
	case s.Damaged:
		return DropDamaged
	case s.Partial:
		return DropPartial
	}
	return ""
}

func (p *Proposal) choose() {
	newest := ""
	for _, c := range p.Candidates {
		if c.Dropped != "" {
			continue
		}
		if newest == "" {
			newest = c.Snapshot
		}
		if !c.Proven.IsZero() {
			p.Choice = c.Snapshot
			break
		}
	}
	if p.Choice == "" {
		p.Choice = newest
	}
	if p.Choice != newest {
		p.Newest = newest
	}
}

// CleanPoint is a snapshot that a person confirmed.
type CleanPoint struct {
	ID       string    `json:"id"`
	Series   string    `json:"series"`
	Snapshot string    `json:"snapshot"`
	Received time.Time `json:"received"`
	Begun    time.Time `json:"begun,omitzero"`
	Proven   time.Time `json:"proven,omitzero"`
	Reason   string    `json:"reason"`
	Incident string    `json:"incident,omitempty"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`
}

// NewCleanPoint is what a person confirms.
type NewCleanPoint struct {
	Snapshot  string
	Begun     time.Time // as given to Propose
	Uncertain time.Duration
	Reason    string // at most 500 characters
	Incident  string // whose chronology tells of it; may be empty
}

// Confirm keeps the clean point that a person chose. A later one takes its
// place; all stay on record.
//
// Errors: Missing; Invalid without a reason; Conflict for a snapshot that
// cannot be one.
func (d *Desk) Confirm(ctx context.Context, series string, n NewCleanPoint, by auth.Person) (CleanPoint, error) {
	reason, err := clean("reason", n.Reason, 500, true)
	if err != nil {
		return CleanPoint{}, err
	}
	p, err := d.Propose(ctx, series, n.Begun, n.Uncertain)
	if err != nil {
		return CleanPoint{}, err
	}
	i := slices.IndexFunc(p.Candidates, func(c Candidate) bool { return c.Snapshot == n.Snapshot })
	if i < 0 {
		return CleanPoint{}, missing()
	}
	chosen := p.Candidates[i]
	if chosen.Dropped != "" {
		return CleanPoint{}, fault.New(fault.Conflict, "protect.anomaly.not-clean")
	}
	s, err := d.Get(ctx, series)
	if err != nil {
		return CleanPoint{}, err
	}
	c := CleanPoint{ID: clock.ID("cp", d.moment()), Series: series, Snapshot: chosen.Snapshot, Received: chosen.Received, Begun: p.Begun, Proven: chosen.Proven,
		Reason: reason, Incident: n.Incident, By: by.ID, At: d.moment()}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		if c.Incident != "" && d.Room != nil {
			if _, err := d.Room.Enter(ctx, tx, c.Incident, incident.Form{Note: c.Note(s)}, by); err != nil {
				return err
			}
		}
		return table.Put(ctx, tx, record.Version{ID: c.ID, Kind: KindClean, Incident: c.Incident, At: c.At, By: by.ID}, c)
	})
	if err != nil {
		return CleanPoint{}, fmt.Errorf("confirm clean point of %s: %w", series, err)
	}
	return c, nil
}

// Note is what the chronology says of a clean point.
func (c CleanPoint) Note(s Series) incident.Note {
	return incident.Note{Key: "protect.clean-point", Source: "protect", Ref: c.ID, Args: map[string]string{"host": s.Host, "snapshot": c.Snapshot[:min(8, len(c.Snapshot))],
		"received_at": c.Received.UTC().Format(time.RFC3339), "reason": c.Reason}}
}

// CleanOf is until when what a machine backed up is held to be clean, by the
// hub's clock: that of the series whose confirmed clean point is the earliest, so
// that nothing later of any of them is among it. False: nobody confirmed one.
func (d *Desk) CleanOf(ctx context.Context, host string) (at time.Time, ok bool, err error) {
	points, err := d.CleanPoints(ctx, "")
	if err != nil {
		return time.Time{}, false, err
	}
	newest := map[string]time.Time{}
	for _, c := range points { // in the order in which they were confirmed
		newest[c.Series] = c.Received
	}
	for series, received := range newest {
		p, err := d.past(ctx, series)
		if err != nil {
			return time.Time{}, false, err
		}
		if p.Series.Host == host && (!ok || received.Before(at)) {
			at, ok = received, true
		}
	}
	return at, ok, nil
}

// CleanPoints returns what was confirmed of a series, in order; of all series
// when it is empty.
func (d *Desk) CleanPoints(ctx context.Context, series string) ([]CleanPoint, error) {
	all, err := table.Newest(ctx, d.db, KindClean, "")
	if err != nil {
		return nil, err
	}
	var out []CleanPoint
	for _, v := range all {
		var c CleanPoint
		if err := json.Unmarshal(v.Body, &c); err != nil {
			return nil, fmt.Errorf("read clean point %s: %w", v.ID, err)
		}
		if series == "" || c.Series == series {
			out = append(out, c)
		}
	}
	return out, nil
}

// clean makes a field fit for storing.
func clean(field, text string, most int, must bool) (string, error) {
	t, err := incident.Clean(field, text, most)
	if err == nil && t == "" && must {
		err = fault.New(fault.Invalid, "protect.anomaly.no-"+field)
	}
	return t, err
}

// LostFile is a file that is not as it was at the clean point.
type LostFile struct {
	Path string `json:"path"`
	New  bool   `json:"new"`            // it came after the clean point
	Gone bool   `json:"gone"`           // it is not there any more
	Sign string `json:"sign,omitempty"` // what says that it is unusable now
	// Good is the newest snapshot that holds a version without a sign: the clean
	// point itself when that is the newest; empty when there is none.
	Good   string    `json:"good,omitempty"`
	GoodAt time.Time `json:"good_at,omitzero"`
	Looked bool      `json:"looked"` // its contents were looked at
}

// Loss is what going back to a snapshot would cost.
type Loss struct {
	Series   string     `json:"series"`
	Snapshot string     `json:"snapshot"`
	Until    string     `json:"until"`  // newest snapshot that was compared
	Files    []LostFile `json:"files"`  // those with a sign first, then by folder
	Total    int        `json:"total"`  // files, also those that are not listed
	Marked   int        `json:"marked"` // with a sign
}

// Bounds of what Loss lists and reads.
const (
	maxLoss     = 10_000
	maxLossRead = 128 << 20 // bytes of contents
)

// Loss lists the files that changed after a snapshot, and for each the newest
// version without a sign: going back file by file loses less than going back as
// a whole.
func (d *Desk) Loss(ctx context.Context, series, snapshot string) (l Loss, err error) {
	p, err := d.past(ctx, series)
	if err != nil {
		return Loss{}, err
	}
	from, err := d.Snapshot(ctx, series, snapshot)
	if err != nil {
		return Loss{}, err
	}
	repo, free, err := d.Source.Open(ctx, p.Series.Repository)
	if err != nil {
		return Loss{}, err
	}
	defer func() { err = errors.Join(err, free()) }()
	chain, err := d.chain(ctx, repo, series, from)
	if err != nil {
		return Loss{}, err
	}
	w := lossWalk{m: newMeter(repo, *chain[0].tree, nil, nil), files: map[string]*LostFile{}, base: from}
	w.m.left = maxLossRead
	for i, next := range chain[1:] {
		w.now = next.Snapshot
		step := walker{repo, func(c change) error { return w.take(ctx, c) }}
		if err := step.folder(ctx, chain[i].tree, next.tree, "/", 0); err != nil {
			return Loss{}, fmt.Errorf("compare snapshot %s with %s: %w", chain[i].ID, next.ID, err)
		}
	}
	l = w.result()
	l.Series, l.Snapshot, l.Until = series, snapshot, chain[len(chain)-1].ID
	return l, nil
}

// link is a snapshot with its tree.
type link struct {
	Snapshot
	tree *restic.ID
}

// chain is a snapshot and those of the series that came after it and are still
// there, oldest first.
func (d *Desk) chain(ctx context.Context, repo *restic.Repository, series string, from Snapshot) ([]link, error) {
	there, err := repo.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	trees := map[string]*restic.ID{}
	for _, s := range there {
		trees[s.ID.String()] = s.Tree
	}
	if trees[from.ID] == nil {
		return nil, fault.New(fault.Conflict, "protect.anomaly.gone")
	}
	all, _, err := d.Snapshots(ctx, series, maxCandidates, 0)
	if err != nil {
		return nil, err
	}
	out := []link{{from, trees[from.ID]}}
	for _, s := range slices.Backward(all) {
		if s.ID != from.ID && !s.Received.Before(from.Received) && trees[s.ID] != nil && !s.Partial {
			out = append(out, link{s, trees[s.ID]})
		}
	}
	return out, nil
}

// lossWalk follows files from snapshot to snapshot.
type lossWalk struct {
	m     *meter
	base  Snapshot
	now   Snapshot
	files map[string]*LostFile
	more  int // files that are not listed
}

// file is the entry of a path; old says that it was there before.
func (w *lossWalk) file(at string, old bool) *LostFile {
	if f := w.files[at]; f != nil {
		return f
	}
	f := &LostFile{Path: at, New: !old}
	if old {
		f.Good, f.GoodAt = w.base.ID, w.base.Received
	}
	if len(w.files) >= maxLoss {
		w.more++
		return f
	}
	w.files[at] = f
	return f
}

func (w *lossWalk) take(ctx context.Context, c change) error {
	f := w.file(c.Path, c.What == Changed || c.What == Removed)
	was := f
	if c.What == Replaced {
		was = w.file(c.Was, true)
		was.Gone = true
	}
	if f.Gone = c.What == Removed; f.Gone {
		return nil
	}
	if w.m.left <= 0 {
		f.Looked = false
		return nil
	}
	f.Looked, was.Looked = true, true
	sign, err := w.sign(ctx, c)
	switch {
	case err != nil:
		return err
	case sign != "":
		f.Sign, was.Sign = sign, sign
	case f.Sign == "": // once it is unusable, a change of it makes it no better
		f.Good, f.GoodAt = w.now.ID, w.now.Received
	}
	return nil
}

func (w *lossWalk) sign(ctx context.Context, c change) (string, error) {
	if c.Old == nil {
		now, err := w.m.version(ctx, c.Now, nil)
		return alone(now), err
	}
	if slices.Equal(c.Old.Content, c.Now.Content) {
		return "", nil
	}
	sign, _, err := w.m.pairOf(ctx, c)
	return sign, err
}

func (w *lossWalk) result() Loss {
	l := Loss{Total: len(w.files) + w.more, Files: make([]LostFile, 0, len(w.files))}
	for _, f := range w.files {
		if f.Sign != "" {
			l.Marked++
		}
		l.Files = append(l.Files, *f)
	}
	slices.SortFunc(l.Files, func(a, b LostFile) int { // those with a sign first
		if (a.Sign != "") != (b.Sign != "") {
			if a.Sign != "" {
				return -1
			}
			return 1
		}
		return cmpPath(a.Path, b.Path)
	})
	return l
}

func cmpPath(a, b string) int {
	if da, db := path.Dir(a), path.Dir(b); da != db {
		a, b = da, db
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
