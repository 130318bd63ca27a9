package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/search/threat"
)

// ThreatListLine is a threat list with what it named.
type ThreatListLine struct {
	threat.List
	State string             `json:"state" enum:"in-force,over,ended"`
	Hits  int64              `json:"hits" doc:"events that named one of its indicators"`
	Last  *time.Time         `json:"last,omitempty"`
	Top   []threat.Named     `json:"top" doc:"those that were named most"`
	Back  *threat.BackSearch `json:"back,omitempty" doc:"what the archive held of it; without hosts for those who have a site of their own"`
}

// ThreatListText is a list to be read.
type ThreatListText struct {
	Text   string `json:"text" minLength:"1" doc:"the file"`
	Format string `json:"format,omitempty" enum:"csv,misp,stix,hosts,lines" doc:"found out when absent"`
}

// ThreatTerms are what is said of a draft that is put into force.
type ThreatTerms struct {
	Name       string `json:"name" minLength:"1" maxLength:"200"`
	Source     string `json:"source" minLength:"1" maxLength:"200"`
	Confidence int    `json:"confidence" minimum:"1" maximum:"100"`
	Days       int    `json:"days" minimum:"1" maximum:"400" doc:"how long it holds"`
	Back       int    `json:"back,omitempty" minimum:"0" maximum:"400" doc:"days of the archive to search"`
}

// ThreatDays are the days of the archive to search.
type ThreatDays struct {
	Days int `json:"days" minimum:"1" maximum:"400"`
}

// draftList is the operation that takes a whole file.
const draftList = "draft-threat-list"

type threatTermsIn struct {
	RuleByID
	Body ThreatTerms
}

type threatDaysIn struct {
	RuleByID
	Body ThreatDays
}

func (s *server) listOperations() {
	register(s, operation{"list-threat-lists", http.MethodGet, "/threat-lists", "Threat lists, newest first", 0}, ofRules[Paging](auth.View),
		func(ctx context.Context, who auth.Person, in *Paging) (*body[page[ThreatListLine]], error) {
			all, err := s.Threats.Lists(ctx)
			if err != nil {
				return nil, err
			}
			out := []ThreatListLine{}
			for _, l := range all[min(in.Offset, len(all)):min(in.Offset+in.Limit, len(all))] {
				out = append(out, s.threatList(l, who))
			}
			return paged(out, len(all)), nil
		})
	register(s, operation{draftList, http.MethodPost, "/threat-list-drafts", "Read a threat list and see what it would add; nothing is in force by that", http.StatusCreated}, ofRules[body[ThreatListText]](auth.Administer),
		func(ctx context.Context, who auth.Person, in *body[ThreatListText]) (*body[threat.Draft], error) {
			d, err := s.Threats.Draft(ctx, []byte(in.Body.Text), ioc.Format(in.Body.Format), who)
			return &body[threat.Draft]{d}, err
		})
	register(s, operation{"import-threat-list", http.MethodPost, "/threat-list-drafts/{id}/import", "Put a draft of one's own into force", http.StatusCreated}, ofRules[threatTermsIn](auth.Administer),
		func(ctx context.Context, who auth.Person, in *threatTermsIn) (*body[threat.List], error) {
			l, err := s.Threats.Import(ctx, in.ID, threat.Terms(in.Body), who)
			return &body[threat.List]{l}, err
		})
	register(s, operation{"end-threat-list", http.MethodPost, "/threat-lists/{id}/end", "Take a threat list out of force", 0}, ofRules[ruleReasoned](auth.Administer),
		func(ctx context.Context, who auth.Person, in *ruleReasoned) (*none, error) {
			return nil, s.Threats.End(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"search-threat-list", http.MethodPost, "/threat-lists/{id}/search", "Search the archive for a threat list, in the background", http.StatusAccepted}, ofRules[threatDaysIn](auth.Administer),
		func(ctx context.Context, who auth.Person, in *threatDaysIn) (*none, error) {
			return nil, s.Threats.Search(ctx, in.ID, in.Body.Days, who)
		})
}

func (s *server) threatList(l threat.Shown, who auth.Person) ThreatListLine {
	out := ThreatListLine{List: l.List, State: string(l.State(s.Now())), Hits: l.Hits, Top: append([]threat.Named{}, l.Top...), Back: l.Back}
	if !l.Last.IsZero() {
		out.Last = &l.Last
	}
	if out.Back != nil && who.Site != "" { // machines of other sites
		for i := range out.Back.Found {
			out.Back.Found[i].Hosts = nil
		}
	}
	return out
}
