//go:build !linux

package guard

import "context"

func (g *Guard) watch(context.Context, func(Status)) error { return ErrNotSupported }

// signals is there for the sake of New.
type signals struct{}

// Freeze implements Freezer.
func (signals) Freeze(int, func(int) bool) ([]int, error) { return nil, ErrNotSupported }

func isReadOnly(error) bool { return false }
