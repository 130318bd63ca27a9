//go:build !linux

package process

import "context"

// Adopt is not available on this system.
func (k *Keeper) Adopt(context.Context, ID, []int) (Held, error) { return Held{}, errUnsupported }
