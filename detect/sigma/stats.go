package sigma

import "sync/atomic"

// counter counts what one rule did.
type counter struct{ hits, runs, nanos atomic.Uint64 }

// RuleStats tells what a rule found and what its condition cost. Runs and
// Nanos are estimates from one event in costEvery; what the field scans cost
// is shared by all rules and is not in them.
type RuleStats struct {
	Rule  *Rule
	Hits  uint64 // events that matched
	Runs  uint64 // events for which the condition was looked at
	Nanos uint64 // time that took
}

// costEvery is how many events there are for one whose conditions are timed.
const costEvery = 64

// Stats returns the counts of all rules, in the order given to NewSet. It may
// be called at any time; the counts of one moment need not fit each other.
func (s *Set) Stats() []RuleStats {
	out := make([]RuleStats, len(s.rules))
	for i, r := range s.rules {
		c := &s.counts[i]
		out[i] = RuleStats{r, c.hits.Load(), c.runs.Load() * costEvery, c.nanos.Load() * costEvery}
	}
	return out
}
