package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/drill"
)

// RestoreDrills is what the operations need from protect/drill.
type RestoreDrills interface {
	Lines(ctx context.Context, site string) ([]drill.Line, error)
	Line(ctx context.Context, id string) (drill.Line, error)
	Definition(ctx context.Context, id string) (drill.Definition, error)
	Define(ctx context.Context, n drill.Definition, by auth.Person) (drill.Definition, error)
	Revise(ctx context.Context, n drill.Definition, by auth.Person) (drill.Definition, error)
	Retire(ctx context.Context, id, why string, by auth.Person) error
	Ask(ctx context.Context, id string, by auth.Person) (drill.Run, error)
	Cancel(ctx context.Context, id string, by auth.Person) error
	Run(ctx context.Context, id string) (drill.Run, error)
	Runs(ctx context.Context, definition string, limit, offset int) ([]drill.Run, error)
	AddHuman(ctx context.Context, id string, h drill.Human, by auth.Person) error
	LastProven(ctx context.Context, of drill.Of) (drill.Proof, error)
	Measurements(ctx context.Context, of drill.Of, limit int) ([]drill.Measurement, error)
}

// RestoreDrillIn is a restore drill as it is written.
type RestoreDrillIn struct {
	Name    string       `json:"name" minLength:"1" maxLength:"100"`
	Service string       `json:"service,omitempty" maxLength:"100"`
	Class   string       `json:"class,omitempty" maxLength:"100" doc:"data class"`
	Host    string       `json:"host,omitempty" maxLength:"100" doc:"absent only for a whole"`
	Level   string       `json:"level" enum:"bytes,files,database,dump,moment,machine,whole"`
	Pick    drill.Pick   `json:"pick"`
	Paths   []string     `json:"paths,omitempty" maxItems:"50" nullable:"false" doc:"in the snapshot: what is restored, the cluster or its base.tar, dumps or folders whose newest file is one, the repository of pgBackRest, the disk"`
	Every   int          `json:"every,omitempty" minimum:"0" maximum:"1000000" doc:"each n-th file is compared by hash"`
	Server  drill.Server `json:"server,omitempty"`
	Point   drill.Point  `json:"point,omitempty"`
	Guest   drill.Guest  `json:"guest,omitempty"`
	Parts   []string     `json:"parts,omitempty" maxItems:"30" nullable:"false" doc:"ids of the drills of a whole, in order"`
	Days    int          `json:"days,omitempty" minimum:"0" maximum:"400" doc:"0: only when a person wants it"`
	Hour    int          `json:"hour,omitempty" minimum:"0" maximum:"23" doc:"Japan Standard Time"`
	Minutes int          `json:"minutes,omitempty" minimum:"0" maximum:"2880" doc:"after which it is ended; 240 when 0"`
}

func (n RestoreDrillIn) definition(id string) drill.Definition {
	return drill.Definition{ID: id, Name: n.Name, Service: n.Service, Class: n.Class, Host: n.Host, Level: drill.Level(n.Level), Pick: n.Pick, Paths: n.Paths, Every: n.Every,
		Server: n.Server, Point: n.Point, Guest: n.Guest, Parts: n.Parts, Days: n.Days, Hour: n.Hour, Minutes: n.Minutes}
}

// Restore drills, their runs and what those measured, as lists have them.
type (
	RestoreDrill            drill.Line
	RestoreDrillRun         drill.Run
	RestoreDrillMeasurement drill.Measurement
)

