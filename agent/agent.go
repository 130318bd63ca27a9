// Package agent is the program on each machine: it observes, reports, and
// carries out the hub's signed orders.
//
// In: packets from a sensor, events from collectors, signed orders from the
// link. Out: batches in the spool, heartbeats, results, evidence. Always true:
// an order is carried out only when it is signed by the pinned key, addressed
// to this host and not expired, and each order once; events are handed to the
// spool before anything waits for the hub; what had no room is counted and the
// count is reported; a sensor or collector that does not work leaves the rest
// running and says so.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/agent/ring"
	"github.com/sonae/sonae/agent/screen"
	"github.com/sonae/sonae/agent/sensor"
	"github.com/sonae/sonae/agent/spool"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Config is what can be set.
type Config struct {
	Dir        string        // state: identity, spool, results, orders
	Version    string        // of the program
	OS         string        // name and version of the system
	Heartbeat  time.Duration // 0 means 5 s
	FlushEvery time.Duration // the longest an event waits for others; 0 means 900 ms, so that it is at the hub within a second
	SpoolBytes int64         // 0 means 512 MiB
	MaxFlows   int           // 0 means the default of package flow
	Mirror     bool          // the sensor sees other machines' packets, too, and tells of them
	LossAlarm  float64       // share of the packets within a minute that may be lost without an alarm; 0 means 0.01
}

// Sensor sees packets.
type Sensor interface {
	// Queues is how many lanes Run needs.
	Queues() int
	// Run hands every frame to one of the lanes until ctx ends, both directions
	// of a connection to the same one.
	Run(ctx context.Context, lanes []sensor.Lane) error
	// Stats counts packets, and those that the kernel could not hand over.
	Stats() sensor.Stats
}

// Keeping is what keeps packets on disk.
type Keeping interface{ Stats() ring.Stats }

// Process owns a connection.
type Process struct {
	PID                  int
	Image, Command, User string
}

// Actor contains the machine.
type Actor interface {
	// Do carries out an order and returns the answer; the same order again
	// gives the same answer.
	Do(ctx context.Context, o order.Order) order.Result
	// Resume goes on after a restart and returns what happened meanwhile.
	Resume(ctx context.Context) []order.Result
	// Run watches the lease until ctx ends.
	Run(ctx context.Context, report func(order.Result))
	// Status says what is in force.
	Status() (action string, until time.Time, isolated bool)
}

// Blocker blocks other machines, where this one forwards their packets.
type Blocker interface {
	// Do, Resume and Run are as those of Actor.
	Do(ctx context.Context, o order.Order) order.Result
	Resume(ctx context.Context) []order.Result
	Run(ctx context.Context, report func(order.Result))
}

// Container contains one thing of the machine: a process, a peer, a service.
type Container interface {
	Blocker
	// Can says whether it carries out orders of this kind.
	Can(k order.Kind) bool
	// InForce lists what is contained; it waits for nothing.
	InForce() []contain.Row
}

// Worker does orders that take long and can be cancelled.
type Worker interface {
	// Can says whether it carries out orders of this kind.
	Can(k order.Kind) bool
	// Do is as that of Actor; an order whose ctx ended is stopped.
	Do(ctx context.Context, o order.Order) order.Result
}

// Parts are the organs of the agent. A nil field is an organ it lacks; orders
// for it are rejected.
type Parts struct {
	// OpenSensor opens the sensor; it is tried again when it fails.
	OpenSensor func() (Sensor, error)
	Packets    Keeping
	// Owner finds the process that owns a connection.
	Owner func(proto string, local, remote netip.AddrPort) (Process, bool)
	Actor Actor
	// Gateway is there when the machine is a router or an inline bridge.
	Gateway Blocker
	// Contain does what stops less than the whole machine.
	Contain Container
	// Preserve collects evidence, reports each step and returns when done.
	Preserve func(ctx context.Context, o order.Order, report func(order.Result))
	// Backup backs up and restores; nil where no jobs are done.
	Backup Worker
	// Show shows a message to whoever sits here until it was seen everywhere or
	// its time is over; tell is called for each session.
	Show       func(ctx context.Context, n order.Note, tell func(screen.Sign)) error
	Collectors []collect.Collector
	Load       collect.Sampler
	// Guard stops ransomware; nil where no folder is guarded.
	Guard Guard
	// Shares stops clients that encrypt shares; nil where none are watched.
	Shares Shares
	// Measures are what thresholds are compared with.
	Measures func() []wire.Measure
	// VMs are the virtual machines that this one runs; nil where it runs none.
	VMs func() []wire.VM
}

