package forensic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/ring"
)

// packetSpan is how far back packets are taken when the order does not say.
const packetSpan = 10 * time.Minute

// packetFile is where packets stand in a bag.
const packetFile = "network/packets.pcapng"

// chosen lists what an order is about.
func (c *Collector) chosen(o order.Order) []stage {
	if o.Packets != nil && o.Packets.Only {
		return []stage{{1, func(context.Context) []task { return []task{c.packets(o)} }}}
	}
	return c.stages(o)
}

// packets is what is kept on disk of the minutes that the order is about, or
// else what the sensor has in memory, streamed as it is written.
func (c *Collector) packets(o order.Order) task {
	if c.cfg.Disk == nil {
		return c.written("直前の通信の中身 / The last packets", "agent ring buffer (AF_PACKET)", c.memory)
	}
	wanted := order.Packets{From: o.IssuedAt.Add(-packetSpan)}
	if o.Packets != nil {
		wanted = *o.Packets
	}
	if wanted.To.IsZero() {
		wanted.To = c.cfg.Now() // the same when it has to be sent again
	}
	method := fmt.Sprintf("agent packet ring on disk (AF_PACKET), %s to %s, hosts %v, flows %v", stamp(wanted.From), stamp(wanted.To), wanted.Hosts, wanted.Flows)
	return c.written("保存していた通信の中身 / Packets that were kept", method, func(ctx context.Context, w io.Writer) error {
		q, err := query(wanted)
		if err != nil {
			return err
		}
		n, err := c.cfg.Disk.Cut(ctx, q, w)
		if err == nil && n == 0 {
			return errors.New("no packet of these ends and this time is kept")
		}
		return err
	})
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "the oldest"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func (c *Collector) memory(ctx context.Context, w io.Writer) error {
	if c.cfg.Ring == nil {
		return errors.New("the sensor is not running")
	}
	_, err := c.cfg.Ring.WriteRing(ctx, w)
	return err
}

// written is a task whose content is written while it is sent.
func (c *Collector) written(title, method string, write func(context.Context, io.Writer) error) task {
	return task{path: packetFile, title: title, method: method, open: func(ctx context.Context, _ int64) (io.ReadCloser, string, error) {
		r, w := io.Pipe()
		go func() { // ends when all is written or the reader closes
			_ = w.CloseWithError(write(ctx, w)) // a pipe's writer never fails to close
		}()
		return r, "", nil
	}}
}

// query reads what an order says in words.
func query(p order.Packets) (ring.Query, error) {
	q := ring.Query{From: p.From, To: p.To}
	for _, h := range p.Hosts {
		a, err := netip.ParseAddr(h)
		if err != nil {
			return q, fmt.Errorf("which packets: %w", err)
		}
		q.Hosts = append(q.Hosts, a)
	}
	for _, f := range p.Flows {
		number := map[string]uint8{"tcp": 6, "udp": 17}[f.Proto]
		a, err := netip.ParseAddrPort(f.A)
		b, err2 := netip.ParseAddrPort(f.B)
		if err = errors.Join(err, err2); err != nil || number == 0 {
			return q, errors.Join(errors.New("which packets: a connection that cannot be read"), err)
		}
		q.Flows = append(q.Flows, ring.Pair{Proto: number, A: a, B: b})
	}
	return q, nil
}
