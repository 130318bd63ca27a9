package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/notify"
)

func TestWhoIsToldIsAdministeredAndAnsweredByPeople(t *testing.T) {
	b := newBench(t)
	admin, local := b.person("second", "", auth.Administrator), b.person("third", "callcentre", auth.Administrator)
	sato, outside := b.person("sato", "", auth.Responder), b.person("clerk", "callcentre", auth.Responder)
	mail := ChannelFields{Kind: notify.Mail, Name: "院内メール", Server: "127.0.0.1:1", From: "sonae@hospital.example", User: "sonae", Password: "secret-of-mail"}
	b.call(sato, "POST", "/notify/channels", mail).problem(http.StatusForbidden, "denied.role")
	b.call(local, "POST", "/notify/channels", mail).problem(http.StatusForbidden, "denied.other-site")
	var ch notify.Channel
	b.call(admin, "POST", "/notify/channels", mail).is(http.StatusCreated, &ch)
	if w := b.call(admin, "GET", "/notify/channels", nil); !strings.Contains(w.Body.String(), ch.ID) || strings.Contains(w.Body.String(), "secret-of-mail") {
		t.Errorf("channels: %s", w.Body)
	}
	b.call(admin, "POST", "/notify/channels", ChannelFields{Kind: notify.JSON, Name: "x", URL: "http://192.0.2.1/"}).problem(http.StatusBadRequest, "notify.url")
	b.call(admin, "POST", "/notify/channels/"+ch.ID+"/test", nil).problem(http.StatusBadRequest, "notify.test-nobody")

	// everybody says how they are reached themselves
	b.call(sato, "PUT", "/notify/contacts/"+b.whose(sato), ContactFields{Mail: "sato@hospital.example"}).is(http.StatusNoContent, nil)
	b.call(outside, "PUT", "/notify/contacts/"+b.whose(sato), ContactFields{Mail: "x@hospital.example"}).problem(http.StatusForbidden, "denied.role")
	b.call(sato, "GET", "/notify/contacts", nil).problem(http.StatusForbidden, "denied.role")
	b.call(sato, "PUT", "/notify/contacts/"+b.whose(sato), ContactFields{Mail: "not an address"}).problem(http.StatusBadRequest, "notify.mail")

	chain := ChainFields{Name: "夜間", Site: "callcentre", Least: "high", Steps: []StepFields{{People: []string{b.whose(sato)}, Channels: []string{ch.ID}, Wait: 5}}}
	var cn notify.Chain
	b.call(local, "POST", "/notify/chains", chain).is(http.StatusCreated, &cn)
	chain.Site = ""
	b.call(local, "PUT", "/notify/chains/"+cn.ID, chain).problem(http.StatusForbidden, "denied.other-site")
	b.call(admin, "DELETE", "/notify/channels/"+ch.ID, nil).problem(http.StatusConflict, "notify.channel-used")
	b.call(local, "POST", "/notify/shifts", ShiftFields{Site: "hospital", Person: b.whose(sato), From: b.clock(), Until: b.clock().Add(time.Hour), Order: 1}).problem(http.StatusForbidden, "denied.other-site")

	// a call that somebody begins is seen at its site, and answered once
	var in incident.Incident
	b.call(sato, "POST", "/incidents", NewIncident{Title: "不審な通信", Severity: "critical", Sites: []string{"hospital"}}).is(http.StatusCreated, &in)
	var c notify.Call
	b.call(sato, "POST", "/notify/calls", NewCall{Incident: in.ID, Chain: cn.ID}).is(http.StatusCreated, &c)
	b.call(outside, "GET", "/notify/calls/"+c.ID, nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(outside, "GET", "/notify/messages", nil).problem(http.StatusForbidden, "denied.other-site")
	b.call(sato, "POST", "/notify/calls/"+c.ID+"/phone", Telephoned{Person: b.whose(sato), Outcome: notify.Next}).is(http.StatusNoContent, nil)
	b.call(sato, "POST", "/notify/calls/"+c.ID+"/answer", nil).is(http.StatusNoContent, nil)
	var h CallHistory
	b.call(sato, "GET", "/notify/calls/"+c.ID, nil).is(http.StatusOK, &h)
	if h.State != notify.Answered || h.AnsweredBy != b.whose(sato) || len(h.History) != 2 || h.History[0].Key != "notify.phone.next" {
		t.Errorf("%+v", h)
	}
}

// whose is the id of the person with a session.
func (b *bench) whose(token string) string {
	b.t.Helper()
	p, err := b.keeper.Session(b.t.Context(), token)
	if err != nil {
		b.t.Fatal(err)
	}
	return p.ID
}
