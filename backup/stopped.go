package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Stopped gives the parts of a hub that does not run, and keeps one from
// starting on the folder until closed is called. stateAt is the address of its
// PostgreSQL database; empty: the SQLite file in dir. The schema of the state
// becomes that of today, as it would when the hub starts.
func Stopped(ctx context.Context, dir, stateAt string, now clock.Now, log *slog.Logger) (p Parts, closed func() error, err error) {
	if stateAt == "" {
		stateAt = filepath.Join(dir, "state.db")
		if _, err := os.Stat(stateAt); err != nil { // else an empty one would be made
			return p, nil, fault.New(fault.Missing, "backup.no-hub", dir).With(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "keys")); err != nil {
		return p, nil, fault.New(fault.Missing, "backup.no-hub", dir).With(err)
	}
	lock, err := lockHub(dir)
	if err != nil {
		return p, nil, err
	}
	db, err := state.Open(ctx, stateAt, log)
	if err != nil {
		return p, nil, errors.Join(err, lock.Close())
	}
	closed = func() error { return errors.Join(db.Close(), lock.Close()) }
	at := filepath.Join(dir, "bus")
	streams, err := bus.StreamsIn(at)
	if err == nil {
		err = Sweep(dir)
	}
	if err != nil {
		return p, nil, errors.Join(err, closed())
	}
	return Parts{Dir: dir, State: db, Now: now, Streams: streams,
		Pending: func(ctx context.Context, stream string, f func(bus.Message) error) error {
			return bus.PendingIn(ctx, at, stream, f)
		}}, closed, nil
}

// lockHub takes the lock that a running hub holds.
func lockHub(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the hub: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fault.New(fault.Conflict, "backup.running", dir).With(err), f.Close())
	}
	return f, nil
}
