package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Check says whether a tree may be touched: ErrGone when the process is not
// there, ErrProtected when it is one that everything depends on.
func Check(root ID) error {
	all, err := table()
	if err != nil {
		return err
	}
	return check(all, root)
}

func check(all map[int]entry, root ID) error {
	e, ok := all[root.PID]
	switch {
	case !ok || e.Start != root.Start || e.state == 'Z' || e.state == 'X':
		return fmt.Errorf("%w: %d", ErrGone, root.PID)
	case e.kernel || protected(all)[root.PID]:
		return fmt.Errorf("%w: %d", ErrProtected, root.PID)
	}
	return nil
}

// Freeze makes the tree of a process stand still: it returns when every thread
// of every process does, and none is born any more. Freezing what is frozen
// looks again and stops what is new. With ErrRunning part of the tree is inside
// of the kernel and stops when it comes out; it is held all the same.
func (k *Keeper) Freeze(ctx context.Context, pid int, start uint64) (Held, error) {
	root := ID{pid, start}
	var out Held
	var late error
	err := k.change(func(all *[]Held, save func() error) error {
		now, err := table()
		if err != nil {
			return err
		}
		h := find(*all, root)
		if err := check(now, root); err != nil && (h == nil || errors.Is(err, ErrProtected)) {
			return err
		}
		if h == nil {
			*all = append(*all, Held{Root: root, Since: k.cfg.Now().UTC()})
			h = &(*all)[len(*all)-1]
		}
		h.add(now)
		if h.Group == "" || !alone(h.Group, h.pids()) {
			h.Group = ownGroup(pid, h.pids())
		}
		if err := save(); err != nil { // a killed agent must know what it may have stopped
			return err
		}
		late = h.stop(ctx)
		out = *h
		return nil
	})
	if err == nil {
		err = late
	}
	if err != nil {
		return out, fmt.Errorf("freeze %d: %w", pid, err)
	}
	return out, nil
}

// add takes up what belongs to the tree and is not in it yet, and returns it.
func (h *Held) add(all map[int]entry) []Member {
	spare := protected(all)
	roots := []ID{h.Root}
	for _, m := range h.Members {
		roots = append(roots, m.ID)
	}
	var found []Member
	for _, e := range tree(all, roots...) {
		if e.kernel || spare[e.PID] || h.member(e.ID) != nil {
			continue
		}
		m := Member{ID: e.ID, Image: image(e.PID), Before: e.state == 'T'}
		h.Members = append(h.Members, m)
		found = append(found, m)
	}
	return found
}

func (h *Held) pids() map[int]bool {
	out := map[int]bool{}
	for _, m := range h.Members {
		out[m.PID] = true
	}
	return out
}

// stop stops all members, and looks for new ones until a pass finds none and
// all stand still.
func (h *Held) stop(ctx context.Context) error {
	if h.Group != "" {
		if err := control(h.Group, "cgroup.freeze", "1"); err != nil {
			h.Group = "" // signals do it, too
		}
	}
	halt(h.Members, h.Group)
	for end := time.Now().Add(settleTime); ; {
		all, err := table()
		if err != nil {
			return err
		}
		found := h.add(all)
		halt(found, h.Group)
		if len(found) == 0 && Still(*h) {
			return nil
		}
		if time.Now().After(end) {
			return ErrRunning
		}
		if len(found) > 0 { // whoever was born may have children
			continue
		}
		select {
		case <-ctx.Done():
			return errors.Join(ErrRunning, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// halt stops members that the group does not hold.
func halt(members []Member, group string) {
	var held []int
	if group != "" {
		held = inGroup(group)
	}
	for _, m := range members {
		if !slices.Contains(held, m.PID) {
			_ = signal(m.ID, unix.SIGSTOP) // it ended meanwhile, or the next look says that it runs
		}
	}
}

// signal reaches this process or none: the descriptor is of the process that
// had the number when it was opened, and the start says which that was.
func signal(id ID, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.3
		if e, ok := read(id.PID); !ok || e.ID != id {
			return ErrGone
		}
		return unix.Kill(id.PID, sig)
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if e, ok := read(id.PID); !ok || e.ID != id {
		return ErrGone
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// Still says whether every process of a tree stands still or has ended.
func Still(h Held) bool {
	for _, m := range h.Members {
		if e, ok := read(m.PID); ok && e.ID == m.ID && !stopped(m.PID) && !frozen(groupOf(m.PID)) {
			return false
		}
	}
	return true
}

// Alive is how many processes of a tree have not ended.
func Alive(h Held) int {
	n := 0
	for _, m := range h.Members {
		if e, ok := read(m.PID); ok && e.ID == m.ID && e.state != 'Z' && e.state != 'X' {
			n++
		}
	}
	return n
}

// Thaw lets a frozen tree run again: ErrNotHeld when it was not frozen here.
func (k *Keeper) Thaw(ctx context.Context, pid int, start uint64) (Held, error) {
	root := ID{pid, start}
	var out Held
	err := k.change(func(all *[]Held, _ func() error) error {
		h := find(*all, root)
		if h == nil {
			return ErrNotHeld
		}
		out = *h
		if table, err := table(); err == nil {
			h.add(table) // stopped by a run that was killed before it could note it
		}
		if h.Group != "" {
			if err := control(h.Group, "cgroup.freeze", "0"); err != nil && len(inGroup(h.Group)) > 0 {
				return err
			}
		}
		for _, m := range h.Members {
			if known := out.member(m.ID) != nil; !m.Before || !known {
				_ = signal(m.ID, unix.SIGCONT) // it ended meanwhile
			}
		}
		out = *h
		*all = without(*all, root)
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("thaw %d: %w", pid, err)
	}
	return out, ctx.Err()
}

// Kill ends the tree of a process, frozen here or not. It is frozen first, so
// that nothing is born meanwhile, and returns when all have ended.
func (k *Keeper) Kill(ctx context.Context, pid int, start uint64) (Held, error) {
	h, err := k.Freeze(ctx, pid, start)
	if err != nil && !errors.Is(err, ErrRunning) {
		return h, fmt.Errorf("kill %d: %w", pid, err)
	}
	if err := k.change(func(all *[]Held, _ func() error) error { // its end is ordered: Over has nothing to tell
		if h := find(*all, h.Root); h != nil {
			h.Loose = false
		}
		return nil
	}); err != nil {
		return h, fmt.Errorf("kill %d: %w", pid, err)
	}
	if h.Group != "" && alone(h.Group, h.pids()) {
		if err := control(h.Group, "cgroup.kill", "1"); err != nil { // before Linux 5.14
			k.cfg.Log.Debug("group not killed, signals do it", "err", err)
		}
	}
	for end := time.Now().Add(settleTime); ; {
		for _, m := range h.Members {
			_ = signal(m.ID, unix.SIGKILL) // it has ended
		}
		if Alive(h) == 0 {
			break
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return h, fmt.Errorf("kill %d: %w", pid, ErrRunning)
		}
		time.Sleep(time.Millisecond)
	}
	if h.Group != "" { // for whoever starts in it next; gone with its processes mostly
		_ = control(h.Group, "cgroup.freeze", "0")
	}
	return h, k.change(func(all *[]Held, _ func() error) error {
		*all = without(*all, h.Root)
		return nil
	})
}
