// Package api is REST v1: the same stages as the pages, for programs.
//
// In: HTTP requests below /api/v1 with a session token (Authorization: Bearer)
// or the session cookie of the pages. Out: JSON, RFC 9457 problems in the
// reader's language, and the OpenAPI description of all of it. Always true: an
// operation cannot be registered without saying which verb on which resource
// it is; every call is decided by auth in one place; a refusal is recorded; no
// rule of a stage lives here.
package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/protect/vault"
)

const (
	prefix  = "/api/v1"
	version = "1.0.0"
	module  = "github.com/sonae/sonae/"
	// maxBody bounds a request; nothing that people write is longer.
	maxBody = 1 << 20
)

// server holds what the operations share.
type server struct {
	Deps
	api    huma.API
	origin *http.CrossOriginProtection
}

// New returns the handler of everything below /api/v1.
func New(d Deps) http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Sonae", version)
	// Only the description is served, as one file: a page about it would load
	// its program from another host.
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	config.Info.Description = "Watch, decide, contain, preserve, report. Every operation names its right as x-sonae-verb and x-sonae-kind."
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "http", Scheme: "bearer", Description: "token of POST /session"},
		"cookie":  {Type: "apiKey", In: "cookie", Name: cookieTLS, Description: "the session of the pages; writes only from the same origin"},
	}
	s := &server{Deps: d, origin: http.NewCrossOriginProtection()}
	config.Transformers = []huma.Transformer{s.translate}
	s.api = humago.NewWithPrefix(mux, prefix, config)
	s.operations()
	s.description(mux)
	mux.HandleFunc(prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, fault.New(fault.Missing, "api.no-operation"))
	})
	return s.secured(mux)
}

// operations registers all of them.
func (s *server) operations() {
	s.sessionOperations()
	s.alertOperations()
	s.incidentOperations()
	s.actionOperations()
	s.policyOperations()
	s.searchOperations()
	s.networkOperations()
	s.ruleOperations()
	s.listOperations()
	s.evidenceOperations()
	s.packetOperations()
	s.dutyOperations()
	s.decisionOperations()
	s.playbookOperations()
	s.taskOperations()
	s.paperOperations()
	s.causeOperations()
	s.vaultOperations()
	s.drillOperations()
	s.planOperations()
	s.forecastOperations()
	s.reportOperations()
	s.sheetOperations()
	s.assetOperations()
	s.deviceOperations()
	s.notifyOperations()
	s.cutOperations()
	s.copyOperations()
	s.restoreOperations()
	s.peopleOperations()
	s.ledgerOperations()
	s.protectPolicyOperations()
	s.historyOperations()
	s.anomalyOperations()
}

// description serves the OpenAPI document. It is made once, when somebody first
// asks for it: that takes as long as the rest of a hub's start.
func (s *server) description(mux *http.ServeMux) {
	doc := s.api.OpenAPI()
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // problems replace them
		delete(doc.Components.Schemas.Map(), unused)
	}
	made := sync.OnceValue(func() map[string][]byte { return written(doc) })
	for _, path := range []string{"/openapi.json", "/openapi.yaml"} {
		kind := "application/openapi+" + strings.TrimPrefix(path, "/openapi.")
		mux.HandleFunc("GET "+prefix+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(made()[path]) // a reader who hung up
		})
	}
}

// written is the document in both forms, by their paths.
func written(doc *huma.OpenAPI) map[string][]byte {
	asJSON, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("api: describe: %v", err)) // our own types
	}
	asYAML, err := doc.YAML()
	if err != nil {
		panic(fmt.Sprintf("api: describe: %v", err))
	}
	return map[string][]byte{"/openapi.json": append(asJSON, '\n'), "/openapi.yaml": asYAML}
}

// schemaName names a type in the description: the stages' types after their
// package, because several have a Check or an Item.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	pkg := path.Base(t.PkgPath())
	if t.Name() == "" || !strings.HasPrefix(t.PkgPath(), module) || pkg == "api" || strings.EqualFold(pkg, name) {
		return name
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + name
}

