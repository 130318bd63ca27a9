// Package keep lets what correlations count outlive the hub, and counts each
// message once.
//
// In: messages of matches, at least once and in about the order in which they
// were published. Out: findings, published under ids that are the same
// whenever the same messages are counted again. Always true: when Save has
// returned, the findings of everything that was taken before it began are
// published and a state that contains it is durable; whoever acknowledges only
// then loses nothing to a kill, and counts nothing twice.
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

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/detect"
)

// Message is what correlations must be told of a batch, or of a part of it.
type Message struct {
	ID      string         `json:"id"` // the same for the same part of the same batch
	Matches []detect.Match `json:"matches"`
}

// Deps is what a Keeper works with.
type Deps struct {
	Engine  func() *detect.Engine
	Store   blob.Store
	Publish func(ctx context.Context, id string, found []detect.Finding) error
	Log     *slog.Logger
}

// Keeper counts on one hub of all, between two calls of Begin. It is safe for
// concurrent use.
type Keeper struct {
	deps    Deps
	saving  sync.Mutex // held while a state is put in force, and by Hold
	mu      sync.Mutex
	seen    seen
	waiting []parcel // findings that could not be published yet
	shelf   shelf
}

// parcel is findings that are published together.
type parcel struct {
	id    string
	found []detect.Finding
}

// maxParcel bounds a message of findings, in bytes.
const maxParcel = 1 << 20

// New makes a Keeper that has taken nothing.
func New(d Deps) *Keeper {
	return &Keeper{deps: d, shelf: shelf{store: d.Store, log: d.Log, what: "correlations"}}
}

// Begin makes the engine count on from the state that was saved last, wherever
// that was. A state that cannot be used is said and left: watching on from zero
// is better than not watching.
func (k *Keeper) Begin(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen, k.waiting = seen{}, nil
	k.deps.Engine().Forget()
	body, err := k.shelf.load(ctx)
	switch {
	case errors.Is(err, errDamaged):
		k.deps.Log.Error("what correlations had counted is lost, they begin from zero", "err", err)
		return nil
	case err != nil:
		return fmt.Errorf("state of correlations: %w", err)
	case body == nil:
		return nil
	}
	if err := k.restore(body); err != nil {
		k.seen = seen{}
		k.deps.Log.Error("what correlations had counted is lost, they begin from zero", "err", err)
	}
	k.shelf.sweep(ctx)
	return nil
}

// restore reads the ids that were taken, one line, and the engine's state.
func (k *Keeper) restore(body []byte) error {
	r := bufio.NewReader(bytes.NewReader(body))
	line, err := r.ReadBytes('\n')
	if err != nil {
		return errDamaged
	}
	var ids []string
	if err := json.Unmarshal(line, &ids); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	begun, err := k.deps.Engine().Restore(r)
	if err != nil {
		return err
	}
	for _, id := range ids {
		k.seen.add(id)
	}
	for _, id := range begun {
		k.deps.Log.Warn("a correlation begins from zero: it is new, or its rules were changed", "rule", id)
	}
	return nil
}

// Take counts a message, unless it was taken before, and publishes what it
// completes. It returns about how many bytes are waiting for Save.
func (k *Keeper) Take(ctx context.Context, body []byte) int {
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		k.deps.Log.Error("matches cannot be read", "err", err) // published by the hub itself
		return len(body)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.seen.add(m.ID) {
		return len(body)
	}
	groups, err := detect.Parcels(k.deps.Engine().Correlate(m.Matches), maxParcel)
	if err != nil { // an event that came as JSON can be written as JSON
		k.deps.Log.Error("findings cannot be written", "err", err)
	}
	for i, found := range groups {
		k.waiting = append(k.waiting, parcel{fmt.Sprintf("correlated %s/%d", m.ID, i), found})
	}
	if err := k.publish(ctx); err != nil && ctx.Err() == nil {
		k.deps.Log.Warn("findings wait to be published", "err", err) // Save tries again
	}
	return len(body)
}

// publish hands on what waits, in order.
func (k *Keeper) publish(ctx context.Context) error {
	for len(k.waiting) > 0 {
		p := k.waiting[0]
		if err := k.deps.Publish(ctx, p.id, p.found); err != nil {
			return fmt.Errorf("publish findings: %w", err)
		}
		k.waiting = k.waiting[1:]
	}
	return nil
}

// Hold keeps the state in force until release is called: nothing that is not in
// it can be acknowledged meanwhile.
func (k *Keeper) Hold() (release func()) {
	k.saving.Lock()
	return k.saving.Unlock
}

// Save makes what was taken last. After an error it can be called again.
func (k *Keeper) Save(ctx context.Context) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	body, err := k.snapshot(ctx)
	if err != nil {
		return err
	}
	return k.shelf.save(ctx, body)
}

// snapshot is the state after everything that it contains was published.
func (k *Keeper) snapshot(ctx context.Context) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.publish(ctx); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(k.seen.list()); err != nil { // ends the line
		return nil, fmt.Errorf("ids of messages: %w", err)
	}
	if err := k.deps.Engine().Snapshot(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
