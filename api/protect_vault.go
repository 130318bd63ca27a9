package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/vault"
)

// VaultQuota bounds a repository.
type VaultQuota struct {
	Bytes  int64  `json:"bytes" minimum:"0" maximum:"1125899906842624" doc:"0: no bound but the disk"`
	Reason string `json:"reason" minLength:"1" maxLength:"1000"`
}

// VaultRecipientsIn are for whom second keys are sealed.
type VaultRecipientsIn struct {
	List []vault.Recipient `json:"list" minItems:"2" maxItems:"8" nullable:"false" doc:"name: who keeps the private key, and where; key: age1…"`
	Why  string            `json:"why" minLength:"1" maxLength:"1000"`
}

// VaultCutting asks for a cut of the path to the repositories of a site.
type VaultCutting struct {
	Site     string `json:"site" minLength:"1" maxLength:"32"`
	Incident string `json:"incident,omitempty" maxLength:"100"`
	Why      string `json:"why" minLength:"1" maxLength:"1000"`
}

// VaultPassing asks for a pass.
type VaultPassing struct {
	Incident     string    `json:"incident,omitempty" maxLength:"100"`
	Why          string    `json:"why" minLength:"1" maxLength:"1000"`
	AsOf         time.Time `json:"as_of,omitempty" doc:"what was received later cannot be seen with it; absent: all can"`
	LastsSeconds int       `json:"lasts_seconds,omitempty" minimum:"0" maximum:"259200" doc:"from the approval on; absent: 8 hours"`
}

// VaultToken is told once.
type VaultToken struct {
	Token string `json:"token" doc:"password of HTTP Basic, of which the name does not count, or Bearer"`
}

// VaultPruning asks for a pruning.
type VaultPruning struct {
	Rules vault.Generations `json:"rules"`
	Why   string            `json:"why" minLength:"1" maxLength:"1000"`
}

type vaultList struct {
	Site string `query:"site" maxLength:"32"`
}

const vaultKind = "protect" // kind of all that is about backups

func vaultOf[I any](v auth.Verb, site func(*I) string) rule[I] {
	return one(v, vaultKind, func(_ context.Context, who auth.Person, in *I) (auth.Resource, error) {
		return auth.Resource{Site: siteOr(site(in), who)}, nil
	})
}

// vaultRule is the right to one repository, by its agent.
func vaultRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, vaultKind, func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		r, err := s.Vault.Get(ctx, (*in).of())
		return auth.Resource{ID: r.Agent, Site: r.Site}, err
	})
}

func vaultCutRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, vaultKind, func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		c, err := s.Vault.CutByID(ctx, (*in).of())
		return auth.Resource{ID: c.ID, Site: c.Site}, err
	})
}

// vaultPassRule is the right to one pass.
func vaultPassRule[I identified](s *server, v auth.Verb) rule[I] {
	return rule[I]{v, vaultKind, func(ctx context.Context, who auth.Person, in *I) ([]need, error) {
		p, err := s.Vault.PassByID(ctx, (*in).of())
		return []need{{v, auth.Resource{Kind: vaultKind, ID: p.ID, Site: p.Site, RequestedBy: p.AskedBy}}}, err
	}}
}

func vaultPruneRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, vaultKind, func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		p, err := s.Vault.PruneByID(ctx, (*in).of())
		return auth.Resource{ID: p.ID, Site: p.Site, RequestedBy: p.AskedBy}, err
	})
}

func (s *server) vaultOperations() {
	register(s, operation{"list-vault-repositories", http.MethodGet, "/protect/repositories", "Repositories of backups", 0}, vaultOf(auth.ProtectSee, func(in *vaultList) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *vaultList) (*body[page[vault.Repository]], error) {
			all, err := s.Vault.Repositories(ctx, siteOr(in.Site, who))
			return paged(all, len(all)), err
		})
	register(s, operation{"get-vault-repository", http.MethodGet, "/protect/repositories/{id}", "One repository, by the id of its host", 0}, vaultRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[vault.Repository], error) {
			r, err := s.Vault.Get(ctx, in.ID)
			return &body[vault.Repository]{r}, err
		})
	register(s, operation{"set-vault-quota", http.MethodPut, "/protect/repositories/{id}/quota", "Bound what an agent may store; nothing is removed", 0}, vaultRule[withBody[VaultQuota]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[VaultQuota]) (*none, error) {
			return nil, s.Vault.SetQuota(ctx, in.ID, in.Body.Bytes, in.Body.Reason, who)
		})
	register(s, operation{"list-vault-reads", http.MethodGet, "/protect/repositories/{id}/reads", "What was read again, and what was found", 0}, vaultRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[vault.Read]], error) {
			all, err := s.Vault.Reads(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"ask-vault-read", http.MethodPost, "/protect/repositories/{id}/reads", "Read everything of a repository again, soon", 0}, vaultRule[ByID](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Vault.AskRead(ctx, in.ID, who)
		})
	register(s, operation{"list-vault-refusals", http.MethodGet, "/protect/repositories/{id}/refusals", "What was not let in", 0}, vaultRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[vault.Refusals]], error) {
			all, err := s.Vault.RefusalsOf(ctx, in.ID)
			return paged(all, len(all)), err
		})
	s.vaultKeys()
	s.vaultCuts()
	s.vaultPasses()
	s.vaultPrunes()
	s.vaultRetention()
	s.toolOperations()
}

