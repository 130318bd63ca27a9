package hub

import (
	"context"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ready/well"
)

// openThresholds makes the desk that compares what machines measure.
func (h *Hub) openThresholds() {
	h.thresholds = threshold.New(h.state, h.measured, h.cfg.Now, h.part("threshold"))
}

// well ends the alerts about values that are well again.
func (h *Hub) well() *well.Watch {
	return well.New(well.Deps{Alerts: h.alerts, Rules: threshold.RuleIDs(), Lasts: h.thresholds.Lasts, Log: h.part("well")})
}

// hostsPage is how many machines are read at once.
const hostsPage = 500

// measured lists what machines say of themselves, those for practice aside.
func (h *Hub) measured(ctx context.Context) ([]threshold.Machine, error) {
	var out []threshold.Machine
	for offset := 0; ; offset += hostsPage {
		list, total, err := h.assets.Hosts(ctx, asset.Filter{Limit: hostsPage, Offset: offset})
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			if x.Drill {
				continue
			}
			m := threshold.Machine{Site: x.Site, Host: x.ID, Seen: x.LastSeen,
				Measures: []threshold.Measure{{Name: "cpu", Value: x.Health.CPU}, {Name: "memory", Value: x.Health.Memory}}}
			for _, v := range x.Health.Measures {
				m.Measures = append(m.Measures, threshold.Measure(v))
			}
			out = append(out, m)
		}
		if offset+hostsPage >= total || len(list) == 0 {
			return out, nil
		}
	}
}

// raise makes alerts of findings that no planned work explains.
func (h *Hub) raise(ctx context.Context, found []detect.Finding) error {
	found, err := h.thresholds.Unplanned(ctx, found)
	if err != nil {
		return err
	}
	return h.alerts.HandleAll(ctx, found)
}
