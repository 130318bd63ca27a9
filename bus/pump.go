package bus

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sonae/sonae/fault"
)

// pump moves messages from one consumer to a handler.
type pump struct {
	life   context.Context // ends with the bus, or with the right to handle
	b      *Bus
	j      Join
	lane   lane
	after  *pump // nothing is fetched before this one has nothing left
	log    *slog.Logger
	stream string
	from   jetstream.Consumer
	held   held
	leads  bool // no other hub handles for this join
	ill    bool // the bus does not deliver: said once
}

func (b *Bus) newPump(j Join, l lane) *pump {
	return &pump{life: b.life, b: b, j: j, lane: l, log: b.log.With("join", j.name), held: held{since: map[jetstream.Msg]time.Time{}}}
}

// connect makes the consumer or finds it. A hub that has the bus for itself, or
// that leads, takes back what an earlier run or leader left unfinished, in
// order; among several that would take it away from those that live.
func (p *pump) connect(ctx context.Context) (err error) {
	if p.stream, err = p.b.js.StreamNameBySubject(ctx, p.j.subject); err != nil {
		return err
	}
	want := p.b.config(p.j, p.lane)
	if p.from, err = p.b.js.CreateOrUpdateConsumer(ctx, p.stream, want); err != nil {
		return err
	}
	if (p.b.shared == nil || p.leads) && p.from.CachedInfo().NumAckPending > 0 {
		_, err = p.b.js.ResetConsumer(ctx, p.stream, p.lane.name)
	}
	return err
}

// run fetches and handles until the bus closes.
func (p *pump) run() {
	defer p.giveBack()
	var aside sync.WaitGroup
	defer aside.Wait()
	aside.Go(p.keepAlive)
	if !p.waitTurn() {
		return
	}
	if p.j.max == 1 {
		for got := range p.windows {
			p.handle(got)
		}
		return
	}
	ready := make(chan []jetstream.Msg) // unbuffered: one window is handled, at most one more is held
	aside.Go(func() {
		defer close(ready)
		for got := range p.windows {
			select {
			case ready <- got:
			case <-p.life.Done():
				return
			}
		}
	})
	for got := range ready {
		p.handle(got)
	}
}

// giveBack lets the other hubs go on with what this one, which closes, did not
// finish, as soon as its own requests are gone. A hub that is alone takes it back when it starts.
func (p *pump) giveBack() {
	if p.b.shared == nil {
		return
	}
	for _, m := range p.held.older(0) {
		_ = m.NakWithDelay(beat / 2) // if this fails the server waits a little
	}
}

// waitTurn waits until the pump before has nothing left.
func (p *pump) waitTurn() bool {
	for p.after != nil && p.life.Err() == nil {
		info, err := p.after.from.Info(p.life)
		if err == nil && info.NumPending == 0 && info.NumAckPending == 0 {
			break
		}
		p.pause(100 * time.Millisecond)
	}
	return p.life.Err() == nil
}

// windows yields what is fetched, while the partition is this hub's.
func (p *pump) windows(yield func([]jetstream.Msg) bool) {
	for p.life.Err() == nil {
		if p.j.cut && !p.b.owns(p.lane.partition) {
			p.pause(beat / 4)
			continue
		}
		goes, err := p.deliver(yield)
		if !goes {
			return
		}
		if err != nil && p.life.Err() == nil {
			if !p.ill {
				p.log.Error("bus does not deliver", "err", err)
			}
			p.ill = true
			p.pause(time.Second)
			p.renew()
			continue
		}
		if p.ill && err == nil {
			p.ill = false
			p.log.Info("bus delivers again")
		}
	}
}

// deliver yields one window; of a join that takes one message at a time it
// yields up to fetchStep of them, each as it comes: the server sends the next
// one when this one is acknowledged. It says whether more is wanted.
func (p *pump) deliver(yield func([]jetstream.Msg) bool) (goes bool, err error) {
	if p.j.max > 1 {
		got, err := p.fetch()
		return len(got) == 0 || yield(got), err
	}
	goes = true
	err = p.listen(fetchStep, patience, func(m jetstream.Msg) bool {
		goes = yield([]jetstream.Msg{m})
		return goes
	})
	return goes, err
}

// renew makes the consumer of an Each join again that vanished while the hub
// was cut off.
func (p *pump) renew() {
	if !p.j.each {
		return
	}
	if err := p.connect(p.life); err != nil && p.life.Err() == nil {
		p.log.Warn("consumer not made again", "err", err)
	}
}

// Bounds of what one fetch holds in memory, besides Join.max: it ends soon
// after fetchBytes, in steps of fetchStep messages.
const (
	fetchBytes = 16 << 20
	fetchStep  = 16
)

// patience is how long one request may wait at the server. It bounds how long
// a server that died with the request is waited for, and how long a partition
// is kept that now belongs to another hub.
const patience = 2 * time.Second

// fetch takes up to j.max messages and not much more than j.bytes of them:
// what comes until the first of them is j.wait old. So what had to wait while
// the hub was down does not wait again.
func (p *pump) fetch() ([]jetstream.Msg, error) {
	end := time.Now().Add(p.j.wait)
	var got []jetstream.Msg
	for size := 0; len(got) < p.j.max && size < p.j.bytes && time.Now().Before(end) && p.life.Err() == nil; {
		step := min(fetchStep, p.j.max-len(got))
		arrived, err := p.request(end, step)
		for _, m := range arrived {
			size += sizeOf(m)
		}
		if len(got) == 0 && len(arrived) > 0 {
			end = p.due(arrived[0], end)
		}
		got = append(got, arrived...)
		if err != nil && p.life.Err() == nil {
			if len(got) > 0 { // these first; the trouble shows again
				return got, nil
			}
			return nil, err // else a server in trouble would be asked again without a pause
		}
	}
	return got, nil
}

