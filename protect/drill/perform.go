package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// Phases of a run.
const (
	phaseOpen      = "open"
	phaseRead      = "read"      // every byte of the repository
	phaseRestore   = "restore"   // through restic
	phaseCompare   = "compare"   // files with the snapshot, as our own reader has it
	phaseManifest  = "manifest"  // pg_verifybackup
	phaseRewind    = "rewind"    // pgBackRest restores
	phaseSurvey    = "survey"    // what a dump says of itself, and whether it is whole
	phaseStart     = "start"     // until the service answers
	phaseLoad      = "load"      // of a dump into a server
	phaseAmcheck   = "amcheck"   // tables and indexes
	phaseTables    = "tables"    // the same of MariaDB
	phaseAsk       = "ask"       // questions in SQL
	phaseDump      = "dump"      // everything is read once as a dump
	phaseStop      = "stop"      //
	phaseChecksums = "checksums" // of all pages
	phaseMount     = "mount"
	phaseProbe     = "probe"
	phasePart      = "part" // of a whole
	phaseWipe      = "wipe"
)

// wrong is what is not right with what was restored. It ends a run as failed.
type wrong struct{ text string }

func (w wrong) Error() string { return w.text }

// trial is a run that runs.
type trial struct {
	*Desk
	n    Definition
	r    *Run
	repo Restorer
	snap restic.Snapshot
	dir  string // scratch
	cell *cell
	wal  restic.Snapshot // Moment, from gathered WAL: the snapshot that holds it

	dumps   []*stored // Dump
	left    []string  // Dump: paths of the same backups that are not tried
	granted int       // roles or accounts that were made for dumps, which no dump makes
}

// perform runs a drill to its end and writes into r what came of it.
func (d *Desk) perform(ctx context.Context, r *Run) {
	t := &trial{Desk: d, n: r.Definition, r: r}
	err := t.all(ctx)
	r.EndedAt = d.moment()
	var w wrong
	switch {
	case errors.As(err, &w):
		r.problem(t.last(), w.text)
		r.State = Failed
	case len(r.Problems) > 0: // what was found stays found, whatever ended the run
		r.State = Failed
	case err != nil:
		d.impossible(r, reason(ctx, err))
	default:
		r.State = Passed
	}
}

// last is the phase in which a run ended.
func (t *trial) last() string {
	for _, p := range slices.Backward(t.r.Phases) {
		if p.Name != phaseWipe {
			return p.Name
		}
	}
	return phaseOpen
}

// reason puts into words why a drill could not run.
func reason(ctx context.Context, err error) *Reason {
	var f *fault.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Reason{Key: "protect.drill.too-long"}
	case ctx.Err() != nil:
		return &Reason{Key: "protect.drill.interrupted"}
	case errors.As(err, &f):
		out := &Reason{Key: f.Key}
		for _, a := range f.Args {
			out.Args = append(out.Args, fmt.Sprint(a))
		}
		if f.Err != nil {
			out.Detail = clean(f.Err.Error(), 500)
		}
		return out
	}
	return &Reason{Key: "protect.drill.broken", Detail: clean(err.Error(), 500)}
}

// phase does one part of a run and measures it. Its duration is that of the
// machine's own clock, whatever the clock of the hub is told.
func (t *trial) phase(ctx context.Context, name string, do func(*Phase) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.tell(ctx, t.r, name)
	p, began := Phase{Name: name}, time.Now()
	err := do(&p)
	p.Seconds = time.Since(began).Seconds()
	t.r.Phases = append(t.r.Phases, p)
	return err
}

func (t *trial) all(ctx context.Context) (err error) {
	if t.n.Level == Whole {
		return t.whole(ctx)
	}
	if err := t.phase(ctx, phaseOpen, func(p *Phase) error { return t.open(ctx) }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.repo.Close()) }()
	if t.n.Level == Bytes {
		return t.phase(ctx, phaseRead, func(p *Phase) error { return t.read(ctx, p) })
	}
	if t.dir, err = t.scratch(t.r.ID); err != nil {
		return err
	}
	defer func() {
		// also when ctx ended: nothing of a patient may stay behind
		err = errors.Join(err, t.phase(context.WithoutCancel(ctx), phaseWipe, func(*Phase) error { return wipe(t.dir) }))
	}()
	switch t.n.Level {
	case Files:
		return t.files(ctx)
	case Database:
		return t.database(ctx)
	case Dump:
		return t.loadDumps(ctx)
	case Moment:
		return t.pointInTime(ctx)
	}
	return t.machine(ctx)
}

