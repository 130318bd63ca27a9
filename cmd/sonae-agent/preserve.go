package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/forensic"
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
			_, err := up.Upload(ctx, wire.ItemHeader{Bag: o.Bag, Path: it.Path, Title: it.Title, Method: it.Method, StartedAt: it.StartedAt, Error: it.Err}, body)
			has[it.Path] = err == nil
			return err
		}
		told := 0
		progress := func(done, total int) {
			if done > told {
				told = done
				say(order.Progress, fmt.Sprintf("%d/%d", done, total))
			}
		}
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
			case ctx.Err() != nil:
				return // the agent stops; the hub asks again
			case errors.As(err, &refused) && refused.Final(), now().After(o.ExpiresAt):
				say(order.Failed, err.Error())
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(again):
			}
		}
	}
}
