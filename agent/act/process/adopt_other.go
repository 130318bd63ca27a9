//go:build !linux

package process

import "context"

// Adopt is not available on this system.
func (k *Keeper) Adopt(context.Context, ID, []int) (Held, error) { return Held{}, errUnsupported }

// Over is not available on this system.
func (k *Keeper) Over(map[ID]bool, func(Ended)) error { return nil }
