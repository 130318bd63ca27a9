package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sonae/sonae/fault"
)

// How long the server waits before it delivers again; a handler that takes
// longer keeps telling that it is alive. It is also how long a join stands
// still when a hub of several died, because the server remembers what was
// under way. A hub that has the bus for itself takes back what was under way
// when it starts, so it can wait longer and tell less often where many
// messages are held at once.
const (
	ackWait      = 5 * time.Second
	batchAckWait = 9 * time.Second
	aloneAckWait = time.Minute
)

// gone is after how long the consumer of an Each join vanishes with its hub.
const gone = time.Minute

// Join says who handles which messages. Its name is durable: what arrived
// while the hub was down is handled after the next start. Hubs that share a
// bus share the work of a join, each message is handled by one of them.
type Join struct {
	subject, name  string
	max            int
	wait           time.Duration
	handle         func(ctx context.Context, messages [][]byte) error
	raw            func(ctx context.Context, m jetstream.Msg) error // instead of handle, one at a time
	bytes          int                                              // a batch ends soon after so many
	read           func(ctx context.Context, body []byte) (value any, size int)
	readied        func(ctx context.Context, got []jetstream.Msg) error // instead of handle, where there is read
	each, cut, led bool
	once           bool
}

// On handles messages one at a time, decoded from JSON.
func On[T any](subject, name string, handle func(context.Context, T) error) Join {
	return OnBytes(subject, name, func(ctx context.Context, body []byte) error {
		var v T
		if err := json.Unmarshal(body, &v); err != nil {
			return fault.New(fault.Invalid, "bus.message").With(err)
		}
		return handle(ctx, v)
	})
}

// OnBytes handles messages one at a time as they are.
func OnBytes(subject, name string, handle func(context.Context, []byte) error) Join {
	return Join{subject: subject, name: name, max: 1, wait: 5 * time.Second,
		handle: func(ctx context.Context, m [][]byte) error { return handle(ctx, m[0]) }}
}

// OnBatch handles up to max messages at once, whatever arrived within wait.
func OnBatch(subject, name string, max int, wait time.Duration, handle func(context.Context, [][]byte) error) Join {
	return Join{subject: subject, name: name, max: max, wait: wait, bytes: fetchBytes, handle: handle}
}

// Arrived is a message with what its join made of it when it came.
type Arrived[T any] struct {
	Body  []byte
	Value T
}

// OnArrival handles batches as OnBatch does, and reads each message as it
// arrives, before its batch is complete: once, unless it is delivered again.
// What read returns is kept until the batch was handled, and a batch ends when
// the sizes that read tells, in bytes, add up to about bytes; another batch
// fills meanwhile. read must be quick.
func OnArrival[T any](subject, name string, max int, wait time.Duration, bytes int,
	read func(context.Context, []byte) (value T, size int), handle func(context.Context, []Arrived[T]) error) Join {
	return Join{subject: subject, name: name, max: max, wait: wait, bytes: bytes,
		read: func(ctx context.Context, body []byte) (any, int) { return read(ctx, body) },
		readied: func(ctx context.Context, got []jetstream.Msg) error {
			all := make([]Arrived[T], len(got))
			for i, m := range got {
				value, _ := m.(*readMsg).value.(T) // a nil interface is none
				all[i] = Arrived[T]{m.Data(), value}
			}
			return handle(ctx, all)
		}}
}

// Each makes every hub get every message that is published while the hub
// runs, for what only concerns its own pages and connections. A message is
// given up after a few failures, and what a hub that is gone did not handle
// is forgotten after a minute.
func (j Join) Each() Join {
	j.each = true
	return j
}

// Partitioned handles messages whose subjects end with the same token, such
// as those of one host, one at a time, in order and on the same hub, and
// others beside them, spread over all hubs and cores: handle is called
// concurrently. When a hub dies another one takes over within ten seconds.
// The subject must be the whole of a stream in Config.Partitioned, and the
// join take one message at a time.
func (j Join) Partitioned() Join {
	j.cut = true
	return j
}

// Once makes a message be handled at most once: it is acknowledged before, so
// that what a hub was doing when it died is not done again.
func (j Join) Once() Join {
	j.once = true
	return j
}

// Led makes the join wait for a call of Handle: for what only the hub that
// leads something may do.
func (j Join) Led() Join {
	j.led = true
	return j
}

