package hubtest

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Agent is a machine that was enrolled at the hub: an identity and the real
// client of the agent. No agent program runs.
type Agent struct {
	*link.Client
	Dir   string
	Token wire.Token // with which it was enrolled

	t testing.TB
}

// Site makes a site, or changes it.
func (h *Hub) Site(id, kind string) {
	h.t.Helper()
	h.FirstAdmin().Must(http.MethodPut, "/sites/"+id, map[string]string{"name": id, "kind": kind}, nil)
}

// EnrolmentToken makes a token for a site as a person does on the page.
func (h *Hub) EnrolmentToken(site string) wire.Token {
	h.t.Helper()
	var made struct {
		Secret string `json:"secret"`
	}
	h.FirstAdmin().Must(http.MethodPost, "/tokens", map[string]string{"site": site, "note": "test"}, &made)
	return wire.Token{Hub: h.Agents, CA: h.Fingerprint(), Secret: made.Secret}
}

// Enrol enrols a machine at a site that exists.
func (h *Hub) Enrol(site, name string) *Agent {
	h.t.Helper()
	a := &Agent{Dir: h.t.TempDir(), Token: h.EnrolmentToken(site), t: h.t}
	id, err := link.Enroll(h.t.Context(), link.Enrolment{Dir: a.Dir, Token: a.Token, Name: name, OS: "Linux", Agent: "test", Addresses: []string{"127.0.0.1"}})
	if err != nil {
		h.t.Fatalf("enrol %s: %v", name, err)
	}
	a.Client = a.dial(h.t, id)
	return a
}

// Report sends events as the agent does and returns the ids that the hub gives
// them, when it has accepted them.
func (a *Agent) Report(events ...event.Event) (ids []string) {
	a.t.Helper()
	b := event.Batch{ID: a.Identity().Host + "." + clock.ID("ba", time.Now()), SentAt: time.Now().UTC(), Events: events}
	data, err := wire.EncodeBatch(b)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.Batch(a.t.Context(), data); err != nil {
		a.t.Fatalf("send events: %v", err)
	}
	for i := range events {
		ids = append(ids, b.ID+"-"+strconv.Itoa(i))
	}
	return ids
}

func (a *Agent) dial(t testing.TB, id link.Identity) *link.Client {
	t.Helper()
	h := Log(t)
	c, err := link.Dial(a.Dir, id, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
