package view

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/ready/asset"
)

// HealthData is every threshold with how often it fired, what lasts now, and
// planned work.
type HealthData struct {
	Rows    []HealthRow
	Open    []threshold.Firing
	Windows []threshold.Window
	Sites   []asset.Site
	Hosts   []asset.Host
	MayAll  bool // change what holds everywhere
	MaySite bool // change something
}

// HealthRow is one measure.
type HealthRow struct {
	Limit         threshold.Limit
	Own           []threshold.Limit // of sites and machines
	Week, Quarter threshold.Count
}

// advice is the key of what to think of, "" when the limit serves.
func (r HealthRow) advice() string {
	q := r.Quarter
	switch {
	case q.Fired >= 4 && q.Short*2 > q.Fired:
		return "threshold.advice.short"
	case q.Fired >= 10 && q.BusiestN*10 >= q.Fired*7 && q.Hosts > 1:
		return "threshold.advice.one"
	case q.Fired >= 30:
		return "threshold.advice.many"
	}
	return ""
}

// LimitData is one threshold to change.
type LimitData struct {
	Limit threshold.Limit
	Place string // "", "site:ID" or "host:ID"
	Own   bool   // it is set for exactly that place
	Past  []threshold.Firing
	Sites []asset.Site
	Hosts []asset.Host
}

// shares are the measures that people read in per cent.
func isShare(name string) bool {
	return name == "cpu" || name == "memory" || name == "disk" || name == "inodes"
}

// AmountText writes a value of a measure without its unit, as ParseAmount reads it.
func AmountText(name string, v float64) string {
	if isShare(name) {
		v *= 100
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// ParseAmount reads a value of a measure in the unit in which it is shown.
func ParseAmount(name, text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%")), 64)
	if isShare(name) {
		v /= 100
	}
	return v, err
}

// Amount writes a value with its unit.
func (p Page) Amount(name string, v float64) string {
	if name == "service" || name == "backup-failed" {
		if v >= 1 {
			return p.T("threshold.wrong")
		}
		return p.T("threshold.well")
	}
	return p.T("threshold.unit."+name, "value", AmountText(name, v))
}

// rule says when a limit fires, in one sentence.
func (p Page) rule(l threshold.Limit) string {
	if l.Name == "service" || l.Name == "backup-failed" {
		return p.T("threshold.rule.state", "for", p.lasting(l.For))
	}
	key := "threshold.rule.above"
	if l.Below {
		key = "threshold.rule.below"
	}
	return p.T(key, "on", p.Amount(l.Name, l.On), "off", p.Amount(l.Name, l.Off), "for", p.lasting(l.For))
}

func (p Page) lasting(d time.Duration) string {
	if d == 0 {
		return p.T("threshold.at-once")
	}
	return p.Span(d)
}

// place names what a limit or a window is for.
func (p Page) place(site, host string) string {
	if host != "" {
		return p.Host(host)
	}
	return p.Site(site)
}

// placeKey is the value of the choice of a place.
func placeKey(site, host string) string {
	switch {
	case host != "":
		return "host:" + host
	case site != "":
		return "site:" + site
	}
	return ""
}

// state of a window.
func windowState(w threshold.Window, now time.Time) (key, progress string) {
	switch {
	case !w.Until.After(now):
		return "threshold.window.over", "done"
	case w.From.After(now):
		return "threshold.window.later", "waiting"
	}
	return "threshold.window.now", "working"
}