// Agent is the running program.
type Agent struct {
	cfg     Config
	client  *link.Client
	id      link.Identity
	now     clock.Now
	log     *slog.Logger
	plain   outgoing // telemetry
	vital   outgoing // what the agent itself found
	results *link.Results
	orders  *memory
	parts   Parts
	names   *names

	collects collecting // evidence that is being collected

	pulse    chan struct{} // tell the hub now
	sensing  atomic.Bool
	sensor   atomic.Pointer[Sensor]
	ended    sensorSums    // of sensors that ended
	losing   atomic.Bool   // more than LossAlarm of the packets of the last minute were lost
	lost     atomic.Uint64 // events that could not be encoded
	unsaid   atomic.Uint64 // messages inside connections that were too many to tell
	refused  atomic.Uint64 // orders that were not the hub's
	offset   atomic.Int64  // hub's clock minus ours, ns
	lastBeat atomic.Int64  // when the hub answered last, ns

	unsaidBefore uint64 // unsaid of sensors that ended; the goroutine of the sensor uses it

	mu  sync.Mutex
	why string // why the sensor is off
}

// How many events may wait for the spools, and how large the one of what the
// agent found may be: nothing of it is given up for telemetry.
const (
	queued      = 16384
	queuedVital = 4096
	vitalBytes  = 64 << 20
)

// New opens the agent's state in cfg.Dir. Call Close when Run has returned.
func New(cfg Config, client *link.Client, now clock.Now, log *slog.Logger) (*Agent, error) {
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = 5 * time.Second
	}
	if cfg.FlushEvery <= 0 {
		cfg.FlushEvery = 900 * time.Millisecond
	}
	if cfg.LossAlarm <= 0 {
		cfg.LossAlarm = 0.01
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a := &Agent{cfg: cfg, client: client, id: client.Identity(), now: now, log: log.With("part", "agent"),
		names: newNames(), pulse: make(chan struct{}, 1)}
	var err error
	if a.results, err = link.OpenResults(filepath.Join(cfg.Dir, "results"), log); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if a.orders, err = openMemory(filepath.Join(cfg.Dir, "orders.json"), now()); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	open := func(name string, room int, most int64) (outgoing, error) {
		return openOutgoing(room, spool.Config{Dir: filepath.Join(cfg.Dir, name), MaxBytes: most, Log: log.With("part", name)})
	}
	if a.plain, err = open("spool", queued, cfg.SpoolBytes); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if a.vital, err = open("vital", queuedVital, vitalBytes); err != nil {
		return nil, errors.Join(fmt.Errorf("agent: %w", err), a.plain.spool.Close())
	}
	return a, nil
}

// Close closes the state.
func (a *Agent) Close() error { return errors.Join(a.plain.spool.Close(), a.vital.spool.Close()) }

// Run works until ctx ends. It returns after the last events are in the spool.
func (a *Agent) Run(ctx context.Context, parts Parts) error {
	a.parts = parts
	a.log.Info("agent runs", "host", a.id.Host, "site", a.id.Site, "version", a.cfg.Version)
	if parts.Actor != nil { // before anything else: a lease may have ended meanwhile
		for _, r := range parts.Actor.Resume(ctx) {
			a.answer(r)
		}
	}
	if parts.Gateway != nil {
		for _, r := range parts.Gateway.Resume(ctx) {
			a.answer(r)
		}
	}
	ends, stop := context.WithCancel(context.Background())
	var batches, rest sync.WaitGroup
	for _, o := range []outgoing{a.vital, a.plain} {
		batches.Go(func() { a.batch(ends, o) }) // outlives what fills the queue
		rest.Go(func() { a.client.Drain(ctx, o.spool) })
	}
	rest.Go(func() { a.results.Drain(ctx, a.client) })
	rest.Go(func() { a.beats(ctx) })
	if parts.Actor != nil {
		rest.Go(func() { parts.Actor.Run(ctx, a.answer) })
	}
	if parts.Gateway != nil {
		rest.Go(func() { parts.Gateway.Run(ctx, a.answer) })
	}
	if parts.Contain != nil {
		rest.Go(func() { // beside the rest: a service takes its time to stop, a directory to answer
			for _, r := range parts.Contain.Resume(ctx) {
				a.answer(r)
			}
			parts.Contain.Run(ctx, a.answer)
		})
	}
	rest.Go(func() { a.obey(ctx) })
	if parts.OpenSensor != nil {
		rest.Go(func() { a.sense(ctx) })
	} else {
		a.off(errors.New("no sensor in this build"))
	}
	if parts.Guard != nil {
		rest.Go(func() { a.guardFiles(ctx) })
	}
	if parts.Shares != nil {
		rest.Go(func() { a.guardShares(ctx) })
	}
	for _, c := range parts.Collectors {
		rest.Go(func() {
			if err := c.Run(ctx, a.plain.queue); err != nil {
				a.log.Error("collector ended", "collector", c.Name(), "err", err)
			}
		})
	}
	rest.Wait()
	stop()
	batches.Wait()
	a.log.Info("agent stopped", "waiting_bytes", a.waiting())
	return nil
}

