package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/cause"
)

// FactorIn is a why.
type FactorIn struct {
	Parent   string       `json:"parent,omitempty" maxLength:"100" doc:"id of what it explains; the incident itself when absent"`
	Category string       `json:"category" enum:"man,machine,method,management,environment,contractor"`
	Text     string       `json:"text" minLength:"1" maxLength:"1000"`
	Evidence []cause.Link `json:"evidence,omitempty" maxItems:"20" nullable:"false" doc:"entry (number), alert, bag (ids) or event (id@time)"`
	Estimate bool         `json:"estimate,omitempty" doc:"needed when there is no evidence"`
	Root     bool         `json:"root,omitempty" doc:"judged to be a root cause"`
}

// InterviewIn is what a person told.
type InterviewIn struct {
	Who      string    `json:"who" minLength:"1" maxLength:"200"`
	Position string    `json:"position,omitempty" maxLength:"200"`
	HeardBy  string    `json:"heard_by,omitempty" maxLength:"100" doc:"person id; the writer when absent"`
	HeardAt  time.Time `json:"heard_at"`
	Consent  string    `json:"consent" enum:"written,oral,refused"`
	Text     string    `json:"text,omitempty" maxLength:"8000" doc:"absent when the person refused"`
}

// MeasureIn plans an improvement.
type MeasureIn struct {
	Title   string    `json:"title" minLength:"1" maxLength:"200"`
	Plan    string    `json:"plan,omitempty" maxLength:"2000"`
	Factors []string  `json:"factors,omitempty" maxItems:"100" nullable:"false" doc:"ids of whys that it removes"`
	Owner   string    `json:"owner" minLength:"1" maxLength:"100" doc:"person id"`
	DueAt   time.Time `json:"due_at"`
	CheckAt time.Time `json:"check_at" doc:"when its effect is checked"`
	Number  string    `json:"number" minLength:"1" maxLength:"200" doc:"what is measured, with its unit"`
	Target  string    `json:"target" minLength:"1" maxLength:"200"`
}

// ProgressIn takes an improvement to its next state.
type ProgressIn struct {
	To       string    `json:"to" enum:"planned,doing,checking,kept,dropped"`
	Text     string    `json:"text" minLength:"1" maxLength:"2000"`
	Measured string    `json:"measured,omitempty" maxLength:"200" doc:"needed when the effect was checked"`
	DueAt    time.Time `json:"due_at,omitempty" doc:"needed when it is planned anew, as check_at"`
	CheckAt  time.Time `json:"check_at,omitempty"`
}

// LessonIn is a lesson.
type LessonIn struct {
	Text   string `json:"text" minLength:"1" maxLength:"1000"`
	Target string `json:"target" enum:"rule,playbook,risk"`
	Ref    string `json:"ref,omitempty" maxLength:"200" doc:"id of the rule or playbook; a new one is needed when absent"`
}

// Answer says what became of a lesson.
type Answer struct {
	Answer string `json:"answer" minLength:"1" maxLength:"1000"`
}

type graphIn struct {
	ByID
	From time.Time `query:"from" doc:"all when absent"`
	To   time.Time `query:"to"`
}

type measureList struct {
	All bool `query:"all" doc:"those that are over too"`
}

func factorOf(b FactorIn) cause.NewFactor { return cause.NewFactor(b) }

func (s *server) causeOperations() {
	register(s, operation{"incident-graph", http.MethodGet, "/incidents/{id}/graph", "The incident over time, in at most 40 groups a lane", 0}, incidentRule[graphIn](s, auth.View, "incident"),
		func(ctx context.Context, who auth.Person, in *graphIn) (*body[cause.Graph], error) {
			g, err := s.Causes.Graph(ctx, in.ID, who.Site, in.From, in.To)
			return &body[cause.Graph]{g}, err
		})
	register(s, operation{"list-factors", http.MethodGet, "/incidents/{id}/factors", "Whys of an incident", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[cause.Factor]], error) {
			all, err := s.Causes.Factors(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"add-factor", http.MethodPost, "/incidents/{id}/factors", "Add a why with its evidence, or as an estimate", http.StatusCreated}, incidentRule[withBody[FactorIn]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[FactorIn]) (*body[cause.Factor], error) {
			f, err := s.Causes.AddFactor(ctx, in.ID, factorOf(in.Body), who)
			return &body[cause.Factor]{f}, err
		})
	register(s, operation{"revise-factor", http.MethodPut, "/incidents/{id}/factors/{record}", "Say a why anew; its place stays", 0}, incidentRule[recordWith[FactorIn]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *recordWith[FactorIn]) (*none, error) {
			return nil, s.Causes.ReviseFactor(ctx, in.ID, in.Record, factorOf(in.Body), who)
		})
	register(s, operation{"withdraw-factor", http.MethodPost, "/incidents/{id}/factors/{record}/withdraw", "Take a why back; it stays to be read", 0}, incidentRule[recordWith[Reason]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *recordWith[Reason]) (*none, error) {
			return nil, s.Causes.WithdrawFactor(ctx, in.ID, in.Record, in.Body.Reason, who)
		})
	register(s, operation{"list-interviews", http.MethodGet, "/incidents/{id}/interviews", "What people told; who looks is recorded", 0}, incidentRule[ByID](s, auth.Report, "interview"),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[page[cause.Interview]], error) {
			s.People.Viewed(ctx, who, "interviews", in.ID)
			all, err := s.Causes.Interviews(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"add-interview", http.MethodPost, "/incidents/{id}/interviews", "Keep what a person told", http.StatusCreated}, incidentRule[withBody[InterviewIn]](s, auth.Report, "interview"),
		func(ctx context.Context, who auth.Person, in *withBody[InterviewIn]) (*body[cause.Interview], error) {
			if err := s.exists(ctx, in.Body.HeardBy); err != nil {
				return nil, err
			}
			v, err := s.Causes.AddInterview(ctx, in.ID, cause.NewInterview(in.Body), who)
			return &body[cause.Interview]{v}, err
		})
	s.measureOperations()
	s.lessonOperations()
}

