//go:build !linux

package process

import (
	"context"
	"errors"
)

var errUnsupported = errors.New("process: freezing is not available on this system")

// Freeze is not available on this system.
func (k *Keeper) Freeze(context.Context, int, uint64) (Held, error) { return Held{}, errUnsupported }

// Thaw is not available on this system.
func (k *Keeper) Thaw(context.Context, int, uint64) (Held, error) { return Held{}, errUnsupported }

// Kill is not available on this system.
func (k *Keeper) Kill(context.Context, int, uint64) (Held, error) { return Held{}, errUnsupported }

// Start is not available on this system.
func Start(int) (uint64, error) { return 0, errUnsupported }

// Alive is not available on this system.
func Alive(Held) int { return 0 }

// Still is not available on this system.
func Still(Held) bool { return false }

// Check is not available on this system.
func Check(ID) error { return errUnsupported }
