package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
)

// TestDutiesAreDecidedAndSigned goes through a night over the API: facts, a
// reason, decisions, the second person, and what was known before.
func TestDutiesAreDecidedAndSigned(t *testing.T) {
	b := newBench(t)
	one, second, reader := b.person("sato", "", auth.Responder), b.person("mori", "", auth.Approver), b.person("incho", "", auth.Executive)
	var c incident.Incident
	b.call(one, "POST", "/incidents", NewIncident{Title: "紛失", Severity: "high", Sites: []string{"hospital"}}).is(http.StatusCreated, &c)
	if err := b.duties.Start(t.Context(), c, ""); err != nil {
		t.Fatal(err)
	}
	at := "/incidents/" + c.ID
	duties := func(query string) (a duty.Assessment) {
		b.call(reader, "GET", at+"/duties"+query, nil).is(http.StatusOK, &a)
		return a
	}
	facts := StatedFacts{Facts: duties("").Facts}
	facts.Personal, facts.Sensitive, facts.BadIntent, facts.MyNumber, facts.Encrypted = duty.Yes, duty.Yes, duty.No, duty.No, duty.Yes
	facts.Exemption = duty.Proof{Algorithm: "AES-256", Unreadable: duty.Yes, Listed: duty.Yes, Wiped: duty.Yes, ByAttacker: duty.No, Evidence: "遠隔消去の記録"}
	b.call(one, "PUT", at+"/facts", facts).is(http.StatusNoContent, nil)
	signed := b.clock()
	b.pass(5 * time.Minute)
	claim := duties("").Exempt
	if claim.Holds || !claim.Complete() {
		t.Fatalf("the claim: %+v", claim)
	}
	sign := Signature{Choice: "accept", Reason: "消去の記録を見た", Digest: claim.Digest}
	b.call(one, "POST", at+"/exemption", sign).problem(http.StatusForbidden, "denied.role")
	b.call(second, "POST", at+"/exemption", sign).is(http.StatusNoContent, nil)
	if a := duties(""); !a.Exempt.Holds || len(a.Clocks) != 0 {
		t.Errorf("signed, and yet %d clocks", len(a.Clocks))
	}
	if a := duties("?at=" + signed.UTC().Format(time.RFC3339Nano)); a.Exempt.Holds || len(a.Clocks) == 0 {
		t.Errorf("before the signature: %+v", a.Exempt)
	}
	b.call(reader, "GET", at+"/duties?at=2001-01-01T00:00:00Z", nil).problem(http.StatusNotFound, "duty.nothing-known")
	facts.Encrypted = duty.No
	b.call(one, "PUT", at+"/facts", facts).problem(http.StatusBadRequest, "duty.reason-missing")
	facts.Reason = "暗号化は無効だった"
	b.call(one, "PUT", at+"/facts", facts).is(http.StatusNoContent, nil)
	notYet := duty.NewDecision{Kind: duty.KindNotify, Choice: duty.NotYet, Reason: "調査中", Grounds: []string{"facts_too_thin_to_help"}}
	b.call(reader, "POST", at+"/duty-decisions", notYet).problem(http.StatusForbidden, "denied.role")
	b.call(one, "POST", at+"/duty-decisions", notYet).is(http.StatusNoContent, nil)
	var history page[duty.Statement]
	b.call(reader, "GET", at+"/facts", nil).is(http.StatusOK, &history)
	if n := len(history.Items); n != 3 || history.Items[2].Reason != facts.Reason || len(history.Items[2].Moved) == 0 {
		t.Errorf("history: %+v", history.Items)
	}
	var decisions page[duty.Decision]
	b.call(reader, "GET", at+"/duty-decisions", nil).is(http.StatusOK, &decisions)
	if len(decisions.Items) != 2 || decisions.Items[0].Kind != duty.KindExemption || len(decisions.Items[0].Moved) == 0 {
		t.Errorf("decisions: %+v", decisions.Items)
	}
}

func TestAuthoritiesAndHolidaysAreData(t *testing.T) {
	b := newBench(t)
	admin, reader := b.person("kanri", "", auth.Administrator), b.person("incho", "", auth.Executive)
	contact := duty.NewContact{Phone: "0570-000-000", Verified: true}
	b.call(reader, "PUT", "/authorities/police", contact).problem(http.StatusForbidden, "denied.role")
	b.call(admin, "PUT", "/authorities/police", contact).is(http.StatusNoContent, nil)
	var all page[duty.Authority]
	b.call(reader, "GET", "/authorities", nil).is(http.StatusOK, &all)
	checked := 0
	for _, a := range all.Items {
		if !a.VerifiedAt.IsZero() && a.ID == "police" && a.Phone == contact.Phone {
			checked++
		}
	}
	if checked != 1 || len(all.Items) < 10 {
		t.Errorf("%d checked of %d", checked, len(all.Items))
	}
	var law LawData
	b.call(reader, "GET", "/law", nil).is(http.StatusOK, &law)
	var file strings.Builder
	for _, h := range law.Holidays {
		if h.Day < "2029" {
			fmt.Fprintf(&file, "%s,%s\n", h.Day, h.Name)
		}
	}
	send := func(token, query, text string) answer {
		req := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+prefix+"/law/holidays"+query, strings.NewReader(text))
		req.Header.Set("Content-Type", "text/csv")
		req.Header.Set("Authorization", "Bearer "+token)
		return b.send(req)
	}
	more := file.String() + "2028-12-25,休日\n"
	var changes HolidayResult
	send(admin, "?check=true", more).is(http.StatusOK, &changes)
	if len(changes.Items) != 1 || changes.Items[0].Is != "休日" || changes.Moved == nil {
		t.Errorf("check: %+v", changes.Items)
	}
	send(admin, "", "<html>").problem(http.StatusBadRequest, "duty.holidays")
	send(reader, "", more).problem(http.StatusForbidden, "denied.role")
	send(admin, "?source=syukujitsu.csv", more).is(http.StatusOK, &changes)
	send(admin, "", more).problem(http.StatusConflict, "duty.holidays-same")
	b.call(reader, "GET", "/law", nil).is(http.StatusOK, &law)
	if law.Source != "syukujitsu.csv" || len(law.Pending) < 2 {
		t.Errorf("law: %s, %d pending", law.Source, len(law.Pending))
	}
}
