package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
)

// BackupPolicies is what the operations need from protect/policy.
type BackupPolicies interface {
	Overview(ctx context.Context, site string) (policy.Overview, error)
	Classes(ctx context.Context, site string) ([]policy.Class, error)
	Class(ctx context.Context, id string) (policy.Class, error)
	SaveClass(ctx context.Context, c policy.Class, by auth.Person) (policy.Class, error)
	EndClass(ctx context.Context, id string, by auth.Person) error
	Policies(ctx context.Context, site string) ([]policy.Policy, error)
	Policy(ctx context.Context, id string) (policy.Policy, error)
	Versions(ctx context.Context, id string) ([]policy.Policy, error)
	Draft(ctx context.Context, p policy.Policy) (policy.Policy, error)
	SavePolicy(ctx context.Context, p policy.Policy, by auth.Person) (policy.Policy, error)
	EndPolicy(ctx context.Context, id, why string, by auth.Person) error
	Runs(ctx context.Context, f policy.Filter) ([]policy.Run, int, error)
	Run(ctx context.Context, id string) (policy.Run, error)
	History(ctx context.Context, id string) ([]policy.Run, error)
	Progress(ctx context.Context) (map[string]policy.Told, error)
	RunNow(ctx context.Context, id, host string, by auth.Person) ([]policy.Run, error)
	Cancel(ctx context.Context, id string, by auth.Person) error
	Trust(ctx context.Context, id, why string, by auth.Person) error
}

// DataClassFields are a class of data as people write it.
type DataClassFields struct {
	Version int      `json:"version,omitempty" minimum:"0" doc:"the version that was changed"`
	Site    string   `json:"site" minLength:"1" maxLength:"32"`
	Name    string   `json:"name" minLength:"1" maxLength:"100"`
	Owner   string   `json:"owner" minLength:"1" maxLength:"100" doc:"person id"`
	Data    []string `json:"data,omitempty" maxItems:"10" doc:"personal, sensitive, property, my_number"`
	Where   string   `json:"where,omitempty" maxLength:"1000"`
	Medical bool     `json:"medical,omitempty" doc:"the ministry's rule for records of patients holds for it"`
	MaxLoss int      `json:"max_loss_hours,omitempty" minimum:"0" maximum:"9600" doc:"how much newest data may be lost; 0: not said"`
	MaxDown int      `json:"max_down_hours,omitempty" minimum:"0" maximum:"9600" doc:"how long it may be gone; 0: not said"`
	Order   int      `json:"order,omitempty" minimum:"0" maximum:"1000"`
}

func (f DataClassFields) class(id string) policy.Class {
	return policy.Class{ID: id, Version: f.Version, Site: f.Site, Name: f.Name, Owner: f.Owner, Data: f.Data, Where: f.Where, Medical: f.Medical,
		MaxLoss: time.Duration(f.MaxLoss) * time.Hour, MaxDown: time.Duration(f.MaxDown) * time.Hour, Order: f.Order}
}

// BackupPolicyFields are a policy as people write it.
type BackupPolicyFields struct {
	Version  int             `json:"version,omitempty" minimum:"0" doc:"the version that was changed"`
	Site     string          `json:"site" minLength:"1" maxLength:"32"`
	Class    string          `json:"class" minLength:"1" maxLength:"100"`
	Name     string          `json:"name" minLength:"1" maxLength:"100"`
	Owner    string          `json:"owner" minLength:"1" maxLength:"100" doc:"person id"`
	Hosts    []string        `json:"hosts" nullable:"false" minItems:"1" maxItems:"500"`
	Sources  []job.Source    `json:"sources" nullable:"false" minItems:"1" maxItems:"50"`
	Hooks    []job.Hook      `json:"hooks,omitempty" maxItems:"20"`
	Schedule policy.Schedule `json:"schedule"`
	Upload   int             `json:"upload,omitempty" minimum:"0" doc:"KiB/s towards the hub; 0: no bound"`
	Keep     policy.Keep     `json:"keep"`
	Targets  []policy.Medium `json:"targets,omitempty" maxItems:"4" doc:"second, object, media; the hub is always one"`
	MaxAge   int             `json:"max_age_hours,omitempty" minimum:"0" maximum:"9600" doc:"people are told when the newest backup is older; 0: what the schedule allows"`
	Paused   bool            `json:"paused,omitempty"`
	Why      string          `json:"why,omitempty" maxLength:"1000" doc:"needed to change one"`
}

func (f BackupPolicyFields) policy(id string) policy.Policy {
	return policy.Policy{ID: id, Version: f.Version, Site: f.Site, Class: f.Class, Name: f.Name, Owner: f.Owner, Hosts: f.Hosts, Sources: f.Sources, Hooks: f.Hooks,
		Schedule: f.Schedule, Upload: f.Upload, Keep: f.Keep, Targets: f.Targets, MaxAge: time.Duration(f.MaxAge) * time.Hour, Paused: f.Paused, Why: f.Why}
}

