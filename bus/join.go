package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sonae/sonae/fault"
)

// deadStream holds what no handler can use, with the reason in a header.
const deadStream = "dead"

// ackWait is how long the server waits before it delivers again; a handler
// that takes longer keeps telling that it is alive. It is also how long a join
// stands still after a crash, because the server remembers what was under way:
// detection must not wait longer than a person would notice.
const ackWait = 5 * time.Second

// Join says who handles which messages. Its name is durable: what arrived
// while the hub was down is handled after the next start.
type Join struct {
	subject, name string
	max           int
	wait          time.Duration
	handle        func(ctx context.Context, messages [][]byte) error
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
	return Join{subject: subject, name: name, max: max, wait: wait, handle: handle}
}

// Join starts handling. All consumers exist when it returns, so nothing that
// is published afterwards can miss one. A handler's error is retried with
// growing pauses, in order, for as long as the bus runs; an error of kind
// fault.Invalid can never succeed and moves the message to the dead letters.
func (b *Bus) Join(ctx context.Context, joins ...Join) error {
	consumers := make([]jetstream.Consumer, len(joins))
	for i, j := range joins {
		c, err := b.consumer(ctx, j)
		if err != nil {
			return fmt.Errorf("join %s to %s: %w", j.name, j.subject, err)
		}
		consumers[i] = c
	}
	for i, j := range joins {
		b.pumps.Go(func() { b.pump(j, consumers[i]) })
	}
	return nil
}

func (b *Bus) consumer(ctx context.Context, j Join) (jetstream.Consumer, error) {
	stream, err := b.js.StreamNameBySubject(ctx, j.subject)
	if err != nil {
		return nil, err
	}
	return b.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: j.name, FilterSubject: j.subject, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: max(j.max, 1),
	})
}

// pump fetches and handles until the bus closes.
func (b *Bus) pump(j Join, c jetstream.Consumer) {
	log := b.log.With("join", j.name)
	for b.life.Err() == nil {
		got, err := b.fetch(j, c)
		if err != nil && b.life.Err() == nil {
			log.Error("bus does not deliver", "err", err)
			b.pause(time.Second)
			continue
		}
		if len(got) > 0 {
			b.handle(j, got)
		}
	}
}

// Bounds of what one fetch holds in memory, besides Join.max: it ends soon
// after fetchBytes, in steps of fetchStep messages.
const (
	fetchBytes = 16 << 20
	fetchStep  = 16
)

// fetch takes up to j.max messages, what there is within j.wait, and not much
// more than fetchBytes of them.
func (b *Bus) fetch(j Join, c jetstream.Consumer) ([]jetstream.Msg, error) {
	ctx, stop := context.WithTimeout(b.life, j.wait)
	defer stop()
	var got []jetstream.Msg
	for size := 0; len(got) < j.max && size < fetchBytes && ctx.Err() == nil; {
		step := min(fetchStep, j.max-len(got))
		batch, err := c.Fetch(step, jetstream.FetchContext(ctx))
		n := 0
		if err == nil {
			for m := range batch.Messages() {
				got = append(got, m)
				size += len(m.Data())
				n++
			}
			err = batch.Error()
		}
		if err != nil && ctx.Err() == nil {
			if len(got) > 0 { // these first; the trouble shows again
				return got, nil
			}
			return nil, err // else a server in trouble would be asked again without a pause
		}
		if n < step { // time is up: what comes to a request of the last milliseconds would wait for its repetition
			break
		}
	}
	return got, nil
}

// handle calls the handler until it succeeds, then acknowledges.
func (b *Bus) handle(j Join, got []jetstream.Msg) {
	bodies := make([][]byte, len(got))
	for i, m := range got {
		bodies[i] = m.Data()
	}
	alive := b.keepAlive(got)
	defer alive()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 20*time.Second) {
		err := j.handle(b.life, bodies)
		if b.life.Err() != nil && err != nil {
			return // not acknowledged: delivered again after the next start
		}
		if fault.Of(err) == fault.Invalid {
			err = b.bury(j, got, err)
		}
		if err == nil {
			b.acknowledge(j, got)
			return
		}
		b.log.Error("handler failed, trying again", "join", j.name, "subject", got[0].Subject(), "err", err)
		b.pause(pause)
		if b.life.Err() != nil {
			return
		}
	}
}

func (b *Bus) acknowledge(j Join, got []jetstream.Msg) {
	for _, m := range got {
		if err := m.Ack(); err != nil {
			b.log.Warn("acknowledge", "join", j.name, "err", err) // delivered again, handlers are idempotent
		}
	}
}

// keepAlive tells the server that the handler still works; the returned
// function ends that.
func (b *Bus) keepAlive(got []jetstream.Msg) func() {
	ctx, stop := context.WithCancel(b.life)
	b.pumps.Go(func() {
		tick := time.NewTicker(ackWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for _, m := range got {
					_ = m.InProgress() // if this fails the message comes again, which is safe
				}
			}
		}
	})
	return stop
}

// bury puts messages that can never be handled among the dead letters. A
// batch is buried one by one only if its handler names a single culprit, so
// handlers of batches must skip bad members themselves.
func (b *Bus) bury(j Join, got []jetstream.Msg, reason error) error {
	b.log.Error("message cannot be used", "join", j.name, "subject", got[0].Subject(), "err", reason)
	for _, m := range got {
		dead := nats.NewMsg(deadStream + "." + j.name)
		dead.Data = m.Data()
		dead.Header.Set("Sonae-Subject", m.Subject())
		dead.Header.Set("Sonae-Reason", reason.Error())
		if _, err := b.js.PublishMsg(b.life, dead); err != nil {
			return fmt.Errorf("bury message of %s: %w", j.name, errors.Join(reason, err))
		}
	}
	return nil
}

func (b *Bus) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-b.life.Done():
	case <-t.C:
	}
}

// Lag is how far a join is behind.
type Lag struct {
	Join    string `json:"join"`
	Stream  string `json:"stream"`
	Waiting uint64 `json:"waiting"` // messages not yet delivered
	Pending int    `json:"pending"` // delivered, not yet acknowledged
}

// Lags lists all joins, and the dead letters as join "dead".
func (b *Bus) Lags(ctx context.Context) ([]Lag, error) {
	var out []Lag
	streams := b.js.ListStreams(ctx)
	for s := range streams.Info() {
		if s.Config.Name == "DEAD" {
			out = append(out, Lag{Join: deadStream, Stream: s.Config.Name, Waiting: s.State.Msgs})
			continue
		}
		stream, err := b.js.Stream(ctx, s.Config.Name)
		if err != nil {
			return nil, fmt.Errorf("lags: %w", err)
		}
		list := stream.ListConsumers(ctx)
		for c := range list.Info() {
			out = append(out, Lag{Join: c.Name, Stream: s.Config.Name, Waiting: c.NumPending, Pending: c.NumAckPending})
		}
		if err := list.Err(); err != nil {
			return nil, fmt.Errorf("lags: %w", err)
		}
	}
	if err := streams.Err(); err != nil {
		return nil, fmt.Errorf("lags: %w", err)
	}
	return out, nil
}
