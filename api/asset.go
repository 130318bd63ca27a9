package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/ready/asset"
)

// HostFields are what people may say of a host.
type HostFields struct {
	Name     string          `json:"name" minLength:"1" maxLength:"200"`
	Class    string          `json:"class" maxLength:"32" doc:"pc, server, medical, vm …"`
	Services []asset.Service `json:"services" nullable:"false" maxItems:"100"`
	Keep     string          `json:"keep" maxLength:"2000" doc:"why it must not be isolated without the director; empty: it may be"`
}

// SiteFields are what people say of a site.
type SiteFields struct {
	Name      string `json:"name" minLength:"1" maxLength:"200"`
	Kind      string `json:"kind" enum:"hospital,contractor,datacentre,office"`
	Principal string `json:"principal,omitempty" maxLength:"32" doc:"site that entrusts work to it"`
	Contact   string `json:"contact,omitempty" maxLength:"2000"`
}

// NewToken asks for an enrolment token.
type NewToken struct {
	Site            string `json:"site" minLength:"1" maxLength:"32"`
	Note            string `json:"note,omitempty" maxLength:"500"`
	LifetimeSeconds int    `json:"lifetime_seconds,omitempty" minimum:"0" maximum:"604800" doc:"an hour when absent"`
}

// Token lets one machine enrol, once.
type Token struct {
	Secret    string    `json:"secret,omitempty" doc:"shown once, when it is made"`
	Site      string    `json:"site"`
	ExpiresAt time.Time `json:"expires_at"`
}

type hostList struct {
	Paging
	Site string `query:"site" maxLength:"32"`
}

func (s *server) assetOperations() {
	register(s, operation{"list-hosts", http.MethodGet, "/hosts", "Machines with an agent", 0},
		one(auth.View, "host", func(_ context.Context, who auth.Person, in *hostList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *hostList) (*body[page[asset.Host]], error) {
			list, total, err := s.Assets.Hosts(ctx, asset.Filter{Site: siteOr(in.Site, who), Limit: in.Limit, Offset: in.Offset})
			return paged(list, total), err
		})
	register(s, operation{"get-host", http.MethodGet, "/hosts/{id}", "One machine", 0}, hostRule[ByID](s, auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[asset.Host], error) {
			h, err := s.Assets.Host(ctx, in.ID)
			return &body[asset.Host]{h}, err
		})
	register(s, operation{"save-host", http.MethodPut, "/hosts/{id}", "Say what a machine is and carries", 0}, hostRule[withBody[HostFields]](s, auth.Administer),
		func(ctx context.Context, who auth.Person, in *withBody[HostFields]) (*none, error) {
			h, err := s.Assets.Host(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			h.Name, h.Class, h.Services, h.Keep = in.Body.Name, in.Body.Class, in.Body.Services, in.Body.Keep
			return nil, s.Assets.SaveHost(ctx, h, who)
		})
	register(s, operation{"remove-host", http.MethodDelete, "/hosts/{id}", "End the trust in a machine: its certificate is refused from now on; what it reported stays", 0}, hostRule[ByID](s, auth.Administer),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Assets.RemoveHost(ctx, in.ID, who)
		})
	s.siteOperations()
	s.tokenOperations()
}

func hostRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "host", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		h, err := s.Assets.Host(ctx, (*in).of())
		return auth.Resource{ID: h.ID, Site: h.Site}, err
	})
}

func (s *server) siteOperations() {
	register(s, operation{"list-sites", http.MethodGet, "/sites", "Sites", 0},
		one(auth.View, "site", func(_ context.Context, who auth.Person, _ *none) (auth.Resource, error) {
			return auth.Resource{Site: who.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, _ *none) (*body[page[asset.Site]], error) {
			list, err := s.Assets.Sites(ctx)
			list = slices.DeleteFunc(list, func(site asset.Site) bool { return who.Site != "" && site.ID != who.Site })
			return paged(list, len(list)), err
		})
	register(s, operation{"get-site", http.MethodGet, "/sites/{id}", "One site", 0},
		one(auth.View, "site", func(_ context.Context, _ auth.Person, in *ByID) (auth.Resource, error) {
			return auth.Resource{ID: in.ID, Site: in.ID}, nil
		}),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[asset.Site], error) {
			site, err := s.Assets.Site(ctx, in.ID)
			return &body[asset.Site]{site}, err
		})
	// for the whole register: a new site belongs to nobody yet
	register(s, operation{"save-site", http.MethodPut, "/sites/{id}", "Add or change a site", 0}, fixed[withBody[SiteFields]](auth.Administer, "site"),
		func(ctx context.Context, who auth.Person, in *withBody[SiteFields]) (*none, error) {
			return nil, s.Assets.SaveSite(ctx, asset.Site{ID: in.ID, Name: in.Body.Name, Kind: asset.SiteKind(in.Body.Kind),
				Principal: in.Body.Principal, Contact: in.Body.Contact}, who)
		})
}

func (s *server) tokenOperations() {
	register(s, operation{"make-token", http.MethodPost, "/tokens", "Make an enrolment token", http.StatusCreated},
		one(auth.Administer, "host", func(_ context.Context, _ auth.Person, in *body[NewToken]) (auth.Resource, error) {
			return auth.Resource{Site: in.Body.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, in *body[NewToken]) (*body[Token], error) {
			t, err := s.Assets.NewToken(ctx, in.Body.Site, in.Body.Note, time.Duration(in.Body.LifetimeSeconds)*time.Second, who)
			return &body[Token]{Token{t.Secret, t.Site, t.ExpiresAt}}, err
		})
	register(s, operation{"list-tokens", http.MethodGet, "/tokens", "Enrolment tokens, without their secrets", 0},
		one(auth.Administer, "host", func(_ context.Context, who auth.Person, _ *none) (auth.Resource, error) {
			return auth.Resource{Site: who.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, _ *none) (*body[page[Token]], error) {
			list, err := s.Assets.Tokens(ctx)
			out := []Token{}
			for _, t := range list {
				if who.Site == "" || t.Site == who.Site {
					out = append(out, Token{Site: t.Site, ExpiresAt: t.ExpiresAt})
				}
			}
			return paged(out, len(out)), err
		})
}
