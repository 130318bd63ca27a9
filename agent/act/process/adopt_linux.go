package process

import (
	"context"
	"errors"
	"fmt"
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
