package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
)

// LogIn is what starts a session.
type LogIn struct {
	Login    string `json:"login" maxLength:"100"`
	Password string `json:"password" maxLength:"1024"`
	Code     string `json:"code,omitempty" maxLength:"20" doc:"of the second factor"`
}

// Session is the answer to LogIn.
type Session struct {
	Token     string      `json:"token" doc:"send it as Authorization: Bearer"`
	ExpiresAt time.Time   `json:"expires_at"`
	Person    auth.Person `json:"person"`
}

func (s *server) sessionOperations() {
	login := operation{"log-in", http.MethodPost, "/session", "Log in", http.StatusCreated}
	add(s, login.huma(nil), func(ctx context.Context, in *body[LogIn]) (*body[Session], error) {
		got, err := s.People.LogIn(ctx, auth.Credentials{
			Login: in.Body.Login, Password: in.Body.Password, Code: in.Body.Code, Address: callerOf(ctx).request.RemoteAddr,
		})
		if err != nil {
			return nil, err
		}
		return &body[Session]{Session{got.Token, got.ExpiresAt, got.Person}}, nil
	})
	register(s, operation{"who-am-i", http.MethodGet, "/session", "Who is logged in", 0}, own[none](),
		func(_ context.Context, who auth.Person, _ *none) (*body[auth.Person], error) {
			return &body[auth.Person]{who}, nil
		})
	register(s, operation{"log-out", http.MethodDelete, "/session", "Log out", 0}, own[none](),
		func(ctx context.Context, _ auth.Person, _ *none) (*none, error) {
			return nil, s.People.LogOut(ctx, callerOf(ctx).token)
		})
}

// own is the right to one's own session: whoever may see any page has it.
func own[I any]() rule[I] { return fixed[I](auth.View, "page") }

// fixed is the right to something that has no site.
func fixed[I any](v auth.Verb, kind string) rule[I] {
	return rule[I]{v, kind, func(context.Context, auth.Person, *I) ([]need, error) { return nil, nil }}
}

// siteOr is the site by which a list is filtered: the one asked for, else the
// person's own. Asking for another one is refused by the policies.
func siteOr(asked string, who auth.Person) string {
	if asked != "" {
		return asked
	}
	return who.Site
}

// one is a rule about a single thing, which find looks up.
func one[I any](v auth.Verb, kind string, find func(ctx context.Context, who auth.Person, in *I) (auth.Resource, error)) rule[I] {
	return rule[I]{v, kind, func(ctx context.Context, who auth.Person, in *I) ([]need, error) {
		r, err := find(ctx, who, in)
		if err != nil {
			return nil, err
		}
		r.Kind = kind
		return []need{{v, r}}, nil
	}}
}
