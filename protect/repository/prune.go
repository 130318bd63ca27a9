package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// Gone is a snapshot that people let go.
type Gone struct {
	Snapshot string    `json:"snapshot"` // id
	Received time.Time `json:"received"`
	At       time.Time `json:"at"`       // when it went
	Decision string    `json:"decision"` // id of the decision
}

// Pruned is what a pruning did.
type Pruned struct {
	Snapshots int   `json:"snapshots"` // that went
	Packs     int   `json:"packs"`     // that went whole
	Rewritten int   `json:"rewritten"` // packs of which only the needed part stays
	Freed     int64 `json:"freed"`     // bytes, once what was taken out is cleared
}

// plan is a pruning, written and synced before the log says that it holds. It is
// kept for ever: the log binds its digest.
type plan struct {
	Decision  string `json:"decision"`
	Snapshots []Gone `json:"snapshots"`
	Out       []file `json:"out"` // all files that go
	In        []file `json:"in"`  // what is there in their place
	Did       Pruned `json:"did"`
}

// file is one file of a plan. What is put in counts as received when what it
// takes the place of was, so that views of earlier times stay what they were.
type file struct {
	Kind restic.Kind `json:"kind"`
	Name string      `json:"name"`
	Size int64       `json:"size"`
	At   time.Time   `json:"at"` // counts as received then
}

func (f file) key() fileKey { return fileKey{f.Kind, f.Name} }

// pruned is a pruning that was carried out.
type pruned struct {
	plan *plan
	at   time.Time
}

// setBack is a file that was taken out and not yet cleared.
type setBack struct {
	receipt
	dir string // of a repository's layout
}

func (o setBack) open(ctx context.Context, kind restic.Kind, name string) (restic.File, error) {
	folder, err := restic.OpenFolder(o.dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return folder.Open(ctx, kind, name)
}

// Names below the folder of a decision.
const (
	planFile = "plan.json"
	newDir   = "new" // there until the plan was carried out
	oldDir   = "old" // there until it is cleared
)

func (r *Repository) prunedPath(decision string, elem ...string) string {
	return filepath.Join(append([]string{r.dir, prunedDir, decision}, elem...)...)
}

// readPlan reads the plan that a line of the log binds.
func readPlan(dir string, l line) (*plan, error) {
	raw, err := os.ReadFile(filepath.Join(dir, prunedDir, filepath.Base(l.Name), planFile))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != l.Sum {
		return nil, errChain
	}
	p := &plan{}
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, err
	}
	return p, nil
}

// replay takes one line of the journal when the repository is opened.
func (r *Repository) replay(l line) error {
	if l.Kind != pruning {
		r.note(l)
		return nil
	}
	p, err := readPlan(r.dir, l)
	if err != nil {
		return err
	}
	r.notePlan(p, l.At)
	return nil
}

// notePlan makes a plan hold for what the repository knows.
func (r *Repository) notePlan(p *plan, at time.Time) {
	_, err := os.Lstat(r.prunedPath(p.Decision, oldDir))
	readable := err == nil
	for _, f := range p.Out {
		if rec, ok := r.received[f.key()]; ok {
			delete(r.received, f.key())
			r.used -= rec.size
		}
		if readable && f.Kind != restic.Snapshots {
			r.aside[f.key()] = setBack{receipt{f.At, f.Size}, r.prunedPath(p.Decision, oldDir)}
		}
	}
	for _, f := range p.In {
		if _, ok := r.received[f.key()]; !ok {
			r.received[f.key()] = receipt{f.At, f.Size}
			r.used += f.Size
		}
	}
	for _, g := range p.Snapshots {
		g.At = at
		r.gone[g.Snapshot] = g
	}
	r.prunes = append(r.prunes, pruned{p, at})
}

