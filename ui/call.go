package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ui/view"
)

// call is one request on its way to an answer.
type call struct {
	*server
	Assets Assets // the register in the reader's language
	w      http.ResponseWriter
	r      *http.Request
	lang   string
	who    auth.Person   // zero on open routes without a session
	res    auth.Resource // what the route is about, as the rights were asked for
	at     time.Time
	err    error // why do was refused, while its page is shown again

	people, hostNames, siteNames map[string]string // names asked for before
}

func (c *call) ctx() context.Context { return c.r.Context() }

// id is the value of {id} in the pattern.
func (c *call) id() string { return c.r.PathValue("id") }

// serve makes the handler of one route: who is it, may they, answer.
func (s *server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{server: s, w: w, r: r, at: s.Now()}
		c.who = s.viewer(r)
		c.lang = language(r, c.who)
		c.Assets = s.register(c.lang)
		if !rt.open && c.who.ID == "" {
			c.askToLogIn()
			return
		}
		if err := c.decide(rt); err != nil {
			c.fail(err)
			return
		}
		if err := c.run(rt); err != nil {
			c.fail(err)
		}
	})
}

// run answers a request that is allowed.
func (c *call) run(rt route) error {
	if c.r.Method == http.MethodPost {
		if err := c.r.ParseForm(); err != nil {
			return formFault(err)
		}
	}
	switch {
	case rt.page != nil:
		sc, err := rt.page(c)
		if err != nil {
			return err
		}
		sc.page.Live = rt.topics != nil
		return c.show(sc)
	case rt.raw != nil:
		handled, err := rt.raw(c)
		if handled {
			return err
		}
		return c.again(rt, err)
	}
	to, err := rt.do(c)
	if err != nil {
		return c.again(rt, err)
	}
	if c.partial() { // the live stream shows what changed
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(c.w, c.r, to, http.StatusSeeOther)
	return nil
}

// again shows the page of a refused form with what was typed. An error of our
// own is no fault of the form: it gets its own page.
func (c *call) again(rt route, cause error) error {
	kind := fault.Of(cause)
	if rt.back == nil || kind == "" || kind == fault.Missing || kind == fault.Denied {
		return cause
	}
	c.err = cause
	sc, err := rt.back(c)
	if err != nil {
		return errors.Join(cause, err)
	}
	sc.page.Fault = c.words(cause)
	sc.page.Path = backPath(c.r)
	sc.status = statusOf(kind)
	return c.show(sc)
}

// backPath is where a refused form came from, as far as it is a page of ours.
func backPath(r *http.Request) string {
	if u, err := url.Parse(r.Referer()); err == nil && u.Host == r.Host {
		return localPath(u.RequestURI())
	}
	return "/"
}

// partial says whether the request came from script that wants no page.
func (c *call) partial() bool { return c.r.Header.Get("HX-Request") == "true" }

// show renders a screen. Nothing is sent before all is rendered, so that a
// failure never leaves half a page; but for a page that sends its head first
// (view.Then): there a failure is said below the head.
func (c *call) show(sc screen) error {
	if c.err != nil && c.partial() { // script shows the reason where the form is
		c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		c.w.WriteHeader(sc.status)
		return view.Notices(sc.page).Render(c.ctx(), c.w)
	}
	ctx := c.ctx()
	if g, ok := ctx.Value(gatherKey{}).(*gather); ok { // the live stream asks
		var unused bytes.Buffer
		if err := sc.body.Render(view.Collect(ctx, &g.regions), &unused); err != nil {
			return fmt.Errorf("render regions: %w", err)
		}
		g.done = true
		return nil
	}
	out := &reply{c: c, status: sc.status}
	if err := view.Layout(sc.page, sc.body).Render(view.Early(ctx, out.early), out); err != nil {
		err = fmt.Errorf("render page: %w", err)
		if !out.begun {
			return err
		}
		c.Log.Error("render the rest of a page", "pattern", c.r.Pattern, "err", err)
		sc.page.Fault, sc.page.Done = c.words(err), ""
		if err := view.Notices(sc.page).Render(ctx, out); err != nil {
			return fmt.Errorf("render fault: %w", err)
		}
	}
	out.send()
	return nil
}

// reply keeps a page until it is whole, or until its head may go.
type reply struct {
	c      *call
	status int // 200 when 0
	kept   bytes.Buffer
	begun  bool
}

func (a *reply) Write(b []byte) (int, error) { return a.kept.Write(b) }

// early sends what is there.
func (a *reply) early() {
	a.send()
	_ = http.NewResponseController(a.c.w).Flush() // a writer that cannot sends it later
}

func (a *reply) send() {
	if !a.begun {
		a.begun = true
		a.c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		a.c.w.Header().Set("Content-Language", a.c.lang)
		if a.status != 0 {
			a.c.w.WriteHeader(a.status)
		}
	}
	_, _ = a.c.w.Write(a.kept.Bytes()) // nothing to do about a reader who left
	a.kept.Reset()
}

// page makes the frame of a page.
func (c *call) page(nav, title string) view.Page {
	p := view.Page{
		Lang: c.lang, Now: c.at, Title: title, Nav: nav, Path: localPath(c.r.URL.RequestURI()),
		Viewer: c.who, Hub: c.Hub(c.ctx()), Assets: c.assets.present,
		Names: view.Names{Person: c.personName, Host: c.hostName, Site: c.siteName},
		May: func(v auth.Verb, r auth.Resource) bool {
			return c.who.ID != "" && c.People.Allow(c.who, v, r).Allowed
		},
		Form: func(string) string { return "" },
		Done: c.r.URL.Query().Get("done"),
	}
	if c.err != nil {
		p.Form = c.r.PostForm.Get
		p.Done = ""
	}
	return p
}

// t is a sentence in the viewer's language.
func (c *call) t(key string, pairs ...string) string {
	return view.Page{Lang: c.lang}.T(key, pairs...)
}

// query returns a parameter of the address.
func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// form returns a field of the form, without the spaces around it.
func (c *call) form(name string) string { return strings.TrimSpace(c.r.PostForm.Get(name)) }

// number returns a parameter as a number that is not negative.
func (c *call) number(name string) int {
	n, err := strconv.Atoi(c.query(name))
	return max(0, n*bit(err == nil))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// moment reads a datetime-local field as Japan time; an empty field is the
// zero time.
func (c *call) moment(name string) (time.Time, error) {
	v := c.form(name)
	if v == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{view.LocalInput, "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, v, clock.Tokyo()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "ui.time", c.t("field."+name))
}

// list returns the paging of a list with the filters that its address has.
func (c *call) list(path string, filters ...string) view.Paging {
	q := url.Values{}
	for _, f := range filters {
		if v := c.query(f); v != "" {
			q.Set(f, v)
		}
	}
	return view.Paging{Path: path, Query: q, Offset: c.number("offset"), Limit: 50}
}

// language chooses: the address, the choice kept in the cookie, the person's
// own, the browser's, Japanese.
func language(r *http.Request, who auth.Person) string {
	if l := r.URL.Query().Get("lang"); i18n.Known(l) {
		return l
	}
	if k, err := r.Cookie(languageCookie); err == nil && i18n.Known(k.Value) {
		return k.Value
	}
	if i18n.Known(who.Lang) {
		return who.Lang
	}
	return accepted(r.Header.Get("Accept-Language"))
}

// accepted reads Accept-Language: the first language of ours in the order of
// the header. Browsers write it in the order of preference.
func accepted(header string) string {
	for _, part := range strings.Split(header, ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if i18n.Known(primary) {
			return primary
		}
	}
	return i18n.Japanese
}

// localPath returns p when it is a path on this hub, else "/": nobody is led
// elsewhere by a crafted link.
func localPath(p string) string {
	u, err := url.Parse(p)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n") {
		return "/"
	}
	return u.RequestURI()
}
