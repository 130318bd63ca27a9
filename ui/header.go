package ui

import (
	"io"
	"net/http"
)

// pagePolicy allows what the hub serves itself and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; report-uri /csp"

// documentPolicy is for report documents: one self-contained file whose style
// stands inside it, without any script, whatever somebody wrote into it.
const documentPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'none'; sandbox; report-uri /csp"

// headers sets what every answer carries. Pages hold facts about incidents, so
// no cache may keep them; assets overwrite that.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// cspReport counts what a browser refused. The text comes from outside, so
// only its size is logged.
func (s *server) cspReport(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, io.LimitReader(r.Body, 64<<10))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.reports.Add(1)
	s.Log.Warn("a browser reported a violation of the content security policy", "bytes", n)
	w.WriteHeader(http.StatusNoContent)
}
