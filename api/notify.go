package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/notify"
)

// CallHistory is a call with what happened in it.
type CallHistory struct {
	notify.Call
	History []notify.Line `json:"history"`
}

// NewCall is a call that somebody begins.
type NewCall struct {
	Incident string `json:"incident" maxLength:"100"`
	Chain    string `json:"chain" maxLength:"100"`
}

// Telephoned is what came of telephoning a person.
type Telephoned struct {
	Person  string         `json:"person" maxLength:"100"`
	Outcome notify.Outcome `json:"outcome" enum:"reached,unreached,next"`
}

// ChannelFields are what administrators say of a channel.
type ChannelFields struct {
	Kind     notify.Kind `json:"kind" enum:"mail,sms,phone,slack,teams,lineworks,json,desktop"`
	Name     string      `json:"name" minLength:"1" maxLength:"100"`
	Server   string      `json:"server,omitempty" maxLength:"300" doc:"mail: host:port; STARTTLS, at port 465 TLS from the first byte"`
	User     string      `json:"user,omitempty" maxLength:"200" doc:"mail: empty when the server asks for none"`
	From     string      `json:"from,omitempty" maxLength:"254" doc:"mail: sender"`
	CA       string      `json:"ca,omitempty" maxLength:"65536" doc:"PEM: the authorities that are trusted; empty: those of the system"`
	Hosts    []string    `json:"hosts,omitempty" maxItems:"200" doc:"desktop: names of the machines on whose screens messages appear"`
	Most     int         `json:"most,omitempty" minimum:"0" maximum:"600" doc:"messages in a minute; 0: 30"`
	URL      string      `json:"url,omitempty" maxLength:"2000" doc:"others: address that takes messages; absent: as it was; never shown"`
	Password string      `json:"password,omitempty" maxLength:"500" doc:"mail; absent: as it was; never shown"`
	Key      string      `json:"key,omitempty" maxLength:"500" doc:"others: key of the signature; absent: as it was; never shown"`
}

func (f ChannelFields) channel(id string) (notify.Channel, notify.Secrets) {
	return notify.Channel{ID: id, Kind: f.Kind, Name: f.Name, Server: f.Server, User: f.User, From: f.From, CA: f.CA, Hosts: f.Hosts, Most: f.Most},
		notify.Secrets{URL: f.URL, Password: f.Password, Key: f.Key}
}

// ContactFields are how a person is reached.
type ContactFields struct {
	Mail       string      `json:"mail,omitempty" maxLength:"254"`
	Phone      string      `json:"phone,omitempty" maxLength:"30"`
	Chat       notify.Kind `json:"chat,omitempty" enum:"slack,teams,lineworks,json"`
	ChatURL    string      `json:"chat_url,omitempty" maxLength:"2000" doc:"absent: as it was; never shown"`
	QuietFrom  int         `json:"quiet_from,omitempty" minimum:"0" maximum:"1439" doc:"minutes of the day in Japan; what is critical is told nevertheless"`
	QuietUntil int         `json:"quiet_until,omitempty" minimum:"0" maximum:"1439"`
}

