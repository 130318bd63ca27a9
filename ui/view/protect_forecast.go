package view

import (
	"strconv"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/plan"
)

// ForecastData is what the page of the forecast shows.
type ForecastData struct {
	Nav      []string
	Plans    []plan.Plan
	Plan     *plan.Plan // nil: there is none
	Forecast forecast.Forecast
	Rates    map[string]forecast.Rate // by source of the plan
	Incident incident.Incident        // that is followed; empty: none
	Running  []incident.Incident      // in which the plan runs
}

// TermsData is what the form of prices shows.
type TermsData struct {
	Plan     plan.Plan
	Terms    forecast.Terms
	Restores []forecast.Restore
}

// lengthOf writes hours as people say them.
func lengthOf(p Page, hours float64) string {
	return p.Span(time.Duration(hours * float64(time.Hour)).Round(time.Minute))
}

func yenOf(p Page, y forecast.Yen) string {
	return p.T("protect.forecast.yen", "low", i18n.Count(round(y.Low)), "high", i18n.Count(round(y.High)))
}

// round keeps three digits: the rest of a forecast is noise.
func round(v int64) int64 {
	unit := int64(1)
	for v/unit >= 1000 {
		unit *= 10
	}
	return (v + unit/2) / unit * unit
}

func lossOf(p Page, s forecast.Service) string {
	switch {
	case s.Data == 0:
		return "—"
	case s.Loss < 0:
		return p.T("protect.forecast.unknown")
	}
	return p.T("protect.forecast.loss.value", "time", lengthOf(p, s.Loss))
}

func provenOf(p Page, s forecast.Service) string {
	switch {
	case s.Data == 0:
		return "—"
	case s.Proven.IsZero():
		return p.T("protect.forecast.never")
	}
	return i18n.Date(p.Lang, s.Proven)
}

func targetOf(p Page, t forecast.Target) string {
	if t.Hours == 0 {
		return "—"
	}
	return lengthOf(p, t.Hours)
}

// savesOf is how much sooner everything would be back.
func savesOf(p Page, c forecast.Change) string {
	switch {
	case c.Saves > 0.05:
		return lengthOf(p, c.Saves)
	case c.Saves < -0.05:
		return p.T("protect.forecast.saves.worse", "time", lengthOf(p, -c.Saves))
	}
	return p.T("protect.forecast.saves.none")
}

func savedYen(c forecast.Change) string {
	if c.Yen <= 0 {
		return "—"
	}
	return i18n.Count(round(c.Yen))
}

func rateOf(p Page, r forecast.Rate) string {
	rate := "∞"
	if r.Byte > 0 {
		rate = strconv.FormatFloat(1/r.Byte/1e6, 'f', 0, 64)
	}
	return p.T("protect.forecast.rate.of", "rate", rate, "file", strconv.FormatFloat(r.File*1000, 'f', 2, 64))
}

// forecastLines are the sentences for those who decide.
func forecastLines(p Page, l forecast.Line) []string {
	key := "protect.forecast.line"
	if l.Incident != "" {
		key += ".running"
	}
	all := []string{p.T(key, "p50", p.Span(l.P50), "p90", p.Span(l.P90))}
	if l.Loss < 0 {
		all = append(all, p.T("protect.forecast.line.loss.unknown"))
	} else {
		all = append(all, p.T("protect.forecast.line.loss", "loss", p.Span(l.Loss)))
	}
	if l.LastProven.IsZero() {
		all = append(all, p.T("protect.forecast.line.never"))
	} else {
		all = append(all, p.T("protect.forecast.line.proven", "date", i18n.Date(p.Lang, l.LastProven)))
	}
	if !l.Calibrated {
		all = append(all, p.T("protect.forecast.line.uncalibrated"))
	}
	if !l.Changed.IsZero() {
		all = append(all, p.T("protect.forecast.changed", "time", p.Time(l.Changed)))
	}
	return all
}

// maySee says whether the viewer may see the plan of a line.
func maySee(p Page, l *forecast.Line) bool {
	return l != nil && p.May(auth.ProtectSee, auth.Resource{Kind: "protect", ID: l.Plan, Site: l.Site})
}

// stateClass is the look of a service's state.
func stateClass(s string) string {
	return map[string]string{"waiting": "state state-waiting", "running": "state state-working", "done": "state state-done"}[s]
}

// MaxLosses is how many lines of losses the form takes.
const MaxLosses = 300

// lossRows are the lines of the form of losses: those there are, and four more.
func lossRows(t forecast.Terms) []forecast.Loss {
	rows := append([]forecast.Loss{}, t.Losses...)
	for range min(4, MaxLosses-len(rows)) {
		rows = append(rows, forecast.Loss{})
	}
	return rows
}

// TargetKeys are the lines of the form of targets: everything, then each
// service.
func TargetKeys(p plan.Plan) []string {
	keys := []string{""}
	for _, s := range p.Services {
		keys = append(keys, s.Key)
	}
	return keys
}

func targetName(p Page, x plan.Plan, key string) string {
	if key == "" {
		return p.T("protect.forecast.all")
	}
	return serviceName(p, x, key)
}

func termsTarget(t forecast.Terms, key string) forecast.Target {
	for _, x := range t.Targets {
		if x.Service == key {
			return x
		}
	}
	return forecast.Target{}
}

func termsPrice(t forecast.Terms, key string) forecast.Price {
	for _, x := range t.Prices {
		if x.Key == key {
			return x
		}
	}
	return forecast.Price{}
}

// yenField is an amount in a field; nothing where there is no line yet.
func yenField(v int64, there bool) string {
	if !there {
		return ""
	}
	return strconv.FormatInt(v, 10)
}
