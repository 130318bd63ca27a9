package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/search"
)

// LogSource names records in Sigma's words; a part that is empty in a rule
// fits anything.
type LogSource struct {
	Product  string `json:"product,omitempty"`
	Category string `json:"category,omitempty"`
	Service  string `json:"service,omitempty"`
}

// SourceSeen is a log source that sent something in 30 days.
type SourceSeen struct {
	LogSource
	Events int64     `json:"events"`
	Last   time.Time `json:"last"`
}

// RuleLine is a rule as lists show it.
type RuleLine struct {
	ID       string         `json:"id"`
	Title    detect.Text    `json:"title"`
	Level    event.Severity `json:"level" doc:"with the change in force for all its events, if there is one"`
	Origin   string         `json:"origin" enum:"own,made,pack"`
	Source   LogSource      `json:"source"`
	Hits     int64          `json:"hits" doc:"events that matched in 30 days"`
	Held     int64          `json:"held" doc:"events in 30 days that a change kept it silent about"`
	Last     *time.Time     `json:"last,omitempty" doc:"of the newest hit"`
	Share    float64        `json:"cost_share" doc:"of the time that the conditions of all rules took on this hub, 0 to 1"`
	Heard    bool           `json:"heard" doc:"false: it can never fire on what came in during 30 days"`
	Disabled bool           `json:"disabled"`
	Changes  int            `json:"changes" doc:"suppressions and other levels in force"`
}

// RuleRejected is a file or rule that is not in force.
type RuleRejected struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

// RulePage is a page of the rules, with what people must know beside.
type RulePage struct {
	Items    []RuleLine     `json:"items"`
	Total    int            `json:"total" doc:"how many there are on all pages"`
	All      int            `json:"all" doc:"rules in force, without the filter"`
	Unheard  int            `json:"unheard" doc:"of them that can never fire on what came in during 30 days"`
	Rejected []RuleRejected `json:"rejected"`
	Sources  []SourceSeen   `json:"sources"`
	Trouble  string         `json:"trouble,omitempty" doc:"why the newest rules could not be loaded"`
	LoadedAt time.Time      `json:"loaded_at"`
}

// RuleWhole is all that is known of a rule.
type RuleWhole struct {
	RuleLine
	What           detect.Text        `json:"what,omitempty"`
	Affects        detect.Text        `json:"affects,omitempty"`
	Next           detect.Text        `json:"next,omitempty"`
	Description    string             `json:"description,omitempty"`
	Status         string             `json:"status,omitempty"`
	Author         string             `json:"author,omitempty"`
	License        string             `json:"license,omitempty"`
	Tags           []string           `json:"tags,omitempty"`
	References     []string           `json:"references,omitempty"`
	FalsePositives []string           `json:"falsepositives,omitempty"`
	File           string             `json:"file"`
	Line           int                `json:"line"`
	YAML           string             `json:"yaml"`
	Stale          bool               `json:"stale,omitempty" doc:"the file is not any more what was loaded"`
	Condition      *sigma.Explanation `json:"condition,omitempty" doc:"the condition as a tree"`
	Counts         []string           `json:"counts,omitempty" doc:"of a correlation: ids of the rules whose matches it counts"`
	Sources        []SourceSeen       `json:"sources" doc:"log sources of this installation that it is about"`
	Changed        []search.Tuned     `json:"changed" doc:"the newest 50 changes"`
}

// RuleChangeFields are a change of a rule to be made.
type RuleChangeFields struct {
	Rule   string         `json:"rule" minLength:"1" maxLength:"200"`
	Kind   string         `json:"kind" enum:"suppress,level"`
	When   []tuning.Match `json:"when,omitempty" maxItems:"20" doc:"all must hold; needed for suppress"`
	Level  string         `json:"level,omitempty" enum:"info,low,medium,high,critical" doc:"for kind level"`
	Owner  string         `json:"owner" minLength:"1" maxLength:"200"`
	Reason string         `json:"reason" minLength:"1" maxLength:"2000"`
	Until  time.Time      `json:"until" doc:"at most a year from now"`
}

