package hub_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/hub/hubtest"
)

// TestAClientThatEncryptsAShareIsACase: an agent says that it threw a client
// out of the shares; without anybody's help an alert is raised, an incident
// opens, and what the agent did is an action in force that people may end.
func TestAClientThatEncryptsAShareIsACase(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	agent, admin := h.Enrol("clinic", "fs-1"), h.FirstAdmin()
	const id = "ac-0192f0a1b2c3-0123456789ab"
	agent.Report(event.Event{Time: time.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "agent", Fields: map[string]string{
		"Event": "share-encrypted", event.FieldRemoteIP: "10.1.0.5", event.FieldLocalIP: "10.1.0.2", event.FieldUser: "sato", "FilesLost": "3",
		"ReasonsJa": "3 個", "ReasonsEn": "3 files", "Action": id, "LeaseSeconds": "3600", "Ended": "true"}})
	h.Await("an alert", func() bool { _, ok := alertOf(admin, "5e7c2f91-4a3d-4b86-a0d9-1c64e8b2f7a3"); return ok })
	c := h.Person("sato", "", "responder")
	var a action.Action
	h.Await("the action of the agent", func() bool { return c.Do(http.MethodGet, "/actions/"+id, nil, &a) == nil })
	if a.Kind != action.DropSession || a.State != action.Verified || a.Host != agent.Identity().Host || a.Auto != action.Guard || a.Incident == "" || a.What() != "10.1.0.5" {
		t.Fatalf("%+v", a)
	}
	c.Written(a.Incident, "action.dropped")
}
