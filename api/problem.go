package api

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
)

const problemType = "application/problem+json"

// Problem is an error as programs and people read it (RFC 9457).
type Problem struct {
	Type   string   `json:"type" doc:"urn:sonae:fault: and the key"`
	Title  string   `json:"title" doc:"text of the HTTP status"`
	Status int      `json:"status"`
	Detail string   `json:"detail" doc:"what happened and what to do, in the reader's language"`
	Key    string   `json:"key" doc:"stays the same in all languages and versions"`
	Errors []string `json:"errors,omitempty" doc:"which parts of the request are wrong"`
}

var problemModel = reflect.TypeFor[Problem]()

// Error is the technical text.
func (p *Problem) Error() string { return p.Key }

// GetStatus tells huma the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType tells huma the content type.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders tells huma what else the status needs.
func (p *Problem) GetHeaders() http.Header {
	switch p.Status {
	case http.StatusUnauthorized:
		return http.Header{"Www-Authenticate": {`Bearer realm="sonae"`}}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return http.Header{"Retry-After": {"10"}}
	}
	return nil
}

// statusOf is the HTTP status of a fault.
func statusOf(f *fault.Error) int {
	switch f.Key { // not logged in is another thing than not allowed
	case "auth.session-ended", "auth.refused":
		return http.StatusUnauthorized
	case "auth.locked":
		return http.StatusTooManyRequests
	}
	switch f.Kind {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Missing:
		return http.StatusNotFound
	case fault.Denied:
		return http.StatusForbidden
	case fault.Conflict:
		return http.StatusConflict
	case fault.Busy:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// problem turns an error into an answer. The text of an error without a kind
// is logged and never shown.
func (s *server) problem(r *http.Request, who auth.Person, err error) *Problem {
	var already *Problem
	if errors.As(err, &already) {
		return already
	}
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind == "" {
		s.Log.Error("request failed", "method", r.Method, "pattern", r.Pattern, "person", who.ID, "err", err)
		f = fault.New("", "api.own")
	}
	p := newProblem(statusOf(f), f.Key, language(r, who), f.Args)
	if p.Status == http.StatusForbidden || p.Status == http.StatusUnauthorized {
		s.Log.Info("request refused", "method", r.Method, "pattern", r.Pattern, "person", who.ID, "key", f.Key)
	}
	return p
}

func newProblem(status int, key, lang string, args []any) *Problem {
	return &Problem{
		Type: "urn:sonae:fault:" + key, Title: http.StatusText(status), Status: status,
		Detail: i18n.T(lang, "fault."+key, i18n.Args(lang, args)), Key: key,
	}
}

// write answers with err where huma is not reached.
func (s *server) write(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problem(r, auth.Person{}, err)
	w.Header().Set("Content-Type", problemType)
	maps.Copy(w.Header(), p.GetHeaders())
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a reader who hung up
}

// translate turns what huma itself refuses into a problem.
func (s *server) translate(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	c := callerOf(ctx.Context())
	key := "api.invalid"
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		key = "api.too-large"
	case e.Status == http.StatusUnsupportedMediaType:
		key = "api.not-json"
	case e.Status == http.StatusRequestTimeout:
		key = "api.slow"
	case e.Status >= http.StatusInternalServerError:
		s.Log.Error("request failed", "pattern", c.request.Pattern, "person", c.who.ID, "err", e.Detail)
		key = "api.own"
	}
	p := newProblem(e.Status, key, language(c.request, c.who), nil)
	if e.Status < http.StatusInternalServerError {
		for _, d := range e.Errors {
			p.Errors = append(p.Errors, strings.TrimPrefix(d.Location+": "+d.Message, ": "))
		}
	}
	return p, nil
}

// quality reads the q parameter of a header; 1 when there is none.
func quality(params string) float64 {
	name, value, ok := strings.Cut(strings.TrimSpace(params), "=")
	if !ok || strings.TrimSpace(name) != "q" {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || q < 0 || q > 1 {
		return 0
	}
	return q
}