// catchUp is how long a window stays open for what else is there when its
// first message has waited long enough.
const catchUp = 300 * time.Millisecond

// due is when a window that begins with m must be handled.
func (p *pump) due(m jetstream.Msg, end time.Time) time.Time {
	meta, err := m.Metadata()
	if err != nil {
		return end
	}
	due := meta.Timestamp.Add(p.j.wait)
	if soon := time.Now().Add(catchUp); due.Before(soon) {
		due = soon
	}
	if due.Before(end) {
		return due
	}
	return end
}

// request asks once.
func (p *pump) request(end time.Time, step int) (got []jetstream.Msg, err error) {
	left := max(min(patience, time.Until(end)), 5*time.Millisecond)
	err = p.listen(step, left, func(m jetstream.Msg) bool {
		got = append(got, m)
		return true
	})
	return got, err
}

// listen asks for up to step messages and calls take with each until it
// returns false. It does not stop
// to listen before the server stopped to send: what came to nobody would only
// come again much later.
func (p *pump) listen(step int, left time.Duration, take func(m jetstream.Msg) bool) error {
	batch, err := p.from.Fetch(step, jetstream.FetchMaxWait(left))
	if err != nil {
		return err
	}
	for messages := batch.Messages(); ; {
		select {
		case <-p.life.Done():
			return p.life.Err()
		case m, more := <-messages:
			if !more {
				return batch.Error()
			}
			m = p.read(m)
			p.held.add(m)
			if !take(m) {
				return nil
			}
		}
	}
}

// readMsg is a message of a join that reads what arrives.
type readMsg struct {
	jetstream.Msg
	value any
	size  int
}

func (p *pump) read(m jetstream.Msg) jetstream.Msg {
	if p.j.read == nil {
		return m
	}
	value, size := p.j.read(p.life, m.Data())
	return &readMsg{m, value, size}
}

func sizeOf(m jetstream.Msg) int {
	if r, ok := m.(*readMsg); ok {
		return r.size
	}
	return len(m.Data())
}

func bodies(got []jetstream.Msg) [][]byte {
	out := make([][]byte, len(got))
	for i, m := range got {
		out[i] = m.Data()
	}
	return out
}

// eachTries is how often an Each join tries a message.
const eachTries = 5

// handle calls the handler until it succeeds, then acknowledges.
func (p *pump) handle(got []jetstream.Msg) {
	if p.j.once {
		p.acknowledge(got)
		p.held.remove(got)
		if err := p.call(got); err != nil {
			p.log.Error("message given up", "subject", got[0].Subject(), "err", err)
		}
		return
	}
	pause := 100 * time.Millisecond
	for try := 1; ; try++ {
		err := p.call(got)
		if p.life.Err() != nil && err != nil {
			return // not acknowledged: delivered again after the next start
		}
		if p.j.each && err != nil && (try == eachTries || fault.Of(err) == fault.Invalid) {
			p.log.Error("message given up", "subject", got[0].Subject(), "err", err)
			err = nil
		}
		if fault.Of(err) == fault.Invalid {
			err = p.bury(got, err)
		}
		if err == nil {
			p.acknowledge(got)
			p.held.remove(got)
			return
		}
		p.log.Error("handler failed, trying again", "subject", got[0].Subject(), "err", err)
		p.pause(pause)
		pause = min(2*pause, 20*time.Second)
		if p.life.Err() != nil {
			return
		}
	}
}

func (p *pump) call(got []jetstream.Msg) error {
	switch {
	case p.j.raw != nil:
		return p.j.raw(p.life, got[0])
	case p.j.readied != nil:
		return p.j.readied(p.life, got)
	}
	return p.j.handle(p.life, bodies(got))
}

func (p *pump) acknowledge(got []jetstream.Msg) {
	for _, m := range got {
		if err := m.Ack(); err != nil {
			p.log.Warn("acknowledge", "err", err) // delivered again, handlers are idempotent
		}
	}
}

// held are the messages that were delivered and are not finished, with the
// time of their arrival.
type held struct {
	mu    sync.Mutex
	since map[jetstream.Msg]time.Time
}

func (h *held) add(m jetstream.Msg) { h.mu.Lock(); defer h.mu.Unlock(); h.since[m] = time.Now() }

func (h *held) remove(got []jetstream.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range got {
		delete(h.since, m)
	}
}

// older lists the messages that are held for so long.
func (h *held) older(age time.Duration) (out []jetstream.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for m, since := range h.since {
		if time.Since(since) >= age {
			out = append(out, m)
		}
	}
	return out
}

// keepAlive tells the server which messages are still being worked on. Most
// are finished before they have to be mentioned once.
func (p *pump) keepAlive() {
	wait := p.b.config(p.j, p.lane).AckWait
	tick := time.NewTicker(wait / 3)
	defer tick.Stop()
	for {
		select {
		case <-p.life.Done():
			return
		case <-tick.C:
			for _, m := range p.held.older(wait / 4) {
				_ = m.InProgress() // if this fails the message comes again, which is safe
			}
		}
	}
}

func (p *pump) pause(d time.Duration) { sleep(p.life, d) }

func isMissing(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}

// name makes a text usable as part of a consumer's or key's name.
func name(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '_'
	}, s)
}
