package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sonae/sonae/action/order"
)

// Results keeps what the agent has to answer on disk until the hub has taken
// it, oldest first. It is safe for concurrent use.
type Results struct {
	dir  string
	log  *slog.Logger
	wake chan struct{}

	mu   sync.Mutex
	next uint64
}

// maxResults bounds the queue; an agent answers a handful of times an hour.
const maxResults = 5000

// ErrResultsFull says that the hub has not taken results for very long.
var ErrResultsFull = errors.New("result queue is full")

// OpenResults opens or makes the queue in dir.
func OpenResults(dir string, log *slog.Logger) (*Results, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open results: %w", err)
	}
	q := &Results{dir: dir, log: log.With("part", "results"), wake: make(chan struct{}, 1), next: 1}
	names, err := q.names()
	if err != nil {
		return nil, fmt.Errorf("open results: %w", err)
	}
	if len(names) > 0 {
		last, err := strconv.ParseUint(strings.TrimSuffix(names[len(names)-1], ".json"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("open results: %w", err)
		}
		q.next = last + 1
	}
	return q, nil
}

// names lists the queue, oldest first: names have a fixed width.
func (q *Results) names() ([]string, error) {
	entries, err := os.ReadDir(q.dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// Put queues a result; it is on the disk when Put returns nil.
func (q *Results) Put(r order.Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("queue result: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	names, err := q.names()
	if err != nil {
		return fmt.Errorf("queue result: %w", err)
	}
	if len(names) >= maxResults {
		return fmt.Errorf("queue result of %s: %w", r.Order, ErrResultsFull)
	}
	if err := WriteFile(filepath.Join(q.dir, fmt.Sprintf("%020d.json", q.next)), b); err != nil {
		return fmt.Errorf("queue result of %s: %w", r.Order, err)
	}
	q.next++
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// first returns the oldest result and its file.
func (q *Results) first() (order.Result, string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	names, err := q.names()
	if err != nil {
		q.log.Error("result queue", "err", err)
		return order.Result{}, "", false
	}
	for _, n := range names {
		path := filepath.Join(q.dir, n)
		var r order.Result
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err == nil {
			return r, path, true
		}
		q.log.Error("result set aside", "file", n, "err", err)
		if err := os.Rename(path, path+".bad"); err != nil {
			return order.Result{}, "", false
		}
	}
	return order.Result{}, "", false
}

// Drain sends what is queued until ctx ends.
func (q *Results) Drain(ctx context.Context, c *Client) {
	var b backoff
	for ctx.Err() == nil {
		r, path, ok := q.first()
		if !ok {
			select {
			case <-ctx.Done():
			case <-q.wake:
			}
			continue
		}
		err := c.Result(ctx, r)
		if err != nil && !final(err) {
			b.wait(ctx)
			continue
		}
		if err != nil {
			q.log.Error("hub will not take a result", "order", r.Order, "phase", r.Phase, "err", err)
		}
		b.reset()
		if err := os.Remove(path); err != nil {
			q.log.Error("result stays", "err", err)
			b.wait(ctx)
		}
	}
}
