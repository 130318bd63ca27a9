package api

import (
	"net/http"
	"testing"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/vault"
)

func TestRepositoryIsReadByPassOfTwoPeople(t *testing.T) {
	b := newBench(t)
	h := b.host("hospital")
	if _, err := b.repositories.Password(t.Context(), h.ID); err != nil {
		t.Fatal(err)
	}
	responder, approver := b.person("sato", "", auth.Responder), b.person("tanaka", "", auth.Approver)
	elsewhere := b.person("suzuki", "callcentre", auth.Responder)
	at := "/protect/repositories/" + h.ID

	var all page[vault.Repository]
	b.call(responder, "GET", "/protect/repositories", nil).is(http.StatusOK, &all)
	if all.Total != 1 || all.Items[0].Agent != h.ID {
		t.Errorf("repositories %+v", all)
	}
	b.call(elsewhere, "GET", "/protect/repositories", nil).is(http.StatusOK, &all)
	if all.Total != 0 {
		t.Errorf("another site sees %+v", all)
	}
	b.call(elsewhere, "GET", at, nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(responder, "PUT", at+"/quota", VaultQuota{Bytes: 1 << 30, Reason: "contract"}).is(http.StatusNoContent, nil)

	var p vault.Pass
	b.call(responder, "POST", at+"/passes", VaultPassing{Why: "bring it back"}).is(http.StatusCreated, &p)
	b.call(responder, "POST", "/protect/passes/"+p.ID+"/approve", nil).problem(http.StatusForbidden, "denied.role")
	b.call(responder, "POST", "/protect/passes/"+p.ID+"/token", nil).problem(http.StatusConflict, "vault.pass-over")
	b.call(approver, "POST", "/protect/passes/"+p.ID+"/approve", nil).is(http.StatusNoContent, nil)
	var token VaultToken
	b.call(responder, "POST", "/protect/passes/"+p.ID+"/token", nil).is(http.StatusCreated, &token)
	if got, err := b.repositories.Reader(t.Context(), "", token.Token); err != nil || got.ID != p.ID {
		t.Errorf("pass %+v, %v", got, err)
	}

	var c vault.Cut
	b.call(responder, "POST", "/protect/cuts", VaultCutting{Site: "hospital", Why: "an alarm by telephone"}).is(http.StatusCreated, &c)
	b.call(responder, "POST", "/protect/cuts", VaultCutting{Site: "hospital", Why: "again"}).problem(http.StatusConflict, "vault.cut-already")
	b.call(elsewhere, "POST", "/protect/cuts/"+c.ID+"/release", Reason{"mistake"}).problem(http.StatusForbidden, "denied.other-site")
	b.call(approver, "POST", "/protect/cuts/"+c.ID+"/release", Reason{"mistake"}).is(http.StatusNoContent, nil)
}
