package hub

import (
	"context"

	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/report/sheet"
)

// openForecasts makes the plans of recoveries, and what they would take by what
// drills, backups and restores measured.
func (h *Hub) openForecasts() {
	h.plans = plan.New(h.state, h.books, h.cfg.Now, h.log)
	measured := forecast.Records{Drills: h.drills, Backups: h.backups, Orders: h.restores}
	h.forecasts = forecast.New(h.state, forecast.Deps{Plans: h.plans, Measured: []forecast.Measured{measured}, Now: h.cfg.Now, Log: h.log})
}

// estimates tells policies how long a recovery would take.
type estimates struct{ *Hub }

func (e estimates) IfNow(ctx context.Context, site string) (policy.Estimate, bool, error) {
	l, ok, err := e.forecasts.IfNow(ctx, site)
	return policy.Estimate{P50: l.P50, P90: l.P90, Calibrated: l.Calibrated, Plan: l.Plan}, ok, err
}

// expected tells the executive sheet the same of what an incident touches.
type expected struct{ *Hub }

func (e expected) Recovery(ctx context.Context, in incident.Incident) (sheet.Recovery, bool, error) {
	l, ok, err := e.forecasts.Of(ctx, in)
	return sheet.Recovery{Begun: l.Incident != "", P50: l.P50, P90: l.P90, Loss: l.Loss, LastProven: l.LastProven, Changed: l.Changed, Path: l.Path()}, ok, err
}
