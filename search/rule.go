package search

import (
	"slices"
	"time"

	"github.com/sonae/sonae/detect/correlate"
	"github.com/sonae/sonae/event"
)

// RuleDraft is what a person wants to be told about from now on, as it stands
// on the page where a search becomes a rule.
type RuleDraft struct {
	Title    string         // at most 200 characters, in the person's language
	Lang     string         // of Title: ja or en
	Query    string         // the search; its filter part decides which events match
	Severity event.Severity //
	// Threshold makes the rule speak only when enough events come together;
	// nil: every matching event is a finding.
	Threshold *Threshold
	// Together makes a correlation of it, which counts over machines or waits
	// for another rule; at most one of the two is set.
	Together *Together
	By       string // person id of who asks
}

// Together says what must come together before a correlation speaks.
type Together struct {
	Kind   correlate.Kind // event_count, value_count, value_sum, temporal or temporal_ordered
	Least  float64        // of what is counted or summed up
	Field  string         // of value_count and value_sum
	With   string         // of the temporal kinds: id or name of a rule in force; ordered: it comes first
	Window time.Duration  // 1 minute to 24 hours
	By     []string       // fields that the events must share; may be empty: all machines together
}

// Threshold says how many matching events within a time are a finding.
type Threshold struct {
	Count    int           // at least 2
	Window   time.Duration // 1 minute to 24 hours
	By       []string      // fields that the events must share, e.g. user_name; may be empty
	Distinct string        // count different values of this field, not events; may be empty
}

// BackTest is what a rule would have done in the past.
type BackTest struct {
	From, To     time.Time
	Days         []TestDay // in order, without gaps, days of Japan
	Matches      int64     // events that match; of a correlation, how often it came together
	Counted      int64     // of a correlation: events that its rules matched
	Hosts        int       // machines on which they were
	Alerts       int64     // alerts that people would have seen, after grouping
	AlertsPerDay float64
	Examples     []event.Event // the first that match, oldest first, at most 10
	Scanned      int64         // events that were looked at
	Until        time.Time     // where the test stopped; To when it came to the end
}

// clone shares no memory that the test goes on writing to.
func (b BackTest) clone() BackTest {
	b.Days, b.Examples = slices.Clone(b.Days), slices.Clone(b.Examples)
	return b
}

// TestDay is one day of a back-test.
type TestDay struct {
	Day             time.Time // midnight in Japan
	Matches, Alerts int64
}

// Complete says whether the whole range was tested.
func (b BackTest) Complete() bool { return !b.Until.Before(b.To) }

// Rule is a rule that was made of a search.
type Rule struct {
	ID         string         `json:"id"`
	Title      string         `json:"title"`
	YAML       string         `json:"yaml"`
	Severity   event.Severity `json:"severity"`
	EnabledAt  time.Time      `json:"enabled_at"`
	EnabledBy  string         `json:"enabled_by"`  // person id
	DisabledAt time.Time      `json:"disabled_at"` // zero while it watches
	DisabledBy string         `json:"disabled_by"`
	Reason     string         `json:"reason"` // why it was disabled
}

// Watches says whether the rule is enabled.
func (r Rule) Watches() bool { return r.DisabledAt.IsZero() }
