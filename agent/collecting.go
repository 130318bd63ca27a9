package agent

import (
	"context"
	"errors"
	"sync"
)

// ErrCancelled is the cause of the end of a collection or of a job that a person cancelled.
var ErrCancelled = errors.New("agent: cancelled")

// collecting are the collections and jobs that run, by action. The zero value is ready;
// it is safe for concurrent use.
type collecting struct {
	mu  sync.Mutex
	all map[string]context.CancelCauseFunc
}

// begin notes a collection until stop.
func (c *collecting) begin(ctx context.Context, action string) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]context.CancelCauseFunc{}
	}
	c.all[action] = cancel
	return ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.all, action)
		cancel(nil)
	}
}

// cancel ends a collection. It returns why there was nothing to end, or "".
func (c *collecting) cancel(action string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	cancel, ok := c.all[action]
	if !ok {
		return "nothing-runs"
	}
	cancel(ErrCancelled)
	return ""
}
