//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/e2e/browser"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
)

// hands are a way to work with a page.
type hands interface {
	// fill writes into a field in place of what it holds.
	fill(field, text string)
	// choose sets a list of choices.
	choose(field, value string)
	// follow presses what leads to another page.
	follow(what, to string)
}

// keyboard does everything with Tab, Enter, letters and arrow keys, and checks
// each time that the focus can be seen.
type keyboard struct{ *browser.Visitor }

func (k keyboard) reach(what string) {
	if !browser.Eval[bool](k.Visitor, "document.activeElement.matches('"+what+"')") { // the page may have put it there
		k.TabTo(what)
	}
	k.Focused(what)
}

func (k keyboard) fill(field, text string) {
	k.reach(field)
	browser.Eval[bool](k.Visitor, "document.activeElement.select?.(), true") // as Ctrl-A does
	k.Type(text)
}

func (k keyboard) choose(field, value string) {
	k.reach(field)
	k.Choose(value)
}

func (k keyboard) follow(what, to string) {
	k.reach(what)
	k.Mark()
	k.Key("\r")
	k.Arrive(to)
}

// plain works with a browser that runs no script: forms and links are all
// there is.
type plain struct{ *browser.Visitor }

func (p plain) fill(field, text string)    { p.Fill(field, text) }
func (p plain) choose(field, value string) { p.Set(field, value) }
func (p plain) follow(what, to string)     { p.Follow(what, to) }

// TestMainActionsOfTheRoom goes once through everything that is done in the
// room of an incident by keyboard alone, and once without script.
func TestMainActionsOfTheRoom(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		noScript bool
		by       func(*browser.Visitor) hands
	}{
		"keyboard":  {false, func(v *browser.Visitor) hands { return keyboard{v} }},
		"no script": {true, func(v *browser.Visitor) hands { return plain{v} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hubtest.Start(t)
			h.Site("callcentre", "contractor")
			first, second := h.FirstAdmin(), h.Person("ono", "", auth.Approver, auth.Responder)
			raised := h.Raised(first)
			in := first.Open(raised)
			first.Written(in.ID, "incident.opened-drill")
			b := browser.Start(t, h.URL, axe, "ja")
			as := func(c *hubtest.Client) *browser.Visitor {
				v := b.Visitor(t, browser.Options{Base: h.URL, Lang: "ja", Pictures: "room-ways", NoScript: tt.noScript})
				v.Cookie("__Host-sonae_session", c.Token)
				return v
			}
			v, w := as(first), as(second)
			r := roomWays{t, first, in.ID, raised, tt.noScript}
			r.acknowledge(v, tt.by(v))
			r.write(v, tt.by(v))
			r.correct(v, tt.by(v))
			r.command(v, tt.by(v), second)
			r.move(v, tt.by(v))
			r.step(v, tt.by(v))
			action := r.ask(v, tt.by(v))
			r.approve(w, tt.by(w), action)
			v.Done()
			w.Done()
		})
	}
}

// roomWays are the main actions of one room.
type roomWays struct {
	t        *testing.T
	c        *hubtest.Client
	id       string
	raised   alert.Alert
	noScript bool
}

func (r roomWays) open(v *browser.Visitor) {
	r.t.Helper()
	v.Open("/incidents/" + r.id)
	if !r.noScript {
		v.Until("live page", "document.getElementById('connection').dataset.now === 'fresh'")
	}
}

func (r roomWays) acknowledge(v *browser.Visitor, h hands) {
	r.t.Helper()
	r.open(v)
	h.follow(`#room-alerts a[href="/alerts/`+r.raised.ID+`"]`, "/alerts/"+r.raised.ID)
	h.follow(`form[action$="/ack"] button`, "done=acked")
	if got := hubtest.Get[alert.Alert](r.c, "/alerts/"+r.raised.ID); got.State != alert.Acked {
		r.t.Errorf("the alert is %s", got.State)
	}
}

// entry writes a line: with script the page stays and shows it, without it
// comes anew.
func (r roomWays) entry(v *browser.Visitor, h hands, text string) {
	r.t.Helper()
	h.fill("#f-text", text)
	if r.noScript {
		h.follow("#write button.primary", "done=written")
	} else {
		v.Key("\r")
	}
	v.Sees("#room-entries", text)
}

func (r roomWays) write(v *browser.Visitor, h hands) {
	r.t.Helper()
	r.open(v)
	r.entry(v, h, "一行で書いた記録")
}

func (r roomWays) correct(v *browser.Visitor, h hands) {
	r.t.Helper()
	no := 0
	for _, e := range r.c.Chronology(r.id) {
		if e.Text == "一行で書いた記録" {
			no = e.No
		}
	}
	h.follow(fmt.Sprintf(`#e%d a[href*="correct="]`, no), "correct=")
	r.entry(v, h, "訂正した記録")
	for _, e := range r.c.Chronology(r.id) {
		if e.Text == "訂正した記録" && e.Corrects == no {
			return
		}
	}
	r.t.Errorf("no entry corrects %d", no)
}

func (r roomWays) now() incident.Incident {
	return hubtest.Get[incident.Incident](r.c, "/incidents/"+r.id)
}

func (r roomWays) command(v *browser.Visitor, h hands, to *hubtest.Client) {
	r.t.Helper()
	r.open(v)
	h.choose("#f-person", to.Person.ID)
	h.follow(`form[action$="/command"] button`, "done=command")
	if got := r.now().Commander; got != to.Person.ID {
		r.t.Errorf("%s commands", got)
	}
}

func (r roomWays) move(v *browser.Visitor, h hands) {
	r.t.Helper()
	h.choose("#f-state", string(incident.Responding))
	h.fill("#f-state-reason", "対応を始める")
	h.follow(`form[action$="/state"] button`, "done=moved")
	if got := r.now().State; got != incident.Responding {
		r.t.Errorf("the incident is %s", got)
	}
}

// step begins a playbook that fits and reports its first step.
func (r roomWays) step(v *browser.Visitor, h hands) {
	r.t.Helper()
	r.open(v)
	h.follow(`#runs form button.primary`, "done=run")
	h.fill(`#now .step-card input[name="note"]`, "台帳を確かめた")
	h.follow(`#now .step-card button[value="done"]`, "done=step-done")
	if e := r.c.Written(r.id, "playbook.done"); e.Args["note"] != "台帳を確かめた" {
		r.t.Errorf("the chronology tells of the step: %+v", e)
	}
}

// ask asks for the isolation of the host and returns the page of the action.
func (r roomWays) ask(v *browser.Visitor, h hands) string {
	r.t.Helper()
	r.open(v)
	h.follow("#room-isolate a.button.danger", "/isolate?")
	h.fill("#f-reason", "外部への送信を止めるため")
	h.follow(`form[action$="/isolations"] button.danger`, "/actions/")
	return path(v)
}

func (r roomWays) approve(v *browser.Visitor, h hands, action string) {
	r.t.Helper()
	v.Open(action)
	h.follow(`a[href$="/approve"]`, "/approve")
	h.follow(`form[action$="/approve"] button.danger`, "done=approved")
	r.c.Reach(strings.TrimPrefix(action, "/actions/"), "verified")
	r.c.Written(r.id, "action.verified.isolate")
}
