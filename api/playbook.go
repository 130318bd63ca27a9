package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/playbook"
)

// PlaybookLine is a playbook in a list.
type PlaybookLine struct {
	ID      string            `json:"id"`
	Version string            `json:"version" doc:"SHA-256 of its text"`
	Name    map[string]string `json:"name" doc:"by language"`
	Own     bool              `json:"own" doc:"comes with Sonae"`
	Steps   int               `json:"steps"`
}

// NewRun begins a playbook.
type NewRun struct {
	Playbook string            `json:"playbook" minLength:"1" maxLength:"100" doc:"id of the playbook"`
	Values   map[string]string `json:"values,omitempty" doc:"of its external variables; what nobody knows is left out"`
}

// StepReport is what a person says about a step.
type StepReport struct {
	What   string            `json:"what" enum:"done,skip,problem,again"`
	Note   string            `json:"note,omitempty" maxLength:"1000" doc:"needed to skip, and for a problem"`
	Chosen string            `json:"chosen,omitempty" maxLength:"200" doc:"the answer, where the step asks"`
	At     time.Time         `json:"at,omitempty" doc:"when it was done; now when absent"`
	Paper  bool              `json:"paper,omitempty" doc:"keyed in from paper"`
	Values map[string]string `json:"values,omitempty" doc:"what the step returns, by variable of its out_args; what nobody knows is left out"`
}

// RunByID are the parameters of one run. (Exported like Paging.)
type RunByID struct {
	ByID
	Run string `path:"run" maxLength:"100"`
}

type runReason struct {
	RunByID
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"1000"`
	}
}

type stepOf struct {
	RunByID
	Visit int `path:"visit" minimum:"1" maximum:"10000"`
	Body  StepReport
}

// CacaoIn is a playbook as it is sent. (Exported like Paging.)
type CacaoIn struct {
	RawBody []byte `contentType:"application/json"`
}

type cacaoOut struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func bookLine(b *playbook.Book) PlaybookLine {
	return PlaybookLine{ID: b.ID, Version: b.Version, Name: b.Name, Own: b.Own, Steps: len(b.Cards)}
}

func (s *server) playbookOperations() {
	register(s, operation{"list-playbooks", http.MethodGet, "/playbooks", "Playbooks that can be begun", 0}, rule[none]{auth.View, "playbook", anywhere[none]},
		func(ctx context.Context, _ auth.Person, _ *none) (*body[page[PlaybookLine]], error) {
			all, err := s.Books.Books(ctx)
			var lines []PlaybookLine
			for _, b := range all {
				lines = append(lines, bookLine(b))
			}
			return paged(lines, len(lines)), err
		})
	register(s, operation{"get-playbook", http.MethodGet, "/playbooks/{id}", "One playbook in CACAO v2, as it came", 0}, rule[ByID]{auth.View, "playbook", anywhere[ByID]},
		func(ctx context.Context, _ auth.Person, in *ByID) (*cacaoOut, error) {
			b, err := s.Books.Book(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &cacaoOut{"application/json", b.Source}, nil
		})
	register(s, operation{"import-playbook", http.MethodPost, "/playbooks", "Import a playbook in CACAO v2; it replaces one with its id for later runs", http.StatusCreated},
		rule[CacaoIn]{auth.Handle, "playbook", anywhere[CacaoIn]},
		func(ctx context.Context, who auth.Person, in *CacaoIn) (*body[PlaybookLine], error) {
			b, err := s.Books.Import(ctx, in.RawBody, who)
			if err != nil {
				return nil, err
			}
			return &body[PlaybookLine]{bookLine(b)}, nil
		})
	register(s, operation{"list-playbook-signatures", http.MethodGet, "/playbooks/{id}/signatures", "Signatures of a playbook, with what each is worth on this hub", 0},
		rule[ByID]{auth.View, "playbook", anywhere[ByID]},
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[playbook.Signed]], error) {
			b, err := s.Books.Book(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			all := s.Books.Signatures(b)
			return paged(all, len(all)), nil
		})
	register(s, operation{"sign-playbook", http.MethodPost, "/playbooks/{id}/sign", "Keep a version of a playbook that carries this hub's signature", http.StatusCreated},
		rule[ByID]{auth.Administer, "playbook", anywhere[ByID]},
		func(ctx context.Context, who auth.Person, in *ByID) (*body[PlaybookLine], error) {
			b, err := s.Books.Sign(ctx, in.ID, who)
			if err != nil {
				return nil, err
			}
			return &body[PlaybookLine]{bookLine(b)}, nil
		})
	register(s, operation{"list-runs", http.MethodGet, "/incidents/{id}/runs", "Runs of playbooks in an incident", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[playbook.Run]], error) {
			all, err := s.Books.Runs(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"begin-run", http.MethodPost, "/incidents/{id}/runs", "Begin a playbook", http.StatusCreated}, incidentRule[withBody[NewRun]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[NewRun]) (*body[playbook.Run], error) {
			r, err := s.Books.BeginWith(ctx, in.ID, in.Body.Playbook, in.Body.Values, who)
			return &body[playbook.Run]{r}, err
		})
	register(s, operation{"get-run", http.MethodGet, "/incidents/{id}/runs/{run}", "One run", 0}, incidentRule[RunByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *RunByID) (*body[playbook.Run], error) {
			r, err := s.runOf(ctx, *in)
			return &body[playbook.Run]{r}, err
		})
	register(s, operation{"report-step", http.MethodPost, "/incidents/{id}/runs/{run}/steps/{visit}", "Say what became of a step", 0}, incidentRule[stepOf](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *stepOf) (*body[playbook.Run], error) {
			if _, err := s.runOf(ctx, in.RunByID); err != nil {
				return nil, err
			}
			b := in.Body
			r, err := s.Books.Report(ctx, in.Run, playbook.Report{Visit: in.Visit, What: b.What, Note: b.Note, Chosen: b.Chosen, At: b.At, Paper: b.Paper, Values: b.Values}, who)
			return &body[playbook.Run]{r}, err
		})
	register(s, operation{"cancel-run", http.MethodPost, "/incidents/{id}/runs/{run}/cancel", "End a run early", 0}, incidentRule[runReason](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *runReason) (*none, error) {
			if _, err := s.runOf(ctx, in.RunByID); err != nil {
				return nil, err
			}
			return nil, s.Books.Cancel(ctx, in.Run, in.Body.Reason, who)
		})
}

// anywhere is the right to what has no site.
func anywhere[I any](context.Context, auth.Person, *I) ([]need, error) { return nil, nil }

// runOf is a run, which must be one of the incident whose right was asked for.
func (s *server) runOf(ctx context.Context, in RunByID) (playbook.Run, error) {
	r, err := s.Books.Run(ctx, in.Run)
	if err == nil && r.Incident != in.ID {
		err = fault.New(fault.Missing, "playbook.run-missing")
	}
	return r, err
}
