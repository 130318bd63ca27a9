// Package threat keeps the threat lists of an installation: who brought them,
// what they hold, until when they hold, how often they were right, and what the
// archive already held of them.
//
// In: files that somebody uploads. Out: Draft (what a file would add), List,
// the Set of indicators in force, BackSearch. Always true: nothing is in force
// that nobody has seen as a draft; every step of a list, with the digest of
// what it holds, is in the ledger before it counts; what is one's own never
// gets into a draft.
package threat

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/state"
)

// LeafList is the type of the leaves that bind threat lists: one when a list is
// put into force and one when it is taken out.
const LeafList = "threat-list"

// Changed is told on the bus under "rule.lists": the lists must be loaded anew.
type Changed struct{ List string }

// Events is what a Desk asks for back-searches.
type Events interface {
	Events(ctx context.Context, s archive.Search, each func(event.Event) error) error
}

// Desk keeps lists. It is safe for concurrent use.
type Desk struct {
	db     *state.DB
	events Events
	engine *detect.Switch
	own    ioc.Own
	now    clock.Now
	log    *slog.Logger

	load  sync.Mutex
	queue chan BackSearch
	mu    sync.Mutex
	busy  map[string]bool // lists that this hub searches for, or will
	tell  func()
}

// New makes a Desk on an open state, which puts the lists into force in engine.
// Nothing is loaded before Reload.
func New(db *state.DB, events Events, engine *detect.Switch, own ioc.Own, now clock.Now, log *slog.Logger) *Desk {
	return &Desk{db: db, events: events, engine: engine, own: own, now: now, log: log, queue: make(chan BackSearch, maxWaiting), busy: map[string]bool{}, tell: func() {}}
}

// OnSearch sets what is called when a back-search comes further. It is set
// before Run.
func (d *Desk) OnSearch(f func()) { d.tell = f }

func (d *Desk) moment() time.Time { return state.Time(state.Nanos(d.now())) }

// List is a threat list with who brought it.
type List struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Source     string     `json:"source"`     // who says so
	Format     ioc.Format `json:"format"`     // of the file
	Confidence int        `json:"confidence"` // of indicators that say nothing themselves, 1–100
	Until      time.Time  `json:"until"`      // it holds until then
	Indicators int        `json:"indicators"`
	Digest     string     `json:"digest"` // SHA-256 of what it holds, hex
	MadeAt     time.Time  `json:"made_at"`
	MadeBy     string     `json:"made_by"`  // person id
	EndedAt    time.Time  `json:"ended_at"` // zero while nobody took it out of force
	EndedBy    string     `json:"ended_by"`
	Reason     string     `json:"reason"` // why it was taken out
}

// State says how a list stands.
type State string

// States of a list.
const (
	InForce State = "in-force"
	Over    State = "over"  // its time is over
	Ended   State = "ended" // somebody took it out
)

// State tells how the list stands at a moment.
func (l List) State(now time.Time) State {
	switch {
	case !l.EndedAt.IsZero():
		return Ended
	case !now.Before(l.Until):
		return Over
	}
	return InForce
}

// Bounds of lists.
const (
	maxLists  = 100 // in force at once
	maxTotal  = 2_000_000
	maxName   = 200
	maxReason = 2000
	maxDays   = 400
	maxDrafts = 20
	draftFor  = 24 * time.Hour
)
