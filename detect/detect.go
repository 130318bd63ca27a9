// Package detect turns events into findings.
//
// In: event.Event, rules (Sigma YAML, threshold YAML). Out: Finding. Always
// true: the same event and rule give the same Finding.ID, so a repeated batch
// makes no second finding; a rule that cannot be understood is rejected with
// file and line, never partly applied.
package detect

import (
	"time"

	"github.com/sonae/sonae/event"
)

// Text holds a sentence in the languages of the product, keyed "ja" and "en".
type Text map[string]string

// In returns the sentence in a language; where it was written in another one
// only, as public rules are, in that.
func (t Text) In(lang string) string {
	for _, l := range []string{lang, "en", "ja"} {
		if t[l] != "" {
			return t[l]
		}
	}
	return ""
}

// Rule is what people see of a rule.
type Rule struct {
	ID    string         `json:"id"`
	Title Text           `json:"title"`
	Level event.Severity `json:"level"`
	Tags  []string       `json:"tags,omitempty"`
	// The three answers of an alert. They may contain {field} placeholders,
	// see alert.Alert.Say.
	What    Text `json:"what,omitempty"`
	Affects Text `json:"affects,omitempty"`
	Next    Text `json:"next,omitempty"`
	// Propose names the kind of action to propose, e.g. "isolate".
	Propose string `json:"propose,omitempty"`
}

// Finding says that a rule matched one or more events.
type Finding struct {
	ID     string        `json:"id"` // SHA-256 of rule id and event ids, hex, shortened to 32
	Rule   Rule          `json:"rule"`
	Time   time.Time     `json:"time"` // of the newest event
	Site   string        `json:"site"`
	Host   string        `json:"host"`
	Drill  bool          `json:"drill,omitempty"`
	Events []event.Event `json:"events"`
}
