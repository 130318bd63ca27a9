package detect

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Usage is what a rule did since the hub started: for as long as it was in
// force without a break.
type Usage struct {
	Rule string // id; "(other)" for the rest of them
	Hits uint64 // events that matched
	Cost time.Duration
}

// usage adds what e counted to what engines before it did.
func (e *Engine) usage(before map[string]Usage) map[string]Usage {
	out := make(map[string]Usage, len(before))
	maps.Copy(out, before)
	for _, s := range e.set.Stats() {
		if s.Hits > 0 || s.Nanos > 0 {
			u := out[s.Rule.ID]
			out[s.Rule.ID] = Usage{s.Rule.ID, u.Hits + s.Hits, u.Cost + time.Duration(s.Nanos)}
		}
	}
	return out
}

// Usage returns the rules that matched, those with most hits first; what is
// beyond most of them is added up as "(other)".
func (s *Switch) Usage(most int) []Usage {
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.engine.usage(s.used)))
	s.mu.RUnlock()
	slices.SortFunc(all, func(x, y Usage) int { return cmp.Or(cmp.Compare(y.Hits, x.Hits), strings.Compare(x.Rule, y.Rule)) })
	if len(all) <= most {
		return all
	}
	rest := Usage{Rule: "(other)"}
	for _, u := range all[most:] {
		rest.Hits, rest.Cost = rest.Hits+u.Hits, rest.Cost+u.Cost
	}
	return append(all[:most:most], rest)
}
