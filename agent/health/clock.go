package health

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/source/agentlink/wire"
)

// reading is what another clock says: how far it is ahead of this machine's,
// give or take.
type reading struct {
	source string
	ahead  time.Duration
	within time.Duration
}

// sameClock is how far two clocks may differ and still agree, beside what each
// of them allows for itself.
const sameClock = 250 * time.Millisecond

func (a reading) agrees(b reading) bool {
	return (a.ahead - b.ahead).Abs() <= sameClock+a.within+b.within
}

func (m *Monitor) measureClock(ctx context.Context) []wire.Measure {
	return judge(m.readings(ctx))
}

// readings asks every clock there is.
func (m *Monitor) readings(ctx context.Context) []reading {
	var all []reading
	if ahead, ok := m.deps.Hub(); ok {
		all = append(all, reading{"hub", ahead, sameClock})
	}
	if r, ok := kernelClock(); ok {
		all = append(all, r)
	}
	for _, server := range m.cfg.NTP {
		r, err := askNTP(ctx, server, m.deps.Now)
		if err != nil {
			m.deps.Log.Debug("clock does not answer", "server", server, "err", err)
			continue
		}
		all = append(all, r)
	}
	return all
}

// judge compares clocks. One alone proves nothing: it may itself be wrong. Of
// two or more the largest group that agrees counts; when no two agree, that is
// what is told.
func judge(all []reading) []wire.Measure {
	if len(all) < 2 {
		return nil
	}
	var best []reading
	for _, a := range all {
		var group []reading
		for _, b := range all {
			if a.agrees(b) {
				group = append(group, b)
			}
		}
		if len(group) > len(best) {
			best = group
		}
	}
	if len(best) < 2 {
		least := slices.MinFunc(all, func(a, b reading) int { return int((a.ahead - b.ahead).Microseconds()) })
		most := slices.MaxFunc(all, func(a, b reading) int { return int((a.ahead - b.ahead).Microseconds()) })
		return []wire.Measure{{Name: ClockSpread, Value: (most.ahead - least.ahead).Seconds(), Detail: describe(all)}}
	}
	slices.SortFunc(best, func(a, b reading) int { return int((a.within - b.within).Microseconds()) })
	ahead := best[0].ahead // of those that agree, the most exact
	return []wire.Measure{{Name: ClockOffset, Value: math.Abs(ahead.Seconds()), Detail: describe(best)}}
}

func describe(all []reading) string {
	var out []string
	for _, r := range all {
		out = append(out, fmt.Sprintf("%s %+.2f s", r.source, r.ahead.Seconds()))
	}
	return bounded(strings.Join(out, ", "))
}
