package hubtest

import (
	"net/http"
	"testing"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Agent is a machine that was enrolled at the hub: an identity and the real
// client of the agent. No agent program runs.
type Agent struct {
	*link.Client
	Dir   string
	Token wire.Token // with which it was enrolled
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
	a := &Agent{Dir: h.t.TempDir(), Token: h.EnrolmentToken(site)}
	id, err := link.Enroll(h.t.Context(), link.Enrolment{Dir: a.Dir, Token: a.Token, Name: name, OS: "Linux", Agent: "test", Addresses: []string{"127.0.0.1"}})
	if err != nil {
		h.t.Fatalf("enrol %s: %v", name, err)
	}
	a.Client = a.dial(h.t, id)
	return a
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
