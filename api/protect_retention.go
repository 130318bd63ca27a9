package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/vault"
)

// vaultPast asks what was there as of a time.
type vaultPast struct {
	ByID
	AsOf time.Time `query:"as_of" doc:"absent: now"`
}

// vaultRetention is what holds snapshots, what went, and where all of it lies.
func (s *server) vaultRetention() {
	register(s, operation{"list-vault-gone", http.MethodGet, "/protect/repositories/{id}/gone", "Snapshots that a repository had as of a time and that people let go since, with the decision", 0}, vaultRule[vaultPast](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *vaultPast) (*body[page[repository.Gone]], error) {
			all, err := s.Vault.Gone(ctx, in.ID, in.AsOf)
			return paged(all, len(all)), err
		})
	register(s, operation{"hold-vault", http.MethodPost, "/protect/repositories/{id}/hold", "Keep all snapshots of a repository until an approver ends it", 0}, vaultRule[reasoned](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Vault.SetHold(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"end-vault-hold", http.MethodPost, "/protect/repositories/{id}/hold/end", "End the hold of a repository", 0}, vaultRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Vault.EndHold(ctx, in.ID, in.Body.Reason, who)
		})
	register(s, operation{"cut-vault-kept", http.MethodPost, "/protect/cuts/{id}/cut", "Cut the path too, where a score froze what is kept", http.StatusCreated}, vaultCutRule[ByID](s, auth.Request),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[vault.Cut], error) {
			c, err := s.Vault.CutKept(ctx, in.ID, who)
			return &body[vault.Cut]{c}, err
		})
	register(s, operation{"get-vault-home", http.MethodGet, "/protect/home", "The hub of several where the repositories lie", 0}, rule[none]{auth.Administer, vaultKind, anywhere[none]},
		func(ctx context.Context, _ auth.Person, _ *none) (*body[vault.Home], error) {
			h, err := s.Vault.Home(ctx)
			return &body[vault.Home]{h}, err
		})
	register(s, operation{"take-vault-home", http.MethodPut, "/protect/home", "Make this hub the one where the repositories lie, once their folders were copied to it", 0}, rule[body[Reason]]{auth.Administer, vaultKind, anywhere[body[Reason]]},
		func(ctx context.Context, who auth.Person, in *body[Reason]) (*none, error) {
			return nil, s.Vault.TakeHome(ctx, in.Body.Reason, who)
		})
}
