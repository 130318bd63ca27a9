//go:build !linux

package sensor

import (
	"context"
	"io"
	"time"

	"github.com/sonae/sonae/flow"
)

// Sensor cannot be had on this system.
type Sensor struct{}

// Open returns ErrNotSupported.
func Open(Config) (*Sensor, error) { return nil, ErrNotSupported }

// Run returns ErrNotSupported.
func (*Sensor) Run(context.Context, func(time.Time, flow.LinkType, []byte)) error {
	return ErrNotSupported
}

// Drops returns 0.
func (*Sensor) Drops() uint64 { return 0 }

// Packets returns 0.
func (*Sensor) Packets() uint64 { return 0 }

// WriteRing returns ErrNotSupported.
func (*Sensor) WriteRing(context.Context, io.Writer) (int, error) { return 0, ErrNotSupported }

// Close does nothing.
func (*Sensor) Close() error { return nil }
