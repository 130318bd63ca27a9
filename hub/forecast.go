package hub

import (
	"context"

	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
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
