// Package backup does the hub's jobs (protect/job) on this machine: backs up
// and restores.
//
// In: signed orders backup and restore; the job and what opens the repository,
// over the agent's own link. Out: progress, and a job.Result with the answer to
// the order. Always true: only the job whose digest the order names is done; the
// password exists in memory and in a pipe to restic, nowhere else; restic speaks
// to a door on this machine's loopback that is open while the job runs, and the
// door to the hub; a job in which a hook failed, a dump broke off or a file
// could not be read is never ok.
package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
)

// Link is what a Runner needs of the hub; link.Client has it.
type Link interface {
	// Job asks for a job that an order named.
	Job(ctx context.Context, id string) (job.Grant, error)
	// Result hands over one answer.
	Result(ctx context.Context, r order.Result) error
	// RoundTrip sends a request to the hub, whatever host it names.
	http.RoundTripper
}

// Config is what can be set.
type Config struct {
	Dir    string   // of the cache and of what must lie on the disk for a while; 0700
	Hooks  string   // folder of the administrator's commands
	Restic []string // programs that may be there; none: restic of PATH
	Host   string   // host id
	Link   Link
	// Ahead is how far the hub's clock is ahead of this machine's.
	Ahead func() time.Duration
	Now   clock.Now
	Log   *slog.Logger
}

// Runner does jobs: backups one after the other, restores beside them, because
// somebody waits for those. It is safe for concurrent use.
type Runner struct {
	cfg     Config
	backups chan struct{} // holds one place
}

// New returns a Runner. What a killed process left in Dir is removed.
func New(cfg Config) *Runner {
	left, _ := filepath.Glob(filepath.Join(cfg.Dir, "job-*")) // the pattern is right
	for _, dir := range left {
		_ = os.RemoveAll(dir) // tried again at the next start
	}
	removeOld(cfg)
	if len(cfg.Restic) == 0 {
		cfg.Restic = []string{"restic"}
	}
	if cfg.Ahead == nil {
		cfg.Ahead = func() time.Duration { return 0 }
	}
	cfg.Log = cfg.Log.With("part", "backup")
	return &Runner{cfg: cfg, backups: make(chan struct{}, 1)}
}

// Can says whether it carries out orders of this kind.
func (r *Runner) Can(k order.Kind) bool { return k == order.Backup || k == order.Restore }

// Do carries out an order and returns the answer. A job that was interrupted is
// done again from its beginning: restic does not send again what arrived.
func (r *Runner) Do(ctx context.Context, o order.Order) order.Result {
	res := r.run(ctx, o)
	r.cfg.Log.Info("job ends", "job", res.Job, "kind", res.Kind, "state", res.State, "seconds", res.Seconds())
	out := order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Failed, Detail: string(res.State), At: r.cfg.Now().UTC()}
	if res.State == job.OK || res.State == job.Partial {
		out.Phase = order.Done
	}
	out.Report = pack(job.Report{Result: &res})
	return out
}

// maxReport bounds a report, in bytes; the hub takes 256 KiB.
const maxReport = 200 << 10

// pack encodes a report. One that is too large loses its words, never its numbers.
func pack(r job.Report) json.RawMessage {
	b, err := json.Marshal(r)
	for most := job.MaxErrors / 2; err == nil && len(b) > maxReport && r.Result != nil; most /= 2 {
		for i := range r.Result.Sources {
			s := &r.Result.Sources[i]
			s.Errors = s.Errors[:min(most, len(s.Errors))]
		}
		if b, err = json.Marshal(r); most == 0 {
			break
		}
	}
	if err != nil {
		return nil // the types are our own: cannot be
	}
	return b
}

// work is one job while it is done.
type work struct {
	*Runner
	job    job.Job
	repo   engine.Repo
	restic engine.Restic
	shelf  *shelf // the repository, for our own reader
	door   *door
	dir    string // for what must lie on the disk for a while; removed at the end
	tell   *teller
	res    *job.Result
}

// run does the job of an order.
func (r *Runner) run(ctx context.Context, o order.Order) job.Result {
	res := job.Result{Job: o.Action, Host: r.cfg.Host, Kind: job.Kind(o.Kind), State: job.CouldNotRun, Start: r.cfg.Now().UTC()}
	if o.Kind == order.Backup {
		select {
		case r.backups <- struct{}{}:
			defer func() { <-r.backups }()
		case <-ctx.Done():
			res.State, res.Error, res.End = job.Cancelled, context.Cause(ctx).Error(), r.cfg.Now().UTC()
			return res
		}
	}
	if err := r.begin(ctx, o, &res); err != nil {
		res.Error = cut(err.Error(), job.MaxError)
	}
	res.End = r.cfg.Now().UTC()
	return res
}