// BackupPreview is what a policy would do.
type BackupPreview struct {
	Next        []time.Time   `json:"next" doc:"the next times at which it is due"`
	Generations int           `json:"generations" doc:"that stay in the long run"`
	Oldest      time.Time     `json:"oldest" doc:"of them, as seen now"`
	Allowed     time.Duration `json:"allowed" doc:"how old the newest backup may be, in nanoseconds"`
}

// DataClassOut and BackupPolicyOut are rows of lists, under names of their own:
// others have policies and runs, too.
type (
	DataClassOut    policy.Class
	BackupPolicyOut policy.Policy
)

// each converts a list.
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, x := range in {
		out = append(out, f(x))
	}
	return out
}

// BackupRunOut is a run with how far it is.
type BackupRunOut struct {
	policy.Run
	Progress *policy.Told `json:"progress,omitempty"`
}

// RunBackup says where a policy is run now.
type RunBackup struct {
	Host string `json:"host,omitempty" maxLength:"100" doc:"absent: all machines of the policy"`
}

type protectList struct {
	Site string `query:"site" maxLength:"32"`
}

type backupRunList struct {
	Paging
	Site   string `query:"site" maxLength:"32"`
	Policy string `query:"policy" maxLength:"100"`
	Host   string `query:"host" maxLength:"100"`
	State  string `query:"state" enum:"queued,ordered,running,ok,partial,failed,could-not-run,cancelled,missed,suspect"`
	Going  bool   `query:"going" doc:"only those that go on"`
}

func (s *server) protectPolicyOperations() {
	register(s, operation{"protect-overview", http.MethodGet, "/protect", "How well each class of data is protected: copies, their reach, the rules, the last proven restore", 0}, ofProtectSite(func(in *protectList) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *protectList) (*body[policy.Overview], error) {
			o, err := s.BackupPolicies.Overview(ctx, siteOr(in.Site, who))
			return &body[policy.Overview]{o}, err
		})
	s.dataClassOperations()
	s.backupPolicyOperations()
	s.backupRunOperations()
}

func (s *server) dataClassOperations() {
	register(s, operation{"list-data-classes", http.MethodGet, "/protect/classes", "Classes of data", 0}, ofProtectSite(func(in *protectList) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *protectList) (*body[page[DataClassOut]], error) {
			all, err := s.BackupPolicies.Classes(ctx, siteOr(in.Site, who))
			return paged(each(all, func(x policy.Class) DataClassOut { return DataClassOut(x) }), len(all)), err
		})
	register(s, operation{"add-data-class", http.MethodPost, "/protect/classes", "Register a class of data", http.StatusCreated},
		one(auth.ProtectChange, "protect", func(_ context.Context, _ auth.Person, in *body[DataClassFields]) (auth.Resource, error) {
			return auth.Resource{Site: in.Body.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, in *body[DataClassFields]) (*body[policy.Class], error) {
			c, err := s.BackupPolicies.SaveClass(ctx, in.Body.class(""), who)
			return &body[policy.Class]{c}, err
		})
	register(s, operation{"change-data-class", http.MethodPut, "/protect/classes/{id}", "Change a class of data", 0}, s.dataClassRule(),
		func(ctx context.Context, who auth.Person, in *withBody[DataClassFields]) (*body[policy.Class], error) {
			c, err := s.BackupPolicies.SaveClass(ctx, in.Body.class(in.ID), who)
			return &body[policy.Class]{c}, err
		})
	register(s, operation{"end-data-class", http.MethodPost, "/protect/classes/{id}/end", "A class of data is no longer kept apart", 0},
		one(auth.ProtectChange, "protect", func(ctx context.Context, _ auth.Person, in *ByID) (auth.Resource, error) {
			c, err := s.BackupPolicies.Class(ctx, in.ID)
			return auth.Resource{ID: c.ID, Site: c.Site}, err
		}),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.BackupPolicies.EndClass(ctx, in.ID, who)
		})
}

func (s *server) backupPolicyOperations() {
	register(s, operation{"list-backup-policies", http.MethodGet, "/protect/policies", "Backup policies", 0}, ofProtectSite(func(in *protectList) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *protectList) (*body[page[BackupPolicyOut]], error) {
			all, err := s.BackupPolicies.Policies(ctx, siteOr(in.Site, who))
			return paged(each(all, func(x policy.Policy) BackupPolicyOut { return BackupPolicyOut(x) }), len(all)), err
		})
	fresh := one(auth.ProtectChange, "protect", func(_ context.Context, _ auth.Person, in *body[BackupPolicyFields]) (auth.Resource, error) {
		return auth.Resource{Site: in.Body.Site}, nil
	})
	register(s, operation{"add-backup-policy", http.MethodPost, "/protect/policies", "Make a backup policy", http.StatusCreated}, fresh,
		func(ctx context.Context, who auth.Person, in *body[BackupPolicyFields]) (*body[policy.Policy], error) {
			p, err := s.BackupPolicies.SavePolicy(ctx, in.Body.policy(""), who)
			return &body[policy.Policy]{p}, err
		})
	register(s, operation{"preview-backup-policy", http.MethodPost, "/protect/policies/preview", "What a policy would do; nothing is stored", 0}, fresh,
		func(ctx context.Context, _ auth.Person, in *body[BackupPolicyFields]) (*body[BackupPreview], error) {
			p, err := s.BackupPolicies.Draft(ctx, in.Body.policy(""))
			if err != nil {
				return nil, err
			}
			out := BackupPreview{Next: p.Schedule.Next(s.Now(), 7), Allowed: p.Allowed()}
			out.Generations, out.Oldest = p.Generations(s.Now())
			return &body[BackupPreview]{out}, nil
		})
	register(s, operation{"get-backup-policy", http.MethodGet, "/protect/policies/{id}", "All versions of a backup policy, the newest first", 0}, backupPolicyRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[BackupPolicyOut]], error) {
			all, err := s.BackupPolicies.Versions(ctx, in.ID)
			return paged(each(all, func(x policy.Policy) BackupPolicyOut { return BackupPolicyOut(x) }), len(all)), err
		})
	register(s, operation{"change-backup-policy", http.MethodPut, "/protect/policies/{id}", "Change a backup policy", 0}, backupPolicyRule[withBody[BackupPolicyFields]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[BackupPolicyFields]) (*body[policy.Policy], error) {
			p, err := s.BackupPolicies.SavePolicy(ctx, in.Body.policy(in.ID), who)
			return &body[policy.Policy]{p}, err
		})
	register(s, operation{"end-backup-policy", http.MethodPost, "/protect/policies/{id}/end", "End a backup policy; the backups stay", 0}, backupPolicyRule[reasoned](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.BackupPolicies.EndPolicy(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"run-backup", http.MethodPost, "/protect/policies/{id}/run", "Have a policy done as soon as there is room", http.StatusAccepted}, backupPolicyRule[withBody[RunBackup]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[RunBackup]) (*body[page[BackupRunOut]], error) {
			all, err := s.BackupPolicies.RunNow(ctx, in.ID, in.Body.Host, who)
			return paged(each(all, func(x policy.Run) BackupRunOut { return BackupRunOut{Run: x} }), len(all)), err
		})
}