// finish carries out the last plan that the log binds, where a crash came
// between, and removes those that it does not bind.
func (r *Repository) finish() error {
	bound := map[string]bool{}
	for _, p := range r.prunes {
		bound[p.plan.Decision] = true
		if _, err := os.Lstat(r.prunedPath(p.plan.Decision, newDir)); err == nil {
			if err := r.apply(p.plan); err != nil {
				return err
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(r.dir, prunedDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !bound[e.Name()] {
			if err := os.RemoveAll(filepath.Join(r.dir, prunedDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayCome refuses a snapshot that people let go: who kept a copy of it could bring
// back what nothing stands behind any more. It returns how many prunings there were.
func (r *Repository) mayCome(kind restic.Kind, name string) (prunes int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g, ok := r.gone[name]; ok && kind == restic.Snapshots {
		return 0, fault.New(fault.Denied, "protect.gone").With(fmt.Errorf("by %s on %s", g.Decision, g.At.Format(time.RFC3339)))
	}
	return len(r.prunes), nil
}

// wary is how long after a pruning every snapshot is followed to its end before it
// is let in; later only those of clients that hold no lock. restic itself gives
// up when it cannot renew its lock, since 0.16.
const wary = 7 * 24 * time.Hour

func (r *Repository) mustBeWhole(who string, now time.Time) bool {
	if len(r.prunes) == 0 {
		return false
	}
	for _, l := range r.locks {
		if l.who == who && now.Sub(l.at) <= stale {
			return now.Sub(r.prunes[len(r.prunes)-1].at) < wary
		}
	}
	return true
}

// Prune lets snapshots go (full ids), by a decision of people, and what nothing
// else needs. What stays is read without them before anything goes. It is done
// while clients may work, and refused at its end when one does or did meanwhile:
// fault.Busy "protect.working"; trying later is right. The same decision again
// does nothing. fault.Denied "protect.cut" while the path is cut.
func (r *Repository) Prune(ctx context.Context, decision string, goes []string) (Pruned, error) {
	if !agentName.MatchString(decision) {
		return Pruned{}, fault.New(fault.Invalid, "protect.name")
	}
	r.sweeping.Lock()
	defer r.sweeping.Unlock()
	if did, ok := r.did(decision); ok {
		return did, nil
	}
	lines, err := r.quiet()
	if err != nil {
		return Pruned{}, err
	}
	if err := os.RemoveAll(r.prunedPath(decision)); err != nil { // of an attempt that was refused at its end
		return Pruned{}, err
	}
	p, err := r.prepare(ctx, decision, goes)
	if err == nil {
		err = r.commit(p, lines)
	}
	if err != nil {
		if _, done := r.did(decision); !done {
			err = errors.Join(err, os.RemoveAll(r.prunedPath(decision)))
		}
		return Pruned{}, fmt.Errorf("prune repository of %s: %w", r.agent, err)
	}
	r.s.log.Info("repository was pruned", "agent", r.agent, "decision", decision, "snapshots", p.Did.Snapshots, "freed", p.Did.Freed)
	return p.Did, nil
}

// did says whether a decision was carried out.
func (r *Repository) did(decision string) (Pruned, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.prunes, func(p pruned) bool { return p.plan.Decision == decision })
	if i < 0 {
		return Pruned{}, false
	}
	return r.prunes[i].plan.Did, true
}

// quiet says that nobody works, and how long the log is.
func (r *Repository) quiet() (lines int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.quietNow()
}

// quietNow is quiet for who holds r.mu.
func (r *Repository) quietNow() (lines int, err error) {
	now := r.s.c.Now()
	r.dropStale(now)
	switch {
	case r.closed:
		return 0, fault.New(fault.Busy, "protect.closed")
	case r.known.Cut:
		return 0, fault.New(fault.Denied, "protect.cut")
	case len(r.locks) > 0 || r.coming > 0 || now.Sub(r.since) < stale: // locks from before it was opened are not known
		return 0, fault.New(fault.Busy, "protect.working")
	}
	return r.journal.lines, nil
}

// prepare makes all new files and the plan, synced, and reads what will be there.
func (r *Repository) prepare(ctx context.Context, decision string, goes []string) (*plan, error) {
	for _, sub := range []string{newDir, oldDir} {
		for _, kind := range []restic.Kind{restic.Data, restic.Index, restic.Snapshots} {
			if err := os.MkdirAll(r.prunedPath(decision, sub, string(kind)), 0o700); err != nil {
				return nil, err
			}
		}
	}
	s, err := r.newSweep(ctx, decision, goes)
	if err != nil {
		return nil, err
	}
	if err := s.indexes(ctx); err != nil {
		return nil, err
	}
	s.leftovers()
	if err := s.verify(ctx); err != nil {
		return nil, err
	}
	return s.plan, r.keepPlan(s.plan)
}

// keepPlan writes a plan, durably.
func (r *Repository) keepPlan(p *plan) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := writeSynced(r.prunedPath(p.Decision, planFile), raw); err != nil {
		return err
	}
	return syncDirs(r.prunedPath(p.Decision, newDir, string(restic.Index)), r.prunedPath(p.Decision, newDir, string(restic.Data)), r.prunedPath(p.Decision, newDir),
		r.prunedPath(p.Decision), filepath.Join(r.dir, prunedDir))
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDirs(dirs ...string) error {
	for _, d := range dirs {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// commit makes a plan hold: one line in the log, which is whole or not there, and
// then the files. What comes after the line is done again when the repository is
// opened. lines is how long the log was when the plan was begun.
func (r *Repository) commit(p *plan, lines int) error {
	raw, err := os.ReadFile(r.prunedPath(p.Decision, planFile))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.quietNow()
	if err != nil {
		return err
	}
	if now != lines { // something came since
		return fault.New(fault.Busy, "protect.working")
	}
	l, err := r.journal.append(line{At: r.s.c.Now().UTC(), Kind: pruning, Name: p.Decision, Sum: hex.EncodeToString(sum[:]), Size: int64(len(raw))})
	if err != nil {
		return err
	}
	r.notePlan(p, l.At)
	if err := r.apply(p); err != nil { // opening it again carries it out
		r.closed = true
		return errors.Join(err, r.files.Close(), r.journal.close())
	}
	return nil
}

// apply moves the files of a plan that holds; doing it again is right. At every
// moment the folder is a repository in which all remaining snapshots are whole:
// what is new comes first, then snapshots go, then indexes, then packs.
func (r *Repository) apply(p *plan) error {
	steps := []struct {
		kind restic.Kind
		out  bool
	}{{restic.Data, false}, {restic.Index, false}, {restic.Snapshots, true}, {restic.Index, true}, {restic.Data, true}}
	for _, s := range steps {
		files := p.In
		if s.out {
			files = p.Out
		}
		changed := map[string]bool{}
		for _, f := range files {
			if f.Kind != s.kind {
				continue
			}
			dirs, err := r.move(p.Decision, f, s.out)
			if err != nil {
				return fmt.Errorf("carry out %s: %s: %w", p.Decision, f.Kind.Path(f.Name), err)
			}
			for _, d := range dirs {
				changed[d] = true
			}
		}
		for d := range changed {
			if err := syncDir(d); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(r.prunedPath(p.Decision, newDir)); err != nil {
		return err
	}
	return syncDir(r.prunedPath(p.Decision))
}

// move puts a file in, or takes it out, and says which folders changed.
func (r *Repository) move(decision string, f file, out bool) (dirs []string, err error) {
	here := r.path(f.Kind, f.Name)
	if !out {
		if err := r.makeParent(here); err != nil {
			return nil, err
		}
		err := os.Link(r.prunedPath(decision, newDir, filepath.FromSlash(f.Kind.Path(f.Name))), here)
		if err != nil {
			if _, there := os.Lstat(here); there != nil {
				return nil, err
			}
		}
		return []string{filepath.Dir(here)}, nil
	}
	to := r.prunedPath(decision, oldDir, filepath.FromSlash(f.Kind.Path(f.Name)))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return nil, err
	}
	if err := os.Rename(here, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return []string{filepath.Dir(to), filepath.Dir(here)}, nil
}

// Aside is what a pruning took out and what still takes room.
type Aside struct {
	Decision string
	At       time.Time
	Bytes    int64
}

// Asides are the prunings whose files are still there, the oldest first.
func (r *Repository) Asides() []Aside {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Aside
	for _, p := range r.prunes {
		if _, err := os.Lstat(r.prunedPath(p.plan.Decision, oldDir)); err != nil {
			continue
		}
		a := Aside{Decision: p.plan.Decision, At: p.at}
		for _, f := range p.plan.Out {
			a.Bytes += f.Size
		}
		out = append(out, a)
	}
	return out
}

// Clear removes for good what a pruning took out, once everything that stays was
// followed to its end again and what the pruning wrote was read from the disk.
// An error leaves all of it.
func (r *Repository) Clear(ctx context.Context, decision string) error {
	r.sweeping.Lock()
	defer r.sweeping.Unlock()
	r.mu.Lock()
	i := slices.IndexFunc(r.prunes, func(p pruned) bool { return p.plan.Decision == decision })
	var p *plan
	if i >= 0 {
		p = r.prunes[i].plan
	}
	r.mu.Unlock()
	if p == nil {
		return fault.New(fault.Missing, "protect.decision")
	}
	reader, err := r.view(time.Time{}).Reader(ctx)
	if err == nil {
		err = wholeWith(ctx, reader, p.made())
	}
	if err != nil {
		return fmt.Errorf("what %s took out is kept: %w", decision, err)
	}
	r.mu.Lock()
	for k, o := range r.aside {
		if o.dir == r.prunedPath(decision, oldDir) {
			delete(r.aside, k)
		}
	}
	r.mu.Unlock()
	return os.RemoveAll(r.prunedPath(decision, oldDir))
}

// made are the packs that a plan puts in.
func (p *plan) made() map[restic.ID]bool {
	out := map[restic.ID]bool{}
	for _, f := range p.In {
		if id, err := restic.ParseID(f.Name); err == nil && f.Kind == restic.Data {
			out[id] = true
		}
	}
	return out
}

// wholeWith follows all snapshots to their ends and reads every byte of some
// packs.
func wholeWith(ctx context.Context, reader *restic.Repository, packs map[restic.ID]bool) error {
	if err := reader.Load(ctx); err != nil {
		return err
	}
	all, err := reader.Snapshots(ctx)
	if err != nil {
		return err
	}
	if _, err := reader.Uses(ctx, all...); err != nil {
		return err
	}
	report, err := reader.Verify(ctx, restic.Options{Workers: 1, Only: func(id restic.ID) bool { return packs[id] }})
	if err != nil {
		return err
	}
	if !report.Sound() {
		return report.Damages[0]
	}
	return nil
}