// open opens the repository as the drill wants it and picks a snapshot.
func (t *trial) open(ctx context.Context) error {
	if t.Source == nil {
		return fault.New(fault.Missing, "protect.drill.no-source")
	}
	asOf := t.n.Pick.AsOf
	if t.n.Pick.How == Clean {
		var ok bool
		if t.Clean != nil {
			var err error
			if asOf, ok, err = t.Clean(ctx, t.n.Host); err != nil {
				return err
			}
		}
		if !ok {
			return fault.New(fault.Missing, "protect.drill.no-clean-point")
		}
	}
	var err error
	if t.repo, err = t.Source.Open(ctx, t.n.Host, asOf); err != nil {
		return damaged(err)
	}
	t.r.Versions = append(t.r.Versions, t.repo.Version())
	t.r.Streams = 1
	all, err := t.repo.Reader().Snapshots(ctx)
	if err == nil {
		err = t.order(ctx, all)
	}
	switch {
	case err != nil:
	case t.n.gathered():
		err = t.pickBoth(all)
	case t.n.Level == Dump:
		err = t.pickDumps(all)
	default:
		t.snap, err = pick(all, t.n.Paths)
	}
	if err != nil {
		return damaged(errors.Join(err, t.repo.Close()))
	}
	t.r.Snapshot = &Taken{ID: t.snap.ID, Time: t.snap.Time, AsOf: asOf, Of: thingsOf(t.tried()...)}
	if t.n.Level == Dump {
		t.leave(all)
	}
	return nil
}

// tried are the snapshots that are restored.
func (t *trial) tried() []restic.Snapshot {
	out := []restic.Snapshot{t.snap, t.wal}
	for _, d := range t.dumps {
		out = append(out, d.snap)
	}
	return out
}

// damaged tells what is wrong with a repository from what kept us from looking.
func damaged(err error) error {
	var d restic.Damage
	if errors.As(err, &d) || errors.Is(err, restic.ErrPassword) || errors.Is(err, restic.ErrMAC) || errors.Is(err, restic.ErrMissing) || errors.Is(err, restic.ErrNotRepository) {
		return wrong{err.Error()}
	}
	return err
}

// order puts snapshots in the order in which the hub received them, the newest
// first: a machine's own clock may be wrong, or lie, and then an old one would be
// tried for ever.
func (t *trial) order(ctx context.Context, all []restic.Snapshot) error {
	received := func(string) time.Time { return time.Time{} }
	if t.Received != nil {
		var err error
		if received, err = t.Received(ctx, t.n.Host); err != nil {
			return err
		}
	}
	slices.SortStableFunc(all, func(a, b restic.Snapshot) int {
		return cmp.Or(received(b.ID.String()).Compare(received(a.ID.String())), b.Time.Compare(a.Time))
	})
	return nil
}

// pick returns the first snapshot that covers all paths.
func pick(all []restic.Snapshot, paths []string) (restic.Snapshot, error) {
	i := slices.IndexFunc(all, func(s restic.Snapshot) bool { return s.Tree != nil && covers(s, paths) })
	switch {
	case i >= 0:
		return all[i], nil
	case len(all) == 0:
		return restic.Snapshot{}, wrong{"the repository holds no snapshot"}
	}
	return restic.Snapshot{}, wrong{fmt.Sprintf("none of %d snapshots holds %s", len(all), strings.Join(paths, ", "))}
}

