package ui

import (
	"net/http"
	"strings"
	"testing"
)

func TestDocumentsAreMadeApprovedAndTaken(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	says(t, r.get("/incidents/in-1/documents"), []string{"漏えい等報告書（速報）", "press.ja.html:12", "11月に電話で予約された方", "自分が作った書類です"}, []string{"⟦"})
	if got := r.post("/incidents/in-1/documents", "kind", "press"); got.status != http.StatusSeeOther || !strings.HasSuffix(got.header.Get("Location"), "#kind-press") {
		t.Errorf("made: %d %s", got.status, got.header.Get("Location"))
	}
	if got := r.post("/incidents/in-1/documents", "kind", "novel"); got.status != http.StatusUnprocessableEntity && got.status != http.StatusBadRequest {
		t.Errorf("an unknown kind: %d", got.status)
	}
	if got := r.post("/incidents/in-1/documents/do-1/approve"); got.status != http.StatusForbidden {
		t.Errorf("own document approved: %d", got.status)
	}
	if got := r.get("/incidents/in-1/documents/do-0?lang=ja"); got.status != http.StatusOK {
		t.Errorf("page: %d", got.status)
	}
	file := r.get("/incidents/in-1/documents/do-0/files/docx?lang=en")
	if file.status != http.StatusOK || file.body != "docx" {
		t.Errorf("file: %d %q", file.status, file.body)
	}
	if got := r.get("/incidents/in-1/documents/do-0/files/pdf"); got.status == http.StatusOK || !strings.Contains(got.body, "Chromium") {
		t.Errorf("without a browser: %d", got.status)
	}
	if got := r.get("/incidents/in-1/documents/do-9/files/docx"); got.status != http.StatusNotFound {
		t.Errorf("a document of nobody: %d", got.status)
	}
	if got := strings.Join(h.looks, ", "); got != "do-0 html pe-responder, do-0 docx pe-responder, do-0 pdf pe-responder" {
		t.Errorf("looks %s", got)
	}
	if got := v.as("contractor").get("/incidents/in-1/documents"); got.status != http.StatusForbidden {
		t.Errorf("a contractor sees documents: %d", got.status)
	}
}

func TestParticularsAreStatedWithoutScripts(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	got := r.post("/incidents/in-1/particulars", "desk_name", "窓口", "advice", "電話に注意", "group-0-id", "g1", "group-0-name", "外来", "group-0-count", "7", "group-2-name", "職員")
	if got.status != http.StatusSeeOther {
		t.Fatalf("%d", got.status)
	}
	if p := h.stated; p.DeskName != "窓口" || len(p.Groups) != 2 || p.Groups[0].Count != 7 || p.Groups[0].ID != "g1" || p.Groups[1].Name != "職員" {
		t.Errorf("stated %+v", p)
	}
	if got := r.post("/incidents/in-1/particulars", "group-0-name", "外来", "group-0-count", "many"); got.status == http.StatusSeeOther || !strings.Contains(got.body, "外来") {
		t.Errorf("a count that is none: %d", got.status)
	}
}
