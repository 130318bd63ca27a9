// Package alert groups findings into the alerts a person sees.
//
// In: detect.Finding. Out: Alert. Always true: an alert is never deleted, it
// is open, acknowledged or closed, and every change names who made it; the
// same finding counts once however often it arrives.
package alert

import (
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// State is how far an alert is.
type State string

// States: 未対応, 対応中, 完了.
const (
	Open   State = "open"
	Acked  State = "acked"
	Closed State = "closed"
)

// Peer is somebody the host talked to, with what went each way (bytes).
type Peer struct {
	Address    string    `json:"address"` // ip:port
	Protocol   string    `json:"protocol"`
	Verdict    string    `json:"verdict"`
	Confidence string    `json:"confidence"`
	Sent       int64     `json:"sent"`
	Received   int64     `json:"received"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
}

// Process is who did it on the host, as far as known.
type Process struct {
	PID     string `json:"pid"`
	Image   string `json:"image"`
	Command string `json:"command"`
	User    string `json:"user"`
}

// Alert is grouped findings that a person must see: one per host and rule
// while it is not closed.
type Alert struct {
	ID       string         `json:"id"`
	Rule     detect.Rule    `json:"rule"`
	Severity event.Severity `json:"severity"`
	Site     string         `json:"site"` // site id
	Host     string         `json:"host"` // host id
	State    State          `json:"state"`
	Count    int            `json:"count"` // findings
	First    time.Time      `json:"first"`
	Last     time.Time      `json:"last"`
	RaisedAt time.Time      `json:"raised_at"` // when the hub made it
	Drill    bool           `json:"drill"`

	Peers     []Peer    `json:"peers"`     // the 20 with the most bytes, see Desk.Peers for all
	PeersAll  int       `json:"peers_all"` // how many there are
	Addresses int       `json:"addresses"` // how many different addresses those are, ports aside
	Sent      int64     `json:"sent"`      // bytes over all peers
	Received  int64     `json:"received"`  //
	Process   []Process `json:"process"`
	Events    []string  `json:"events"` // ids of the newest 50 events

	AckedBy  string    `json:"acked_by"` // person id
	AckedAt  time.Time `json:"acked_at"`
	ClosedBy string    `json:"closed_by"`
	ClosedAt time.Time `json:"closed_at"`
	Reason   string    `json:"reason"`   // why it was closed
	Incident string    `json:"incident"` // id, once it belongs to one
}

// Certain says whether what was seen proves it, at least for one connection.
func (a Alert) Certain() bool {
	return slices.ContainsFunc(a.Peers, func(p Peer) bool { return p.Confidence == "certain" })
}

// Filter selects alerts. Zero fields select all.
type Filter struct {
	State    State
	Site     string
	Host     string
	Hosts    []string // any of them
	Incident string
	Loose    bool   // in no incident, and not closed
	Rule     string // id
	Text     string // part of the title, the rule, the host, a peer's address or a program
	none     bool   // selects nothing, see Within
	Limit    int    // 50 when 0, at most 200
	Offset   int
}

// Within limits the filter to what a person may see: people with a site of
// their own see only that site, whatever the filter asks for.
func (f Filter) Within(p auth.Person) Filter {
	if p.Site == "" || p.Site == f.Site {
		return f
	}
	if f.Site != "" { // asked for another site: nothing there is theirs
		f.none = true
	}
	f.Site = p.Site
	return f
}