func (s *server) vaultKeys() {
	everywhere := func(v auth.Verb) rule[none] { return rule[none]{v, vaultKind, anywhere[none]} }
	register(s, operation{"get-vault-recipients", http.MethodGet, "/protect/recipients", "For whom second keys of repositories are sealed", 0}, everywhere(auth.Administer),
		func(ctx context.Context, _ auth.Person, _ *none) (*body[vault.Recipients], error) {
			r, err := s.Vault.Recipients(ctx)
			return &body[vault.Recipients]{r}, err
		})
	register(s, operation{"set-vault-recipients", http.MethodPut, "/protect/recipients", "Say for whom second keys are sealed", 0}, rule[body[VaultRecipientsIn]]{auth.Administer, vaultKind, anywhere[body[VaultRecipientsIn]]},
		func(ctx context.Context, who auth.Person, in *body[VaultRecipientsIn]) (*none, error) {
			return nil, s.Vault.SetRecipients(ctx, in.Body.List, in.Body.Why, who)
		})
	register(s, operation{"get-vault-sheet", http.MethodGet, "/protect/repositories/{id}/sheet", "Recovery sheet with the sealed key", 0}, vaultRule[ByID](s, auth.Administer),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[vault.Sheet], error) {
			s.People.Viewed(ctx, who, "recovery-sheet", in.ID)
			sheet, err := s.Vault.Sheet(ctx, in.ID)
			return &body[vault.Sheet]{sheet}, err
		})
	register(s, operation{"make-vault-sheet", http.MethodPost, "/protect/repositories/{id}/sheet", "Make another key for the safe; its password is told this once", http.StatusCreated}, vaultRule[ByID](s, auth.Administer),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[vault.Sheet], error) {
			sheet, err := s.Vault.NewSheet(ctx, in.ID, who)
			return &body[vault.Sheet]{sheet}, err
		})
}

func (s *server) vaultCuts() {
	register(s, operation{"list-vault-cuts", http.MethodGet, "/protect/cuts", "Paths to repositories that were cut, newest first", 0}, vaultOf(auth.ProtectSee, func(in *vaultList) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *vaultList) (*body[page[vault.Cut]], error) {
			all, err := s.Vault.Cuts(ctx, siteOr(in.Site, who))
			return paged(all, len(all)), err
		})
	register(s, operation{"cut-vault", http.MethodPost, "/protect/cuts", "Cut the path to the repositories of a site at once", http.StatusCreated}, vaultOf(auth.Request, func(in *body[VaultCutting]) string { return in.Body.Site }),
		func(ctx context.Context, who auth.Person, in *body[VaultCutting]) (*body[vault.Cut], error) {
			if err := s.vaultPlace(ctx, who, in.Body.Site, in.Body.Incident); err != nil {
				return nil, err
			}
			c, err := s.Vault.CutPath(ctx, in.Body.Site, in.Body.Incident, in.Body.Why, who)
			return &body[vault.Cut]{c}, err
		})
	register(s, operation{"release-vault-cut", http.MethodPost, "/protect/cuts/{id}/release", "Let the agents of a site write again", 0}, vaultCutRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Vault.Release(ctx, in.ID, in.Body.Reason, who)
		})
}

// vaultPlace wants site and incident to exist, and the incident to be one that
// the person sees.
func (s *server) vaultPlace(ctx context.Context, who auth.Person, site, incident string) error {
	if err := s.siteOrAll(ctx, site); err != nil || incident == "" {
		return err
	}
	i, err := s.Incidents.Get(ctx, incident)
	if err != nil {
		return err
	}
	return s.vaultAllowed(ctx, who, auth.View, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(who, i.Scope.Sites)})
}

// vaultAllowed is a right that an operation needs besides its own.
func (s *server) vaultAllowed(ctx context.Context, who auth.Person, v auth.Verb, r auth.Resource) error {
	d := s.People.Allow(who, v, r)
	if d.Allowed {
		return nil
	}
	s.People.Refused(ctx, who, v, r, d)
	return fault.New(fault.Denied, d.Reason)
}

