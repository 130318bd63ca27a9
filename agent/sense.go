package agent

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/sonae/sonae/agent/sensor"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// sensorRetry is how long a sensor that cannot be opened is left alone: the
// interface may come later, or the permission.
const sensorRetry = 15 * time.Second

// sense runs the sensor, again and again when it ends.
func (a *Agent) sense(ctx context.Context) {
	for said := ""; ctx.Err() == nil; {
		err := a.senseOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("the sensor ended")
		}
		a.off(err)
		if err.Error() != said {
			said = err.Error()
			a.log.Warn("sensor is off, the agent goes on without it", "err", err)
		}
		pause(ctx, sensorRetry)
	}
}

func (a *Agent) senseOnce(ctx context.Context) error {
	here := newLocal()
	late := a.startLate()
	defer late.stop() // after the table was flushed
	s, err := a.parts.OpenSensor()
	if err != nil {
		return err
	}
	// One table for each queue; what they say comes together here, so that
	// whoever counts what a host does sees all of it.
	asked := newAsked(here.has, a.cfg.Mirror, a.plain.queue.Put)
	g := flow.NewGroup(s.Queues(), flow.Config{MaxFlows: a.cfg.MaxFlows, Emit: func(f flow.Flow) { a.flow(f, here, late) }, Tell: asked.message})
	a.sensor.Store(&s)
	a.sensing.Store(true)
	a.beatNow()
	defer func() {
		a.sensing.Store(false)
		a.sensor.Store(nil)
		a.ended.add(s.Stats())
	}()
	lanes := make([]sensor.Lane, g.Lanes())
	for i := range lanes {
		lanes[i] = g.Lane(i)
	}
	lanes[0] = ticking{lanes[0], func(now time.Time) {
		asked.tick(now)
		a.unsaid.Store(a.unsaidBefore + asked.count())
	}}
	err = s.Run(ctx, lanes)
	g.Flush() // Run has returned: nobody else uses the tables
	asked.flush()
	a.unsaidBefore += asked.count()
	a.unsaid.Store(a.unsaidBefore)
	return err
}

// ticking is a lane that something else is done for at each tick, too.
type ticking struct {
	sensor.Lane
	too func(now time.Time)
}

// Tick tells both the time.
func (l ticking) Tick(now time.Time) {
	l.Lane.Tick(now)
	l.too(now)
}

// flow turns what the table says into an event, with the process that owns the
// connection. An identified connection is reported at once, or as soon as its
// owner is known.
//
// What the machine only overhears, such as a neighbour's multicast, says
// nothing about this machine and is left out, unless it is there to listen.
func (a *Agent) flow(f flow.Flow, here *local, late *late) {
	if !here.has(f.Src.Addr()) && !here.has(f.Dst.Addr()) {
		if a.cfg.Mirror {
			a.overheard(f)
		}
		return
	}
	if f.Name != "" {
		a.names.put(f.Name, f.Dst.Addr())
	}
	e := flow.Event(f, here.has)
	owned := a.parts.Owner == nil || f.Phase == flow.End || // an ended connection has no owner left; the hub knows it from before
		f.Label == flow.LabelICMP || // the kernel answers, nobody owns it: do not wait
		a.owner(e, f)
	switch {
	case f.Phase != flow.Identified:
		a.plain.queue.Put(e)
	case owned || !late.put(e, f):
		a.urgent(e)
	}
}

// SensorMirror is the sensor of connections that an agent overheard: they are
// about the machine that has their local address, not about the agent's.
const SensorMirror = "mirror"

// overheard tells of a connection between other machines, which has no owner
// here.
func (a *Agent) overheard(f flow.Flow) {
	f.Sensor = SensorMirror
	e := flow.Event(f, inside)
	if f.Phase == flow.Identified {
		a.urgent(e)
		return
	}
	a.plain.queue.Put(e)
}

// inside takes the private networks for one's own.
func inside(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
}

// owner adds the process that owns a connection, and reports whether it is known.
func (a *Agent) owner(e event.Event, f flow.Flow) bool {
	mine, other := f.Src, f.Dst
	if e.Fields[event.FieldInitiated] != "true" {
		mine, other = f.Dst, f.Src
	}
	p, ok := a.parts.Owner(f.Proto, mine, other)
	if !ok {
		return false
	}
	for k, v := range map[string]string{event.FieldImage: p.Image, event.FieldCommand: p.Command, event.FieldUser: p.User, event.FieldPID: strconv.Itoa(p.PID)} {
		if v != "" {
			e.Fields[k] = v
		}
	}
	return true
}

func (a *Agent) off(why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.why = why.Error()
}

// local knows the machine's own addresses. It looks again every few seconds,
// because a machine may get others.
type local struct {
	mu   sync.Mutex
	own  map[netip.Addr]bool
	seen time.Time
}

const localEvery = 10 * time.Second

func newLocal() *local { return &local{} }

func (l *local) has(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.seen) > localEvery {
		l.seen = time.Now()
		l.own = map[netip.Addr]bool{}
		for _, own := range ownAddresses(true) {
			l.own[own] = true
		}
	}
	return l.own[a.Unmap().WithZone("")]
}
