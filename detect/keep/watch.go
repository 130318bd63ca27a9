package keep

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
)

// WatchDeps is what a Watcher works with.
type WatchDeps struct {
	Watch *baseline.Watch
	Store blob.Store
	// Decode reads the message of a batch.
	Decode func(ctx context.Context, body []byte) (event.Batch, error)
	// Publish hands behaviours on as a batch of their host.
	Publish func(ctx context.Context, b event.Batch) error
	Now     clock.Now
	Log     *slog.Logger
}

// Watcher lets what is known of hosts outlive the hub. Begin, Take and Save are
// as those of Keeper, with one difference: a state is large and changes slowly,
// so Save writes it at most once in saveEvery, and what is acknowledged between
// may be lost to a kill. Behaviours that were found are published before their
// messages are acknowledged, so those are not. It is safe for concurrent use.
type Watcher struct {
	deps    WatchDeps
	mu      sync.Mutex
	seen    seen
	waiting []event.Batch // behaviours that could not be published yet
	saved   time.Time
	shelf   shelf
}

// saveEvery is how much a kill may take from what hosts were seen to do: a
// minute of weeks.
const saveEvery = time.Minute

// NewWatcher makes a Watcher that has taken nothing.
func NewWatcher(d WatchDeps) *Watcher {
	return &Watcher{deps: d, shelf: shelf{store: d.Store, log: d.Log, what: "baselines"}}
}

// Begin goes on from the state that was saved last, wherever that was. A state
// that cannot be used is said and left.
func (w *Watcher) Begin(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, w.waiting, w.saved = seen{}, nil, w.deps.Now()
	w.deps.Watch.Forget()
	body, err := w.shelf.load(ctx)
	if err == nil && body != nil {
		err = w.restore(body)
	}
	switch {
	case errors.Is(err, errDamaged) || errors.Is(err, baseline.ErrState):
		w.seen = seen{}
		w.deps.Log.Error("what was known of hosts is lost, they are learned anew", "err", err)
	case err != nil:
		return fmt.Errorf("state of baselines: %w", err)
	}
	w.shelf.sweep(ctx)
	return nil
}

// restore reads the ids that were taken, one line, and what is known of hosts.
func (w *Watcher) restore(body []byte) error {
	r := bufio.NewReader(bytes.NewReader(body))
	line, err := r.ReadBytes('\n')
	if err != nil {
		return errDamaged
	}
	var ids []string
	if err := json.Unmarshal(line, &ids); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err := w.deps.Watch.Restore(r); err != nil {
		return err
	}
	for _, id := range ids {
		w.seen.add(id)
	}
	return nil
}

// Take observes a batch, unless it was taken before, and publishes the
// behaviours that it completes. It returns about how many bytes wait for Save.
func (w *Watcher) Take(ctx context.Context, body []byte) int {
	b, err := w.deps.Decode(ctx, body)
	if err != nil {
		w.deps.Log.Error("stored batch cannot be read", "err", err)
		return len(body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen.add(b.ID) {
		return len(body)
	}
	found := w.observe(b)
	if len(found.Events) > 0 {
		w.waiting = append(w.waiting, found)
	}
	if err := w.publish(ctx); err != nil && ctx.Err() == nil {
		w.deps.Log.Warn("behaviours wait to be published", "err", err) // Save tries again
	}
	return len(body)
}

// observe returns the behaviours as a batch whose id follows from b's.
func (w *Watcher) observe(b event.Batch) event.Batch {
	out := event.Batch{ID: "behaviours of " + b.ID, Site: b.Site, Host: b.Host, SentAt: b.SentAt}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Site == "" {
			e.Site = b.Site
		}
		if e.Host == "" {
			e.Host = b.Host
		}
		o, ok := baseline.Of(e)
		if !ok {
			continue
		}
		for _, found := range w.deps.Watch.Observe(o) {
			found.Host = b.Host // of a sensor that watches others: it stands in LocalIp
			out.Events = append(out.Events, found)
		}
	}
	return out
}

func (w *Watcher) publish(ctx context.Context) error {
	for len(w.waiting) > 0 {
		if err := w.deps.Publish(ctx, w.waiting[0]); err != nil {
			return fmt.Errorf("publish behaviours: %w", err)
		}
		w.waiting = w.waiting[1:]
	}
	return nil
}

// Save publishes what waits and, when it is time, makes what was taken last.
// After an error it can be called again.
func (w *Watcher) Save(ctx context.Context) error {
	w.mu.Lock()
	err := w.publish(ctx)
	due := w.deps.Now().Sub(w.saved) >= saveEvery
	w.mu.Unlock()
	if err != nil || !due {
		return err
	}
	return w.Keep(ctx)
}

// Keep makes what was taken last, now.
func (w *Watcher) Keep(ctx context.Context) error {
	w.mu.Lock()
	var body bytes.Buffer
	err := json.NewEncoder(&body).Encode(w.seen.list()) // ends the line
	if err == nil {
		err = w.deps.Watch.Snapshot(&body)
	}
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("state of baselines: %w", err)
	}
	if err := w.shelf.save(ctx, body.Bytes()); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saved = w.deps.Now()
	return nil
}
