// Package sensor sees the packets of the machine it runs on.
//
// In: a network interface, or all of them, of the network namespace that the
// process was started in. Out: every frame with its time and link type, at most
// a few hundredths of a second after it passed, and on request the frames of
// the last while as a pcapng stream.
//
// Always true: memory is bounded by Config.RingBytes and the kernel's ring;
// what the kernel had to drop is counted; an interface that goes down or is
// made anew is followed. The sensor only listens, it never sends a packet. It
// runs on Linux; elsewhere Open says that it is not supported.
package sensor

import (
	"errors"
	"log/slog"
	"time"
)

// Config says what to listen to. Zero fields take the value named in the comment.
type Config struct {
	// Interface is a name, or "" or "any" for all interfaces. With all
	// interfaces a packet that crosses a bridge is seen on each of its ports,
	// and counted as often.
	Interface string
	// Promiscuous also takes frames addressed to other machines, for a mirror
	// port. It needs a named interface.
	Promiscuous bool
	// RingBytes bounds the packets kept for WriteRing: 64 MiB. A negative
	// value keeps none.
	RingBytes int64
	// KernelBytes is the ring that the kernel fills: 8 MiB.
	KernelBytes int
	// Tick, when set, is called by the goroutine of Run about four times a
	// second, packets or not, with the time now. A flow.Table fed by Run can
	// be ticked by it without a lock.
	Tick func(time.Time)
	Log  *slog.Logger // nothing is logged when nil
}

// ErrNotSupported says that this system has no AF_PACKET.
var ErrNotSupported = errors.New("packet capture is supported on Linux only")

// ErrClosed says that a Sensor was used after Close or after Run had returned.
var ErrClosed = errors.New("the sensor is closed")

func (c Config) withDefaults() Config {
	if c.RingBytes == 0 {
		c.RingBytes = 64 << 20
	}
	if c.KernelBytes <= 0 {
		c.KernelBytes = 8 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("part", "sensor")
	return c
}
