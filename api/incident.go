package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
)

// NewIncident is what opens an incident. Sites, hosts and drill of the alerts
// are added.
type NewIncident struct {
	Title    string    `json:"title" minLength:"1" maxLength:"200"`
	Severity string    `json:"severity" enum:"info,low,medium,high,critical"`
	Alerts   []string  `json:"alerts,omitempty" maxItems:"100" nullable:"false"`
	Sites    []string  `json:"sites,omitempty" maxItems:"100" nullable:"false"`
	Hosts    []string  `json:"hosts,omitempty" maxItems:"1000" nullable:"false"`
	KnownAt  time.Time `json:"known_at,omitempty" doc:"when any department first knew; now when absent"`
}

// NewEntry is a line for the chronology.
type NewEntry struct {
	OccurredAt time.Time `json:"occurred_at,omitempty" doc:"now when absent"`
	Source     string    `json:"source,omitempty" maxLength:"32" doc:"person, phone, paper, fax …"`
	Certainty  string    `json:"certainty,omitempty" enum:"fact,estimate,unconfirmed"`
	Text       string    `json:"text" minLength:"1" maxLength:"4000"`
	Corrects   int       `json:"corrects,omitempty" minimum:"0" doc:"number of the entry that this one corrects"`
}

// Move changes the state of an incident.
type Move struct {
	To     string `json:"to" enum:"opened,responding,contained,recovering,ended"`
	Reason string `json:"reason" maxLength:"2000"`
}

// Severity changes the severity of an incident.
type Severity struct {
	Severity string `json:"severity" enum:"info,low,medium,high,critical"`
	Reason   string `json:"reason" minLength:"1" maxLength:"2000"`
}

// Commander names who commands.
type Commander struct {
	Person string `json:"person" minLength:"1" maxLength:"100"`
}

type incidentList struct {
	Paging
	State  string `query:"state" enum:"opened,responding,contained,recovering,ended"`
	Active bool   `query:"active"`
	Site   string `query:"site" maxLength:"32"`
}

