package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/flow"
)

// Sensor captures from a TPACKET_V3 ring that it shares with the kernel.
// gopacket's afpacket does the same but keeps to itself on which kind of
// device and in which direction a packet was seen, which listening to all
// interfaces needs, and allocates for every VLAN tag.
type Sensor struct {
	conf  Config
	kept  *ring
	count atomic.Uint64

	mu    sync.Mutex // guards what Close takes away while Drops and Run use it
	sock  *socket    // nil when closed
	drops uint64
	runs  bool // Run is running or has been
	busy  bool // Run is running
}

const (
	pollFor   = 100 * time.Millisecond // a cancelled context is noticed after this
	tickEvery = 250 * time.Millisecond
	lookEvery = time.Second // for an interface that was made anew
)

// Open begins to capture. It needs CAP_NET_RAW; the interface must exist, but
// may be down.
func Open(c Config) (*Sensor, error) {
	c = c.withDefaults()
	if c.Interface == "any" {
		c.Interface = ""
	}
	if c.Promiscuous && c.Interface == "" {
		return nil, errors.New("open sensor: promiscuous mode needs a named interface")
	}
	k, err := openSocket(c)
	if err != nil {
		return nil, fmt.Errorf("open sensor on %q: %w", c.Interface, err)
	}
	return &Sensor{conf: c, kept: newRing(c.RingBytes), sock: k}, nil
}

// Run calls packet for every frame until ctx ends, then closes the Sensor and
// returns nil. The frame is only valid during the call. Run may be called once.
func (s *Sensor) Run(ctx context.Context, packet func(at time.Time, link flow.LinkType, frame []byte)) error {
	s.mu.Lock()
	k := s.sock
	again := s.runs
	if k != nil && !again {
		s.runs, s.busy = true, true
	}
	s.mu.Unlock()
	if k == nil || again {
		return ErrClosed
	}
	defer s.stop()
	see := func(at time.Time, link flow.LinkType, frame []byte, length int) {
		s.count.Add(1)
		s.kept.add(at, link, frame, length)
		packet(at, link, frame)
	}
	var ticked, looked time.Time
	for ctx.Err() == nil {
		// The kernel hands a block over when it is full or after some
		// milliseconds; all that are ready are read before waiting again.
		for ctx.Err() == nil && k.block(see) {
		}
		now := time.Now()
		if now.Sub(ticked) >= tickEvery {
			ticked = now
			s.Drops() // the kernel's counters are small: fetch them in time
			if s.conf.Tick != nil {
				s.conf.Tick(now)
			}
		}
		if now.Sub(looked) >= lookEvery {
			looked = now
			s.follow(k)
		}
		if err := k.wait(pollFor); err != nil {
			return fmt.Errorf("capture on %q: %w", s.conf.Interface, err)
		}
	}
	return nil
}

// follow binds anew when the interface has another index than before.
func (s *Sensor) follow(k *socket) {
	switch changed, err := k.follow(); {
	case err != nil:
		if !k.missed {
			s.conf.Log.Warn("the interface is gone, waiting for it", "interface", s.conf.Interface, "err", err)
		}
		k.missed = true
	case changed:
		s.conf.Log.Info("the interface was made anew, listening again", "interface", s.conf.Interface)
		k.missed = false
	}
}

// Packets returns how many frames were handed out.
func (s *Sensor) Packets() uint64 { return s.count.Load() }

// Drops returns how many frames the kernel could not keep because the sensor
// was too slow. It is safe for concurrent use, also after Close.
func (s *Sensor) Drops() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sock != nil {
		// Reading resets the kernel's counter.
		if st, err := unix.GetsockoptTpacketStatsV3(s.sock.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			s.drops += uint64(st.Drops)
		}
	}
	return s.drops
}

// WriteRing writes the frames that are kept as pcapng to w, oldest first, and
// returns how many. Capture goes on meanwhile; what arrives later is not
// written. It is safe for concurrent use, also after Close.
func (s *Sensor) WriteRing(ctx context.Context, w io.Writer) (packets int, err error) {
	return s.kept.write(ctx, w)
}

// Close frees a Sensor whose Run was never called. Otherwise Run frees it when
// its context ends, and Close does nothing.
func (s *Sensor) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sock == nil || s.busy {
		return nil
	}
	k := s.sock
	s.sock = nil
	return k.close()
}

// stop is the end of Run.
func (s *Sensor) stop() {
	s.Drops() // a last time, for those who ask later
	s.mu.Lock()
	s.busy = false
	s.mu.Unlock()
	if err := s.Close(); err != nil {
		s.conf.Log.Warn("the capture did not close cleanly", "err", err)
	}
}
