package ui

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/decision"
)

// decisionsOf has one evaluation of the service of the story, and one decision
// about it that waits for its approval.
type decisionsOf struct{ *house }

// evaluated is the service of the story as the default criteria see it.
func evaluated(incident string) decision.Evaluation {
	seats, calls, persons := 12, 40, 8_412
	e := decision.Evaluation{Incident: incident, At: start, Service: decision.Service{Key: "callcentre/sv-1", Site: "callcentre", Name: "外来予約の電話受付", Hosts: []string{"ho-1"}, Hit: []string{"ho-1"}},
		Sheet: decision.SheetRef{From: decision.Shipped}, Called: -1, Limited: -1,
		Stop: decision.StopCost{Effects: []string{"この席で予約の電話を受けられなくなる。残り11席で受ける。"}, Loads: []string{"1時間あたり約40件の電話"}, Wards: []string{}, Clinics: []string{"内科", "整形外科<b>op</b>"}, Calls: &calls,
			Kept: []decision.Kept{{Host: "ho-1", Why: "夜間の当直呼び出しに使う"}}}}
	seen := map[string]int{"hosts": 1, "service-hosts": 1, "severity": 3, "encrypting": 0, "leaving": 1, "alert-hosts": 1, "alerts-hour": 1, "reachable": seats, "persons": persons, "sensitive": persons, "wards": 0, "clinics": 2, "calls": calls, "kept": 1}
	of := func(measure, from string) decision.Seen {
		n, known := seen[measure]
		return decision.Seen{Measure: measure, Known: known, Value: int64(n), From: from}
	}
	e.Spread = decision.SpreadCost{Hosts: of("hosts", "scope"), Reachable: of("reachable", "register"), Persons: of("persons", "register"), Sensitive: of("sensitive", "register"), MyNumber: of("my-number", "facts")}
	all, _ := decision.Defaults() // they are read at every start, and tested there
	for i, c := range all {
		r := decision.Result{Criterion: c, Mark: decision.Unknown, Seen: of(c.Measure, map[string]string{decision.Scale: "scope", decision.Spread: "alerts", decision.Sensitivity: "facts", decision.Care: "register"}[c.Kind()])}
		switch {
		case !r.Seen.Known:
			e.Unknown++
		case r.Seen.Value < c.AtLeast:
			r.Mark = decision.Not
		default:
			r.Mark = decision.Fired
		}
		if e.Results = append(e.Results, r); c.Measure == "persons" {
			e.Called, e.Verdict = i, decision.Stop
		}
		if c.Measure == "kept" {
			e.Limited, e.Verdict = i, decision.Pause
		}
	}
	return e
}

func (h decisionsOf) Evaluate(_ context.Context, incident string) ([]decision.Evaluation, error) {
	other := decision.Evaluation{Incident: incident, At: start, Service: decision.Service{Key: "hospital/ehr", Site: "hospital", Name: "電子カルテ", Hosts: []string{"ho-2"}}, Sheet: decision.SheetRef{From: decision.AllService, Version: 2},
		Called: -1, Limited: -1, Unknown: 1, Results: []decision.Result{{Criterion: decision.Criterion{Measure: "growth", AtLeast: 200, Verdict: decision.Pause, Source: detect.Text{"ja": "規程"}}, Mark: decision.Unknown, Seen: decision.Seen{Measure: "growth", From: "alerts"}}}}
	return []decision.Evaluation{evaluated(incident), other}, nil
}

func (h decisionsOf) Versions(_ context.Context, id string) ([]decision.Decision, error) {
	first := decision.Decision{ID: "dc-1", Version: 1, Act: decision.ActMade, Incident: "in-1", No: 1, Service: evaluated("in-1").Service, Verdict: decision.Stop, Who: "当直医 佐々木", Proxy: &decision.Proxy{For: "pe-executive", Rule: "情報システム運用規程 第12条"},
		Reason: "個人情報の送信が続いている。\n予約は残りの席で受ける。", DecidedAt: start.Add(-3 * time.Minute), ReviewAt: start.Add(-time.Minute), Approval: decision.Approval{State: decision.Waiting}, Seen: evaluated("in-1"),
		MadeBy: "pe-responder", MadeAt: start.Add(-2 * time.Minute), By: "pe-responder", At: start.Add(-2 * time.Minute)}
	second := first
	second.Version, second.Act, second.At = 2, decision.ActDissent, start.Add(-time.Minute)
	second.Dissents = []decision.Dissent{{Who: "外来師長", Why: "予約の変更を止められない<script>alert(1)</script>", By: "pe-responder", At: second.At}}
	if id != first.ID {
		return nil, missing("decision.missing")
	}
	return []decision.Decision{first, second}, nil
}

