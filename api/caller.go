package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sonae/sonae/auth"
)

// Names of the session cookie that the pages set. The prefix makes browsers
// refuse it from subdomains and without TLS; plain HTTP is loopback only.
const (
	cookiePlain = "sonae_session"
	cookieTLS   = "__Host-sonae_session"
)

// caller is who sends a request.
type caller struct {
	request *http.Request
	who     auth.Person // zero until authenticated
	token   string
}

type callerKey struct{}

// callerOf returns the caller that remember put into ctx.
func callerOf(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{request: &http.Request{}}
}

// remember keeps the request for what needs its headers later.
func (s *server) remember(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	next(huma.WithValue(ctx, callerKey{}, &caller{request: r}))
}

// authenticate stops whoever has no session, before the body is read.
func (s *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	c := callerOf(ctx.Context())
	c.token = tokenOf(c.request)
	who, err := s.People.Session(ctx.Context(), c.token)
	if err != nil {
		r, w := humago.Unwrap(ctx)
		s.write(w, r, err)
		return
	}
	c.who = who
	next(ctx)
}

// tokenOf returns the session token of a request. A header wins over the
// cookie, so that a request is what its sender says it is.
func tokenOf(r *http.Request) string {
	if token := bearer(r); token != "" {
		return token
	}
	name := cookiePlain
	if r.TLS != nil {
		name = cookieTLS
	}
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}

// bearer returns the token of the Authorization header, "" when there is none.
func bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// language returns the language for an answer: the one that the request
// prefers, else the person's, else Japanese.
func language(r *http.Request, who auth.Person) string {
	best, bestQ := "", 0.0
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		lang, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if q := quality(params); (lang == "ja" || lang == "en") && q > bestQ {
			best, bestQ = lang, q
		}
	}
	switch {
	case best != "":
		return best
	case who.Lang == "en":
		return "en"
	}
	return "ja"
}
