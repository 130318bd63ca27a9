package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
)

// NewPackets asks a machine for packets that it keeps: of one connection by the
// id of its flow, or of a window of time, all or those of some ends.
type NewPackets struct {
	Reason   string       `json:"reason" minLength:"1" maxLength:"2000"`
	Incident string       `json:"incident,omitempty" maxLength:"100" doc:"that it is for, if any"`
	Flow     string       `json:"flow,omitempty" maxLength:"100" doc:"FlowId of a connection; the rest but at is then not used"`
	At       time.Time    `json:"at,omitzero" doc:"a time at which the connection lived"`
	From     time.Time    `json:"from,omitzero"`
	To       time.Time    `json:"to,omitzero"`
	Hosts    []string     `json:"hosts,omitempty" maxItems:"64" doc:"addresses that are an end of the packets"`
	Flows    []order.Flow `json:"flows,omitempty" maxItems:"64"`
}

type packetsOf struct {
	ByID
	Body NewPackets
}

type packetList struct {
	ByID
	End string    `query:"end" maxLength:"100" doc:"address:port of one end of a connection"`
	At  time.Time `query:"at" doc:"that the window holds"`
}

// packetOperations are three steps, because a machine needs time and may be
// away: order, look whether the bag is sealed, download. All need the right to
// see content.
func (s *server) packetOperations() {
	register(s, operation{"request-packets", http.MethodPost, "/hosts/{id}/packets", "Order packets that a host keeps; they come into an evidence bag", http.StatusCreated},
		packetRule[packetsOf](s), func(ctx context.Context, who auth.Person, in *packetsOf) (*body[action.Action], error) {
			q, err := s.packets(ctx, in.ID, in.Body, who)
			if err != nil {
				return nil, err
			}
			a, err := s.Actions.Request(ctx, q, who)
			return &body[action.Action]{a}, err
		})
	register(s, operation{"list-packets", http.MethodGet, "/hosts/{id}/packets", "Packets of a host that were ordered before, newest first", 0},
		packetRule[packetList](s), func(ctx context.Context, _ auth.Person, in *packetList) (*body[page[action.Action]], error) {
			list, err := s.Actions.Packets(ctx, in.ID, in.End, in.At)
			return paged(list, len(list)), err
		})
	// a POST, because it writes a line into the custody record
	register(s, operation{"download-packets", http.MethodPost, "/evidence/{id}/packets", "Download the packets in a sealed bag as pcapng", 0}, bagRule[withBody[Export]](s, auth.Preserve),
		func(_ context.Context, who auth.Person, in *withBody[Export]) (*huma.StreamResponse, error) {
			return s.stream(http.Header{
				"Content-Type":        {"application/vnd.tcpdump.pcap"},
				"Content-Disposition": {`attachment; filename="` + in.ID + `.pcapng"`},
			}, func(ctx context.Context, w io.Writer) error {
				return s.Evidence.Packets(ctx, in.ID, w, in.Body.Purpose, who)
			}), nil
		})
}

// packetRule is the right to evidence of a host, and to the incident that it is
// for.
func packetRule[I identified](s *server) rule[I] {
	return rule[I]{auth.Preserve, "evidence", func(ctx context.Context, who auth.Person, in *I) ([]need, error) {
		h, err := s.Assets.Host(ctx, (*in).of())
		if err != nil {
			return nil, err
		}
		all := []need{{auth.Preserve, auth.Resource{Kind: "evidence", Site: h.Site}}}
		if n, ok := any(in).(*packetsOf); ok && n.Body.Incident != "" {
			c, err := s.Incidents.Get(ctx, n.Body.Incident)
			if err != nil {
				return nil, err
			}
			all = append(all, need{auth.View, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}})
		}
		return all, nil
	}}
}

// packets is n for the desk.
func (s *server) packets(ctx context.Context, host string, n NewPackets, who auth.Person) (action.NewRequest, error) {
	h, err := s.Assets.Host(ctx, host)
	if err != nil {
		return action.NewRequest{}, err
	}
	q := action.NewRequest{Kind: action.Preserve, Host: host, Drill: h.Drill,
		Packets: &order.Packets{From: n.From, To: n.To, Hosts: n.Hosts, Flows: n.Flows, Only: true}}
	if n.Flow != "" {
		phases, err := s.Searches.Connection(ctx, n.Flow, n.At, who)
		if err != nil {
			return q, err
		}
		if q, err = action.PacketsOf(phases); err != nil {
			return q, err
		}
		if q.Host != host {
			return q, fault.New(fault.Missing, "searchpage.no-connection")
		}
	}
	q.Reason, q.Incident = n.Reason, n.Incident
	return q, nil
}