func (h decisionsOf) Get(ctx context.Context, id string) (decision.Decision, error) {
	all, err := h.Versions(ctx, id)
	if err != nil {
		return decision.Decision{}, err
	}
	return all[len(all)-1], nil
}

func (h decisionsOf) List(ctx context.Context, incident string) ([]decision.Decision, error) {
	if incident != "in-1" {
		return nil, nil
	}
	v, err := h.Get(ctx, "dc-1")
	return []decision.Decision{v}, err
}

func (h decisionsOf) Decide(ctx context.Context, _ string, n decision.NewDecision, _ auth.Person) (decision.Decision, error) {
	h.mu.Lock()
	h.decided = append(h.decided, n)
	h.mu.Unlock()
	if n.Reason == "" {
		return decision.Decision{}, fault.New(fault.Invalid, "decision.reason-missing")
	}
	return h.Get(ctx, "dc-1")
}

func (h decisionsOf) Dissent(ctx context.Context, id, _, _ string, _ auth.Person) (decision.Decision, error) {
	return h.Get(ctx, id)
}

func (h decisionsOf) Approve(ctx context.Context, id string, _ bool, _, _ string, _ auth.Person) (decision.Decision, error) {
	return h.Get(ctx, id)
}

func (h decisionsOf) Criteria(context.Context, string) (decision.SheetRef, []decision.Criterion, error) {
	all, err := decision.Defaults()
	return decision.SheetRef{From: decision.Shipped}, all, err
}

func (h decisionsOf) Sheet(_ context.Context, key string) (decision.Sheet, error) {
	return decision.Sheet{Service: key, Version: 2}, nil
}

func (h decisionsOf) Sheets(_ context.Context, key string) ([]decision.Sheet, error) {
	all, err := decision.Defaults()
	return []decision.Sheet{{Service: key, Version: 2, At: start.Add(-time.Hour), By: "pe-admin", Why: "初期の基準に戻す"}, {Service: key, Version: 1, At: start.Add(-50 * time.Hour), By: "pe-admin", Why: "<b>op</b>試験", Criteria: all[:2]}}, err
}

func (h decisionsOf) SetSheet(_ context.Context, s decision.Sheet, _ auth.Person) (decision.Sheet, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sheets = append(h.sheets, s)
	return s, nil
}

func TestDecidingOnThePage(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	const at = "/incidents/in-1/decision"
	form := []string{"service", "callcentre/sv-1", "after", "1", "verdict", "pause", "decision_reason", "様子を見る", "who", "pe-executive", "review_at", "2026-11-22T16:00", "approve", "1"}
	if a := v.as("executive").post(at+"s", form...); a.status != http.StatusForbidden {
		t.Errorf("who only reads decides: %d", a.status)
	}
	if a := v.as("contractor").post(at+"s", form...); a.status != http.StatusForbidden {
		t.Errorf("a contractor decides: %d", a.status)
	}
	r := v.as("responder")
	if a := r.post(at+"s", form...); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "done=decided") {
		t.Fatalf("decide: %d %s", a.status, a.body)
	}
	got := h.decided[len(h.decided)-1]
	if got.Verdict != decision.Pause || got.Who != "pe-executive" || *got.After != 1 || !got.Approve || !got.ReviewAt.Equal(time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)) {
		t.Errorf("decided: %+v", got)
	}
	// a name without an account counts before the choice; what was typed stays
	a := r.post(at+"s", append(slices.Clone(form), "who_name", "院長 山田", "decision_reason", "")...)
	if a.status != http.StatusSeeOther || h.decided[len(h.decided)-1].Who != "院長 山田" {
		t.Errorf("by name: %d, %+v", a.status, h.decided)
	}
	form[7] = ""
	if a = r.post(at+"s", form...); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "理由を書いてください") || !strings.Contains(a.body, `value="pause" required checked`) {
		t.Errorf("no reason: %d %s", a.status, a.body)
	}
	if a := r.post(at+"s/dc-1/approve", "given", "1"); a.status != http.StatusForbidden {
		t.Errorf("who may not approve does: %d", a.status)
	}
	if a := v.as("approver").post(at+"s/dc-1/approve", "given", "1"); a.status != http.StatusSeeOther {
		t.Errorf("approve: %d %s", a.status, a.body)
	}
	if a := r.post(at+"s/dc-1/dissent", "dissenter", "師長", "dissent", "早い"); a.status != http.StatusSeeOther {
		t.Errorf("dissent: %d %s", a.status, a.body)
	}
	if page := v.as("contractor").get(at).body; strings.Contains(page, "電子カルテ") || !strings.Contains(page, "外来予約") {
		t.Error("a contractor sees services of another site, or not the own one")
	}
}

