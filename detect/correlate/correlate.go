// Package correlate says when events that belong together, a group, fulfil a
// condition within a time span: Sigma's correlations.
//
// In: observations, each an event that one of a correlation's rules matched,
// with its group and value. Out: Firing. Always true: no firing rests on
// events that lie a time span or more apart, nor on those of another group;
// time is that of the events, never of the machine that counts; the same
// observations in the same order give the same firings; memory is bounded, and
// what had to be left out is counted in Stats.
//
// # When a group fires
//
// The window of an event reaches back from it, over less than the time span:
// of two events exactly a time span apart, no window holds both. The condition
// is looked at whenever an event comes, for the window of that event (and, if
// it comes late, for those of the events after it that it belongs to as well).
// So "fewer than five" holds at the first event of a group.
//
// A group fires at the event with which the condition begins to hold. It fires
// again when the condition holds at a later event, and either did not hold at
// some event in between, or the last firing lies a time span or more back. A
// thousand events in one time span are one firing of "at least five"; an
// attack that lasts makes one per time span.
//
// # Order
//
// Events may come in any order within Config.Late: one that is older than the
// newest of its group by more than that is left out and counted. Within it the
// windows are made again, and a firing that the late event completes is made
// then; what fired before stays said, also where the late event would have
// prevented it ("at most five"). Events of the same time keep the order in
// which they came. An event that comes twice while its group remembers it
// counts once.
//
// A clock that was far ahead and went back must not blind a group until the
// true time has caught up: after goneBack late events in a row the group
// begins anew with the last of them.
//
// # What is exact
//
// Everything, while a group holds no more than a few hundred events that
// matter (see the limits in measure.go). Beyond it: event_count stays exact
// when it compares with numbers up to half of maxSamples; with greater ones, and for
// value_sum and value_avg, events within 1/256 of the time span count as if all
// had happened when the first of them did, so a window may be short by that
// much and is never too long; value_percentile and value_median thin out to
// every second event, and again; value_count and the temporal kinds keep at most
// two events of each value or rule per time span, which loses nothing of events
// in order, and drop the oldest when there are more values than fit, which
// Stats.Crowded counts. What comes late for a stretch of a full group that was
// dropped counts as late.
package correlate

import (
	"fmt"
	"slices"
	"time"
)

// Kind is a type of correlation, in Sigma's words.
type Kind string

// Kinds of correlations. Percentile without Config.Percentile is that of the
// specification's example: the share, in percent, that the event's own value
// has among the values of the window.
const (
	EventCount      Kind = "event_count"
	ValueCount      Kind = "value_count"
	Temporal        Kind = "temporal"
	TemporalOrdered Kind = "temporal_ordered"
	ValueSum        Kind = "value_sum"
	ValueAvg        Kind = "value_avg"
	ValuePercentile Kind = "value_percentile"
	ValueMedian     Kind = "value_median"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{EventCount, ValueCount, Temporal, TemporalOrdered, ValueSum, ValueAvg, ValuePercentile, ValueMedian}
}

// Numeric says whether the values must be numbers.
func (c Config) Numeric() bool {
	switch c.Kind {
	case ValueSum, ValueAvg, ValueMedian:
		return true
	case ValuePercentile:
		return c.Percentile > 0
	}
	return false
}

// Valued says whether observations carry a value.
func (c Config) Valued() bool {
	return c.Kind == ValueCount || c.Kind == ValuePercentile || c.Numeric()
}

// Op compares.
type Op string

// Operators.
const (
	GT  Op = "gt"
	GTE Op = "gte"
	LT  Op = "lt"
	LTE Op = "lte"
	EQ  Op = "eq"
	NEQ Op = "neq"
)

// Test compares with a number.
type Test struct {
	Op Op
	N  float64
}

func (t Test) holds(v float64) bool {
	switch t.Op {
	case GT:
		return v > t.N
	case GTE:
		return v >= t.N
	case LT:
		return v < t.N
	case LTE:
		return v <= t.N
	case EQ:
		return v == t.N
	default:
		return v != t.N
	}
}

// Limits of a Config that New fills in where they are 0.
const (
	DefaultLate    = 5 * time.Minute
	defaultGroups  = 100_000
	defaultSamples = 2_000_000 // 64 MB
	defaultEvents  = 4096
)

// Limits that Validate holds to.
const (
	MaxSpan  = 30 * 24 * time.Hour
	MaxRules = 32
	// MaxCount bounds what value_count may compare with: each value is kept.
	MaxCount = 10_000
)

