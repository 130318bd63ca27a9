package hub_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
)

// TestNewHolidaysMoveAnOpenIncidentsClocks: an administrator brings a list on
// the page; the open incident whose final report falls on a new holiday says so
// in its chronology, one line, and one that has ended does not.
func TestNewHolidaysMoveAnOpenIncidentsClocks(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	admin := h.FirstAdmin()
	var open, over incident.Incident
	for _, in := range []*incident.Incident{&open, &over} {
		admin.Must(http.MethodPost, "/incidents", api.NewIncident{Title: "名簿の流出", Severity: "high"}, in)
		f := duty.Facts{KnownAt: in.KnownAt, Personal: duty.Yes, Sensitive: duty.Yes, MyNumber: duty.No, BadIntent: duty.No}
		h.Await("the duties began", func() bool { return admin.Do(http.MethodGet, "/incidents/"+in.ID+"/duties", nil, nil) == nil })
		admin.Must(http.MethodPut, "/incidents/"+in.ID+"/facts", api.StatedFacts{Facts: f}, nil)
	}
	for _, s := range []incident.State{incident.Responding, incident.Contained, incident.Recovering, incident.Ended} {
		admin.Must(http.MethodPost, "/incidents/"+over.ID+"/move", api.Move{To: string(s), Reason: "済んだ"}, nil)
	}
	final := func() time.Time {
		var a duty.Assessment
		admin.Must(http.MethodGet, "/incidents/"+open.ID+"/duties", nil, &a)
		i := slices.IndexFunc(a.Clocks, func(c duty.Clock) bool { return c.ID == "appi_26.final" })
		if i < 0 {
			t.Fatalf("clocks %+v", a.Clocks)
		}
		return a.Clocks[i].Due.In(clock.Tokyo())
	}
	before := final()

	law, err := duty.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	csv := "日,名\n"
	for _, d := range law.Holidays.List() {
		if d.Day[:4] <= before.Format("2006") {
			csv += strings.ReplaceAll(d.Day, "-", "/") + "," + d.Name + "\n"
		}
	}
	csv += before.Format("2006/1/2") + ",臨時の休日\n"
	status, to, text := admin.Submit("/authorities/holidays", url.Values{"holiday_data": {base64.StdEncoding.EncodeToString([]byte(csv))}, "holiday_source": {"官報"}})
	if status != http.StatusSeeOther || !strings.Contains(to, "done=holidays") {
		t.Fatalf("taking the list: %d %s %s", status, to, text)
	}
	if after := final(); !after.After(before) {
		t.Errorf("the final report was due %s and still is (%s)", before, after)
	}
	line := admin.Written(open.ID, "duty.holidays")
	if m := line.Args["moves_ja"]; line.Args["by"] != admin.Person.ID || line.Args["source"] != "官報" || !strings.Contains(m, "確報") || !strings.Contains(m, before.Format(time.DateOnly)+" → ") || !strings.Contains(m, "規則") {
		t.Errorf("the line says %+v", line.Args)
	}
	for id, want := range map[string]int{open.ID: 1, over.ID: 0} {
		n := 0
		for _, e := range admin.Chronology(id) {
			if e.Key == "duty.holidays" {
				n++
			}
		}
		if n != want {
			t.Errorf("%s has %d lines about it, want %d", id, n, want)
		}
	}
}
