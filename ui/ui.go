// Package ui is the pages of the hub: server-rendered, live by server-sent
// events, complete without script, printable.
//
// In: requests of browsers, the stages behind the interfaces in deps.go. Out:
// HTML in Japanese or English, calls of the same stage methods that the API
// uses. Always true: no rule about incidents stands here; every route names
// the right it needs in one table and one function asks for it; every answer
// carries a strict content security policy; no page asks another host for
// anything.
package ui

import (
	"embed"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/protect/vault"
)

//go:embed all:web/dist
var dist embed.FS

// maxBody bounds every request body but that of a threat list or a picture; no
// form of ours comes near it.
const maxBody = 1 << 20

// server holds what the handlers share.
type server struct {
	Deps
	assets  assets
	mux     *http.ServeMux
	routes  map[string]route // by pattern
	reports atomic.Int64     // violations of the policy that browsers reported
}

// New makes the handler of all pages. It expects to be mounted at "/".
func New(d Deps) (http.Handler, error) {
	a, err := readAssets(dist, "web/dist")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	return handler(d, a), nil
}

// handler joins routes and what stands before all of them.
func handler(d Deps, a assets) http.Handler {
	s := &server{Deps: d, assets: a, mux: http.NewServeMux(), routes: map[string]route{}}
	for _, r := range routes() {
		s.mux.Handle(r.pattern, s.serve(r))
		s.routes[r.pattern] = r
	}
	s.mux.HandleFunc("GET /live", s.live)
	s.mux.HandleFunc("POST /csp", s.cspReport)
	s.mux.HandleFunc("POST /language", s.language)
	s.mux.HandleFunc("GET /icon.svg", icon)
	s.mux.Handle("GET /assets/", a)
	s.mux.HandleFunc("/", s.notFound)

	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(s.crossOrigin))
	return headers(limit(cross.Handler(s.mux)))
}

// limit bounds the body of every request.
func limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most := int64(maxBody)
		switch {
		case r.URL.Path == uploads:
			most += ioc.MaxBytes
		case r.URL.Path == toolPages:
			most += vault.MaxTool
		case strings.HasSuffix(r.URL.Path, pictureUpload):
			most += paper.MaxPicture
		}
		r.Body = http.MaxBytesReader(w, r.Body, most)
		next.ServeHTTP(w, r)
	})
}