func (s *server) measureOperations() {
	register(s, operation{"list-measures", http.MethodGet, "/measures", "Improvements of all incidents, what is due first", 0}, rule[measureList]{auth.View, "incident", anywhere[measureList]},
		func(ctx context.Context, who auth.Person, in *measureList) (*body[page[cause.Measure]], error) {
			all, err := s.Causes.Measures(ctx, "")
			if err != nil {
				return nil, err
			}
			var out []cause.Measure
			for _, m := range all {
				ok, err := s.sees(ctx, who, m.Incident)
				if err != nil {
					return nil, err
				}
				if ok && (in.All || m.State.Open()) {
					out = append(out, m)
				}
			}
			return paged(out, len(out)), nil
		})
	register(s, operation{"list-incident-measures", http.MethodGet, "/incidents/{id}/measures", "Improvements after an incident", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[cause.Measure]], error) {
			all, err := s.Causes.Measures(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"add-measure", http.MethodPost, "/incidents/{id}/measures", "Plan an improvement", http.StatusCreated}, incidentRule[withBody[MeasureIn]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[MeasureIn]) (*body[cause.Measure], error) {
			if err := s.exists(ctx, in.Body.Owner); err != nil {
				return nil, err
			}
			m, err := s.Causes.AddMeasure(ctx, in.ID, cause.NewMeasure(in.Body), who)
			return &body[cause.Measure]{m}, err
		})
	register(s, operation{"go-measure", http.MethodPost, "/incidents/{id}/measures/{record}", "Take an improvement to its next state: plan, do, check, act", 0}, incidentRule[recordWith[ProgressIn]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *recordWith[ProgressIn]) (*none, error) {
			b := in.Body
			return nil, s.Causes.Go(ctx, in.ID, in.Record, cause.Progress{To: cause.State(b.To), Text: b.Text, Measured: b.Measured, DueAt: b.DueAt, CheckAt: b.CheckAt}, who)
		})
}

func (s *server) lessonOperations() {
	register(s, operation{"list-lessons", http.MethodGet, "/incidents/{id}/lessons", "Lessons of an incident", 0}, incidentRule[ByID](s, auth.View, "incident"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[cause.Lesson]], error) {
			all, err := s.Causes.Lessons(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"add-lesson", http.MethodPost, "/incidents/{id}/lessons", "Keep a lesson for a rule, a playbook or a risk", http.StatusCreated}, incidentRule[withBody[LessonIn]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *withBody[LessonIn]) (*body[cause.Lesson], error) {
			l, err := s.Causes.AddLesson(ctx, in.ID, in.Body.Text, in.Body.Target, in.Body.Ref, who)
			return &body[cause.Lesson]{l}, err
		})
	register(s, operation{"answer-lesson", http.MethodPost, "/incidents/{id}/lessons/{record}", "Say what became of a lesson", 0}, incidentRule[recordWith[Answer]](s, auth.Handle, "incident"),
		func(ctx context.Context, who auth.Person, in *recordWith[Answer]) (*none, error) {
			return nil, s.Causes.AnswerLesson(ctx, in.ID, in.Record, in.Body.Answer, who)
		})
}

// sees says whether a person may see an incident.
func (s *server) sees(ctx context.Context, who auth.Person, id string) (bool, error) {
	c, err := s.Incidents.Get(ctx, id)
	if fault.Of(err) == fault.Missing {
		return false, nil
	}
	return s.People.Allow(who, auth.View, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}).Allowed, err
}