type entryList struct {
	ByID
	After int `query:"after" minimum:"0" default:"0" doc:"number of the last entry that is known"`
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

// withBody is a thing and what is said about it.
type withBody[T any] struct {
	ByID
	Body T
}

// of is the incident's id, for rules that are shared.
func (b ByID) of() string { return b.ID }

type identified interface{ of() string }

// incidentRule is the right to kind within an incident: its sites count.
func incidentRule[I identified](s *server, v auth.Verb, kind string) rule[I] {
	return one(v, kind, func(ctx context.Context, who auth.Person, in *I) (auth.Resource, error) {
		c, err := s.Incidents.Get(ctx, (*in).of())
		return auth.Resource{ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}, err
	})
}

func (s *server) incidentOperations() {
	register(s, operation{"open-incident", http.MethodPost, "/incidents", "Open an incident from alerts", http.StatusCreated},
		rule[body[NewIncident]]{auth.Handle, "incident", s.touched}, s.openIncident)
	register(s, operation{"list-incidents", http.MethodGet, "/incidents", "Incidents, newest first", 0},
		one(auth.View, "incident", func(_ context.Context, who auth.Person, in *incidentList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *incidentList) (*body[page[incident.Incident]], error) {
			list, total, err := s.Incidents.List(ctx, incident.Filter{State: incident.State(in.State), Active: in.Active,
				Site: siteOr(in.Site, who), Limit: in.Limit, Offset: in.Offset})
			return paged(list, total), err
		})
	register(s, operation{"get-incident", http.MethodGet, "/incidents/{id}", "One incident", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[incident.Incident], error) {
			c, err := s.Incidents.Get(ctx, in.ID)
			return &body[incident.Incident]{c}, err
		})
	register(s, operation{"list-entries", http.MethodGet, "/incidents/{id}/entries", "The chronology, in order", 0}, incidentRule[entryList](s, auth.View, "entry"),
		func(ctx context.Context, _ auth.Person, in *entryList) (*body[page[incident.Entry]], error) {
			c, err := s.Incidents.Get(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			list, err := s.Incidents.Entries(ctx, in.ID, in.After, in.Limit)
			return paged(list, c.Entries), err
		})
	register(s, operation{"write-entry", http.MethodPost, "/incidents/{id}/entries", "Write into the chronology", http.StatusCreated},
		incidentRule[withBody[NewEntry]](s, auth.Handle, "entry"),
		func(ctx context.Context, who auth.Person, in *withBody[NewEntry]) (*body[incident.Entry], error) {
			e, err := s.Incidents.Write(ctx, in.ID, incident.NewEntry{OccurredAt: in.Body.OccurredAt, Source: in.Body.Source,
				Certainty: incident.Certainty(in.Body.Certainty), Text: in.Body.Text, Corrects: in.Body.Corrects}, who)
			return &body[incident.Entry]{e}, err
		})
	s.incidentChanges()
}

func (s *server) incidentChanges() {
	register(s, operation{"move-incident", http.MethodPost, "/incidents/{id}/move", "Move an incident to its next state", 0},
		incidentRule[withBody[Move]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[Move]) (*none, error) {
			return nil, s.Incidents.Move(ctx, in.ID, incident.State(in.Body.To), in.Body.Reason, who)
		})
	register(s, operation{"command-incident", http.MethodPost, "/incidents/{id}/command", "Name the commander", 0},
		incidentRule[withBody[Commander]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[Commander]) (*none, error) {
			p, err := s.People.Person(ctx, in.Body.Person)
			if err != nil {
				return nil, err
			}
			return nil, s.Incidents.Command(ctx, in.ID, p.ID, who)
		})
	register(s, operation{"set-severity", http.MethodPost, "/incidents/{id}/severity", "Change the severity", 0},
		incidentRule[withBody[Severity]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[Severity]) (*none, error) {
			level, err := severity(in.Body.Severity)
			if err != nil {
				return nil, err
			}
			return nil, s.Incidents.SetSeverity(ctx, in.ID, level, in.Body.Reason, who)
		})
	register(s, operation{"set-scope", http.MethodPut, "/incidents/{id}/scope", "Say what the incident reaches", 0},
		incidentRule[withBody[incident.Scope]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[incident.Scope]) (*none, error) {
			return nil, s.Incidents.SetScope(ctx, in.ID, in.Body, who)
		})
}

// touched is every site that a new incident would reach: the right is needed
// at each of them.
func (s *server) touched(ctx context.Context, who auth.Person, in *body[NewIncident]) ([]need, error) {
	n, err := s.gather(ctx, who, in.Body)
	if err != nil {
		return nil, err
	}
	var all []need
	for _, site := range n.Sites {
		all = append(all, need{auth.Handle, auth.Resource{Kind: "incident", Site: site}})
	}
	return all, nil
}

// gather adds what the alerts and hosts say. What a person of one site opens
// without naming anything is of that site.
func (s *server) gather(ctx context.Context, who auth.Person, b NewIncident) (incident.NewIncident, error) {
	level, err := severity(b.Severity)
	if err != nil {
		return incident.NewIncident{}, err
	}
	n := incident.NewIncident{Title: b.Title, Severity: level, Alerts: b.Alerts, Sites: slices.Clone(b.Sites), Hosts: slices.Clone(b.Hosts), KnownAt: b.KnownAt}
	for i, id := range b.Alerts {
		a, err := s.Alerts.Get(ctx, id)
		if err != nil {
			return n, err
		}
		if i > 0 && a.Drill != n.Drill { // a real alert must not pass for practice
			return n, fault.New(fault.Conflict, "api.drill-mixed")
		}
		n.Sites, n.Hosts, n.Drill = append(n.Sites, a.Site), append(n.Hosts, a.Host), n.Drill || a.Drill
	}
	for _, id := range b.Hosts {
		h, err := s.Assets.Host(ctx, id)
		if err != nil {
			return n, err
		}
		n.Sites = append(n.Sites, h.Site)
	}
	for _, id := range b.Sites {
		if _, err := s.Assets.Site(ctx, id); err != nil {
			return n, err
		}
	}
	if len(n.Sites) == 0 && who.Site != "" {
		n.Sites = []string{who.Site}
	}
	slices.Sort(n.Sites)
	slices.Sort(n.Hosts)
	n.Sites, n.Hosts = slices.Compact(n.Sites), slices.Compact(n.Hosts)
	return n, nil
}

func (s *server) openIncident(ctx context.Context, who auth.Person, in *body[NewIncident]) (*body[incident.Incident], error) {
	n, err := s.gather(ctx, who, in.Body)
	if err != nil {
		return nil, err
	}
	c, err := s.Incidents.Open(ctx, n, who)
	return &body[incident.Incident]{c}, err
}

func severity(name string) (event.Severity, error) {
	level, err := event.ParseSeverity(name)
	if err != nil {
		return level, fault.New(fault.Invalid, "api.invalid").With(err)
	}
	return level, nil
}
