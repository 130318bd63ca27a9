// Package detect turns events into findings.
//
// In: event.Event, rules (Sigma YAML, correlations among them). Out: Finding.
// Always true: the same event and rule give the same Finding.ID, so a repeated batch
// makes no second finding; a rule that cannot be understood is rejected with
// file and line, never partly applied. What people change about rules is
// Adjustments where rules run over files and package tuning in a hub, where a
// Switch holds the engine; an engine goes by one of them.
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

// TagScored is a tag of rules that rest on a score alone and may be wrong: what
// answers to a finding must then not cost what cannot be had back.
const TagScored = "sonae.scored"

// TagTampering is a tag of rules about somebody who tries to harm backups: what
// is kept of the machine is guarded until a person has looked.
const TagTampering = "sonae.backup-tampering"

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
	ID     string        `json:"id"` // SHA-256 of the rule's id and what it found, hex, shortened to 32
	Rule   Rule          `json:"rule"`
	Time   time.Time     `json:"time"` // of the event that completed it
	Site   string        `json:"site"`
	Host   string        `json:"host"`
	Drill  bool          `json:"drill,omitempty"`
	Events []event.Event `json:"events"` // oldest first; of a correlation up to 40, the first and the last
	// Correlated says what came together; nil for a rule about one event.
	Correlated *Correlated `json:"correlated,omitempty"`
}

// Correlated describes the window in which a correlation was fulfilled.
type Correlated struct {
	Group []GroupValue `json:"group,omitempty"` // what the events share
	Value float64      `json:"value"`           // what was compared
	Count int          `json:"count"`           // events in the window
	From  time.Time    `json:"from"`            // of the first of them
	To    time.Time    `json:"to"`              // of the last
}

// GroupValue is a field that the events of a group share.
type GroupValue struct {
	Field string `json:"field"`
	Value string `json:"value"`
}