// answer queues a result for the hub and lets the next heartbeat come at once.
// When the disk does not take it, it is sent at once or not at all.
func (a *Agent) answer(r order.Result) {
	if err := a.results.Put(r); err != nil {
		a.log.Error("result not queued", "order", r.Order, "phase", r.Phase, "err", err)
		ctx, cancel := context.WithTimeout(context.Background(), directTimeout)
		defer cancel()
		if err := a.client.Result(ctx, r); err != nil {
			a.log.Error("result lost", "order", r.Order, "phase", r.Phase, "err", err)
		}
	}
	a.beatNow()
}

// Infected tells the hub at once of a file in which an antivirus program found
// something. It is not given up for telemetry. It returns at once, and is safe
// for concurrent use.
func (a *Agent) Infected(e event.Event) { a.urgent(e) }

// directTimeout bounds sending a result past the queue.
const directTimeout = 10 * time.Second

func (a *Agent) beatNow() {
	select {
	case a.pulse <- struct{}{}:
	default:
	}
}

// Probe asks the hub for one heartbeat now.
func (a *Agent) Probe(ctx context.Context) error { return a.heartbeat(ctx, a.beat()) }

// heartbeat sends b and keeps what the hub says of the time.
func (a *Agent) heartbeat(ctx context.Context, b wire.Heartbeat) error {
	asked := a.now()
	reply, err := a.client.Heartbeat(ctx, b)
	if err != nil {
		return err
	}
	got := a.now()
	a.lastBeat.Store(got.UnixNano())
	a.offset.Store(int64(reply.At.Sub(asked.Add(got.Sub(asked) / 2)))) // it answered about half way
	return nil
}

// hubClockFor is how long an answer tells of the hub's clock.
const hubClockFor = 2 * time.Minute

// HubClock is how far the hub's clock is ahead of this machine's; false when
// the hub has not answered lately.
func (a *Agent) HubClock() (time.Duration, bool) {
	n := a.lastBeat.Load()
	if n == 0 || a.now().Sub(time.Unix(0, n)).Abs() > hubClockFor {
		return 0, false
	}
	return time.Duration(a.offset.Load()), true
}

// Ahead is how far the hub's clock was ahead of this machine's when the hub
// answered last; 0 before it ever did.
func (a *Agent) Ahead() time.Duration { return time.Duration(a.offset.Load()) }

// Answered is when the hub answered last; zero: not yet.
func (a *Agent) Answered() time.Time {
	n := a.lastBeat.Load()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// health gathers what the heartbeat says.
func (a *Agent) health() wire.Health {
	seen := a.sensorStats()
	h := wire.Health{Spool: a.waiting(), Dropped: a.Dropped(), SensorOn: a.sensing.Load(), SensorDrop: seen.Drops, SensorSeen: seen.Packets,
		SensorLosing: a.losing.Load()}
	if a.parts.Packets != nil {
		r := a.parts.Packets.Stats()
		h.RingBytes, h.RingSince, h.RingLost, h.RingOff = r.Bytes, r.Oldest, r.Lost, r.Trouble != ""
	}
	if a.parts.Load != nil {
		l := a.parts.Load.Sample()
		h.CPU, h.Memory, h.Disk = l.CPU, l.Memory, l.Disk
	}
	if a.parts.Measures != nil {
		h.Measures = a.parts.Measures()
	}
	if a.parts.VMs != nil {
		h.VMs = a.parts.VMs()
	}
	return h
}

// Dropped is how many events were given up, wherever, since the state was made.
func (a *Agent) Dropped() uint64 { return a.plain.dropped() + a.vital.dropped() + a.lost.Load() }

// waiting is how many bytes wait for the hub.
func (a *Agent) waiting() int64 { return a.plain.spool.Bytes() + a.vital.spool.Bytes() }
