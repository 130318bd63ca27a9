package hubtest

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/drill"
)

// Case is a practice incident that was carried to its end: the host was
// isolated until its lease ran out, a bag is sealed and a report is made.
type Case struct {
	Requester, Approver *Client
	Alert               alert.Alert
	Incident            incident.Incident
	Isolation           action.Action
	Bag                 evidence.Bag
	Document            string // id
}

// StartDrill starts the practice incident in a running hub through the socket
// in its folder, as `sonae drill run` does, and says what the hub answers.
func StartDrill(t testing.TB, dir string) int {
	t.Helper()
	socket, closed, err := hub.ControlSocket(dir)
	if err != nil {
		t.Fatalf("start drill: %v", err)
	}
	defer func() { _ = closed() }() // opened for reading only
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}}
	res, err := client.Post("http://hub/drill/"+drill.TorrentCallcentre, "", nil)
	if err != nil {
		t.Fatalf("start drill: %v", err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// Raised starts a drill and waits for its alert.
func (h *Hub) Raised(c *Client) alert.Alert {
	h.t.Helper()
	if got := StartDrill(h.t, h.Dir); got != http.StatusAccepted {
		h.t.Fatalf("start drill: got %d", got)
	}
	return h.Alert(c, "bittorrent-certain")
}

// Alert waits for an open alert of a rule.
func (h *Hub) Alert(c *Client, rule string) (found alert.Alert) {
	h.t.Helper()
	h.Await("the alert of "+rule, func() bool {
		for _, a := range List[alert.Alert](c, "/alerts") {
			if a.Rule.ID == rule && a.State != alert.Closed && a.PeersAll > 0 {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

// Open makes an incident of an alert.
func (c *Client) Open(a alert.Alert) (in incident.Incident) {
	c.t.Helper()
	c.Must(http.MethodPost, "/incidents", map[string]any{"title": "ファイル共有の訓練", "severity": "high", "alerts": []string{a.ID}}, &in)
	return in
}

// Isolate asks for the isolation of the alert's host.
func (c *Client) Isolate(in incident.Incident, a alert.Alert, seconds int) (out action.Action) {
	c.t.Helper()
	c.Must(http.MethodPost, "/actions", map[string]any{"kind": "isolate", "incident": in.ID, "host": a.Host, "reason": "外部への送信を止める",
		"forbidden": a.Peers[0].Address, "lease_seconds": seconds}, &out)
	return out
}

// Reach waits until an action has a state.
func (c *Client) Reach(id string, want action.State) (out action.Action) {
	c.t.Helper()
	Await(c.t, "action to be "+string(want), func() bool {
		out = Get[action.Action](c, "/actions/"+id)
		return out.State == want
	})
	return out
}

// Sealed waits for the sealed bag of an incident.
func (c *Client) Sealed(in string) (bag evidence.Bag) {
	c.t.Helper()
	Await(c.t, "the sealed bag", func() bool {
		for _, b := range List[evidence.Bag](c, "/evidence?incident="+in) {
			if b.State != evidence.Collecting {
				bag = b
				return true
			}
		}
		return false
	})
	return bag
}

// Chronology returns all entries of an incident.
func (c *Client) Chronology(in string) []incident.Entry {
	c.t.Helper()
	return List[incident.Entry](c, "/incidents/"+in+"/entries?limit=500")
}

// Written waits until the chronology has an entry with a key.
func (c *Client) Written(in, key string) (found incident.Entry) {
	c.t.Helper()
	Await(c.t, "the entry "+key, func() bool {
		for _, e := range c.Chronology(in) {
			if e.Key == key {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// Drill carries a practice incident to its end.
func (h *Hub) Drill() Case {
	h.t.Helper()
	d := Case{Requester: h.FirstAdmin(), Approver: h.Person("approver", "", auth.Approver)}
	d.Alert = h.Raised(d.Requester)
	d.Incident = d.Requester.Open(d.Alert)
	d.Isolation = d.Requester.Isolate(d.Incident, d.Alert, 5)
	d.Approver.Must(http.MethodPost, "/actions/"+d.Isolation.ID+"/approve", nil, nil)
	d.Isolation = d.Requester.Reach(d.Isolation.ID, action.Expired)
	d.Bag = d.Requester.Sealed(d.Incident.ID)
	var made struct {
		ID string `json:"id"`
	}
	d.Requester.Must(http.MethodPost, "/incidents/"+d.Incident.ID+"/reports", nil, &made)
	d.Document = made.ID
	for _, key := range []string{"action.expired.lease", "evidence.sealed", "document.made"} {
		d.Requester.Written(d.Incident.ID, key)
	}
	return d
}