// secured does what every request needs before any operation is looked for.
func (s *server) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Add("Vary", "Accept-Language, Authorization, Cookie")
		// A token in a header cannot be sent by another site's page; a cookie
		// can, and so can the log-in form.
		if bearer(r) == "" {
			if err := s.origin.Check(r); err != nil {
				s.Log.Warn("a write from another origin was refused", "path", r.URL.Path)
				s.write(w, r, fault.New(fault.Denied, "api.cross-origin").With(err))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// rule says which right an operation needs.
type rule[I any] struct {
	verb auth.Verb
	kind string // of resource, for the description
	// on returns what is asked of the policies; all of it must be allowed.
	// Nothing means the verb on the kind, without a site.
	on func(ctx context.Context, who auth.Person, in *I) ([]need, error)
}

// need is one question to the policies.
type need struct {
	verb auth.Verb
	on   auth.Resource
}

// operation is the short form of huma.Operation.
type operation struct {
	id, method, path, summary string
	status                    int // of success; 0: 200, or 204 without a body
}

// most bounds the body of a request: only a threat list, a tool and a picture are
// files, the last in base64.
func (o operation) most() int64 {
	switch o.id {
	case draftList:
		return maxBody + ioc.MaxBytes
	case addPicture:
		return maxBody + paper.MaxPicture/3*4
	case addTool:
		return vault.MaxTool
	}
	return maxBody
}

func (o operation) huma(extensions map[string]any) huma.Operation {
	tag, _, _ := strings.Cut(strings.TrimPrefix(o.path, "/"), "/")
	return huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, Tags: []string{tag},
		DefaultStatus: o.status, MaxBodyBytes: o.most(), Extensions: extensions,
	}
}

// register adds an operation for people who are logged in and have the right.
// This is the only place where rights are asked.
func register[I, O any](s *server, o operation, r rule[I], do func(ctx context.Context, who auth.Person, in *I) (*O, error)) {
	op := o.huma(map[string]any{"x-sonae-verb": string(r.verb), "x-sonae-kind": r.kind})
	op.Security = []map[string][]string{{"session": {}}, {"cookie": {}}}
	op.Middlewares = huma.Middlewares{s.authenticate}
	add(s, op, func(ctx context.Context, in *I) (*O, error) {
		who := callerOf(ctx).who
		needs, err := r.on(ctx, who, in)
		if err != nil {
			return nil, err
		}
		if len(needs) == 0 {
			needs = []need{{r.verb, auth.Resource{Kind: r.kind}}}
		}
		for _, n := range needs {
			if d := s.People.Allow(who, n.verb, n.on); !d.Allowed {
				s.People.Refused(ctx, who, n.verb, n.on, d)
				return nil, fault.New(fault.Denied, d.Reason)
			}
		}
		return do(ctx, who, in)
	})
}

// add registers an operation whose errors become problems.
func add[I, O any](s *server, op huma.Operation, do func(ctx context.Context, in *I) (*O, error)) {
	op.Responses = map[string]*huma.Response{"default": {
		Description: "Problem (RFC 9457)",
		Content: map[string]*huma.MediaType{problemType: {
			Schema: s.api.OpenAPI().Components.Schemas.Schema(problemModel, true, "Problem"),
		}},
	}}
	op.Middlewares = slices.Insert(op.Middlewares, 0, s.remember)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, s.problem(callerOf(ctx).request, callerOf(ctx).who, err)
		}
		return out, nil
	})
}

// none is the answer of operations that have nothing to say (204).
type none struct{}

// body wraps an answer.
type body[T any] struct{ Body T }

// page is one page of a list.
type page[T any] struct {
	Items []T `json:"items"`
	Total int `json:"total" doc:"how many there are on all pages"`
}

// paged returns a page whose items are never null.
func paged[T any](items []T, total int) *body[page[T]] {
	if items == nil {
		items = []T{}
	}
	return &body[page[T]]{page[T]{items, total}}
}

// Paging are the parameters of lists. (Exported, because huma fills only
// exported embedded structs.)
type Paging struct {
	Limit  int `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Offset int `query:"offset" minimum:"0" maximum:"1000000" default:"0"`
}

// ByID are the parameters of one thing. (Exported like Paging.)
type ByID struct {
	ID string `path:"id" maxLength:"100"`
}
