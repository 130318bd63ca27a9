package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// How hubs watch each other. Nobody's clock is compared with another's: who
// leads counts the time since it *sent* its last renewal, who waits the time
// since it first *saw* that renewal, and waits longer. The difference is what
// f has to end in, and far more than clocks differ in their pace.
const (
	beat  = time.Second
	valid = 4 * time.Second // after the last renewal was sent, the leader must have ended
	grace = 2 * time.Second // f has that long to return once its ctx is cancelled
	taken = valid + grace   // without a renewal for that long, another may lead
)

// leads keeps f of the same name from running twice in one process.
type leads struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

// enter waits for its turn.
func (l *leads) enter(ctx context.Context, name string) (leave func(), err error) {
	l.mu.Lock()
	if l.busy == nil {
		l.busy = map[string]chan struct{}{}
	}
	turn := l.busy[name]
	if turn == nil {
		turn = make(chan struct{}, 1)
		l.busy[name] = turn
	}
	l.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Lead runs f on exactly one of the hubs that share the bus, at once where
// the hub is alone. The ctx of f is cancelled when this hub may no longer
// lead; f must then return within two seconds, before another hub begins. Lead
// tries again until ctx ends, then returns nil; or until f returns by itself,
// then it returns f's error.
func (b *Bus) Lead(ctx context.Context, what string, f func(ctx context.Context) error) error {
	leave, err := b.leads.enter(ctx, what)
	if err != nil {
		return nil // ctx ended
	}
	defer leave()
	ctx, stop := b.within(ctx)
	defer stop()
	if b.shared == nil {
		return unlessDone(ctx, f(ctx))
	}
	log := b.log.With("lead", what)
	for ctx.Err() == nil {
		l := &lease{kv: b.shared.kv, key: "lead." + name(what), hub: b.shared.hub + " " + rand.Text(), log: log}
		if !l.acquire(ctx) {
			break
		}
		log.Info("this hub leads")
		err := l.hold(ctx, f)
		if !errors.Is(err, errLost) {
			return unlessDone(ctx, err)
		}
		log.Warn("this hub leads no longer")
	}
	return nil
}

func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// within ends ctx with the bus, too.
func (b *Bus) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	undo := context.AfterFunc(b.life, stop)
	return ctx, func() { undo(); stop() }
}

// lease is the right to lead. Its value names who has it; an empty value says
// that nobody does. Every renewal is a new revision, and each is written only
// over the one that was seen before: two can never both succeed.
type lease struct {
	kv       jetstream.KeyValue
	key, hub string // hub is different for every process and call
	log      *slog.Logger
	revision uint64    // of our last renewal, or of what we saw
	seen     time.Time // when revision was first seen, or our renewal sent
}

var errLost = errors.New("another hub may lead")

// acquire waits until the lease is ours; false when ctx ended.
func (l *lease) acquire(ctx context.Context) bool {
	for ctx.Err() == nil {
		ours, err := l.try(ctx)
		if ours {
			return true
		}
		if err != nil && ctx.Err() == nil {
			l.log.Warn("cannot ask who leads", "err", err)
		}
		sleep(ctx, beat/2)
	}
	return false
}

func (l *lease) try(ctx context.Context) (bool, error) {
	ctx, stop := context.WithTimeout(ctx, valid/2)
	defer stop()
	e, err := l.kv.Get(ctx, l.key)
	now := time.Now()
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return l.write(ctx, func() (uint64, error) { return l.kv.Create(ctx, l.key, []byte(l.hub)) })
	case err != nil:
		return false, err
	case e.Revision() != l.revision:
		l.revision, l.seen = e.Revision(), now
	}
	if len(e.Value()) == 0 || now.Sub(l.seen) >= taken {
		return l.write(ctx, func() (uint64, error) { return l.kv.Update(ctx, l.key, []byte(l.hub), l.revision) })
	}
	return false, nil
}

// write counts the time from before the request was sent.
func (l *lease) write(ctx context.Context, f func() (uint64, error)) (bool, error) {
	sent := time.Now()
	revision, err := f()
	if lostRace(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.revision, l.seen = revision, sent
	return true, nil
}

// lostRace says that somebody else wrote first. A server says it in one way, a
// cluster that keeps each message several times in another.
func lostRace(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) || errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// hold runs f while the lease is renewed. The monotonic clock of a machine
// stands still while it sleeps, the other one may be set: the lease is over
// when either says so.
func (l *lease) hold(ctx context.Context, f func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	var run sync.WaitGroup
	run.Go(func() { done <- f(inner) })
	defer run.Wait()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			l.release(ctx)
			return err
		case <-ctx.Done():
			cancel()
			err := <-done
			l.release(ctx)
			return err
		case <-tick.C:
		}
		if err := l.renew(ctx); err != nil {
			cancel()
			return errors.Join(errLost, err, <-done)
		}
	}
}

// renew renews once, or says that it cannot and the time is up. An answer that
// got lost is found again: nobody else writes our name.
func (l *lease) renew(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, min(beat, time.Until(l.seen.Add(valid)))) // a lost answer leaves time for another try
	defer stop()
	ours, err := l.write(ctx, func() (uint64, error) { return l.kv.Update(ctx, l.key, []byte(l.hub), l.revision) })
	if err == nil && !ours {
		ours, err = l.mine(ctx)
	}
	if err == nil && !ours {
		return errors.New("the lease was taken")
	}
	if time.Since(l.seen) >= valid || time.Now().Round(0).Sub(l.seen.Round(0)) >= valid {
		return fmt.Errorf("not renewed in time: %w", err)
	}
	return nil
}

// mine says whether the newest revision is an own one whose answer was lost.
// It then counts as sent when the last one was that is known: earlier.
func (l *lease) mine(ctx context.Context) (bool, error) {
	e, err := l.kv.Get(ctx, l.key)
	if err != nil {
		return false, err
	}
	if string(e.Value()) != l.hub {
		return false, nil
	}
	l.revision = e.Revision()
	return true, nil
}

// release lets another hub lead at once.
func (l *lease) release(ctx context.Context) {
	l.log.Info("this hub leads no longer")
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer stop()
	if _, err := l.kv.Update(ctx, l.key, nil, l.revision); err != nil {
		l.log.Warn("lease not given back, it runs out", "err", err)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
