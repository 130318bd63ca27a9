package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Adopt takes over a tree that somebody else of this program has stopped just
// now by signals, so that Thaw wakes what he stopped and Kill ends it. What
// stood still before and is not among stopped is not woken.
func (k *Keeper) Adopt(ctx context.Context, root ID, stopped []int) (Held, error) {
	ours := map[int]bool{}
	for _, pid := range stopped {
		ours[pid] = true
	}
	var out Held
	var late error
	err := k.change(func(all *[]Held, save func() error) error {
		now, err := table()
		if err != nil {
			return err
		}
		if err := check(now, root); err != nil {
			return err
		}
		h := find(*all, root)
		if h == nil {
			*all = append(*all, Held{Root: root, Since: k.cfg.Now().UTC()})
			h = &(*all)[len(*all)-1]
		}
		h.Loose = true
		for _, m := range h.add(now) {
			if ours[m.PID] {
				h.member(m.ID).Before = false
			}
		}
		if err := save(); err != nil {
			return err
		}
		late = h.stop(ctx)
		out = *h
		return nil
	})
	if err = errors.Join(err, late); err != nil {
		return out, fmt.Errorf("adopt %d: %w", root.PID, err)
	}
	return out, nil
}

// Over tells of the trees that were adopted and stand still no more without an
// order: those whose processes have all ended, and those that somebody woke at
// the machine. seen remembers between two calls which ran at the last one: what
// runs twice in a row was woken, what runs once may be on its way to stand
// still. What tell got is told once, unless this program is killed before it
// has written that down.
func (k *Keeper) Over(seen map[ID]bool, tell func(Ended)) error {
	held, err := k.Held()
	if err != nil || !slices.ContainsFunc(held, func(h Held) bool { return h.Loose }) {
		return err
	}
	return k.change(func(all *[]Held, _ func() error) error {
		var left []Held
		for _, h := range *all {
			switch {
			case !h.Loose:
			case Alive(h) == 0:
				tell(Ended{h.Root, h.image(), Gone})
				delete(seen, h.Root)
				continue
			case !woken(h):
				delete(seen, h.Root)
			case seen[h.Root]: // the rest of the tree, if there is any, is still held
				tell(Ended{h.Root, h.image(), Woken})
				delete(seen, h.Root)
				h.Loose = false
			default:
				seen[h.Root] = true
			}
			left = append(left, h)
		}
		*all = left
		return nil
	})
}

// woken says whether a process of a tree runs. One that is inside of the kernel
// stops when it comes out.
func woken(h Held) bool {
	return slices.ContainsFunc(h.Members, func(m Member) bool {
		e, ok := read(m.PID)
		return ok && e.ID == m.ID && (e.state == 'R' || e.state == 'S') && !frozen(groupOf(m.PID))
	})
}

// image is the program of the root.
func (h *Held) image() string {
	if m := h.member(h.Root); m != nil {
		return m.Image
	}
	return ""
}
