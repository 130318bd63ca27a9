package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/sonae/sonae/auth"
)

// Invite is somebody new.
type Invite struct {
	Login string      `json:"login" minLength:"2" maxLength:"64"`
	Name  string      `json:"name" minLength:"1" maxLength:"100"`
	Roles []auth.Role `json:"roles" minItems:"1" maxItems:"6" nullable:"false"`
	Site  string      `json:"site,omitempty" maxLength:"32" doc:"own site; absent: all sites"`
	Lang  string      `json:"lang,omitempty" enum:"ja,en"`
}

// RoleList is exactly the roles that somebody has.
type RoleList struct {
	Roles []auth.Role `json:"roles" minItems:"1" maxItems:"6" nullable:"false"`
}

// Invited carries the token of an invitation.
type Invited struct {
	Token string `json:"token" doc:"works once; shown once"`
}

type recordList struct {
	Paging
	Kind string `query:"kind" enum:"login,person,refusal,view,drill"`
}

func personRule[I identified](s *server) rule[I] {
	return one(auth.Administer, "person", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		p, err := s.People.Person(ctx, (*in).of())
		return auth.Resource{ID: p.ID, Site: p.Site}, err
	})
}

func (s *server) peopleOperations() {
	register(s, operation{"list-people", http.MethodGet, "/people", "Everybody who can log in", 0},
		one(auth.Administer, "person", func(_ context.Context, who auth.Person, _ *none) (auth.Resource, error) {
			return auth.Resource{Site: who.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, _ *none) (*body[page[auth.Person]], error) {
			s.People.Viewed(ctx, who, "people", who.Site)
			list, err := s.People.People(ctx)
			list = slices.DeleteFunc(list, func(p auth.Person) bool { return who.Site != "" && p.Site != who.Site })
			return paged(list, len(list)), err
		})
	register(s, operation{"invite-person", http.MethodPost, "/people", "Invite somebody", http.StatusCreated},
		one(auth.Administer, "person", func(ctx context.Context, _ auth.Person, in *body[Invite]) (auth.Resource, error) {
			if in.Body.Site == "" {
				return auth.Resource{}, nil
			}
			site, err := s.Assets.Site(ctx, in.Body.Site)
			return auth.Resource{Site: site.ID}, err
		}),
		func(ctx context.Context, who auth.Person, in *body[Invite]) (*body[Invited], error) {
			token, err := s.People.Invite(ctx, auth.NewPerson{Login: in.Body.Login, Name: in.Body.Name, Roles: in.Body.Roles, Site: in.Body.Site, Lang: in.Body.Lang}, who)
			return &body[Invited]{Invited{token}}, err
		})
	register(s, operation{"renew-person", http.MethodPost, "/people/{id}/renew", "Let somebody set a new password and second factor", http.StatusCreated}, personRule[ByID](s),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[Invited], error) {
			token, err := s.People.Renew(ctx, in.ID, who)
			return &body[Invited]{Invited{token}}, err
		})
	register(s, operation{"set-roles", http.MethodPut, "/people/{id}/roles", "Give somebody exactly these roles", 0}, personRule[withBody[RoleList]](s),
		func(ctx context.Context, who auth.Person, in *withBody[RoleList]) (*none, error) {
			return nil, s.People.SetRoles(ctx, in.ID, in.Body.Roles, who)
		})
	register(s, operation{"disable-person", http.MethodPost, "/people/{id}/disable", "Shut somebody out at once", 0}, personRule[ByID](s),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.People.Disable(ctx, in.ID, who)
		})
	register(s, operation{"enable-person", http.MethodPost, "/people/{id}/enable", "Let somebody in again", 0}, personRule[ByID](s),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.People.Enable(ctx, in.ID, who)
		})
	register(s, operation{"list-records", http.MethodGet, "/records", "Log-ins, changes of rights, refusals, views of personal data and drills, newest first", 0}, fixed[recordList](auth.Audit, "person"),
		func(ctx context.Context, _ auth.Person, in *recordList) (*body[page[auth.Record]], error) {
			list, total, err := s.People.Records(ctx, auth.RecordFilter{Kind: in.Kind, Limit: in.Limit, Offset: in.Offset})
			return paged(list, total), err
		})
}