// RestoreDrillStep is what people did in a drill.
type RestoreDrillStep struct {
	What  string    `json:"what" minLength:"1" maxLength:"300"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

type drillListIn struct {
	Site string `query:"site" maxLength:"32"`
}

type drillRunsIn struct {
	ByID
	Paging
}

type drillOf struct {
	Site    string `query:"site" maxLength:"32"`
	Class   string `query:"class" maxLength:"100"`
	Host    string `query:"host" maxLength:"100"`
	Service string `query:"service" maxLength:"100"`
}

func (o drillOf) of(who auth.Person) drill.Of {
	return drill.Of{Class: o.Class, Host: o.Host, Service: o.Service, Site: siteOr(o.Site, who)}
}

// protectSite is the right to backups of a site that a request names.
func protectSite[I any](v auth.Verb, site func(in *I) string) rule[I] {
	return one(v, "protect", func(_ context.Context, who auth.Person, in *I) (auth.Resource, error) {
		return auth.Resource{Site: siteOr(site(in), who)}, nil
	})
}

// drillRule is the right to a drill that exists.
func drillRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		d, err := s.Drills.Definition(ctx, (*in).of())
		return auth.Resource{ID: d.ID, Site: d.Site}, err
	})
}

// drillRunRule is the right to a run that exists.
func drillRunRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		r, err := s.Drills.Run(ctx, (*in).of())
		return auth.Resource{ID: r.ID, Site: r.Definition.Site}, err
	})
}

// needsOf are the rights that writing a drill needs: to the sites of its host, or
// of all that it is made of.
func (s *server) needsOf(ctx context.Context, n RestoreDrillIn) ([]need, error) {
	var out []need
	add := func(site string) {
		out = append(out, need{auth.ProtectChange, auth.Resource{Kind: "protect", Site: site}})
	}
	if n.Level != string(drill.Whole) {
		h, err := s.Assets.Host(ctx, n.Host)
		add(h.Site)
		return out, err
	}
	for _, id := range n.Parts {
		d, err := s.Drills.Definition(ctx, id)
		if err != nil {
			return nil, err
		}
		add(d.Site)
	}
	return out, nil
}

func (s *server) drillOperations() {
	register(s, operation{"list-restore-drills", http.MethodGet, "/restore-drills", "Restore drills, with what is proved and what is due", 0},
		protectSite(auth.ProtectSee, func(in *drillListIn) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *drillListIn) (*body[page[RestoreDrill]], error) {
			all, err := s.Drills.Lines(ctx, siteOr(in.Site, who))
			out := make([]RestoreDrill, len(all))
			for i, l := range all {
				out[i] = RestoreDrill(l)
			}
			return paged(out, len(out)), err
		})
	register(s, operation{"add-restore-drill", http.MethodPost, "/restore-drills", "Write a restore drill", http.StatusCreated},
		rule[body[RestoreDrillIn]]{auth.ProtectChange, "protect", func(ctx context.Context, _ auth.Person, in *body[RestoreDrillIn]) ([]need, error) {
			return s.needsOf(ctx, in.Body)
		}},
		func(ctx context.Context, who auth.Person, in *body[RestoreDrillIn]) (*body[drill.Definition], error) {
			d, err := s.Drills.Define(ctx, in.Body.definition(""), who)
			return &body[drill.Definition]{d}, err
		})
	register(s, operation{"get-restore-drill", http.MethodGet, "/restore-drills/{id}", "One restore drill", 0}, drillRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[drill.Line], error) {
			l, err := s.Drills.Line(ctx, in.ID)
			return &body[drill.Line]{l}, err
		})
	register(s, operation{"revise-restore-drill", http.MethodPut, "/restore-drills/{id}", "Write a restore drill anew; runs keep the version they ran by", 0},
		rule[withBody[RestoreDrillIn]]{auth.ProtectChange, "protect", func(ctx context.Context, who auth.Person, in *withBody[RestoreDrillIn]) ([]need, error) {
			d, err := s.Drills.Definition(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			more, err := s.needsOf(ctx, in.Body)
			return append(more, need{auth.ProtectChange, auth.Resource{Kind: "protect", ID: d.ID, Site: d.Site}}), err
		}},
		func(ctx context.Context, who auth.Person, in *withBody[RestoreDrillIn]) (*body[drill.Definition], error) {
			d, err := s.Drills.Revise(ctx, in.Body.definition(in.ID), who)
			return &body[drill.Definition]{d}, err
		})
	register(s, operation{"retire-restore-drill", http.MethodPost, "/restore-drills/{id}/retire", "End a restore drill; it stays to be read", 0}, drillRule[withBody[Reason]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[Reason]) (*none, error) {
			return nil, s.Drills.Retire(ctx, in.ID, in.Body.Reason, who)
		})
	s.drillRunOperations()
}

func (s *server) drillRunOperations() {
	register(s, operation{"run-restore-drill", http.MethodPost, "/restore-drills/{id}/runs", "Run a restore drill now", http.StatusAccepted}, drillRule[ByID](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[drill.Run], error) {
			r, err := s.Drills.Ask(ctx, in.ID, who)
			return &body[drill.Run]{r}, err
		})
	register(s, operation{"list-restore-drill-runs", http.MethodGet, "/restore-drills/{id}/runs", "Runs of a restore drill, the newest first", 0}, drillRule[drillRunsIn](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *drillRunsIn) (*body[page[RestoreDrillRun]], error) {
			all, err := s.Drills.Runs(ctx, in.ID, in.Limit, in.Offset)
			out := make([]RestoreDrillRun, len(all))
			for i, r := range all {
				out[i] = RestoreDrillRun(r)
			}
			return paged(out, in.Offset+len(out)), err
		})
	register(s, operation{"get-restore-drill-run", http.MethodGet, "/restore-drill-runs/{id}", "One run with its phases, and how far it is", 0}, drillRunRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[drill.Run], error) {
			r, err := s.Drills.Run(ctx, in.ID)
			return &body[drill.Run]{r}, err
		})
	register(s, operation{"cancel-restore-drill", http.MethodPost, "/restore-drill-runs/{id}/cancel", "Cancel a run; it counts as one that could not run", 0}, drillRunRule[ByID](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Drills.Cancel(ctx, in.ID, who)
		})
	register(s, operation{"add-restore-drill-step", http.MethodPost, "/restore-drill-runs/{id}/human", "Write down what people did, and how long it took", 0}, drillRunRule[withBody[RestoreDrillStep]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[RestoreDrillStep]) (*none, error) {
			return nil, s.Drills.AddHuman(ctx, in.ID, drill.Human{What: in.Body.What, From: in.Body.From, Until: in.Body.Until}, who)
		})
	register(s, operation{"last-proven", http.MethodGet, "/restore-proof", "When something was last proved to be restorable", 0}, protectSite(auth.ProtectSee, func(in *drillOf) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *drillOf) (*body[drill.Proof], error) {
			p, err := s.Drills.LastProven(ctx, in.of(who))
			return &body[drill.Proof]{p}, err
		})
	register(s, operation{"list-restore-measurements", http.MethodGet, "/restore-measurements", "What restore drills measured, for estimates", 0}, protectSite(auth.ProtectSee, func(in *drillOf) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *drillOf) (*body[page[RestoreDrillMeasurement]], error) {
			all, err := s.Drills.Measurements(ctx, in.of(who), 0)
			out := make([]RestoreDrillMeasurement, len(all))
			for i, m := range all {
				out[i] = RestoreDrillMeasurement(m)
			}
			return paged(out, len(out)), err
		})
}
