// Package sensor sees the packets of the machine it runs on.
//
// In: some network interfaces, or all of them, of the network namespace that
// the process was started in. Out: every frame with its time and link type, at
// most a few hundredths of a second after it passed, to one of Config.Queues
// lanes; both directions of a connection come to the same lane. On request the
// frames of the last while as a pcapng stream.
//
// Always true: memory is bounded by Config.RingBytes and the kernel's rings;
// what the kernel had to drop is counted; an interface that goes down or is
// made anew is followed; a packet that crosses a bridge or a bond counts once.
// The sensor only listens, it never sends a packet. It runs on Linux;
// elsewhere Open says that it is not supported.
package sensor

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap/filter"
)

// Config says what to listen to. Zero fields take the value named in the comment.
type Config struct {
	// Interfaces are names; none, or "any", is all interfaces.
	//
	// On the ports of a bridge, bond or team only what comes in is taken, and
	// on the bridge itself what the machine sends, so that a packet is counted
	// once where it enters; VLAN and MACVLAN interfaces are left out where the
	// one below them is watched. Of named interfaces this holds for those that
	// see the same packets; a single port of a bridge is watched both ways.
	// Interfaces are looked at again every second. A packet that is routed
	// from one interface to another is seen on both.
	Interfaces []string
	// Promiscuous also takes frames addressed to other machines, for a mirror
	// port. It needs named interfaces.
	Promiscuous bool
	// Filter chooses packets in the kernel; nil takes all.
	Filter *filter.Filter
	// Queues is how many lanes there are, each with a goroutine and a ring in
	// the kernel: 1. The kernel spreads connections over them by a hash that is
	// the same in both directions (PACKET_FANOUT_HASH). Fragments of IP have no
	// ports, so they may come to another lane than the rest of their connection.
	Queues int
	// RingBytes bounds the packets kept in memory for WriteRing: 8 MiB. A
	// negative value keeps none.
	RingBytes int64
	// KernelBytes is the ring that the kernel fills for each queue: 8 MiB.
	KernelBytes int
	// Keep, when set, gives what keeps the packets of a lane besides.
	Keep func(queue int) Keeper
	Log  *slog.Logger // nothing is logged when nil
}

// Lane takes the frames of one queue. Its methods are called from one goroutine.
type Lane interface {
	// Packet takes a frame, which is only valid during the call.
	Packet(at time.Time, link flow.LinkType, frame []byte)
	// Tick comes about four times a second, packets or not, with the time now.
	Tick(now time.Time)
}

// Keeper keeps frames with their length on the wire. Its methods are called
// from one goroutine and must not wait.
type Keeper interface {
	Add(at time.Time, link flow.LinkType, frame []byte, length int)
	Tick(now time.Time)
}

// Stats counts what the sensor saw. All values grow from zero.
type Stats struct {
	Packets uint64 // handed out
	Drops   uint64 // that the kernel could not keep because the sensor was too slow
}

// Share is how much of what passed was lost, from 0 to 1.
func (s Stats) Share() float64 { return float64(s.Drops) / max(float64(s.Packets+s.Drops), 1) }

// ErrNotSupported says that this system has no AF_PACKET.
var ErrNotSupported = errors.New("packet capture is supported on Linux only")

// ErrClosed says that a Sensor was used after Close or after Run had returned.
var ErrClosed = errors.New("the sensor is closed")

// maxQueues is more than helps on any machine.
const maxQueues = 64

func (c Config) withDefaults() Config {
	if c.RingBytes == 0 {
		c.RingBytes = 8 << 20
	}
	c.Queues = min(max(c.Queues, 1), maxQueues)
	if slices.Equal(c.Interfaces, []string{"any"}) {
		c.Interfaces = nil
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
