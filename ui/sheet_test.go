package ui

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/incident"
)

func TestSheetApprovesWhereActionsAreApproved(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	const form = `<form method="post" action="/actions/ac-1/approve">`
	if page := v.as("executive").get("/incidents/in-1/sheet").body; strings.Contains(page, form) || !strings.Contains(page, `href="/actions/ac-1/approve"`) {
		t.Error("who may not approve is offered the button, or not the way to the request")
	}
	approver := v.as("approver")
	if page := approver.get("/incidents/in-1/sheet").body; !strings.Contains(page, form) {
		t.Error("who may approve is not offered the button")
	}
	if got := approver.post("/actions/ac-1/approve"); got.status != http.StatusSeeOther && got.status != http.StatusOK {
		t.Errorf("approving: %d", got.status)
	}
	if h.acts[0].State != action.Approved || h.acts[0].DecidedBy != "pe-approver" {
		t.Errorf("the action is %+v", h.acts[0])
	}
	if page := approver.get("/incidents/in-1/sheet").body; strings.Contains(page, form) {
		t.Error("an approved action still waits on the sheet")
	}
}

func TestSheetIsForThoseWhoReadDocuments(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	contractor := v.as("contractor")
	for _, path := range []string{"/executive", "/incidents/in-1/sheet", "/incidents/in-1/sheet/paper", "/incidents/in-1/sheets/sh-1"} {
		if got := contractor.get(path); got.status != http.StatusForbidden {
			t.Errorf("%s as a contractor: %d", path, got.status)
		}
	}
	if got := v.as("executive").post("/incidents/in-1/sheets"); got.status != http.StatusForbidden || len(h.kept) != 0 {
		t.Errorf("keeping without the right: %d", got.status)
	}
	r := v.as("responder")
	if got := r.get("/incidents/in-1/sheets/sh-1"); got.status != http.StatusNotFound {
		t.Errorf("a version that nobody kept: %d", got.status)
	}
	r.post("/incidents/in-1/sheets")
	if got := r.get("/incidents/in-1/sheet").body; !strings.Contains(got, `href="/incidents/in-1/sheets/sh-1?lang=ja"`) {
		t.Error("the kept version is not on the page")
	}
	if got := r.get("/incidents/in-1/sheets/sh-1?lang=en"); got.status != http.StatusOK || !strings.Contains(got.body, `lang="en"`) {
		t.Errorf("the kept version: %d", got.status)
	}
	paper := r.get("/incidents/in-1/sheet/paper?lang=ja").body
	if !strings.Contains(paper, "size: A3 landscape") || strings.Contains(paper, "<form") || strings.Contains(paper, "<script") {
		t.Error("the paper is not a file of its own for A3")
	}
}

func TestExecutivePageShowsTheGravestOrThatAllIsWell(t *testing.T) {
	h := newHouse().inCourse()
	practice, small, grave := h.cases[0], h.cases[0], h.cases[0]
	practice.ID, practice.No, practice.Drill, practice.Severity = "in-2", 2, true, event.Critical
	small.ID, small.No, small.Severity = "in-3", 3, event.Low
	grave.ID, grave.No, grave.Severity = "in-4", 4, event.Critical
	h.cases = append(h.cases, practice, small, grave)
	v, _ := h.open(t)
	boss := v.as("executive")
	page := boss.get("/executive?lang=ja").body
	if !strings.Contains(page, "<h1>事案 No.4") || !strings.Contains(page, "ほかに進行中の事案が3件") {
		t.Error("the gravest incident is not on the page")
	}
	if !strings.Contains(page, `<noscript><meta http-equiv="refresh" content="30"`) {
		t.Error("without script the page grows old")
	}
	for i := range h.cases {
		h.cases[i].State = incident.Ended
	}
	page = boss.get("/executive?lang=ja").body
	if !strings.Contains(page, "<h1>✓ 異常ありません</h1>") || !strings.Contains(page, "14:05 に確かめました") {
		t.Error("a quiet house does not say that all is well, and when that was looked at")
	}
	h.alertList[0].Incident, h.alertList[0].State = "", "open"
	if page = boss.get("/executive?lang=ja").body; strings.Contains(page, "異常ありません") || !strings.Contains(page, "警報が1件") {
		t.Error("all is said to be well with a serious alert that nobody took")
	}
}

func TestStateIsSetByHandWithoutScript(t *testing.T) {
	h := newHouse().inCourse()
	h.hands = nil
	v, _ := h.open(t)
	const form = `action="/incidents/in-1/sheet/states"`
	if page := v.as("executive").get("/incidents/in-1/sheet").body; strings.Contains(page, form) {
		t.Error("who only reads is offered the form")
	}
	if got := v.as("executive").post("/incidents/in-1/sheet/states", "hand_system", "x", "hand_site", "hospital", "hand_state", "stopped", "hand_why", "x"); got.status != http.StatusForbidden {
		t.Errorf("setting without the right: %d", got.status)
	}
	r := v.as("responder")
	if got := r.post("/incidents/in-1/sheet/states", "hand_system", "調剤の機械", "hand_site", "hospital", "hand_state", "stopped"); !strings.Contains(got.body, "理由がありません") || !strings.Contains(got.body, `value="調剤の機械"`) {
		t.Errorf("without a reason: %d, and what was typed is lost or nothing is said", got.status)
	}
	if got := r.post("/incidents/in-1/sheet/states", "hand_system", "調剤の機械", "hand_site", "hospital", "hand_state", "stopped", "hand_why", "薬剤部から電話"); got.status != http.StatusSeeOther {
		t.Errorf("setting: %d %s", got.status, got.body)
	}
	page := r.get("/incidents/in-1/sheet?lang=ja").body
	if !strings.Contains(page, "× <span>手入力</span>") || !strings.Contains(page, "薬剤部から電話") {
		t.Error("the sheet does not show what was set, and that it was set by hand")
	}
	if paper := r.get("/incidents/in-1/sheet/paper?lang=ja").body; !strings.Contains(paper, "手入力") {
		t.Error("nor does the paper")
	}
	r.post("/incidents/in-1/sheet/states", "hand_system", "調剤の機械", "hand_site", "hospital", "clear", "1")
	if len(h.hands) != 0 {
		t.Errorf("taken back: %v", h.hands)
	}
}
