package hub

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/drill"
)

// resumeDrill lets the practice host go on where it was when the hub stopped.
func (h *Hub) resumeDrill(ctx context.Context) error {
	host, err := h.assets.Host(ctx, drill.Host)
	if fault.Of(err) == fault.Missing { // nobody has practised yet
		return nil
	}
	if err == nil && host.Health.Isolated {
		h.practice.Resume(host.Action, host.LeaseEnd)
	}
	return err
}

// startDrill plays the practice incident in the background; it ends by itself
// within seconds, or with the hub.
func (h *Hub) startDrill() error {
	select {
	case h.drills <- struct{}{}:
		return nil
	default:
		return fault.New(fault.Busy, "drill.running")
	}
}

// playDrills plays one drill at a time until ctx ends.
func (h *Hub) playDrills(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.drills:
			if err := h.practice.Play(ctx); err != nil && ctx.Err() == nil {
				h.log.Error("drill ended", "err", err)
			}
		}
	}
}

// control answers commands of the machine's owner on the socket in the hub's
// folder.
func (h *Hub) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /drill/{name}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("name") != drill.TorrentCallcentre {
			http.Error(w, "there is no practice incident "+r.PathValue("name")+"; there is: "+drill.TorrentCallcentre, http.StatusNotFound)
			return
		}
		if err := h.startDrill(); err != nil {
			http.Error(w, "a practice incident is running already", http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusAccepted)
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
