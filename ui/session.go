package ui

import (
	"net"
	"net/http"
	"net/url"

	"github.com/sonae/sonae/auth"
)

const (
	languageCookie = "sonae_lang"
	languageDays   = 365
)

// sessionCookie is the name of the cookie: with TLS the prefix binds it to
// exactly this host. The API takes the same one.
func sessionCookie(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-sonae_session"
	}
	return "sonae_session"
}

// viewer returns who has the session of r; the zero Person when nobody.
func (s *server) viewer(r *http.Request) auth.Person {
	k, err := r.Cookie(sessionCookie(r))
	if err != nil || k.Value == "" {
		return auth.Person{}
	}
	who, err := s.People.Session(r.Context(), k.Value)
	if err != nil {
		return auth.Person{}
	}
	return who
}

// keep gives the browser the session. It is no cookie for later: closing the
// browser ends it, the hub ends it anyway.
func (c *call) keep(token string) {
	http.SetCookie(c.w, &http.Cookie{
		Name: sessionCookie(c.r), Value: token, Path: "/", HttpOnly: true, Secure: c.r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

func (c *call) forget() {
	http.SetCookie(c.w, &http.Cookie{
		Name: sessionCookie(c.r), Path: "/", MaxAge: -1, HttpOnly: true, Secure: c.r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

// askToLogIn leads to the log-in and from there back to the page.
func (c *call) askToLogIn() {
	if c.r.Method != http.MethodGet {
		http.Redirect(c.w, c.r, "/login", http.StatusSeeOther)
		return
	}
	to := "/login"
	if p := localPath(c.r.URL.RequestURI()); p != "/" {
		to += "?next=" + url.QueryEscape(p)
	}
	http.Redirect(c.w, c.r, to, http.StatusSeeOther)
}

// address is where a request comes from, without the port.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// language keeps the choice of language and goes back to the page.
func (s *server) language(w http.ResponseWriter, r *http.Request) {
	lang := r.PostFormValue("lang")
	if lang != "en" {
		lang = "ja"
	}
	http.SetCookie(w, &http.Cookie{
		Name: languageCookie, Value: lang, Path: "/", MaxAge: languageDays * 24 * 3600, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, withoutLang(localPath(r.PostFormValue("path"))), http.StatusSeeOther)
}

// withoutLang takes ?lang out of an address: it would win over the choice.
func withoutLang(p string) string {
	u, err := url.Parse(p)
	if err != nil {
		return "/"
	}
	q := u.Query()
	q.Del("lang")
	u.RawQuery = q.Encode()
	return u.RequestURI()
}
