package ui

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ui/view"
)

// maxHolidayForm is what a form takes of a list; the one of all years since 1955
// has 21 kB.
const maxHolidayForm = 256 << 10

func (c *call) holidays() (screen, error) {
	var d view.HolidaysData
	var err error
	if d.Known, d.Updates, err = c.Duties.HolidaysNow(c.ctx()); err != nil {
		return screen{}, err
	}
	p := c.page("incidents", c.t("holiday.page"))
	return screen{page: p, body: view.Holidays(p, d)}, nil
}

// lookAtHolidays shows what a list would do. The file travels on in the form, so
// that nothing is kept of one that nobody takes.
func (c *call) lookAtHolidays() (bool, error) {
	name, data, err := c.upload("holiday_file", maxHolidayForm)
	if err != nil {
		return false, err
	}
	days, err := readHolidays(data)
	if err != nil {
		return false, err
	}
	d := view.HolidayLook{Name: name, Source: c.form("holiday_source"), Data: base64.StdEncoding.EncodeToString(data), SHA256: sumOf(data)}
	if d.Effect, err = c.Duties.PreviewHolidays(c.ctx(), days); err != nil {
		return false, err
	}
	for _, m := range d.Effect.Moved {
		i, err := c.Incidents.Get(c.ctx(), m.Incident)
		if err != nil {
			return false, err
		}
		if !c.may(auth.View, auth.Resource{Kind: "report", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)}) {
			d.Hidden++
			continue
		}
		d.Moved = append(d.Moved, view.HolidayMoved{Incident: i, Clocks: m.Clocks})
	}
	p := c.page("incidents", c.t("holiday.preview"))
	p.Path = "/authorities/holidays"
	return true, c.show(screen{page: p, body: view.HolidayPreview(p, d)})
}

func (c *call) takeHolidays() (string, error) {
	data, err := base64.StdEncoding.DecodeString(c.form("holiday_data"))
	if err != nil {
		return "", fault.New(fault.Invalid, "ui.form").With(err)
	}
	days, err := readHolidays(data)
	if err != nil {
		return "", err
	}
	u := duty.HolidayUpdate{By: c.who.ID, Source: cmp.Or(c.form("holiday_source"), c.form("holiday_name")), SHA256: sumOf(data), Days: days}
	if _, err := c.Duties.UpdateHolidays(c.ctx(), u); err != nil {
		return "", err
	}
	return "/authorities/holidays?done=holidays", nil
}

func readHolidays(data []byte) ([]duty.Holiday, error) {
	if len(data) > maxHolidayForm {
		return nil, fault.New(fault.Invalid, "duty.holidays-large", maxHolidayForm>>10)
	}
	days, err := duty.ParseHolidayCSV(bytes.NewReader(data))
	if err != nil {
		return nil, fault.New(fault.Invalid, "duty.holidays", err.Error())
	}
	return days, nil
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
