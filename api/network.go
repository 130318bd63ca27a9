package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/search"
)

// Wanted are the parameters that say which connections are looked for.
// (Exported like Paging.)
type Wanted struct {
	From       time.Time `query:"from" required:"true" doc:"not before"`
	To         time.Time `query:"to" required:"true" doc:"before"`
	Address    string    `query:"address" maxLength:"100" doc:"either end: an address, or a range such as 10.0.0.0/8"`
	Host       string    `query:"host" maxLength:"100" doc:"id of the machine whose agent saw it"`
	Port       string    `query:"port" maxLength:"5" doc:"either end"`
	Label      string    `query:"label" maxLength:"64" doc:"application; - is without one"`
	Confidence string    `query:"confidence" enum:"certain,probable,hint"`
	Name       string    `query:"name" maxLength:"253" doc:"part of the name that was asked for"`
}

func (w Wanted) wanted() search.Wanted {
	return search.Wanted{Address: w.Address, Host: w.Host, Port: w.Port, Label: w.Label, Confidence: w.Confidence, Name: w.Name}
}

// askedNetwork records that somebody looks at connections.
func (s *server) askedNetwork(ctx context.Context, w Wanted, who auth.Person) error {
	return s.Searches.Asked(ctx, Range{w.wanted().Query("kind=flow"), w.From, w.To}.question(search.Searched, ""), who)
}

// Talk is what one end sent to another, summed over their connections.
type Talk struct {
	Src         string    `json:"src" doc:"who opened the connections"`
	Dst         string    `json:"dst"`
	Label       string    `json:"label,omitempty" doc:"application; absent while unknown"`
	Connections int64     `json:"connections"`
	Out         int64     `json:"bytes_out"`
	In          int64     `json:"bytes_in"`
	Last        time.Time `json:"last"`
}

func talksOf(list []search.Talk) []Talk {
	out := make([]Talk, len(list))
	for i, t := range list {
		out[i] = Talk(t)
	}
	return out
}

// Traffic is who talked to whom.
type Traffic struct {
	Query      string        `json:"query" doc:"the search for these connections"`
	Talks      []Talk        `json:"talks" doc:"of connections that ended, most bytes first"`
	More       bool          `json:"more,omitempty" doc:"there are more than are listed"`
	Identified []event.Event `json:"identified" doc:"connections that were identified in the range, newest first"`
}

// Party is one end of the network.
type Party struct {
	Address  string        `json:"address"`
	Talks    []Talk        `json:"talks" doc:"connections that it opened"`
	Serves   []Served      `json:"serves" doc:"ports at which others reached it"`
	Week     search.Week   `json:"week" doc:"connections by weekday, Monday first, and hour in Japan, over four weeks"`
	Verdicts []event.Event `json:"verdicts" doc:"connections that were identified for certain or probably, newest first"`
}

// Served is one port at which others reached a machine.
type Served struct {
	Port        string `json:"port"`
	Label       string `json:"label,omitempty"`
	Connections int64  `json:"connections"`
	Clients     int64  `json:"clients"`
}

type partyIn struct {
	Address string    `path:"address" maxLength:"100"`
	From    time.Time `query:"from" required:"true"`
	To      time.Time `query:"to" required:"true"`
}

type connectionsIn struct {
	Wanted
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	After string `query:"after" maxLength:"500" doc:"next of the page before"`
}

// Connections are single connections, each by the last that was said of it.
type Connections struct {
	Events []event.Event `json:"events" doc:"newest first"`
	Next   string        `json:"next,omitempty" doc:"cursor of older ones"`
}

type connectionIn struct {
	ID string    `path:"id" maxLength:"100"`
	At time.Time `query:"at" required:"true" doc:"a time at which it lived, give or take a day"`
}

// networkOperations are those about who talks to whom.
func (s *server) networkOperations() {
	register(s, operation{"get-traffic", http.MethodGet, "/network", "Who talked to whom", 0}, ofEvents[Wanted](auth.View),
		func(ctx context.Context, who auth.Person, in *Wanted) (*body[Traffic], error) {
			if err := s.askedNetwork(ctx, *in, who); err != nil {
				return nil, err
			}
			t, err := s.Searches.Traffic(ctx, in.wanted(), in.From, in.To, who)
			return &body[Traffic]{Traffic{t.Query, talksOf(t.Talks), t.More, append([]event.Event{}, t.Now...)}}, err
		})
	register(s, operation{"get-party", http.MethodGet, "/network/hosts/{address}", "One address: whom it talks to, what it serves, its week", 0}, ofEvents[partyIn](auth.View),
		func(ctx context.Context, who auth.Person, in *partyIn) (*body[Party], error) {
			if err := s.Searches.Asked(ctx, Range{search.Address.Find(in.Address), in.From, in.To}.question(search.Entities, ""), who); err != nil {
				return nil, err
			}
			p, err := s.Searches.Party(ctx, in.Address, in.From, in.To, who)
			out := Party{Address: p.Address, Talks: talksOf(p.Talks), Serves: []Served{}, Week: p.Week, Verdicts: append([]event.Event{}, p.Verdicts...)}
			for _, port := range p.Serves {
				out.Serves = append(out.Serves, Served{port.Number, port.Label, port.Connections, port.Clients})
			}
			return &body[Party]{out}, err
		})
	register(s, operation{"list-connections", http.MethodGet, "/network/flows", "Single connections that ended", 0}, ofEvents[connectionsIn](auth.View),
		func(ctx context.Context, who auth.Person, in *connectionsIn) (*body[Connections], error) {
			if err := s.askedNetwork(ctx, in.Wanted, who); err != nil {
				return nil, err
			}
			c, err := s.Searches.Connections(ctx, in.wanted(), in.From, in.To, in.After, in.Limit, who)
			return &body[Connections]{Connections{append([]event.Event{}, c.Events...), c.Next}}, err
		})
	register(s, operation{"get-connection", http.MethodGet, "/network/flows/{id}", "All that was said of one connection, oldest first", 0}, ofEvents[connectionIn](auth.View),
		func(ctx context.Context, who auth.Person, in *connectionIn) (*body[page[event.Event]], error) {
			q := Range{Query: event.FieldFlowID + "=" + search.Quote(in.ID), From: in.At, To: in.At}
			if err := s.Searches.Asked(ctx, q.question(search.Looked, ""), who); err != nil {
				return nil, err
			}
			list, err := s.Searches.Connection(ctx, in.ID, in.At, who)
			return paged(list, len(list)), err
		})
}