func (s *server) backupRunOperations() {
	register(s, operation{"list-backup-runs", http.MethodGet, "/protect/runs", "Runs of backups, the newest first", 0}, ofProtectSite(func(in *backupRunList) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *backupRunList) (*body[page[BackupRunOut]], error) {
			all, total, err := s.BackupPolicies.Runs(ctx, policy.Filter{Site: siteOr(in.Site, who), Policy: in.Policy, Host: in.Host, State: policy.State(in.State), Going: in.Going, Limit: in.Limit, Offset: in.Offset})
			if err != nil {
				return nil, err
			}
			told, err := s.BackupPolicies.Progress(ctx)
			out := make([]BackupRunOut, 0, len(all))
			for _, r := range all {
				x := BackupRunOut{Run: r}
				if t, ok := told[r.ID]; ok {
					x.Progress = &t
				}
				out = append(out, x)
			}
			return paged(out, total), err
		})
	register(s, operation{"get-backup-run", http.MethodGet, "/protect/runs/{id}", "All versions of a run, the first one first", 0}, backupRunRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[BackupRunOut]], error) {
			all, err := s.BackupPolicies.History(ctx, in.ID)
			return paged(each(all, func(x policy.Run) BackupRunOut { return BackupRunOut{Run: x} }), len(all)), err
		})
	register(s, operation{"cancel-backup", http.MethodPost, "/protect/runs/{id}/cancel", "End a run that goes on", 0}, backupRunRule[ByID](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.BackupPolicies.Cancel(ctx, in.ID, who)
		})
	register(s, operation{"trust-backup", http.MethodPost, "/protect/runs/{id}/trust", "Take back that a run was called suspect", 0}, backupRunRule[reasoned](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.BackupPolicies.Trust(ctx, in.ID, in.Body.Reason, who)
		})
}

// ofProtectSite is the right to see the backups of the site that is asked for,
// else of the caller's own.
func ofProtectSite[I any](site func(*I) string) rule[I] {
	return one(auth.ProtectSee, "protect", func(_ context.Context, who auth.Person, in *I) (auth.Resource, error) {
		return auth.Resource{Site: siteOr(site(in), who)}, nil
	})
}

// dataClassRule is the right to change a class, and to change it to what is sent.
func (s *server) dataClassRule() rule[withBody[DataClassFields]] {
	return one(auth.ProtectChange, "protect", func(ctx context.Context, _ auth.Person, in *withBody[DataClassFields]) (auth.Resource, error) {
		c, err := s.BackupPolicies.Class(ctx, in.ID)
		return auth.Resource{ID: c.ID, Site: c.Site}, err
	})
}

func backupPolicyRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		p, err := s.BackupPolicies.Policy(ctx, (*in).of())
		return auth.Resource{ID: p.ID, Site: p.Site}, err
	})
}

func backupRunRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		r, err := s.BackupPolicies.Run(ctx, (*in).of())
		return auth.Resource{ID: r.ID, Site: r.Site}, err
	})
}
