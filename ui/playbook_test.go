package ui

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/playbook"
)

// openCode is the code of the step of the house's run that waits for people.
func openCode(t *testing.T, h *house) string {
	t.Helper()
	r, err := booksOf{h}.Run(t.Context(), "run-1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := booksOf{h}.Book(t.Context(), r.Version)
	if err != nil {
		t.Fatal(err)
	}
	return b.Code(r.ID, b.Card(r.Visits[2].Step))
}

func TestPaperIsKeyedInWithBothTimes(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	b := v.as("responder")
	code := openCode(t, h)
	if page := b.get("/incidents/in-1/runs/run-1?lang=ja"); page.status != http.StatusOK || !strings.Contains(page.body, code) {
		t.Fatalf("the run's page (%d) has no code %s", page.status, code)
	}
	const path = "/incidents/in-1/runs/run-1/paper"
	if got := b.post(path, "day", "2026-11-22", "code", "99Z", "time", "13:20", "what", "done", "note", ""); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "99Z") {
		t.Errorf("a code that does not exist: %d", got.status)
	}
	if got := b.post(path, "day", "2026-11-22", "code", strings.ToLower(code), "time", "13:20", "what", "done", "note", "線を抜いた"); got.status != http.StatusSeeOther {
		t.Errorf("keyed in: %d", got.status)
	}
	want := playbook.Report{Visit: 3, What: "done", Note: "線を抜いた", At: time.Date(2026, 11, 22, 4, 20, 0, 0, time.UTC), Paper: true}
	if len(h.said) != 1 || !h.said[0].At.Equal(want.At) || !h.said[0].Paper || h.said[0].Visit != 3 || h.said[0].Note != want.Note {
		t.Errorf("reported %+v, want %+v", h.said, want)
	}
	if got := b.get("/incidents/in-2/runs/run-1"); got.status != http.StatusNotFound {
		t.Errorf("a run under another incident: %d, want 404", got.status)
	}
	if got := v.as("executive").post(path, "day", "2026-11-22", "code", code, "time", "13:20", "what", "done", "note", ""); got.status != http.StatusForbidden {
		t.Errorf("an executive keyed in: %d, want 403", got.status)
	}
}
