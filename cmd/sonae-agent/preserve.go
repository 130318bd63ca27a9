package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/forensic"
	"github.com/sonae/sonae/agent/forensic/plan"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// uploader hands one item to the hub; link.Client has it.
type uploader interface {
	Upload(ctx context.Context, h wire.ItemHeader, body io.Reader) (link.Sums, error)
}

// again is how long a collection waits after the hub has not taken an item for
// several tries.
const again = 5 * time.Second

// plannedBy adds to a collector's settings what the site wants in dir. A mistake
// there must not keep evidence from being taken: it is logged, and every bag
// says so.
func plannedBy(dir string, c forensic.Config, log *slog.Logger) forensic.Config {
	c.Version = version()
	c.Plan, c.Mistakes = plan.Load(dir)
	if c.Mistakes != nil {
		log.Error("the site's own plan for evidence cannot be read whole", "err", c.Mistakes)
	}
	return c
}

// preserver carries out preserve orders: it collects, uploads, and reports
// each item. While the hub is away it goes on trying until the order expires,
// without sending again what the hub has.
func preserver(c *forensic.Collector, up uploader, now func() time.Time) func(context.Context, order.Order, func(order.Result)) {
	return func(ctx context.Context, o order.Order, report func(order.Result)) {
		say := func(p order.Phase, detail string) {
			report(order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: p, Detail: detail, At: now().UTC()})
		}
		has := map[string]bool{}
		send := func(ctx context.Context, it forensic.Item, body io.Reader) error {
			if has[it.Path] {
				return nil
			}
			_, err := up.Upload(ctx, wire.ItemHeader{Bag: o.Bag, Path: it.Path, Title: it.Title, Method: it.Method, StartedAt: it.StartedAt, Took: it.Took, Error: it.Err}, body)
			has[it.Path] = err == nil
			return err
		}
		progress := paced(now, say)
		for {
			sum, err := c.Collect(ctx, o, send, progress)
			var refused *link.Refused
			switch {
			case err == nil:
				missing := "" // an empty detail means that nothing is
				if sum.Missing > 0 {
					missing = fmt.Sprintf("missing %d of %d", sum.Missing, sum.Items)
				}
				say(order.Done, missing)
				return
			case errors.Is(context.Cause(ctx), agent.ErrCancelled):
				say(order.Failed, "cancelled")
				return
			case ctx.Err() != nil:
				return // the agent stops; the hub asks again
			case errors.As(err, &refused) && refused.Final(), now().After(o.ExpiresAt):
				say(order.Failed, err.Error())
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(again):
			}
		}
	}
}

// Bounds of what is told about one collection: the hub takes a bounded number
// of answers.
const (
	tellFreely = 200
	tellThen   = 10 * time.Second
)

// paced reports progress: each of the first items, then one now and then.
func paced(now func() time.Time, say func(order.Phase, string)) func(forensic.Progress) {
	told, times := 0, 0
	var last time.Time
	return func(p forensic.Progress) {
		at := now()
		if p.Path == "" && p.Done <= told || times >= tellFreely && at.Sub(last) < tellThen {
			return
		}
		told, last = max(told, p.Done), at
		times++
		if p.Path != "" {
			say(order.Progress, fmt.Sprintf("%d/%d %s %d", p.Done, p.Total, p.Path, p.Bytes))
			return
		}
		say(order.Progress, fmt.Sprintf("%d/%d", p.Done, p.Total))
	}
}