func TestCriteriaAreWrittenByAdministrators(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	all, err := decision.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	form := []string{"service", "callcentre/sv-1", "version", "2", "why", "院長の指示", "measure", all[0].Measure, "at_least", "3", "calls_for", "stop", "source", all[0].Source.In("ja"),
		"measure", "hosts", "at_least", "", "calls_for", "pause", "source", "", "measure", "yen", "at_least", "1,000,000", "calls_for", "pause", "source", "事務長"}
	if a := v.as("responder").post("/decision-criteria", form...); a.status != http.StatusForbidden {
		t.Errorf("a responder writes criteria: %d", a.status)
	}
	admin := v.as("admin")
	if a := admin.post("/decision-criteria", form...); a.status != http.StatusSeeOther {
		t.Fatalf("save: %d %s", a.status, a.body)
	}
	s := h.sheets[0]
	if len(s.Criteria) != 2 || s.Criteria[0].Source.In("en") != all[0].Source.In("en") || s.Criteria[0].AtLeast != 3 || s.Criteria[1].AtLeast != 1_000_000 || s.Version != 2 || s.Service != "callcentre/sv-1" {
		t.Errorf("saved: %+v", s)
	}
	form[9] = "many"
	if a := admin.post("/decision-criteria", form...); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "1行目") || !strings.Contains(a.body, "事務長") {
		t.Errorf("a number in words: %d", a.status)
	}
	if a := admin.get("/decision-criteria?service=nowhere%2Fx"); a.status != http.StatusNotFound {
		t.Errorf("no such service: %d", a.status)
	}
}

func TestTrustInAMachineEnds(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	admin := v.as("admin")
	if a := admin.post("/hosts/ho-1/remove"); a.status != http.StatusUnprocessableEntity || !h.hostList[0].RemovedAt.IsZero() {
		t.Errorf("without the tick: %d", a.status)
	}
	if a := admin.post("/hosts/ho-1/remove", "sure", "1"); a.status != http.StatusSeeOther || h.hostList[0].RemovedAt.IsZero() {
		t.Errorf("%d, %+v", a.status, h.hostList[0])
	}
	says(t, admin.get("/hosts/ho-1"), []string{"登録から外した"}, []string{"/hosts/ho-1/remove"})
}

func TestWhatStoppingCostsIsTypedOnTheMachine(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	admin := v.as("admin")
	form := []string{"name", "cc-pc-07", "class", "pc", "services", "外来予約の電話受付 | 止まる | 40件", "s0.wards", "なし", "s0.clinics", "内科、整形外科", "s0.calls", "40", "s0.yen", "120,000", "s0.persons", "", "s0.data", "personal", "s0.data", "sensitive"}
	if a := admin.post("/hosts/ho-1", form...); a.status != http.StatusSeeOther {
		t.Fatalf("save: %d %s", a.status, a.body)
	}
	s := h.hostList[0].Services[0]
	if s.ID != "sv-1" || s.Wards == nil || len(s.Wards) != 0 || !slices.Equal(s.Clinics, []string{"内科", "整形外科"}) || *s.Calls != 40 || *s.Yen != 120_000 || s.Persons != nil || len(s.Data) != 2 {
		t.Errorf("saved: %+v", s)
	}
	form[15] = "たくさん"
	if a := admin.post("/hosts/ho-1", form...); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "0以上の整数") {
		t.Errorf("a number in words: %d", a.status)
	}
}
