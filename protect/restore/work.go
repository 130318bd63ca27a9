package restore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// Times of the work.
const (
	lookEvery  = 2 * time.Second
	sayEvery   = time.Second
	retryAfter = 15 * time.Second
	sendEvery  = 20 * time.Minute // a restore that goes on: its pass would end
	silent     = 24 * time.Hour   // a machine that is not heard for so long does not restore
)

// Work scans what was approved and sends what may be sent, until ctx ends. One
// hub of all does so. What a hub before was at is begun again.
func (d *Desk) Work(ctx context.Context) error {
	var both sync.WaitGroup // a scan takes hours; what runs must not wait for it
	both.Go(func() { d.again(ctx, d.sendAll) })
	both.Go(func() { d.again(ctx, d.scanAll) })
	both.Wait()
	return nil
}

func (d *Desk) again(ctx context.Context, do func(context.Context) error) {
	for {
		wait := lookEvery
		if err := do(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("restores wait", "err", err)
			wait = retryAfter
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (d *Desk) scanAll(ctx context.Context) error {
	all, err := d.Requests(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range all {
		if r.State == Scanning {
			errs = append(errs, d.scan(ctx, r))
		}
	}
	return errors.Join(errs...)
}

func (d *Desk) sendAll(ctx context.Context) error {
	all, err := d.Requests(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range all {
		if r.State == Ordered || r.State == Running {
			errs = append(errs, d.send(ctx, r))
		} else {
			d.forget(r.ID)
		}
	}
	return errors.Join(errs...)
}

// maxFound bounds Scan.Found.
const maxFound = 100

// scan looks at every file of a request in the repository: what comes to the
// machine are the same bytes, by their hashes.
func (d *Desk) scan(ctx context.Context, r Request) error {
	s := Scan{Scanner: len(d.Scanners) > 0}
	var told time.Time
	err := d.each(ctx, r, func(at string, n *restic.Node, content func(io.Writer) error) error {
		s.Files++
		s.Bytes += int64(n.Size)
		if now := d.Now(); now.Sub(told) >= sayEvery {
			told = now
			if err := d.say(ctx, r, job.Progress{Step: "scan", Files: int64(s.Files), Bytes: s.Bytes}); err != nil {
				return err
			}
		}
		found, err := d.scanned(ctx, at, content)
		switch {
		case errors.Is(err, ErrTooLarge):
			if s.Skips++; len(s.Skipped) < maxFound {
				s.Skipped = append(s.Skipped, Found{text(at), err.Error()})
			}
		case err != nil:
			return err
		}
		if found != "" {
			if s.Finds++; len(s.Found) < maxFound {
				s.Found = append(s.Found, Found{text(at), found})
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.Unread = cut(err.Error())
	}
	s.At = d.moment()
	_, err = d.change(ctx, r.ID, "sonae", []State{Scanning}, func(r *Request) error {
		r.Scan, r.State = s, Held
		if s.Clean() {
			r.State = Ordered
		}
		return nil
	})
	if fault.Of(err) == fault.Conflict { // somebody refused it meanwhile
		return nil
	}
	return err
}

// scanned gives one file to the scanners, and its hashes to the threat lists. An
// error says that a scanner did not look; the lists may have found it all the same.
func (d *Desk) scanned(ctx context.Context, at string, content func(io.Writer) error) (found string, err error) {
	sums := newSums()
	if len(d.Scanners) == 0 {
		if err := content(sums); err != nil {
			return "", err
		}
	}
	for i, s := range d.Scanners {
		var also io.Writer
		if i == 0 {
			also = sums
		}
		what, e := scannedBy(ctx, s, at, content, also)
		if found, err = cmp.Or(found, what), errors.Join(err, e); e != nil && !errors.Is(e, ErrTooLarge) {
			return found, err
		}
	}
	if d.Listed != nil {
		found = cmp.Or(found, d.Listed(sums.all()...))
	}
	return found, err
}

// scannedBy gives a file to one scanner as it is read. Every byte goes to also,
// where somebody else wants it, whatever the scanner reads of it.
func scannedBy(ctx context.Context, s Scanner, at string, content func(io.Writer) error, also io.Writer) (string, error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.CloseWithError(content(w)) // has no error
	}()
	var from io.Reader = r
	if also != nil {
		from = io.TeeReader(r, also)
	}
	found, err := s.Scan(ctx, path.Base(at), from)
	if also != nil && (err == nil || errors.Is(err, ErrTooLarge)) {
		if _, e := io.Copy(io.Discard, from); e != nil && err == nil {
			err = e
		}
	}
	_ = r.Close() // ends the writer where the scanner did not read to the end
	<-done
	return found, err
}

// each walks all plain files of a request, those of the WAL too.
func (d *Desk) each(ctx context.Context, r Request, f func(at string, n *restic.Node, content func(io.Writer) error) error) error {
	err := d.below(ctx, r.From, r.Paths, f)
	if wal := r.WAL(); err == nil && wal != nil {
		err = d.below(ctx, Where{r.From.Agent, wal.Snapshot, r.From.AsOf}, []string{wal.Path}, f)
	}
	return err
}

// below walks all plain files at paths of a snapshot, of all of it where there are
// none.
func (d *Desk) below(ctx context.Context, from Where, paths []string, f func(at string, n *restic.Node, content func(io.Writer) error) error) error {
	repo, root, err := d.tree(ctx, from)
	if err != nil {
		return err
	}
	file := func(at string, n *restic.Node) error {
		if n.Type != "file" {
			return nil
		}
		return f(at, n, func(w io.Writer) error { return repo.Content(ctx, n, w) })
	}
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	for _, p := range paths {
		n, tree, err := find(ctx, repo, root, p)
		if err != nil {
			return err
		}
		if n != nil && n.Subtree == nil {
			err = file(p, n)
		} else {
			err = repo.Walk(ctx, tree, func(below string, n *restic.Node) error { return file(path.Join(p, below), n) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cut(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}

// send gives the order, and lets a restore that goes on read on. It is sent at
// least once: the job's id makes it count once.
func (d *Desk) send(ctx context.Context, r Request) error {
	if d.Sender == nil || d.Now().Sub(d.sentAt(r.ID)) < sendEvery {
		return nil
	}
	quiet, err := d.quiet(ctx, r)
	if err != nil {
		return err
	}
	if quiet {
		if err := d.Sender.Stop(ctx, r); err != nil {
			return fmt.Errorf("stop restore %s: %w", r.ID, err)
		}
		return d.fail(ctx, r, "the machine was not heard for "+silent.String())
	}
	switch err := d.Sender.Send(ctx, r); {
	case fault.Of(err) == fault.Conflict || fault.Of(err) == fault.Denied || fault.Of(err) == fault.Missing || fault.Of(err) == fault.Invalid:
		return d.fail(ctx, r, err.Error()) // trying again cannot help
	case err != nil:
		return fmt.Errorf("order restore %s: %w", r.ID, err)
	}
	d.noteSent(r.ID)
	if r.OrderedAt.IsZero() {
		_, err = d.change(ctx, r.ID, "sonae", []State{Ordered}, func(r *Request) error {
			r.OrderedAt = d.moment()
			return nil
		})
		if err != nil && fault.Of(err) != fault.Conflict { // it answers already, or was stopped
			return err
		}
	}
	return d.takeBack(ctx, r)
}

// takeBack stops what a person stopped while it was being sent.
func (d *Desk) takeBack(ctx context.Context, r Request) error {
	now, err := d.Request(ctx, r.ID)
	if err != nil || now.State != Failure {
		return err
	}
	return d.Sender.Stop(ctx, now)
}

func (d *Desk) sentAt(id string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sent[id]
}

func (d *Desk) noteSent(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent[id] = d.Now()
}

func (d *Desk) forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sent, id)
}

// quiet says whether a machine that has its order has not been heard for long.
func (d *Desk) quiet(ctx context.Context, r Request) (bool, error) {
	if r.OrderedAt.IsZero() {
		return false, nil
	}
	far, err := d.Far(ctx, r.ID)
	heard := r.At
	if far.At.After(heard) {
		heard = far.At
	}
	return d.Now().Sub(heard) > silent, err
}

// fail ends a restore that the hub cannot carry on.
func (d *Desk) fail(ctx context.Context, r Request, why string) error {
	_, err := d.change(ctx, r.ID, "sonae", []State{Ordered, Running}, func(r *Request) error {
		r.State, r.Why = Failure, cut(why)
		return nil
	})
	if fault.Of(err) == fault.Conflict {
		return nil
	}
	return err
}

// Heard takes what a machine says while it is at it. Jobs that are none of these
// are passed over.
func (d *Desk) Heard(ctx context.Context, host string, p job.Progress) error {
	r, err := d.of(ctx, host, p.Job)
	if err != nil || r.ID == "" {
		return err
	}
	if r.State == Ordered {
		if err := d.begun(ctx, r); err != nil {
			return err
		}
	}
	if r.State != Ordered && r.State != Running { // late
		return nil
	}
	return d.say(ctx, r, p)
}

// of is the restore that a machine speaks of; the zero value for a job that is
// none.
func (d *Desk) of(ctx context.Context, host, id string) (Request, error) {
	r, err := d.Request(ctx, id)
	if fault.Of(err) == fault.Missing {
		return Request{}, nil
	}
	if err == nil && r.Host != host {
		err = fault.New(fault.Denied, "protect.restore.other-host")
	}
	return r, err
}

func (d *Desk) begun(ctx context.Context, r Request) error {
	_, err := d.change(ctx, r.ID, "sonae", []State{Ordered}, func(r *Request) error {
		r.State, r.BegunAt = Running, d.moment()
		return nil
	})
	if fault.Of(err) == fault.Conflict {
		return nil
	}
	return err
}

// say keeps how far a request is.
func (d *Desk) say(ctx context.Context, r Request, p job.Progress) error {
	p.Job, p.At = r.ID, d.moment()
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO restore_progress (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = excluded.body`, r.ID, state.JSON(p))
		if err != nil {
			return err
		}
		return tx.Emit(ctx, SubjectProgress, fmt.Sprintf("%s:%s/%d", SubjectProgress, r.ID, p.At.UnixNano()), Moved{r.ID, r.Site})
	})
}

// Far is how far a request is; the zero value when nobody has said so yet.
func (d *Desk) Far(ctx context.Context, id string) (job.Progress, error) {
	var p job.Progress
	var body string
	err := d.db.QueryRow(ctx, `SELECT body FROM restore_progress WHERE id = $1`, id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal([]byte(body), &p)
}

// Ended takes what came of it. Only what was compared file by file counts as
// restored.
func (d *Desk) Ended(ctx context.Context, host string, result job.Result) error {
	r, err := d.of(ctx, host, result.Job)
	if err != nil || r.ID == "" {
		return err
	}
	if r.State == Ordered && result.State != job.CouldNotRun { // quicker than its first word
		if err := d.begun(ctx, r); err != nil {
			return err
		}
	}
	_, err = d.change(ctx, r.ID, "sonae", []State{Ordered, Running}, func(r *Request) error {
		r.Result, r.State = result, Restored
		if why := wrong(*r, result); why != "" {
			r.State, r.Why = Failure, why
		}
		return nil
	})
	if fault.Of(err) == fault.Conflict { // told before, or stopped by a person
		return nil
	}
	return err
}

// wrong says why a result is no success; empty when it is. An old agent knows
// nothing of moments, and would make a server of the base backup as it was.
func wrong(asked Request, r job.Result) string {
	switch {
	case r.State != job.OK:
		return cut(string(r.State) + ": " + r.Error)
	case r.Restore == nil:
		return "the machine did not say what it brought back"
	case r.Restore.Wrong > 0:
		return fmt.Sprintf("%d files could not be restored or differ", r.Restore.Wrong)
	case r.Restore.Verified == 0 && r.Restore.Files > 0:
		return "the files were not compared"
	case asked.WAL() != nil && !r.Restore.Moment.Equal(asked.Load.Moment):
		return "the database was not led to the moment: the agent of the machine is too old"
	}
	return ""
}
