package agentlink

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats is what happened at the port since the hub started.
type Stats struct {
	Batches, Events, Bytes    uint64            // published
	Heartbeats, Enrolments    uint64            //
	Orders, Results, Evidence uint64            // orders sent, results and evidence items taken
	Streams                   int               // order streams open now
	Refused                   map[string]uint64 // by key
}

type counts struct {
	batches, events, bytes, heartbeats, enrolments, orders, results, items atomic.Uint64

	mu      sync.Mutex
	refused map[string]uint64
}

// maxKeys bounds the keys that are counted; keys come from our own code, but
// they pass through many hands.
const maxKeys = 200

func (c *counts) refuse(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.refused[key]; !ok && len(c.refused) >= maxKeys {
		key = "agentlink.other"
	}
	c.refused[key]++
}

func (c *counts) batch(events, bytes int) {
	c.batches.Add(1)
	c.events.Add(uint64(events))
	c.bytes.Add(uint64(bytes))
}

// Stats returns the counters, for metrics.
func (s *Server) Stats() Stats {
	c := &s.counts
	c.mu.Lock()
	refused := maps.Clone(c.refused)
	c.mu.Unlock()
	s.mu.Lock()
	streams := len(s.streams)
	s.mu.Unlock()
	return Stats{Batches: c.batches.Load(), Events: c.events.Load(), Bytes: c.bytes.Load(), Heartbeats: c.heartbeats.Load(),
		Enrolments: c.enrolments.Load(), Orders: c.orders.Load(), Results: c.results.Load(), Evidence: c.items.Load(),
		Streams: streams, Refused: refused}
}