// Errors of a job that is not done.
var (
	errDigest = errors.New("the job is not the one that was signed")
	errOther  = errors.New("the job is for another machine, or of another kind")
	errWindow = errors.New("the window of time is over")
)

// errFull ends a job at once: restic would try again for a quarter of an hour,
// and the hub never makes room by itself.
var errFull = errors.New("the hub takes no more of this machine: its disk is full, or what was set aside for the machine")

// stopped is what a job is whose context ended, and why.
func stopped(ctx context.Context) (job.State, error) {
	if err := context.Cause(ctx); !errors.Is(err, errFull) {
		return job.Cancelled, err
	}
	return job.Failed, errFull
}

// begin fetches the job, readies everything it needs, and does it. An error
// means that it could not run, or was stopped before it ran.
func (r *Runner) begin(ctx context.Context, o order.Order, res *job.Result) (err error) {
	grant, err := r.cfg.Link.Job(ctx, o.Action)
	if err != nil && ctx.Err() != nil {
		res.State = job.Cancelled
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("ask for the job: %w", err)
	}
	w := &work{Runner: r, res: res}
	if w.job, err = opened(grant.Job, o, r.cfg.Host); err != nil {
		return err
	}
	if !w.job.Until.IsZero() {
		var done context.CancelFunc
		ctx, done = context.WithDeadlineCause(ctx, w.job.Until.Add(-r.cfg.Ahead()), errWindow)
		defer done()
	}
	defer func() {
		if err != nil && ctx.Err() != nil {
			res.State, err = job.Cancelled, context.Cause(ctx)
		}
	}()
	if w.restic, err = r.program(ctx, w.job.Tools); err != nil {
		return err
	}
	res.Restic, res.Reduced = w.restic.Version.String(), w.restic.Lacks()
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return err
	}
	if w.dir, err = os.MkdirTemp(r.cfg.Dir, "job-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(w.dir) }() // New does it else
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if w.door, err = openDoor(r.cfg.Link, grant.Secret, func() { stop(errFull) }); err != nil {
		return err
	}
	defer w.door.close()
	w.repo = engine.Repo{URL: w.door.url, Password: grant.Secret.Password, Cache: filepath.Join(r.cfg.Dir, "cache"), Upload: w.job.Limits.Upload, Download: w.job.Limits.Download}
	w.shelf = newShelf(&counting{r.cfg.Link, &w.door.passed, func() {}}, grant.Secret) // who only reads is never told that there is no room
	w.tell = newTeller(ctx, r.cfg, o, w.door)
	defer w.tell.end()
	w.do(ctx)
	return nil
}

// opened checks that a job is the one that was ordered.
func opened(body []byte, o order.Order, host string) (j job.Job, err error) {
	if o.Digest == "" || job.Digest(body) != o.Digest {
		return j, errDigest
	}
	if err := json.Unmarshal(body, &j); err != nil {
		return j, fmt.Errorf("read the job: %w", err)
	}
	if j.ID != o.Action || j.Host != host || string(j.Kind) != string(o.Kind) {
		return j, errOther
	}
	return j, j.Check()
}

// do does the job between its hooks. Hooks after run once those before have
// begun, however it ended: what was stopped must be started again.
func (w *work) do(ctx context.Context) {
	w.res.State = ""
	switch ok := w.hooks(ctx, job.Before); {
	case !ok:
	case w.job.Kind == job.Restore:
		w.restore(ctx)
	default:
		w.backup(ctx)
	}
	if ctx.Err() != nil {
		w.fail(stopped(ctx))
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
	defer cancel()
	w.hooks(after, job.After)
}

// afterTime bounds all that is done once a job has ended or was stopped.
const afterTime = time.Hour

// fail notes a state and why, the first reason first.
func (w *work) fail(s job.State, err error) {
	w.res.State = job.Worst(w.res.State, s)
	w.res.Error = cmp.Or(w.res.Error, cut(err.Error(), job.MaxError))
}

// backup does the sources one after the other: one that fails does not keep the
// next from being saved.
func (w *work) backup(ctx context.Context) {
	w.tell.step("prepare", "")
	if !w.door.begun(ctx) { // the hub could not make it: restic learns why
		if err := w.restic.Init(ctx, w.repo); err != nil {
			w.fail(job.Worst(job.CouldNotRun, engine.State(err)), err)
			return
		}
	}
	for _, s := range w.job.Sources {
		if ctx.Err() != nil {
			return
		}
		one := w.source(ctx, s)
		w.res.Sources = append(w.res.Sources, one)
		w.res.State = job.Worst(w.res.State, one.State)
	}
}

// cut bounds a text, in bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most]
}
