//go:build !linux

package sensor

import (
	"context"
	"io"
)

// Sensor cannot be had on this system.
type Sensor struct{}

// Open returns ErrNotSupported.
func Open(Config) (*Sensor, error) { return nil, ErrNotSupported }

// Run returns ErrNotSupported.
func (*Sensor) Run(context.Context, []Lane) error { return ErrNotSupported }

// Queues returns 0.
func (*Sensor) Queues() int { return 0 }

// Stats returns nothing.
func (*Sensor) Stats() Stats { return Stats{} }

// WriteRing returns ErrNotSupported.
func (*Sensor) WriteRing(context.Context, io.Writer) (int, error) { return 0, ErrNotSupported }

// Close does nothing.
func (*Sensor) Close() error { return nil }