func (s *server) vaultPasses() {
	register(s, operation{"list-vault-passes", http.MethodGet, "/protect/passes", "Who may read repositories, newest first", 0}, vaultOf(auth.ProtectSee, func(in *vaultList) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *vaultList) (*body[page[vault.Pass]], error) {
			all, err := s.Vault.Passes(ctx, "", siteOr(in.Site, who))
			return paged(all, len(all)), err
		})
	register(s, operation{"ask-vault-pass", http.MethodPost, "/protect/repositories/{id}/passes", "Ask to read a repository; another person approves", http.StatusCreated}, vaultRule[withBody[VaultPassing]](s, auth.ProtectRestore),
		func(ctx context.Context, who auth.Person, in *withBody[VaultPassing]) (*body[vault.Pass], error) {
			b := in.Body
			if err := s.vaultPlace(ctx, who, "", b.Incident); err != nil {
				return nil, err
			}
			p, err := s.Vault.AskPass(ctx, vault.NewPass{Agent: in.ID, Incident: b.Incident, Why: b.Why, AsOf: b.AsOf, Lasts: time.Duration(b.LastsSeconds) * time.Second}, who)
			return &body[vault.Pass]{p}, err
		})
	register(s, operation{"approve-vault-pass", http.MethodPost, "/protect/passes/{id}/approve", "Let a pass hold that somebody else asked for", 0}, vaultPassRule[ByID](s, auth.Approve),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Vault.ApprovePass(ctx, in.ID, who)
		})
	register(s, operation{"refuse-vault-pass", http.MethodPost, "/protect/passes/{id}/refuse", "Refuse a pass, or take the own one back", 0}, rule[reasoned]{auth.Approve, vaultKind, s.vaultRefusal},
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Vault.RefusePass(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"end-vault-pass", http.MethodPost, "/protect/passes/{id}/end", "End a pass at once", 0}, vaultPassRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Vault.EndPass(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"take-vault-token", http.MethodPost, "/protect/passes/{id}/token", "Take the token of a pass; the one before ends", http.StatusCreated}, vaultPassRule[ByID](s, auth.ProtectRestore),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[VaultToken], error) {
			token, err := s.Vault.TakeToken(ctx, in.ID, who)
			return &body[VaultToken]{VaultToken{token}}, err
		})
}

// vaultRefusal is the right to say no: an approver's, and the asker's own.
func (s *server) vaultRefusal(ctx context.Context, who auth.Person, in *reasoned) ([]need, error) {
	p, err := s.Vault.PassByID(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	verb := auth.Approve
	if p.AskedBy == who.ID {
		verb = auth.ProtectRestore
	}
	return []need{{verb, auth.Resource{Kind: vaultKind, ID: p.ID, Site: p.Site, RequestedBy: p.AskedBy}}}, nil
}

func (s *server) vaultPrunes() {
	register(s, operation{"plan-vault-prune", http.MethodPost, "/protect/repositories/{id}/prunes/plan", "What would go that no policy keeps, nor the rule besides (all 0: none), by when it was received; nothing is stored", 0}, vaultRule[withBody[vault.Generations]](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *withBody[vault.Generations]) (*body[page[vault.Choice]], error) {
			all, err := s.Vault.PlanPrune(ctx, in.ID, in.Body)
			return paged(all, len(all)), err
		})
	register(s, operation{"list-vault-prunes", http.MethodGet, "/protect/repositories/{id}/prunes", "Decisions about what is no longer kept", 0}, vaultRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[vault.Prune]], error) {
			all, err := s.Vault.Prunes(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"ask-vault-prune", http.MethodPost, "/protect/repositories/{id}/prunes", "Ask to let snapshots go; another person approves, then it cools off", http.StatusCreated}, vaultRule[withBody[VaultPruning]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[VaultPruning]) (*body[vault.Prune], error) {
			p, err := s.Vault.AskPrune(ctx, in.ID, in.Body.Rules, in.Body.Why, who)
			return &body[vault.Prune]{p}, err
		})
	register(s, operation{"approve-vault-prune", http.MethodPost, "/protect/prunes/{id}/approve", "Approve a pruning that somebody else asked for", 0}, vaultPruneRule[ByID](s, auth.Approve),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Vault.ApprovePrune(ctx, in.ID, who)
		})
	register(s, operation{"stop-vault-prune", http.MethodPost, "/protect/prunes/{id}/stop", "Refuse a pruning, or stop one that cools off", 0}, vaultPruneRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Vault.StopPrune(ctx, in.ID, in.Body.Reason, who)
		})
}
