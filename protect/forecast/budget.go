package forecast

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/report/xlsx"
)

// Budget writes a forecast as a workbook (.xlsx): what comes back when, what it
// costs, what would shorten it, and every price with its source.
func Budget(f Forecast, name detect.Text, lang string) ([]byte, error) {
	b := budget{f, lang}
	at := f.At.In(clock.Tokyo()).Format("2006-01-02 15:04")
	version := b.t("version", "no", strconv.Itoa(f.Version), "time", at)
	title := b.t("title") + " " + name.In(lang)
	return xlsx.Lists(title, version, []xlsx.List{b.services(), b.cost(), b.changes(), b.terms(), b.about(title, version)})
}

type budget struct {
	Forecast
	lang string
}

// t is a sentence of the area; pairs are names and values.
func (b budget) t(key string, pairs ...string) string {
	args := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		args[pairs[i]] = pairs[i+1]
	}
	return i18n.T(b.lang, "protect.forecast."+key, args)
}

func (b budget) name(service string) string {
	for _, s := range b.Services {
		if s.Key == service {
			return s.Name.In(b.lang)
		}
	}
	if service == "" {
		return b.t("all")
	}
	return service
}

func (b budget) services() xlsx.List {
	hours := "(" + b.t("sheet.hours") + ")"
	l := xlsx.List{Name: b.t("sheet.services"), Columns: []xlsx.Column{{Name: b.t("service"), Width: 34}, {Name: b.t("p50") + hours, Width: 18}, {Name: b.t("p90") + hours, Width: 18}, {Name: b.t("target") + hours, Width: 14},
		{Name: b.t("critical") + "(%)", Width: 16}, {Name: b.t("loss") + hours, Width: 18}, {Name: b.t("proven"), Width: 20}, {Name: b.t("confidence"), Width: 28}}}
	row := func(name string, back Hours, target float64) []any {
		goal := any("—")
		if target > 0 {
			goal = target
		}
		return []any{name, back.P50, back.P90, goal}
	}
	for _, s := range b.Services {
		loss, proven := any(b.t("unknown")), b.t("never")
		if s.Loss >= 0 {
			loss = s.Loss
		}
		if !s.Proven.IsZero() {
			proven = i18n.Date(b.lang, s.Proven)
		}
		if s.Data == 0 {
			loss, proven = "—", "—"
		}
		l.Rows = append(l.Rows, append(row(s.Name.In(b.lang), s.Back, s.Target.Hours), int64(s.Critical*100+0.5), loss, proven, Sure(b.lang, s, b.At)))
	}
	l.Rows = append(l.Rows, append(row(b.t("all"), b.Back, b.Target.Hours), "", "", "", ""))
	return l
}

func (b budget) cost() xlsx.List {
	l := xlsx.List{Name: b.t("sheet.cost"), Columns: []xlsx.Column{{Name: b.t("cost.item"), Width: 34}, {Name: b.t("low"), Width: 22}, {Name: b.t("high"), Width: 22}}}
	for _, x := range b.Cost.Items() {
		l.Rows = append(l.Rows, []any{b.t("cost." + x.Key), x.Yen.Low, x.Yen.High})
	}
	return l
}

// Item is one line of the cost.
type Item struct {
	Key string
	Yen Yen
}

// Items are the lines of the cost, the total last. The total is not the sum of
// the lines: not everything is dear in the same run.
func (m Money) Items() []Item {
	return []Item{{"staff", m.Staff}, {"vendors", m.Vendors}, {"lost", m.Lost}, {"reentry", m.Reentry}, {"total", m.Total}}
}

func (b budget) changes() xlsx.List {
	hours := "(" + b.t("sheet.hours") + ")"
	l := xlsx.List{Name: b.t("sheet.changes"), Columns: []xlsx.Column{{Name: b.t("change"), Width: 50}, {Name: b.t("p50") + hours, Width: 20}, {Name: b.t("p90") + hours, Width: 20}, {Name: b.t("saves") + hours, Width: 20}, {Name: b.t("saves.yen"), Width: 24}}}
	for _, c := range b.Changes {
		l.Rows = append(l.Rows, []any{b.t("change." + c.Key), c.Back.P50, c.Back.P90, c.Saves, c.Yen})
	}
	return l
}

func (b budget) terms() xlsx.List {
	l := xlsx.List{Name: b.t("sheet.terms"), Columns: []xlsx.Column{{Name: b.t("cost.item"), Width: 44}, {Name: b.t("low"), Width: 18}, {Name: b.t("high"), Width: 18}, {Name: b.t("source"), Width: 70}}}
	for _, p := range b.Terms.Prices {
		l.Rows = append(l.Rows, []any{b.t("price." + p.Key), p.Yen.Low, p.Yen.High, p.Source})
	}
	for _, x := range b.Terms.Losses {
		l.Rows = append(l.Rows, []any{b.name(x.Service) + " " + b.t("from") + " " + strconv.Itoa(x.From), x.Yen.Low, x.Yen.High, x.Source})
	}
	return l
}

func (b budget) about(title, version string) xlsx.List {
	l := xlsx.List{Name: b.t("sheet.about"), Columns: []xlsx.Column{{Name: "", Width: 24}, {Name: b.t("sheet.value"), Width: 110}}}
	l.Rows = [][]any{{b.t("title"), title}, {"", version}, {b.t("how"), b.t("how.what", "runs", i18n.Count(int64(b.Runs)))}, {b.t("cost"), b.t("cost.what")}}
	if !b.Calibrated {
		l.Rows = append(l.Rows, []any{b.t("confidence"), b.t("line.uncalibrated")})
	}
	return l
}

// Sure says in words how sure the rate of a service is.
func Sure(lang string, s Service, at time.Time) string {
	t := func(key string, args map[string]string) string {
		return i18n.T(lang, "protect.forecast.confidence."+key, args)
	}
	n := map[string]string{"n": fmt.Sprint(s.Rate.Drills)}
	switch {
	case s.Data == 0:
		return "—"
	case s.Rate.Drills == 0:
		return t("none", nil)
	case !s.Rate.Calibrated():
		return t("few", n)
	case s.Rate.years(at) >= 1:
		return t("old", map[string]string{"date": i18n.Date(lang, s.Rate.Last)})
	}
	return t("good", n)
}
