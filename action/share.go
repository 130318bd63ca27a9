package action

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Dropped says that the agent of a file server threw a client out of its shares
// by itself.
type Dropped struct {
	Incident, Alert    string
	Action             string // id that the agent gave it: the order that ends it names it
	Host, Site, Reason string
	Client             string // its address
	Server             string // address of the file server that it used
	Lease              time.Duration
	Kept               bool // it cannot come back: there is something in force
	At                 time.Time
	Drill              bool
}

// Fields of the event with which an agent tells that a client encrypts a share,
// beside those of Frozen.
const (
	shareEvent  = "share-encrypted"
	fieldClient = event.FieldRemoteIP
	fieldServer = event.FieldLocalIP
	fieldAction = "Action" // empty: the client was not kept out
	fieldLease  = "LeaseSeconds"
)

// actionID is what clock.ID makes.
var actionID = regexp.MustCompile(`^ac-[0-9a-f]{12}-[0-9a-f]{12}$`)

// DroppedIn returns the clients that the events of a finding say an agent threw
// out by itself.
func DroppedIn(f detect.Finding) (out []Dropped) {
	for _, e := range f.Events {
		client, err := Target(e.Fields[fieldClient])
		if e.Product != "sonae" || e.Service != "agent" || e.Fields[fieldEvent] != shareEvent || err != nil {
			continue
		}
		reason := f.Rule.Title.In("ja")
		if first, _, _ := strings.Cut(e.Fields[fieldReason], "\n"); first != "" {
			reason += " — " + cut(first, maxFirst)
		}
		x := Dropped{Host: f.Host, Site: f.Site, Reason: reason, Client: client, At: e.Time, Drill: f.Drill, Action: e.Fields[fieldAction]}
		if s, err := netip.ParseAddr(e.Fields[fieldServer]); err == nil {
			x.Server = s.Unmap().String()
		}
		n, err := strconv.Atoi(e.Fields[fieldLease])
		x.Lease = time.Duration(n) * time.Second
		x.Kept = err == nil && x.Lease >= minLease && x.Lease <= maxLease && actionID.MatchString(x.Action)
		out = append(out, x)
	}
	return out
}

// Dropped keeps what an agent did by itself as an action that is in force until
// the end of its lease, so that people see it and may end it. Told again it
// changes nothing; an id that is taken is not believed.
func (d *Desk) Dropped(ctx context.Context, x Dropped) error {
	now := d.now().UTC()
	at := believed(x.At.UTC(), now.Add(-maxLease), now)
	if !x.Kept || !at.Add(x.Lease).After(now) { // over by now
		return nil
	}
	a := Action{ID: x.Action, Kind: DropSession, State: Verified, Incident: x.Incident, Host: x.Host, Site: x.Site, Reason: x.Reason, Drill: x.Drill,
		Targets: []string{x.Client}, Lease: x.Lease, ExpiresAt: at.Add(x.Lease), Auto: Guard, Alert: x.Alert, Consequences: []Consequence{}, Keep: []string{},
		RequestedBy: Hub, RequestedAt: at, AppliedAt: at, VerifiedAt: at, LastSign: now,
		Checks: []Check{{Name: DropSession.proof(), Target: x.Client, OK: true, Detail: "by the guard", Checked: at}}}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := d.in(ctx, tx, a.ID)
		switch {
		case err == nil:
			return nil
		case fault.Of(err) != fault.Missing:
			return err
		}
		if err := d.save(ctx, tx, &a); err != nil {
			return fmt.Errorf("client dropped by the guard of %s: %w", x.Host, err)
		}
		if err := d.renewed(ctx, tx, a); err != nil { // the agent holds one for each client
			return err
		}
		return d.decide(ctx, tx, Decision{Action: a.ID, What: Guard, By: Hub, At: now, Reason: a.Reason})
	})
}

// IsolateClient asks people for the isolation of the machine that encrypted a
// share, where it is one that has an agent. Nothing is done before one of them
// approves. What must not reach anything afterwards is the file server.
func (d *Desk) IsolateClient(ctx context.Context, x Dropped) error {
	at, err := d.hosts.HostsAt(ctx, x.Client)
	if err != nil {
		return fmt.Errorf("machine of a client: %w", err)
	}
	if len(at) != 1 || x.Server == "" { // nobody, or nobody knows which
		return nil
	}
	have, _, err := d.List(ctx, Filter{Host: at[0].ID, Limit: 500})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have, func(o Action) bool {
		return o.Kind == Isolate && (o.Alert == x.Alert || o.Active() || o.State == Requested)
	}) {
		return nil // people have it before them, or decided about this alert before
	}
	_, err = d.Request(ctx, NewRequest{Kind: Isolate, Incident: x.Incident, Host: at[0].ID, Forbidden: net.JoinHostPort(x.Server, "445"), Reason: x.Reason, Alert: x.Alert, Drill: x.Drill},
		auth.Person{ID: Hub})
	return err
}
