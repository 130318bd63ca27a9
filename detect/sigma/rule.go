// Package sigma reads Sigma rules and says which of them an event matches.
//
// In: Sigma YAML (specification 2.1), events as a log source and named text
// fields. Out: Rule, Correlation, and a Set that evaluates only those rules
// whose log source fits. Always true: a rule is either understood completely or rejected
// with the line and the reason, because a rule that is partly applied is
// worse than none; an absent field is not an empty one; text compares without
// regard to case unless the rule says otherwise.
package sigma

import (
	"fmt"
	"time"

	"github.com/sonae/sonae/event"
)

// Rule is one loaded Sigma rule. It is read-only after Parse.
type Rule struct {
	ID        string
	Name      string // how correlations may call it; may be empty
	Title     string
	Status    string
	Author    string // licences of public rules ask that authors stay named
	License   string
	Level     event.Severity // Medium when the rule names none
	Tags      []string
	Logsource Logsource
	Extra     Extra
	Threshold *Threshold // nil for a rule that fires on every match
	File      string     // where it was read from
	Line      int        // of the document's first line

	when  node   // the condition
	items []item // all tests, referred to by index from the condition
}

// Logsource names the events that a rule is about. Empty parts fit anything.
type Logsource struct {
	Product  string `yaml:"product"`
	Category string `yaml:"category"`
	Service  string `yaml:"service"`
}

// Extra is what Sonae's own rules add under the key "sonae": the title in both
// languages, the three answers of an alert, and the action to propose.
// Texts are keyed "ja" and "en".
type Extra struct {
	Title   map[string]string
	What    map[string]string
	Affects map[string]string
	Next    map[string]string
	Propose string
}

// Threshold turns a rule into one that fires when enough events of a group
// matched within a window: a correlation of the rule alone.
type Threshold struct {
	Count    int           // so many, at least 2
	Window   time.Duration // within this time, by the clocks of the hosts
	By       []string      // fields that make a group; site and host always do
	Distinct string        // count different values of this field instead of events
}

// Error says why a rule was rejected.
type Error struct {
	File string
	Line int
	ID   string // when it could be read
	// Unbuilt is true when the rule is valid Sigma that asks for a feature
	// which this engine does not have, and false when the rule is wrong.
	Unbuilt bool
	Reason  string
}

// Error returns file, line and reason.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// maxFile bounds one rule file; the largest public one has 62 kB.
const maxFile = 1 << 20
