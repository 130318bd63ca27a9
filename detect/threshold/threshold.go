// Package threshold turns numbers that machines measure of themselves into
// findings.
//
// In: the measures of each machine's newest heartbeat, limits and maintenance
// windows that people set. Out: findings, and the record of every time that a
// limit was exceeded, so that limits can be tuned. Always true: what is told is
// told once until it is well again, and well again is another value than too
// much (hysteresis); a window keeps people from being told, never from the
// record; what still lasts when the window ends is told then; every change of a
// limit or a window stands in the ledger.
package threshold

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Limit is when a measure is too much, and when it is well again.
type Limit struct {
	Name  string         `json:"name"` // of the measure
	Site  string         `json:"site"` // empty: everywhere
	Host  string         `json:"host"` // empty: every machine of the site
	On    float64        `json:"on"`   // too much: at or above, or at or below when Below
	Off   float64        `json:"off"`  // well again: beyond this, the other way
	Below bool           `json:"below"`
	For   time.Duration  `json:"for"` // how long it must be so, either way
	Level event.Severity `json:"level"`
	Quiet bool           `json:"quiet"` // nobody is told
	SetBy string         `json:"set_by,omitempty"`
}

// defaults are the limits where nobody set others. Reasons: a volume that is 90 %
// full leaves a night on most machines; certificates take a hospital two weeks
// to renew; MHLW's guideline asks for clocks that agree to about a second.
var defaults = []Limit{
	{Name: "cpu", On: 0.95, Off: 0.80, For: 15 * time.Minute, Level: event.Low},
	{Name: "memory", On: 0.95, Off: 0.85, For: 5 * time.Minute, Level: event.Medium},
	{Name: "disk", On: 0.90, Off: 0.85, For: 5 * time.Minute, Level: event.Medium},
	{Name: "inodes", On: 0.90, Off: 0.85, For: 5 * time.Minute, Level: event.Medium},
	{Name: "fills", On: 24, Off: 72, Below: true, For: 15 * time.Minute, Level: event.High},
	{Name: "service", On: 1, Off: 0, For: time.Minute, Level: event.High},
	{Name: "certificate", On: 21, Off: 28, Below: true, For: 0, Level: event.Medium},
	{Name: "clock", On: 1, Off: 0.5, For: 2 * time.Minute, Level: event.Medium},
	{Name: "clock-spread", On: 1, Off: 0.5, For: 10 * time.Minute, Level: event.Low},
	{Name: "backup", On: 26, Off: 25, For: 0, Level: event.High},
	{Name: "backup-failed", On: 1, Off: 0, For: 10 * time.Minute, Level: event.High},
}

// Names are the measures that limits can be set for, in the order of pages.
func Names() []string {
	out := make([]string, len(defaults))
	for i, d := range defaults {
		out[i] = d.Name
	}
	return out
}

// Default is the limit of a measure where nobody set another.
func Default(name string) (Limit, bool) {
	i := slices.IndexFunc(defaults, func(l Limit) bool { return l.Name == name })
	if i < 0 {
		return Limit{}, false
	}
	return defaults[i], true
}

// MaxFor bounds how long something may last before it is told.
const MaxFor = 24 * time.Hour

// check says what a limit lacks, as Invalid.
func (l Limit) check() error {
	d, known := Default(l.Name)
	finite := !math.IsNaN(l.On+l.Off) && !math.IsInf(l.On+l.Off, 0)
	switch {
	case !known || l.Below != d.Below:
		return fault.New(fault.Missing, "threshold.unknown")
	case !finite || l.Below && l.Off < l.On || !l.Below && l.Off > l.On:
		return fault.New(fault.Invalid, "threshold.order")
	case l.For < 0 || l.For > MaxFor:
		return fault.New(fault.Invalid, "threshold.for")
	case l.Level < event.Info || l.Level > event.Critical:
		return fault.New(fault.Invalid, "threshold.level")
	}
	return nil
}

