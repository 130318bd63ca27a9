package drill

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// Play replays the recording as the agent of the practice host, within a few
// seconds and with times shifted to now. It returns when all events were
// published. While another play runs it returns fault.Busy "drill.running".
func (d *Drill) Play(ctx context.Context) error {
	s, err := d.claim()
	if err != nil {
		return err
	}
	defer d.release()
	if err := d.prepare(ctx); err != nil {
		return fmt.Errorf("prepare drill: %w", err)
	}
	if err := d.record(ctx, "drill-began", s); err != nil {
		return fmt.Errorf("play drill: %w", err)
	}
	if err := d.replay(ctx, s); err != nil {
		return fmt.Errorf("play drill: %w", err)
	}
	if err := d.record(ctx, "drill-ended", s); err != nil {
		return fmt.Errorf("play drill: %w", err)
	}
	return nil
}

// record notes a step of a play, by when it began.
func (d *Drill) record(ctx context.Context, what string, s shift) error {
	if d.Record == nil {
		return nil
	}
	return d.Record(ctx, what, map[string]string{"name": TorrentCallcentre, "site": Site, "host": Host, "began": s.to.UTC().Format(time.RFC3339Nano)})
}

func (d *Drill) prepare(ctx context.Context) error {
	if d.Begin != nil {
		if err := d.Begin(ctx); err != nil {
			return err
		}
	}
	if err := d.AddSite(ctx, site()); err != nil {
		return err
	}
	return d.ShowHost(ctx, d.host())
}

// batches gathers events and hands them over.
type batches struct {
	d       *Drill
	run     string // unique for this play
	no      int
	pending []event.Event
}

func (b *batches) add(e event.Event) { b.pending = append(b.pending, e) }

// send hands over what gathered. Ids follow the rule of real agents: id of the
// batch and index.
func (b *batches) send(ctx context.Context) error {
	if len(b.pending) == 0 {
		return nil
	}
	b.no++
	out := event.Batch{ID: fmt.Sprintf("%s-%d", b.run, b.no), Site: Site, Host: Host, SentAt: b.d.Now().UTC(), Events: b.pending}
	for i := range out.Events {
		e := &out.Events[i]
		e.ID, e.Site, e.Host, e.Drill = fmt.Sprintf("%s-%d", out.ID, i), Site, Host, true
	}
	b.pending = nil
	return b.d.Publish(ctx, out)
}

// replay feeds the recorded packets to a flow.Table at their shifted times.
func (d *Drill) replay(ctx context.Context, s shift) error {
	own, err := netip.ParseAddr(d.facts.Address)
	if err != nil {
		return fmt.Errorf("recorded address: %w", err)
	}
	local := func(a netip.Addr) bool { return a == own }
	b := &batches{d: d, run: clock.ID(Host, s.to)}
	table := flow.New(flow.Config{MaxFlows: 256, UpdateEvery: time.Second, Emit: func(f flow.Flow) {
		if !local(f.Src.Addr()) && !local(f.Dst.Addr()) {
			return // a neighbour's multicast is no act of this host
		}
		e := flow.Event(f, local)
		maps.Copy(e.Fields, d.owner())
		b.add(e)
	}})
	b.add(d.process(s))
	due := s.to.Add(step)
	for _, p := range d.packets {
		at := s.at(p.At)
		for !at.Before(due) {
			table.Tick(due)
			if err := d.until(ctx, due); err != nil {
				return err
			}
			if err := b.send(ctx); err != nil {
				return err
			}
			due = due.Add(step)
		}
		table.Packet(at, p.Link, p.data)
	}
	table.Flush()
	if err := d.until(ctx, due); err != nil {
		return err
	}
	return b.send(ctx)
}

// until waits for a time, or for the end of ctx.
func (d *Drill) until(ctx context.Context, at time.Time) error {
	t := time.NewTimer(at.Sub(d.Now()))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
