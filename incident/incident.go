// Package incident keeps the case: one chronology, one commander, one set of
// facts.
//
// In: alerts that people make incidents, entries that people and stages write.
// Out: Incident, Entry, and a leaf for the ledger for each entry. Always true:
// an entry is never changed or removed, only corrected by another entry; every
// entry's digest goes to the ledger in the same transaction that stores it.
package incident

import (
	"time"

	"github.com/sonae/sonae/event"
)

// State is the stage of an incident; see transitions.go for the allowed moves.
type State string

// States, in the usual order: 発生, 対応中, 封じ込め済み, 復旧中, 終結.
const (
	Opened     State = "opened"
	Responding State = "responding"
	Contained  State = "contained"
	Recovering State = "recovering"
	Ended      State = "ended"
)

// Scope is what an incident reaches, as far as known.
type Scope struct {
	Sites []string `json:"sites"`
	Hosts []string `json:"hosts"`
	Notes string   `json:"notes"`
}

// Incident is a case (事案).
type Incident struct {
	ID        string         `json:"id"`
	No        int            `json:"no"` // running number people say on the phone
	Title     string         `json:"title"`
	State     State          `json:"state"`
	Severity  event.Severity `json:"severity"`
	Commander string         `json:"commander"` // person id
	Scope     Scope          `json:"scope"`
	Drill     bool           `json:"drill"`
	OpenedAt  time.Time      `json:"opened_at"`
	OpenedBy  string         `json:"opened_by"`
	KnownAt   time.Time      `json:"known_at"` // when any department first knew: starts the clocks
	EndedAt   time.Time      `json:"ended_at"`
	Entries   int            `json:"entries"` // how many entries there are
}

// Certainty says how sure an entry is.
type Certainty string

// Certainties: 事実, 推定, 未確認.
const (
	Fact        Certainty = "fact"
	Estimate    Certainty = "estimate"
	Unconfirmed Certainty = "unconfirmed"
)

// Entry is one line of the chronology (記録). Exactly one of Text and Key is
// set: people write Text, stages write Key with Args so that it reads in both
// languages (catalogue key "entry.<Key>").
type Entry struct {
	Incident   string            `json:"incident"`
	No         int               `json:"no"` // from 1, without gaps
	OccurredAt time.Time         `json:"occurred_at"`
	EnteredAt  time.Time         `json:"entered_at"`
	Source     string            `json:"source"` // alert, action, evidence, phone, paper, person, …
	Certainty  Certainty         `json:"certainty"`
	By         string            `json:"by"` // person id, or "sonae"
	Text       string            `json:"text"`
	Key        string            `json:"key"`
	Args       map[string]string `json:"args"`
	Corrects   int               `json:"corrects"` // No of the entry that this one corrects, 0: none
	Ref        string            `json:"ref"`      // what it is about, e.g. an action or bag id
	Unique     string            `json:"unique"`   // key under which a stage writes it once only; empty for people
	Salt       string            `json:"salt"`     // makes the digest unguessable
}
