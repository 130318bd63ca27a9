package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Lag is how far a join is behind.
type Lag struct {
	Join    string `json:"join"`
	Stream  string `json:"stream"`
	Waiting uint64 `json:"waiting"` // messages not yet delivered
	Pending int    `json:"pending"` // delivered, not yet acknowledged
}

// Lags lists all joins, each with all its partitions and hubs together, and the dead letters as join "dead".
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
		list, first := stream.ListConsumers(ctx), len(out)
		for c := range list.Info() {
			out = addLag(out, first, Lag{Join: joinOf(c), Stream: s.Config.Name, Waiting: c.NumPending, Pending: c.NumAckPending})
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

// joinOf is the join that a consumer belongs to.
func joinOf(c *jetstream.ConsumerInfo) string {
	if join := c.Config.Metadata["join"]; join != "" {
		return join
	}
	return c.Name // from before joins had several consumers
}

// addLag adds to the lag of the same join among those from first on.
func addLag(out []Lag, first int, l Lag) []Lag {
	for i := range out[first:] {
		if o := &out[first+i]; o.Join == l.Join {
			o.Waiting, o.Pending = o.Waiting+l.Waiting, o.Pending+l.Pending
			return out
		}
	}
	return append(out, l)
}
