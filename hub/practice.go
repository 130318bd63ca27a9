package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/drill"
)

// asked is the wish of somebody at any hub to practise.
type asked struct {
	At time.Time `json:"at"`
}

// startDrill has the practice incident played by the hub that leads it; it ends
// by itself within seconds. While one waits or plays, at whatever hub it was
// asked for, it is fault.Busy "drill.running".
func (h *Hub) startDrill(ctx context.Context) error {
	lags, err := h.bus.Lags(ctx)
	if err != nil {
		return fmt.Errorf("start drill: %w", err)
	}
	for _, l := range lags {
		if l.Join == drillJoin && l.Waiting+uint64(l.Pending) > 0 {
			return fault.New(fault.Busy, "drill.running")
		}
	}
	at := h.cfg.Now().UTC()
	return h.publish(ctx, "drill.asked", "drill "+at.Format(time.RFC3339Nano), asked{at})
}

// drillJoin is the join of those who ask for a drill.
const drillJoin = "drill"

// practise plays drills and answers for the practice host until ctx ends.
func (h *Hub) practise(ctx context.Context) error {
	if err := h.resumeDrill(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.practice.Serve(ctx) })
	g.Go(func() error { return h.bus.Handle(ctx, drillJoin) })
	return g.Wait()
}

// resumeDrill lets the practice host go on where it was when this or another
// hub stopped to answer for it.
func (h *Hub) resumeDrill(ctx context.Context) error {
	host, err := h.assets.Host(ctx, drill.Host)
	if fault.Of(err) == fault.Missing { // nobody has practised yet
		return nil
	}
	if err != nil {
		return err
	}
	if host.Health.Isolated {
		h.practice.Resume(host.Action, host.LeaseEnd)
	}
	return nil
}

// playDrill plays. A drill that cannot be played, or that is cut off, is over:
// playing it anew would close the alert that people are working on.
func (h *Hub) playDrill(ctx context.Context, _ asked) error { return h.practice.Play(ctx) }

// control answers commands of the machine's owner on the socket in the hub's
// folder.
func (h *Hub) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /drill/{name}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("name") != drill.TorrentCallcentre {
			http.Error(w, "there is no practice incident "+r.PathValue("name")+"; there is: "+drill.TorrentCallcentre, http.StatusNotFound)
			return
		}
		switch err := h.startDrill(r.Context()); {
		case err == nil:
			w.WriteHeader(http.StatusAccepted)
		case fault.Of(err) == fault.Busy:
			http.Error(w, "a practice incident is running already", http.StatusConflict)
		default:
			h.log.Error("drill not started", "err", err)
			http.Error(w, "the practice incident cannot be started now", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /backup", h.backUp)
	mux.HandleFunc("GET /dead", h.dead)
	mux.HandleFunc("POST /dead/{seq}", h.revive)
	return mux
}

// watch does what is due by time alone: leases that end without a word from
// the agent, and updates of alerts that were held back.
func (h *Hub) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := errors.Join(h.actions.Expire(ctx), h.alerts.Tick(ctx)); err != nil && ctx.Err() == nil {
				h.log.Error("what was due could not be done", "err", err)
			}
		}
	}
}