// RuleTest is what a rule would have done in the past.
type RuleTest struct {
	From     time.Time     `json:"from"`
	Until    time.Time     `json:"until" doc:"where the test stopped"`
	Complete bool          `json:"complete"`
	Scanned  int64         `json:"scanned"`
	Hits     int64         `json:"hits" doc:"events that matched; of a correlation, how often it came together"`
	Counted  int64         `json:"counted,omitempty" doc:"of a correlation: events that its rules matched"`
	Hosts    int           `json:"hosts"`
	Alerts   int64         `json:"alerts"`
	Examples []event.Event `json:"examples"`
}

type ruleListIn struct {
	Paging
	Text   string `query:"q" maxLength:"200"`
	Level  string `query:"level" enum:"info,low,medium,high,critical"`
	Source string `query:"source" maxLength:"200" doc:"part of \"product category service\""`
	Origin string `query:"origin" enum:"own,made,pack"`
	Show   string `query:"show" enum:"hit,unheard,changed,off"`
}

// RuleByID names one rule. (Exported like Paging.)
type RuleByID struct {
	ID string `path:"id" maxLength:"200"`
}

type ruleReasoned struct {
	RuleByID
	Body Reason
}

type ruleTestIn struct {
	RuleByID
	Days int `query:"days" minimum:"1" maximum:"400" default:"30"`
}

type changeListIn struct {
	Paging
	Rule string `query:"rule" maxLength:"200"`
}

// ofRules is the right to rules: they concern all sites.
func ofRules[I any](v auth.Verb) rule[I] {
	return one(v, "rule", func(_ context.Context, who auth.Person, _ *I) (auth.Resource, error) {
		return auth.Resource{Site: who.Site}, nil
	})
}

