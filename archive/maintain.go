package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sonae/sonae/fault"
)

// policy says when Maintain does what.
type policy struct {
	every     time.Duration // between two looks
	afterFull time.Duration // when the disk was full
	fresh     int           // fresh segments are merged when there are so many
	age       time.Duration // or when the oldest is so old
	inputs    int           // of one merge at most; each takes up to 20 MB, the new segment 60
	fan       int           // merged segments of like size that become one
	target    int64         // rows that are enough for a segment
	settled   time.Duration // after a day, when its small segments are put together
	lines     int           // newest lines that never leave the manifest
	reserve   int64         // bytes of disk that a merge leaves free
	grace     time.Duration // how long a shared object stays that no line needs
}

func defaultPolicy() policy {
	return policy{every: 10 * time.Second, afterFull: time.Minute, fresh: 8, age: 10 * time.Minute, inputs: 8, fan: 8, target: 1 << 20,
		settled: 6 * time.Hour, lines: 4096, reserve: 256 << 20, grace: 30 * time.Minute}
}

// Maintain merges small segments, drops what is older than Retention says and
// nothing holds, and moves former lines out of the manifest, until ctx ends.
// It is patient: it waits while Append works, holds at most about 300 MB in
// memory, and undoes a merge that meets a full disk, to try it again later. Of
// all processes that share a store, only one may run it.
func (a *Archive) Maintain(ctx context.Context) error {
	for {
		wait := a.policy.every
		if err := a.maintain(ctx); err != nil && ctx.Err() == nil {
			if errors.Is(err, errClosed) {
				return fmt.Errorf("maintain archive: %w", err)
			}
			a.log.Error("archive cannot be tidied up", "err", err)
			wait = a.policy.afterFull
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// maintain does everything that is to be done now. What is over goes first,
// which makes room; what fails does not keep the rest from being done.
func (a *Archive) maintain(ctx context.Context) error {
	if err := a.say(ctx, func() *record { return nil }); err != nil { // what an earlier run could not record
		return err
	}
	var errs []error
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{{"drop old segments", a.retain}, {"merge segments", a.mergeAll}, {"compact manifest", a.compact}, {"sweep shared store", a.sweep}} {
		if err := step.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", step.what, busy(err)))
		}
	}
	return errors.Join(errs...)
}

// mergeAll merges until nothing is left to be merged.
func (a *Archive) mergeAll(ctx context.Context) error {
	for {
		in := a.choose()
		if len(in) == 0 {
			return nil
		}
		if err := a.merge(ctx, in); err != nil && !errors.Is(err, errTakenAway) { // else what is there now is looked at anew
			return err
		}
	}
}

func (a *Archive) sweep(ctx context.Context) error {
	if a.shared == nil {
		return nil
	}
	return a.shared.sweep(ctx)
}

// errNoRoom means that a merge would fill the disk, which belongs to intake.
func errNoRoom(free, need int64) error {
	return fault.New(fault.Busy, "archive.full").With(fmt.Errorf("%d bytes are free, merging needs %d", free, need))
}