// Handle handles the messages of a Led join until ctx ends, and returns when
// the last handler has. What the hub that led before did not finish comes
// first, in the order in which it was published. The caller leads.
func (b *Bus) Handle(ctx context.Context, name string) error {
	b.led.Lock()
	j, known := b.waiting[name]
	b.led.Unlock()
	if !known {
		return fmt.Errorf("handle %s: no such join", name)
	}
	p := b.newPump(j, lane{name: j.name, filters: b.parts.filters(j.subject)})
	life, stop := b.within(ctx)
	defer stop()
	p.life, p.leads = life, true
	if err := p.connect(life); err != nil {
		if life.Err() != nil {
			return nil
		}
		return fmt.Errorf("handle %s: %w", name, err)
	}
	p.run()
	return nil
}

// Join starts handling. All consumers exist when it returns, so nothing that
// is published afterwards can miss one. A handler's error is retried with
// growing pauses, in order, for as long as the bus runs; an error of kind
// fault.Invalid can never succeed and moves the message to the dead letters.
func (b *Bus) Join(ctx context.Context, joins ...Join) error {
	var pumps []*pump
	for _, j := range joins {
		var ps []*pump
		err := b.patiently(ctx, func(ctx context.Context) (err error) { ps, err = b.pumpsOf(ctx, j); return err })
		if err != nil {
			return fmt.Errorf("join %s to %s: %w", j.name, j.subject, err)
		}
		pumps = append(pumps, ps...)
	}
	for _, p := range pumps {
		b.pumps.Go(p.run)
	}
	return nil
}

// pumpsOf makes the consumers of a join and what drives them.
func (b *Bus) pumpsOf(ctx context.Context, j Join) ([]*pump, error) {
	if j.each {
		return b.eachPump(ctx, j)
	}
	if j.cut {
		return b.partitionPumps(ctx, j)
	}
	p := b.newPump(j, lane{name: j.name, filters: b.parts.filters(j.subject)})
	if err := p.connect(ctx); err != nil || !j.led {
		return []*pump{p}, err
	}
	b.led.Lock()
	defer b.led.Unlock()
	b.waiting[j.name] = j
	return nil, nil
}

// eachPump removes the consumer that the join had while it was shared by all
// hubs: nobody would read it any more, and it would keep every message.
func (b *Bus) eachPump(ctx context.Context, j Join) ([]*pump, error) {
	p := b.newPump(j, lane{name: j.name + "-each-" + name(b.cfg.Hub), filters: b.parts.filters(j.subject)})
	if err := p.connect(ctx); err != nil {
		return nil, err
	}
	err := b.js.DeleteConsumer(ctx, p.stream, j.name)
	if err != nil && !isMissing(err) {
		return nil, err
	}
	return []*pump{p}, nil
}

// partitionPumps makes the new consumers before the old one stops to see their
// messages, and lets all wait until what it still has is handled.
func (b *Bus) partitionPumps(ctx context.Context, j Join) ([]*pump, error) {
	lanes, err := b.parts.lanes(j)
	if err != nil {
		return nil, err
	}
	slots := make(chan struct{}, runtime.GOMAXPROCS(0)) // more at once would only cost memory
	inner := j.handle
	j.handle = func(ctx context.Context, m [][]byte) error {
		slots <- struct{}{}
		defer func() { <-slots }()
		return inner(ctx, m)
	}
	pumps := make([]*pump, len(lanes))
	for i := len(lanes) - 1; i >= 0; i-- {
		pumps[i] = b.newPump(j, lanes[i])
		if err := pumps[i].connect(ctx); err != nil {
			return nil, err
		}
		if i > 0 {
			continue
		}
		for _, p := range pumps[1:] {
			p.after = pumps[0]
		}
	}
	return pumps, nil
}

// config is what the server shall know of a lane.
func (b *Bus) config(j Join, l lane) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable: l.name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: 1,
		Metadata: map[string]string{"join": j.name},
	}
	if len(l.filters) == 1 {
		c.FilterSubject = l.filters[0]
	} else {
		c.FilterSubjects = l.filters
	}
	if j.max > 1 { // one window is handled while the next one fills
		c.AckWait, c.MaxAckPending = aloneAckWait, 2*j.max
		if b.shared != nil {
			c.AckWait, c.MaxAckPending = batchAckWait, 8*j.max
		}
	}
	if j.each {
		c.InactiveThreshold, c.DeliverPolicy = gone, jetstream.DeliverNewPolicy
	}
	return c
}