// Config is one correlation.
type Config struct {
	Kind       Kind
	Rules      int           // how many rules it refers to
	Span       time.Duration // the time span
	Tests      []Test        // all must hold; empty for temporal kinds: all rules
	Percentile float64       // of ValuePercentile: over 0, up to 100; 0: the share of the value
	Late       time.Duration // how much older than the newest of its group an event may be

	MaxGroups  int // the group that was quiet for longest is forgotten first
	MaxSamples int // over all groups, 32 bytes each, or 12 (see packed.go); long keys count, too
	MaxEvents  int // events that are kept to be shown in a firing; the oldest go first
}

// Validate says what is wrong with a Config.
func (c Config) Validate() error {
	switch {
	case !slices.Contains(Kinds(), c.Kind):
		return fmt.Errorf("there is no correlation type %q", c.Kind)
	case c.Rules < 1 || c.Rules > MaxRules:
		return fmt.Errorf("a correlation refers to 1 to %d rules, not %d", MaxRules, c.Rules)
	case c.Span < time.Second || c.Span > MaxSpan:
		return fmt.Errorf("the time span %s is not between 1s and %d days", c.Span, int(MaxSpan.Hours()/24))
	case c.Percentile < 0 || c.Percentile > 100:
		return fmt.Errorf("the percentile %g is not between 0 and 100", c.Percentile)
	case len(c.Tests) == 0 && c.Kind != Temporal && c.Kind != TemporalOrdered:
		return fmt.Errorf("%s needs a condition", c.Kind)
	}
	for _, t := range c.Tests {
		if !slices.Contains([]Op{GT, GTE, LT, LTE, EQ, NEQ}, t.Op) {
			return fmt.Errorf("there is no comparison %q", t.Op)
		}
		if c.Kind == ValueCount && t.N > MaxCount {
			return fmt.Errorf("value_count compares with numbers up to %d, not %g", MaxCount, t.N)
		}
	}
	return nil
}

// full is the Config with what was left out.
func (c Config) full() Config {
	if len(c.Tests) == 0 {
		c.Tests = []Test{{GTE, float64(c.Rules)}}
	}
	if c.Late == 0 {
		c.Late = DefaultLate
	}
	if c.MaxGroups == 0 {
		c.MaxGroups = defaultGroups
	}
	if c.MaxSamples == 0 {
		c.MaxSamples = defaultSamples
	}
	if c.MaxEvents == 0 {
		c.MaxEvents = defaultEvents
	}
	return c
}

// Observation is an event that a rule matched.
type Observation[E any] struct {
	At    time.Time
	Group []byte  // whatever makes the group; not kept
	Rule  int     // which of the correlation's rules, from 0 in their order
	ID    string  // of the event; empty: never taken for one that came before
	Text  string  // the value of ValueCount and of a share
	Num   float64 // the value of numeric kinds
	Event E       // to be shown
}

// Firing says that a group fulfilled the condition.
type Firing[E any] struct {
	Group    string
	At       time.Time // of the event with which it did
	Event    uint32    // hash of that event's id; with Group and At it names the firing
	Value    float64   // what was compared
	Count    int       // events in the window
	From, To time.Time // of the first and last of them
	// Events of the window, oldest first, where values or rules are counted the
	// last of each: the first and the last MaxShown of those that are still
	// kept, which may be none where an event came late.
	Events []E
}

// MaxShown is how many events of a window a Firing carries, from its beginning
// and from its end each.
const MaxShown = 20

// Stats tells what a window holds and what it had to leave out.
type Stats struct {
	Groups  int    `json:"groups"`
	Samples int    `json:"samples"`
	Late    uint64 `json:"late"`    // events older than the newest of their group by more than Late
	Evicted uint64 `json:"evicted"` // groups that were forgotten although events in them still counted
	Crowded uint64 `json:"crowded"` // events that were dropped from a full group
	Unfit   uint64 `json:"unfit"`   // events without a time, or whose value is no number
	Resets  uint64 `json:"resets"`  // groups that began anew because a clock went back
}

// Add sums.
func (s *Stats) Add(o Stats) {
	s.Groups += o.Groups
	s.Samples += o.Samples
	s.Late += o.Late
	s.Evicted += o.Evicted
	s.Crowded += o.Crowded
	s.Unfit += o.Unfit
	s.Resets += o.Resets
}
