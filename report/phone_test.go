package report_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/report"
)

type team struct{}

func (team) Roles(context.Context) ([]task.Role, error) {
	return []task.Role{{ID: task.Commander, Name: detect.Text{"ja": "指揮者", "en": "Commander"}}, {ID: "authorities", Under: task.Commander, Name: detect.Text{"ja": "連絡係", "en": "Liaison"}}}, nil
}

func (team) Posts(context.Context, string) ([]task.Post, error) {
	return []task.Post{{Role: "authorities", Name: "外部の 人", Contact: "090-1", From: start}, {Role: task.Commander, Person: "pe-1", From: start},
		{Role: task.Commander, Person: "pe-2", From: start, Until: start.Add(time.Minute)}, {Role: task.Commander, Person: "pe-3", Deputy: true, From: start}}, nil
}

func (team) Contacts(context.Context) ([]notify.Contact, error) {
	return []notify.Contact{{Person: "pe-1", Phone: "内線 1"}, {Person: "pe-2", Phone: "内線 2"}}, nil
}

func TestSheetForCallsHasNumbersAndSaysWhichNobodyChecked(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	deps := h.deps(h.duties.Rules())
	deps.PhoneBook = report.PhoneBook{Tasks: team{}, People: team{}, Authorities: h.duties}
	desk := report.New(h.db, deps, func() time.Time { return start.Add(90 * time.Minute) }, slog.New(slog.NewTextHandler(t.Output(), nil)))
	for id, c := range map[string]duty.NewContact{"prefecture": {Phone: "03-0000-0000", Note: "医務課", Verified: true}, "mext": {Removed: true}, "new": {Name: "消防本部", Phone: "119"}} {
		if err := h.duties.SaveContact(ctx, id, c, anna); err != nil {
			t.Fatal(err)
		}
	}
	d, err := desk.Draft(ctx, h.in.ID, report.Order{Kind: "first-call"})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Callers) != 3 || d.Callers[0] != (report.Caller{Role: report.Text{JA: "指揮者", EN: "Commander"}, Name: "安西 花", Phone: "内線 1"}) ||
		d.Callers[1].Name != "pe-3" || d.Callers[1].Phone != "" || !d.Callers[1].Deputy || d.Callers[2].Phone != "090-1" {
		t.Errorf("callers %+v", d.Callers)
	}
	by := map[string]report.Callee{}
	for _, c := range d.Callees {
		by[c.Name.EN] = c
	}
	if d.Callees[0].Name.EN != "Maintenance vendor" || d.Callees[0].Phone != "" || !d.Callees[0].Verify {
		t.Errorf("the vendor is not first: %+v", d.Callees[0])
	}
	if c := by["Prefecture, medical affairs"]; c.Phone != "03-0000-0000" || c.Verify || c.CheckedBy != anna.Name || c.Note != "医務課" {
		t.Errorf("a number that was checked: %+v", c)
	}
	if c := by["Personal Information Protection Commission (main)"]; c.Phone != "03-6457-9680" || !c.Verify {
		t.Errorf("a number that nobody checked: %+v", c)
	}
	if c := by["消防本部"]; c.Phone != "119" || !c.Verify {
		t.Errorf("a contact of the house: %+v", c)
	}
	if _, ok := by["Ministry of Education (university hospitals)"]; ok || by["National Cybersecurity Office (NCO)"].Name.EN != "" {
		t.Error("one that was removed, or is told with a form only, is on the sheet")
	}
	if d, err := desk.Draft(ctx, h.in.ID, report.Order{Kind: "situation"}); err != nil || len(d.Callers)+len(d.Callees) != 0 {
		t.Errorf("numbers stand on a sheet that has no need of them: %+v, %v", d.Callers, err)
	}
}
