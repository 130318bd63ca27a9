//go:build !linux

package core

import (
	"context"
	"errors"
)

// Core is a core being read; there is none on this system.
type Core struct{}

// Open says that this system is not supported.
func Open(context.Context, int, Options) (*Core, error) { return nil, errors.ErrUnsupported }

// Size, Left, Cut, Read and Close are as on Linux.
func (*Core) Size() int64              { return 0 }
func (*Core) Left() Left               { return Left{} }
func (*Core) Cut() string              { return "" }
func (*Core) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }
func (*Core) Close() error             { return nil }
