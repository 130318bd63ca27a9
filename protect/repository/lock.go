package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// lock is a lock that a client holds. Locks live in memory only: they tell the
// hub that somebody is at work, and nobody else has to know.
type lock struct {
	who string
	at  time.Time // received, by the hub's clock
}

// stale is how long a lock counts; restic renews its own every five minutes.
const stale = 30 * time.Minute

// maxLocks bounds the locks of a repository.
const maxLocks = 256

// putLock takes a lock: it must be one, and belongs to who sent it.
func (r *Repository) putLock(ctx context.Context, who, name string, body io.Reader) error {
	raw, err := io.ReadAll(io.LimitReader(stoppable{ctx, body}, limits[restic.Locks]+1))
	if err != nil {
		return err
	}
	if restic.Sum(raw).String() != name {
		return fault.New(fault.Invalid, "protect.name").With(errors.New("it is not named after its SHA-256"))
	}
	key, err := r.master(ctx)
	if err != nil {
		return err
	}
	if _, err := key.Lock(raw); err != nil {
		return junk(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.s.c.Now()
	r.dropStale(now)
	if held, ok := r.locks[name]; ok && held.who != who {
		return fault.New(fault.Denied, "protect.lock")
	}
	if len(r.locks) >= maxLocks {
		return fault.New(fault.Busy, "protect.locks")
	}
	r.locks[name] = lock{who, now}
	return nil
}

func (r *Repository) dropStale(now time.Time) {
	for name, l := range r.locks {
		if now.Sub(l.at) > stale {
			delete(r.locks, name)
		}
	}
}

// began is when the work began that who is at: the oldest lock, else now.
func (r *Repository) began(who string, now time.Time) time.Time {
	began := now
	for _, l := range r.locks {
		if l.who == who && l.at.Before(began) {
			began = l.at
		}
	}
	return began
}

// Working says whether somebody holds a lock that is not stale.
func (r *Repository) Working() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropStale(r.s.c.Now())
	return len(r.locks) > 0
}

// Remove removes a lock of who; what is not there is no error. Nothing else can
// be removed: fault.Denied "protect.append-only", and "protect.lock"
// for a lock of somebody else.
func (r *Repository) Remove(_ context.Context, who string, kind restic.Kind, name string) error {
	err := r.remove(who, kind, name)
	if err != nil {
		r.refused(who, kind, name, err)
	}
	return err
}

func (r *Repository) remove(who string, kind restic.Kind, name string) error {
	if kind != restic.Locks {
		if !r.has(kind, name) { // restic takes back what was refused, too
			return nil
		}
		return fault.New(fault.Denied, "protect.append-only").With(fmt.Errorf("removal of %s", kind.Path(name)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.locks[name]
	if ok && l.who != who {
		return fault.New(fault.Denied, "protect.lock")
	}
	delete(r.locks, name)
	return nil
}
