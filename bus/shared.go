package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// shared is what hubs know of each other.
type shared struct {
	kv  jetstream.KeyValue
	hub string
	log *slog.Logger

	mu    sync.Mutex
	seen  map[string]sighting
	alive []string
}

// sighting is the last sign of life of a hub and when it was first seen here.
type sighting struct {
	count uint64
	at    time.Time
}

// presence is the value under which all hubs tell that they live: a number of
// each that only grows.
type presence map[string]uint64

// owns says whether this hub handles a partition now.
func (b *Bus) owns(partition int) bool {
	if b.shared == nil {
		return true
	}
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	return owned(partition, b.shared.hub, b.shared.alive)
}

// present is the key of presence.
const present = "hubs"

// meet tells once that this hub lives, and takes note of the others.
func (s *shared) meet(ctx context.Context) error {
	for ctx.Err() == nil {
		others, revision, err := s.read(ctx)
		if err != nil {
			return err
		}
		s.note(others, time.Now())
		others[s.hub]++
		s.forget(others)
		if err := s.write(ctx, others, revision); !lostRace(err) {
			return err
		}
		sleep(ctx, beat/50) // what was read may be a little old
	}
	return ctx.Err()
}

// leave takes this hub off the list, so that the others need not wait.
func (s *shared) leave(ctx context.Context) error {
	for ctx.Err() == nil {
		others, revision, err := s.read(ctx)
		if err != nil {
			return err
		}
		delete(others, s.hub)
		if err := s.write(ctx, others, revision); !lostRace(err) {
			return err
		}
		sleep(ctx, beat/50) // what was read may be a little old
	}
	return ctx.Err()
}

func (s *shared) read(ctx context.Context) (presence, uint64, error) {
	p := presence{}
	e, err := s.kv.Get(ctx, present)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return p, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(e.Value(), &p); err != nil {
		return nil, 0, fmt.Errorf("list of hubs: %w", err)
	}
	return p, e.Revision(), nil
}

func (s *shared) write(ctx context.Context, p presence, revision uint64) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if revision == 0 {
		_, err = s.kv.Create(ctx, present, text)
	} else {
		_, err = s.kv.Update(ctx, present, text, revision)
	}
	return err
}

// run tells every beat that this hub lives, until ctx ends.
func (s *shared) run(ctx context.Context) {
	heard, lost := time.Now(), false
	for ctx.Err() == nil {
		try, stop := context.WithTimeout(ctx, valid/2)
		err := s.meet(try)
		stop()
		switch {
		case err == nil:
			heard, lost = time.Now(), false
		case time.Since(heard) >= valid && ctx.Err() == nil && !lost:
			lost = true
			s.log.Warn("this hub does not reach the others and leaves them the work", "err", err)
			s.silent()
		}
		sleep(ctx, beat)
	}
	bye, stop := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer stop()
	if err := s.leave(bye); err != nil {
		s.log.Warn("the others wait until this hub is forgotten", "err", err)
	}
}

// forget removes hubs that were not heard for long from the list.
func (s *shared) forget(p presence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hub := range p {
		if at, ok := s.seen[hub]; ok && hub != s.hub && time.Since(at.at) > gone {
			delete(p, hub)
			delete(s.seen, hub)
		}
	}
}

// note takes what all hubs told and forgets those that stopped.
func (s *shared) note(p presence, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]sighting{}
	}
	var alive []string
	for hub, count := range p {
		if old, ok := s.seen[hub]; !ok || old.count != count {
			s.seen[hub] = sighting{count, now}
		}
		if now.Sub(s.seen[hub].at) < valid {
			alive = append(alive, hub)
		}
	}
	slices.Sort(alive)
	if !slices.Equal(alive, s.alive) {
		s.log.Info("hubs that share the work", "hubs", alive)
	}
	s.alive = alive
}

// silent says that the others were not heard for so long that this hub does
// not know who lives.
func (s *shared) silent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive = nil
}
