package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"time"

	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
)

// stream is something that is not a file and becomes one in its snapshot.
type stream struct {
	name  string // of the file, below the source
	write func(ctx context.Context, w io.Writer) error
}

// source backs up one source.
func (w *work) source(ctx context.Context, s job.Source) job.SourceResult {
	w.tell.step("prepare", s.Name)
	res := job.SourceResult{Name: s.Name, Kind: s.Kind}
	switch s.Kind {
	case job.Folder:
		w.folder(ctx, s, &res)
	case job.Libvirt:
		w.machine(ctx, s, &res)
	case job.PostgreSQLBase:
		w.base(ctx, s, &res)
	case job.PostgreSQLWAL:
		w.log(ctx, s, &res)
	default:
		list, err := w.streams(ctx, s)
		if err != nil {
			note(&res, unable(err), err)
		}
		for _, one := range list {
			if ctx.Err() != nil {
				break
			}
			w.save(ctx, &res, s, engine.Backup{Name: streamName(s, one.name), Stream: one.write})
		}
	}
	switch {
	case ctx.Err() != nil:
		state, err := stopped(ctx)
		note(&res, state, err)
	case res.State == "": // nothing was done: an empty server is no backup
		note(&res, job.Failed, errors.New("there is nothing to back up"))
	}
	return res
}

// streamName is what a stream is called in its snapshot. Names of sources have no
// dot, those of databases may have everything.
func streamName(s job.Source, name string) string { return "/" + s.Name + "." + url.PathEscape(name) }

// streams lists what a source consists of.
func (w *work) streams(ctx context.Context, s job.Source) ([]stream, error) {
	switch s.Kind {
	case job.PostgreSQL:
		return postgres(s).dumps(ctx)
	case job.MariaDB:
		return mariadb(ctx, s)
	case job.LDAP:
		return ldap(ctx, s)
	case job.Hub:
		return w.hub(ctx, s)
	}
	return nil, fmt.Errorf("this agent does not know the source %s", s.Kind)
}

// folder backs up folders and files as they are. One that is not there makes the
// source partial: somebody expects it to be saved.
func (w *work) folder(ctx context.Context, s job.Source, res *job.SourceResult) {
	var there []string
	for _, p := range s.Paths {
		if _, err := os.Lstat(p); err != nil {
			note(res, job.Partial, err)
			res.Unread++
			continue
		}
		there = append(there, p)
	}
	if len(there) == 0 {
		note(res, job.Failed, errors.New("none of the folders is there"))
		return
	}
	w.save(ctx, res, s, engine.Backup{Paths: there, Excludes: s.Excludes, OneSystem: s.OneSystem, Shadow: s.Shadow, Read: w.job.Limits.Read})
}

// save makes one snapshot and notes what came of it. Where a lock is in the way
// those that nobody holds are removed, once.
func (w *work) save(ctx context.Context, res *job.SourceResult, s job.Source, b engine.Backup) {
	w.tell.step("backup", s.Name)
	b.Hostname = w.name()
	b.Time = w.when(s.Kind)
	b.Tags = append([]string{"policy:" + w.job.Policy, "job:" + w.job.ID, "source:" + s.Name}, w.job.Tags...)
	snapshot, unread, err := w.restic.Backup(ctx, w.repo, b, w.tell.status)
	if engine.CauseOf(err) == engine.Locked && w.restic.Unlock(ctx, w.repo) == nil {
		snapshot, unread, err = w.restic.Backup(ctx, w.repo, b, w.tell.status)
	}
	if snapshot.ID != "" {
		res.Snapshots = append(res.Snapshots, snapshot)
	}
	for _, reason := range unread.Reasons {
		if len(res.Errors) < job.MaxErrors {
			res.Errors = append(res.Errors, reason)
		}
	}
	res.Unread += unread.All
	if ctx.Err() != nil { // source says why
		return
	}
	res.State = job.Worst(res.State, engine.State(err))
	if err != nil && engine.CauseOf(err) != engine.Unread {
		note(res, engine.State(err), err)
	}
}

// clockOff is how far two clocks may be apart before the hub's counts. The hub
// takes no snapshot that is ten minutes ahead.
const clockOff = time.Minute

// when is the hub's time where the clock of this machine is wrong: a backup must
// not be lost because of it. Zero: this machine's. Points in time of a database are
// by the server's own clock, and the hub takes what is behind: these keep it.
func (w *work) when(k job.SourceKind) time.Time {
	ahead := w.cfg.Ahead()
	inTime := k == job.PostgreSQLBase || k == job.PostgreSQLWAL
	if ahead.Abs() < clockOff || inTime && ahead > 0 {
		return time.Time{}
	}
	return w.cfg.Now().Add(ahead)
}

// name is that of the machine in snapshots. The hub takes none but of machines
// that it knows by it, and a snapshot finds the one before it by the same name.
func (w *work) name() string { return cmp.Or(w.job.Name, w.cfg.Host) }

// note adds a state and its reason to what came of a source.
func note(res *job.SourceResult, s job.State, err error) {
	res.State = job.Worst(res.State, s)
	if len(res.Errors) < job.MaxErrors {
		res.Errors = append(res.Errors, cut(err.Error(), job.MaxError))
	}
}

// unable tells what could not even be tried from what failed.
func unable(err error) job.State {
	if errors.Is(err, exec.ErrNotFound) {
		return job.CouldNotRun
	}
	return job.Failed
}
