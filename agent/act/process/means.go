package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
)

// Reasons for refusing an order: stable words.
const (
	noProcess   = "process-missing"
	isGone      = "process-gone"
	isProtected = "process-protected"
)

// prior is the tree as an order names it.
type prior struct{ Root ID }

// Freezing is freezing by order. What the guard of this machine froze before is
// thawed by the order, too.
type Freezing struct{ Keeper *Keeper }

// Kinds are those of freezing and thawing.
func (Freezing) Kinds() (apply, undo order.Kind) { return order.Freeze, order.Thaw }

// Subject is the process.
func (Freezing) Subject(o order.Order) string { return subject(o) }

// Precheck refuses what is not there and what must not be touched.
func (Freezing) Precheck(_ context.Context, o order.Order) (any, error) { return precheck(o) }

// Apply freezes; part of the tree may still be inside of the kernel.
func (f Freezing) Apply(ctx context.Context, r contain.Row, _ time.Duration) error {
	root := rootOf(r)
	_, err := f.Keeper.Freeze(ctx, root.PID, root.Start)
	if errors.Is(err, ErrRunning) {
		return nil // Verify says so
	}
	return err
}

// Verify looks at every thread.
func (f Freezing) Verify(_ context.Context, r contain.Row) []order.Check {
	c := f.check("process-still", r)
	if h := f.held(rootOf(r)); h != nil {
		c.OK, c.Detail = Still(*h), fmt.Sprintf("%d processes", Alive(*h))
	}
	return []order.Check{c}
}

// Undo thaws what was frozen here.
func (f Freezing) Undo(ctx context.Context, r contain.Row) error {
	root := rootOf(r)
	_, err := f.Keeper.Thaw(ctx, root.PID, root.Start)
	if errors.Is(err, ErrNotHeld) {
		return nil
	}
	return err
}

// Undone looks whether it is still held.
func (f Freezing) Undone(_ context.Context, r contain.Row) []order.Check {
	c := f.check("process-runs", r)
	c.OK = f.held(rootOf(r)) == nil
	return []order.Check{c}
}

// State is Void when all processes have ended, as after a reboot.
func (f Freezing) State(_ context.Context, r contain.Row) (contain.State, error) {
	root := rootOf(r)
	h := f.held(root)
	switch {
	case h == nil && errors.Is(Check(root), ErrGone), h != nil && Alive(*h) == 0:
		return contain.Void, nil
	case h == nil || !Still(*h):
		return contain.Lost, nil
	}
	return contain.Holds, nil
}

// UndoLoose thaws a tree that was frozen without an order.
func (f Freezing) UndoLoose(ctx context.Context, o order.Order) (bool, error) {
	if o.Process == nil {
		return false, nil
	}
	root := named(o)
	if root.Start == 0 {
		root = f.heldNow(root.PID)
	}
	_, err := f.Keeper.Thaw(ctx, root.PID, root.Start)
	if errors.Is(err, ErrNotHeld) {
		return false, nil
	}
	return err == nil, err
}

// heldNow is the frozen process that has this number.
func (f Freezing) heldNow(pid int) ID {
	if start, err := Start(pid); err == nil {
		return ID{pid, start}
	}
	return ID{PID: pid}
}

func (f Freezing) held(root ID) *Held {
	all, err := f.Keeper.Held()
	if err != nil {
		return nil
	}
	return find(all, root)
}

func (f Freezing) check(name string, r contain.Row) order.Check {
	return order.Check{Name: name, Target: subject(r.Order), At: f.Keeper.cfg.Now().UTC()}
}

// Killing is ending a tree by order: nothing undoes it.
type Killing struct{ Keeper *Keeper }

// Kinds are those of killing, which has no way back.
func (Killing) Kinds() (apply, undo order.Kind) { return order.Kill, "" }

// Subject is the process.
func (Killing) Subject(o order.Order) string { return subject(o) }

// Precheck refuses what is not there and what must not be touched. A tree whose
// root has ended is there while some of it is held.
func (k Killing) Precheck(_ context.Context, o order.Order) (any, error) {
	p, err := precheck(o)
	if err != nil && o.Process != nil {
		if h := Freezing(k).held(named(o)); h != nil && Alive(*h) > 0 && !errors.Is(err, ErrProtected) {
			return p, nil
		}
	}
	return p, err
}

// Apply kills. What ended by itself meanwhile is a success.
func (k Killing) Apply(ctx context.Context, r contain.Row, _ time.Duration) error {
	root := rootOf(r)
	_, err := k.Keeper.Kill(ctx, root.PID, root.Start)
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// Verify looks whether the root has ended and nothing of its tree is held.
func (k Killing) Verify(_ context.Context, r contain.Row) []order.Check {
	root := rootOf(r)
	c := order.Check{Name: "process-ended", Target: subject(r.Order), At: k.Keeper.cfg.Now().UTC()}
	c.OK = errors.Is(Check(root), ErrGone) && Freezing(k).held(root) == nil
	return []order.Check{c}
}

// Undo has nothing to bring back.
func (Killing) Undo(context.Context, contain.Row) error { return nil }

// Undone has nothing to look at.
func (Killing) Undone(context.Context, contain.Row) []order.Check { return nil }

// State is never asked: a kill that is verified is over.
func (Killing) State(context.Context, contain.Row) (contain.State, error) { return contain.Void, nil }

// rootOf is the process that Precheck found.
func rootOf(r contain.Row) ID {
	var p prior
	if err := r.Read(&p); err != nil {
		return named(r.Order)
	}
	return p.Root
}

func named(o order.Order) ID { return ID{o.Process.PID, o.Process.Start} }

func subject(o order.Order) string {
	if o.Process == nil {
		return ""
	}
	return fmt.Sprintf("%d@%d", o.Process.PID, o.Process.Start)
}

func precheck(o order.Order) (any, error) {
	if o.Process == nil || o.Process.PID <= 0 {
		return nil, errors.New(noProcess)
	}
	root := named(o)
	if root.Start == 0 { // a person who knows the number and the program, and not the start
		if at, err := Start(root.PID); err == nil && runs(root.PID, o.Process.Image) {
			root.Start = at
		}
	}
	err := Check(root)
	switch {
	case errors.Is(err, ErrGone):
		err = fmt.Errorf("%s: %w", isGone, err)
	case errors.Is(err, ErrProtected):
		err = fmt.Errorf("%s: %w", isProtected, err)
	}
	return prior{root}, err
}

// runs says whether a process is of this program, by its path or its last part.
func runs(pid int, program string) bool {
	is := image(pid)
	return program != "" && is != "" && (is == program || filepath.Base(is) == program)
}