// ShiftFields are when a person is on call.
type ShiftFields struct {
	Site   string    `json:"site,omitempty" maxLength:"32" doc:"empty: all sites"`
	Person string    `json:"person" maxLength:"100"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Order  int       `json:"order" minimum:"1" maximum:"20"`
}

// StepFields are one stage of a chain.
type StepFields struct {
	OnCall   int      `json:"on_call,omitempty" minimum:"0" maximum:"20" doc:"so many of those on call"`
	People   []string `json:"people,omitempty" maxItems:"50"`
	Channels []string `json:"channels" maxItems:"50" nullable:"false"`
	Wait     int      `json:"wait_minutes" minimum:"1" maximum:"1440"`
}

// ChainFields say who is told of what, in which order.
type ChainFields struct {
	Name   string       `json:"name" minLength:"1" maxLength:"100"`
	Site   string       `json:"site,omitempty" maxLength:"32" doc:"empty: all sites"`
	Least  string       `json:"least" enum:"info,low,medium,high,critical"`
	Rules  []string     `json:"rules,omitempty" maxItems:"50" doc:"ids; none: all"`
	Drills bool         `json:"drills,omitempty"`
	Steps  []StepFields `json:"steps" minItems:"1" maxItems:"10" nullable:"false"`
	Repeat int          `json:"repeat,omitempty" minimum:"0" maximum:"20"`
}

func (f ChainFields) chain(id string) (notify.Chain, error) {
	least, err := event.ParseSeverity(f.Least)
	if err != nil {
		return notify.Chain{}, fault.New(fault.Invalid, "notify.level").With(err)
	}
	c := notify.Chain{ID: id, Name: f.Name, Site: f.Site, Least: least, Rules: f.Rules, Drills: f.Drills, Repeat: f.Repeat}
	for _, s := range f.Steps {
		c.Steps = append(c.Steps, notify.Step(s))
	}
	return c, nil
}

// TellingState is whether messages get through, and how many people get.
type TellingState struct {
	notify.Health
	Budgets []notify.Budget `json:"budgets" doc:"people heed 6 in an hour and 144 in a day"`
}

type callList struct {
	Paging
	Site     string `query:"site" maxLength:"32"`
	Incident string `query:"incident" maxLength:"100"`
	Live     bool   `query:"live" doc:"those that nobody answered"`
}

type deliveryList struct {
	Paging
	Stuck bool `query:"stuck" doc:"those that wait or failed"`
}

type siteOnly struct {
	Site string `query:"site" maxLength:"32"`
}

// ofSite is the right to what people of a site are told.
func ofSite[I any](v auth.Verb, site func(in *I) string) rule[I] {
	return one(v, "notify", func(_ context.Context, who auth.Person, in *I) (auth.Resource, error) {
		return auth.Resource{Site: site(in)}, nil
	})
}

// everywhere is the right to what concerns all sites.
func everywhere[I any](v auth.Verb) rule[I] { return ofSite(v, func(*I) string { return "" }) }

func (s *server) notifyOperations() {
	s.callOperations()
	s.channelOperations()
	s.contactOperations()
	s.shiftOperations()
	s.chainOperations()
}

func (s *server) callOperations() {
	register(s, operation{"list-calls", http.MethodGet, "/notify/calls", "Calls of people, newest first", 0},
		one(auth.View, "notify", func(_ context.Context, who auth.Person, in *callList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *callList) (*body[page[notify.Call]], error) {
			list, n, err := s.Notices.Calls(ctx, notify.Filter{Site: siteOr(in.Site, who), Incident: in.Incident, Live: in.Live, Limit: in.Limit, Offset: in.Offset})
			return paged(list, n), err
		})
	register(s, operation{"begin-call", http.MethodPost, "/notify/calls", "Tell the people of a chain of an incident", http.StatusCreated},
		one(auth.Handle, "notify", func(ctx context.Context, who auth.Person, in *body[NewCall]) (auth.Resource, error) {
			c, err := s.Incidents.Get(ctx, in.Body.Incident)
			return auth.Resource{Site: auth.Among(who, c.Scope.Sites)}, err
		}),
		func(ctx context.Context, who auth.Person, in *body[NewCall]) (*body[notify.Call], error) {
			c, err := s.Incidents.Get(ctx, in.Body.Incident)
			if err != nil {
				return nil, err
			}
			call, err := s.Notices.Begin(ctx, in.Body.Chain, notify.OfIncident(c, who))
			return &body[notify.Call]{call}, err
		})
	register(s, operation{"get-call", http.MethodGet, "/notify/calls/{id}", "One call with what happened in it", 0}, callRule[ByID](s, auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[CallHistory], error) {
			c, err := s.Notices.Call(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			lines, err := s.Notices.Lines(ctx, in.ID)
			return &body[CallHistory]{CallHistory{c, append([]notify.Line{}, lines...)}}, err
		})
	register(s, operation{"answer-call", http.MethodPost, "/notify/calls/{id}/answer", "Say that you are on it: nobody else is told", 0}, callRule[ByID](s, auth.Handle),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Notices.Answer(ctx, in.ID, who)
		})
	register(s, operation{"telephoned", http.MethodPost, "/notify/calls/{id}/phone", "Write down what came of telephoning a person", 0}, callRule[withBody[Telephoned]](s, auth.Handle),
		func(ctx context.Context, who auth.Person, in *withBody[Telephoned]) (*none, error) {
			return nil, s.Notices.Telephoned(ctx, in.ID, in.Body.Person, in.Body.Outcome, who)
		})
	register(s, operation{"list-messages", http.MethodGet, "/notify/messages", "Messages, newest first, with why some were not sent", 0}, everywhere[deliveryList](auth.View),
		func(ctx context.Context, _ auth.Person, in *deliveryList) (*body[page[notify.Delivery]], error) {
			list, n, err := s.Notices.Deliveries(ctx, notify.Filter{Stuck: in.Stuck, Limit: in.Limit, Offset: in.Offset})
			return paged(list, n), err
		})
	register(s, operation{"get-notify-state", http.MethodGet, "/notify/state", "Whether messages get through, and how many people get", 0}, everywhere[struct{}](auth.View),
		func(ctx context.Context, _ auth.Person, _ *struct{}) (*body[TellingState], error) {
			h, err := s.Notices.Health(ctx)
			if err != nil {
				return nil, err
			}
			b, err := s.Notices.Budgets(ctx)
			return &body[TellingState]{TellingState{h, append([]notify.Budget{}, b...)}}, err
		})
}

// callRule is the right to a call that exists.
func callRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "notify", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		c, err := s.Notices.Call(ctx, (*in).of())
		return auth.Resource{ID: c.ID, Site: c.Cause.Site}, err
	})
}

func (s *server) channelOperations() {
	register(s, operation{"list-channels", http.MethodGet, "/notify/channels", "Channels, without their secrets", 0}, everywhere[struct{}](auth.Administer),
		func(ctx context.Context, _ auth.Person, _ *struct{}) (*body[page[notify.Channel]], error) {
			list, err := s.Notices.Channels(ctx)
			return paged(list, len(list)), err
		})
	register(s, operation{"add-channel", http.MethodPost, "/notify/channels", "Add a channel", http.StatusCreated}, everywhere[body[ChannelFields]](auth.Administer),
		func(ctx context.Context, who auth.Person, in *body[ChannelFields]) (*body[notify.Channel], error) {
			c, secrets := in.Body.channel("")
			c, err := s.Notices.SaveChannel(ctx, c, secrets, who)
			return &body[notify.Channel]{c}, err
		})
	register(s, operation{"save-channel", http.MethodPut, "/notify/channels/{id}", "Change a channel", 0}, everywhere[withBody[ChannelFields]](auth.Administer),
		func(ctx context.Context, who auth.Person, in *withBody[ChannelFields]) (*body[notify.Channel], error) {
			c, secrets := in.Body.channel(in.ID)
			c, err := s.Notices.SaveChannel(ctx, c, secrets, who)
			return &body[notify.Channel]{c}, err
		})
	register(s, operation{"test-channel", http.MethodPost, "/notify/channels/{id}/test", "Send a real message to yourself, or to the room of the channel", 0}, everywhere[ByID](auth.Administer),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			_, err := s.Notices.Test(ctx, in.ID, who)
			return nil, err
		})
	register(s, operation{"remove-channel", http.MethodDelete, "/notify/channels/{id}", "Remove a channel that no chain uses", 0}, everywhere[ByID](auth.Administer),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Notices.RemoveChannel(ctx, in.ID, who)
		})
}

func (s *server) contactOperations() {
	register(s, operation{"list-contacts", http.MethodGet, "/notify/contacts", "How people are reached", 0}, everywhere[struct{}](auth.Administer),
		func(ctx context.Context, _ auth.Person, _ *struct{}) (*body[page[notify.Contact]], error) {
			list, err := s.Notices.Contacts(ctx)
			return paged(list, len(list)), err
		})
	register(s, operation{"save-contact", http.MethodPut, "/notify/contacts/{id}", "Say how a person is reached; everybody may for themselves", 0},
		rule[withBody[ContactFields]]{auth.Administer, "notify", func(ctx context.Context, who auth.Person, in *withBody[ContactFields]) ([]need, error) {
			if in.ID == who.ID {
				return []need{{auth.View, auth.Resource{Kind: "page"}}}, nil
			}
			p, err := s.People.Person(ctx, in.ID)
			return []need{{auth.Administer, auth.Resource{Kind: "notify", Site: p.Site}}}, err
		}},
		func(ctx context.Context, who auth.Person, in *withBody[ContactFields]) (*none, error) {
			f := in.Body
			return nil, s.Notices.SaveContact(ctx, notify.Contact{Person: in.ID, Mail: f.Mail, Phone: f.Phone, Chat: f.Chat, Quiet: notify.Quiet{From: f.QuietFrom, Until: f.QuietUntil}}, f.ChatURL, who)
		})
}

func (s *server) shiftOperations() {
	register(s, operation{"list-shifts", http.MethodGet, "/notify/shifts", "Who is on call now and later", 0},
		one(auth.View, "notify", func(_ context.Context, who auth.Person, in *siteOnly) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *siteOnly) (*body[page[notify.Shift]], error) {
			all, err := s.Notices.Shifts(ctx)
			var list []notify.Shift
			for _, x := range all {
				if site := siteOr(in.Site, who); site == "" || x.Site == "" || x.Site == site {
					list = append(list, x)
				}
			}
			return paged(list, len(list)), err
		})
	register(s, operation{"add-shift", http.MethodPost, "/notify/shifts", "Put a person on call", http.StatusCreated},
		ofSite(auth.Administer, func(in *body[ShiftFields]) string { return in.Body.Site }),
		func(ctx context.Context, who auth.Person, in *body[ShiftFields]) (*body[notify.Shift], error) {
			if err := s.siteOrAll(ctx, in.Body.Site); err != nil {
				return nil, err
			}
			if _, err := s.People.Person(ctx, in.Body.Person); err != nil {
				return nil, err
			}
			f := in.Body
			x, err := s.Notices.AddShift(ctx, notify.Shift{Site: f.Site, Person: f.Person, From: f.From, Until: f.Until, Order: f.Order}, who)
			return &body[notify.Shift]{x}, err
		})
	register(s, operation{"remove-shift", http.MethodDelete, "/notify/shifts/{id}", "Take a shift back", 0},
		one(auth.Administer, "notify", func(ctx context.Context, _ auth.Person, in *ByID) (auth.Resource, error) {
			x, err := s.Notices.Shift(ctx, in.ID)
			return auth.Resource{ID: x.ID, Site: x.Site}, err
		}),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Notices.RemoveShift(ctx, in.ID, who)
		})
}

func (s *server) chainOperations() {
	register(s, operation{"list-chains", http.MethodGet, "/notify/chains", "Who is told of what, in which order", 0},
		one(auth.View, "notify", func(_ context.Context, who auth.Person, in *siteOnly) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *siteOnly) (*body[page[notify.Chain]], error) {
			list, err := s.Notices.Chains(ctx, siteOr(in.Site, who))
			return paged(list, len(list)), err
		})
	register(s, operation{"add-chain", http.MethodPost, "/notify/chains", "Add a chain", http.StatusCreated},
		ofSite(auth.Administer, func(in *body[ChainFields]) string { return in.Body.Site }),
		func(ctx context.Context, who auth.Person, in *body[ChainFields]) (*body[notify.Chain], error) {
			return s.saveChain(ctx, "", in.Body, who)
		})
	register(s, operation{"save-chain", http.MethodPut, "/notify/chains/{id}", "Change a chain; calls that go on keep it as it was", 0},
		rule[withBody[ChainFields]]{auth.Administer, "notify", func(ctx context.Context, _ auth.Person, in *withBody[ChainFields]) ([]need, error) {
			c, err := s.Notices.Chain(ctx, in.ID) // both the site that it had and the one that it gets
			return []need{{auth.Administer, auth.Resource{Kind: "notify", Site: c.Site}}, {auth.Administer, auth.Resource{Kind: "notify", Site: in.Body.Site}}}, err
		}},
		func(ctx context.Context, who auth.Person, in *withBody[ChainFields]) (*body[notify.Chain], error) {
			return s.saveChain(ctx, in.ID, in.Body, who)
		})
	register(s, operation{"remove-chain", http.MethodDelete, "/notify/chains/{id}", "Remove a chain", 0},
		one(auth.Administer, "notify", func(ctx context.Context, _ auth.Person, in *ByID) (auth.Resource, error) {
			c, err := s.Notices.Chain(ctx, in.ID)
			return auth.Resource{ID: c.ID, Site: c.Site}, err
		}),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Notices.RemoveChain(ctx, in.ID, who)
		})
}

func (s *server) saveChain(ctx context.Context, id string, f ChainFields, who auth.Person) (*body[notify.Chain], error) {
	if err := s.siteOrAll(ctx, f.Site); err != nil {
		return nil, err
	}
	c, err := f.chain(id)
	if err != nil {
		return nil, err
	}
	c, err = s.Notices.SaveChain(ctx, c, who)
	return &body[notify.Chain]{c}, err
}