// covers says whether a snapshot was made of what holds all paths.
func covers(s restic.Snapshot, paths []string) bool {
	return !slices.ContainsFunc(paths, func(p string) bool {
		return !slices.ContainsFunc(s.Paths, func(of string) bool {
			of = "/" + strings.Trim(strings.ReplaceAll(strings.ReplaceAll(of, `\`, "/"), ":", ""), "/") // "C:\Users" is kept as "/C/Users"
			return of == "/" || below(p, of) || below(of, p)
		})
	})
}

// below says whether a path is another one or lies below it.
func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// read reads the whole repository without restic.
func (t *trial) read(ctx context.Context, p *Phase) error {
	t.r.Versions = []string{"sonae"} // restic has no part in it
	report, err := t.repo.Reader().Verify(ctx, restic.Options{Found: func(d restic.Damage) { t.r.problem(phaseRead, d.Error()) }})
	if err != nil {
		return err
	}
	p.Bytes, p.Files = report.Bytes, int64(report.Packs)
	t.r.Bytes, t.r.Files, t.r.Compared = report.Bytes, int64(report.Packs), int64(report.Blobs)
	if report.Packs == 0 {
		return wrong{"the repository holds nothing"}
	}
	return nil
}

// restoredIn is where restic puts things, below the scratch folder.
const restoredIn = "restored"

// restored is where a path of the snapshot lies now.
func (t *trial) restored(path string) string { return filepath.Join(t.dir, restoredIn, path) }

// restore brings the drill's paths, and more of them, into the scratch folder.
func (t *trial) restore(ctx context.Context, more ...string) error {
	return t.bring(ctx, t.snap, append(slices.Clone(t.n.Paths), more...))
}

// bring brings paths of a snapshot into the scratch folder.
func (t *trial) bring(ctx context.Context, snap restic.Snapshot, paths []string) error {
	return t.phase(ctx, phaseRestore, func(p *Phase) error {
		bytes, files, err := t.size(ctx, snap, paths)
		if err != nil {
			return damaged(err)
		}
		if files == 0 {
			return wrong{"the snapshot holds no file of " + strings.Join(paths, ", ")}
		}
		free, err := room(t.dir)
		if err != nil {
			return err
		}
		if need := 2*bytes + 64<<20; free < need { // once restored, once more for what works on it
			return fault.New(fault.Busy, "protect.drill.no-room", need>>20, free>>20)
		}
		to := filepath.Join(t.dir, restoredIn)
		if err := os.Mkdir(to, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := t.repo.Restore(ctx, snap.ID, paths, to); err != nil {
			return err
		}
		p.Bytes, p.Files = bytes, files
		t.r.Bytes, t.r.Files = t.r.Bytes+bytes, t.r.Files+files
		return nil
	})
}

// size is how much a snapshot holds of paths.
func (t *trial) size(ctx context.Context, snap restic.Snapshot, paths []string) (bytes, files int64, err error) {
	err = t.each(ctx, snap, paths, func(at string, n *restic.Node) error {
		if n.Type == "file" {
			bytes, files = bytes+int64(n.Size), files+1
		}
		return nil
	})
	return bytes, files, err
}

// each walks what a snapshot holds of paths; none: all.
func (t *trial) each(ctx context.Context, snap restic.Snapshot, paths []string, do func(at string, n *restic.Node) error) error {
	return t.repo.Reader().Walk(ctx, *snap.Tree, func(at string, n *restic.Node) error {
		if len(paths) == 0 || slices.ContainsFunc(paths, func(p string) bool { return below(at, p) }) {
			return do(at, n)
		}
		if n.Type == "dir" && !slices.ContainsFunc(paths, func(p string) bool { return below(p, at) }) {
			return restic.SkipDir
		}
		return nil
	})
}

// take asks for a part, or takes the run of it that waits already.
func (t *trial) take(ctx context.Context, id string) (Run, error) {
	r, err := t.Ask(ctx, id, automatic())
	if fault.Of(err) != fault.Conflict {
		return r, err
	}
	runs, listErr := t.Runs(ctx, id, 1, 0)
	if listErr == nil && len(runs) > 0 && runs[0].State == Waiting {
		return runs[0], nil
	}
	return r, errors.Join(err, listErr)
}

// whole runs other drills in their order and ends at the first that did not
// pass: what depends on it cannot be there either.
func (t *trial) whole(ctx context.Context) error {
	for _, id := range t.n.Parts {
		var part Run
		err := t.phase(ctx, phasePart, func(p *Phase) (err error) {
			asked, err := t.take(ctx, id)
			if err != nil {
				return err
			}
			p.Note = asked.Definition.Name
			t.r.Parts = append(t.r.Parts, asked.ID)
			stop := context.AfterFunc(ctx, func() { _ = t.Cancel(context.WithoutCancel(ctx), asked.ID, automatic()) })
			defer stop()
			if err := t.run(ctx, asked.ID); err != nil {
				return err
			}
			if part, err = t.Run(ctx, asked.ID); err != nil {
				return err
			}
			p.Bytes, p.Files = part.Bytes, part.Files
			return nil
		})
		if err != nil {
			return err
		}
		t.r.Bytes, t.r.Files, t.r.Compared, t.r.Streams = t.r.Bytes+part.Bytes, t.r.Files+part.Files, t.r.Compared+part.Compared, 1
		switch part.State {
		case Passed:
		case Failed:
			return wrong{fmt.Sprintf("%s: failed (%s)", part.Definition.Name, part.ID)}
		default:
			return fault.New(fault.Conflict, "protect.drill.part-not-run", part.Definition.Name)
		}
	}
	return nil
}
