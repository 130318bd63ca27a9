package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/flow"
)

// Sensor captures from TPACKET_V3 rings that it shares with the kernel.
// gopacket's afpacket does the same but keeps to itself on which kind of
// device and in which direction a packet was seen, which listening to all
// interfaces needs, and allocates for every VLAN tag.
type Sensor struct {
	conf  Config
	kept  *ring
	watch *watch
	count []atomic.Uint64 // frames, for each queue

	mu    sync.Mutex // guards what Close takes away while Stats and Run use it
	socks []*socket  // one for each queue; nil when closed
	drops uint64
	runs  bool // Run is running or has been
	busy  bool // Run is running
}

const (
	pollFor   = 100 * time.Millisecond // a cancelled context is noticed after this
	tickEvery = 250 * time.Millisecond
	lookEvery = time.Second // for interfaces that were made anew
)

// Open begins to capture. It needs CAP_NET_RAW; the interfaces must exist, but
// may be down.
func Open(c Config) (*Sensor, error) {
	c = c.withDefaults()
	if c.Promiscuous && len(c.Interfaces) == 0 {
		return nil, errors.New("open sensor: promiscuous mode needs a named interface")
	}
	s := &Sensor{conf: c, kept: newRing(c.RingBytes), count: make([]atomic.Uint64, c.Queues)}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open sensor on %q: %w", strings.Join(c.Interfaces, ","), err), s.Close())
	}
	return s, nil
}

// open opens the sockets. Until all of them share the packets nothing passes,
// or the first ones would see what is not theirs.
func (s *Sensor) open() (err error) {
	group := 0
	for i := range s.conf.Queues {
		k, err := openSocket(s.conf.KernelBytes)
		if err != nil {
			return err
		}
		s.socks = append(s.socks, k)
		if s.conf.Queues == 1 {
			break
		}
		if group, err = k.join(i == 0, group); err != nil {
			return err
		}
	}
	if s.watch, err = newWatch(s.conf, s.socks); err != nil {
		return err
	}
	missing, err := s.watch.look()
	if err == nil && len(missing) > 0 {
		return fmt.Errorf("no interface %s", strings.Join(missing, ", "))
	}
	return err
}

// Queues is how many lanes Run needs.
func (s *Sensor) Queues() int { return s.conf.Queues }

// Run hands every frame to one of the lanes until ctx ends, then closes the
// Sensor and returns nil. There must be as many lanes as queues. Run may be
// called once.
func (s *Sensor) Run(ctx context.Context, lanes []Lane) error {
	s.mu.Lock()
	socks, again := s.socks, s.runs
	if socks != nil && !again {
		s.runs, s.busy = true, true
	}
	s.mu.Unlock()
	if socks == nil || again {
		return ErrClosed
	}
	defer s.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(socks)+1)
	var all sync.WaitGroup
	for i, k := range socks {
		all.Go(func() {
			defer cancel() // one that fails ends all: half of the packets are no capture
			errs[i] = s.read(ctx, i, k, lanes[i])
		})
	}
	all.Go(func() { s.follow(ctx) })
	all.Wait()
	return errors.Join(errs...)
}

// read hands out the frames of one queue until ctx ends.
func (s *Sensor) read(ctx context.Context, queue int, k *socket, lane Lane) error {
	var keep Keeper
	if s.conf.Keep != nil {
		keep = s.conf.Keep(queue)
	}
	see := func(at time.Time, link flow.LinkType, frame []byte, length int) {
		s.count[queue].Add(1)
		s.kept.add(at, link, frame, length)
		if keep != nil {
			keep.Add(at, link, frame, length)
		}
		lane.Packet(at, link, frame)
	}
	var ticked time.Time
	for ctx.Err() == nil {
		// The kernel hands a block over when it is full or after some
		// milliseconds; all that are ready are read before waiting again, but
		// the time goes on for the others as well.
		for range 64 {
			if ctx.Err() != nil || !k.block(see) {
				break
			}
		}
		if now := time.Now(); now.Sub(ticked) >= tickEvery {
			ticked = now
			lane.Tick(now)
			if keep != nil {
				keep.Tick(now)
			}
		}
		if k.ready() {
			continue
		}
		if err := k.wait(pollFor); err != nil {
			return fmt.Errorf("capture: %w", err)
		}
	}
	return nil
}

// follow looks at the interfaces, and fetches the kernel's counters while they
// are small, until ctx ends.
func (s *Sensor) follow(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	gone := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.Stats()
		missing, err := s.watch.look()
		switch now := strings.Join(missing, ","); {
		case err != nil:
			s.conf.Log.Warn("the interfaces cannot be looked at", "err", err)
		case now != gone && now != "":
			s.conf.Log.Warn("an interface is gone, waiting for it", "interface", now)
			gone = now
		case now != gone:
			s.conf.Log.Info("the interface was made anew, listening again", "interface", gone)
			gone = now
		}
	}
}

// Stats counts what the sensor saw. It is safe for concurrent use, also after
// Close.
func (s *Sensor) Stats() Stats {
	var st Stats
	for i := range s.count {
		st.Packets += s.count[i].Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.socks {
		// Reading resets the kernel's counter.
		if now, err := unix.GetsockoptTpacketStatsV3(k.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			s.drops += uint64(now.Drops)
		}
	}
	st.Drops = s.drops
	return st
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
	if s.busy {
		return nil
	}
	var errs []error
	for _, k := range s.socks {
		errs = append(errs, k.close())
	}
	if s.watch != nil {
		errs = append(errs, s.watch.close())
	}
	s.socks, s.watch = nil, nil
	return errors.Join(errs...)
}

// stop is the end of Run.
func (s *Sensor) stop() {
	s.Stats() // a last time, for those who ask later
	s.mu.Lock()
	s.busy = false
	s.mu.Unlock()
	if err := s.Close(); err != nil {
		s.conf.Log.Warn("the capture did not close cleanly", "err", err)
	}
}