// over says that a value is too much, well that it is well again. Between the
// two neither holds.
func (l Limit) over(v float64) bool {
	if l.Below {
		return v <= l.On
	}
	return v >= l.On
}

func (l Limit) well(v float64) bool {
	switch {
	case l.On == l.Off:
		return !l.over(v)
	case l.Below:
		return v >= l.Off
	}
	return v <= l.Off
}

// track is where one measure of one machine stands.
type track struct {
	firing string    // id of the open Firing, "" when all is well
	turned time.Time // since when the value says the other thing; zero: it does not
	seen   time.Time // when there was a value last
}

// turn is what a value changes.
type turn uint8

const (
	stays turn = iota
	fires
	clears
)

// step takes a value and says what changes.
func (t *track) step(l Limit, v float64, now time.Time) turn {
	other := l.over(v)
	if t.firing != "" {
		other = l.well(v)
	}
	if !other {
		t.turned = time.Time{}
		return stays
	}
	if t.turned.IsZero() || now.Before(t.turned) {
		t.turned = now
	}
	if now.Sub(t.turned) < l.For {
		return stays
	}
	t.turned = time.Time{}
	if t.firing != "" {
		return clears
	}
	return fires
}

// Measure is a number of a machine.
type Measure struct {
	Name, Object string
	Value        float64
	Detail       string
}

// Machine is what a machine says of itself.
type Machine struct {
	Site, Host string
	Seen       time.Time // when it said so, by the hub's clock
	Measures   []Measure
}

// Firing is one time that a limit was exceeded.
type Firing struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Site      string    `json:"site"`
	Host      string    `json:"host"`
	Object    string    `json:"object"`
	Value     float64   `json:"value"` // when it fired
	Worst     float64   `json:"worst"`
	Detail    string    `json:"detail"`
	FiredAt   time.Time `json:"fired_at"`
	ClearedAt time.Time `json:"cleared_at"` // zero while it lasts
	Planned   string    `json:"planned"`    // id of the window that kept it quiet
	Told      bool      `json:"told"`       // a finding was made
	Limit     Limit     `json:"limit"`
}

// Window is time of planned work at a site or on one machine.
type Window struct {
	ID      string    `json:"id"`
	Site    string    `json:"site"`
	Host    string    `json:"host"` // empty: the whole site
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Reason  string    `json:"reason"`
	Rules   []string  `json:"rules"` // ids of other rules that the work explains; thresholds are always meant
	MadeBy  string    `json:"made_by"`
	EndedBy string    `json:"ended_by,omitempty"` // who ended it early
	Version int       `json:"version"`
	Held    int       `json:"-"` // alerts that nobody was told of
}

// Bounds of a window.
const (
	MaxWindow = 14 * 24 * time.Hour // longer work is several windows: somebody must look again
	maxRules  = 20
	maxReason = 400
)

func (w Window) check(now time.Time) error {
	switch {
	case w.Site == "":
		return fault.New(fault.Invalid, "threshold.window-site")
	case !w.Until.After(w.From) || !w.Until.After(now) || w.Until.Sub(w.From) > MaxWindow:
		return fault.New(fault.Invalid, "threshold.window-time")
	case strings.TrimSpace(w.Reason) == "" || !plain(w.Reason, maxReason):
		return fault.New(fault.Invalid, "threshold.window-reason")
	case len(w.Rules) > maxRules || slices.ContainsFunc(w.Rules, func(r string) bool { return r == "" || !plain(r, 200) }):
		return fault.New(fault.Invalid, "threshold.window-rules")
	}
	return nil
}

func plain(s string, n int) bool {
	return len(s) <= n && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' }) < 0
}

// covers says whether the window holds for a machine at a moment.
func (w Window) covers(site, host string, at time.Time) bool {
	return w.Site == site && (w.Host == "" || w.Host == host) && !at.Before(w.From) && at.Before(w.Until)
}
