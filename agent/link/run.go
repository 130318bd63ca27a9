package link

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/spool"
)

// Bounds of waiting before another try. A hub that comes back is found within
// maxWait by all agents, but not by all in the same instant.
const (
	minWait = 200 * time.Millisecond
	maxWait = 10 * time.Second
)

// backoff is the wait before the next try; the zero value is ready.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// step returns the next wait: doubled each time, with up to half taken off at
// random.
func (b *backoff) step() time.Duration {
	b.next = min(max(2*b.next, minWait), maxWait)
	return b.next/2 + rand.N(b.next/2)
}

// wait waits and says whether ctx still holds.
func (b *backoff) wait(ctx context.Context) bool { return b.after(ctx, nil) }

// after waits as long as a refusal asks for and up to half of that more, so
// that agents that were refused together do not come back together; without
// such a wish as long as the next step.
func (b *backoff) after(ctx context.Context, err error) bool {
	d := b.step()
	var r *Refused
	if errors.As(err, &r) && r.After > 0 {
		d = r.After + rand.N(r.After/2)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// trouble logs the first error of a row of failures and the end of the row, so
// that a hub that is away for a night costs two lines.
type trouble struct{ on bool }

// Drain sends what is in the spool, oldest first, until ctx ends.
func (c *Client) Drain(ctx context.Context, s *spool.Spool) {
	var b backoff
	var t trouble
	for ctx.Err() == nil {
		r, ok := s.Peek()
		if !ok {
			select {
			case <-ctx.Done():
			case <-s.Wake():
			}
			continue
		}
		err := c.Batch(ctx, r.Data)
		switch {
		case err == nil:
			s.Ack(r.Seq)
			b.reset()
			t.over(c, "batches")
		case final(err):
			c.log.Error("hub will not take a batch", "seq", r.Seq, "events", r.Events, "err", err)
			s.Refuse(r)
		default:
			t.begin(ctx, c, "batches", err)
			b.after(ctx, err)
		}
	}
}

func (t *trouble) begin(ctx context.Context, c *Client, what string, err error) {
	if !t.on && ctx.Err() == nil {
		t.on = true
		c.log.Warn("hub does not take "+what+", waiting", "err", err)
	}
}

func (t *trouble) over(c *Client, what string) {
	if t.on {
		t.on = false
		c.log.Info("hub takes " + what + " again")
	}
}

// Follow hands every order that arrives to f until ctx ends, connecting again
// whenever the stream breaks. The same order may come several times. f must
// return soon.
func (c *Client) Follow(ctx context.Context, f func(order.Signed)) {
	var b backoff
	var t trouble
	for ctx.Err() == nil {
		err := c.stream(ctx, func(o *order.Signed) {
			b.reset()
			t.over(c, "the order stream")
			if o != nil {
				f(*o)
			}
		})
		t.begin(ctx, c, "the order stream", err)
		b.wait(ctx)
	}
}

// maxOrder bounds one line of the stream.
const maxOrder = 1 << 20

// stream reads one order stream. line is called with nil for a keep-alive.
func (c *Client) stream(ctx context.Context, line func(*order.Signed)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/agent/v1/orders", nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	defer res.Body.Close()
	if err := accepted(res); err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 4096), maxOrder)
	for lines.Scan() {
		quiet.Reset(silence)
		if len(lines.Bytes()) == 0 {
			line(nil)
			continue
		}
		var o order.Signed
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("orders: %w", err)
		}
		line(&o)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	return errors.New("orders: the hub ended the stream")
}
