package ui

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/ui/view"
)

// Forecasts is what the pages need from forecast.
type Forecasts interface {
	Forecast(ctx context.Context, plan, incident string) (forecast.Forecast, error)
	IfNow(ctx context.Context, site string) (forecast.Line, bool, error)
	Of(ctx context.Context, in incident.Incident) (forecast.Line, bool, error)
	Terms(ctx context.Context, plan string) (forecast.Terms, error)
	SaveTerms(ctx context.Context, t forecast.Terms, by auth.Person) (forecast.Terms, error)
	Restores(ctx context.Context, plan string) ([]forecast.Restore, error)
	AddRestore(ctx context.Context, plan string, m forecast.Restore, by auth.Person) error
}

func (c *call) forecastPage() (screen, error) {
	d := view.ForecastData{Nav: protectPages()}
	var err error
	if d.Plans, d.Plan, err = c.chosenPlan(); err != nil {
		return screen{}, err
	}
	if d.Plan != nil {
		if d.Incident, err = c.followed(c.query("incident")); err != nil {
			return screen{}, err
		}
		if d.Forecast, err = c.Forecasts.Forecast(c.ctx(), d.Plan.ID, d.Incident.ID); err != nil {
			return screen{}, err
		}
		if d.Running, err = c.recovering(d.Plan.ID); err != nil {
			return screen{}, err
		}
		d.Rates = forecastRates(d.Forecast, *d.Plan)
	}
	p := c.page("protect", c.t("protect.forecast.title"))
	p.Drill = d.Forecast.Drill
	return screen{page: p, body: view.ForecastPage(p, d)}, nil
}

// forecastRates are the rates of sources that the forecast used, by their keys.
func forecastRates(f forecast.Forecast, p plan.Plan) map[string]forecast.Rate {
	rates := map[string]forecast.Rate{}
	for _, s := range f.Services {
		if of := p.Service(s.Key); of != nil && s.Data > 0 {
			rates[of.Source] = s.Rate
		}
	}
	return rates
}

// followed is the incident whose recovery is looked at, empty when none is.
func (c *call) followed(id string) (incident.Incident, error) {
	if id == "" {
		return incident.Incident{}, nil
	}
	i, err := c.Incidents.Get(c.ctx(), id)
	if err != nil {
		return i, err
	}
	return i, c.must(auth.View, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)})
}

// recovering are the incidents in which a plan runs.
func (c *call) recovering(id string) ([]incident.Incident, error) {
	all, err := c.beginnable()
	if err != nil {
		return nil, err
	}
	var out []incident.Incident
	for _, i := range all {
		runs, err := c.Books.Runs(c.ctx(), i.ID)
		if err != nil {
			return nil, fmt.Errorf("runs of %s: %w", i.ID, err)
		}
		for _, r := range runs {
			if r.Book == plan.BookID(id) {
				out = append(out, i)
				break
			}
		}
	}
	return out, nil
}

// roomRecovery is what is expected of bringing back what the incident touches.
func (c *call) roomRecovery(d *view.RoomData) (err error) {
	d.Recovery, err = known(c.Forecasts.Of(c.ctx(), d.Incident))
	return err
}

// known is a line, nil where there is none.
func known(l forecast.Line, ok bool, err error) (*forecast.Line, error) {
	if err != nil || !ok {
		return nil, err
	}
	return &l, nil
}

func (c *call) forecastTerms() (screen, error) {
	pl, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return screen{}, err
	}
	d := view.TermsData{Plan: pl}
	if d.Terms, err = c.Forecasts.Terms(c.ctx(), pl.ID); err != nil {
		return screen{}, err
	}
	if d.Restores, err = c.Forecasts.Restores(c.ctx(), pl.ID); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.forecast.terms"))
	return screen{page: p, body: view.ForecastTerms(p, d)}, nil
}

func (c *call) saveForecastTerms() (string, error) {
	pl, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	t := forecast.Terms{Plan: pl.ID}
	var version float64
	if err := c.figures(map[string]*float64{"version": &version, "records": &t.Records, "minutes": &t.Minutes}); err != nil {
		return "", err
	}
	t.Version = int(version)
	for _, key := range forecast.PriceKeys() {
		yen, ok, err := c.yen(key)
		if err != nil {
			return "", err
		}
		if ok {
			t.Prices = append(t.Prices, forecast.Price{Key: key, Yen: yen, Source: c.form(key + "-source")})
		}
	}
	for i := range view.MaxLosses {
		of := "loss" + strconv.Itoa(i)
		yen, ok, err := c.yen(of)
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		var from float64
		if err := c.figures(map[string]*float64{of + "-from": &from}); err != nil {
			return "", err
		}
		t.Losses = append(t.Losses, forecast.Loss{Service: c.form(of + "-service"), From: int(from), Yen: yen, Source: c.form(of + "-source")})
	}
	for i, key := range view.TargetKeys(pl) {
		x, of := forecast.Target{Service: key}, "target"+strconv.Itoa(i)
		if err := c.figures(map[string]*float64{of + "-hours": &x.Hours, of + "-loss": &x.Loss}); err != nil {
			return "", err
		}
		if x.Hours != 0 || x.Loss != 0 {
			t.Targets = append(t.Targets, x)
		}
	}
	if _, err := c.Forecasts.SaveTerms(c.ctx(), t, c.who); err != nil {
		return "", err
	}
	return forecastAt(pl.ID, "protect-terms"), nil
}

func forecastAt(id, done string) string {
	return "/protect/forecast?plan=" + url.QueryEscape(id) + "&done=" + done
}

// yen reads a range; not ok when both fields are empty.
func (c *call) yen(name string) (y forecast.Yen, ok bool, err error) {
	if c.form(name+"-low") == "" && c.form(name+"-high") == "" {
		return y, false, nil
	}
	var low, high float64
	err = c.figures(map[string]*float64{name + "-low": &low, name + "-high": &high})
	return forecast.Yen{Low: int64(low), High: int64(high)}, true, err
}

func (c *call) addMeasuredRestore() (string, error) {
	pl, err := c.thePlan(auth.ProtectChange)
	if err != nil {
		return "", err
	}
	m := forecast.Restore{Source: c.form("source"), Ref: c.form("ref")}
	var gb, files, streams float64
	if err := c.figures(map[string]*float64{"bytes": &gb, "files": &files, "seconds": &m.Seconds, "streams": &streams}); err != nil {
		return "", err
	}
	m.Bytes, m.Files, m.Streams = int64(gb*1e9), int64(files), int(streams)
	if m.At, err = c.moment("measured_at"); err != nil {
		return "", fault.New(fault.Invalid, "protect.forecast.restore").With(err)
	}
	if err := c.Forecasts.AddRestore(c.ctx(), pl.ID, m, c.who); err != nil {
		return "", err
	}
	return forecastAt(pl.ID, "protect-restore"), nil
}

// forecastSheet hands out the budget as a workbook.
func (c *call) forecastSheet() (bool, error) {
	pl, err := c.thePlan(auth.ProtectSee)
	if err != nil {
		return false, err
	}
	i, err := c.followed(c.query("incident"))
	if err != nil {
		return false, err
	}
	f, err := c.Forecasts.Forecast(c.ctx(), pl.ID, i.ID)
	if err != nil {
		return false, err
	}
	book, err := forecast.Budget(f, pl.Name, c.lang)
	if err != nil {
		return false, err
	}
	c.w.Header().Set("Content-Type", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
	c.w.Header().Set("Content-Disposition", `attachment; filename="forecast.xlsx"`)
	_, err = c.w.Write(book)
	return true, err
}
