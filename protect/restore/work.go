package restore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
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
)

// Work scans what was approved and sends what may be sent, until ctx ends. One
// hub of all does so. What a hub before was at is begun again.
func (d *Desk) Work(ctx context.Context) error {
	for {
		wait := lookEvery
		if err := d.look(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("restores wait", "err", err)
			wait = retryAfter
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (d *Desk) look(ctx context.Context) error {
	all, err := d.Requests(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range all {
		switch {
		case r.State == Scanning:
			errs = append(errs, d.scan(ctx, r))
		case r.State == Ordered && r.OrderedAt.IsZero():
			errs = append(errs, d.send(ctx, r))
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
		for _, scanner := range d.Scanners {
			found, err := scanned(ctx, scanner, at, content)
			if err != nil {
				return err
			}
			if found == "" {
				continue
			}
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

// scanned gives one file to a scanner as it is read.
func scanned(ctx context.Context, s Scanner, at string, content func(io.Writer) error) (string, error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.CloseWithError(content(w)) // has no error
	}()
	found, err := s.Scan(ctx, path.Base(at), r)
	_ = r.Close() // ends the writer where the scanner did not read to the end
	<-done
	return found, err
}

// each walks all plain files of a request.
func (d *Desk) each(ctx context.Context, r Request, f func(at string, n *restic.Node, content func(io.Writer) error) error) error {
	repo, root, err := d.tree(ctx, r.From)
	if err != nil {
		return err
	}
	file := func(at string, n *restic.Node) error {
		if n.Type != "file" {
			return nil
		}
		return f(at, n, func(w io.Writer) error { return repo.Content(ctx, n, w) })
	}
	paths := r.Paths
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

// send gives the order. It is sent at least once: the job's id makes it count
// once.
func (d *Desk) send(ctx context.Context, r Request) error {
	if d.Sender == nil {
		return nil
	}
	if err := d.Sender.Send(ctx, r.job(), r.From.AsOf); err != nil {
		return fmt.Errorf("order restore %s: %w", r.ID, err)
	}
	_, err := d.change(ctx, r.ID, "sonae", []State{Ordered}, func(r *Request) error {
		r.OrderedAt = d.moment()
		return nil
	})
	if fault.Of(err) == fault.Conflict { // it answers already, or was stopped
		return nil
	}
	return err
}

// Job is what a machine was ordered to do, for the moment when it asks for it,
// and the time as of which it may read the repository (zero: now): fault.Missing
// where it has no such order, or is done with it.
func (d *Desk) Job(ctx context.Context, host, id string) (j job.Job, asOf time.Time, err error) {
	r, err := d.Request(ctx, id)
	if err != nil {
		return j, asOf, err
	}
	if r.Host != host || r.State != Ordered && r.State != Running {
		return j, asOf, fault.New(fault.Missing, "protect.restore.unknown")
	}
	return r.job(), r.From.AsOf, nil
}

// Progress takes what a machine says while it is at it. Jobs that are none of
// these are passed over.
func (d *Desk) Progress(ctx context.Context, host string, p job.Progress) error {
	r, err := d.Request(ctx, p.Job)
	if fault.Of(err) == fault.Missing {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Host != host {
		return fault.New(fault.Denied, "protect.restore.other-host")
	}
	if r.State == Ordered {
		_, err := d.change(ctx, r.ID, "sonae", []State{Ordered}, func(r *Request) error {
			r.State = Running
			return nil
		})
		if err != nil && fault.Of(err) != fault.Conflict {
			return err
		}
	}
	return d.say(ctx, r, p)
}

// say keeps how far a request is.
func (d *Desk) say(ctx context.Context, r Request, p job.Progress) error {
	p.Job, p.At = r.ID, d.moment()
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO restore_progress (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = excluded.body`, r.ID, state.JSON(p))
		return err
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

// Finished takes what came of it. Only what was compared file by file counts as
// restored.
func (d *Desk) Finished(ctx context.Context, host string, result job.Result) error {
	r, err := d.Request(ctx, result.Job)
	if fault.Of(err) == fault.Missing {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Host != host {
		return fault.New(fault.Denied, "protect.restore.other-host")
	}
	_, err = d.change(ctx, r.ID, "sonae", []State{Ordered, Running}, func(r *Request) error {
		r.Result, r.State = result, Restored
		if why := wrong(result); why != "" {
			r.State, r.Why = Failure, why
		}
		return nil
	})
	if fault.Of(err) == fault.Conflict { // told before, or stopped by a person
		return nil
	}
	return err
}

// wrong says why a result is no success; empty when it is.
func wrong(r job.Result) string {
	switch {
	case r.State != job.OK:
		return cut(string(r.State) + ": " + r.Error)
	case r.Restore == nil:
		return "the machine did not say what it brought back"
	case r.Restore.Wrong > 0:
		return fmt.Sprintf("%d files could not be restored or differ", r.Restore.Wrong)
	case r.Restore.Verified == 0 && r.Restore.Files > 0:
		return "the files were not compared"
	}
	return ""
}