func (s *server) ruleOperations() {
	register(s, operation{"list-rules", http.MethodGet, "/rules", "Rules in force, those that matched most first", 0}, ofRules[ruleListIn](auth.View),
		func(ctx context.Context, _ auth.Person, in *ruleListIn) (*body[RulePage], error) {
			l, err := s.Rules.List(ctx, search.RuleFilter{Text: in.Text, Level: in.Level, Source: in.Source, Origin: search.Origin(in.Origin),
				Shown: search.Shown(in.Show), Limit: in.Limit, Offset: in.Offset})
			return &body[RulePage]{rulePage(l)}, err
		})
	register(s, operation{"get-rule", http.MethodGet, "/rules/{id}", "One rule", 0}, ofRules[RuleByID](auth.View),
		func(ctx context.Context, _ auth.Person, in *RuleByID) (*body[RuleWhole], error) {
			o, err := s.Rules.Open(ctx, in.ID)
			return &body[RuleWhole]{ruleWhole(o)}, err
		})
	register(s, operation{"disable-rule", http.MethodPost, "/rules/{id}/disable", "Let a rule say nothing", 0}, ofRules[ruleReasoned](auth.Handle),
		func(ctx context.Context, who auth.Person, in *ruleReasoned) (*none, error) {
			return nil, s.Rules.SwitchOff(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"enable-rule", http.MethodPost, "/rules/{id}/enable", "Let a disabled rule speak again", 0}, ofRules[ruleReasoned](auth.Handle),
		func(ctx context.Context, who auth.Person, in *ruleReasoned) (*none, error) {
			return nil, s.Rules.SwitchOn(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"test-rule", http.MethodPost, "/rules/{id}/test", "Try a rule on the past, for at most twenty seconds", http.StatusOK}, ofEvents[ruleTestIn](auth.View), s.testRule)
	s.changeOperations()
}

func (s *server) testRule(ctx context.Context, who auth.Person, in *ruleTestIn) (*body[RuleTest], error) {
	o, err := s.Rules.Open(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	r := Range{From: now.AddDate(0, 0, -in.Days), To: now, Query: in.ID}
	if err := s.Searches.Asked(ctx, r.question(search.Tested, ""), who); err != nil {
		return nil, err
	}
	t, err := s.Rules.BackTest(ctx, o.YAML, r.From, r.To, search.Sites(who))
	return &body[RuleTest]{RuleTest{t.From, t.Until, t.Complete(), t.Scanned, t.Matches, t.Counted, t.Hosts, t.Alerts, append([]event.Event{}, t.Examples...)}}, err
}

func (s *server) changeOperations() {
	register(s, operation{"list-rule-changes", http.MethodGet, "/rule-changes", "Suppressions, other levels and disabled rules, newest first", 0}, ofRules[changeListIn](auth.View),
		func(ctx context.Context, _ auth.Person, in *changeListIn) (*body[page[search.Tuned]], error) {
			list, total, err := s.Rules.Changes(ctx, in.Rule, in.Limit, in.Offset)
			return paged(list, total), err
		})
	register(s, operation{"change-rule", http.MethodPost, "/rule-changes", "Silence events of a rule, or give what it finds another level, for a time", http.StatusCreated}, ofRules[body[RuleChangeFields]](auth.Handle),
		func(ctx context.Context, who auth.Person, in *body[RuleChangeFields]) (*body[search.Tuned], error) {
			c := tuning.Change{Rule: in.Body.Rule, Kind: tuning.Kind(in.Body.Kind), When: in.Body.When, Owner: in.Body.Owner, Reason: in.Body.Reason, Until: in.Body.Until}
			if c.Kind == tuning.Relevel {
				var err error
				if c.Level, err = event.ParseSeverity(in.Body.Level); err != nil {
					return nil, fault.New(fault.Invalid, "incident.severity-unknown").With(err)
				}
			}
			t, err := s.Rules.Tune(ctx, c, who)
			return &body[search.Tuned]{t}, err
		})
	register(s, operation{"end-rule-change", http.MethodPost, "/rule-changes/{id}/end", "Take a change back before its time", 0}, ofRules[reasoned](auth.Handle),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Rules.EndTuned(ctx, in.ID, in.Body.Reason, who)
		})
}

func ruleLine(l search.Listed) RuleLine {
	out := RuleLine{ID: l.ID, Title: l.Title, Level: l.Rule.Level, Origin: string(l.Origin), Source: LogSource(l.Logsource), Hits: l.Hits, Held: l.Held,
		Share: l.Share, Heard: l.Heard, Disabled: l.Off, Changes: l.Changes}
	if !l.Last.IsZero() {
		out.Last = &l.Last
	}
	return out
}

func rulePage(l search.RuleList) RulePage {
	out := RulePage{Items: []RuleLine{}, Total: l.Total, All: l.All, Unheard: l.Unheard, Rejected: []RuleRejected{}, Sources: sourcesOf(l.Sources), Trouble: l.Trouble, LoadedAt: l.LoadedAt}
	for _, r := range l.Rules {
		out.Items = append(out.Items, ruleLine(r))
	}
	for _, r := range l.Rejected {
		out.Rejected = append(out.Rejected, RuleRejected{r.File, r.Line, r.ID, r.Reason})
	}
	return out
}

func sourcesOf(list []search.SeenSource) []SourceSeen {
	out := []SourceSeen{}
	for _, s := range list {
		out = append(out, SourceSeen{LogSource(s.SourceKey), s.Events, s.Last})
	}
	return out
}

func ruleWhole(o search.Opened) RuleWhole {
	out := RuleWhole{RuleLine: ruleLine(o.Listed), What: o.What, Affects: o.Affects, Next: o.Next, Description: o.Description, Status: o.Status,
		Author: o.Author, License: o.License, Tags: o.Tags, References: o.References, FalsePositives: o.FalsePositives, File: o.File, Line: o.Info.Line,
		YAML: o.YAML, Stale: o.Stale, Sources: sourcesOf(o.Sources), Changed: append([]search.Tuned{}, o.Tuned...)}
	if o.Counts != nil {
		for _, r := range o.Counts.Rules {
			out.Counts = append(out.Counts, r.ID)
		}
	} else if o.Why != nil {
		out.Condition = &o.Why.Explanation
	}
	return out
}
