package main

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/sonae/sonae/agent/collect"
)

// observe runs the collectors until ctx ends and prints each event.
func (p program) observe(ctx context.Context) error {
	q := collect.NewQueue(16384)
	var all sync.WaitGroup
	for _, c := range p.sources() {
		all.Go(func() {
			if err := c.Run(ctx, q); err != nil {
				p.log.Warn("collector ended", "collector", c.Name(), "err", err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }() // waited for below
	out := json.NewEncoder(p.out)
	var failed error
	for {
		select {
		case e := <-q.Events():
			if failed == nil {
				failed = out.Encode(e)
			}
		case <-ended:
			for len(q.Events()) > 0 && failed == nil {
				failed = out.Encode(<-q.Events())
			}
			if n := q.Dropped(); n > 0 {
				p.log.Warn("events dropped", "events", n)
			}
			return failed
		}
	}
}
