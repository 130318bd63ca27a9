package ui

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/threshold"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/state"
)

// measured is what a machine of the house says of itself.
var measured = []asset.Measure{
	{Name: "clock", Value: 0.02, Detail: "hub +0.02 s, kernel +0.00 s"},
	{Name: "backup", Object: "夜間バックアップ", Value: 31, Detail: "2026-11-20 22:05Z"},
	{Name: "service", Object: "<b>db", Value: 1, Detail: "failed (failed)"},
	{Name: "certificate", Object: "mail", Value: 12.5, Detail: "2026-12-04"},
	{Name: "disk", Object: "/", Value: 0.93},
	{Name: "fills", Object: "/", Value: 17, Detail: "17 h"},
}

// withThresholds gives the house a week of machines that were not well, and
// maintenance that explained some of it.
func (h *house) withThresholds(t *testing.T, db *state.DB, log *slog.Logger) {
	t.Helper()
	at := start.Add(-6 * 24 * time.Hour)
	var said []threshold.Machine
	now := func() time.Time { return at }
	h.thresholds = threshold.New(db, func(context.Context) ([]threshold.Machine, error) { return said, nil }, now, log)
	by := auth.Person{ID: "pe-admin"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	looks := func(d time.Duration, host, site string, all ...threshold.Measure) {
		for end := at.Add(d); !at.After(end); at = at.Add(time.Minute) {
			said = []threshold.Machine{{Site: site, Host: host, Seen: at, Measures: all}}
			must(h.thresholds.Look(t.Context()))
		}
	}
	must(h.thresholds.SetLimit(t.Context(), threshold.Limit{Name: "disk", Site: "hospital", Host: "ho-2", On: .97, Off: .95, For: 10 * time.Minute, Level: event.High}, by))
	must(h.thresholds.SetLimit(t.Context(), threshold.Limit{Name: "clock-spread", On: 2, Off: 1, For: time.Minute, Quiet: true}, by))
	for range 6 { // a service that comes and goes
		looks(5*time.Minute, "ho-1", "callcentre", threshold.Measure{Name: "service", Object: "softphone", Value: 1, Detail: "no process"})
		looks(10*time.Minute, "ho-1", "callcentre", threshold.Measure{Name: "service", Object: "softphone"})
	}
	_, err := h.thresholds.Plan(t.Context(), threshold.Window{Site: "hospital", Host: "ho-2", From: at, Until: at.Add(2 * time.Hour), Reason: "OSの更新"}, by)
	must(err)
	looks(30*time.Minute, "ho-2", "hospital", threshold.Measure{Name: "service", Object: "<b>db", Value: 1, Detail: "inactive (dead)"})
	looks(30*time.Minute, "ho-2", "hospital", threshold.Measure{Name: "service", Object: "<b>db"})
	at = start.Add(-time.Hour)
	looks(20*time.Minute, "ho-2", "hospital", threshold.Measure{Name: "backup", Object: "夜間バックアップ", Value: 31}, threshold.Measure{Name: "certificate", Object: "mail", Value: 12.5, Detail: "2026-12-04"})
	_, err = h.thresholds.Plan(t.Context(), threshold.Window{Site: "callcentre", From: start.Add(-time.Hour), Until: start.Add(time.Hour), Reason: "回線の切り替え", Rules: []string{"new-service"}}, by)
	must(err)
	at = start
}

func TestAThresholdIsChangedForOneMachine(t *testing.T) {
	h := newHouse().withEvents(t)
	v, _ := h.open(t)
	b := v.as("admin")
	form := []string{"place", "host:ho-1", "on", "80", "off", "70%", "minutes", "3", "severity", "high"}
	if got := b.post("/health/disk", form...); got.status != http.StatusSeeOther {
		t.Fatalf("%d %s", got.status, got.body)
	}
	l, err := h.thresholds.Limit(t.Context(), "disk", "callcentre", "ho-1")
	if err != nil || l.On != 0.8 || l.Off != 0.7 || l.For != 3*time.Minute || l.Level != event.High || l.SetBy != "pe-admin" {
		t.Errorf("set %+v, %v", l, err)
	}
	for name, bad := range map[string][]string{
		"off above on":  {"place", "", "on", "80", "off", "90", "minutes", "3", "severity", "high"},
		"no number":     {"place", "", "on", "much", "off", "70", "minutes", "3", "severity", "high"},
		"no severity":   {"place", "", "on", "80", "off", "70", "minutes", "3", "severity", "loud"},
		"two days":      {"place", "", "on", "80", "off", "70", "minutes", "2880", "severity", "high"},
		"not a number":  {"place", "", "on", "NaN", "off", "70", "minutes", "3", "severity", "high"},
		"no such place": {"place", "room:1", "on", "80", "off", "70", "minutes", "3", "severity", "high"},
	} {
		if got := b.post("/health/disk", bad...); got.status < 400 || got.status > 499 {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	if got := b.post("/health/disk/drop", "place", "host:ho-1"); got.status != http.StatusSeeOther {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if l, err := h.thresholds.Limit(t.Context(), "disk", "callcentre", "ho-1"); err != nil || l.On != 0.9 {
		t.Errorf("after taking it back %+v, %v", l, err)
	}
}

func TestMaintenanceIsPlannedAndEnded(t *testing.T) {
	h := newHouse().withEvents(t)
	v, _ := h.open(t)
	b := v.as("admin")
	if got := b.post("/windows", "place", "site:hospital", "ends", "2026-11-22T16:00", "work", "停電の試験"); got.status != http.StatusSeeOther {
		t.Fatalf("%d %s", got.status, got.body)
	}
	list, err := h.thresholds.Windows(t.Context(), "hospital")
	if err != nil || len(list) < 1 || list[0].Reason != "停電の試験" || !list[0].Until.Equal(start.Add(115*time.Minute)) {
		t.Fatalf("%+v, %v", list, err)
	}
	if got := v.as("contractor").post("/windows/" + list[0].ID + "/end"); got.status != http.StatusForbidden {
		t.Errorf("a contractor ends it: %d", got.status)
	}
	if got := b.post("/windows/" + list[0].ID + "/end"); got.status != http.StatusSeeOther {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := b.post("/windows", "place", "site:hospital", "ends", "2026-11-22T10:00", "work", "昨日の作業"); got.status != http.StatusUnprocessableEntity && got.status != http.StatusBadRequest {
		t.Errorf("a window in the past: %d", got.status)
	}
}

func TestContractorsSeeTheirOwnMachinesOnly(t *testing.T) {
	v, _ := newHouse().withEvents(t).open(t)
	got := v.as("contractor").get("/health").body
	if strings.Contains(got, "ehr-ws-014") || strings.Contains(got, "OSの更新") || !strings.Contains(got, "回線の切り替え") {
		t.Error("a contractor sees what is not theirs, or not what is")
	}
}
